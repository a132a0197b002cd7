"""The main job: say whether tasks should be learned together, how, and what is gained."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import math
import os
import time as clock
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator.card import checksum
from polytask._estimator.data_checks import copies_of, data_warnings
from polytask._estimator.far_cells import decides_result
from polytask._estimator.groupings import is_category, of_first_grouping
from polytask._estimator.problem import check_metric, read_outcomes, read_problem
from polytask._estimator.repeated_rows import repeats_of
from polytask._estimator.scaling import refuse_huge_values
from polytask._estimator.training import TaskColumns, encode_training, is_task_mapping
from polytask._options import with_options
from polytask._progress import progress
from polytask._workers import Workers
from polytask.comparison.answer import (
    Answer,
    make_answer,
    make_boards,
    preferred,
)
from polytask.comparison.collected import (
    arguments,
    is_told,
    named_columns,
    read_statistics,
    said_of_statistics,
)
from polytask.comparison.extras import (
    ablated_terms,
    checked_extras,
    extra_units,
    learning_points,
    warn_without_terms,
)
from polytask.comparison.held_out_errors import held_out_errors
from polytask.comparison.options import DATA, HOW_IT_RUNS, MAY_CHANGE, OWNER, USUAL, Options
from polytask.comparison.plan import (
    Plan,
    costs_of,
    facts_of,
    make_plan,
    n_columns,
    say_extras,
    say_plan,
    scheme_of,
    unscored_note,
)
from polytask.comparison.records import UNKNOWN, Description, Grouping, Interval, Setup
from polytask.comparison.result import Comparison
from polytask.comparison.sentences import no_use_of_any
from polytask.comparison.work import (
    ALL_ROWS,
    Record,
    Refit,
    Unit,
    description_of,
    is_relative,
    run_one,
)
from polytask.data import TableEncoder, TaskData, tables
from polytask.exceptions import DataError, DataWarning, ParameterError, PolytaskError
from polytask.io import open_store
from polytask.io.fingerprint import fingerprint
from polytask.io.model_file import versions
from polytask.linear.dominance import gradient_shares
from polytask.messages import LazyMessage, message_of
from polytask.metrics import METRICS, HeldOut, default_metrics
from polytask.selection.entries import told
from polytask.selection.held import Study, constant_parts
from polytask.statistics import TaskStatistics
from polytask.statistics.leaks import leak_warnings
from polytask.task_relations import RelatednessSummary, summary_of_data


def make_lock(study: Study, encoded: TaskData, options: Options, metric: str) -> dict[str, Any]:
    """Return seed, data, settings, versions and threads as JSON values."""
    # How rows are held out, data and seed have places of their own.
    elsewhere = {*DATA, "metric", "unseen", "random_state"}
    free = MAY_CHANGE | HOW_IT_RUNS | elsewhere
    if study.grouped is not None:
        encoded = dataclasses.replace(encoded, groupings=study.grouped.groupings)
    return {
        "call": _call(options),
        "data": {
            "checksum": checksum(encoded),
            "rows": study.n_rows,
            "tasks": study.data.n_tasks,
            "columns": n_columns(study.data),
        },
        "settings": {
            **{name: _said(value) for name, value in vars(options).items() if name not in free},
            "metric": metric,
            "splits": scheme_of(options),
            "groups": _digest(options.groups),
            "time": _digest(options.time),
        },
        "seed": options.random_state,
        "versions": versions(),
        "threads": {"processors": os.cpu_count(), "per_fit": 1},
    }


def _call(options: Options) -> str:
    """Return the call in Python, without what is as by default; data stand as names."""
    usual = vars(USUAL) | {"metric": "d2"}
    said, options = arguments(options)
    for name, value in vars(options).items():
        if name in DATA:
            said += [] if value is None or name not in ("groups", "time") else [f"{name}={name}"]
        elif name not in HOW_IT_RUNS and repr(value) not in (repr(usual[name]), "None"):
            said.append(f"{name}={value!r}")
    return f"polytask.compare({', '.join(said)})"


def journal_header(lock: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """Return what must be the same for a journal to be gone on with."""
    models = {entry.name: told(entry.estimator) for entry in plan.running}
    return {
        "kind": "comparison",
        "data": lock["data"],
        # What finished fits hold: 2 since every row is held out once, 3 since the losses of
        # inner splits are kept, 4 since models of all rows are described by records, 5 since the
        # squared errors of every task are kept.
        "settings": {**lock["settings"], "plan": 5},
        "seed": lock["seed"],
        "models": models,
        "polytask": lock["versions"]["polytask"],
    }


def _said(value: object) -> Any:  # noqa: ANN401 - a JSON value
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Mapping):
        return {str(key): _said(item) for key, item in value.items()}
    return fingerprint(value)


def _digest(values: object) -> str | None:
    """Tell arrays apart by their content."""
    if values is None:
        return None
    listed = np.asarray(values).tolist()
    return hashlib.sha256(repr(listed).encode("utf-8", "surrogatepass")).hexdigest()


# Numbers in the features from which a second tells, at least, whether tasks are related.
_PER_SECOND = 1e6
# When fits that have begun are ended, as a share of the time budget.
_OVERTIME = 1.25


@with_options(Options)
def compare(X: Any, y: Any = None, options: Options = USUAL) -> Comparison:  # noqa: ANN401 - as in fit
    """Compare separate, pooled and multi-task models, and say whether sharing helps.

    One rule is fixed beforehand. Every row is held out once. In every training part, inner splits
    choose the best sharing model and the best of the separate and pooled ones, and the verdict is
    about their paired difference on the held-out rows: whether it can be told from 0, and whether
    it is large enough to matter. Everything is tuned, scaled and encoded inside the training
    parts. Rows of single models are descriptive.

    The interval is one of the mean paired difference in loss, on new rows of these tasks, of the
    models that were fitted in the folds, in units of the loss of the training mean (Bayle et al.).
    The rows of each fold help to fit the models of the other folds, so losses in different folds
    are correlated; how much is estimated from the rows that inner splits hold out too (Bates et
    al.). It matters where tasks have few rows.

    Parameters
    ----------
    X : array, sparse matrix or table of shape (n, d), TaskData, mapping or TaskStatistics
        The features; in the separate form ``{task: (X_t, y_t)}`` with ``y=None``. Statistics that
        were collected with four folds or more are compared as their rows would be with
        ``groups=`` these folds, among the linear models of the squared loss. Intervals are then
        clustered by task and fold, for targets of one design by fold, and there are none for
        fewer than ten tasks.
    y : array of shape (n,) or (n, T), or None
        The targets; NaN where a label of a target matrix is missing.

    Returns
    -------
    Comparison
        The verdict, gains with intervals, leaderboard, and what to do for each task.

    Raises
    ------
    DataError
        If the data cannot be compared, a feature is a copy of the target, or the journal is of
        another comparison.
    ParameterError
        If a choice does not exist.
    IncompatibleError
        If networks are asked for and PyTorch is not installed.

    References
    ----------
    P. Bayle, A. Bayle, L. Janson and L. Mackey, "Cross-validation confidence intervals for test
    error", Advances in Neural Information Processing Systems 33, 2020.

    S. Bates, T. Hastie and R. Tibshirani, "Cross-validation: what does it estimate and how well
    does it do it?", JASA 119, 2024 (why few rows need a larger error).

    Examples
    --------
    >>> import numpy as np
    >>> from polytask import compare
    >>> rng = np.random.default_rng(0)
    >>> X, school = rng.standard_normal((200, 5)), np.repeat(np.arange(10), 20)
    >>> coef = 1 + 0.3 * rng.standard_normal((10, 5))
    >>> y = (X * coef[school]).sum(axis=1) + rng.standard_normal(200)
    >>> models = ["separate", "pooled", "learned prior"]
    >>> result = compare(X, y, task=school, models=models, quick=True)
    >>> result.verdict
    'share'
    """
    started = clock.monotonic()
    options = checked_extras(options)
    tables.warn_of_other_order(X, groups=options.groups, time=options.time)
    collected = X if isinstance(X, TaskStatistics) else None
    if collected is not None:
        data, options = read_statistics(collected, y, options)
    else:
        data = read_problem(X, y, options.task, options.sample_weight, options.task_column)
    grouped, data = None if data.groupings is None else data, of_first_grouping(data, OWNER)
    problem, outcomes, losses = read_outcomes(data, options.loss)
    encoded, alike, met = _encoded(data, options.time)
    study = Study(data, outcomes, encoded if alike else None, collected, grouped)
    metric, parts = check_metric(options.metric, METRICS), [p for _, p in constant_parts(study)]
    known = dict.fromkeys((metric, *default_metrics(parts)))
    shown = tuple(known if collected is None else filter(is_told, known))
    plan = make_plan(study, facts_of(study, problem, losses, options), options, metric, shown)
    # What refuses the data does so before the first fit.
    _check_judgeable(study, metric, parts)
    if options.ablation:
        warn_without_terms(plan)
    shares = gradient_shares(encoded, outcomes, OWNER)
    found = (*met, *_doubts(data, options, collected), *unscored_note(plan))
    for doubt in found[len(met) :]:
        warnings.warn(DataWarning(doubt), stacklevel=3)
    found = found if collected is None else (*found, *said_of_statistics(data.n_tasks))
    lock = make_lock(study, encoded, options, metric)
    # Task data, statistics and mappings tell the tasks by themselves.
    held = options if collected is None else collected
    column = None if isinstance(X, TaskData) or is_task_mapping(X) else held.task_column
    lock |= {"date": datetime.date.today().isoformat(), "task_columns": named_columns(column)}
    if (target := getattr(y, "name", "")) and isinstance(target, str):
        lock["target"] = target
    work = _FitWork(plan, lock, started)
    related = _related(study, options.random_state, work.end()) if collected is None else None
    # Models of all rows come last: where there is no time for them, the verdict stands.
    records, stopped, before = work.done((*plan.units, *plan.wholes))
    with _useless_if_refused(options.journal):
        answer = make_answer(plan, records, metric)
    more: Mapping[str, Record] = {}
    if (options.learning_curve or options.ablation) and not stopped:
        more, stopped, before = work.done(extra_units(plan, records, metric), before)
    seconds = before + clock.monotonic() - started
    with _useless_if_refused(options.journal):
        result = _result(plan, answer, {**records, **more}, metric, stopped, lock, seconds, shares)
    given = {"X": X, "y": y, "task": options.task, "sample_weight": options.sample_weight}
    refit = _refit(plan, records, given, column)
    whole = dataclasses.replace(
        result,
        tasks=refit.with_coverage(result.recommended, result.tasks),
        _refit=refit,
        relatedness=related,
        diagnostics=(*map(str, found), *result.diagnostics),
        doubts=found,
        far_cells=any(map(decides_result, found)),
        repeated_rows=repeats_of(found),
        copies=copies_of(found),
        learning=learning_points(plan, records, more, metric),
        ablation=ablated_terms(plan, records, more, metric) if options.ablation else (),
    )
    return dataclasses.replace(whole, recommended="") if no_use_of_any(whole) else whole


def _refit(
    plan: Plan, records: Mapping[str, Record], given: Mapping[str, Any], column: TaskColumns
) -> Refit:
    """Return what fits models on all rows and knows their errors on the folds."""
    estimators = {entry.name: entry.estimator for entry in plan.running}
    errors = partial(held_out_errors, plan.units, records, plan.study.n_rows)
    return Refit(given, column, estimators, errors, plan.study)


def _doubts(
    data: TaskData, options: Options, collected: TaskStatistics | None
) -> tuple[LazyMessage, ...]:
    """Refuse copies of the target among the features, and return what else misleads."""
    if collected is not None:
        return leak_warnings(collected, OWNER, allow_leak=options.allow_leak)
    grouped = options.groups is not None
    return data_warnings(data, OWNER, allow_leak=options.allow_leak, grouped=grouped)


def _encoded(data: TaskData, time: object) -> tuple[TaskData, bool, tuple[LazyMessage, ...]]:
    """Return the data as numbers, whether those of any part are the same, and warnings."""
    try:
        encoded, encoder = encode_training(data)
    except DataError as error:
        said = message_of(error)
        fields = said.fields if isinstance(said, LazyMessage) else {}
        said_of_dates = getattr(said, "key", "") == "column.refusal.dates"
        if not said_of_dates or fields["name"] != repr(getattr(time, "name", None)):
            raise
        raise DataError(LazyMessage("column.refusal.dates.time", fields)) from None
    columns = () if encoder is None else encoder.report_.columns
    plain = [one.kind in ("numeric", "boolean") and not one.missing for one in columns]
    alike = bool(plain) and all(plain) and data.present is None
    return encoded, alike, () if encoder is None else encoder.report_.messages


def _related(study: Study, seed: int, deadline: float | None) -> RelatednessSummary | None:
    """Test whether the tasks are related, unless it could take the time of the fits."""
    numbers = study.data.n_rows * study.data.n_features
    if deadline is not None and clock.monotonic() + numbers / _PER_SECOND > deadline:
        return None
    return summary_of_data(study.data, study.outcomes, seed)


def _check_judgeable(study: Study, metric: str, parts: Sequence[HeldOut]) -> None:
    """Refuse targets that the best constant fits without error: no model explains any of it."""
    refuse_huge_values(study.outcomes.y, "y", OWNER, study.data)
    if not any(METRICS[metric].fits(part) for part in parts):
        fields = {"metric": metric, "names": ", ".join(default_metrics(parts))}
        key = f"comparison.refusal.metric_of_{METRICS[metric].of}"
        raise ParameterError(LazyMessage(key, {"owner": OWNER, **fields}))
    if is_relative(METRICS[metric]) and np.isnan(METRICS[metric].overall(parts)):
        raise DataError(
            LazyMessage("comparison.refusal.constant_labels", {"owner": OWNER, "metric": metric})
        )


@dataclass(frozen=True, eq=False)
class _FitWork:
    """How the fits are done: journalled, side by side, within a time."""

    plan: Plan
    lock: dict[str, Any]
    started: float

    def end(self, share: float = 1.0) -> float | None:
        """Return when a share of the time budget is over."""
        budget = self.plan.options.time_budget
        return None if budget is None else self.started + share * float(budget)

    def done(
        self, units: Sequence[Unit], earlier: float = 0.0
    ) -> tuple[Mapping[str, Record], str, float]:
        """Do what is not done yet; return all records, why it stopped, seconds of earlier runs."""
        options, records = self.plan.options, dict[str, Record]()
        with ExitStack() as stack:
            header = partial(journal_header, self.lock, self.plan)
            store = stack.enter_context(open_store(options.journal, header, owner=OWNER))
            count = len(units)
            costs = self._costs([unit for unit in units if unit.key not in store], count)
            total = sum(costs.get(u.key, 1.0) for u in units)
            bar = stack.enter_context(progress(count, "Comparing", options.verbose, cost=total))
            for unit in units:
                if (record := store.get(unit.key)) is not None:
                    records[unit.key] = record
                    bar.skip(unit.label, costs.get(unit.key, 1.0))
            before = max([earlier, *(record["clock"] for record in records.values())])
            missing = [k for k, unit in enumerate(units) if unit.key not in records]
            shared = self.plan.study, units
            workers = stack.enter_context(Workers(run_one, shared, options.n_jobs))
            try:
                for k, record in workers.results(self._in_time(missing), self.end(_OVERTIME)):
                    unit, passed = units[k], before + clock.monotonic() - self.started
                    store.put(unit.key, record | {"clock": passed})
                    # As it is read back, so that a resumed run has the same bits.
                    records[unit.key] = store.get(unit.key)
                    bar.advance(unit.label, costs.get(unit.key, 1.0))
            except KeyboardInterrupt:
                return records, "interrupt", before
        return records, "" if len(records) == len(units) else "time", before

    def _in_time(self, missing: Sequence[int]) -> Iterator[int]:
        """Yield what is to be done, while there is time; the first always."""
        end = self.end()
        for k in missing:
            if k != missing[0] and end is not None and clock.monotonic() > end:
                return
            yield k

    def _costs(self, units: Sequence[Unit], steps: int) -> dict[str, float]:
        """Say what is to be done; return the estimated seconds of each piece by its key."""
        plan, n_jobs = self.plan, self.plan.options.n_jobs
        if not plan.options.verbose or not units:
            return {}
        if extra := sum(unit.variant not in ("", ALL_ROWS) for unit in units):
            say_extras(extra)
            return {}
        of_models = costs_of(plan, n_jobs, self.end(_OVERTIME))
        fits = 1 + len(plan.units[0].inner)
        costs = {
            unit.key: of_models.get(unit.model, math.inf) / (fits if unit.variant else 1)
            for unit in units
        }
        say_plan(plan, steps, sum(costs.values()), clock.monotonic() - self.started, n_jobs)
        return costs


@contextmanager
def _useless_if_refused(journal: str | os.PathLike[str] | None) -> Iterator[None]:
    """Remove the journal if its finished fits can lead to no answer, now or when resumed."""
    try:
        yield
    except PolytaskError:
        if journal is not None:
            Path(journal).unlink(missing_ok=True)
        raise


def _result(
    plan: Plan,
    answer: Answer,
    records: Mapping[str, Record],
    metric: str,
    stopped: str,
    lock: dict[str, Any],
    seconds: float,
    shares: NDArray[np.float64],
) -> Comparison:
    data = plan.study.data
    shared = {entry.name for entry in plan.running if entry.kind == "shared"}
    found = answer.recommended if answer.recommended in shared else answer.sharing
    board, _ = make_boards(plan, records, metric)
    known = {entry.name: description_of(records, entry.name) for entry in plan.entries}
    paths = [e.name for e in plan.entries if e.kind == "shared" and known[e.name].path]
    shown = known.get(preferred(board, paths, found) or "", Description())
    said = {name: value for name, value in vars(answer).items() if name != "sharing"}
    order = np.argsort(-shares, kind="stable")
    told = [one for row in answer.models if (one := known[row.name].variance_shares)]
    return Comparison(
        **said,
        groupings=_groupings(plan, told[0] if told else ()),
        setup=_setup(plan, records, metric),
        dominance=tuple((data.tasks[t], float(shares[t])) for t in order.tolist()),
        coefficients=known[found].coefficients if found else None,
        diagnostics=tuple(f"{row.name}: {row.note}" for row in answer.models if row.note),
        complete=not stopped,
        seconds=seconds,
        lock=lock,
        stopped=stopped,
        path=shown.path,
        sparsity=tuple(
            kept
            for row in answer.models
            if row.kind == "shared" and (kept := known[row.name].sparsity) is not None
        ),
        parameter_importance=shown.importance,
    )


def _groupings(plan: Plan, shares: tuple[Interval, ...]) -> tuple[Grouping, ...]:
    data = plan.study.grouped
    if data is None or data.groupings is None:
        return ()
    held, n = data.groupings, data.n_rows
    shares = shares or (UNKNOWN,) * len(held.names)
    most = TableEncoder().max_levels
    found = []
    for k, (name, labels, share) in enumerate(zip(held.names, held.labels, shares, strict=True)):
        told = min(len(labels), most) if is_category(labels, n) else 0
        found.append(Grouping(str(name), len(labels), share, told if k else len(labels)))
    return tuple(found)


def _setup(plan: Plan, records: Mapping[str, Record], metric: str) -> Setup:
    data, facts = plan.study.data, plan.facts
    rows = plan.study.task_rows()
    names = {unit.split for unit in plan.units if unit.key not in records}
    # The usual number of seconds between consecutive times.
    dated = plan.times.dtype.kind == "M" and len(plan.times) > 1
    gap = float(np.median(np.diff(plan.times)) / np.timedelta64(1, "s")) if dated else 0.0
    # What stands for statistics is no row of the data.
    tests = {} if plan.study.collected else {unit.split: len(unit.test) for unit in plan.units}
    extras = ("learning_curve", "ablation")
    return Setup(
        form=data.form.value,
        n_rows=plan.study.n_rows,
        n_tasks=data.n_tasks,
        n_features=n_columns(data),
        problem=facts.problem,
        metric=metric,
        greater_is_better=METRICS[metric].greater_is_better,
        splits=plan.scheme,
        quick=plan.options.quick,
        times=len(plan.times),
        time_gap=gap,
        n_scored=sum(n for split, n in tests.items() if split not in names),
        extras=tuple(name for name in extras if getattr(plan.options, name)),
        n_splits=plan.n_splits - len(names),
        planned=plan.n_splits,
        seed=facts.seed,
        rows_per_task=(int(rows.min()), float(np.median(rows)), int(rows.max())),
        weighted=data.sample_weight is not None and plan.study.collected is None,
        of_deviance=any(plan.study.loss(t) is not None for t in range(data.n_tasks)),
    )
