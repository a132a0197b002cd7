"""A norm of the differences between tasks that a graph joins: neighbours become equal."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, final

import numpy as np

from polytask._linalg import Array, host, index_like, like, namespace, total
from polytask._registry import saveable
from polytask.penalties.columns import Columns
from polytask.penalties.composed import Composed
from polytask.penalties.couplings import check_width
from polytask.penalties.graphs import graph_of
from polytask.penalties.terms import ALPHA, AbsoluteTerm, changed, checked_by


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
