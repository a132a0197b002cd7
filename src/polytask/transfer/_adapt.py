"""`adapt`: a fitted model for tasks and domains that it has not seen."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from polytask._checks import one_of, sentence
from polytask._estimator import MultiTaskEstimator
from polytask._estimator.groupings import has_levels
from polytask._estimator.training import Collected, refuse_beside_statistics
from polytask.data import TaskData
from polytask.exceptions import DataError, IncompatibleError, ParameterError
from polytask.linear import BayesianMultiTaskRegressor
from polytask.linear.base import LinearEstimator
from polytask.messages import LazyMessage
from polytask.selection.adaptable import obstacle
from polytask.transfer._learned import (
    has_learned_prior,
    learned_domain,
    learned_statistics,
    learned_tasks,
)
from polytask.transfer._levels import new_levels
from polytask.transfer._penalised import pulled_domain, pulled_statistics, pulled_tasks
from polytask.transfer._refit import source_data
from polytask.transfer._report import report_of
from polytask.transfer._rows import OWNER, NewRows, is_deep, read_rows
from polytask.transfer._shift import Shift, effective_rows, shift_weights

DOMAINS = (None, "shift", "new")


def adapt(
    model: Any,  # noqa: ANN401 - any estimator; others are refused
    X_new: Any,  # noqa: ANN401
    y_new: Any = None,  # noqa: ANN401
    *,
    task: Any = None,  # noqa: ANN401
    sample_weight: Any = None,  # noqa: ANN401
    domain: str | None = None,
    source: Any = None,  # noqa: ANN401
    method: Any = None,  # noqa: ANN401 - its class needs PyTorch
) -> Any:  # noqa: ANN401 - an estimator of the class of the model
    """Return a model that also knows new tasks, or works in a new domain.

    With ``domain=None`` the rows belong to tasks that the model does not know. Each is learned
    from its rows and a pull to what the others share; nothing else is fitted again, and all
    known tasks are predicted as before. Without rows with targets a new task is predicted with
    what the others share.

    With ``domain="new"`` the relation of features and targets may be another one: the pull is
    weaker, above all that of the level, which is let go where it is far off; known tasks may be
    adapted too, and the model as it was, the new rows alone and, with `source`, old and new rows
    together are tried as well. With ``domain="shift"`` only the features are distributed
    otherwise: the model is fitted again on rows of `source` that are weighted to look like the
    new rows. Both use the best candidate if it is significantly better than the adapted one, and
    say so, also which candidates the rows did not allow.

    Parameters
    ----------
    model : estimator
        A linear one or a network, fitted; it is not changed.
    X_new : array, sparse matrix or table of shape (n, d), TaskData, mapping, statistics or None
        The new rows, with the features of the model; for a linear model of the squared loss,
        with a penalty or a learned prior, also :class:`polytask.statistics.TaskStatistics` of
        them. None with `task` alone: tasks without rows.
    y_new : array of shape (n,) or None, default=None
        Their targets; None if they have none.
    task : label, array of shape (n,) or None, default=None
        The task of all rows, or of each; a text that is a column of the table X_new, but no
        feature, is that column. None if the model reads a ``task_column`` that X_new has.
    sample_weight : array of shape (n,) or None, default=None
        Weights of the new rows.
    domain : {None, "shift", "new"}, default=None
        What may be different about the new rows.
    source : TaskData, mapping, tuple (X, y) or (X, y, task), or None, default=None
        The rows that the model was fitted on. Needed for "shift", of use for "new".
    method : object of :mod:`polytask.deep.adapting` or None, default=None
        What changes for a new task of a network: ``NewHead()`` (None: the same), which leaves
        all layers as they are, ``Unfreeze(...)``, ``NearSource(...)`` or ``Adapters(...)``.

    Returns
    -------
    estimator
        A new model of the same class. ``adaptation_``, an :class:`Adaptation`, says what was
        tried and used; ``solution_`` and what concerns it are still those of the given model,
        unless all rows were fitted again.

    Raises
    ------
    DataError
        If the rows do not fit the model, or a task is known already (``domain=None``).
    IncompatibleError
        If the model shares nothing that a new task could use, or `method` is given for a model
        that is no network.

    Notes
    -----
    For a model of several groupings, such as store and product, the rows belong to new levels of
    one of them and to known levels of the others. The effects of a new level have their posterior
    given its rows and those of training, the prior held; all other effects stay as they are.

    A network keeps its tasks and their layers whatever the method: layers that change are copies
    for the new task alone. See :class:`polytask.deep.adapting.NewHead` for how its head is
    learned. ``network_`` stays the network of the tasks that it was trained on.

    In a penalised model a quadratic penalty pulls a new task towards the mean of the others, as
    strongly as the penalty of the model pulls at the fitted coefficients. With five rows or more
    another strength is used if it predicts rows left out significantly better (95% level; 99.9%
    with fewer than twenty rows, except in a new domain): in closed form for the squared loss, by
    cross-validation for others. Statistics of rows, which leave none out, keep the strength of
    the model, with the coefficients that their rows have at that strength.

    In a new domain of two classes a learned prior averages over three cases, weighted by their
    posterior probabilities: the coefficients are like those of the known tasks, unlike them but
    as large, or zero. In each the intercept may be far from those of the known tasks.

    A task with a learned prior that is left to the model as it was, or to its own rows, has
    intervals as wide as rows left out have shown, since its posterior says nothing about it;
    its class probabilities are those that were scored.

    Examples
    --------
    >>> import numpy as np
    >>> from polytask import MultiTaskRegressor, adapt
    >>> from polytask.penalties import toward_mean
    >>> rng = np.random.default_rng(0)
    >>> X, school = rng.standard_normal((60, 2)), np.repeat(["a", "b", "c"], 20)
    >>> y = X[:, 0] + 0.1 * rng.standard_normal(60)
    >>> model = MultiTaskRegressor(toward_mean(1.0)).fit(X, y, task=school)
    >>> more = adapt(model, [[1.0, 0.0], [0.0, 1.0]], [1.2, 0.1], task="d")
    >>> more.tasks_.tolist()
    ['a', 'b', 'c', 'd']
    """
    one_of(domain, "domain", OWNER, DOMAINS)
    _refuse_unusable(model)
    _refuse_method(model, method, domain)
    if domain is None and source is not None:
        allowed = LazyMessage("allowed.none_unless_domain")
        raise ParameterError(sentence("source", OWNER, allowed, LazyMessage("got.a_value")))
    if has_levels(model):
        return new_levels(model, X_new, y_new, task, sample_weight, domain)
    if isinstance(X_new, Collected):
        refuse_beside_statistics(OWNER, y_new, task, sample_weight)
        return _of_statistics(model, X_new, domain)
    given = read_rows(model, X_new, y_new, task, sample_weight)
    if domain == "shift":
        return _shifted(model, given, source)
    learned = has_learned_prior(model)
    known = [entry.label for entry in given.tasks if entry.position >= 0]
    if domain is None and known:
        key = "known_learned" if learned else "known_task"
        raise DataError(LazyMessage(f"transfer.refusal.{key}", {"task": repr(known[0])}))
    if is_deep(model):
        return _of_network(model, given, domain, source, method)
    if domain == "new":
        return _new_domain(model, given, source, learned_domain if learned else pulled_domain)
    return (learned_tasks if learned else pulled_tasks)(model, given)


def _of_statistics(model: Any, found: Collected, domain: str | None) -> Any:  # noqa: ANN401
    """Return a model that knows the tasks of statistics too."""
    learned = isinstance(model, BayesianMultiTaskRegressor)
    if domain is not None or not (learned or isinstance(model, LinearEstimator)):
        fields = {"kind": type(model).__name__, "domain": repr(domain)}
        raise IncompatibleError(LazyMessage("transfer.refusal.statistics", fields))
    known = [task for task in found.tasks if task in model.tasks_.tolist()]
    if known:
        key = "known_learned" if learned else "known_task"
        raise DataError(LazyMessage(f"transfer.refusal.{key}", {"task": repr(known[0])}))
    return (learned_statistics if learned else pulled_statistics)(model, found)


def _refuse_method(model: Any, method: object, domain: str | None) -> None:  # noqa: ANN401
    if method is None:
        return
    if not is_deep(model):
        fields = {"owner": OWNER, "kind": type(model).__name__}
        raise IncompatibleError(LazyMessage("transfer.refusal.no_layers", fields))
    if domain == "shift":
        raise IncompatibleError(LazyMessage("transfer.refusal.method_of_shift"))


def _of_network(
    model: Any,  # noqa: ANN401
    given: NewRows,
    domain: str | None,
    source: Any,  # noqa: ANN401
    method: object,
) -> Any:  # noqa: ANN401
    from polytask.transfer._deep import deep_domain, deep_tasks

    if callable(learn := getattr(model, "adapt", None)):
        # Meta-learning has one way to learn a task.
        if domain is not None or method is not None or given.raw is None:
            fields = {"kind": type(model).__name__}
            raise IncompatibleError(LazyMessage("transfer.refusal.meta", fields))
        return learn(given.raw)
    if domain is None:
        return deep_tasks(model, given, method)

    def adapted(model: Any, given: NewRows, old: TaskData | None) -> Any:  # noqa: ANN401
        return deep_domain(model, given, old, method)

    return _new_domain(model, given, source, adapted)


def _refuse_unusable(model: Any) -> None:  # noqa: ANN401
    kind = {"kind": type(model).__name__}
    if not isinstance(model, MultiTaskEstimator):
        allowed, got = LazyMessage("allowed.fitted_estimator"), LazyMessage("got.kind", kind)
        raise IncompatibleError(sentence("model", OWNER, allowed, got))
    if not hasattr(model, "data_card_"):
        unfitted = LazyMessage("got.not_fitted", kind)
        raise DataError(sentence("model", OWNER, LazyMessage("allowed.fitted"), unfitted))
    reason = obstacle(model)
    if reason is not None:
        raise IncompatibleError(reason)


def _new_domain(
    model: Any,  # noqa: ANN401
    given: NewRows,
    source: Any,  # noqa: ANN401
    adapted: Callable[[Any, NewRows, TaskData | None], Any],
) -> Any:  # noqa: ANN401
    if not given.n_rows:
        raise DataError(LazyMessage("transfer.refusal.new_without_y"))
    return adapted(model, given, None if source is None else source_data(source, model, OWNER))


def _shifted(model: Any, given: NewRows, source: Any) -> Any:  # noqa: ANN401
    if source is None or given.raw is None:
        lacking = "source" if source is None else "new_rows"
        raise DataError(LazyMessage(f"transfer.refusal.shift_without_{lacking}"))
    rows = source_data(source, model, OWNER)
    weight = shift_weights(model, rows, given.raw)
    candidates = Shift(model, rows, weight, given, given.raw)
    trial = candidates.trial()
    chosen = trial.judged().choice()
    adapted = copy.copy(candidates.fitted(chosen))
    report = report_of(given, trial, "shift")
    adapted.adaptation_ = replace(report, chosen=chosen, effective_rows=effective_rows(weight))
    return adapted
