"""Weights so large that a likelihood cannot be worked out with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from polytask._checks import sentence
from polytask.exceptions import DataError, PolytaskError
from polytask.messages import LazyMessage

Array = NDArray[np.float64]

# Beside a weight of so much a row of weight 1 is lost in sums of squares.
_LARGEST_WEIGHT = 1e12
# Above this weights are what is to blame where arithmetic breaks down.
_LARGE_WEIGHT = 1e3


def refuse_heavy(weight: Array, owner: str) -> None:
    """Refuse weights beside which other rows are lost in a likelihood's sums."""
    # A weight counts rows, so weights cannot be rescaled here: the answer would be another one.
    if weight.max(initial=0.0) > _LARGEST_WEIGHT:
        raise _too_heavy(weight, owner)


@contextmanager
def weights_within_reach(weight: Array, owner: str) -> Iterator[None]:
    """Say so where the arithmetic inside breaks down because of large weights."""
    refuse_heavy(weight, owner)
    try:
        yield
    except PolytaskError:
        raise
    except (ArithmeticError, ValueError) as error:
        if weight.max(initial=0.0) <= _LARGE_WEIGHT:
            raise
        raise _too_heavy(weight, owner) from error


def _too_heavy(weight: Array, owner: str) -> DataError:
    got = LazyMessage("got.one_of", {"value": format(weight.max(), ".3g")})
    return DataError(sentence("sample_weight", owner, LazyMessage("allowed.light_weights"), got))
