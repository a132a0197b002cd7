"""Groups of tasks that are alike: average linkage, cut where groups are best apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Labels = NDArray[np.intp]

# Groups that are suggested at most, and the silhouette from which there are any: less is "no
# substantial structure" in the words of Kaufman and Rousseeuw.
_MOST, _APART = 10, 0.25
_ORDERED = 200


def merges_of(similarity: Array, *, ordered: bool = False) -> Array:
    """Return the tree of average linkage, as SciPy does."""
    # Shapes: similarity (T, T), result (T - 1, 4).
    from scipy.cluster.hierarchy import linkage, optimal_leaf_ordering
    from scipy.spatial.distance import squareform

    distance = np.maximum(1.0 - (similarity + similarity.T) / 2, 0.0)
    np.fill_diagonal(distance, 0.0)
    flat = squareform(distance, checks=False)
    tree = linkage(flat, "average")
    if ordered and len(similarity) <= _ORDERED:
        tree = optimal_leaf_ordering(tree, flat)
    return np.asarray(tree)


def leaves_of(merges: Array) -> Labels:
    """Return the tasks in the order of the tree."""
    from scipy.cluster.hierarchy import leaves_list

    return np.asarray(leaves_list(merges), dtype=np.intp)


def groups_of(similarity: Array, merges: Array) -> Labels:
    """Cut a tree into groups. Shapes: similarity (T, T), merges (T - 1, 4), result (T,)."""
    from scipy.cluster.hierarchy import fcluster

    n = len(similarity)
    distance = np.maximum(1.0 - similarity, 0.0)
    best, labels = _APART, np.zeros(n, dtype=np.intp)
    for k in range(2, min(_MOST, n - 1) + 1):
        cut = np.asarray(fcluster(merges, k, "maxclust"), dtype=np.intp) - 1
        score = _silhouette(distance, cut)
        if score > best:
            best, labels = score, cut
    return labels


def _silhouette(distance: Array, labels: Labels) -> float:
    """Return the mean silhouette; a task alone in its group counts 0."""
    n, k = len(labels), int(labels.max()) + 1
    if k < 2:
        return 0.0
    member = np.zeros((n, k))
    member[np.arange(n), labels] = 1.0
    size, total = member.sum(axis=0), distance @ member
    alone = size[labels] == 1
    inside = total[np.arange(n), labels] / np.maximum(size[labels] - 1, 1)
    outside = np.where(member > 0, np.inf, total / size).min(axis=1)
    larger = np.maximum(inside, outside)
    score = np.divide(outside - inside, larger, out=np.zeros(n), where=larger > 0)
    return float(np.where(alone, 0.0, score).mean())
