"""What all estimators share: three data forms in, natural outputs back."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, is_classifier
from sklearn.utils import Tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from polytask._checks import one_of, sentence, truth
from polytask._estimator import conformal, outputs
from polytask._estimator.card import Card, describe_data, make_card
from polytask._estimator.dates import (
    DayFirst,
    date_of_feature,
    dates_again,
    dates_of_features,
    names_before,
    with_dates,
)
from polytask._estimator.far_cells import warn_of_far_cells
from polytask._estimator.held_out_errors import HeldOutErrors
from polytask._estimator.nested import changed, is_immutable
from polytask._estimator.query import InputSchema, Query, named_columns, refuse_arrays
from polytask._estimator.scored import Reading
from polytask._estimator.scoring import ConstantBaseline, LossTasks, ScoreSums, Scoring
from polytask._estimator.state import estimator_state, from_estimator_state
from polytask._estimator.tested_rows import tested_rows
from polytask._estimator.training import (
    Collected,
    TaskColumns,
    as_table,
    check_task_column,
    listed_columns,
    refuse_beside_statistics,
    refused_statistics,
    warn_of_key,
)
from polytask._estimator.training_summary import TrainingSummary
from polytask._registry import State
from polytask.data import Form, LabelIndex, TableEncoder, TaskData, tables
from polytask.data.labels import in_order
from polytask.data.missing import missing_mask
from polytask.exceptions import DataError, DataWarning, IncompatibleError, ParameterError
from polytask.messages import LazyMessage
from polytask.metrics.evaluation import Evaluation
from polytask.metrics.scores import TaskScores

Labels = NDArray[Any]


class MultiTaskEstimator(BaseEstimator, ABC):
    """Base of all estimators: reads the data, keeps order and kind of what is returned."""

    # A leaf class says how to fit encoded data and how to predict the rows of one task.

    task_column: TaskColumns
    unseen_tasks: str
    _reading: ClassVar[Reading] = Reading()
    # Comparisons judge networks apart from linear models.
    _is_network: ClassVar[bool] = False
    # Whether the model is a distribution of new targets, given all that is unknown.
    _knows_new_targets: ClassVar[bool] = False

    @abstractmethod
    def _fit_data(self, data: TaskData, raw: TaskData) -> None:
        """Fit encoded data; `raw` are the same rows before encoding. ``tasks_`` is set."""

    @abstractmethod
    def _predict_task(self, X: Any, task: int) -> Labels:  # noqa: ANN401 - dense or sparse rows
        """Return the natural output of a task for rows of X; task -1 is an unseen one."""

    def _predict_rows(self, X: Any, tasks: NDArray[np.intp]) -> Labels:  # noqa: ANN401
        """Return the natural output of rows of several tasks; those of a task stand together."""
        # A leaf class that has one model for all tasks asks it once.
        return outputs.one_by_one(self._predict_task)(X, tasks)

    def _largest_cell(self, data: TaskData) -> float:
        """Return a bound of the cells of X that the fit has found, so that none is looked at."""
        return float("inf")

    def _by_loss(self) -> LossTasks | None:
        """Return what predicts by losses of the tasks, None for plain numbers or classes."""
        return None

    def fit(
        self,
        X: Any,  # noqa: ANN401
        y: Any = None,  # noqa: ANN401
        task: Any = None,  # noqa: ANN401
        sample_weight: Any = None,  # noqa: ANN401
    ) -> Self:
        """Learn all tasks.

        Parameters
        ----------
        X : array, sparse matrix or table of shape (n, d), TaskData, mapping or TaskStatistics
            The features. In the separate form ``{task: (X_t, y_t)}`` with ``y=None``. Linear
            models of the squared loss take :class:`polytask.statistics.TaskStatistics` too.
        y : array of shape (n,) or (n, T), or None
            The targets: one per row with a task label per row, or one column per task with
            NaN where a label is missing.
        task : array of shape (n,) or None
            The task of each row. ``task_column`` does the same and survives pipelines.
        sample_weight : array of shape (n,), mapping or None
            Row weights; weight 2 is the row twice, weight 0 is no row.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        DataError
            If the data cannot be used; the message names row, column or task.
        ParameterError
            If a parameter of the estimator has a value outside its allowed set.
        IncompatibleError
            If two parameters exclude each other, or one and the data, such as a loss of classes
            and numbers.

        Warns
        -----
        ConvergenceWarning
            If a solver stopped before it reached its tolerance.
        DataWarning
            If something in the data deserves a look.
        """
        self._check_reading()
        self._forget_held_out()
        collected = isinstance(X, Collected)
        if collected:
            read = self._read_collected(X, y, task, sample_weight)
        else:
            read = self._read_rows(X, y, task, sample_weight)
        self._keep_columns(read)
        # What overflows on the way is judged by the answer: it has a certificate, or is refused.
        with np.errstate(all="ignore"):
            try:
                self._fit_data(read.data, read.raw)
            except (np.linalg.LinAlgError, OverflowError) as error:
                fields = {"owner": type(self).__name__, "reason": str(error)}
                raise DataError(LazyMessage("estimator.refusal.digits", fields)) from error
        self._keep_training(read, X if collected else None)
        if not collected:
            # What is refused says so itself.
            warn_of_far_cells(read.data, self._largest_cell(read.data))
        return self

    def _forget_held_out(self) -> None:
        """Drop the errors of rows that another fit held out."""
        self.__dict__.pop("_fold_models", None)
        self._held_out: HeldOutErrors | None = None

    def _keep_training(self, read: Given, found: Collected | None) -> None:
        """Keep what scores compare with, and what a card says of the rows."""
        # Classes are scored by their accuracy, which needs nothing to compare with.
        if not is_classifier(self):
            self._baseline = self._scoring().baseline_of(read.raw)
        self.data_card_ = describe_data(read.data)
        if found is not None:
            n, per_task = found.n_rows, found.rows_per_task
            self.data_card_ = replace(self.data_card_, n_rows=n, rows_per_task=per_task)
            kept = TrainingSummary.of_moments(read.data, found)
        else:
            kept = TrainingSummary.of(read.data, read.raw, read.encoder)
        self.data_card_ = replace(self.data_card_, training=kept)

    def _check_reading(self) -> None:
        """Refuse parameters that say how rows are read and are none."""
        owner = type(self).__name__
        one_of(self.unseen_tasks, "unseen_tasks", owner, ("error", "shared"))
        # Classes of others may lack the parameter.
        one_of(getattr(self, "date_features", False), "date_features", owner, (True, False))
        check_task_column(self.task_column, owner, self._reading.groupings)

    def _keep_columns(self, read: Given) -> None:
        """Keep tasks, columns and features, and what `predict` must be given."""
        data = read.data
        self.tasks_ = label_array(data.tasks)
        self.n_features_in_ = read.width
        if read.names is not None:
            self.feature_names_in_ = np.array(read.names, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        self.encoder_ = read.encoder
        features = data.feature_names or tuple(f"x{j}" for j in range(data.n_features))
        self.coef_feature_names_ = np.array(features, dtype=object)
        self._schema = InputSchema(
            owner=type(self).__name__,
            index=LabelIndex(data.tasks),
            form=read.raw.form,
            n_features=read.width,
            names=read.names,
            task_column=read.column,
            encoder=read.encoder,
            present=read.raw.present,
            dates=read.dates,
            groupings=levels_of(read.raw),
        )

    def _fits_moments(self) -> bool:
        """Say whether means and products of the rows are all that these parameters need."""
        return False

    def _collects(self) -> bool:
        """Say whether a table in parts is summed up once, for its means and products."""
        return self._fits_moments()

    def _refuse_parts(self) -> None:
        """Refuse to fit rows that are read in parts, several times, unless that is possible."""
        fields = {"owner": type(self).__name__}
        raise IncompatibleError(LazyMessage("estimator.refusal.in_parts", fields))

    def _read_collected(self, X: Collected, *held: object) -> Given:
        """Return the rows that stand for statistics."""
        owner = type(self).__name__
        refuse_beside_statistics(owner, *held)
        if X.in_parts:
            self._refuse_parts()
        elif not self._fits_moments():
            raise refused_statistics(owner)
        if self.task_column not in (None, X.task_column):
            fields = {"column": repr(X.task_column)}
            allowed = LazyMessage("allowed.none_or_as_statistics", fields)
            raise ParameterError(sentence("task_column", owner, allowed, repr(self.task_column)))
        data = X.to_task_data()
        return Given(data, data, X.encoder, X.n_columns, X.names, X.task_column, {})

    def _read_rows(self, X: Any, y: Any, task: Any, sample_weight: Any) -> Given:  # noqa: ANN401
        """Read and encode rows."""
        owner = type(self).__name__
        tables.refuse_lazy(X, "X", owner)
        X = as_table(X, self.task_column)
        column = self._named_column(X)
        given: Any = X
        dates: DayFirst = {}
        if getattr(self, "date_features", False):
            roles = [*y] if isinstance(y, list | tuple) else [y if isinstance(y, str) else None]
            roles += [*listed_columns(column), task if isinstance(task, str) else None]
            X, dates = with_dates(X, [role for role in roles if isinstance(role, str)])
        raw = self._reading.training(X, y, task, sample_weight, column, owner)
        if raw.feature_names is not None:
            dates = dates or dates_of_features(raw.feature_names)
        if task is None and column is None:
            warn_of_key(raw, owner, date_of_feature(dates))
        data, encoder = self._reading.encoded(raw)
        width, names = given_columns(given, raw, column, dates)
        return Given(data, raw, encoder, width, names, column, dates)

    def _named_column(self, X: Any) -> TaskColumns:  # noqa: ANN401 - what a user gives
        """Return the task columns by the names that a table has for them."""
        given: Any = self.task_column
        if isinstance(given, list | tuple):
            columns: list[Any] = [tables.name_at(X, column) for column in given]
            return tuple(columns)
        return tables.name_at(X, given)

    def predict(self, X: Any, task: Any = None) -> Any:  # noqa: ANN401 - kind of X decides
        """Predict.

        Parameters
        ----------
        X : array, sparse matrix or table of shape (n, d), TaskData, or mapping
            The rows; a mapping ``{task: X_t}`` in the separate form.
        task : array of shape (n,) or None
            The task of each row; None for a model of one task, of several targets, or with
            a ``task_column``.

        Returns
        -------
        ndarray of shape (n,) or (n, T), or mapping
            Arrays, as scikit-learn expects, in the order of X; a mapping if X is one. For a
            table with index and names see :meth:`predict_frame`.

        Raises
        ------
        DataError
            If the columns differ from those in fit, or a task is unknown and
            ``unseen_tasks="error"``.

        Notes
        -----
        An array given to a model that was fitted on a table is read by position: as many
        columns as that table had, in its order.
        """
        query = self._read(X, task)
        return outputs.predictions(query, len(self._schema.index.labels), self._predict_rows)

    def predict_frame(self, X: Any, task: Any = None) -> Any:  # noqa: ANN401 - kind of X decides
        """Predict, and return a table with the index of X.

        Parameters
        ----------
        X : table of shape (n, d), or mapping of tables
            The rows, in a table of pandas, polars or pyarrow.
        task : array of shape (n,) or None
            As in :meth:`predict`.

        Returns
        -------
        table, or mapping of tables
            Of the same library as X. One column per task, named like it, for several targets;
            otherwise the column "prediction".

        Raises
        ------
        DataError
            As :meth:`predict`, and if X is no table.
        """
        refuse_arrays(X, type(self).__name__)
        query = self._read(X, task)
        return outputs.prediction_tables(query, self._schema.index.labels, self._predict_rows)

    @available_if(lambda self: not is_classifier(self))  # type: ignore[untyped-decorator]
    def predict_interval(
        self,
        X: Any,  # noqa: ANN401
        task: Any = None,  # noqa: ANN401
        level: float = 0.9,
        *,
        by_task: bool = False,
    ) -> tuple[Any, Any]:
        """Return an interval for the target of every row.

        It is made of errors of rows that were held out, which estimators that choose by folds
        keep and :func:`polytask.calibrate` adds to any other; without them, models with a
        distribution of new targets (the learned prior, boosting with it) use this.

        Parameters
        ----------
        X, task
            As in :meth:`predict`.
        level : float, default=0.9
            Probability that a new target lies inside, in (0, 1); of counts, which are whole
            numbers, at least this.
        by_task : bool, default=False
            Use the held-out errors of the row's own task alone (Mondrian). A task needs
            level / (1 - level) of them, 9 for 90%; one with fewer has the interval of
            ``by_task=False``, with a warning that names it.

        Returns
        -------
        lower, upper
            As :meth:`predict` returns predictions, in the units of the target; NaN for tasks of
            classes. Infinite where all held-out errors together, or of unseen tasks the tasks,
            are fewer than level / (1 - level).

        Raises
        ------
        ParameterError
            If `level` is no probability, or `by_task` no boolean.
        IncompatibleError
            If nothing was held out in fit; :func:`polytask.calibrate` does so.

        Notes
        -----
        The interval is the prediction and, to both sides, the conformal quantile of held-out
        errors in units of their task's: the mean absolute error of the task, pulled to those of
        the other tasks by as much as chance explains their differences. Errors of counts are
        relative to the root of the prediction, of amounts to the prediction. Of new rows that
        are exchangeable with those in fit, the share `level` lies inside if the model of all
        rows errs as those of the folds do; of models from :func:`polytask.calibrate` at least
        1 - 2 (1 - level) whatever the model. Both hold over all tasks; that of every task is
        near it, which :meth:`coverage_frame` shows. For unseen tasks errors are those of whole
        tasks that were held out, each task counting the same.

        References
        ----------
        R. Barber, E. Candes, A. Ramdas and R. Tibshirani, "Predictive inference with the
        jackknife+", Annals of Statistics 49 (2021). V. Vovk, "Cross-conformal predictors",
        Annals of Mathematics and Artificial Intelligence 74 (2015). R. Dunn, L. Wasserman and
        A. Ramdas, "Distribution-free prediction sets for two-layer hierarchical models",
        Journal of the American Statistical Association 118 (2023) (unseen tasks).
        """
        check_is_fitted(self)
        owner = f"{type(self).__name__}.predict_interval"
        value, by_task = conformal.checked_level(level, owner), truth(by_task, "by_task", owner)
        if self._interval_errors() is not None:
            return conformal.intervals(self, X, task, value, by_task)
        found = None if by_task else self._own_interval(X, task, value)
        return self._refuse_intervals() if found is None else found

    def _has_intervals(self) -> bool:
        """Say whether there are intervals of numbers and sets of classes."""
        return self._knows_new_targets or self._interval_errors() is not None

    def _interval_errors(self) -> HeldOutErrors | None:
        """Return the held-out errors that intervals are made of, None if of none."""
        held: HeldOutErrors | None = getattr(self, "_held_out", None)
        return held if held is not None and held.for_intervals else None

    def _own_interval(self, X: Any, task: Any, level: float) -> tuple[Any, Any] | None:  # noqa: ANN401
        """Return the interval that the model itself implies, None if it implies none."""
        return None

    def _refuse_intervals(self) -> Any:  # noqa: ANN401 - it never returns
        """Refuse intervals and sets where nothing was held out."""
        fields = {"owner": type(self).__name__}
        raise IncompatibleError(LazyMessage("estimator.refusal.nothing_held_out", fields))

    def coverage_frame(self, level: float = 0.9) -> Any:  # noqa: ANN401 - a pandas table
        """Return how many held-out rows of every task the intervals or sets of others cover.

        Parameters
        ----------
        level : float, default=0.9
            Wanted share of new targets inside, in (0, 1).

        Returns
        -------
        pandas.DataFrame
            Columns task, rows (held out, in all folds) and coverage, in [0, 1]: for the rows of
            each fold the intervals are made of the errors of the other folds.

        Raises
        ------
        IncompatibleError
            If nothing was held out in fit.
        """
        import pandas as pd

        check_is_fitted(self)
        value = conformal.checked_level(level, f"{type(self).__name__}.coverage_frame")
        held = self._interval_errors()
        if held is None and self._knows_new_targets:
            fields = {"owner": type(self).__name__}
            raise IncompatibleError(LazyMessage("estimator.refusal.own_intervals", fields))
        if held is None:
            self._refuse_intervals()
            raise AssertionError
        shares, rows = held.coverage(value)
        labels = pd.Series(list(self._schema.index.labels), dtype=object).infer_objects()
        return pd.DataFrame({"task": labels, "rows": rows, "coverage": shares})

    def score(
        self,
        X: Any,  # noqa: ANN401
        y: Any = None,  # noqa: ANN401
        task: Any = None,  # noqa: ANN401
        sample_weight: Any = None,  # noqa: ANN401
    ) -> float:
        """Return how good the predictions are: 1 is perfect, for numbers 0 is a constant.

        For numbers the share of the squared error of the *training mean* that is explained, 1 -
        sum((y - prediction)^2) / sum((y - training mean)^2): R2 against the mean of all training
        rows, whatever their task. For counts and amounts the share of the deviance, for
        quantiles that of their loss. The rows of all tasks count alike; the columns of a target
        matrix are different quantities: each is scored against its own training mean, and the
        scores are averaged. So are those of tasks with different losses, classes by the share
        of the log loss.

        For classifiers the accuracy: the share of all rows, or the mean over the columns of a
        target matrix.

        Parameters
        ----------
        X, y, task, sample_weight
            As in :meth:`fit`.

        Returns
        -------
        float
            NaN if it is undefined, such as where all rows are equal to the training mean.

        Notes
        -----
        It is "d2" of :func:`polytask.metrics.evaluate`, and what :func:`polytask.compare`
        judges by. ``r2_score`` of scikit-learn compares with the mean of the rows that are
        scored, which no model could know. A model saved by polytask 0.1 keeps no training mean:
        its score is against the mean of the rows given, with a warning.
        """
        return self._evaluation(X, y, task, sample_weight).overall

    def task_scores(
        self,
        X: Any,  # noqa: ANN401
        y: Any = None,  # noqa: ANN401
        task: Any = None,  # noqa: ANN401
        sample_weight: Any = None,  # noqa: ANN401
    ) -> TaskScores:
        """Return the score of every task: that of :meth:`score` on its rows alone.

        Parameters
        ----------
        X, y, task, sample_weight
            As in :meth:`fit`.

        Returns
        -------
        TaskScores
            In the order of the tasks of the data given.

        Notes
        -----
        In the long and separate forms the constant that tasks are compared with is the mean of
        the training rows of *all* tasks: a task whose level is far from it has a high score by
        its intercept alone. R2 around the task's own mean is "r2_within" of
        :func:`polytask.metrics.evaluate`.
        """
        return self._evaluation(X, y, task, sample_weight).by_task

    def _evaluation(self, X: object, y: object, task: object, sample_weight: object) -> Evaluation:
        data, query = self._scored(X, y, task, sample_weight)
        if is_classifier(self):
            return self._scoring().accuracy(data, query)
        baseline: ConstantBaseline | None = getattr(self, "_baseline", None)
        if baseline is None:
            message = LazyMessage("warn.no_training_mean", {"model": type(self).__name__})
            warnings.warn(DataWarning(message), stacklevel=3)
        return self._scoring().explained(data, query, baseline)

    def _score_sums(self, X: object, y: object, task: object, sample_weight: object) -> ScoreSums:
        """Return what the score of these rows and others needs."""
        data, query = self._scored(X, y, task, sample_weight)
        return self._scoring().sums(data, query, None if is_classifier(self) else self._baseline)

    def _scored(
        self, X: object, y: object, task: object, sample_weight: object
    ) -> tuple[TaskData, Query]:
        """Return labelled rows, before and after encoding."""
        check_is_fitted(self)
        tables.refuse_lazy(X, "X", type(self).__name__)
        X = dates_again(named_columns(self._schema, X), self._schema.dates, self._schema.encoder)
        data = self._reading.scored(self._schema, X, y, task, sample_weight)
        query = self._read(data, None)
        if is_classifier(self):
            self._warn_of_classes(np.asarray(data.y))
        return data, query

    def _warn_of_classes(self, y: Labels) -> None:
        """Warn if no label is a class of the model: all rows count as wrong."""
        given: Any = getattr(self, "classes_", [])
        parts = given if isinstance(given, list) else [given]
        known = {
            label for part in parts if part is not None for label in np.asarray(part).tolist()
        }
        found = list(dict.fromkeys(y[~missing_mask(y)].tolist()))
        if known and found and not known.intersection(found):
            fields = {"model": type(self).__name__, "labels": [*map(repr, found[:5])]}
            fields |= {"classes": [*map(repr, in_order(known)[:5])]}
            warnings.warn(DataWarning(LazyMessage("warn.no_class", fields)), stacklevel=5)

    def _scoring(self) -> Scoring:
        schema = self._schema
        targets, n_tasks = schema.form is Form.TARGETS, len(schema.index.labels)
        return Scoring(self._predict_rows, self._by_loss(), n_tasks, targets, schema.owner)

    def card(
        self,
        X: Any = None,  # noqa: ANN401
        y: Any = None,  # noqa: ANN401
        task: Any = None,  # noqa: ANN401
        sample_weight: Any = None,  # noqa: ANN401
    ) -> Card:
        """Return the model card: what it is for, how well it does, its limits, how it was made.

        Parameters
        ----------
        X : array, sparse matrix or table of shape (n, d), TaskData, mapping or None, default=None
            Features of rows that the model was not fitted on; the card then has their errors.
        y : array of shape (n,) or (n, T), or None, default=None
            Their targets.
        task, sample_weight : array of shape (n,) or None, default=None
            The task and the weight of each row.

        Returns
        -------
        Card
            With ``markdown``, ``json`` and ``write(path)``. Scores are those of :meth:`score`;
            errors by task, with 95% intervals, are mean absolute ones, of classes the share of
            wrong rows. A model with held-out rows has their score and coverage in its card, too.
        """
        check_is_fitted(self)
        if X is None:
            return make_card(self)
        data, query = self._scored(X, y, task, sample_weight)
        known = None if is_classifier(self) else getattr(self, "_baseline", None)
        return make_card(self, tested_rows(self._scoring(), data, query, known))

    def to_state(self) -> State:
        """Return parameters and fitted attributes, for :func:`polytask.save`."""
        return estimator_state(self)

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild the estimator from :meth:`to_state`."""
        return from_estimator_state(cls, state)

    def _read(self, X: object, task: object) -> Query:
        check_is_fitted(self)
        one_of(self.unseen_tasks, "unseen_tasks", type(self).__name__, ("error", "shared"))
        tables.refuse_lazy(X, "X", type(self).__name__)
        X = dates_again(named_columns(self._schema, X), self._schema.dates, self._schema.encoder)
        return self._reading.query(self._schema, X, task, self.unseen_tasks)

    def set_params(self, **params: Any) -> Self:  # noqa: ANN401 - scikit-learn's signature
        """Set parameters; those of a penalty, ``penalty__alpha=2``, put a changed copy in place.

        Penalties, and descriptions such as those of how networks share, are immutable, so that
        two estimators can share one without either changing the other.

        Parameters
        ----------
        **params : dict
            Names as in ``get_params()``.

        Returns
        -------
        self
            The estimator.
        """
        plain = {name: value for name, value in params.items() if "__" not in name}
        super().set_params(**plain)
        for name, value in params.items():
            head, _, rest = name.partition("__")
            held = getattr(self, head, None)
            if rest and is_immutable(held):
                setattr(self, head, changed(held, rest, value, head))
            elif rest and not hasattr(held, "set_params") and head in self.get_params(deep=False):
                allowed = LazyMessage("allowed.with_parameter", {"name": name})
                got = LazyMessage("got.give_first", {"held": repr(held), "name": head})
                raise ParameterError(sentence(head, type(self).__name__, allowed, got))
            elif rest:
                super().set_params(**{name: value})
        return self

    def __sklearn_tags__(self) -> Tags:
        """Say that X may be sparse and y may have several columns."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        return tags


def label_array(labels: tuple[Hashable, ...]) -> Labels:
    kinds = {type(label) for label in labels}
    # Labels of several types must not be turned into text, nor tuples into rows.
    if len(kinds) == 1 and kinds <= {str, int, float, bool}:
        array = np.array(labels)
        if array.tolist() == list(labels):
            return array
    out = np.empty(len(labels), dtype=object)
    for k, label in enumerate(labels):
        out[k] = label
    return out


@dataclass(frozen=True, eq=False)
class Given:
    """What `fit` was given: rows before and after encoding, and what `predict` will be given."""

    data: TaskData
    raw: TaskData
    encoder: TableEncoder | None
    width: int
    names: tuple[str, ...] | None
    column: TaskColumns
    dates: DayFirst


def levels_of(data: TaskData) -> tuple[tuple[Hashable, LabelIndex], ...]:
    """Return name and levels of each of several groupings."""
    held = data.groupings
    if held is None:
        return ()
    return tuple(zip(held.names, map(LabelIndex, held.labels), strict=True))


def given_columns(
    X: Any,  # noqa: ANN401
    raw: TaskData,
    task_column: TaskColumns,
    dates: DayFirst,
) -> tuple[int, tuple[str, ...] | None]:
    """Return number and names of the columns that `predict` will be given."""
    columns = listed_columns(task_column)
    names = raw.feature_names
    given = tables.feature_names(X) if tables.is_table(X) else None
    if names is not None and given is not None:
        # Features that were made of dates stand for these, unless they were given.
        names = names_before(names, {n: day for n, day in dates.items() if n in given})
        used = {*names, *columns}
        names = tuple(name for name in given if name in used)
    elif names is not None:
        names = (*names, *map(str, columns))
    if names is not None:
        return len(names), names
    return raw.n_features + len(columns), None
