"""Tables as arrays of numbers, for explainers that know arrays alone, such as those of shap."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from polytask._checks import sentence
from polytask._estimator import MultiTaskEstimator
from polytask.data import Form, tables
from polytask.exceptions import DataError, ParameterError
from polytask.messages import LazyMessage

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]


class ArrayFunction:
    """A model of tables as a function of arrays, so that shap's explainers take it.

    Cells that are no numbers, such as text and dates, are numbered; the function puts them back
    before it asks the model, so contributions are those of the columns of the table. The task is
    one of the columns if the model knows its column, and the same for all rows otherwise.

    Parameters
    ----------
    model : MultiTaskEstimator
        A fitted model.
    X : table of shape (n, d)
        Rows with all cells that the function will be asked for, such as those of training: the
        background of the explainer.
    task : label or None, default=None
        The task, for a model without a ``task_column``; of several targets the one to explain.
    label : object or None, default=None
        The class whose probability is the value; None is the last. For numbers None.

    Attributes
    ----------
    data : ndarray of shape (n, d)
        The rows of X as numbers.
    feature_names : list of str
        The columns.

    Raises
    ------
    DataError
        If X is no table.
    ParameterError
        If `label` is no class of the model.

    Examples
    --------
    >>> import pandas as pd
    >>> from polytask import BayesianMultiTaskRegressor
    >>> from polytask.explanation import ArrayFunction
    >>> table = pd.DataFrame({"kind": ["new", "old"] * 10, "shop": ["a"] * 10 + ["b"] * 10})
    >>> y = [float(kind == "new") for kind in table["kind"]]
    >>> model = BayesianMultiTaskRegressor(task_column="shop").fit(table, y)
    >>> function = ArrayFunction(model, table)
    >>> function.data[:2].tolist(), function(function.data[:2]).round(2).tolist()
    ([[0.0, 0.0], [1.0, 0.0]], [1.0, 0.0])

    ``shap.PermutationExplainer(function, function.data, feature_names=function.feature_names)``
    then explains ``function.numbered(rows)``.
    """

    def __init__(
        self,
        model: MultiTaskEstimator,
        X: Any,  # noqa: ANN401 - a table
        task: Any = None,  # noqa: ANN401 - a label
        label: Hashable | None = None,
    ) -> None:
        check_is_fitted(model)
        if not tables.is_table(X):
            allowed = LazyMessage("allowed.tables")
            raise DataError(sentence("X", "ArrayFunction", allowed, type(X).__name__))
        table = _as_pandas(X)
        self._model, self._task = model, task
        self.feature_names = [str(name) for name in table.columns]
        numbers = [table[name].dtype.kind in "iuf" for name in table.columns]
        self._cells: list[Any] = [
            None if plain else table[name].drop_duplicates().dropna().array
            for name, plain in zip(table.columns, numbers, strict=True)
        ]
        self._columns = list(table.columns)
        self._place = self._class_place(label)
        self.data = self.numbered(table)

    def numbered(self, X: Any) -> Array:  # noqa: ANN401 - a table
        """Return rows of a table as numbers, NaN for missing cells, shape (n, d)."""
        import pandas as pd

        table, found = _as_pandas(X), np.empty((len(X), len(self._columns)))
        for j, (name, cells) in enumerate(zip(self._columns, self._cells, strict=True)):
            column = table[name]
            if cells is None:
                found[:, j] = column.to_numpy(dtype=float, na_value=np.nan)
                continue
            codes = pd.Index(cells).get_indexer(pd.Index(column))
            strange = np.flatnonzero((codes < 0) & column.notna().to_numpy())
            if len(strange):
                fields = {"column": repr(str(name)), "cell": repr(column.iloc[strange[0]])}
                raise DataError(LazyMessage("explanation.refusal.new_cell", fields))
            found[:, j] = np.where(codes < 0, np.nan, codes)
        return found

    def __call__(self, rows: Array) -> Array:
        """Return predictions, or probabilities of the class, of numbered rows, shape (n,)."""
        import pandas as pd

        columns: dict[Any, Any] = {}
        for name, cells, values in zip(
            self._columns, self._cells, np.asarray(rows).T, strict=True
        ):
            if cells is None:
                columns[name] = values
                continue
            codes = np.where(np.isnan(values), -1, values).astype(np.intp)
            columns[name] = pd.Series(cells).reindex(codes).array
        table, model = pd.DataFrame(columns), self._model
        targets = model._schema.form is Form.TARGETS
        asked = None if self._task is None or targets else [self._task] * len(table)
        at = None
        if targets:
            at = int(model._schema.index.encode([self._task], "error", "task", "explain")[0])
        if self._place is None:
            found = np.asarray(model.predict(table, asked))
            return np.asarray(found if at is None else found[:, at], dtype=float)
        proba = model.predict_proba(table, asked)
        return np.asarray((proba if at is None else proba[at])[:, self._place], dtype=float)

    def _class_place(self, label: Hashable | None) -> int | None:
        known: Any = getattr(self._model, "classes_", None)
        if isinstance(known, list):
            schema = self._model._schema
            known = known[int(schema.index.encode([self._task], "error", "task", "explain")[0])]
        classes = [] if known is None else known.tolist()
        if label is None:
            return len(classes) - 1 if classes else None
        if label not in classes:
            fields = {"names": ", ".join(map(repr, classes))}
            allowed = LazyMessage("allowed.classes_of_model", fields)
            raise ParameterError(sentence("label", "ArrayFunction", allowed, repr(label)))
        return classes.index(label)


def _as_pandas(X: Any) -> pd.DataFrame:  # noqa: ANN401 - a table
    frame: pd.DataFrame = tables.open_frame(X).to_pandas()
    return frame
