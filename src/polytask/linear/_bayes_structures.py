"""What users of a learned prior choose: the structure of its covariance, and what varies."""

from __future__ import annotations

from typing import Any

import numpy as np

from polytask._checks import nearest, one_of, sentence
from polytask.bayes.prior import (
    Diagonal,
    Full,
    LowRank,
    NoVariation,
    Scalar,
    Structure,
)
from polytask.data import TaskData
from polytask.exceptions import ParameterError

# With fewer features nothing is gained by working in the space of the rows.
_WIDE = 256

STRUCTURES: dict[str, Structure | None] = {
    "auto": None,
    "none": NoVariation(),
    "scalar": Scalar(),
    "diagonal": Diagonal(),
    "low_rank": LowRank(),
    "full": Full(),
}


def varying_columns(varying: Any, data: TaskData, owner: str) -> tuple[int, ...]:  # noqa: ANN401
    """Return the columns that vary, 0 for the intercept in front."""
    d = data.n_features
    if isinstance(varying, str):
        one_of(varying, "varying", owner, ("all",))
        return tuple(range(d + 1))
    names = {name: j for j, name in enumerate(data.feature_names or ())}
    try:
        entries = list(varying)
    except TypeError:
        allowed = "'all' or a sequence of features"
        raise ParameterError(sentence("varying", owner, allowed, repr(varying))) from None
    found = {0}
    for entry in entries:
        position = names.get(entry, -1) if isinstance(entry, str) else _position(entry, d)
        if position < 0:
            allowed = f"'all', or names or positions of the {d} features"
            hint = nearest(entry, names) if isinstance(entry, str) else ""
            raise ParameterError(sentence("varying", owner, allowed, repr(entry)) + hint)
        found.add(position + 1)
    return tuple(sorted(found))


def is_wide(
    n_features: int,
    n_rows: int,
    n_labels: float,
    varying: tuple[int, ...],
    structure: Structure | None,
) -> bool:
    """Say whether a prior is to be learned in the space of the rows."""
    # That is exact where all features vary alike. Where the structure is to be chosen, one with a
    # parameter for each feature must be out of the question: fewer labels than features.
    if structure is None:
        alike = n_labels < n_features
    else:
        alike = isinstance(structure, NoVariation | Scalar)
    every = len(varying) == n_features + 1
    return alike and every and n_rows < n_features and n_features >= _WIDE


def _position(entry: Any, d: int) -> int:  # noqa: ANN401
    whole = isinstance(entry, int | np.integer) and not isinstance(entry, bool)
    return int(entry) % d if whole and -d <= entry < d else -1
