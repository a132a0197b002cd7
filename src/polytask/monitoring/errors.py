"""Errors of new rows against those that the folds of training held out, and against rivals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from polytask._estimator.conformal import errors_of, number_tasks
from polytask._estimator.held_out_errors import HeldOutErrors, between, quantile
from polytask._estimator.query import Query
from polytask._estimator.scoring import labelled_rows
from polytask._linalg import is_sparse
from polytask.data import Form, TaskData
from polytask.monitoring.records import Gain
from polytask.monitoring.tests import Moments, rank_moments, share_p_values

Array = NDArray[np.float64]
# Rows of a task from which rivals are learned, tasks and rows per task that are looked at.
_FEWEST, _MOST_TASKS, _MOST_ROWS, _FOLDS = 5, 200, 2000, 5
# Clusters from which a t interval over tasks is used in place of one over rows.
_FEWEST_TASKS = 5
_ALPHAS = np.logspace(-3, 5, 17)
_FARTHEST = 1e100


@dataclass(frozen=True, eq=False)
class ErrorChecks:
    """Errors by the task of the model, and p-values. Shapes: all (T,), but `together`."""

    rows: Array
    error: Array
    usual_error: Array
    growth: Array
    coverage: Array
    usual_coverage: Array
    # Of larger errors, and of less coverage.
    larger: Array
    uncovered: Array
    together: Array
    # Errors of tasks that the model does not know, by their place in the data.
    strangers: dict[int, float]


def error_checks(model: Any, raw: TaskData, codes: Any, level: float) -> ErrorChecks:  # noqa: ANN401
    """Compare labelled rows with held-out errors. Shapes: codes (tasks of raw,)."""
    held: HeldOutErrors | None = getattr(model, "_held_out", None)
    n_tasks = len(model._schema.index.labels)
    nan = np.full(n_tasks, np.nan)
    rows, error, usual, ratio, spread = np.zeros(n_tasks), *(nan.copy() for _ in range(4))
    coverage, usual_coverage = nan.copy(), nan.copy()
    larger, uncovered, moments = nan.copy(), nan.copy(), []
    strangers: dict[int, float] = {}
    radius = {}
    if held is not None:
        for kind in (True, False):
            own = held.numbers[held.task] == kind
            radius[kind] = quantile(held.errors[own], held.weight[own], level)
        usual_coverage = held.coverage(level)[0] if held.for_intervals else usual_coverage
    for part in errors_of(model, raw):
        t = int(part.task[0]) if codes is None else int(codes[part.task[0]])
        if t < 0:
            strangers[int(part.task[0])] = float(part.errors.mean())
            continue
        rows[t], error[t] = len(part.errors), part.errors.mean()
        known = np.empty(0) if held is None else held.errors[held.task == t]
        if held is None or not len(known) or not held.scale[t] > 0:
            continue
        unit = part.errors / held.scale[t]
        usual[t] = held.scale[t] * np.average(known, weights=held.weight[held.task == t])
        moments.append(_ranked(known, unit))
        larger[t] = moments[-1].p_values(two_sided=False)
        ratio[t] = unit.mean() / max(known.mean(), np.finfo(float).tiny)
        spread[t] = _relative(known) / len(known) + _relative(unit) / len(unit)
        if not held.for_intervals:
            # Of intervals that the model has of its own the usual coverage is not known.
            continue
        inside = unit <= radius[bool(held.numbers[t])]
        coverage[t] = inside.mean()
        # Rows that were held out are covered by the errors of other folds.
        missed = np.rint((1 - usual_coverage[t]) * len(known))
        counts = map(np.float64, (missed, len(known), (~inside).sum(), len(unit)))
        uncovered[t] = share_p_values(*map(np.asarray, counts), two_sided=False)
    together = np.array([np.nan])
    if len(moments) > 1:
        stacked = Moments(*(np.array(part) for part in zip(*moments, strict=True)))
        together = np.atleast_1d(stacked.summed().p_values(two_sided=False))
    growth = np.exp(pulled(np.log(np.maximum(ratio, 1e-9)), spread))
    return ErrorChecks(rows, error, usual, growth, coverage, usual_coverage, larger, uncovered,
                       together, strangers)  # fmt: skip


def _relative(errors: Array) -> float:
    """Return the variance over the squared mean, at least that of half-normal errors."""
    mean = max(float(errors.mean()), float(np.finfo(float).tiny))
    return max(float((errors / mean).var()), np.pi / 2 - 1)


def _ranked(known: Array, new: Array) -> Moments:
    values = np.unique(np.concatenate([known, new]))
    # Every value is a cell, between cells that are empty.
    shape = 2 * len(values) + 1
    places = (2 * np.searchsorted(values, own) + 1 for own in (known, new))
    return rank_moments(*(np.bincount(at, minlength=shape).astype(float) for at in places))


def pulled(values: Array, variances: Array) -> Array:
    """Return estimates pulled to their mean by as much as chance explains (empirical Bayes)."""
    known = np.isfinite(values) & np.isfinite(variances) & (variances > 0)
    if known.sum() < 2:
        return values
    spread, common = between(values[known], variances[known])
    share = spread / (spread + variances)
    return np.where(known, common + share * (values - common), values)


# Rivals --------------------------------------------------------------------------------------


def gains(model: Any, raw: TaskData, query: Query, level: float) -> tuple[Gain, ...]:  # noqa: ANN401
    """Compare the model on labelled rows with what other new rows of the task alone predict."""
    parts = [p for p in labelled_rows(raw, query.codes) if p.task >= 0 and len(p.y) >= _FEWEST]
    if len(parts) > _MOST_TASKS:
        parts = [parts[k * len(parts) // _MOST_TASKS] for k in range(_MOST_TASKS)]
    numbers, targets = number_tasks(model), raw.form is Form.TARGETS
    by_place = {int(p.task[0]): p.errors for p in errors_of(model, raw)}
    place = range(raw.n_tasks) if query.codes is None else query.codes.tolist()
    errors = {int(place[k]): own for k, own in by_place.items()}
    names = ("mean", "separate")
    losses: dict[str, list[tuple[Array, Array]]] = {name: [] for name in names}
    for part in parts:
        rows = np.arange(raw.n_rows)[part.rows]
        keep = np.arange(min(len(rows), _MOST_ROWS)) * len(rows) // min(len(rows), _MOST_ROWS)
        X, y = _features(query.data.X, rows[keep]), np.asarray(part.y)[keep]
        if numbers[part.task]:
            y = y.astype(float)
            predicted = model._predict_rows(query.data.X[rows[keep]], np.full(len(y), part.task))
            own = (y - np.asarray(predicted, dtype=float)) ** 2
        else:
            own = errors[part.task][keep] ** 2
            # Labels that are numbers are no classes to scikit-learn.
            known = {label: k for k, label in enumerate(dict.fromkeys(y.tolist()))}
            y = np.array([known[label] for label in y.tolist()])
        found = _rivals(X, y, bool(numbers[part.task]))
        # Targets have units of their own.
        unit = max(float(found["mean"].mean()), np.finfo(float).tiny) if targets else 1.0
        for name, rival in found.items():
            losses[name].append((own / unit, rival / unit))
    made = (_gain(name, losses[name], targets, level) for name in names)
    return tuple(gain for gain in made if gain is not None)


def _features(X: Any, rows: NDArray[np.intp]) -> Any:  # noqa: ANN401 - any rows
    """Return rows of features as numbers, None where they are none."""
    values = getattr(X, "values", X)
    if is_sparse(values):
        return values[rows].toarray() if values.shape[1] <= _MOST_ROWS else None
    plain = isinstance(values, np.ndarray) and values.ndim == 2 and values.dtype.kind in "biuf"
    # Squares of cells that are far from all others stay finite.
    return np.clip(np.nan_to_num(values[rows]), -_FARTHEST, _FARTHEST) if plain else None


def _rivals(X: Any, y: NDArray[Any], numbers: bool) -> dict[str, Array]:  # noqa: ANN401
    """Return the loss of each row by models of the other folds."""
    fold = np.random.default_rng(0).permutation(len(y)) % _FOLDS
    found = {"mean": np.empty(len(y)), **({} if X is None else {"separate": np.empty(len(y))})}
    for k in range(_FOLDS):
        test, train = fold == k, fold != k
        seen = y[train]
        if numbers:
            found["mean"][test] = (y[test] - seen.mean()) ** 2
            if X is not None:
                ridge = make_pipeline(StandardScaler(), RidgeCV(_ALPHAS)).fit(X[train], seen)
                found["separate"][test] = (y[test] - ridge.predict(X[test])) ** 2
            continue
        # One more of each class, so that none is impossible.
        share = {c: np.mean(seen == c) for c in np.unique(seen)}
        found["mean"][test] = [(1 - share.get(c, 0.0)) ** 2 for c in y[test].tolist()]
        if X is None:
            continue
        if len(share) < 2:
            found["separate"][test] = found["mean"][test]
            continue
        logistic = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        chances = logistic.fit(X[train], seen).predict_proba(X[test])
        column = {c: j for j, c in enumerate(logistic.classes_.tolist())}
        right = [p[column[c]] if c in column else 0.0
                 for p, c in zip(chances, y[test].tolist(), strict=True)]  # fmt: skip
        found["separate"][test] = (1 - np.array(right)) ** 2
    return found


def _gain(
    name: str, losses: list[tuple[Array, Array]], targets: bool, level: float
) -> Gain | None:
    """Return the ratio of sums of losses, its interval over tasks, over rows if these are few."""
    if not losses:
        return None
    own, rival = (np.concatenate(part) for part in zip(*losses, strict=True))
    total = float(rival.sum())
    gain = 1.0 - float(own.sum()) / total if total > 0 else float("nan")
    if not (np.isfinite(total) and np.isfinite(gain)):
        return None
    sizes = [len(part[0]) for part in losses]
    away = (rival - own) - gain * rival
    if len(losses) >= _FEWEST_TASKS and not targets:
        away = np.add.reduceat(away, np.cumsum([0, *sizes[:-1]]))
    elif targets and len(set(sizes)) == 1:
        away = away.reshape(len(sizes), -1).sum(axis=0)
    n = len(away)
    error = np.sqrt(n / max(n - 1, 1) * float(away @ away)) / total
    half = float(scipy.stats.t.ppf((1 + level) / 2, max(n - 1, 1))) * error
    return Gain(name, gain, gain - half, gain + half, level, int(sum(sizes)), len(losses))
