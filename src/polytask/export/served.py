"""log_mlflow: a model as MLflow keeps, loads and serves it; the one place that imports mlflow."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from polytask._checks import sentence
from polytask._estimator import MultiTaskEstimator
from polytask._estimator.training import listed_columns
from polytask.data import Form
from polytask.exceptions import ParameterError
from polytask.export.inputs import Column, GraphInputs
from polytask.io import load, save
from polytask.io.model_file import versions
from polytask.messages import LazyMessage

if TYPE_CHECKING:
    import pandas as pd

_FILE = "model.polytask"
# Extras that estimators of a package need.
_EXTRAS = {"deep": "deep", "boosting": "trees"}


class ServedModel:
    """A model that is given a table, the task of each row among its columns, and returns one."""

    def __init__(self, model: MultiTaskEstimator) -> None:
        self.model = model
        self._schema = model._schema
        inputs = GraphInputs.of(model)
        self._columns: tuple[Column, ...] = inputs.columns or ()
        self._features = [column.name for column in self._columns]
        if inputs.columns is None:
            self._features = [f"x{j}" for j in range(len(model.coef_feature_names_))]
        self._held = listed_columns(self._schema.task_column)
        # The columns of labels, with a label of each; a column is read also of a single task.
        self._levels = {name: index.labels[0] for name, index in inputs.tasks}
        if self._held and not self._levels:
            self._levels = {str(self._held[0]): self._schema.index.labels[0]}

    def predict(self, rows: pd.DataFrame, params: object = None) -> pd.DataFrame:
        """Return a table: predictions, and of classes their probabilities."""
        import pandas as pd

        X, task = self._read(rows)
        labels = self._schema.index.labels
        targets = self._schema.form is Form.TARGETS
        values = self.model.predict(X, task=task)
        found = {"prediction": values}
        if targets:
            found = {f"prediction_{name}": values[:, t] for t, name in enumerate(labels)}
        if hasattr(self.model, "predict_proba"):
            shares, model = self.model.predict_proba(X, task=task), self.model
            classes: Any = model.classes_
            parts = zip(labels, classes, shares, strict=True) if targets else []
            for name, own, table in parts:
                if table is not None:
                    found |= _shares(table, own, f"probability_{name}_")
            if not targets:
                found |= _shares(shares, classes, "probability_")
        return pd.DataFrame(found, index=rows.index)

    def _read(self, rows: pd.DataFrame) -> tuple[Any, Any]:
        """Return the rows and tasks as `predict` takes them."""
        labels: Any = rows[[*self._levels]].to_numpy() if self._levels else None
        if labels is not None and not self._schema.groupings:
            labels = rows[next(iter(self._levels))].to_numpy()
        if self._columns:
            return rows, None if self._held else labels
        features = rows[self._features].to_numpy(dtype=np.float64)
        if not self._held:
            return features, labels
        # The labels stand among the features.
        X = np.empty((len(rows), self._schema.n_features))
        at = [int(k) % X.shape[1] for k in self._held]
        X[:, at] = labels.reshape(len(rows), -1)
        X[:, np.setdiff1d(np.arange(X.shape[1]), at)] = features
        return X, None

    def example(self) -> pd.DataFrame:
        """Return a row with what is typical of each column, of the first task."""
        import pandas as pd

        row: dict[str, Any] = dict.fromkeys(self._features, 0.0)
        for column in self._columns:
            if column.levels is not None:
                row[column.name] = column.levels[0]
            else:
                row[column.name] = bool(column.fill) if column.boolean else column.fill
        for name in self._schema.dates:
            row = {key: value for key, value in row.items() if not key.startswith(f"{name}=")}
            row[name] = "2024-01-31"
        return pd.DataFrame([row | self._levels])


def _shares(table: NDArray[Any], classes: Any, prefix: str) -> dict[str, NDArray[Any]]:  # noqa: ANN401
    return {f"{prefix}{label}": table[:, k] for k, label in enumerate(classes.tolist())}


def _load_pyfunc(path: str) -> ServedModel:
    """Return the model of a file; MLflow looks for this name."""
    return ServedModel(load(path))


def log_mlflow(
    model: MultiTaskEstimator,
    name: str = "model",
    *,
    input_example: pd.DataFrame | None = None,
    requirements: Sequence[str] | None = None,
) -> Any:  # noqa: ANN401 - mlflow's ModelInfo
    """Log a fitted model in MLflow's active run, with signature and input example.

    It is a `pyfunc`: ``mlflow.pyfunc.load_model(info.model_uri).predict(table)`` and ``mlflow
    models serve`` give a table with ``prediction``, and of classes ``probability_<class>``; of a
    target matrix ``prediction_<task>`` and ``probability_<task>_<class>``. The task of each row
    is a column of the table: the ``task_column`` of the model, else ``task``; each of several
    groupings is one of its name. A model of arrays takes its features as ``x0``, ``x1``, ...
    What is logged is the file that :func:`polytask.save` writes, so that no code is loaded with
    it.

    Parameters
    ----------
    model : fitted estimator
        Any estimator that :func:`polytask.save` keeps.
    name : str, default="model"
        The name of the model within the run.
    input_example : pandas.DataFrame, default=None
        Rows to show, the task among their columns; None takes one typical row.
    requirements : sequence of str, default=None
        What pip installs where the model is loaded; None is this version of polytask with the
        extras that the model needs.

    Returns
    -------
    mlflow.models.model.ModelInfo
        With ``model_uri``.

    Raises
    ------
    ImportError
        If MLflow is not installed.
    ParameterError
        If `model` is no estimator of polytask.
    IncompatibleError
        If the model cannot be saved.

    Examples
    --------
    >>> import mlflow  # doctest: +SKIP
    >>> with mlflow.start_run():  # doctest: +SKIP
    ...     info = log_mlflow(model)
    >>> mlflow.pyfunc.load_model(info.model_uri).predict(table)  # doctest: +SKIP
    """
    try:
        import mlflow
    except ImportError as error:
        raise ImportError(LazyMessage("export.refusal.no_mlflow")) from error
    if not isinstance(model, MultiTaskEstimator):
        allowed = LazyMessage("allowed.some_estimator")
        raise ParameterError(sentence("model", "log_mlflow", allowed, type(model).__name__))
    check_is_fitted(model)
    served = ServedModel(model)
    example = served.example() if input_example is None else input_example
    gives = mlflow.models.infer_signature(example, served.predict(example)).outputs
    signature = mlflow.models.ModelSignature(_given(served, example), gives)
    needed = [_requirement(model)] if requirements is None else list(requirements)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / _FILE
        save(model, path)
        return mlflow.pyfunc.log_model(
            name=name,
            loader_module=__name__,
            data_path=str(path),
            signature=signature,
            input_example=example,
            pip_requirements=needed,
        )


def _given(served: ServedModel, example: pd.DataFrame) -> Any:  # noqa: ANN401 - a Schema
    """Return the columns that a model is given."""
    from mlflow.types import ColSpec, Schema
    from mlflow.types.schema import AnyType

    # Whole numbers are not safe where real ones are expected, says MLflow, nor truth values or
    # missing cells: numbers are left to the model, which says itself what it cannot read.
    text = {column.name for column in served._columns if column.levels is not None}
    kinds: dict[str, Any] = {
        name: "string" if name in text else AnyType() for name in map(str, example)
    }
    return Schema([ColSpec(kind, name, required=False) for name, kind in kinds.items()])


def _requirement(model: Any) -> str:  # noqa: ANN401 - an estimator
    """Return what pip is to install: this version, with the extras of a model and its parts."""
    parts = [model, *getattr(model, "members_", {}).values()]
    parts += [getattr(part, name, None) for part in parts for name in ("estimator_", "base_")]
    homes = {(*type(part).__module__.split("."), "")[1] for part in parts}
    extras = ",".join(sorted(extra for home, extra in _EXTRAS.items() if home in homes))
    return (
        f"polytask[{extras}]==" + versions()["polytask"]
        if extras
        else ("polytask==" + versions()["polytask"])
    )
