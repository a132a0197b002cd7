"""What every kind of model says in a graph."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.export.graphs import baselines, linear, networks
from polytask.export.graphs.graph import Tensor
from polytask.export.graphs.rows import Answer, Classes, Rows, no_interval, refused
from polytask.export.graphs.trees import Ensemble, lightgbm_trees
from polytask.linear.bayes_groupings import GroupedTasks
from polytask.messages import LazyMessage

Array = NDArray[Any]


def classes_of(model: Any) -> list[Classes]:  # noqa: ANN401 - a fitted estimator
    """Return the classes of every task in the order of the answers, and last of unseen ones."""
    labels = model._schema.index.labels
    known: Mapping[Hashable, Any] = getattr(model, "task_classes_", {})
    if not known:
        return [None] * (len(labels) + 1)
    targets = isinstance(model.classes_, list)
    found: list[Classes] = []
    for t, label in enumerate(labels):
        own = model.classes_[t] if targets else model.classes_
        has = known.get(label) is not None
        found.append(tuple(np.asarray(own).tolist()) if has and own is not None else None)
    every = next((own for own in found if own is not None), None)
    return [*found, None if None in found else every]


def answer(model: Any, rows: Rows, interval: bool = False) -> Answer:  # noqa: ANN401
    """Return what a model says of rows; the deviation of new targets too if `interval`."""
    if model._schema.groupings:
        return _grouped(model, rows, interval)
    names = [kind.__name__ for kind in type(model).__mro__]
    for name, converter in _CONVERTERS.items():
        if name in names:
            found = converter(model, rows, interval)
            if interval and found.deviation is None:
                raise no_interval(type(model).__name__)
            return found
    raise refused(type(model).__name__)


def _linear(model: Any, rows: Rows, interval: bool) -> Answer:  # noqa: ANN401
    tasks = model._linear
    return linear.linear_answer(tasks, tasks.parameters, rows)


def _grouped(model: Any, rows: Rows, interval: bool) -> Answer:  # noqa: ANN401
    """Return what the levels of several groupings say, with trees or without."""
    trees = getattr(model, "_model", None)
    tasks = getattr(model, "_groups", None) if trees is None else trees.tasks
    if not isinstance(tasks, GroupedTasks):
        fields = {"kind": type(model).__name__}
        raise refused(fields["kind"], LazyMessage("export.refusal.groupings", fields))
    if interval:
        raise no_interval(type(model).__name__)
    if trees is None:
        return Answer(linear.grouped_numbers(tasks, rows).reshaped(-1))
    sums = _tree_sums(trees.trees, rows) * tasks.target_scale
    return Answer((linear.grouped_numbers(tasks, rows.columns(trees.columns)) + sums).reshaped(-1))


def _boosted(model: Any, rows: Rows, interval: bool) -> Answer:  # noqa: ANN401
    """Return what trees and the posteriors of tasks say together."""
    own = model._model
    if isinstance(own.trees, tuple):
        sums = [_tree_sums(trees, rows) for trees in own.trees]
        # Which sum is that of which column of an answer.
        chosen = np.zeros((len(rows.tasks), len(sums), rows.width))
        for k, task in enumerate(rows.tasks):
            problems, classes = own.tasks.problems_of(task), own.classes_of(task)
            places = [0] if classes is None else rows.places(k, classes.tolist())
            # The second of two classes has the only predictor.
            for problem, place in zip(problems, places[-len(problems) :], strict=True):
                chosen[k, problem, place] = 1.0
        wide = sums[0].beside(*sums[1:]).reshaped(-1, 1, len(sums))
        more = (wide @ rows.pick(chosen)).reshaped(-1, rows.width)
        return linear.laplace_answer(own.tasks, rows.columns(own.columns), interval, more)
    codes = list(rows.tasks)
    lines = own.lines[codes].astype(float)
    few = rows.columns(own.columns)
    scales = np.append(own.tasks.target_scale, own.tasks.units(-1)[1])[codes]
    varying = few.linear(lines[:, None, 1:], lines[:, :1])
    total = _tree_sums(own.trees, rows) * rows.pick(scales[:, None]) + varying
    deviation = linear.normal_deviation(own.tasks, lambda _: None, few) if interval else None
    return Answer(total.reshaped(-1), deviation=deviation)


def _tree_sums(trees: Any, rows: Rows) -> Tensor:  # noqa: ANN401 - trees of LightGBM
    """Return the sums of trees for rows, (N, 1)."""
    long = rows.long()
    if not trees.text:
        return long.ones() * 0.0
    ensemble = Ensemble(task_feature=0)
    for tree in lightgbm_trees(trees._booster):
        ensemble.add(tree, None)
    return ensemble.sums(long.X)


# By name, from the particular to the general: what needs an extra is not imported here.
_CONVERTERS: Mapping[str, Callable[[Any, Rows, bool], Answer]] = {
    "BayesianMultiTaskRegressor": linear.bayes_answer,
    "LaplaceEstimator": lambda model, rows, i: linear.laplace_answer(model._tasks, rows, i),
    "LinearEstimator": _linear,
    "Pooled": lambda model, rows, _: baselines.pooled_answer(model, rows, answer),
    "SingleTask": lambda model, rows, _: baselines.separate_answer(model, rows),
    "Joint": lambda model, rows, _: baselines.joint_answer(model, rows),
    "SharedBase": lambda model, rows, _: baselines.corrected_answer(model, rows, answer),
    "AutoEstimator": lambda model, rows, _: baselines.combined_answer(model, rows, answer),
    "DeepEstimator": lambda model, rows, _: networks.network_answer(model, rows),
    "BoostingEstimator": _boosted,
}
