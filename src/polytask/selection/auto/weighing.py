"""What tried candidates are worth: measured on the rows they had not seen, and combined."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from polytask.messages import LazyMessage
from polytask.selection.auto.calibration import AS_GIVEN, Calibration, calibrated
from polytask.selection.auto.held_out_rows import HeldOutRows
from polytask.selection.auto.mixing import OF_MEANS, Mix, best_mix
from polytask.selection.entries import Entry

Array = NDArray[np.float64]

# The key of the note of a candidate that time left no fold for.
TOO_LATE = "left_out.time"


@dataclass(frozen=True)
class Stop:
    """Why a candidate was not fitted on all folds: it was behind another on the same rows."""

    leader: str
    # As a share of what the training mean loses.
    gap: float
    folds: int
    n_folds: int

    @property
    def message(self) -> LazyMessage:
        """Say so."""
        fields: dict[str, str | int] = {"leader": repr(self.leader), "gap": f"{self.gap:.3g}"}
        return LazyMessage("left_out.behind", fields | {"folds": self.folds, "n": self.n_folds})


@dataclass(frozen=True, eq=False)
class CandidateFit:
    """A candidate and what became of it. Shapes: values (N,), given (N,)."""

    entry: Entry
    values: Array | None
    seconds: float
    note: LazyMessage | str | None
    calibration: Calibration = AS_GIVEN
    given: Array | None = None
    stop: Stop | None = None
    # Folds of one that has fewer than those that are compared.
    folds: int = 0

    def as_given(self) -> CandidateFit:
        """Return the candidate with its probabilities as it predicted them."""
        if self.given is None:
            return self
        return replace(self, values=self.given, calibration=AS_GIVEN, given=None)


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Candidates with predictions, and how they are combined."""

    usable: tuple[CandidateFit, ...]
    mix: Mix

    @property
    def used(self) -> NDArray[np.intp]:
        """Return the places of those that have weight for any task."""
        return np.flatnonzero((self.mix.shared > 0) | (self.mix.by_task > 0).any(axis=0))

    @property
    def loss(self) -> float:
        """Return the mean loss of this way of combining, on folds that had no part in it."""
        return self.mix.losses[self.mix.policy]

    def names(self) -> list[str]:
        """Return the names of those that have weight for any task."""
        return [self.usable[m].entry.name for m in self.used]

    def beside(self, others: Iterable[CandidateFit]) -> Ensemble:
        """Return the same weights among candidates of which the others have none."""
        own = {one.entry.name: m for m, one in enumerate(self.usable)}
        every = tuple(others)
        places = [own.get(one.entry.name, -1) for one in every]
        usable = tuple(
            one if m < 0 else self.usable[m] for m, one in zip(places, every, strict=True)
        )
        # The column that is added is that of those without weight.
        shared = np.append(self.mix.shared, 0.0)[places]
        by_task = np.pad(self.mix.by_task, ((0, 0), (0, 1)))[:, places]
        return Ensemble(usable, replace(self.mix, shared=shared, by_task=by_task))


def judged(one: CandidateFit, bench: HeldOutRows) -> CandidateFit:
    """Return a candidate with its probabilities calibrated, or left out if it is far off."""
    one = _calibrated(one, bench)
    if one.values is None or np.isfinite(bench.held([one.values]).model_losses()[0]):
        return one
    return replace(one, values=None, note=LazyMessage("left_out.far_off"))


def weigh(tried: Iterable[CandidateFit], bench: HeldOutRows) -> Ensemble | None:
    """Combine the candidates that have predictions; None if there is none."""
    # Models that are too bold on their own may be right on average, which those that were made
    # careful are not: probabilities are calibrated only where their combination loses less, on
    # folds that had no part in it, than that of the probabilities as they were given.
    usable = tuple(one for one in tried if one.values is not None)
    if not usable:
        return None
    found = _mixed(usable, bench)
    if all(one.given is None for one in usable):
        return found
    plain = _mixed(tuple(one.as_given() for one in usable), bench)
    return min(plain, found, key=lambda weighed: weighed.loss)


def _mixed(usable: tuple[CandidateFit, ...], bench: HeldOutRows) -> Ensemble:
    held = bench.held([one.values for one in usable if one.values is not None])
    kinds = [kind_to_lean_to(one.entry.kind, one.entry.family) for one in usable]
    return Ensemble(usable, best_mix(held, kinds))


def kind_to_lean_to(kind: str, family: str) -> str:
    """Return the kind that a task may lean to: trees, networks and means are of their own."""
    return family if family in ("trees", "deep", OF_MEANS) else kind


def _calibrated(one: CandidateFit, bench: HeldOutRows) -> CandidateFit:
    """Scale the probabilities of classes; numbers are as they were predicted."""
    if one.values is None or one.values.ndim == 1:
        return one
    given = one.values[:, 0]
    values, calibration = calibrated(one.values, bench.constants, bench.held([given]))
    if calibration == AS_GIVEN:
        return replace(one, values=given)
    return replace(one, values=values, calibration=calibration, given=given)
