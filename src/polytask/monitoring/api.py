"""``polytask.monitor``: the public function."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import math
import warnings
from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from polytask._checks import number, sentence
from polytask._estimator import MultiTaskEstimator
from polytask._estimator.conformal import checked_level, number_tasks
from polytask._estimator.dates import date_of_feature, dates_again
from polytask._estimator.query import Query, named_columns
from polytask._estimator.training import is_task_mapping, is_wide, names_targets
from polytask._estimator.training_summary import TableGaps, TrainingSummary, row_groups
from polytask.data import Form, TaskData, tables
from polytask.data.missing import missing_mask
from polytask.data.outcomes import check_length, outcome_values
from polytask.exceptions import DataError, DataWarning, ParameterError
from polytask.messages import LazyMessage
from polytask.metrics.groups import holm
from polytask.monitoring.errors import ErrorChecks, error_checks, gains
from polytask.monitoring.records import NAN, Gain, NewLevels, TaskState
from polytask.monitoring.result import Monitoring
from polytask.monitoring.shifts import NewRows, Shifts, checks_of, least_logs
from polytask.selection.adaptable import obstacle

OWNER = "monitor"
_OF_ERRORS = ("error", "usual_error", "growth", "coverage", "usual_coverage")
# Levels that are named of a column.
_NAMED = 5


def monitor(
    model: MultiTaskEstimator,
    X: Any,  # noqa: ANN401 - what `fit` takes
    y: Any = None,  # noqa: ANN401 - what `fit` takes
    task: Any = None,  # noqa: ANN401 - what `fit` takes
    *,
    rate: float = 0.05,
    level: float = 0.9,
) -> Monitoring:
    """Say whether new rows are still those that a model was fitted for, and which tasks to refit.

    Parameters
    ----------
    model : MultiTaskEstimator
        A fitted model.
    X : array, sparse matrix or table of shape (n, d), TaskData, or mapping
        The new rows, as :meth:`fit` and :meth:`predict` take them. Tasks may be unknown.
    y : array of shape (n,) or (n, T), or None, default=None
        Their targets as far as they are known; missing ones are NaN or None.
    task : array of shape (n,) or None, default=None
        As in :meth:`fit`.
    rate : float, default=0.05
        In at most this share of calls on rows like those of training anything is called a
        change, in (0, 1).
    level : float, default=0.9
        Of the intervals whose coverage is checked, in (0, 1).

    Returns
    -------
    Monitoring
        With ``summary()``, ``tasks_frame()``, ``shifts_frame()``, ``status`` and reports.

    Raises
    ------
    DataError
        If `model` is none of polytask or the rows do not fit it.
    ParameterError
        If `rate` or `level` is no probability.

    Notes
    -----
    New rows are compared with quantiles of every column in every task that the model keeps: shares
    and missing cells by Fisher's exact test, the location of numbers by Wilcoxon's and their
    spread by Mood's rank test, whose tails allow for skewness (Pearson III); all tasks together by
    the sums of these statistics over the tasks, so that another mix of tasks is no shift. Models
    that were fitted from statistics keep means and variances (Welch's test; the spread is not
    checked). Errors are compared with those of the rows that the folds of training held out, by
    Wilcoxon's one-sided test, and coverage by Fisher's. `rate` is divided evenly among the
    families of tests that can be made (columns of all tasks, columns of single tasks, errors of
    all tasks, errors of single tasks), and within each by Holm's method, which holds however the
    tests depend on each other. Rows are taken for independent within a task.

    References
    ----------
    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics 6, 1979. van Elteren, "On the combination of independent two-sample tests of
    Wilcoxon", Bulletin of the ISI 37, 1960 (tasks together). Mood, "On the asymptotic efficiency
    of certain nonparametric two-sample tests", Annals of Mathematical Statistics 25, 1954.

    Examples
    --------
    >>> import numpy as np
    >>> from polytask import BayesianMultiTaskRegressor, monitor
    >>> rng = np.random.default_rng(0)
    >>> X, school = rng.normal(size=(400, 2)), np.repeat(["a", "b"], 200)
    >>> model = BayesianMultiTaskRegressor().fit(X, X.sum(axis=1) + rng.normal(size=400), school)
    >>> found = monitor(model, X[:, [0, 1]] + [0.0, 2.0], task=school)
    >>> [(shift.task, shift.column, shift.kind) for shift in found.shifts if shift.task == "a"]
    [('a', 'x1', 'location')]
    """
    if not isinstance(model, MultiTaskEstimator):
        kind = LazyMessage("got.kind", {"kind": type(model).__name__})
        raise DataError(sentence("model", OWNER, LazyMessage("allowed.own_estimator"), kind))
    check_is_fitted(model)
    allowed = LazyMessage("allowed.between_0_and_1")
    share, level = number(rate, "rate", OWNER, allowed), checked_level(level, OWNER)
    if not 0 < share < 1:
        raise ParameterError(sentence("rate", OWNER, allowed, repr(rate)))
    reader = copy.copy(model)
    reader.unseen_tasks = "shared"
    with warnings.catch_warnings():
        # What is unusual in the rows is said by the result.
        warnings.simplefilter("ignore", DataWarning)
        raw, known = _read(reader, X, y, task)
        query = reader._reading.query(reader._schema, raw, None, "shared")
        given = known
        if known is not None and query.codes is not None and model.unseen_tasks != "shared":
            # Nothing is predicted for tasks that the model refuses.
            known = known & (np.asarray(query.codes) >= 0)[raw.row_tasks()]
        # Errors and variances of rows that are far from all others may be infinite.
        with np.errstate(over="ignore", invalid="ignore"):
            return _Rows(reader, raw, query, known, given).monitored(share, level)


def _read(
    model: Any,  # noqa: ANN401
    X: Any,  # noqa: ANN401
    y: Any,  # noqa: ANN401
    task: Any,  # noqa: ANN401
) -> tuple[TaskData, NDArray[np.bool_] | None]:
    """Return rows with their targets, and which have one; None if no target was given."""
    schema = model._schema
    tables.refuse_lazy(X, "X", OWNER)
    X = dates_again(named_columns(schema, X), schema.dates, schema.encoder)
    given = y is not None
    if is_task_mapping(X):
        given = all(isinstance(part, tuple) for part in X.values())
        # Rows are read as in `score`, which needs targets.
        X = X if given else {label: (part, np.zeros(_length(part))) for label, part in X.items()}
    elif isinstance(X, TaskData):
        given = X.y is not None
        X = X if given else X.with_y(np.zeros(X.n_rows))
    elif y is None:
        several = schema.form is Form.TARGETS
        y = np.zeros((_length(X), len(schema.index.labels))) if several else np.zeros(_length(X))
    elif not isinstance(y, str) and not names_targets(X, y) and not is_wide(y):
        values = outcome_values(y, "y", OWNER)
        check_length(len(values), _length(X), "y", OWNER)
        gaps = missing_mask(values)
        raw = model._reading.scored(schema, X, np.zeros(len(values)), task, None)
        if gaps.all():
            return raw, None
        usual = values[~gaps]
        values = values.copy()
        values[gaps] = usual[0]
        return raw.with_y(values[raw.order]), ~gaps[raw.order]
    raw = model._reading.scored(schema, X, y, task, None)
    return raw, np.ones(raw.n_rows, dtype=bool) if given else None


def _length(X: Any) -> int:  # noqa: ANN401 - rows of any kind
    return tables.n_rows(X) if tables.is_table(X) else int(np.shape(X)[0])


class _Rows:
    """New rows of a model, before and after encoding, and which of them have a target."""

    # `given` have one; `known` are those of them that are predicted.

    def __init__(
        self,
        model: Any,  # noqa: ANN401
        raw: TaskData,
        query: Query,
        known: NDArray[np.bool_] | None,
        given: NDArray[np.bool_] | None,
    ) -> None:
        self.model, self.raw, self.query = model, raw, query
        self.known, self.given = known, given
        self.targets = raw.form is Form.TARGETS
        self.labels: tuple[Hashable, ...] = model._schema.index.labels
        self.labelled = None
        if known is not None and known.any():
            self.labelled = raw if known.all() else raw.rows(known)

    def monitored(self, rate: float, level: float) -> Monitoring:
        """Make all checks."""
        summary: TrainingSummary | None = self.model.data_card_.training
        errors, rivals = None, tuple[Gain, ...]()
        unchecked = ["targets"] if self.labelled is None else []
        if self.labelled is not None:
            query = self.model._reading.query(self.model._schema, self.labelled, None, "shared")
            errors = error_checks(self.model, self.labelled, query.codes, level)
            unchecked += [] if getattr(self.model, "_held_out", None) is not None else ["errors"]
        unchecked += ["columns"] if summary is None else []
        unchecked += ["spread"] if summary is not None and summary.cuts is None else []
        if summary is not None and summary.tasks:
            codes = np.asarray(self.query.codes).tolist()
            known = [t for t, c in zip(self.raw.tasks, codes, strict=True) if c >= 0]
            unchecked += [] if {*known} <= {*summary.tasks} else ["later_tasks"]
        tested = errors is not None and bool(np.isfinite(errors.larger).any())
        groups = {} if summary is None else self._groups(summary)
        families = (len(groups) and (2 if len(groups) > 1 else 1)) + (2 if tested else 0)
        part = rate / max(families + (errors is not None), 1)
        if self.labelled is not None:
            rivals = gains(self.model, self.labelled, query, 1 - 2 * part)
        shifts, least = Shifts(), np.zeros(0)
        if summary is not None and groups:
            used = sorted(groups)
            own = summary.of_groups(used)
            shifts = self._shifts(own, [groups[g] for g in used], part)
            n = own.counts.max(axis=1)
            least = least_logs(n, np.array([groups[g].stop - groups[g].start for g in used]))
        few = {t for t, p in zip(groups, least, strict=True) if p > np.log(shifts.limits[1])}
        possible = len(few) < len(groups)
        possible |= len(groups) > 1 and float(least.sum()) <= np.log(shifts.limits[0])
        labels = set() if summary is None or self.targets else {summary.tasks[g] for g in few}
        states = self._states(errors, shifts, part, labels)
        return Monitoring(
            model=type(self.model).__name__,
            rate=rate,
            level=level,
            n_rows=self.raw.n_rows,
            tasks=states,
            shifts=shifts.found,
            new_levels=self._new_levels(),
            gains=rivals,
            refit_all=errors is not None and bool(errors.together[0] <= part),
            unchecked=tuple(unchecked),
            conclusive=tested or bool(possible),
            lock={"date": datetime.date.today().isoformat()},
        )

    def _groups(self, summary: TrainingSummary) -> dict[int, slice]:
        """Return the rows of the groups of a summary that have some, in their order."""
        if self.targets:
            return {0: slice(0, self.raw.n_rows)} if self.raw.n_rows else {}
        place = {label: g for g, label in enumerate(summary.tasks)}
        rows = zip(self.raw.tasks, row_groups(self.raw), strict=True)
        found = {place[t]: own for t, own in rows if t in place and own.stop > own.start}
        return dict(sorted(found.items()))

    def _shifts(self, summary: TrainingSummary, groups: list[slice], rate: float) -> Shifts:
        encoder = self.model._schema.encoder
        lacking = TableGaps(self.raw, encoder)
        raw = dataclasses.replace(self.raw, y=self._targets_as_given())
        new = NewRows.of(summary, self.query.data, raw, groups, lacking)
        features = [str(name) for name in self.model.coef_feature_names_]
        sources = features
        if encoder is not None:
            sources = [str(s) for s in encoder.feature_names_in_[encoder.source_columns()]]
        targets = summary.target_names(self.labels)
        # Later rows have later dates: that time has passed is no change.
        calendar = date_of_feature(self.model._schema.dates)
        passing = [s in calendar and not s.endswith("=weekday") for s in [*sources, *targets]]
        checks = [
            check.without(np.array(passing)) for check in checks_of(summary, new, lacking.first)
        ]
        return Shifts.of(checks, [*features, *targets],
                         [*sources, *targets], summary.n_features,
                         list(summary.tasks or (None,)), (rate, rate))  # fmt: skip

    def _targets_as_given(self) -> NDArray[Any] | None:
        """Return the targets with their gaps, None where none is known."""
        if self.known is None:
            return None
        y = np.asarray(self.raw.y)
        if self.known.all():
            return y
        y = y.astype(object if y.dtype.kind in "OUSb" else float)
        y[~self.known] = None if y.dtype == object else np.nan
        return y

    def _states(
        self, errors: ErrorChecks | None, shifts: Shifts, rate: float, few: set[Hashable]
    ) -> tuple[TaskState, ...]:
        """Return what is said of every task; of `few` nothing can be told alone."""
        outside = self._outside()
        p = np.full(len(self.labels), np.nan)
        if errors is not None:
            p = np.fmin(*holm(np.concatenate([errors.larger, errors.uncovered])).reshape(2, -1))
        new = "adapt" if obstacle(self.model) is None else "fit"
        labels = self.labels if self.targets else self.raw.tasks
        codes = range(len(labels)) if self.targets else np.asarray(self.query.codes).tolist()
        found = []
        for k, (label, code) in enumerate(zip(labels, codes, strict=True)):
            n, labelled = self._sizes(k)
            held: dict[str, float] = {}
            if errors is not None and code >= 0 and errors.rows[code] > 0:
                held = {name: float(getattr(errors, name)[code]) for name in _OF_ERRORS}
                held |= {"p_value": float(p[code])}
            elif errors is not None and k in errors.strangers and not self.targets:
                held = {"error": errors.strangers[k]}
            judged = math.isfinite(held.get("p_value", NAN))
            action = "watch" if held else "label"
            if code < 0:
                action = new
            elif judged and held["p_value"] <= rate:
                action = "refit"
            elif not self._moved(label, shifts):
                action = "too_few" if label in few and not judged else "none"
            if n:
                found.append(
                    TaskState(label, code >= 0, n, labelled, action, int(outside[k]), **held)
                )
        return tuple(found)

    def _sizes(self, k: int) -> tuple[int, int]:
        """Return the rows of a task, and those with a target."""
        if self.targets:
            labelled = self.raw.labelled()[:, k] if self.known is not None else np.zeros(0)
            return self.raw.n_rows, int(labelled.sum())
        rows = self.raw.task_slice(k)
        return rows.stop - rows.start, 0 if self.given is None else int(self.given[rows].sum())

    def _moved(self, label: Hashable, shifts: Shifts) -> bool:
        """Say whether columns have moved in a task; several targets have all features."""
        if not self.targets:
            return any(one.task == label for one in shifts.found)
        own = f"{label}", "(target)"
        return any(
            not s.is_target or s.column in own or s.column.startswith(f"{label}=")
            for s in shifts.found
        )

    def _outside(self) -> NDArray[np.intp]:
        """Count the predictions of every task that lie outside of all targets of training."""
        summary: TrainingSummary | None = self.model.data_card_.training
        n = len(self.labels) if self.targets else self.raw.n_tasks
        found = np.zeros(n, dtype=np.intp)
        if summary is None or summary.cuts is None or not number_tasks(self.model).all():
            return found
        X = self.query.data.X
        low, high = summary.target_ends()
        codes = np.arange(n) if self.targets else np.asarray(self.query.codes)
        for k, rows in enumerate([slice(None)] * n if self.targets else row_groups(self.raw)):
            own = X[rows]
            if own.shape[0] and codes[k] >= 0:
                tasks = np.full(own.shape[0], codes[k])
                predicted = np.asarray(self.model._predict_rows(own, tasks), dtype=float)
                # The ends are rounded, and a prediction may be one of the targets.
                with np.errstate(over="ignore"):
                    predicted = predicted.astype(low.dtype)
                c = k if self.targets else 0
                found[k] = int(((predicted < low[c]) | (predicted > high[c])).sum())
        return found

    def _new_levels(self) -> tuple[NewLevels, ...]:
        encoder = self.model._schema.encoder
        if encoder is None:
            return ()
        have = set(tables.column_names(self.raw.X))
        if any(str(name) not in have for name in encoder.feature_names_in_):
            return ()
        unknown = encoder.encode(self.raw.X).report.unknown
        return tuple(NewLevels(name, one.count, one.examples[:_NAMED])
                     for name, one in unknown.items())  # fmt: skip
