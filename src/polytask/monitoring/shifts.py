"""Which columns of new rows are distributed otherwise than in training."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.special
from numpy.typing import NDArray

from polytask._estimator.training_summary import (
    LEVELS,
    TableGaps,
    TrainingSummary,
    all_cells,
    counted,
)
from polytask.data import TaskData
from polytask.metrics.groups import holm
from polytask.monitoring.errors import pulled
from polytask.monitoring.records import NAN, Shift
from polytask.monitoring.tests import (
    Moments,
    cell_counts,
    mean_p_values,
    rank_moments,
    score_moments,
    share_p_values,
)

Array = NDArray[np.float64]
_MIDDLE, _LOW, _HIGH = LEVELS.index(0.5), LEVELS.index(0.25), LEVELS.index(0.75)
# Rows of a task that are looked at, evenly taken: more say hardly more.
_MOST_ROWS = 20_000
# Rows that the variance of all tasks counts as beside those of a task.
_PRIOR = 4.0


class Check(NamedTuple):
    """One kind of tests. Shapes: together (C,), all others (G, C)."""

    kind: str
    p: Array
    together: Array
    before: Array
    after: Array
    weight: Array
    chance: Array

    def without(self, columns: NDArray[np.bool_]) -> Check:
        """Return the tests of the other columns; what is missing is tested in all."""
        if self.kind == "missing":
            return self
        p, together = (np.where(columns, np.nan, p) for p in (self.p, self.together))
        return self._replace(p=p, together=together)


@dataclass(frozen=True, eq=False)
class NewRows:
    """New rows by the groups of a summary. Shapes: (G, C), quartiles (G, C, 3)."""

    n: Array
    missing: Array
    ones: Array
    mean: Array
    variance: Array
    quartiles: Array
    # Between and on the cuts of the summary. Shape: (G, C, cells).
    cells: Array

    @classmethod
    def of(
        cls, summary: TrainingSummary, data: TaskData, raw: TaskData, groups: list[slice],
        lacking: TableGaps,
    ) -> NewRows:  # fmt: skip
        """Count the rows of each group; `data` are encoded, `raw` the same rows before."""
        shape = summary.counts.shape
        n, missing, ones = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        mean, variance = np.full(shape, np.nan), np.full(shape, np.nan)
        quartiles = np.full((*shape, 3), np.nan)
        passed = np.zeros((2, *shape, len(LEVELS)))
        for g, rows in enumerate(groups):
            size = rows.stop - rows.start
            chosen = rows.start + np.arange(min(size, _MOST_ROWS)) * size // min(size, _MOST_ROWS)
            cells = np.full((len(chosen), shape[1]), np.nan)
            own = all_cells(data, raw, lacking, summary.classes, chosen)
            cells[:, : own.shape[1]] = own
            n[g] = np.isfinite(cells).sum(axis=0)
            missing[g] = len(cells) - n[g]
            ones[g] = (cells == 1).sum(axis=0)
            has, more = n[g] > 0, n[g] > 1
            mean[g, has] = np.nanmean(cells[:, has], axis=0)
            variance[g, more] = np.nanvar(cells[:, more], axis=0, ddof=1)
            quartiles[g, has] = np.nanquantile(cells[:, has], (0.25, 0.5, 0.75), axis=0).T
            if summary.cuts is not None:
                passed[:, g] = counted(cells, summary.cuts[g])
        return cls(n, missing, ones, mean, variance, quartiles, cell_counts(n, *passed))


def checks_of(summary: TrainingSummary, new: NewRows, first: Any) -> list[Check]:  # noqa: ANN401
    """Return the tests of all columns in all groups; `first` are columns whose gaps count."""
    counts = summary.counts.astype(float)
    shares = summary.binary
    if summary.cuts is None or summary.below is None or summary.above is None:
        return _of_moments(summary, new, counts)
    # A cut at 0 is the lowest, unless all are 1.
    ones = np.where(summary.cuts[..., 0] > 0.5, counts, summary.above[..., 0])
    found = [_share_check("share", ones, counts, new.ones, new.n, shares)]
    train = cell_counts(counts, summary.below.astype(float), summary.above.astype(float))
    cuts = summary.cuts.astype(float)
    before = {"location": cuts[..., _MIDDLE], "spread": cuts[..., _HIGH] - cuts[..., _LOW]}
    after = {"location": new.quartiles[..., 1], "spread": new.quartiles[..., 2]
             - new.quartiles[..., 0]}  # fmt: skip
    for kind in ("location", "spread"):
        moments = rank_moments(train, new.cells, spread=kind == "spread")
        p = np.where(shares, np.nan, moments.p_values())
        together = np.where(shares, np.nan, moments.summed().p_values())
        chance = np.full(p.shape, np.nan)
        if kind == "location":
            chance = _chances(moments, counts, new.n)
        found.append(Check(kind, p, together, before[kind], after[kind], new.n, chance))
    gaps, counted_gaps = summary.missing.astype(float), np.zeros(len(shares), dtype=bool)
    counted_gaps[np.arange(summary.n_features) if first is None else first] = True
    found.append(
        _share_check(
            "missing", gaps, gaps + counts, new.missing, new.missing + new.n, counted_gaps
        )
    )
    return found


def _of_moments(summary: TrainingSummary, new: NewRows, counts: Array) -> list[Check]:
    """Return the tests that means and variances allow."""
    mean, variance = np.asarray(summary.mean), np.asarray(summary.variance)
    found = [
        _share_check("share", np.rint(mean * counts), counts, new.ones, new.n, summary.binary)
    ]
    free, new_free = np.maximum(counts - 1, 0), np.maximum(new.n - 1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled = (variance * counts).sum(axis=0) / free.sum(axis=0)
        # A few rows may be equal by chance: variances are pulled to that of all tasks.
        old = (_PRIOR * pooled + variance * counts) / (_PRIOR + free)
        own = np.nan_to_num(new.variance) * new_free
        fresh = (_PRIOR * pooled + own) / (_PRIOR + new_free)
        p = mean_p_values(mean, old, counts, new.mean, fresh, new.n)
        square = old / counts + fresh / new.n
        weight = np.where(np.isfinite(square) & (square > 0), counts * new.n / (counts + new.n), 0)
        z = np.nansum(weight * (new.mean - mean), axis=0)
        z /= np.sqrt(np.nansum(weight**2 * square, axis=0))
    p = np.where(summary.binary, np.nan, p)
    together = np.where(summary.binary, np.nan, 2 * scipy.special.ndtr(-np.abs(z)))
    chance = np.full(mean.shape, np.nan)
    return [*found, Check("location", p, together, mean, new.mean, new.n, chance)]


def _share_check(
    kind: str, hits: Array, n: Array, new_hits: Array, m: Array, which: NDArray[np.bool_]
) -> Check:
    p = np.where(which, share_p_values(hits, n, new_hits, m), np.nan)
    cells = [np.stack([size - own, own], axis=-1) for own, size in ((hits, n), (new_hits, m))]
    moments: Moments = score_moments(np.broadcast_to([0.0, 1.0], cells[0].shape), *cells)
    together = np.where(which, moments.summed().p_values(step=1.0), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        before, after = hits / n, new_hits / m
    return Check(kind, p, together, before, after, m, np.full(m.shape, np.nan))


def _chances(moments: Moments, n: Array, m: Array) -> Array:
    """Return the chance that a new row is above one of training, pulled over the tasks."""
    total = n + m
    with np.errstate(divide="ignore", invalid="ignore"):
        chance = ((moments.excess + m / 2) * (total + 1) - m * (m + 1) / 2) / (n * m)
        variance = (total + 1) / (12 * n * m)
    return np.stack([pulled(*pair) for pair in zip(chance.T, variance.T, strict=True)], axis=1)


@dataclass(frozen=True, eq=False)
class Shifts:
    """The shifts beyond chance, and the p-values that call one."""

    found: tuple[Shift, ...] = ()
    # Of all tasks together, and of a single one.
    limits: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def of(
        cls, checks: list[Check], names: list[str], sources: list[str], n_features: int,
        tasks: list[Hashable], rates: tuple[float, float],
    ) -> Shifts:  # fmt: skip
        """Find them at the rates of all tasks together and of single tasks."""
        # Shapes: names, sources (C,): of columns, and of what the user gave.
        found: list[Shift] = []
        alone = holm(np.concatenate([check.p.ravel() for check in checks]))
        shared = holm(np.concatenate([check.together for check in checks]))
        cells, width = checks[0].p.size, len(names)
        for k, check in enumerate(checks):
            own = alone[k * cells : (k + 1) * cells].reshape(check.p.shape)
            every = shared[k * width : (k + 1) * width]
            label = sources if check.kind == "missing" else names

            each: list[tuple[Hashable, int, float, Array]] = []
            table = np.stack([check.before, check.after, check.chance])
            weight = np.where(np.isfinite(table[:2]).all(axis=0), check.weight, 0.0)
            for c in np.flatnonzero(every <= rates[0]) if len(tasks) > 1 else ():
                mean = np.nansum(table[:, :, c] * weight[:, c], axis=1) / weight[:, c].sum()
                mean[2] = mean[2] if np.isfinite(check.chance[:, c]).any() else NAN
                each.append((None, int(c), float(every[c]), mean))
            for g, c in zip(*np.nonzero(own <= rates[1]), strict=True):
                each.append((tasks[int(g)], int(c), float(own[g, c]), table[:, g, c]))
            for task, at, p, values in each:
                before, after, chance = map(float, values)
                target = at >= n_features
                found.append(Shift(task, label[at], check.kind, before, after, chance, p, target))
        found.sort(key=lambda one: one.p_value)
        tests = (max(int(np.isfinite(p).sum()), 1) for p in (shared, alone))
        together, single = (rate / n for rate, n in zip(rates, tests, strict=True))
        return cls(tuple(found), (together, single))


def least_logs(n: Array, m: Array) -> Array:
    """Return the logs of the least p-values that ranks of m new rows beside n can have."""
    both = scipy.special.gammaln(n + m + 1)
    return np.asarray(np.log(2) - both + scipy.special.gammaln(n + 1)
                      + scipy.special.gammaln(m + 1))  # fmt: skip
