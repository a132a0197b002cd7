"""From the records of models to what is said about their strength and their zeros."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from polytask.analysis._choosing import Board
from polytask.analysis._extra_parts import Kept, Mattered, StrengthPath
from polytask.analysis._parts import ModelRow
from polytask.analysis._unit import Record, whole_key
from polytask.selection.entries import Entry


def strength_path(records: Mapping[str, Record], name: str | None) -> StrengthPath | None:
    """Return the path of a model as it was searched on all rows; None if it has none."""
    found = records.get(whole_key(name), {}).get("path")
    if found is None:
        return None
    return StrengthPath(
        model=str(name),
        penalty=found["penalty"],
        measure=found["measure"],
        alphas=tuple(found["alphas"]),
        scores=tuple(found["scores"]),
        standard_errors=tuple(found["standard_errors"]),
        features=tuple(found["features"]),
        ranks=tuple(found["ranks"]),
        names=tuple(found["names"]),
        sizes=tuple(tuple(line) for line in found["sizes"]),
        n_features=found["n_features"],
        best=found["best"],
        one_se=found["one_se"],
        chosen=found["chosen"],
    )


def what_mattered(records: Mapping[str, Record], name: str | None) -> tuple[Mattered, ...]:
    """Return how far each hyper-parameter of a searched model decided, largest first."""
    found = records.get(whole_key(name), {}).get("mattered") or []
    return tuple(Mattered(*row) for row in found)


def kept_by(records: Mapping[str, Record], rows: Sequence[ModelRow]) -> tuple[Kept, ...]:
    """Return what is left of the coefficients of every linear sharing model, best first."""
    found = [(row.name, records.get(whole_key(row.name), {}).get("kept"))
             for row in rows if row.kind == "shared"]  # fmt: skip
    return tuple(Kept(name, **kept) for name, kept in found if kept is not None)


def preferred(board: Board, names: Sequence[str], first: str | None) -> str | None:
    """Return a model to look into: the chosen one if it is among some, else the best of them."""
    if first in names:
        return first

    def inner(name: str) -> float:
        scores = [board.inner(split, name) for split in board.splits]
        return float(np.mean(scores)) if scores else float("-inf")

    return max(names, key=inner, default=None)


def searched(records: Mapping[str, Record], entries: Sequence[Entry]) -> tuple[str, ...]:
    """Return the names of the sharing models whose path is known."""
    shared = [entry.name for entry in entries if entry.kind == "shared"]
    return tuple(name for name in shared if records.get(whole_key(name), {}).get("path"))
