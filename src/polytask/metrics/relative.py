"""The relative gain over a reference, for tasks measured in different units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polytask._checks import sentence
from polytask.exceptions import DataError
from polytask.messages import LazyMessage


@dataclass(frozen=True)
class RelativeGain:
    """A mean relative gain, and how many tasks have none.

    Attributes
    ----------
    value : float
        A share: 0.05 is 5% better than the reference; NaN if no task has one.
    undefined : int
        The number of tasks left out.
    """

    value: float
    undefined: int


def relative_gain(
    scores: Sequence[float],
    reference: Sequence[float],
    greater_is_better: bool | Sequence[bool],
) -> RelativeGain:
    """Return how much better than a reference a model is, relative to it: "Delta-m".

    Parameters
    ----------
    scores, reference : sequence of float of length T
        One score per task, of the model and of what it is measured against.
    greater_is_better : bool or sequence of bool of length T
        The direction of the metric, or of that of each task.

    Returns
    -------
    RelativeGain
        The mean over tasks of (score - reference) / abs(reference), its sign changed where
        smaller is better. Tasks with a NaN, or whose reference is zero or infinite, are left
        out and counted.

    Raises
    ------
    DataError
        If the lengths differ.

    Notes
    -----
    Where no reference is negative, as in the paper [1]_, this is its average of relative
    differences to the single-task models, as a share instead of in percent. The absolute
    value makes a rise of a negative R2 a gain.

    References
    ----------
    .. [1] K.-K. Maninis, I. Radosavovic and I. Kokkinos, "Attentive Single-Tasking of Multiple
       Tasks", CVPR 2019, 1851-1860.

    Examples
    --------
    >>> from polytask.metrics import relative_gain
    >>> gain = relative_gain([0.9, 1.0], [0.8, 2.0], [True, False])
    >>> round(gain.value, 4), gain.undefined
    (0.3125, 0)
    """
    own, base = np.asarray(scores, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    better = np.asarray(greater_is_better, dtype=bool)
    if own.ndim != 1 or own.shape != base.shape or better.shape not in ((), own.shape):
        got = LazyMessage("got.shapes", {"shapes": [str(a.shape) for a in (own, base, better)]})
        what, allowed = LazyMessage("what.scores"), LazyMessage("allowed.one_length")
        raise DataError(sentence(what, "relative_gain", allowed, got))
    usable = ~np.isnan(own) & np.isfinite(base) & (base != 0)
    sign = np.broadcast_to(np.where(better, 1.0, -1.0), own.shape)[usable]
    gains = sign * (own[usable] - base[usable]) / np.abs(base[usable])
    value = float(gains.mean()) if gains.size else float("nan")
    return RelativeGain(value, int(len(own) - gains.size))
