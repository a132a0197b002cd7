"""Errors of rows that a model was not fitted on, and the intervals and sets made of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, polygamma

from polytask._registry import saveable

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Mask = NDArray[np.bool_]

# More errors than this say nothing more, and would make model files large.
_MOST = 50_000
# Where the sum of the weights is compared with its share, a row is not lost to rounding.
_ROUNDING = 1e-9
_HALVINGS = 80
_TINY = float(np.finfo(float).tiny)


@dataclass(frozen=True, eq=False)
class ErrorRows:
    """Errors as they are found. Shapes: all (N,)."""

    # |y - prediction| over the spread that the loss gives the prediction, or 1 - probability of
    # the class that was seen. `seen` is false where the fold holds out nothing but whole tasks.
    errors: Array
    task: Index
    fold: Index
    weight: Array
    seen: Mask

    @classmethod
    def joined(cls, parts: list[ErrorRows]) -> ErrorRows:
        """Return the rows of several parts."""
        names = ("errors", "task", "fold", "weight", "seen")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def of_fold(self) -> ErrorRows:
        """Return the errors of one fold, as of unseen tasks if all of its tasks are."""
        # A task that happens to be in one fold alone is predicted from the others there: without
        # it, rows of small tasks would seem to err less than they do.
        return replace(self, seen=np.full(len(self.seen), bool(self.seen.any())))

    def rows(self, which: Mask) -> ErrorRows:
        """Return some of the rows."""
        return ErrorRows(
            self.errors[which],
            self.task[which],
            self.fold[which],
            self.weight[which],
            self.seen[which],
        )


@saveable("estimator.held_out_errors")
@dataclass(frozen=True, eq=False)
class HeldOutErrors:
    """Errors in units of their task's, and these units."""

    # Shapes: errors, task, fold, weight (N,), scale, numbers (T,), strange, strange_weight (M,).
    # Those of tasks that the fold had not seen are `strange`; their weights sum to the number of
    # such tasks.

    errors: Array
    task: Index
    fold: Index
    weight: Array
    scale: Array
    numbers: Mask
    strange: Array
    strange_weight: Array
    # Else the model has intervals of its own, and these say how large its errors usually are.
    for_intervals: bool = True

    @classmethod
    def of(cls, rows: ErrorRows, numbers: Mask, unit: Array) -> HeldOutErrors | None:
        """Learn the units of the tasks; None if there are no errors."""
        # Shapes: numbers, unit (T,): whether targets are numbers, and what makes tasks comparable.
        rows = rows.rows((rows.weight > 0) & np.isfinite(rows.errors))
        if not len(rows.errors):
            return None
        own, others = rows.rows(rows.seen), rows.rows(~rows.seen)
        scale, each = np.ones(len(numbers)), np.ones(len(own.errors))
        used = numbers[own.task]
        if used.any():
            part = own.rows(used)
            scales, each[used] = task_scales(part.errors, part.task, part.weight, unit)
            scale = np.where(numbers, scales, 1.0)
        errors = np.where(each > 0, own.errors / np.where(each > 0, each, 1.0), 0.0)
        kept, weight = _thinned(errors, own.task, own.weight)
        totals = np.bincount(others.task, others.weight, len(numbers))
        return cls(
            errors=errors[kept],
            task=own.task[kept],
            fold=own.fold[kept],
            weight=weight,
            scale=scale,
            numbers=numbers,
            strange=others.errors,
            strange_weight=others.weight / totals[others.task],
        )

    def pool(self, task: int, by_task: bool) -> ErrorPool:
        """Return what decides about rows of a task, -1 an unseen one."""
        if task < 0:
            one = np.zeros(len(self.strange), dtype=np.intp)
            return ErrorPool(self.strange, one, self.strange_weight)
        own = self.task == task if by_task else self.numbers[self.task] == self.numbers[task]
        return ErrorPool(self.errors[own], self.fold[own], self.weight[own])

    def coverage(self, level: float) -> tuple[Array, Array]:
        """Return the share of each task's errors that those of the other folds cover, and counts.

        Shapes: both (T,); NaN where a task has none.
        """
        covered = np.zeros(len(self.errors))
        for kind in (True, False):
            own = self.numbers[self.task] == kind
            for fold in np.unique(self.fold[own]):
                out = own & (self.fold == fold)
                rest = own & (self.fold != fold)
                rest = rest if rest.any() else out
                limit = quantile(self.errors[rest], self.weight[rest], level)
                covered[out] = self.errors[out] <= limit
        n = len(self.scale)
        totals = np.bincount(self.task, self.weight, n)
        share = np.bincount(self.task, self.weight * covered, n)
        known = np.divide(share, totals, out=np.full(n, np.nan), where=totals > 0)
        return np.asarray(known), np.asarray(totals, dtype=float)


@dataclass(frozen=True, eq=False)
class ErrorPool:
    """Errors that decide together. Shapes: all (N,)."""

    errors: Array
    fold: Index
    weight: Array

    def enough(self, level: float) -> bool:
        """Say whether there are errors enough for a finite interval."""
        total = float(self.weight.sum())
        return total + _ROUNDING >= level * (total + 1.0)

    def radius(self, level: float) -> float:
        """Return the error that a new row exceeds with probability 1 - level at most."""
        return quantile(self.errors, self.weight, level)

    def ends(self, centres: Array, spreads: Array, level: float) -> tuple[Array, Array]:
        """Return the interval of CV+ for rows that the models of all folds predict."""
        # Shapes: centres, spreads (folds, n): predictions, and what errors are multiplied by.
        return -self._upper(-centres, spreads, level), self._upper(centres, spreads, level)

    def misses(self, values: Array) -> Array:
        """Return the weight of errors below what the models of all folds say for each row."""
        # Shapes: values (folds, n), result (n,).
        parts = [self._weight_below(fold, own, "left") for fold, own in enumerate(values)]
        return np.asarray(np.sum(parts, axis=0))

    def _upper(self, centres: Array, spreads: Array, level: float) -> Array:
        """Return the least number that the wanted share of prediction + error is not above."""
        wanted = level * (self.weight.sum() + 1.0) - _ROUNDING
        if wanted > self.weight.sum():
            return np.full(centres.shape[1], np.inf)
        held = np.unique(self.fold)
        low = (centres[held] + spreads[held] * self.errors.min()).min(axis=0)
        high = (centres[held] + spreads[held] * self.errors.max()).max(axis=0)
        positive = np.where(spreads > 0, spreads, _TINY)
        # The sum of weights is a step function of the end: halving finds its step to rounding.
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            total = np.zeros(len(middle))
            for fold in held:
                limit = (middle - centres[fold]) / positive[fold]
                total += self._weight_below(int(fold), limit, "right")
            enough = total >= wanted
            low, high = np.where(enough, low, middle), np.where(enough, middle, high)
        return np.asarray(high)

    def _weight_below(self, fold: int, limits: Array, side: str) -> Array:
        own = self.fold == fold
        order = np.argsort(self.errors[own])
        sums = np.concatenate([[0.0], np.cumsum(self.weight[own][order])])
        found: Array = sums[np.searchsorted(self.errors[own][order], limits, side)]  # type: ignore[call-overload]
        return found


def quantile(errors: Array, weight: Array, level: float) -> float:
    """Return the conformal quantile: the new row counts as one that is beyond all others."""
    order = np.argsort(errors)
    sums = np.cumsum(weight[order])
    total = float(sums[-1]) if len(sums) else 0.0
    at = int(np.searchsorted(sums, level * (total + 1.0) - _ROUNDING))
    return float(errors[order][at]) if at < len(errors) else float("inf")


def task_scales(errors: Array, task: Index, weight: Array, unit: Array) -> tuple[Array, Array]:
    """Return the scale of every task's errors, and for each error that without itself."""
    # Shapes: errors, task, weight (N,), unit (T,), result (T,), (N,).
    # Logs of the tasks' mean absolute errors are normal around what they are, with a variance
    # that the errors themselves tell, and these around a common one (empirical Bayes, with the
    # moment estimator of DerSimonian and Laird). An error must not be measured by itself, or few
    # errors would never seem large. Nor do n errors of a task tell its scale n times: each row
    # was predicted with the help of the others, and of two rows the errors from one another are
    # the same number. One degree of freedom is the level of the task.
    # Weights sum to the rows of equal weight that a task's are worth (Kish), whatever their unit.
    total, squares = (np.bincount(task, part, len(unit)) for part in (weight, weight**2))
    weight = weight * (total / np.where(squares > 0, squares, 1.0))[task]
    n: Array = np.bincount(task, weight, len(unit)).astype(float)
    sums = np.bincount(task, weight * errors, len(unit))
    seen = n > 0
    means = sums[seen] / n[seen]
    overall = float(np.average(means / unit[seen], weights=n[seen]))
    if not overall > 0:
        return np.zeros(len(unit)), np.zeros(len(errors))
    least = 1e-6 * overall * unit
    level = np.maximum(np.divide(sums, n, out=least.copy(), where=seen), least)
    around = weight * (errors / level[task] - 1.0) ** 2
    noise = max(float(around.sum() / max(n[seen].sum() - seen.sum(), 1.0)), _ROUNDING)
    several = n > 1 + _ROUNDING
    told = several if several.any() else seen
    free = np.where(several, n - 1, 1.0)[told]
    bias, variance = _of_log(noise, free)
    spread, common = between(np.log(level / unit)[told] + bias, variance)

    def pulled(value: Array, rows: Array, own: Array) -> Array:
        bias, variance = _of_log(noise, np.maximum(rows - 1.0, _ROUNDING))
        log = np.log(np.maximum(value / own, 1e-6 * overall)) + bias
        share = np.where(rows > 1.0 + _ROUNDING, spread / (spread + variance), 0.0)
        return np.asarray(own * np.exp(common + share * (log - common)))

    rest = n[task] - weight
    alone = rest <= _ROUNDING * n[task]
    rest = np.where(alone, 0.0, rest)
    without = np.where(alone, 0.0, (sums[task] - weight * errors) / np.where(alone, 1.0, rest))
    return pulled(level, n, unit), pulled(np.maximum(without, 0.0), rest, unit[task])


def _of_log(noise: float, free: Array) -> tuple[Array, Array]:
    """Return by how much the log of a mean of errors is too small on average, and its variance."""
    # For noise = 1/2 the variance is that of the log of the root of a mean of squares of normal
    # errors; noise / free, what it tends to, would be .4 of it for one degree of freedom.
    bias = 0.5 * noise * (np.log(0.5 * free) - digamma(0.5 * free))
    return bias, 0.5 * noise * polygamma(1, 0.5 * free)


def between(values: Array, variances: Array) -> tuple[float, float]:
    """Return variance and mean of what values with known variances are estimates of."""
    weights = 1.0 / variances
    mean = float(np.average(values, weights=weights))
    total = weights.sum()
    divisor = total - (weights**2).sum() / total
    spread = 0.0
    if len(values) > 1 and divisor > 0:
        excess = float(weights @ (values - mean) ** 2) - (len(values) - 1)
        spread = max(excess / float(divisor), 0.0)
    return spread, float(np.average(values, weights=1.0 / (variances + spread)))


def _thinned(errors: Array, task: Index, weight: Array) -> tuple[Index, Array]:
    """Return the errors that are kept, evenly among those of a task, and their weights."""
    # Weights are relative: their mean is that of one row.
    weight = weight / weight.mean() if len(weight) else weight
    if len(errors) <= _MOST:
        return np.arange(len(errors)), weight
    order = np.lexsort((errors, task))
    counts = np.bincount(task)
    ordered = np.sort(counts)
    before = np.concatenate([[0], np.cumsum(ordered)[:-1]])
    caps = (_MOST - before) // np.arange(len(ordered), 0, -1)
    most = max(int(caps[np.argmax(caps < ordered)]), 1)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    kept = np.concatenate(
        [
            start + (np.arange(min(n, most)) * n + n // 2) // min(n, most)
            for start, n in zip(starts, counts, strict=True)
            if n
        ]
    )
    places = order[kept]
    owners = task[places]
    factor = np.bincount(task, weight) / np.maximum(np.bincount(owners, weight[places]), _TINY)
    return places, weight[places] * factor[owners]
