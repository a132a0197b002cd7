"""Predictions and scores of Dask collections, lazy and partition by partition."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted

from polytask._checks import sentence
from polytask._estimator import MultiTaskEstimator
from polytask._estimator.scoring import ScoreSums
from polytask.data import Form
from polytask.distributed.partitions import OWNER, Partitions, aligned, with_columns
from polytask.exceptions import IncompatibleError, ParameterError
from polytask.messages import LazyMessage
from polytask.statistics.one_part import is_nothing


def predict(
    model: MultiTaskEstimator,
    X: dd.DataFrame | da.Array,
    task: str | dd.Series | da.Array | None = None,
) -> dd.Series | dd.DataFrame | da.Array:
    """Predict the rows of Dask collections; this happens when the result is computed.

    Parameters
    ----------
    model : estimator
        A fitted one of polytask, whatever it was fitted on.
    X : dask DataFrame or dask Array of shape (n, d)
        The rows.
    task : str, dask Series, dask Array or None, default=None
        The task of each row, as in ``model.predict``.

    Returns
    -------
    dask Series, DataFrame or Array
        For a table the column "prediction", or one column per target, with the index of X; for
        an array one of shape (n,) or (n, T).

    Raises
    ------
    ParameterError
        If the model is none of polytask.
    DataError
        If the collections do not have the same partitions; as ``model.predict`` when a partition
        is computed.
    """
    _refuse_foreign(model)
    classes = _classes(model)
    if model._schema.form is Form.TARGETS:
        names: tuple[Hashable, ...] = tuple(map(str, model.tasks_))
        return _lazily(_Output("predict", names, tuple(map(_dtype, classes))), model, X, task)
    dtypes = {_dtype(own) for own in classes}
    dtype = dtypes.pop() if len(dtypes) == 1 else np.dtype(object)
    return _lazily(_Output("predict", None, (dtype,)), model, X, task)


def predict_proba(
    model: MultiTaskEstimator,
    X: dd.DataFrame | da.Array,
    task: str | dd.Series | da.Array | None = None,
) -> Any:  # noqa: ANN401 - a collection, or a list of them
    """Return class probabilities of the rows of Dask collections, when they are computed.

    Parameters
    ----------
    model : estimator
        A fitted one with ``predict_proba``.
    X, task
        As in :func:`predict`.

    Returns
    -------
    dask DataFrame or dask Array of shape (n, n_classes), or list of them
        The columns of a table are named by the classes. For a target matrix a list with one entry
        per target, None for targets that are numbers.

    Raises
    ------
    ParameterError, DataError
        As :func:`predict`.
    """
    _refuse_foreign(model)
    _ = model.predict_proba  # where there are no probabilities this says so
    float_, targets = np.dtype(np.float64), model._schema.form is Form.TARGETS
    classes = _classes(model) if targets else [np.asarray(model.classes_)]
    labels = [(t, label) for t, own in enumerate(classes) if own is not None
              for label in own.tolist()]  # fmt: skip
    names = tuple(f"{t}={label}" if targets else label for t, label in labels)
    found = _lazily(_Output("predict_proba", names, (float_,) * len(names)), model, X, task)
    if not targets:
        return found
    parts: list[Any] = []
    for t, own in enumerate(classes):
        places = [k for k, (target, _) in enumerate(labels) if target == t]
        if own is None:
            parts.append(None)
        elif isinstance(found, dd.DataFrame):
            new = {names[k]: labels[k][1] for k in places}
            parts.append(found[list(new)].rename(columns=new))
        else:
            parts.append(found[:, places[0] : places[-1] + 1])
    return parts


def score(
    model: MultiTaskEstimator,
    X: dd.DataFrame | da.Array,
    y: str | Sequence[str] | dd.Series | dd.DataFrame | da.Array,
    task: str | dd.Series | da.Array | None = None,
    sample_weight: str | dd.Series | da.Array | None = None,
) -> Delayed:
    """Return what ``model.score`` says of the rows of Dask collections, when it is computed.

    Parameters
    ----------
    model : estimator
        A fitted one of polytask.
    X, y, task, sample_weight
        As in :func:`collect`.

    Returns
    -------
    dask Delayed
        ``.compute()`` gives the number: that of all rows together, of which only sums leave the
        partitions.

    Raises
    ------
    ParameterError
        If the model is none of polytask.
    IncompatibleError
        If it keeps no training mean, as those saved by polytask 0.1 do.
    DataError
        If the collections do not have the same partitions; as ``model.score`` when a partition
        is computed.
    """
    _refuse_foreign(model)
    if not is_classifier(model) and getattr(model, "_baseline", None) is None:
        fields = {"model": type(model).__name__}
        raise IncompatibleError(LazyMessage("distributed.refusal.no_mean", fields))
    if isinstance(X, dd.DataFrame):
        given = {"y": y, "task": task, "sample_weight": sample_weight}
        table, names = with_columns(X, given)
        rows = Partitions((table,))
    else:
        names = None
        rows = Partitions.of(X, {"y": y, "task": task, "sample_weight": sample_weight})

    def of_part(part: Any) -> ScoreSums | None:  # noqa: ANN401 - any part
        y, task, weight = (
            part.get(role) if names is None else _taken(part, names.get(role))
            for role in ("y", "task", "sample_weight")
        )
        X = part["X"] if names is None else part
        return None if is_nothing(y, weight) else model._score_sums(X, y, task, weight)

    return delayed(_number)(rows.lazily(of_part, _joined))


def _taken(table: Any, name: str | list[str] | None) -> Any:  # noqa: ANN401 - of pandas
    return None if name is None else table[name]


def _refuse_foreign(model: object) -> None:
    if not isinstance(model, MultiTaskEstimator):
        allowed = LazyMessage("allowed.fitted_estimator")
        raise ParameterError(sentence("model", OWNER, allowed, type(model).__name__))
    check_is_fitted(model)


def _joined(one: ScoreSums | None, other: ScoreSums | None) -> ScoreSums | None:
    return one if other is None else other if one is None else one.joined(other)


def _number(found: ScoreSums | None) -> float:
    return float("nan") if found is None else found.score


def _classes(model: Any) -> list[NDArray[Any] | None]:  # noqa: ANN401 - a fitted estimator
    """Return the classes of every task, None for numbers."""
    n_tasks = len(model.tasks_)
    known = getattr(model, "classes_", None)
    if known is None or isinstance(known, list):
        return known or [None] * n_tasks
    # Tasks may predict numbers beside classes.
    own = getattr(model, "task_classes_", {})
    return [None if own.get(task, known) is None else known for task in own or range(n_tasks)]


def _dtype(classes: NDArray[Any] | None) -> np.dtype[Any]:
    if classes is None:
        return np.dtype(np.float64)
    return np.dtype(object) if classes.dtype.kind in "US" else classes.dtype


@dataclass(frozen=True)
class _Output:
    """What a method returns for the rows of a partition."""

    method: str
    # Of the columns; None where there is one value for each row.
    names: tuple[Hashable, ...] | None
    dtypes: tuple[np.dtype[Any], ...]

    def of(self, model: Any, X: Any, *task: Any) -> Any:  # noqa: ANN401 - array or table
        """Return it, as a table where X is one."""
        X = X[0] if isinstance(X, list) else X
        values: NDArray[Any] = np.empty((0, len(self.dtypes)))
        if X.shape[0]:
            found = getattr(model, self.method)(X, *task)
            # A list has one array for each target.
            known = found if isinstance(found, list) else [found]
            values = np.hstack([part for part in known if part is not None])
        values = values.reshape(X.shape[0], len(self.dtypes))
        if isinstance(X, np.ndarray) or not hasattr(X, "index"):
            dtype = self.joint_dtype
            return (values if self.names is not None else values[:, 0]).astype(dtype)
        return self.table(values, X.index)

    @property
    def joint_dtype(self) -> np.dtype[Any]:
        """That of all columns together."""
        kinds = set(self.dtypes)
        mixed = np.dtype(object) in kinds
        return np.dtype(object) if mixed else np.result_type(*kinds)

    def table(self, values: NDArray[Any], index: Any) -> Any:  # noqa: ANN401 - of pandas
        """Return the values as a column or as columns. Shapes: values (n, columns)."""
        columns = [v.astype(dtype) for v, dtype in zip(values.T, self.dtypes, strict=True)]
        if self.names is None:
            return pd.Series(columns[0], index=index, name="prediction")
        return pd.DataFrame(dict(zip(self.names, columns, strict=True)), index=index)


def _lazily(
    output: _Output,
    model: MultiTaskEstimator,
    X: Any,  # noqa: ANN401 - a collection of Dask
    task: Any,  # noqa: ANN401 - a collection, the name of a column, or None
) -> Any:  # noqa: ANN401 - a collection of Dask
    """Return a collection of what a method returns for each partition."""
    held = {"task": task} if isinstance(task, dd.Series | da.Array) else {}
    X, *tasks = aligned(X, held)
    function = partial(output.of, model)
    if isinstance(X, dd.DataFrame):
        empty = np.empty((0, len(output.dtypes)))
        return dd.map_partitions(
            function, X, *(tasks or ([] if task is None else [task])),
            meta=output.table(empty, X._meta.index), align_dataframes=False,
        )  # fmt: skip
    pairs = [part for one in tasks for part in (one, "i")]
    if not tasks and task is not None:
        pairs = [task, None]
    wide, dtype = output.names is not None, output.joint_dtype
    return da.blockwise(
        function, "ik" if wide else "i", X, "ij", *pairs,
        new_axes={"k": len(output.dtypes)} if wide else {}, align_arrays=False,
        dtype=dtype, meta=np.empty((0,) * (1 + wide), dtype=dtype),
    )  # fmt: skip
