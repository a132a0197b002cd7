"""Statistics and fits of Dask collections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import dask.array as da
import dask.dataframe as dd

from polytask._checks import sentence
from polytask._estimator import MultiTaskEstimator
from polytask._estimator.training import refused_statistics
from polytask.data import TableEncoder, tables
from polytask.data.labels import refuse_groupings
from polytask.distributed.partitions import OWNER, Partitions, Pieces, with_columns
from polytask.exceptions import DataError, IncompatibleError
from polytask.messages import LazyMessage
from polytask.statistics.fitting import fit_parts
from polytask.statistics.one_part import collect_part, joined, of_all_parts
from polytask.statistics.parts import collect_parts
from polytask.statistics.task_statistics import TaskStatistics

if TYPE_CHECKING:
    from distributed import Client

Model = TypeVar("Model", bound=MultiTaskEstimator)


def collect(
    X: dd.DataFrame | da.Array,
    y: str | Sequence[str] | dd.Series | dd.DataFrame | da.Array,
    task: da.Array | None = None,
    *,
    sample_weight: str | dd.Series | da.Array | None = None,
    fold: str | dd.Series | da.Array | None = None,
    task_column: str | int | None = None,
    encoder: TableEncoder | None = None,
    client: Client | None = None,
) -> TaskStatistics:
    """Collect the statistics of Dask collections, each partition where it is.

    No row leaves its partition. Every partition is read twice, first to learn how columns become
    features; with an `encoder`, and in arrays, once.

    Parameters
    ----------
    X : dask DataFrame or dask Array of shape (n, d)
        The features. Sizes of partitions and of chunks may differ and be unknown.
    y : str, list of str, dask Series, dask DataFrame or dask Array
        The targets, numbers: one column with a task label per row, or one column per task with
        gaps where a label is missing. Names are those of columns of X.
    task : dask Array or None, default=None
        The task of each row of an array. In a table that is a column, see `task_column`.
    sample_weight : str, dask Series, dask Array or None, default=None
        Row weights; weight 2 is the row twice.
    fold : str, dask Series, dask Array or None, default=None
        A label for each row; rows of one label are held out together by the searches that
        cross-validate.
    task_column : str, int or None, default=None
        The column of X that holds the task labels, in rows to predict too.
    encoder : TableEncoder or None, default=None
        How columns of a table become features. None learns it, as
        :func:`polytask.statistics.collect_parts` does.
    client : distributed.Client or None, default=None
        Where to work. None is the current client, or Dask's default scheduler.

    Returns
    -------
    TaskStatistics

    Raises
    ------
    DataError
        If collections do not have the same rows in the same partitions, or workers die, or as
        :func:`polytask.statistics.collect`.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> from polytask import distributed
    >>> X = da.from_array(np.random.default_rng(0).normal(size=(60, 2)), chunks=(25, 2))
    >>> distributed.collect(X, X.sum(axis=1), da.arange(60, chunks=25) % 3)
    TaskStatistics(long: 60 rows, 2 features, 3 tasks)
    """
    refuse_groupings(task, task_column, OWNER)
    if not isinstance(X, dd.DataFrame):
        held = {"y": y, "task": task, "sample_weight": sample_weight, "fold": fold}
        return _of_arrays(Partitions.of(X, held, client), task_column, encoder)
    if task is not None:
        raise DataError(LazyMessage("distributed.refusal.task"))
    column: Any = tables.name_at(X._meta, task_column)
    table, names = with_columns(X, {"y": y, "sample_weight": sample_weight, "fold": fold})
    weight, tags = names.get("sample_weight"), names.get("fold")
    rows = Partitions((table,), client)
    return collect_parts(rows, names["y"], task_column=column, sample_weight=weight, fold=tags,
                         encoder=encoder)  # fmt: skip


def _of_arrays(
    rows: Partitions, task_column: str | int | None, encoder: TableEncoder | None
) -> TaskStatistics:
    def of_part(part: Pieces) -> TaskStatistics | None:
        return collect_part(
            part["X"], part["y"], part.get("task"), part.get("sample_weight"), part.get("fold"),
            task_column, encoder,
        )  # fmt: skip

    return of_all_parts(rows.summed(of_part, joined), OWNER)


def fit(
    model: Model,
    X: dd.DataFrame | da.Array,
    y: str | Sequence[str] | dd.Series | dd.DataFrame | da.Array,
    task: da.Array | None = None,
    sample_weight: str | dd.Series | da.Array | None = None,
    *,
    fold: str | dd.Series | da.Array | None = None,
    encoder: TableEncoder | None = None,
    client: Client | None = None,
) -> Model:
    """Fit an estimator to Dask collections, each partition read where it is.

    The same as ``model.fit(collect(X, y, ...))``; where means and products do not do, such as for
    classes and counts, as :func:`polytask.statistics.fit_parts`, which reads every partition of a
    table once for each step; with ``solver=AcceleratedGradient()`` workers hand over gradients
    alone, T d numbers for d features of T tasks. What is fitted is an ordinary estimator, which
    needs no Dask to predict rows in memory.

    Parameters
    ----------
    model : estimator
        One that takes statistics, such as :class:`polytask.MultiTaskRegressor`,
        :class:`polytask.MultiTaskRegressorCV` (with `fold`) and
        :class:`polytask.BayesianMultiTaskRegressor`, or, for a table, one that `fit_parts` takes,
        such as :class:`polytask.MultiTaskClassifier`. Its ``task_column`` names the tasks.
    X, y, task, sample_weight, fold, encoder, client
        As in :func:`collect`.

    Returns
    -------
    estimator
        `model`, fitted.

    Raises
    ------
    IncompatibleError
        If the model needs rows; nothing is read then.
    DataError
        As :func:`collect`, and if the model holds out folds and there is no `fold`.

    Examples
    --------
    >>> import dask.dataframe as dd
    >>> from polytask import MultiTaskRegressor, distributed
    >>> from polytask.datasets import load_wages
    >>> ddf = dd.from_pandas(load_wages().frame(), npartitions=4)
    >>> model = distributed.fit(MultiTaskRegressor(task_column="woman"), ddf, "log_wage")
    >>> predicted = distributed.predict(model, ddf)
    >>> round(float(predicted.mean().compute()), 1)
    1.7
    """
    owner = type(model).__name__
    if not isinstance(model, MultiTaskEstimator):
        raise refused_statistics(owner)
    named: Any = model.task_column
    refuse_groupings(task, named, OWNER)
    if not model._collects():
        return _fit_in_passes(model, X, y, task, sample_weight, fold, encoder, client)
    if fold is None and hasattr(model, "cv") and getattr(model, "criterion", None) is None:
        raise DataError(LazyMessage("distributed.refusal.no_fold", {"owner": owner}))
    found = collect(
        X, y, task, sample_weight=sample_weight, fold=fold,
        task_column=named, encoder=encoder, client=client,
    )  # fmt: skip
    model.fit(found)
    return model


def _fit_in_passes(
    model: Model, X: Any, y: Any, task: Any, sample_weight: Any, fold: Any,  # noqa: ANN401
    encoder: TableEncoder | None, client: Client | None,
) -> Model:  # fmt: skip
    """Fit a model that reads the partitions of a table once for each step."""
    model._refuse_parts()
    owner = type(model).__name__
    if not isinstance(X, dd.DataFrame):
        raise IncompatibleError(LazyMessage("distributed.refusal.needs_table", {"owner": owner}))
    if task is not None:
        raise DataError(LazyMessage("distributed.refusal.task"))
    if fold is not None:
        allowed = LazyMessage("allowed.none_without_search")
        raise DataError(sentence("fold", owner, allowed, LazyMessage("got.a_value")))
    named: Any = model.task_column
    column: Any = tables.name_at(X._meta, named)
    table, names = with_columns(X, {"y": y, "sample_weight": sample_weight})
    return fit_parts(
        model, Partitions((table,), client), names["y"], task_column=column,
        sample_weight=names.get("sample_weight"), encoder=encoder,
    )  # fmt: skip
