"""MissingBlocks: rows that lack whole groups of features."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone, is_regressor
from sklearn.utils import Tags

from polytask._checks import nearest, sentence
from polytask._estimator import MultiTaskEstimator, Outcomes
from polytask._estimator.missing_features import READING_MISSING, IncompleteRows
from polytask._registry import saveable
from polytask.baselines._base import Baseline, class_columns
from polytask.data import Form, TaskData
from polytask.exceptions import DataError, IncompatibleError, ParameterError
from polytask.messages import LazyMessage, with_and

Mask = NDArray[np.bool_]
Codes = NDArray[np.intp]


@saveable("baseline.patterns")
@dataclasses.dataclass(frozen=True, eq=False)
class Patterns:
    """The pairs of task and pattern that were trained, in the order of the inner tasks."""

    # Shapes: tasks (n_pairs,), have (n_pairs, n_groups), rows (n_pairs,).

    tasks: Codes
    have: Mask
    rows: Codes

    def nearest(self, task: int, have: Mask, blocks: FeatureBlocks) -> int | None:
        """Return the pair with most features among those of a task that need no others."""
        # Shapes: have (n_groups,).
        usable = (self.tasks == task) & ~(self.have & ~have).any(axis=1)
        if not usable.any():
            return None
        sizes = blocks.features_of(self.have).sum(axis=1)
        order = np.lexsort((self.rows, sizes))
        return int(order[usable[order]][-1])

    def labels(self, tasks: tuple[Hashable, ...], blocks: FeatureBlocks) -> tuple[Hashable, ...]:
        """Return a label for each pair: the task alone if no task has several patterns."""
        own = [tasks[t] for t in self.tasks]
        if len(set(self.tasks.tolist())) == len(self.tasks):
            return tuple(own)
        names = [blocks.label(have) for have in self.have]
        return tuple(zip(own, names, strict=True))


def whole_tasks(data: TaskData, n_groups: int) -> Patterns:
    """Return one pair per task, with every group."""
    n = data.n_tasks
    have = np.ones((n, n_groups), dtype=bool)
    return Patterns(np.arange(n, dtype=np.intp), have, data.task_rows())


def split_by_pattern(
    data: TaskData, have: Mask, blocks: FeatureBlocks
) -> tuple[TaskData, Patterns]:
    """Make a task of every pattern of every task. Shapes: have (n_rows, n_groups)."""
    distinct, pattern = np.unique(have, axis=0, return_inverse=True)
    # Most features first, so that the complete rows come first.
    rank = np.argsort(np.argsort(-blocks.features_of(distinct).sum(axis=1), kind="stable"))
    keys = data.row_tasks() * len(distinct) + rank[pattern.reshape(-1)]
    order = np.argsort(keys, kind="stable")
    _, first, counts = np.unique(keys[order], return_index=True, return_counts=True)
    patterns = Patterns(data.row_tasks()[order[first]], have[order[first]], counts.astype(np.intp))
    weight = data.sample_weight
    inner = dataclasses.replace(
        data,
        X=filled(data.X[order]),
        y=None if data.y is None else data.y[order],
        tasks=patterns.labels(data.tasks, blocks),
        offsets=np.append(first, len(order)).astype(np.intp),
        sample_weight=None if weight is None else weight[order],
        form=Form.SEPARATE,
        order=data.order[order],
        present=blocks.features_of(patterns.have),
    )
    return inner, patterns


def filled(X: NDArray[Any]) -> NDArray[Any]:
    """Return rows with 0 where a feature is missing."""
    return np.where(np.isnan(X), np.zeros((), dtype=X.dtype), X)


Array = NDArray[Any]

_ALLOWED = LazyMessage("allowed.feature_groups")
# Blocks make few patterns. Beyond so many, with fewer rows than this each, cells are
# missing here and there.
_PATTERNS, _ROWS = 16, 5


@dataclass(frozen=True, eq=False)
class FeatureSources:
    """The features of the training rows, and the columns that they come from."""

    names: tuple[str, ...]
    sources: tuple[Hashable, ...]


@saveable("baseline.feature_blocks")
@dataclass(frozen=True, eq=False)
class FeatureBlocks:
    """Which features are missing together."""

    names: tuple[str, ...]
    members: tuple[NDArray[np.intp], ...]
    features: tuple[str, ...]

    def available(self, X: Array, numbers: NDArray[np.intp], owner: str) -> Mask:
        """Say which groups each row has. Shapes: X (n, d), numbers (n,), result (n, n_groups)."""
        missing = np.isnan(X)
        have = np.ones((len(X), len(self.names)), dtype=bool)
        partly = missing.copy()
        for g, columns in enumerate(self.members):
            have[:, g] = ~missing[:, columns].all(axis=1)
            partly[:, columns] &= have[:, g, None]
        if partly.any():
            row, column = np.argwhere(partly)[0]
            raise self._scattered(int(numbers[row]), int(column), owner)
        return have

    def features_of(self, have: Mask) -> Mask:
        """Return the features that belong to some groups or to none, shape (..., d)."""
        out = np.ones((*have.shape[:-1], len(self.features)), dtype=bool)
        for g, columns in enumerate(self.members):
            out[..., columns] = have[..., g, None]
        return out

    def chosen(self, have: Mask) -> tuple[str, ...]:
        """Return the names of the groups of a pattern of shape (n_groups,)."""
        return tuple(name for name, there in zip(self.names, have, strict=True) if there)

    def label(self, have: Mask) -> str:
        """Return the groups of a pattern as one text."""
        return " + ".join(self.chosen(have)) or "no group"

    def _scattered(self, row: int, column: int, owner: str) -> DataError:
        feature = self.features[column]
        group = [name for name, own in zip(self.names, self.members, strict=True) if column in own]
        fields = {"row": str(row), "name": repr(feature), "owner": owner}
        fields["group"] = repr(group[0]) if group else ""
        key = "part_of_group" if group else "ungrouped"
        return DataError(LazyMessage(f"baselines.refusal.{key}", fields))


def find_blocks(X: Array, groups: object, features: FeatureSources, owner: str) -> FeatureBlocks:
    """Return the groups of features that a user gave, or those that are missing together."""
    # Shapes: X (n, d).
    named = _missing_together(X, features, owner) if groups is None else _given(groups, owner)
    place: dict[Hashable, list[int]] = {}
    for j, source in enumerate(features.sources):
        place.setdefault(source, []).append(j)
    owned: dict[Hashable, str] = {}
    members = []
    for name, columns in named.items():
        # Columns of a table have text for names, whatever pandas thinks.
        known = [column if column in place else str(column) for column in columns]
        for column, given in zip(known, columns, strict=True):
            _check_column(column, given, name, place, owned, owner)
            owned[column] = name
        members.append(np.array([j for c in known for j in place[c]], dtype=np.intp))
    return FeatureBlocks(tuple(named), tuple(members), features.names)


def _missing_together(
    X: Array, features: FeatureSources, owner: str
) -> dict[str, tuple[Hashable, ...]]:
    """Return the columns by the rows in which they are missing, those that never are left out."""
    missing = np.isnan(X)
    found: dict[bytes, list[Hashable]] = {}
    for j in np.flatnonzero(missing.any(axis=0)):
        found.setdefault(np.packbits(missing[:, j]).tobytes(), []).append(features.sources[j])
    columns = [tuple(dict.fromkeys(group)) for group in found.values()]
    rows = np.packbits(missing, axis=1)
    patterns = len(np.unique(rows, axis=0))
    if patterns > _PATTERNS and len(X) < _ROWS * patterns:
        fields = {"owner": owner, "patterns": str(patterns), "rows": str(len(X))}
        raise DataError(LazyMessage("baselines.refusal.no_blocks", fields))
    plain = features.sources == tuple(range(len(features.names)))
    groups = {}
    for group in columns:
        # No other group has its first and last column.
        ends = dict.fromkeys((group[0], group[-1]))
        labels = [features.names[int(str(c))] if plain else str(c) for c in ends]
        groups["..".join(labels)] = group
    return groups


def _given(groups: object, owner: str) -> dict[str, tuple[Hashable, ...]]:
    """Return named groups of columns."""
    if isinstance(groups, Mapping):
        pairs = [(str(name), columns) for name, columns in groups.items()]
    elif isinstance(groups, Sequence | np.ndarray) and not isinstance(groups, str):
        pairs = [(str(number), columns) for number, columns in enumerate(groups)]
    else:
        raise ParameterError(sentence("feature_groups", owner, _ALLOWED, repr(groups)))
    return {name: _columns(columns, owner) for name, columns in pairs}


def _columns(columns: object, owner: str) -> tuple[Hashable, ...]:
    plain = columns.tolist() if hasattr(columns, "tolist") else columns
    if isinstance(plain, str) or not isinstance(plain, Sequence) or not plain:
        raise ParameterError(sentence("feature_groups", owner, _ALLOWED, repr(columns)))
    return tuple(c.item() if isinstance(c, np.generic) else c for c in plain)


def _check_column(
    column: Hashable,
    given: Hashable,
    group: str,
    place: Mapping[Hashable, object],
    owned: Mapping[Hashable, str],
    owner: str,
) -> None:
    if column in owned:
        allowed = LazyMessage("allowed.disjoint_groups")
        both = {"name": repr(given), "group": repr(owned[column]), "group2": repr(group)}
        got = LazyMessage("got.in_both", both)
        raise ParameterError(sentence("feature_groups", owner, allowed, got))
    if column not in place:
        shown = ", ".join(repr(name) for name in list(place)[:5])
        allowed = LazyMessage("allowed.columns_in_training", {"names": shown})
        got = LazyMessage("got.in_group", {"name": repr(given), "group": repr(group)})
        raise ParameterError(
            sentence("feature_groups", owner, allowed, got) + nearest(given, place)
        )


Labels = NDArray[Any]
Floats = NDArray[np.float64]


# What "auto" of the inner estimator means for a target matrix, whose patterns it gets as rows.
_OF_TARGETS = {"intercept": "task", "scale_targets": "task"}


@saveable("baseline.missing_blocks")
class MissingBlocks(Baseline):
    """Fit a multi-task estimator to rows that lack whole groups of features.

    Some patients have no scan, some sites no laboratory: groups of features (modalities) are
    missing as a whole, NaN in X. Nothing is imputed and no row is dropped. Rows are
    divided by the groups that they have, and every such pattern of a task becomes a task of
    the inner estimator, with the features that it has [1]_: its penalty ties the coefficients
    of a feature together over all tasks and patterns that have it.

    A row to predict is given the model of its pattern or, if this was not in training, that
    with most features among the patterns of its task that need nothing which the row lacks.

    Parameters
    ----------
    estimator : MultiTaskRegressor, MultiTaskClassifier, or another multi-task estimator
        Copied and fitted. Penalties that treat columns alike (``L21``, ``toward_mean``,
        ``TraceNorm``, ...) know patterns as tasks; those that name tasks have to name the pairs
        ``(task, "a + b")`` of ``estimator_.tasks_`` where a task has several patterns.
    feature_groups : mapping of str to columns, sequence of these, or None, default=None
        The groups, as column names of a table or positions in an array (a task column not
        counted). Columns in none are never missing. None: columns that are missing in the
        same training rows are a group.
    task_column : str, int or None, default=None
        The column of X that holds the task labels.
    unseen_tasks : {"error"}, default="error"
        Unknown tasks are refused.
    date_features : bool, default=False
        Whether columns of dates become features: year, month, week, weekday and elapsed days.

    Attributes
    ----------
    estimator_ : estimator
        The fitted inner estimator. Where nothing is missing it was given the data as they are,
        and is the same as without this class.
    feature_groups_ : dict of str to ndarray of str
        The features of each group, named as in ``coef_feature_names_``.
    pattern_rows_ : dict of (task, tuple of str) to int
        The training rows of every task by the groups that they have.
    tasks_ : ndarray of shape (n_tasks,)
        The tasks.
    classes_ : ndarray of shape (n_classes,), or list of ndarray
        The sorted union of the classes; for a target matrix a list with one array each.
        Classifiers only.
    n_features_in_ : int
        Columns of X as given.
    coef_feature_names_ : ndarray of shape (n_features,)
        Names of the features, those of a table after encoding.

    Raises
    ------
    DataError
        From `fit` and `predict`: if a row lacks part of a group, or nothing was trained that a
        row could be predicted with; the row is named.

    Notes
    -----
    Weights of tasks and rows are those of the inner estimator, each pattern of a task being a
    task: with ``task_weight="size"`` every row counts the same. For a target matrix "auto"
    means for intercepts and for the scale of targets what it means without gaps.

    References
    ----------
    .. [1] Yuan, L., Wang, Y., Thompson, P. M., Narayan, V. A. and Ye, J. (2012). Multi-source
       feature learning for joint analysis of incomplete multiple heterogeneous neuroimaging
       data. NeuroImage 61, 622-632.

    Examples
    --------
    >>> import numpy as np
    >>> from polytask import MissingBlocks, MultiTaskRegressor
    >>> from polytask.penalties import L21
    >>> X = np.random.default_rng(0).standard_normal((60, 5))
    >>> y = X[:, 0] + X[:, 3]
    >>> X[:20, 3:], X[20:30, :3] = np.nan, np.nan
    >>> model = MissingBlocks(MultiTaskRegressor(L21(0.001)), {"scan": [0, 1, 2], "blood": [3, 4]})
    >>> for (task, groups), rows in model.fit(X, y).pattern_rows_.items():
    ...     print(task, groups, rows)
    0 ('scan', 'blood') 30
    0 ('scan',) 20
    0 ('blood',) 10
    >>> model.predict([[1.0, 0.0, 0.0, 2.0, 0.0]]).round(1).tolist()
    [3.0]
    """

    _reading = READING_MISSING

    def __init__(
        self,
        estimator: Any,  # noqa: ANN401 - a multi-task estimator
        feature_groups: Any = None,  # noqa: ANN401 - mapping or sequence, kept as given
        *,
        task_column: str | int | None = None,
        unseen_tasks: str = "error",
        date_features: bool = False,
    ) -> None:
        self.estimator = estimator
        self.feature_groups = feature_groups
        self.task_column = task_column
        self.date_features = date_features
        self.unseen_tasks = unseen_tasks

    def _fit_data(self, data: TaskData, raw: TaskData) -> None:
        owner = type(self).__name__
        self._check_choices(owner)
        outcomes = self._read_targets(data)
        features = FeatureSources(tuple(self.coef_feature_names_.tolist()), self._sources(data))
        self._blocks = find_blocks(data.X, self.feature_groups, features, owner)
        have = self._blocks.available(data.X, data.order, owner)
        self._refuse_empty(have, data, owner)
        inner = clone(self.estimator)
        self._codes = self._must_code(outcomes) and not have.all()
        if have.all():
            self._patterns = whole_tasks(data, len(self._blocks.names))
        else:
            if data.form is Form.TARGETS:
                data, have = self._rows_of_targets(data, have, outcomes)
                params = inner.get_params(deep=False) if is_regressor(inner) else {}
                asked = {name for name in _OF_TARGETS if isinstance(params.get(name), str)}
                chosen = {name: _OF_TARGETS[name] for name in asked if params[name] == "auto"}
                inner.set_params(**chosen)
            data, self._patterns = split_by_pattern(data, have, self._blocks)
            _repeat_for_patterns(inner, self._schema.index.labels, self._patterns, data.tasks)
        self.estimator_ = inner.fit(data)
        self._describe(outcomes)

    def _check_choices(self, owner: str) -> None:
        if self.unseen_tasks == "shared":
            raise ParameterError(sentence("unseen_tasks", owner, "'error'", "'shared'"))
        if isinstance(self.estimator, type) or not isinstance(self.estimator, MultiTaskEstimator):
            allowed = LazyMessage("allowed.multi_task")
            raise ParameterError(sentence("estimator", owner, allowed, repr(self.estimator)))
        if self.estimator.task_column is not None:
            fields = {"column": repr(self.estimator.task_column), "owner": owner}
            what, got = LazyMessage("what.inner_column"), LazyMessage("got.give_it_to", fields)
            raise ParameterError(sentence(what, owner, "None", got))

    def _sources(self, data: TaskData) -> tuple[Any, ...]:
        if self.encoder_ is None:
            return tuple(range(data.n_features))
        sources = self.encoder_.feature_names_in_[self.encoder_.source_columns()]
        return tuple(sources.tolist())

    def _refuse_empty(self, have: Mask, data: TaskData, owner: str) -> None:
        nothing = ~self._blocks.features_of(have).any(axis=1)
        if nothing.any():
            row = int(data.order[np.flatnonzero(nothing)[0]])
            fields = {"row": str(row), "owner": owner}
            raise DataError(LazyMessage("baselines.refusal.empty_row", fields))

    def _must_code(self, outcomes: Outcomes) -> bool:
        """Say whether each target has two classes of its own, which rows cannot tell apart."""
        if self._schema.form is not Form.TARGETS or outcomes.union is None:
            return False
        most = max(len(classes) for classes in outcomes.classes if classes is not None)
        return most <= 2 < len(outcomes.union)

    def _rows_of_targets(
        self, data: TaskData, have: Mask, outcomes: Outcomes
    ) -> tuple[TaskData, Mask]:
        """Return a row per label, and the groups that it has."""
        rows = np.nonzero(data.labelled().T)[1]
        if self._codes:
            if isinstance(self.estimator.get_params(deep=False).get("class_weight"), Mapping):
                fields = {"owner": type(self).__name__}
                raise IncompatibleError(LazyMessage("baselines.refusal.class_weight", fields))
            data = data.with_y(outcomes.y)
        long = data.to_long()
        if outcomes.union is not None:
            # Labels with gaps had to be stored as floats.
            kind = np.dtype(np.intp) if self._codes else outcomes.union.dtype
            long = long.with_y(np.asarray(long.y).astype(kind))
        return long, have[rows]

    def _describe(self, outcomes: Outcomes) -> None:
        names = self.coef_feature_names_
        groups = zip(self._blocks.names, self._blocks.members, strict=True)
        self.feature_groups_ = {name: names[columns] for name, columns in groups}
        labels, patterns = self._schema.index.labels, self._patterns
        self.pattern_rows_ = {
            (labels[t], self._blocks.chosen(have)): int(n)
            for t, have, n in zip(patterns.tasks, patterns.have, patterns.rows, strict=True)
        }
        if outcomes.union is not None:
            self.task_classes_ = dict(zip(labels, outcomes.classes, strict=True))
            self._union = np.arange(2) if self._codes else outcomes.union

    def _parts(self, X: IncompleteRows, task: int) -> list[tuple[int, Any, Any]]:
        """Return (pair, rows without gaps, their places) for all rows of a task."""
        owner = type(self).__name__
        have = self._blocks.available(X.values, X.numbers, owner)
        distinct, number = np.unique(have, axis=0, return_inverse=True)
        parts = []
        for k, groups in enumerate(distinct):
            places = np.flatnonzero(number.reshape(-1) == k)
            pair = self._patterns.nearest(task, groups, self._blocks)
            if pair is None:
                raise self._no_model(groups, int(X.numbers[places[0]]), task, owner)
            used = self._blocks.features_of(self._patterns.have[pair])
            rows = np.where(used, X.values[places], np.zeros((), dtype=X.values.dtype))
            parts.append((pair, filled(rows), places))
        return parts

    def _no_model(self, groups: Mask, row: int, task: int, owner: str) -> DataError:
        label = self._schema.index.labels[task]
        trained = self._patterns.have[self._patterns.tasks == task]
        if not len(trained):
            fields = {"task": repr(label), "owner": owner}
            return DataError(LazyMessage("baselines.refusal.no_rows_in_fit", fields))
        fields = {"row": str(row), "owner": owner, "task": repr(label)}
        lacking = with_and([repr(name) for name in self._blocks.chosen(~groups)])
        none = LazyMessage("got.no_group").node
        patterns = [" + ".join(self._blocks.chosen(own)) or none for own in trained]
        more = {"lacking": lacking, "patterns": patterns}
        return DataError(LazyMessage("baselines.refusal.pattern", fields | more))

    def _predict_task(self, X: Any, task: int) -> Labels:  # noqa: ANN401 - IncompleteRows
        parts = self._parts(X, task)
        values = [np.asarray(self.estimator_._predict_task(rows, pair)) for pair, rows, _ in parts]
        joined = np.concatenate(values) if values else np.zeros(0)
        out = np.empty_like(joined)
        out[np.concatenate([places for *_, places in parts])] = joined
        return self._classes_of(task)[out.astype(np.intp)] if self._codes else out

    def _classes_of(self, task: int) -> Labels:
        return np.asarray(self.task_classes_[self._schema.index.labels[task]])

    def _probabilities(self, X: Any, task: int) -> Floats:  # noqa: ANN401 - IncompleteRows
        out = np.zeros((X.shape[0], len(self._classes_of(task))))
        for pair, rows, places in self._parts(X, task):
            if self.estimator_._schema.form is Form.TARGETS:
                out[places] = self.estimator_.predict_proba(rows)[pair]
            else:
                found = self.estimator_.predict_proba(self._rows_of(rows, pair))
                out[places] = found[:, self._own_classes(task)]
        return out

    def _decisions(self, X: Any, task: int) -> Floats:  # noqa: ANN401 - IncompleteRows
        out = np.zeros((X.shape[0], len(self._classes_of(task))))
        n = len(self._union)
        for pair, rows, places in self._parts(X, task):
            values = self.estimator_.decision_function(self._rows_of(rows, pair))
            columns = class_columns(values, n, self.estimator, type(self).__name__)
            out[places] = columns[:, self._own_classes(task)]
        return out

    def _own_classes(self, task: int) -> NDArray[np.intp]:
        """Return where the classes of a task stand among those of the inner estimator."""
        if self._codes:
            return np.arange(len(self._classes_of(task)))
        position = {label: k for k, label in enumerate(self._union.tolist())}
        return np.array([position[label] for label in self._classes_of(task).tolist()])

    def _rows_of(self, X: Labels, pair: int) -> TaskData:
        """Return rows of one inner task."""
        n = len(X)
        return TaskData(
            X=X,
            y=None,
            tasks=(self.estimator_._schema.index.labels[pair],),
            offsets=np.array([0, n], dtype=np.intp),
            sample_weight=None,
            form=Form.LONG,
            order=np.arange(n, dtype=np.intp),
        )

    def __sklearn_tags__(self) -> Tags:
        """Say that X may have NaN, and may not be sparse."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = False
        return tags


def _repeat_for_patterns(
    estimator: Any,  # noqa: ANN401
    tasks: tuple[Any, ...],
    patterns: Patterns,
    pairs: tuple[Any, ...],
) -> None:
    """Give every pattern the weight of its task."""
    weight = estimator.get_params(deep=False).get("task_weight")
    if isinstance(weight, Mapping):
        known = {t: weight[label] for t, label in enumerate(tasks) if label in weight}
        owners = zip(pairs, patterns.tasks.tolist(), strict=True)
        estimator.set_params(task_weight={pair: known[t] for pair, t in owners if t in known})
    elif np.shape(weight) == (len(tasks),) and np.asarray(weight).dtype.kind in "iuf":
        # Other sequences are choices of a search.
        estimator.set_params(task_weight=np.asarray(weight)[patterns.tasks])
