"""The work of a comparison: one model in one split at a time, resumable, within a budget."""

from __future__ import annotations

import copy
import math
import re
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from polytask._estimator.groupings import (
    given_first_grouping,
    has_groupings,
    shares_of_groupings,
)
from polytask._estimator.held_out_errors import ErrorRows
from polytask._estimator.training import TaskColumns, cell_mask, encode
from polytask._linalg import is_sparse
from polytask.comparison.held_out_errors import coverage, errors_record, with_errors
from polytask.comparison.options import OWNER
from polytask.comparison.records import (
    Coefficients,
    Description,
    Interval,
    ParameterImportance,
    SparsitySummary,
    StrengthPath,
    TaskGain,
)
from polytask.data import TaskData
from polytask.exceptions import ConvergenceWarning, PolytaskError
from polytask.io import save
from polytask.io.records import read_record, record_node
from polytask.messages import LazyMessage, failure, message_of, spoken
from polytask.metrics import METRICS, HeldOut, Metric
from polytask.metrics.held_out import squares
from polytask.metrics.summaries import Explained, weighted_sum
from polytask.selection.entries import with_fewer_folds, without_splitters
from polytask.selection.held import Rows, Study, held_out, reads_groupings
from polytask.selection.importance import search_shares
from polytask.selection.path import fitted_path
from polytask.selection.path_result import RegularizationPath

# What a picture can hold.
_FEATURES = 30
_COLUMNS = 100


class Refit:
    """Fits models of a comparison on all rows, each once, on what `compare` was given."""

    # A model that is fitted on X with its task column finds the tasks there when it predicts.

    def __init__(
        self,
        given: Mapping[str, Any],
        column: TaskColumns,
        estimators: dict[str, Any],
        errors: Callable[[str], ErrorRows | None],
        study: Study,
    ) -> None:
        self._given = given
        self._column = column
        self._estimators = estimators
        self._errors = errors
        self._study = study
        self._fitted: dict[str, Any] = {}

    def __call__(self, name: str) -> Any:  # noqa: ANN401 - a fitted estimator
        """Return the model of a name, fitted on all rows."""
        if name not in self._fitted:
            model = clone(self._estimators[name])
            given, column = self._given, self._column
            if reads_groupings(model):
                model.set_params(task_column=column)
            elif has_groupings(given["X"], given["task"], column):
                X, task, column = given_first_grouping(given["X"], given["task"], column, OWNER)
                given = {**given, "X": X, "task": task}
            if column is not None:
                model.set_params(task_column=column)
            with threadpool_limits(1):
                model.fit(**given)
            # Groups or times are the data of others, and of no use for predicting.
            model = with_errors(without_splitters(model), self._errors(name), self._study)
            self._fitted[name] = model
        return self._fitted[name]

    def with_coverage(self, name: str, gains: tuple[TaskGain, ...]) -> tuple[TaskGain, ...]:
        """Add which share of a task's held-out rows the intervals of a model hold."""
        rows = self._errors(name)
        if rows is None or self._estimators[name]._knows_new_targets:
            return gains
        shares = coverage(rows, self._study).tolist()
        tasks = self._study.data.tasks
        known = {t: s for t, s in zip(tasks, shares, strict=True) if not math.isnan(s)}
        return tuple(replace(gain, coverage=known.get(gain.task)) for gain in gains)


def coefficients(data: TaskData, model: Any, name: str) -> Coefficients | None:  # noqa: ANN401
    """Return the largest coefficients of a fitted model, on features of unit deviation."""
    if not hasattr(model, "coef_"):
        return None
    values = np.asarray(model.coef_) * _deviations(data, model)
    size = np.linalg.norm(values, axis=0)
    rows = np.argsort(-size, kind="stable")[:_FEATURES]
    columns = np.arange(values.shape[0])[:_COLUMNS]
    names = [str(name) for name in model.coef_feature_names_]
    return Coefficients(
        features=tuple(names[j] for j in rows),
        columns=tuple(
            str(task) if label is None else f"{task}: {label}"
            for task, label in (model.columns_[c] for c in columns)
        ),
        values=tuple(tuple(float(values[c, j]) for c in columns) for j in rows),
        n_features=values.shape[1],
        n_columns=values.shape[0],
        model=name,
        positive=_positive_class(model),
    )


def _positive_class(model: Any) -> str:  # noqa: ANN401 - a fitted estimator
    """Return the second of the two classes that all tasks have; empty where they differ."""
    known = list(getattr(model, "task_classes_", {}).values())
    if any(classes is None or len(classes) != 2 for classes in known):
        return ""
    seconds = {str(classes[1]) for classes in known}
    return seconds.pop() if len(seconds) == 1 else ""


def _deviations(data: TaskData, model: Any) -> NDArray[np.float64]:  # noqa: ANN401
    encoded = data if model.encoder_ is None else encode(data, model.encoder_)
    X = encoded.X
    if is_sparse(X):
        mean = np.asarray(X.mean(axis=0)).ravel()
        square = np.asarray(X.multiply(X).mean(axis=0)).ravel()
        return np.asarray(np.sqrt(np.maximum(square - mean**2, 0.0)))
    mask = cell_mask(encoded)
    if encoded.fold is not None:
        # Rows that stand for statistics count by their weights.
        mean, weight = np.average(X, axis=0, weights=data.sample_weight), data.sample_weight
        return np.asarray(np.sqrt(np.average((X - mean) ** 2, axis=0, weights=weight)))
    if mask is None:
        return np.asarray(np.std(X, axis=0, dtype=float))
    return np.asarray(np.nan_to_num(np.nanstd(np.where(mask, X, np.nan), axis=0)))


# Lines that a picture can name.
_LINES = 8
# Above as many numbers, a path of matrices is not worth its memory.
_MOST = 2e7
_NUMBER = re.compile(r"\d+\.\d+(?:e[+-]?\d+)?")


def described(data: TaskData, model: Any, name: str) -> Description:  # noqa: ANN401 - fitted
    """Say what a fitted model shows."""
    searched = hasattr(model, "alpha_scores_")
    small = searched and model.coef_.size * len(model.alphas_) <= _MOST
    path = fitted_path(model, data, exact=False) if small else None
    return Description(
        coefficients(data, model, name),
        None if path is None else _path(path, name),
        _sparsity(model, path, name) if hasattr(model, "coef_") else None,
        tuple(ParameterImportance(*row) for row in search_shares(model)) if searched else (),
        tuple(Interval(*share) for share in shares_of_groupings(model).values()),
    )


def _path(path: RegularizationPath, name: str) -> StrengthPath:
    reach = path.sizes.max(axis=0)
    top = np.argsort(-reach, kind="stable")[:_LINES]
    top = top[reach[top] > 0]
    return StrengthPath(
        model=name,
        penalty=_short(path.penalty),
        measure=path.measure.name,
        alphas=path.alphas.tolist(),
        scores=path.score.tolist(),
        standard_errors=path.standard_error.tolist(),
        features=path.kept.tolist(),
        ranks=path.ranks.tolist(),
        names=tuple(path.features[j] for j in top),
        sizes=path.sizes[:, top].T.tolist(),
        n_features=len(path.features),
        best=path.best,
        one_se=path.one_se,
        chosen=path.chosen,
    )


def _sparsity(model: Any, path: RegularizationPath | None, name: str) -> SparsitySummary:  # noqa: ANN401
    left = model.coef_ != 0
    possible = min(int(left.any(axis=0).sum()), int(left.any(axis=1).sum()))
    rank = possible if path is None else int(path.ranks[path.chosen])
    penalty = getattr(model, "best_penalty_", None)
    return SparsitySummary(
        model=name,
        penalty="" if penalty is None else _short(penalty),
        features=float(left.any(axis=0).mean()),
        coefficients=float(left.mean()),
        rank=rank if rank < possible else None,
    )


def _short(penalty: object) -> str:
    """Return a penalty with three digits per number."""
    return _NUMBER.sub(lambda m: f"{float(m[0]):.3g}", repr(penalty))


Array = NDArray[np.float64]
Record = dict[str, Any]

# Rows that the time of a prediction is stated for.
_ROWS = 1000
ALL_ROWS = "all rows"
"""The variant of a unit that describes a model of all rows, and scores nothing."""


def description_of(records: Mapping[str, Record], name: str | None) -> Description:
    """Return what the record of a model of all rows holds; nothing if there is none."""
    found = records.get(f"0/{name}/{ALL_ROWS}")
    return read_record(found, Description) if found and "path" in found else Description()


@dataclass(frozen=True, eq=False)
class Unit:
    """One model in one outer split."""

    model: str
    split: int
    estimator: Any
    train: Rows
    test: Rows
    inner: tuple[tuple[Rows, Rows], ...]
    metric: str
    shown: tuple[str, ...]
    by_task: bool
    variant: str = ""

    @property
    def key(self) -> str:
        """The name of its record in the journal."""
        return f"{self.split}/{self.model}{self.variant and f'/{self.variant}'}"

    @property
    def label(self) -> str:
        """What progress shows."""
        say, whole = spoken(), self.variant == ALL_ROWS
        name = say.listed([self.model] if whole else filter(None, (self.model, self.variant)))
        key = "unit.all_rows" if whole else "unit.split"
        return say(key, {"name": name, "split": self.split + 1})


def run_unit(study: Study, unit: Unit) -> Record:
    """Fit and score one model in one split."""
    try:
        if len(unit.test):
            return _run(study, unit)
        # Nothing is held out of all rows: what the model makes of them is kept.
        model, _, _ = _fitted(study, unit, unit.train)
        return record_node(described(study.part(unit.train, model), model, unit.model))
    except (PolytaskError, ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
        # A model that cannot be fitted is a row with a note, not the end of the comparison.
        return {"failed": failure(error)}


def _run(study: Study, unit: Unit) -> Record:
    inner = [_score(unit, _fitted(study, unit, a)[0], study, a, b) for a, b in unit.inner]
    again = [part for _, parts in inner for _, part in parts]
    # A model that is saved holds the encoder of its table.
    saved = unit.split == 0 and not unit.variant
    given = replace(study, encoded=None) if saved else study
    model, cost, notes = _fitted(given, unit, unit.train)
    value, parts = _score(unit, model, given, unit.train, unit.test)
    seconds = float("nan")
    if saved:
        # One call for so many rows: those held out, repeated.
        asked = given.part(np.resize(unit.test, _ROWS), model)
        started = time.process_time()
        model.predict(asked)
        seconds = time.process_time() - started
    rows = row_losses(METRICS[unit.metric])
    kept: Record = {}
    if rows and again:
        kept["inner_losses"] = np.concatenate([rows(part) for part in again])
    if study.collected is None and not unit.variant:
        kept |= errors_record(given, model, parts)
    return {
        "inner": [score for score, _ in inner],
        "score": value,
        "fit_seconds": cost,
        "predict_seconds": seconds,
        "nonzero": nonzero(model),
        "file_bytes": file_bytes(model) if saved else None,
        "notes": notes,
        **_scores(unit, parts),
        **_losses(METRICS[unit.metric], parts),
    } | kept


def _fitted(study: Study, unit: Unit, rows: Rows) -> tuple[Any, float, list[Any]]:
    from sklearn.exceptions import ConvergenceWarning as TheirConvergenceWarning

    data = study.part(rows, unit.estimator)
    model = with_fewer_folds(clone(unit.estimator), data)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        started = time.process_time()
        model.fit(data)
        cost = time.process_time() - started
    kept = (ConvergenceWarning, TheirConvergenceWarning)
    told = [message_of(w.message) for w in caught if issubclass(w.category, kept)]
    notes = {str(one): one.node if isinstance(one, LazyMessage) else one for one in told}
    return model, cost, list(notes.values())


def _score(
    unit: Unit,
    model: Any,  # noqa: ANN401 - a fitted estimator
    study: Study,
    train: Rows,
    test: Rows,
) -> tuple[float, list[tuple[int, HeldOut]]]:
    parts = held_out(study, model, train, test)
    return split_score(METRICS[unit.metric], [part for _, part in parts], unit.by_task), parts


def split_score(metric: Metric, parts: Sequence[HeldOut], by_task: bool) -> float:
    """Return the verdict's metric of one split."""
    if not by_task:
        return float(metric.overall(parts))
    values = np.array([metric.by_task(part) for part in parts])
    return float(np.mean(values[~np.isnan(values)])) if np.any(~np.isnan(values)) else float("nan")


def _scores(unit: Unit, parts: Sequence[tuple[int, HeldOut]]) -> Record:
    """Return every metric by task and for the split, and how many could not be defined."""
    overall: dict[str, float] = {}
    tables: dict[str, Array] = {}
    undefined: dict[str, int] = {}
    for name in unit.shown:
        metric = METRICS[name]
        mine = [part for _, part in parts if metric.fits(part)]
        tables[name] = np.array([metric.by_task(part) for _, part in parts])
        overall[name] = split_score(metric, mine, unit.by_task) if mine else float("nan")
        undefined[name] = int(np.isnan(tables[name]).sum()) - (len(parts) - len(mine))
    tasks = np.array([t for t, _ in parts], dtype=np.int64)
    errors = np.array([_squared_error(part) for _, part in parts])
    told = {"by_task": tables, "overall": overall, "undefined": undefined}
    return {"tasks": tasks, "squared_errors": errors, **told}


def _squared_error(part: HeldOut) -> float:
    """Return the sum over the rows of a task; NaN of classes."""
    if part.classes is not None:
        return float("nan")
    return weighted_sum(squares(part.y - part.prediction), part.weight)


def _losses(metric: Metric, parts: Sequence[tuple[int, HeldOut]]) -> Record:
    """Return what every held-out label loses, if losses add up, and what the constant does."""
    rows = row_losses(metric)
    if rows is None:
        return {}
    held = [part for _, part in parts]
    plain = all(part.weight is None for part in held)
    weights = [np.ones(len(p.y)) if p.weight is None else p.weight for p in held]
    return {
        "losses": np.concatenate([rows(part) for part in held]),
        "null": np.array([_null(metric, part) for part in held]),
        "counts": np.array([len(part.y) for part in held], dtype=np.int64),
        "row_weights": None if plain else np.concatenate(weights),
    }


def _null(metric: Metric, part: HeldOut) -> float:
    """Return the mean loss of the constant; 0 where it is that but for rounding."""
    losses = part.losses()
    without = is_relative(metric) and np.isfinite(losses).any() and np.isnan(metric.by_task(part))
    return (
        0.0
        if without or not part.total
        else float(np.average(part.baseline_losses(), weights=part.weight))
    )


def row_losses(metric: Metric) -> Callable[[HeldOut], Array] | None:
    """Return the loss of every row, less is better; None if the metric is no mean over rows."""
    if is_relative(metric):
        return HeldOut.losses
    rows = metric.rows
    if rows is None or not metric.greater_is_better:
        return rows
    return lambda held: -rows(held)


def is_relative(metric: Metric) -> bool:
    """Say whether the metric is 1 - loss / loss of the constant."""
    return isinstance(metric.summary, Explained)


def nonzero(model: Any) -> int | None:  # noqa: ANN401 - a fitted estimator
    """Return how many coefficients of features are not zero, None where a model has none."""
    if hasattr(model, "coef_"):
        return int(np.count_nonzero(model.coef_))
    inner: Mapping[Any, Any] = getattr(model, "estimators_", None) or {}
    held = list(inner.values()) if inner else [getattr(model, "estimator_", None)]
    # Columns of tasks, which stand behind the features, are intercepts.
    others = getattr(model, "n_task_columns_", 0)
    counts = [_coefficients(estimator, others) for estimator in held]
    return None if any(c is None for c in counts) else int(sum(c for c in counts if c is not None))


def _coefficients(estimator: Any, others: int) -> int | None:  # noqa: ANN401 - any estimator
    last = estimator[-1] if hasattr(estimator, "steps") else estimator
    if type(last).__name__.startswith("Dummy"):
        return 0
    if not hasattr(last, "coef_"):
        return None
    coef = np.asarray(last.coef_)
    return int(np.count_nonzero(coef[..., : coef.shape[-1] - others]))


def file_bytes(model: Any) -> int | None:  # noqa: ANN401 - a fitted estimator
    """Return the size of the saved model, None if it cannot be saved."""
    model = _timeless(model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.polytask"
        try:
            save(model, path)
        except PolytaskError:
            return None
        return path.stat().st_size


def _timeless(model: Any) -> Any:  # noqa: ANN401 - a fitted estimator
    """Return a model without the seconds of its fits, which have more digits in some runs."""
    changed: dict[str, Any] = {}
    solution: Any = getattr(model, "solution_", None)
    if hasattr(solution, "seconds"):
        changed["solution_"] = replace(solution, seconds=0.0)
    # Those of a network that a baseline holds.
    inner = getattr(model, "estimators_", None)
    if isinstance(inner, Mapping):
        changed["estimators_"] = {task: _timeless(one) for task, one in inner.items()}
    if hasattr(model, "estimator_"):
        changed["estimator_"] = _timeless(model.estimator_)
    if not changed:
        return model
    plain = copy.copy(model)
    vars(plain).update(changed)
    return plain


def run_one(shared: tuple[Study, Sequence[Unit]], place: int) -> Record:
    """Do one of the pieces of work, in a worker."""
    study, units = shared
    # Two threads of linear algebra on small matrices cost more than one, ten times more where
    # the machine is busy; and sums come out the same on every machine.
    with threadpool_limits(1):
        return run_unit(study, units[place])
