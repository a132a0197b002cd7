"""Penalties on the differences between tasks that a graph joins."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, final

import numpy as np

from polytask._checks import got_shape, nearest, sentence
from polytask._linalg import Array, frozen, host, index_like, is_sparse, like, namespace, total
from polytask._registry import State, saveable
from polytask.exceptions import DataWarning, ParameterError
from polytask.messages import LazyMessage, Text
from polytask.penalties.base import Columns, Composed
from polytask.penalties.couplings import (
    Blocks,
    Blockwise,
    check_width,
    checked_tasks,
    square_matrix,
    without,
)
from polytask.penalties.terms import ALPHA, AbsoluteTerm, changed, checked_by

_PARAMETER, _OWNER = "adjacency", "along_graph"
_NUMBERS, _PAIRS, _FRAME = (
    LazyMessage(f"allowed.adjacency.{form}") for form in ("matrix", "pairs", "frame")
)


def _refusal(owner: str, allowed: Text, got: Text) -> ParameterError:
    return ParameterError(sentence(_PARAMETER, owner, allowed, got))


def _checked(value: object, tasks: tuple[Hashable, ...] | None, owner: str) -> np.ndarray:
    """Return an adjacency matrix in float64 with a diagonal of 0, or raise."""
    matrix = square_matrix(value, _PARAMETER, owner, _NUMBERS)
    if tasks is not None and len(tasks) != len(matrix):
        fields = {"shape": matrix.shape, "n": len(tasks)}
        raise _refusal(owner, _NUMBERS, LazyMessage("got.shape_for_tasks", fields))
    np.fill_diagonal(matrix, 0.0)
    names = range(len(matrix)) if tasks is None else tasks
    if matrix.min(initial=0.0) < 0:
        s, t = np.argwhere(matrix < 0)[0]
        pair = {"first": repr(names[s]), "second": repr(names[t])}
        got = LazyMessage("got.between", pair | {"value": f"{matrix[s, t]:.6g}"})
        raise _refusal(owner, _NUMBERS, got)
    uneven = np.abs(matrix - matrix.T) > 1e-10 * matrix.max(initial=0.0)
    if uneven.any():
        s, t = np.argwhere(uneven)[0]
        pair = {"first": repr(names[s]), "second": repr(names[t])}
        values = {"there": f"{matrix[s, t]:.6g}", "back": f"{matrix[t, s]:.6g}"}
        raise _refusal(owner, _NUMBERS, LazyMessage("got.uneven", pair | values))
    return np.asarray(0.5 * (matrix + matrix.T))


@final
@saveable("penalty.graph")
@dataclass(frozen=True, eq=False, repr=False)
class Graph:
    """Which tasks are alike, and how much. Shapes: matrix (n_tasks, n_tasks)."""

    matrix: np.ndarray
    tasks: tuple[Hashable, ...] | None = None
    listed: bool = False
    owner: str = _OWNER

    def __post_init__(self) -> None:
        """Check the weights, and store a read-only copy."""
        tasks = None if self.tasks is None else checked_tasks(self.tasks, _PARAMETER, self.owner)
        object.__setattr__(self, "tasks", tasks)
        object.__setattr__(self, "matrix", frozen(_checked(self.matrix, tasks, self.owner)))

    def among(self, labels: Sequence[Hashable]) -> np.ndarray:
        """Return the weights among some tasks, of shape (n_labels, n_labels)."""
        self._check(labels)
        return self.matrix if self.tasks is None else self._rows_of(labels)

    def join(self, labels: Sequence[Hashable]) -> None:
        """Check that the graph is one of some tasks, as :meth:`among` does."""
        if len(labels) > 1 and not self.among(labels).any():
            message = LazyMessage("warn.graph", {"parameter": _PARAMETER, "owner": self.owner})
            warnings.warn(DataWarning(message), stacklevel=3)

    def _rows_of(self, labels: Sequence[Hashable]) -> np.ndarray:
        # The last row, of zeros, is that of every task without neighbours.
        padded = np.pad(self.matrix, (0, 1))
        place = {task: i for i, task in enumerate(self.tasks or ())}
        rows = [place.get(task, -1) for task in labels]
        return np.asarray(padded[np.ix_(rows, rows)])

    def _check(self, labels: Sequence[Hashable]) -> None:
        """Refuse tasks that the graph is not about."""
        known, shape = self.tasks, self.matrix.shape
        if known is None:
            if shape != (len(labels), len(labels)):
                allowed = LazyMessage("allowed.square_of_tasks", {"shape": (len(labels),) * 2})
                raise _refusal(self.owner, allowed, got_shape(shape))
            return
        asked, answered = (known, labels) if self.listed else (labels, known)
        lacking = set(asked).difference(answered)
        task = next((task for task in asked if task in lacking), None)
        if lacking and not self.listed:
            raise ParameterError(without(_PARAMETER, self.owner, task, answered))
        if lacking:
            allowed = LazyMessage("allowed.tasks_of_model")
            said = sentence(_PARAMETER, self.owner, allowed, repr(task))
            raise ParameterError(said + nearest(task, answered))

    def __eq__(self, other: object) -> bool:
        """Tell whether the other graph has the same tasks and weights."""
        if not isinstance(other, Graph):
            return NotImplemented
        same = (self.tasks, self.listed) == (other.tasks, other.listed)
        return same and np.array_equal(self.matrix, other.matrix)

    def __hash__(self) -> int:
        """Hash the tasks."""
        return hash((self.tasks, self.matrix.shape))

    def __repr__(self) -> str:
        """Show the size."""
        edges = np.count_nonzero(self.matrix) // 2
        return f"<graph of {len(self.matrix)} tasks, {edges} edge{'' if edges == 1 else 's'}>"

    def to_state(self) -> State:
        """Return the fields by name."""
        tasks = self.tasks
        return {
            "matrix": self.matrix,
            "tasks": None if tasks is None else list(tasks),
            "listed": self.listed,
            "owner": self.owner,
        }

    @classmethod
    def from_state(cls, state: State) -> Graph:
        """Rebuild the graph from :meth:`to_state`."""
        tasks = state["tasks"]
        matrix, listed = state["matrix"], bool(state["listed"])
        owner = str(state.get("owner", _OWNER))
        return cls(matrix, None if tasks is None else tuple(tasks), listed, owner)


def _of_pairs(pairs: Mapping[Any, Any], owner: str) -> Graph:
    """Return the graph of a mapping of pairs of tasks to weights."""
    place: dict[Hashable, int] = {}
    edges: dict[tuple[int, int], float] = {}
    for pair, weight in pairs.items():
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise _refusal(owner, _PAIRS, LazyMessage("got.key", {"key": repr(pair)}))
        first, second = (place.setdefault(task, len(place)) for task in pair)
        try:
            edges[first, second] = float(weight)
        except (TypeError, ValueError):
            fields = {"value": repr(weight), "key": repr(pair)}
            raise _refusal(owner, _PAIRS, LazyMessage("got.value_for", fields)) from None
    matrix = np.zeros((len(place), len(place)))
    for (first, second), weight in edges.items():
        matrix[first, second] = weight
        # One direction is enough.
        matrix[second, first] = edges.get((second, first), weight)
    return Graph(matrix, tuple(place), listed=True, owner=owner)


def _of_frame(frame: Any, owner: str) -> Graph:  # noqa: ANN401 - a data frame of any library
    """Return the graph of a data frame; without labels of rows they are those of columns."""
    tasks = _labels(frame.columns)
    values, rows = np.asarray(frame.to_numpy()), _labels(getattr(frame, "index", tasks))
    if len(rows) != len(tasks):
        fields = {"rows": len(rows), "columns": len(tasks)}
        raise _refusal(owner, _FRAME, LazyMessage("got.rows_and_columns", fields))
    for k, row in enumerate(rows):
        if row not in tasks:
            raise _refusal(owner, _FRAME, LazyMessage("got.row", {"row": repr(row)}))
        if row in rows[:k]:
            raise _refusal(owner, _FRAME, LazyMessage("got.twice", {"name": repr(row)}))
    return Graph(values[[rows.index(task) for task in tasks]], tasks, owner=owner)


def _labels(values: Any) -> tuple[Hashable, ...]:  # noqa: ANN401 - an index or a list
    """Return labels as Python values."""
    return tuple(values.tolist() if hasattr(values, "tolist") else values)


def graph_of(value: object, parameter: str = _PARAMETER, owner: str = _OWNER) -> Graph:
    """Return the graph that an array, a data frame or a mapping describes."""
    if isinstance(value, Graph):
        return value
    if isinstance(value, Mapping):
        return _of_pairs(value, owner)
    if hasattr(value, "columns") and hasattr(value, "to_numpy"):
        return _of_frame(value, owner)
    dense: Any = value.toarray() if is_sparse(value) else value  # type: ignore[attr-defined]
    return Graph(dense, owner=owner)


@final
@saveable("penalty.along_graph")
@dataclass(frozen=True, eq=False, repr=False)
class AlongGraph(Blockwise):
    """alpha / 2 * sum over pairs of tasks of A_st ||w_s - w_t||^2.

    See :func:`along_graph`.

    Parameters
    ----------
    alpha : float
        The strength, >= 0.
    adjacency : Graph
        How strongly each pair of tasks is joined.
    columns : Columns, default=None
        The tasks that own the columns of W; estimators set it.
    """

    label = "along_graph"

    alpha: float | None = field(metadata=ALPHA)
    adjacency: Graph = field(metadata=checked_by(graph_of))
    columns: Columns | None = field(default=None, kw_only=True)

    def bind(self, columns: Columns) -> AlongGraph:
        """Return a copy that joins the columns of one class as their tasks are."""
        self.adjacency.join(columns.task_labels())
        bound: AlongGraph = changed(self, columns=columns)
        return bound

    @cached_property
    def _blocks(self) -> Blocks:
        """The columns of each class, and the Laplacian of the graph among their tasks."""
        if self.columns is None:
            matrix = self.adjacency.matrix
            return ((np.arange(len(matrix)), _laplacian(matrix)),)
        labels = self.columns.task_labels()
        row, weights = {t: i for i, t in enumerate(labels)}, self.adjacency.among(labels)
        blocks = []
        for group in self.columns.class_groups():
            rows = [row[self.columns.tasks[column]] for column in group]
            blocks.append((group, _laplacian(weights[np.ix_(rows, rows)])))
        return tuple(blocks)


def _laplacian(weights: np.ndarray) -> np.ndarray:
    """Return the Laplacian of a graph."""
    return np.asarray(np.diag(weights.sum(axis=1)) - weights)


def along_graph(alpha: float | None, adjacency: Any) -> AlongGraph:  # noqa: ANN401 - four kinds
    """Pull tasks towards their neighbours: alpha / 2 * sum_{s<t} A_st ||w_s - w_t||^2.

    For tasks of which it is known who resembles whom: regions that share a border, shops
    of one chain, proteins that interact [1]_ [2]_. Not where the graph would have to be
    guessed: a wrong edge pulls two tasks together that differ. What a connected part of the
    graph has in common is free; add ``L2(...)`` to shrink it too.

    With several columns per task, the columns of one class are joined as their tasks are;
    an edge to a task that lacks the class says nothing about it. ``coupling(alpha, L)`` with
    the graph's Laplacian L is the same where every task has every class.

    Parameters
    ----------
    alpha : float or None
        The strength, >= 0; None means 1.0.
    adjacency : array, sparse matrix, data frame or mapping
        A, weights >= 0, symmetric; its diagonal does not matter. An array of shape
        (n_tasks, n_tasks) is in the order of the tasks of the model. A data frame names
        the tasks in its columns (and rows); it may have more tasks than the model. A
        mapping ``{("Rome", "Milan"): 1.0, ...}`` lists pairs, one direction being enough;
        tasks that are not listed have no neighbours.

    Returns
    -------
    AlongGraph
        The penalty.

    Raises
    ------
    ParameterError
        If the weights are not symmetric, finite and >= 0, or a label comes twice; on
        fitting, if the array has another size, a data frame lacks a task, or a pair names a
        task that there is not.

    References
    ----------
    .. [1] Evgeniou, T., Micchelli, C. A. and Pontil, M. (2005). Learning multiple tasks with
       kernel methods. JMLR 6, 615-637.
    .. [2] Sheldon, D. (2008). Graphical multi-task learning. NIPS workshop on structured
       input, structured output.
    """
    return AlongGraph(alpha, graph_of(adjacency))


class _Edges(NamedTuple):
    """Pairs of columns with weights > 0."""

    first: np.ndarray
    second: np.ndarray
    weight: np.ndarray


def _edges_among(weights: np.ndarray, columns: np.ndarray) -> _Edges:
    """Return the pairs that a matrix of weights between columns joins."""
    first, second = np.nonzero(np.triu(weights, 1))
    return _Edges(columns[first], columns[second], weights[first, second])


@final
@saveable("penalty.network_lasso")
@dataclass(frozen=True, eq=False, repr=False)
class NetworkLasso(AbsoluteTerm, Composed):
    """alpha * sum over pairs of tasks of A_st ||w_s - w_t||_2: neighbours that are the same.

    The norm is not squared, so that neighbours whose data do not tell them apart have exactly
    equal coefficients [1]_: tasks fall into clusters along the edges of the graph, which
    :meth:`clusters` reads off the solution. For tasks of which it is known who may resemble
    whom, and that are expected to come in groups: regions, sensors, shops. With a graph that
    joins all tasks the groups are free, and it is convex clustering of the models. Not
    where neighbours differ a little each (``along_graph``), nor where one coefficient jumps and
    others do not (``FusedTasks``). What a connected part of the graph has in common is free;
    add ``L2(...)`` to shrink it, which also gives the answer a duality gap: without it the
    certificate is the fixed-point residual. Solved by Splitting, also in sums with norms
    such as ``L21``.

    With several columns per task, the columns of one class are joined as their tasks are.

    Parameters
    ----------
    alpha : float or None
        The strength, >= 0; None means 1.0.
    adjacency : array, sparse matrix, data frame or mapping
        A, weights >= 0, symmetric, as in :func:`along_graph`.
    columns : Columns, default=None
        The tasks that own the columns of W; estimators set it.

    Raises
    ------
    ParameterError
        If the weights are not symmetric, finite and >= 0, or a label comes twice; on
        fitting, if the graph does not fit the tasks.

    References
    ----------
    .. [1] Hallac, D., Leskovec, J. and Boyd, S. (2015). Network lasso: clustering and
       optimization in large graphs. KDD, 387-396, Equation 2.
    """

    label = "NetworkLasso"

    alpha: float | None = field(metadata=ALPHA)
    # A Graph, made of what `graph_of` takes.
    adjacency: Any = field(metadata=checked_by(graph_of))
    columns: Columns | None = field(default=None, kw_only=True)

    def bind(self, columns: Columns) -> NetworkLasso:
        """Return a copy that joins the columns of one class as their tasks are."""
        self.adjacency.join(columns.task_labels())
        bound: NetworkLasso = changed(self, columns=columns)
        return bound

    @cached_property
    def _edges(self) -> _Edges:
        """The pairs of columns of one class whose tasks the graph joins."""
        if self.columns is None:
            matrix = self.adjacency.matrix
            return _edges_among(matrix, np.arange(len(matrix)))
        labels = self.columns.task_labels()
        row, weights = {t: i for i, t in enumerate(labels)}, self.adjacency.among(labels)
        parts = []
        for group in self.columns.class_groups():
            rows = [row[self.columns.tasks[column]] for column in group]
            parts.append(_edges_among(weights[np.ix_(rows, rows)], group))
        return _Edges(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    @property
    def _width(self) -> int:
        """The number of columns of W."""
        return len(self.adjacency.matrix) if self.columns is None else self.columns.n_columns

    def _lengths(self, U: Array) -> Array:
        """Return the norm of what belongs to each edge, of shape (n_edges,)."""
        return namespace(U).sqrt(namespace(U).sum(U * U, axis=0))

    def value(self, W: Array) -> float:
        """Return alpha times the weighted sum of the norms of differences."""
        lengths = self._lengths(self.forward(W))
        return self.weight * total(lengths * like(self._edges.weight, W))

    def forward(self, W: Array) -> Array:
        """Return the difference of every edge, of shape (n_features, n_edges)."""
        check_width(W, self._width, self.label)
        xp, edges = namespace(W), self._edges
        ends = (xp.take(W, index_like(end, W), axis=1) for end in (edges.first, edges.second))
        first, second = ends
        return first - second

    def adjoint(self, U: Array) -> Array:
        """Return for every column what its edges sum to, with the sign of the end."""
        return U @ like(self._incidence, U)

    @cached_property
    def _incidence(self) -> np.ndarray:
        """1 and -1 at the ends of every edge, of shape (n_edges, n_columns)."""
        edges = self._edges
        incidence = np.zeros((len(edges.weight), self._width))
        place = np.arange(len(edges.weight))
        incidence[place, edges.first] = 1.0
        incidence[place, edges.second] = -1.0
        return incidence

    def norm_bound(self) -> float:
        """Return the largest eigenvalue of the Laplacian of the edges; 1 without edges."""
        if not len(self._edges.weight):
            return 1.0
        laplacian = self._incidence.T @ self._incidence
        return float(np.linalg.eigvalsh(laplacian)[-1])

    def dual_prox(self, U: Array, step: float) -> Array:
        """Return U with every edge shortened to at most alpha times its weight."""
        limit = self.weight * like(self._edges.weight, U)
        lengths = self._lengths(U)
        longer = namespace(U).maximum(lengths, limit)
        one = namespace(U).ones_like(longer)
        return U * (limit / namespace(U).where(longer > 0, longer, one))[None, :]

    def dual_value(self, U: Array) -> float:
        """Return 0: the conjugate of a norm."""
        return 0.0

    def settled(self, W: Array, moved: Array) -> Array:
        """Return W with the means of columns that edges of length zero join."""
        equal = host(self._lengths(moved)) == 0
        names = _joined(self._edges, equal, self._width)
        counts = np.bincount(names)
        mixing = (names[:, None] == names[None, :]) / counts[names][None, :]
        # The same numbers in the same order, so that equal columns are equal to the last bit.
        first = np.unique(names, return_index=True)[1]
        means = W @ like(mixing[:, first], W)
        return namespace(W).take(means, index_like(names, W), axis=1)

    @staticmethod
    def clusters(W: Array) -> np.ndarray:
        """Return the cluster of every column: those with exactly equal coefficients.

        Parameters
        ----------
        W : array of shape (n_features, n_columns)
            Coefficients of the solution, ``model.coef_.T`` of a fitted model.

        Returns
        -------
        ndarray of int of shape (n_columns,)
            Numbers from 0 in the order of the first column of each cluster.
        """
        found = np.unique(host(W), axis=1, return_inverse=True)[1]
        return _numbered(np.asarray(found).reshape(-1))


def _joined(edges: _Edges, equal: np.ndarray, n_columns: int) -> np.ndarray:
    """Return the component of every column along some edges, in the order of first columns."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = edges.first[equal], edges.second[equal]
    graph = coo_array((np.ones(int(equal.sum())), pairs), shape=(n_columns, n_columns))
    found = connected_components(graph, directed=False)[1]
    return _numbered(found)


def _numbered(found: np.ndarray) -> np.ndarray:
    """Return numbers of groups in the order of their first members."""
    _, first, number = np.unique(found, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[number])
