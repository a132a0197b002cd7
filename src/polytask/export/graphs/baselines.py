"""Pooled, separate, corrected and combined models in a graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator import MultiTaskEstimator
from polytask.export.graphs.graph import Tensor
from polytask.export.graphs.plain import (
    FORESTS,
    PlainModel,
    affine_map,
    plain_answer,
    read_plain,
)
from polytask.export.graphs.rows import Answer, Rows, behind_transformers, refused
from polytask.export.graphs.trees import Ensemble, forest_trees
from polytask.selection.auto.mixing import LEAST_PROBABILITY

Array = NDArray[Any]
# What answers for any model; the interval is for the models that know one.
Answering = Callable[[Any, Rows, bool], Answer]

_LEAST_BASE = 1e-4


def pooled_answer(model: Any, rows: Rows, answering: Answering) -> Answer:  # noqa: ANN401
    """Return what the one estimator of :class:`Pooled` says."""
    effect, count = model._effect, len(rows.tasks)
    known = [t if t >= 0 and model._known[t] else -1 for t in rows.tasks]
    columns, kind = np.zeros((count, 0)), type(effect).__name__
    if kind == "TaskColumns":
        columns = effect.values[known].astype(float)
    elif kind == "TaskIndicators":
        n_tasks = len(effect.shares)
        columns = effect.length * np.vstack([np.eye(n_tasks), effect.shares])[known]
    if isinstance(model.estimator_, MultiTaskEstimator) and hasattr(model.estimator_, "_tasks"):
        return _of_own_kind(model, rows, columns, answering)
    width = model.estimator_.n_features_in_
    plain = read_plain(model.estimator_, width)
    if plain.trees:
        if model.steps_ is not None or kind == "Centred":
            raise behind_transformers(type(model.estimator_).__name__)
        return plain_answer([plain] * count, rows.beside(columns), alike=True)
    models = [plain.with_constants(own) for own in columns]
    if kind == "Centred":
        pairs = zip(effect.means[known].astype(float), effect.levels[known], strict=True)
        models = [
            replace(plain, intercept=plain.intercept - plain.coef @ mean + level)
            for mean, level in pairs
        ]
    if model.steps_ is not None:
        for _, step in reversed(model.steps_.steps):
            if step != "passthrough":
                models = [own.behind(*affine_map(step)) for own in models]
    return plain_answer(models, rows, alike=True)


def _of_own_kind(model: Any, rows: Rows, columns: Array, answering: Answering) -> Answer:  # noqa: ANN401
    """Return what an estimator of this package says that was fitted on all rows as one task."""
    if model.steps_ is not None or type(model._effect).__name__ == "Centred":
        raise behind_transformers(type(model.estimator_).__name__)
    wide = rows.beside(columns)
    alone = wide.code * np.array(0)
    inner = replace(wide, code=alone, tasks=(0,), classes=rows.classes[:1])
    return answering(model.estimator_, inner, False)


def separate_answer(model: Any, rows: Rows) -> Answer:  # noqa: ANN401
    """Return what the estimators of :class:`SingleTask` say, each of the rows of its task."""
    labels, d = model._schema.index.labels, rows.n_features
    found: list[PlainModel | None] = []
    for task in rows.tasks:
        own = model.estimators_.get(labels[task]) if task >= 0 else None
        if own is None:
            found.append(None)
            continue
        chosen = np.arange(d) if model._columns is None else model._columns[task]
        found.append(read_plain(own, len(chosen)).of_features(chosen, d))
    # A task without rows is refused before, or has no weight in a combination.
    first = next(plain for plain in found if plain is not None)
    nothing = replace(
        first, coef=0.0 * first.coef, intercept=0.0 * first.intercept, trees=(), constant=True
    )
    models = [nothing if plain is None else plain for plain in found]
    return plain_answer(models, rows, alike=False)


def joint_answer(model: Any, rows: Rows) -> Answer:  # noqa: ANN401
    """Return what the estimator of all columns of a target matrix says."""
    members = getattr(model.estimator_, "estimators_", None)
    if type(model.estimator_).__name__ not in FORESTS or members is None:
        raise refused("Joint", type(model.estimator_).__name__)
    ensemble = Ensemble(task_feature=0)
    for tree in forest_trees(members):
        ensemble.add(tree, None)
    every = ensemble.sums(rows.X.cast(np.float32).cast(np.float64))
    raw = every.reshaped(-1, rows.width)
    if rows.classes[0] is None:
        return Answer(raw.reshaped(-1))
    return Answer(scores=raw, probabilities=raw)


def corrected_answer(model: Any, rows: Rows, answering: Answering) -> Answer:  # noqa: ANN401
    """Return what a base and its correction say."""
    base = answering(model.base_, rows, False)
    if rows.classes[0] is None:
        values, width = base.given_numbers.reshaped(-1, 1), 1
    else:
        logs = base.given_probabilities.op("Max", [_LEAST_BASE]).op("Log")
        width = rows.width - 1
        values = logs.at(np.arange(1, width + 1), axis=1) - logs.at(np.array([0]), axis=1)
    long = rows.long()
    inner = long.with_features(values, width)
    if not model._wide:
        inner = long.with_features(long.X.beside(values), rows.n_features + width)
    return answering(model.correction_, inner, False)


def combined_answer(model: Any, rows: Rows, answering: Answering) -> Answer:  # noqa: ANN401
    """Return what the members of an automatic estimator say together."""
    weights = np.vstack([model.task_weights_, model.shared_weights_])[list(rows.tasks)]
    if -1 in rows.tasks:
        model._refuse_strangers(np.array([-1]))
    numbers: Tensor | None = None
    probabilities: Tensor | None = None
    for column, (name, member) in zip(weights.T, model.members_.items(), strict=True):
        if not np.any(column > 0):
            continue
        found = answering(member, rows, False)
        weight, has = rows.pick(column[:, None]), rows.pick(column[:, None] > 0)
        if found.numbers is not None:
            # What has no weight may be infinite.
            own = has.choose(found.numbers.reshaped(-1, 1) * weight, 0.0)
            numbers = own if numbers is None else numbers + own
        if found.scores is not None:
            own = _calibrated(model, name, found.given_probabilities, rows)
            own = has.choose(own * weight, 0.0)
            probabilities = own if probabilities is None else probabilities + own
    flat = None if numbers is None else numbers.reshaped(-1)
    return Answer(flat, scores=probabilities, probabilities=probabilities)


def _calibrated(model: Any, name: str, P: Tensor, rows: Rows) -> Tensor:  # noqa: ANN401
    """Return the probabilities of a member as they were made bolder or more careful."""
    known = getattr(model, "calibrations_", {}).get(name)
    if known is None or (known.boldness, known.base) == (1.0, 0.0):
        return P
    shares = model.class_prior_
    several = shares if isinstance(shares, list) else [shares] * len(rows.tasks)
    # Columns that stand for no class of a target have no part in it.
    base = np.full((len(rows.tasks), rows.width), -np.inf)
    for k, own in enumerate(several):
        base[k, : len(own)] = known.base * np.log(np.maximum(own, LEAST_PROBABILITY))
    logs = P.op("Max", [LEAST_PROBABILITY]).op("Log") * known.boldness
    scaled: Tensor = logs + rows.pick(base)
    return scaled.softmax()
