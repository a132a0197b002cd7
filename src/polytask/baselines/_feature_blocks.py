"""Groups of features that are there or missing as a whole."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._checks import nearest, sentence
from polytask._registry import saveable
from polytask.exceptions import DataError, ParameterError

Mask = NDArray[np.bool_]
Array = NDArray[Any]

_ALLOWED = "None, groups of columns, or a mapping of names to these"
# Blocks make few patterns. Beyond so many, with fewer rows than this each, cells are
# missing here and there.
_PATTERNS, _ROWS = 16, 5


@dataclass(frozen=True, eq=False)
class Features:
    """The features of the training rows, and the columns that they come from."""

    names: tuple[str, ...]
    sources: tuple[Hashable, ...]


@saveable("baseline.feature_blocks")
@dataclass(frozen=True, eq=False)
class FeatureBlocks:
    """Which features are missing together."""

    names: tuple[str, ...]
    members: tuple[NDArray[np.intp], ...]
    features: tuple[str, ...]

    def available(self, X: Array, numbers: NDArray[np.intp], owner: str) -> Mask:
        """Say which groups each row has. Shapes: X (n, d), numbers (n,), result (n, n_groups)."""
        missing = np.isnan(X)
        have = np.ones((len(X), len(self.names)), dtype=bool)
        partly = missing.copy()
        for g, columns in enumerate(self.members):
            have[:, g] = ~missing[:, columns].all(axis=1)
            partly[:, columns] &= have[:, g, None]
        if partly.any():
            row, column = np.argwhere(partly)[0]
            raise self._scattered(int(numbers[row]), int(column), owner)
        return have

    def features_of(self, have: Mask) -> Mask:
        """Return the features that belong to some groups or to none, shape (..., d)."""
        out = np.ones((*have.shape[:-1], len(self.features)), dtype=bool)
        for g, columns in enumerate(self.members):
            out[..., columns] = have[..., g, None]
        return out

    def chosen(self, have: Mask) -> tuple[str, ...]:
        """Return the names of the groups of a pattern of shape (n_groups,)."""
        return tuple(name for name, there in zip(self.names, have, strict=True) if there)

    def label(self, have: Mask) -> str:
        """Return the groups of a pattern as one text."""
        return " + ".join(self.chosen(have)) or "no group"

    def _scattered(self, row: int, column: int, owner: str) -> DataError:
        feature = self.features[column]
        group = [name for name, own in zip(self.names, self.members, strict=True) if column in own]
        where = f"but not all of its group {group[0]!r}" if group else "which is in no group"
        return DataError(
            f"Row {row} of X lacks {feature!r}, {where}: {owner} takes groups of features that "
            "are missing as a whole. Impute single values first, or give such features a group "
            "of their own in feature_groups."
        )


def find_blocks(X: Array, groups: object, features: Features, owner: str) -> FeatureBlocks:
    """Return the groups of features that a user gave, or those that are missing together."""
    # Shapes: X (n, d).
    named = _missing_together(X, features, owner) if groups is None else _given(groups, owner)
    place: dict[Hashable, list[int]] = {}
    for j, source in enumerate(features.sources):
        place.setdefault(source, []).append(j)
    owned: dict[Hashable, str] = {}
    members = []
    for name, columns in named.items():
        # Columns of a table have text for names, whatever pandas thinks.
        known = [column if column in place else str(column) for column in columns]
        for column, given in zip(known, columns, strict=True):
            _check_column(column, given, name, place, owned, owner)
            owned[column] = name
        members.append(np.array([j for c in known for j in place[c]], dtype=np.intp))
    return FeatureBlocks(tuple(named), tuple(members), features.names)


def _missing_together(X: Array, features: Features, owner: str) -> dict[str, tuple[Hashable, ...]]:
    """Return the columns by the rows in which they are missing, those that never are left out."""
    missing = np.isnan(X)
    found: dict[bytes, list[Hashable]] = {}
    for j in np.flatnonzero(missing.any(axis=0)):
        found.setdefault(np.packbits(missing[:, j]).tobytes(), []).append(features.sources[j])
    columns = [tuple(dict.fromkeys(group)) for group in found.values()]
    rows = np.packbits(missing, axis=1)
    patterns = len(np.unique(rows, axis=0))
    if patterns > _PATTERNS and len(X) < _ROWS * patterns:
        raise DataError(
            f"Missing values of X of {owner} make {patterns} different patterns in {len(X)} "
            "rows: these are no blocks. Give feature_groups, or impute single values first."
        )
    return {_range_name(group, features): group for group in columns}


def _range_name(columns: Sequence[Hashable], features: Features) -> str:
    """Return the first and the last of some columns, which no other group has."""
    plain = features.sources == tuple(range(len(features.names)))
    labels = [features.names[int(str(c))] if plain else str(c) for c in (columns[0], columns[-1])]
    return labels[0] if len(columns) == 1 else f"{labels[0]}..{labels[1]}"


def _given(groups: object, owner: str) -> dict[str, tuple[Hashable, ...]]:
    """Return named groups of columns."""
    if isinstance(groups, Mapping):
        pairs = [(str(name), columns) for name, columns in groups.items()]
    elif isinstance(groups, Sequence | np.ndarray) and not isinstance(groups, str):
        pairs = [(str(number), columns) for number, columns in enumerate(groups)]
    else:
        raise ParameterError(sentence("feature_groups", owner, _ALLOWED, repr(groups)))
    return {name: _columns(columns, owner) for name, columns in pairs}


def _columns(columns: object, owner: str) -> tuple[Hashable, ...]:
    plain = columns.tolist() if hasattr(columns, "tolist") else columns
    if isinstance(plain, str) or not isinstance(plain, Sequence) or not plain:
        raise ParameterError(sentence("feature_groups", owner, _ALLOWED, repr(columns)))
    return tuple(c.item() if isinstance(c, np.generic) else c for c in plain)


def _check_column(
    column: Hashable,
    given: Hashable,
    group: str,
    place: Mapping[Hashable, object],
    owned: Mapping[Hashable, str],
    owner: str,
) -> None:
    if column in owned:
        allowed = "groups without a column in common"
        got = f"{given!r} in {owned[column]!r} and in {group!r}"
        raise ParameterError(sentence("feature_groups", owner, allowed, got))
    if column not in place:
        shown = ", ".join(repr(name) for name in list(place)[:5])
        allowed = f"made of the columns of X with a value in training ({shown}, ...)"
        got = f"{given!r} in {group!r}"
        raise ParameterError(
            sentence("feature_groups", owner, allowed, got) + nearest(given, place)
        )
