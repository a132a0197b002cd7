"""Mixup of rows within tasks and across them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from polytask._checks import positive, sentence
from polytask.exceptions import DataError


@final
@dataclass(frozen=True)
class MixedRows:
    """Twice as many rows: each mixed input with the labels of the one row, then of the other.

    Attributes
    ----------
    x : Tensor, or dictionary, list or tuple of inputs
        2 n inputs; row i and row n + i are the same.
    y : Tensor of shape (2 n,) or (2 n, n_tasks)
        The labels as they were.
    weight : Tensor, of the shape of y
        Weights of the labels: those given times the share of the row that a label came from.
    task : LongTensor of shape (2 n,) or None
        The task that each label belongs to.
    """

    x: Any
    y: Tensor
    weight: Tensor
    task: Tensor | None


def _partners(task: np.ndarray | None, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return a random partner for each row, in the same task if tasks are given."""
    first, second = rng.permutation(n), rng.permutation(n)
    if task is not None:
        # Both orders list the rows of task 0, then of task 1, ..., each in a random order.
        first = first[np.argsort(task[first], kind="stable")]
        second = second[np.argsort(task[second], kind="stable")]
    partner = np.empty(n, dtype=np.int64)
    partner[first] = second
    return partner


def _mixed(x: Any, partner: Tensor, share: Tensor) -> Any:  # noqa: ANN401 - inputs, as they came
    """Return inputs mixed with those of the partners, twice."""
    if x is None:
        return None
    if isinstance(x, dict):
        return {name: _mixed(part, partner, share) for name, part in x.items()}
    if isinstance(x, list | tuple):
        return type(x)(_mixed(part, partner, share) for part in x)
    if not isinstance(x, Tensor) or not x.is_floating_point():
        allowed = "real numbers; mix categories after their embedding"
        got = str(x.dtype) if isinstance(x, Tensor) else type(x).__name__
        raise DataError(sentence("x", "mixup", allowed, got))
    across = share.to(x.dtype).reshape(-1, *[1] * (x.ndim - 1))
    whole = across * x + (1.0 - across) * x[partner]
    return torch.cat([whole, whole])


def mixup(
    x: Any,  # noqa: ANN401 - a tensor, or a dictionary, list or tuple of tensors
    y: Tensor,
    task: Tensor | None = None,
    weight: Tensor | None = None,
    *,
    alpha: float = 0.2,
    across_tasks: bool = False,
    random_state: np.random.Generator | int | None = None,
) -> MixedRows:
    """Mix the rows of a batch in pairs.

    The input becomes s x_i + (1 - s) x_j with a share s drawn from Beta(alpha, alpha) for each
    row [1]_. Labels are never mixed: the mixed row counts with weight s for label i and with
    weight 1 - s for label j, which is the mixed label for every loss that is linear in it and
    has a meaning for every other. So every loss, metric, mask and sample weight works as it is,
    at the price of twice as many rows. With equal weights and partners in the same task the sum of
    the weights of a task stays what it was.

    Within tasks j is a row of the task of i. Across tasks j is any row, and the mixed row then
    counts for both: the prediction for the task of i is compared with label i, that for the task
    of j with label j; nothing is compared with a label of another task. In the targets form,
    where every row belongs to all tasks (`task` is None), both are the same.

    Not for inputs where a point between two is no possible input (one-hot categories).

    Parameters
    ----------
    x : Tensor of shape (n, ...), or dictionary, list or tuple of such
        Inputs, real numbers; what is None stays None.
    y : Tensor of shape (n,) or (n, n_tasks)
        Labels.
    task : LongTensor of shape (n,) or None, default=None
        The task of each row; None: each row belongs to all.
    weight : Tensor of the shape of y, default=None
        Weights of the labels, 0 where one is missing; None: 1.
    alpha : float, default=0.2
        Small: nearly only one of the two rows; 1: uniform shares.
    across_tasks : bool, default=False
        Whether partners may be of another task.
    random_state : numpy Generator or int, default=None
        The draws; None: others each time.

    Returns
    -------
    MixedRows

    Raises
    ------
    DataError
        If an input is not of real numbers.

    References
    ----------
    .. [1] Zhang, H., Cisse, M., Dauphin, Y. N. and Lopez-Paz, D. (2018). mixup: beyond
       empirical risk minimization. ICLR, Equation 1.
    """
    alpha = positive(alpha, "alpha", "mixup")
    rng, n = np.random.default_rng(random_state), len(y)
    bound = None if task is None or across_tasks else task.cpu().numpy()
    partner = torch.from_numpy(_partners(bound, n, rng)).to(y.device)
    drawn = torch.from_numpy(rng.beta(alpha, alpha, size=n)).to(y.device)
    dtype = y.dtype if y.is_floating_point() else torch.get_default_dtype()
    known = torch.ones_like(y, dtype=dtype) if weight is None else weight
    share = drawn.to(known.dtype).reshape(-1, *[1] * (known.ndim - 1))
    return MixedRows(
        x=_mixed(x, partner, drawn),
        y=torch.cat([y, y[partner]]),
        weight=torch.cat([share * known, (1.0 - share) * known[partner]]),
        task=None if task is None else torch.cat([task, task[partner]]),
    )
