"""What is asked for beyond the verdict: fits on fewer rows, and without terms of a penalty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from polytask._checks import sentence
from polytask.analysis._ablation import ablation_units
from polytask.analysis._answer import make_boards
from polytask.analysis._learning import curve_units
from polytask.analysis._plan import Plan
from polytask.analysis._problem import OWNER
from polytask.analysis._unit import Record, Unit
from polytask.exceptions import ParameterError

# Shares of the training rows beside all of them.
_SHARES = (0.125, 0.25, 0.5)


@dataclass(frozen=True)
class Extras:
    """What is asked for beyond the verdict."""

    shares: tuple[float, ...]
    ablation: bool

    def __bool__(self) -> bool:
        """Tell whether anything is asked for."""
        return bool(self.shares) or self.ablation


def check_extras(learning_curve: object, ablation: object) -> Extras:
    """Read what a user asked for."""
    if not isinstance(ablation, bool | np.bool_):
        raise ParameterError(sentence("ablation", OWNER, "True or False", repr(ablation)))
    if isinstance(learning_curve, bool | np.bool_):
        return Extras(_SHARES if learning_curve else (), bool(ablation))
    allowed = "True, False, or a list of shares of the rows, each above 0 and below 1"
    refusal = ParameterError(sentence("learning_curve", OWNER, allowed, repr(learning_curve)))
    try:
        given = np.atleast_1d(np.asarray(learning_curve, dtype=float))
    except (TypeError, ValueError):
        raise refusal from None
    if given.ndim != 1 or not given.size or not np.all((given > 0) & (given < 1)):
        raise refusal
    return Extras(tuple(float(v) for v in np.unique(given)), bool(ablation))


def extra_units(
    plan: Plan, records: Mapping[str, Record], metric: str, extras: Extras
) -> tuple[Unit, ...]:
    """Return the work beyond the verdict, once all of the comparison is done."""
    board, _ = make_boards(plan, records, metric)
    units = curve_units(plan, board, extras.shares)
    return (*units, *ablation_units(plan, board)) if extras.ablation else units
