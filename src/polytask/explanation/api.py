"""``polytask.explain``: the public function."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from polytask._checks import SEED, is_whole, positive_integer, sentence
from polytask._estimator import MultiTaskEstimator, Query
from polytask._estimator.base import label_array
from polytask._estimator.dates import dates_again, names_before
from polytask._estimator.groupings import GroupedRows
from polytask._estimator.missing_features import IncompleteRows
from polytask._estimator.query import InputSchema, named_columns
from polytask._estimator.training import is_task_mapping, listed_columns
from polytask._linalg import is_sparse
from polytask.data import Form, tables
from polytask.exceptions import DataError, IncompatibleError, ParameterError
from polytask.explanation.dispatch import parts_of
from polytask.explanation.parts import Draws, Parts, Rows
from polytask.explanation.result import Explanation
from polytask.messages import LazyMessage

if TYPE_CHECKING:
    import pandas as pd

Index = NDArray[np.intp]
_TASK = "(task)"


def explain(
    model: MultiTaskEstimator,
    X: Any,  # noqa: ANN401 - what `predict` takes
    task: Any = None,  # noqa: ANN401 - what `predict` takes
    *,
    label: Hashable | None = None,
    background: Any = None,  # noqa: ANN401 - rows as X
    n_permutations: int = 64,
    random_state: int = 0,
) -> Explanation:
    """Say what each column contributes to each prediction, in common and of the task's own.

    Of linear models contributions are exact: the coefficient of a feature times the feature
    less its mean, summed over the features that come from a column. Trees have TreeSHAP values,
    those of LightGBM from LightGBM itself and those of scikit-learn from shap
    (``pip install "polytask[explain]"``). Combinations of regressors have the weighted sums of
    their members. All else (networks, trees that split by categories, averages of
    probabilities) is sampled: columns are put, in random orders, into rows of the background.

    Parameters
    ----------
    model : MultiTaskEstimator
        A fitted model.
    X : array, sparse matrix or table of shape (n, d), or mapping
        The rows, as ``model.predict`` takes them.
    task : array of shape (n,), label or None, default=None
        As in ``model.predict``. For a model of several targets the one to explain; None
        explains all, one after the other.
    label : object or None, default=None
        The class to explain. None is the second of two classes, as in ``decision_function``,
        and of more the class that is predicted for the row.
    background : as X, or None, default=None
        Rows that contributions are counted from, without the columns of tasks where these were
        given apart: of linear models from their means, of sampled ones from the rows themselves.
        None takes the means of the rows that the model was trained on, and samples from X. Trees
        count from the rows that they grew on.
    n_permutations : int, default=64
        How many orders of the columns, and rows of the background, are drawn where contributions
        are sampled.
    random_state : int, default=0
        Seed of these draws.

    Returns
    -------
    Explanation
        With the tables ``contributions``, ``common`` and ``own``, ``baseline``, ``summary()``.

    Raises
    ------
    DataError
        If `model` is none of polytask, the rows do not fit it, or there is no background where
        one is needed.
    IncompatibleError
        If the features are no numbers, such as images, or rows lack groups of them, as those of
        ``MissingBlocks`` do.

    Notes
    -----
    The common part is what a task that the model does not know would get. Where a model refuses
    such tasks it is the mean over the tasks that it knows, weighted by their training rows; where
    tasks have losses of several kinds there is none. Of models of several groupings that are
    sampled, the effects of all levels stand in the column of the first grouping.

    References
    ----------
    Lundberg and Lee, "A unified approach to interpreting model predictions", NeurIPS 2017
    (additive contributions; of a linear model with columns taken as independent). Lundberg et
    al., "From local explanations to global understanding with explainable AI for trees", Nature
    Machine Intelligence 2, 2020 (TreeSHAP). Strumbelj and Kononenko, "Explaining prediction
    models and individual predictions with feature contributions", Knowledge and Information
    Systems 41, 2014 (sampling).

    Examples
    --------
    >>> import pandas as pd
    >>> from polytask import BayesianMultiTaskRegressor, explain
    >>> schools = [school for school in "abcdef" for _ in range(4)]
    >>> table = pd.DataFrame({"hours": [1.0, 2.0, 3.0, 4.0] * 6, "school": schools})
    >>> y = table["hours"] + [10.0 * (school > "c") for school in schools]
    >>> model = BayesianMultiTaskRegressor(task_column="school").fit(table, y)
    >>> found = explain(model, table.tail(1))
    >>> found.baseline.round(1).tolist(), found.contributions.round(1).to_dict("records")
    ([7.5], [{'hours': 1.5, 'school': 5.0}])
    """
    if not isinstance(model, MultiTaskEstimator):
        kind = LazyMessage("got.kind", {"kind": type(model).__name__})
        raise DataError(sentence("model", "explain", LazyMessage("allowed.own_estimator"), kind))
    check_is_fitted(model)
    if "polytask.boosting" in sys.modules:
        # It needs LightGBM, and there is no boosted model where it was not imported.
        importlib.import_module("polytask.explanation.boosted")
    positive_integer(n_permutations, "n_permutations", "explain")
    if not is_whole(random_state) or random_state < 0:
        raise ParameterError(sentence("random_state", "explain", SEED, repr(random_state)))
    schema = model._schema
    wanted: list[int] | None = None
    if schema.form is Form.TARGETS:
        known = schema.index
        wanted = [*range(len(known.labels))]
        if task is not None:
            wanted = known.encode([task], "error", "task", "explain").tolist()
        task = None
    query = model._read(X, task)
    columns = UserColumns.of(model, query)
    held = query.data.X
    codes = held.codes if isinstance(held, GroupedRows) else None
    rows = Rows(
        X=_features(held, schema.owner),
        codes=codes,
        tasks=np.zeros(0, dtype=np.intp),
        label=None,
        two_classes=False,
        sources=columns.sources,
        n_columns=len(columns.names),
        first_level=len(columns.names) - max(len(schema.groupings), 1),
        background=None if background is None else _background(model, background),
        draws=Draws(n_permutations, random_state),
    )
    return _explained(model, rows, query, wanted, columns.names, label)


@dataclass(frozen=True, eq=False)
class UserColumns:
    """The columns that a user gave, those of tasks last. Shapes: sources (n_features,)."""

    names: tuple[str, ...]
    sources: Index

    @classmethod
    def of(cls, model: Any, query: Query) -> UserColumns:  # noqa: ANN401 - any estimator
        """Return the columns of a model, and which of them each of its features is made of."""
        schema: InputSchema = model._schema
        held = listed_columns(schema.task_column)
        if schema.groupings:
            levels = [str(name) for name, _ in schema.groupings]
        else:
            levels = [name if isinstance(name, str) else _TASK for name in held] or [_TASK]
        features = [str(name) for name in model.coef_feature_names_]
        if schema.encoder is not None:
            sources = schema.encoder.source_columns()
            features = [str(name) for name in schema.encoder.feature_names_in_[sources]]
        features = [names_before((name,), schema.dates)[0] for name in features]
        columns = [*(schema.columns or dict.fromkeys(features))]
        place = {name: k for k, name in enumerate(columns)}
        return cls((*columns, *levels), np.array([place[name] for name in features], np.intp))


def _features(X: Any, owner: str) -> Any:  # noqa: ANN401 - rows of a query
    """Return the numbers of encoded rows."""
    if isinstance(X, IncompleteRows):
        # Columns are put into other rows one by one, which tears the groups apart.
        raise IncompatibleError(LazyMessage("explanation.refusal.gaps", {"owner": owner}))
    values = getattr(X, "values", X)
    plain = isinstance(values, np.ndarray) and values.ndim == 2 and values.dtype.kind in "biuf"
    if not (plain or is_sparse(values)):
        raise IncompatibleError(LazyMessage("explanation.refusal.features", {"owner": owner}))
    return values


def _background(model: Any, X: Any) -> Any:  # noqa: ANN401 - what a user gives
    """Return encoded rows of a background, whose tasks have no part in it."""
    schema: InputSchema = model._schema
    tables.refuse_lazy(X, "background", "explain")
    X = dates_again(named_columns(schema, X), schema.dates, schema.encoder)
    task: Any = None
    if schema.task_column is None and schema.form is not Form.TARGETS and not is_task_mapping(X):
        n = int(X.shape[0]) if hasattr(X, "shape") else len(X)
        task = [schema.index.labels[0]] * n
        if schema.groupings:
            import pandas as pd

            task = pd.DataFrame({name: [index.labels[0]] * n for name, index in schema.groupings})
    query = model._reading.query(schema, X, task, "shared")
    if not query.n_rows:
        raise DataError(LazyMessage("explanation.refusal.no_background"))
    return _features(query.data.X, schema.owner)


def _explained(
    model: Any,  # noqa: ANN401 - any estimator
    rows: Rows,
    query: Query,
    wanted: list[int] | None,
    names: tuple[str, ...],
    label: Hashable | None,
) -> Explanation:
    """Explain every row for its task, or for every target that is wanted."""
    import pandas as pd

    n, known = query.n_rows, model._schema.index.labels
    if wanted is None:
        each = query.data.tasks if query.codes is not None and len(known) > 1 else known
        tasks = [each[t] for t in query.data.row_tasks()]
        asked = [(query.row_tasks(), query.places(), tasks)]
    else:
        asked = [
            (np.full(n, t), query.places() + k * n, [known[t]] * n) for k, t in enumerate(wanted)
        ]
    found: list[tuple[Index, Parts]] = []
    labels, names_of_tasks = np.full((2, n * len(asked)), None, dtype=object)
    for codes, places, tasks in asked:
        own = replace(rows, tasks=codes)
        for place, name in zip(places.tolist(), tasks, strict=True):
            names_of_tasks[place] = name
        classes = _classes(model, own, label)
        labels[places] = of_rows = _labels(model, own, classes, label)
        for one in dict.fromkeys(of_rows.tolist()):
            part = np.flatnonzero([value == one for value in of_rows])
            chosen = replace(own.at(part), label=one, two_classes=len(classes) == 2)
            found.append((places[part], parts_of(model, chosen)))
    parts = Parts.joined(found, len(labels))
    index = _index(query, names_of_tasks, len(asked) if wanted is not None else 0)

    def framed(values: Any) -> pd.DataFrame:  # noqa: ANN401
        return pd.DataFrame(values, index=index, columns=list(names))

    return Explanation(
        common=framed(parts.common),
        own=framed(parts.own),
        baseline=parts.baseline,
        task=label_array(tuple(names_of_tasks)),
        label=None if all(one is None for one in labels) else labels,
        output=parts.output,
        methods=tuple(sorted(parts.methods)),
        standard_error=None if parts.error is None else framed(parts.error),
    )


def _classes(model: Any, rows: Rows, label: Hashable | None) -> list[Any]:  # noqa: ANN401
    """Return the classes of the rows, none of numbers; refuse a label that is none of them."""
    known = getattr(model, "classes_", None)
    if known is not None and model._schema.form is Form.TARGETS:
        known = known[int(rows.tasks[0])] if rows.n_rows else None
    classes = [] if known is None else np.asarray(known).tolist()
    if label is not None and not classes:
        fields = {"owner": type(model).__name__}
        raise ParameterError(LazyMessage("explanation.refusal.no_classes", fields))
    if label is not None and label not in classes:
        names = {"names": ", ".join(map(repr, classes))}
        allowed = LazyMessage("allowed.classes_of_model", names)
        raise ParameterError(sentence("label", "explain", allowed, repr(label)))
    return classes


def _labels(
    model: Any,  # noqa: ANN401 - any estimator
    rows: Rows,
    classes: list[Any],
    label: Hashable | None,
) -> NDArray[Any]:
    """Return the class that is explained in each row, None in rows of numbers."""
    labels = np.full(rows.n_rows, None, dtype=object)
    if not classes:
        return labels
    of_task: Any = getattr(model, "task_classes_", {})
    numbers = [task for task, own in of_task.items() if own is None]
    at = model._schema.index.encode(numbers, "error", "task", "explain") if numbers else []
    some = ~np.isin(rows.tasks, at)
    if label is None and len(classes) > 2:
        held = rows.X if rows.codes is None else GroupedRows(rows.X, rows.codes)
        labels[some] = np.asarray(model._predict_rows(held, rows.tasks)).astype(object)[some]
    else:
        labels[some] = classes[-1] if label is None else label
    return labels


def _index(query: Query, tasks: NDArray[Any], n_targets: int) -> pd.Index[Any]:
    """Return the index of the rows, with the task before it for several tables or targets."""
    import pandas as pd

    def of(template: Any, n: int) -> pd.Index[Any]:  # noqa: ANN401 - a table or None
        own = isinstance(template, pd.DataFrame)
        return template.index if own else pd.RangeIndex(n)

    if query.parts is not None:
        indexes = [of(part.template, part.rows.stop - part.rows.start) for part in query.parts]
    elif n_targets:
        indexes = [of(query.template, query.n_rows)] * n_targets
    else:
        return of(query.template, query.n_rows)
    rows = [label for index in indexes for label in index]
    levels, codes = zip(*(_factorized(values) for values in (tasks.tolist(), rows)), strict=True)
    return pd.MultiIndex(levels=levels, codes=codes, names=["task", "row"])


def _factorized(values: list[Any]) -> tuple[pd.Index[Any], list[int]]:
    """Return distinct values, and the position of each value among them."""
    import pandas as pd

    place = {value: k for k, value in enumerate(dict.fromkeys(values))}
    # Labels that are tuples stay whole.
    return pd.Index([*place], tupleize_cols=False), [place[value] for value in values]
