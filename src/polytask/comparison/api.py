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

from polytask._checks import nonnegative, sentence
from polytask._estimator.card import checksum
from polytask._estimator.data_checks import data_warnings
from polytask._estimator.problem import OWNER, check_metric, read_outcomes, read_problem
from polytask._estimator.scaling import refuse_huge_values
from polytask._estimator.training import encode_training, is_task_mapping
from polytask._progress import progress
from polytask.comparison.answer import (
    Answer,
    importance_of,
    make_answer,
    make_boards,
    preferred,
    searched,
    shared_features,
    sparsity_of,
    strength_path,
)
from polytask.comparison.extras import (
    Extras,
    ablated_terms,
    check_extras,
    extra_units,
    learning_points,
    warn_without_terms,
)
from polytask.comparison.plan import (
    Choices,
    Plan,
    costs_of,
    facts_of,
    make_plan,
    say_extras,
    say_plan,
    scheme_of,
)
from polytask.comparison.records import Setup
from polytask.comparison.result import Comparison
from polytask.comparison.work import ALL_ROWS, Record, Refit, Unit, is_relative, run_units
from polytask.data import TaskData
from polytask.exceptions import DataError, DataWarning, ParameterError, PolytaskError
from polytask.io import open_store
from polytask.io.fingerprint import fingerprint
from polytask.io.model_file import versions
from polytask.linear.dominance import gradient_shares
from polytask.metrics import METRICS, default_metrics
from polytask.selection.entries import told
from polytask.selection.held import Study, constant_parts
from polytask.task_relations import RelatednessSummary, summary_of_data


def make_lock(
    study: Study,
    encoded: TaskData,
    choices: Choices,
    loss: object,
    metric: str,
    extras: Extras,
    allow_leak: bool = False,
) -> dict[str, Any]:
    """Return seed, data, settings, versions and threads as JSON values."""
    return {
        "call": _call(choices, loss, metric, extras, allow_leak),
        "data": {
            "checksum": checksum(encoded),
            "rows": study.data.n_rows,
            "tasks": study.data.n_tasks,
            "features": study.data.n_features,
        },
        "settings": {
            "loss": _said(loss),
            "metric": metric,
            "splits": scheme_of(choices),
            "cv": _said(choices.cv),
            "quick": choices.quick,
            "margin": choices.margin,
            # What finished fits hold: 2 since every row is held out once, 3 since the losses of
            # inner splits are kept.
            "plan": 3,
            "models": _said(choices.models),
            "groups": _digest(choices.groups),
            "time": _digest(choices.time),
        },
        "seed": choices.seed,
        "versions": versions(),
        "threads": {"processors": os.cpu_count(), "per_fit": 1},
    }


def _call(choices: Choices, loss: object, metric: str, extras: Extras, allow_leak: bool) -> str:
    """Return the call in Python, without what is as by default; data stand as names."""
    given = {
        "loss": (loss, "auto"),
        "models": (choices.models, "default"),
        "cv": (choices.cv, None),
        "metric": (metric, "d2"),
        "margin": (choices.margin, None),
        "unseen": (bool(choices.unseen), False),
        "quick": (bool(choices.quick), False),
        "random_state": (choices.seed, 0),
        "learning_curve": (list(extras.shares) or False, False),
        "ablation": (extras.ablation, False),
        "allow_leak": (bool(allow_leak), False),
    }
    said = [f"{name}={v!r}" for name, (v, usual) in given.items() if repr(v) != repr(usual)]
    said += [name for name in ("groups", "time") if getattr(choices, name) is not None]
    named = [f"{word}={word}" if word in ("groups", "time") else word for word in said]
    return f"polytask.compare({', '.join(['X', 'y', 'task=task', *named])})"


def journal_header(lock: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """Return what must be the same for a journal to be gone on with."""
    models = {entry.name: told(entry.estimator) for entry in plan.running}
    return {
        "kind": "comparison",
        "data": lock["data"],
        "settings": lock["settings"],
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


def compare(
    X: Any,  # noqa: ANN401 - as in fit
    y: Any = None,  # noqa: ANN401
    *,
    task: Any = None,  # noqa: ANN401
    sample_weight: Any = None,  # noqa: ANN401
    task_column: str | int | None = None,
    loss: Any = "auto",  # noqa: ANN401
    models: Any = "default",  # noqa: ANN401
    cv: Any = None,  # noqa: ANN401
    metric: str | None = None,
    margin: float | None = None,
    groups: Any = None,  # noqa: ANN401
    time: Any = None,  # noqa: ANN401
    unseen: bool = False,
    quick: bool = False,
    time_budget: float | None = None,
    n_jobs: int | None = None,
    random_state: int = 0,
    journal: str | os.PathLike[str] | None = None,
    verbose: bool = False,
    learning_curve: Any = False,  # noqa: ANN401 - bool or shares
    ablation: bool = False,
    allow_leak: bool = False,
) -> Comparison:
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
    X : array, sparse matrix or table of shape (n, d), TaskData, or mapping
        The features; in the separate form ``{task: (X_t, y_t)}`` with ``y=None``.
    y : array of shape (n,) or (n, T), or None
        The targets; NaN where a label of a target matrix is missing.
    task : array of shape (n,) or None
        The task of each row.
    sample_weight : array of shape (n,), mapping or None
        Row weights, in fits and scores.
    task_column : str, int or None, default=None
        The column of X that holds the task labels, instead of `task`.
    loss : name of a loss, Loss, or mapping of task to these, default="auto"
        "auto": text, booleans and numbers with exactly two distinct values are classes; text
        that is numbers but for a few cells is refused, and so are more than 20 classes with
        fewer than ten rows each on average unless "multinomial" asks for them.
        A mapping gives each task its own.
    models : "default", "deep", or sequence, default="default"
        Names of ``polytask.selection.candidates.MODELS``, estimators, or pairs
        ``(name, estimator)``; "default" in a sequence stands for all but networks, "deep" for
        networks, which need PyTorch; "deep" alone is both. An estimator of scikit-learn is tried
        per task and pooled with the task as a category.
    cv : int, splitter, pairs of rows or None, default=None
        The outer splits. None: 5 folds of the rows of every task; a number: as many. With
        `groups`, `time` and `unseen` the folds are of groups, stretches of time and tasks, fewer
        of them where there are too few groups, times (at least 5) or tasks.
    metric : str or None, default=None
        The verdict's metric, a name of ``polytask.metrics.METRICS``. None: "d2", the share
        of the loss of the training mean that the model explains (squared loss: R2 against
        the grand mean; Poisson and gamma: explained deviance), over rows in the long and
        separate forms, mean over tasks for target matrices and mixed losses.
    margin : float or None, default=None
        A difference in the metric that is too small to matter, 0 or more. None: a tenth of the
        score of the best model without sharing, but 0.001 at least and 0.01 at most; for a loss,
        a hundredth of it.
    groups : array of shape (n,) or None
        Rows of one group (a patient, a day) are never on both sides of a split.
    time : array of shape (n,) or None
        Train on the past, test on what comes next.
    unseen : bool, default=False
        Hold out whole tasks: how well is a new task served?
    quick : bool, default=False
        Few models instead of all: one per task, pooled ones, one that shares.
    time_budget : float or None, default=None
        Seconds after which no new fit is started; one that has begun is ended when a quarter
        more is over. What is finished is judged.
    n_jobs : int or None, default=None
        Fits at the same time, as in joblib.
    random_state : int, default=0
        Seed; the same seed gives the same tables.
    journal : path or None, default=None
        A file that keeps finished fits. A comparison that was killed goes on from it, with
        the same result.
    verbose : bool, default=False
        Print the plan with an estimate of the time, and show progress, on stderr.
    learning_curve : bool or sequence of float, default=False
        Fit the chosen separate, pooled and sharing models on shares of the training rows as
        well, to see how the gain depends on rows per task; True: 1/8, 1/4 and 1/2. Smaller
        shares are part of larger ones, and the same rows are held out.
    ablation : bool, default=False
        Search the penalty of the chosen sharing model (or of the best one whose penalty has
        several terms) without each of its terms as well, to see what every term adds. A
        :class:`DataWarning` says so where there is none.
    allow_leak : bool, default=False
        Whether a feature may equal the target up to a factor and a constant, over all rows or
        within every task, which otherwise is refused: no score of such data says anything,
        unless the feature is known before the target.

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
    >>> result = compare(X, y, task=school, quick=True)
    >>> result.verdict
    'share'
    """
    started = clock.monotonic()
    _check(n_jobs, random_state)
    extras = check_extras(learning_curve, ablation)
    deadline = end = None
    if time_budget is not None:
        budget = nonnegative(time_budget, "time_budget", OWNER)
        deadline, end = started + budget, started + _OVERTIME * budget
    if margin is not None:
        margin = float(nonnegative(margin, "margin", OWNER))
    choices = Choices(models, cv, groups, time, unseen, quick, random_state, margin)
    data = read_problem(X, y, task, sample_weight, task_column)
    problem, outcomes, losses = read_outcomes(data, loss)
    encoded, alike = _encoded(data)
    study = Study(data, outcomes, encoded if alike else None)
    chosen = check_metric(metric, METRICS)
    metrics = default_metrics([part for _, part in constant_parts(study)])
    shown = tuple(dict.fromkeys((chosen, *metrics)))
    facts = facts_of(study, problem, losses, choices)
    plan = make_plan(study, facts, choices, chosen, shown)
    # What refuses the data does so before the first fit.
    _check_judgeable(study, chosen)
    if extras.ablation:
        warn_without_terms(plan)
    shares = gradient_shares(encoded, outcomes, OWNER)
    found = data_warnings(data, OWNER, allow_leak=allow_leak, grouped=groups is not None)
    for doubt in found:
        warnings.warn(DataWarning(doubt), stacklevel=2)
    lock = make_lock(study, encoded, choices, loss, chosen, extras, allow_leak)
    target = getattr(y, "name", "")
    lock["date"] = datetime.date.today().isoformat()
    lock["target"] = target if isinstance(target, str) else ""
    related = _related(study, random_state, deadline)
    work = _Work(lock, journal, n_jobs, deadline, end, verbose, started)
    # Models of all rows come last: where there is no time for them, the verdict stands.
    records, stopped, before = work.done(plan, (*plan.units, *plan.wholes))
    with _useless_if_refused(journal):
        answer = make_answer(plan, records, chosen)
    more: Mapping[str, Record] = {}
    if extras and not stopped:
        units = extra_units(plan, records, chosen, extras)
        more, stopped, before = work.done(plan, units, before)
    seconds = before + clock.monotonic() - started
    with _useless_if_refused(journal):
        result = _result(plan, answer, {**records, **more}, chosen, stopped, lock, seconds, shares)
    given = {"X": X, "y": y, "task": task, "sample_weight": sample_weight}
    # Task data and mappings tell the tasks by themselves.
    column = None if isinstance(X, TaskData) or is_task_mapping(X) else task_column
    refit = Refit(given, column, {entry.name: entry.estimator for entry in plan.running})
    return dataclasses.replace(
        result,
        _refit=refit,
        relatedness=related,
        diagnostics=(*map(str, found), *result.diagnostics),
        doubts=found,
        learning=learning_points(plan, records, more, chosen, extras.shares),
        ablation=ablated_terms(plan, records, more, chosen) if extras.ablation else (),
    )


def _encoded(data: TaskData) -> tuple[TaskData, bool]:
    """Return the data as numbers, and whether those of any part of the rows are the same."""
    encoded, encoder = encode_training(data)
    columns = () if encoder is None or data.present is not None else encoder.report_.columns
    plain = [one.kind in ("numeric", "boolean") and not one.missing for one in columns]
    return encoded, bool(plain) and all(plain)


def _related(study: Study, seed: int, deadline: float | None) -> RelatednessSummary | None:
    """Test whether the tasks are related, unless it could take the time of the fits."""
    numbers = study.data.n_rows * study.data.n_features
    if deadline is not None and clock.monotonic() + numbers / _PER_SECOND > deadline:
        return None
    return summary_of_data(study.data, study.outcomes, seed)


def _check(n_jobs: object, random_state: object) -> None:
    number = isinstance(random_state, int | np.integer) and not isinstance(random_state, bool)
    if not number:
        got = repr(random_state)
        raise ParameterError(sentence("random_state", OWNER, "an integer >= 0", got))
    nonnegative(random_state, "random_state", OWNER)
    if n_jobs is not None and (not isinstance(n_jobs, int | np.integer) or n_jobs == 0):
        raise ParameterError(sentence("n_jobs", OWNER, "None or an integer but 0", repr(n_jobs)))


def _check_judgeable(study: Study, metric: str) -> None:
    """Refuse targets that the best constant fits without error: no model explains any of it."""
    refuse_huge_values(study.outcomes.y, "y", OWNER, study.data)
    parts = [part for _, part in constant_parts(study)]
    if is_relative(METRICS[metric]) and np.isnan(METRICS[metric].overall(parts)):
        raise DataError(
            f"{OWNER} has nothing to explain: the labels do not vary, so {metric} has no value "
            "for any model."
        )


@dataclass(frozen=True, eq=False)
class _Work:
    """How the fits are done: journalled, side by side, within a time."""

    lock: dict[str, Any]
    journal: str | os.PathLike[str] | None
    n_jobs: int | None
    deadline: float | None
    end: float | None
    verbose: bool
    started: float

    def done(
        self, plan: Plan, units: Sequence[Unit], earlier: float = 0.0
    ) -> tuple[Mapping[str, Record], str, float]:
        """Do what is not done yet; see :func:`run_units` for what is returned."""
        with ExitStack() as stack:
            header = partial(journal_header, self.lock, plan)
            store = stack.enter_context(open_store(self.journal, header, owner=OWNER))
            costs = self._costs(plan, [unit for unit in units if unit.key not in store])
            total, count = sum(costs.get(u.key, 1.0) for u in units), len(units)
            bar = stack.enter_context(progress(count, "Comparing", self.verbose, cost=total))
            return run_units(
                plan.study,
                units,
                store,
                n_jobs=self.n_jobs,
                deadline=self.deadline,
                end=self.end,
                watcher=bar,
                costs=costs,
                started=self.started,
                earlier=earlier,
            )

    def _costs(self, plan: Plan, units: Sequence[Unit]) -> dict[str, float]:
        """Say what is to be done; return the estimated seconds of each piece by its key."""
        if not self.verbose or not units:
            return {}
        if extra := sum(unit.variant not in ("", ALL_ROWS) for unit in units):
            say_extras(extra)
            return {}
        of_models = costs_of(plan, self.n_jobs, self.end)
        fits = 1 + len(plan.units[0].inner)
        costs = {
            unit.key: of_models.get(unit.model, math.inf) / (fits if unit.variant else 1)
            for unit in units
        }
        say_plan(plan, sum(costs.values()), clock.monotonic() - self.started, self.n_jobs)
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
    shown = preferred(board, searched(records, plan.entries), found)
    return Comparison(
        verdict=answer.verdict,
        gain=answer.gain,
        gain_90=answer.gain_90,
        perfect=answer.perfect,
        margin=answer.margin,
        times_more=answer.times_more,
        plain=answer.plain,
        pooling_gain=answer.pooling_gain,
        recommended=answer.recommended,
        trees_gain=answer.trees_gain,
        networks_gain=answer.networks_gain,
        networks_sharing=answer.networks_sharing,
        setup=_setup(plan, records, metric),
        models=answer.models,
        tasks=answer.tasks,
        two_by_two=answer.two_by_two,
        dominance=_dominance(data.tasks, shares),
        coefficients=shared_features(records, found),
        diagnostics=tuple(f"{row.name}: {row.note}" for row in answer.models if row.note),
        complete=not stopped,
        seconds=seconds,
        lock=lock,
        stopped=stopped,
        path=strength_path(records, shown),
        sparsity=sparsity_of(records, answer.models),
        parameter_importance=importance_of(records, shown),
    )


def _setup(plan: Plan, records: Mapping[str, Record], metric: str) -> Setup:
    data, facts = plan.study.data, plan.facts
    rows = data.task_rows()
    names = {unit.split for unit in plan.units if unit.key not in records}
    # The usual number of seconds between consecutive times.
    dated = plan.times.dtype.kind == "M" and len(plan.times) > 1
    gap = float(np.median(np.diff(plan.times)) / np.timedelta64(1, "s")) if dated else 0.0
    return Setup(
        form=data.form.value,
        n_rows=data.n_rows,
        n_tasks=data.n_tasks,
        n_features=data.n_features,
        problem=facts.problem,
        metric=metric,
        greater_is_better=METRICS[metric].greater_is_better,
        splits=plan.scheme,
        quick=plan.quick,
        times=len(plan.times),
        time_gap=gap,
        n_splits=plan.n_splits - len(names),
        planned=plan.n_splits,
        seed=facts.seed,
        rows_per_task=(int(rows.min()), float(np.median(rows)), int(rows.max())),
        weighted=data.sample_weight is not None,
        of_deviance=any(plan.study.loss(t) is not None for t in range(data.n_tasks)),
    )


def _dominance(
    tasks: tuple[Any, ...], shares: NDArray[np.float64]
) -> tuple[tuple[Any, float], ...]:
    order = np.argsort(-shares, kind="stable")
    return tuple((tasks[t], float(shares[t])) for t in order)
