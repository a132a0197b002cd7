"""Penalties of one kind in several proportions, to be searched with their strengths."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np

from polytask._checks import sentence
from polytask.exceptions import ParameterError
from polytask.messages import LazyMessage
from polytask.penalties import Penalty


def variants(penalty: Penalty, parameters: Mapping[str, Any]) -> list[Penalty]:
    """Return a penalty once for every combination of values of its parameters.

    A search tries each on its own grid of strengths, so that a mixing weight is chosen
    together with the strength. Of a sum or of parts, the strength of one member stands for the
    whole: changing that of another changes the proportion.

    Parameters
    ----------
    penalty : Penalty
        What to change.
    parameters : mapping of str to list of values
        Names as in ``penalty.get_params()``, such as ``"l1_ratio"``, or ``"p1__alpha"`` for the
        strength of the second member of a sum or of parts.

    Returns
    -------
    list of Penalty
        In the order of the values, the last parameter changing fastest.

    Raises
    ------
    ParameterError
        If there is no such parameter, a value is not allowed, or there is none to try.

    Examples
    --------
    >>> from polytask.penalties import ElasticNet, dirty
    >>> from polytask.selection import variants
    >>> [p.l1_ratio for p in variants(ElasticNet(), {"l1_ratio": (0.2, 0.5, 0.9)})]
    [0.2, 0.5, 0.9]
    >>> len(variants(dirty(1.0, 1.0), {"p1__alpha": (0.5, 0.7, 1.0)}))
    3
    """
    found = [penalty]
    for name, values in parameters.items():
        tried = tuple(values) if isinstance(values, list | tuple | range | np.ndarray) else ()
        if not tried:
            allowed = LazyMessage("allowed.values_to_try")
            raise ParameterError(sentence(name, "variants", allowed, repr(values)))
        found = [one.replace(name, value) for one, value in product(found, tried)]
    return found
