"""Which tasks are alike: distances, groups and order."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polytask.task_relations.records import FeatureEffect, Pair, TaskSimilarity

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


Positions = NDArray[np.intp]
Tree = tuple[tuple[int, int, float, int], ...]

# Tasks on the map, and pairs and features that are named.
_MAPPED, _PAIRS, _FEATURES = 1000, 5, 30
# Features below this part of all effects are not worth a name; digits of a correlation.
_FAINT, _DIGITS = 0.02, 4


@dataclass(frozen=True, eq=False)
class Map:
    """Who is like whom. Shapes: order (k,), similarity (k, k), labels (k,)."""

    order: Positions
    similarity: Array
    tree: Tree
    labels: Positions | None


def map_of(similarity: Array, places: Positions, *, grouped: bool) -> Map:
    """Order tasks by the tree of their correlations. Shapes: similarity (k, k), places (k,)."""
    n = len(places)
    if n < 2:
        return Map(places, np.round(similarity, _DIGITS), (), None)
    merges = merges_of(similarity, ordered=True)
    leaves = leaves_of(merges)
    labels = groups_of(similarity, merges)[leaves] if grouped and n > 2 else None
    if labels is not None:
        first = np.unique(labels, return_index=True)[1]
        labels = np.argsort(np.argsort(first))[labels] if len(first) > 1 else None
    return Map(
        order=places[leaves],
        similarity=np.round(similarity[np.ix_(leaves, leaves)], _DIGITS),
        tree=_renumbered(merges, leaves),
        labels=labels,
    )


def _renumbered(merges: Array, leaves: Positions) -> Tree:
    """Give the leaves of a tree the numbers of their places in it."""
    n = len(leaves)
    place = np.arange(2 * n - 1)
    place[leaves] = np.arange(n)
    return tuple(
        (int(place[int(a)]), int(place[int(b)]), round(float(height), _DIGITS), int(count))
        for a, b, height, count in merges
    )


def mapped_places(rows: Positions) -> Positions:
    """Return the tasks that fit on a map: those with the most rows, in their order."""
    if len(rows) <= _MAPPED:
        return np.arange(len(rows), dtype=np.intp)
    return np.sort(np.argsort(-rows, kind="stable")[:_MAPPED]).astype(np.intp)


def similarities_of(
    tasks: Sequence[Hashable], rows: Positions, found: Map
) -> tuple[TaskSimilarity, ...]:
    """Describe every task by its place on the map."""
    nothing = float("nan")
    lines = [
        TaskSimilarity(task, int(n), nothing, None, nothing, None)
        for task, n in zip(tasks, rows, strict=True)
    ]
    n = len(found.order)
    if n < 2:
        return tuple(lines)
    others = found.similarity.copy()
    np.fill_diagonal(others, 0.0)
    closeness = others.sum(axis=1) / (n - 1)
    np.fill_diagonal(others, -np.inf)
    nearest = others.argmax(axis=1)
    for k, place in enumerate(found.order.tolist()):
        lines[place] = TaskSimilarity(
            task=tasks[place],
            rows=int(rows[place]),
            closeness=float(closeness[k]),
            nearest=tasks[int(found.order[nearest[k]])],
            similarity=float(others[k, nearest[k]]),
            group=None if found.labels is None else int(found.labels[k]),
        )
    return tuple(lines)


def pairs_of(
    tasks: Sequence[Hashable], found: Map, told: NDArray[np.bool_] | None = None
) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    """Return the pairs of tasks that are most and least alike, the extreme ones first."""
    # Shapes: told (T,), the tasks that may be named.
    first, second = np.triu_indices(len(found.order), 1)
    if told is not None:
        kept = told[found.order[first]] & told[found.order[second]]
        first, second = first[kept], second[kept]
    values = found.similarity[first, second]
    count = min(_PAIRS, (len(values) + 1) // 2)
    ranked = np.argsort(-values, kind="stable")

    def pair(k: int) -> Pair:
        a, b = found.order[first[k]], found.order[second[k]]
        return Pair(tasks[int(a)], tasks[int(b)], float(values[k]))

    most = tuple(pair(int(k)) for k in ranked[:count])
    return most, tuple(pair(int(k)) for k in ranked[::-1][: min(count, len(values) - count)])


def features_of(
    names: Sequence[str], mean: Array, common: Array, total: Array
) -> tuple[FeatureEffect, ...]:
    """Describe the features with the largest effects, the largest first."""
    # Shapes: mean (d,), common, total (d,).
    size = np.maximum(total, 0.0)
    ranked = np.argsort(-size, kind="stable")[:_FEATURES]
    whole = float(size.sum())
    return tuple(
        FeatureEffect(
            feature=names[j],
            mean=float(mean[j]),
            spread=float(np.sqrt(max(total[j] - max(common[j], 0.0), 0.0))),
            shared=bool(common[j] > total[j] / 2),
        )
        for j in ranked.tolist()
        if size[j] > _FAINT * whole
    )
