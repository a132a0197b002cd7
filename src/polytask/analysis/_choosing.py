"""The rule of the verdict: which model each training part chooses, and by how much it wins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from polytask.analysis._unit import Record
from polytask.selection.entries import Entry

Array = NDArray[np.float64]

# Families that a verdict can be about, the first that has models of both sorts.
_RULING = ("linear", "deep")


@dataclass(frozen=True, eq=False)
class Board:
    """The records of the splits that are complete."""

    entries: tuple[Entry, ...]
    records: Mapping[tuple[int, str], Record]
    splits: tuple[int, ...]
    sign: float

    def record(self, split: int, name: str) -> Record | None:
        """Return what a model did in a split, None if it failed."""
        record = self.records.get((split, name))
        return None if record is None or "failed" in record else record

    def inner(self, split: int, name: str) -> float:
        """Return the mean inner score, more is better; -inf if there is none."""
        record = self.record(split, name)
        values = np.array([] if record is None else record["inner"], dtype=float)
        values = values[~np.isnan(values)]
        return self.sign * float(values.mean()) if len(values) else float("-inf")

    def scores(self, names: Sequence[str | None]) -> Array:
        """Return the verdict's metric of the model named for each split, NaN where none is."""
        out = np.full(len(self.splits), np.nan)
        for j, (split, name) in enumerate(zip(self.splits, names, strict=True)):
            record = None if name is None else self.record(split, name)
            if record is not None:
                out[j] = record["score"]
        return out

    def choose(self, wanted: Callable[[Entry], bool]) -> tuple[str | None, ...]:
        """Return for every split the wanted model with the best inner score."""
        names = [entry.name for entry in self.entries if wanted(entry)]
        return tuple(self._best(split, names) for split in self.splits)

    def _best(self, split: int, names: Sequence[str]) -> str | None:
        able = [name for name in names if self.inner(split, name) > float("-inf")]
        return max(able, key=lambda name: self.inner(split, name)) if able else None


@dataclass(frozen=True)
class Chosen:
    """The model of each role in every split, None where no model can play it."""

    shared: tuple[str | None, ...]
    plain: tuple[str | None, ...]
    pooled: tuple[str | None, ...]
    separate: tuple[str | None, ...]
    trees: tuple[str | None, ...]
    deep: tuple[str | None, ...]
    deep_shared: tuple[str | None, ...]
    deep_plain: tuple[str | None, ...]


class _Made(Protocol):
    """What says what a model does with the tasks, and what it is made of."""

    @property
    def kind(self) -> str: ...

    @property
    def family(self) -> str: ...


def ruling_family(models: Iterable[_Made]) -> str:
    """Return the family that the verdict is about."""
    seen = {(model.family, model.kind != "shared") for model in models}
    whole = [family for family in _RULING if {(family, True), (family, False)} <= seen]
    return whole[0] if whole else _RULING[0]


def choose_all(board: Board) -> Chosen:
    """Apply the rule in every split."""

    def of(family: str, *kinds: str) -> tuple[str | None, ...]:
        return board.choose(lambda e: e.family == family and e.kind in kinds)

    ruling = ruling_family(board.entries)
    return Chosen(
        shared=of(ruling, "shared"),
        plain=of(ruling, "separate", "pooled"),
        pooled=of(ruling, "pooled"),
        separate=of(ruling, "separate"),
        trees=board.choose(lambda e: e.family == "trees"),
        deep=board.choose(lambda e: e.family == "deep"),
        deep_shared=of("deep", "shared"),
        deep_plain=of("deep", "separate", "pooled"),
    )


def most_frequent(names: Sequence[str | None]) -> str | None:
    """Return the name that was chosen most often, the first of those level."""
    counts = Counter(name for name in names if name is not None)
    return counts.most_common(1)[0][0] if counts else None
