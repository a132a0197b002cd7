"""Trees of scikit-learn and LightGBM as one node of a graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.export.graphs.graph import Tensor
from polytask.export.graphs.rows import refused

Array = NDArray[Any]

# How ONNX numbers what a node of a tree asks.
_AT_MOST, _EQUAL, _MEMBER = 0, 4, 6


@dataclass(frozen=True, eq=False)
class Tree:
    """A binary tree: a row goes left whose feature is at most the threshold, or in a set."""

    # Shapes: feature, threshold, left, right, nan_left (n_nodes,), values (n_nodes, n_outputs).
    # `left` is -1 at leaves; `nan_left` says where a row without the feature goes; `members` has
    # the sets of the nodes that ask for one, by node. Values of leaves are added to the outputs.

    feature: Array
    threshold: Array
    left: Array
    right: Array
    nan_left: Array
    values: Array
    members: Mapping[int, Array] = field(default_factory=dict)

    def with_values(self, values: Array) -> Tree:
        """Return the tree with other values. Shapes: values (n_nodes, n_outputs)."""
        return replace(self, values=values)


class Ensemble:
    """A sum of trees, each for the rows of all tasks or of one."""

    def __init__(self, task_feature: int) -> None:
        # Where the code of the task of each row stands.
        self._task_feature = task_feature
        self._trees: list[tuple[Tree, int | None]] = []

    def add(self, tree: Tree, code: int | None) -> None:
        """Add a tree for the rows of one task, None for those of all."""
        self._trees.append((tree, code))

    def sums(self, X: Tensor) -> Tensor:
        """Return the sums of the trees for rows, (N, n_outputs)."""
        # A leaf adds to one output; of more, it says its line in a table of values.
        width = self._trees[0][0].values.shape[1]
        single = all(np.count_nonzero(t.values.any(axis=0)) <= 1 for t, _ in self._trees)
        # onnxruntime before 1.24 takes a node for a leaf whose children have the same number,
        # be it that of a leaf and of a node: leaves are numbered behind all nodes.
        first = sum(_n_nodes(tree, code) for tree, code in self._trees)
        nodes: dict[str, list[Array]] = {}
        targets: list[Array] = [np.zeros(first + 1)]
        weights: list[Array] = [np.zeros(first + 1)]
        table: list[Array] = [np.zeros((1, width))]
        roots, members, n_leaves = [0], list[Array](), 1
        for number, (tree, code) in enumerate(self._trees):
            for key, numbers in self._arrays(tree, code, roots[-1], first, n_leaves).items():
                nodes.setdefault(key, []).append(numbers)
            members += [part for node in sorted(tree.members) for part in _ended(tree, node)]
            values = tree.values[tree.left < 0]
            output = int(np.argmax(values.any(axis=0)))
            targets.append(np.full(len(values), output if single else number))
            table.append(values)
            weights.append(values[:, output] if single else n_leaves + np.arange(len(values)))
            roots.append(roots[-1] + _n_nodes(tree, code))
            n_leaves += len(values)
        joined = {key: np.concatenate(parts) for key, parts in nodes.items()}
        attributes: dict[str, Any] = {
            key: values if key in ("nodes_modes", "nodes_splits") else values.tolist()
            for key, values in joined.items()
        }
        attributes |= {
            "tree_roots": roots[:-1],
            "leaf_targetids": np.concatenate(targets).astype(int).tolist(),
            "leaf_weights": np.concatenate(weights).astype(np.float64),
            "n_targets": width if single else len(self._trees),
            "aggregate_function": 1,
            "post_transform": 0,
        }
        if members:
            attributes["membership_values"] = np.concatenate(members)
        found = X.op("TreeEnsemble", attributes=attributes)
        if single:
            return found
        leaves = X.graph.constant(np.concatenate(table)).at(found.cast(np.int64))
        return leaves.summed(axis=1)

    def _arrays(
        self, tree: Tree, code: int | None, root: int, nothing: int, n_leaves: int
    ) -> dict[str, Array]:
        """Return the nodes of a tree from a root on; `nothing` is the leaf that adds nothing."""
        inner = tree.left >= 0
        guarded = code is not None or not inner.any()
        leaf = nothing + n_leaves - 1
        place = np.where(inner, root + guarded - 1 + np.cumsum(inner), leaf + np.cumsum(~inner))
        left, right = tree.left[inner], tree.right[inner]
        modes = np.full(len(inner), _AT_MOST, dtype=np.uint8)
        modes[list(tree.members)] = _MEMBER
        found: dict[str, Array] = {
            "nodes_featureids": tree.feature[inner].astype(np.int64),
            "nodes_splits": tree.threshold[inner].astype(np.float64),
            "nodes_modes": modes[inner],
            "nodes_truenodeids": place[left],
            "nodes_trueleafs": (~inner[left]).astype(np.int64),
            "nodes_falsenodeids": place[right],
            "nodes_falseleafs": (~inner[right]).astype(np.int64),
            "nodes_missing_value_tracks_true": tree.nan_left[inner].astype(np.int64),
        }
        if not guarded:
            return found
        # Rows of other tasks end at once; a tree that is one leaf needs a node above it.
        other = (nothing, 1) if code is not None else (place[0], int(not inner[0]))
        guard: dict[str, Any] = {
            "nodes_featureids": self._task_feature,
            "nodes_splits": 0.0 if code is None else float(code),
            "nodes_modes": _EQUAL,
            "nodes_truenodeids": place[0],
            "nodes_trueleafs": int(not inner[0]),
            "nodes_falsenodeids": other[0],
            "nodes_falseleafs": other[1],
            "nodes_missing_value_tracks_true": 0,
        }
        return {
            key: np.concatenate([np.array([guard[key]], dtype=values.dtype), values])
            for key, values in found.items()
        }


def _n_nodes(tree: Tree, code: int | None) -> int:
    """Return how many nodes a tree has in a graph, with one above it that asks for the task."""
    inner = int(np.count_nonzero(tree.left >= 0))
    return inner + int(code is not None or not inner)


def _ended(tree: Tree, node: int) -> tuple[Array, Array]:
    """Return the set of a node and the NaN that ends it."""
    return np.asarray(tree.members[node], dtype=np.float64), np.array([np.nan])


def histogram_trees(model: Any) -> Iterator[Tree]:  # noqa: ANN401 - HistGradientBoosting*
    """Yield the trees of histogram boosting, with an output for each tree of an iteration."""
    prepared = getattr(model, "_preprocessor", None)
    order = np.arange(model.n_features_in_)
    categories: list[Array] = []
    if prepared is not None:
        # Categories come first, each as its number.
        marked = np.asarray(model.is_categorical_)
        order = np.concatenate([np.flatnonzero(marked), np.flatnonzero(~marked)])
        categories = list(prepared.named_transformers_["encoder"].categories_)
    width = model.n_trees_per_iteration_
    for iteration in model._predictors:
        for output, predictor in enumerate(iteration):
            nodes = predictor.nodes
            leaf = nodes["is_leaf"].astype(bool)
            left = np.where(leaf, -1, nodes["left"].astype(np.int64))
            right = np.where(leaf, -1, nodes["right"].astype(np.int64))
            nan_left = nodes["missing_go_to_left"].astype(bool)
            members: dict[int, Array] = {}
            for node in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~leaf).tolist():
                known = categories[int(nodes["feature_idx"][node])]
                known = known[~np.isnan(known.astype(np.float64))]
                bits = predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]]
                number = np.arange(len(known))
                goes_left = (bits[number // 32] >> (number % 32).astype(np.uint32)) & 1 == 1
                members[node] = known[goes_left]
                if nan_left[node]:
                    # Categories that are not known go where missing ones go: the set is that of
                    # the other side.
                    members[node], nan_left[node] = known[~goes_left], False
                    left[node], right[node] = right[node], left[node]
            values = np.zeros((len(nodes), width))
            values[:, output] = nodes["value"]
            feature = order[np.where(leaf, 0, nodes["feature_idx"])]
            threshold = np.where(leaf, 0.0, nodes["num_threshold"])
            yield Tree(feature, threshold, left, right, nan_left, values, members)


def forest_trees(members: Sequence[Any]) -> Iterator[Tree]:
    """Yield the trees of a forest, the mean of which it predicts."""
    # Shapes: values (n_nodes, n_targets), or (n_nodes, n_targets * n_classes) of classes.
    for member in members:
        tree = member.tree_
        values = tree.value
        if hasattr(member, "classes_"):
            values = values / values.sum(axis=2, keepdims=True)
        flat = values.reshape(len(values), -1) / len(members)
        nan_left = np.asarray(
            getattr(tree, "missing_go_to_left", np.zeros(len(values))), dtype=bool
        )
        yield Tree(
            np.maximum(tree.feature, 0),
            tree.threshold,
            tree.children_left.astype(np.int64),
            tree.children_right.astype(np.int64),
            nan_left,
            flat,
        )


def lightgbm_trees(booster: Any) -> Iterator[Tree]:  # noqa: ANN401 - a Booster
    """Yield the trees of LightGBM, with an output for each tree of an iteration."""
    found = booster.dump_model()
    width = found["num_tree_per_iteration"]
    scale = 1.0 / max(len(found["tree_info"]) // width, 1) if found["average_output"] else 1.0
    for number, told in enumerate(found["tree_info"]):
        yield _lightgbm_tree(told["tree_structure"], number % width, width, scale)


def _lightgbm_tree(root: Mapping[str, Any], output: int, width: int, scale: float) -> Tree:
    """Return a tree of nested dictionaries, as LightGBM writes it down."""
    nodes: list[Mapping[str, Any]] = [root]
    left, right, members = [-1], [-1], dict[int, Array]()
    feature, threshold, nan_left, values = [0], [0.0], [False], [0.0]
    k = 0
    while k < len(nodes):
        node = nodes[k]
        if "leaf_value" in node and "split_feature" not in node:
            values[k] = scale * node["leaf_value"]
        else:
            feature[k] = node["split_feature"]
            if node["decision_type"] == "==":
                members[k] = np.array(str(node["threshold"]).split("||"), dtype=np.float64)
            else:
                threshold[k] = node["threshold"]
                nan_left[k] = _goes_left(node)
            left[k], right[k] = len(nodes), len(nodes) + 1
            nodes += [node["left_child"], node["right_child"]]
            for column, empty in ((left, -1), (right, -1), (feature, 0)):
                column += [empty, empty]
            for numbers in (threshold, values):
                numbers += [0.0, 0.0]
            nan_left += [False, False]
        k += 1
    table = np.zeros((len(nodes), width))
    table[:, output] = values
    feature_, threshold_, left_, right_ = map(np.array, (feature, threshold, left, right))
    return Tree(feature_, threshold_, left_, right_, np.array(nan_left), table, members)


def _goes_left(node: Mapping[str, Any]) -> bool:
    """Say where a row without the feature goes."""
    if node["missing_type"] == "NaN":
        return bool(node["default_left"])
    if node["missing_type"] == "Zero":
        raise refused("LightGBM", "zero_as_missing=True")
    # It counts as 0.
    return float(node["threshold"]) >= 0.0
