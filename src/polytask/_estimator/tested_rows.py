"""The score of test rows and the errors of each task, with 95% intervals, for the model card."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator.card import TestedRows
from polytask._estimator.query import Query
from polytask._estimator.scoring import ConstantBaseline, Scoring, labelled_rows
from polytask.data import Form, TaskData
from polytask.metrics import HeldOut, errors_by_group

Array = NDArray[np.float64]


def tested_rows(
    scoring: Scoring, data: TaskData, query: Query, baseline: ConstantBaseline | None
) -> TestedRows:
    """Score labelled rows; without a baseline by their accuracy."""
    parts = labelled_rows(data, query.codes)
    known = data.tasks if data.form is Form.TARGETS else [
        label for label, n in zip(data.tasks, data.task_rows(), strict=True) if n
    ]  # fmt: skip
    by_task: dict[Hashable, tuple[int, float, float, float]] = {}
    wrong: list[Array] = []
    for label, part, predicted in zip(known, parts, scoring._natural(parts, query), strict=True):
        if not len(part.y):
            continue
        # Columns of several types hold objects.
        y, own = np.array(part.y.tolist()), np.array(np.asarray(predicted).tolist())
        found = errors_by_group(y, own, np.zeros(len(y)), sample_weight=part.weight).iloc[0]
        error, low, high = (float(found[k]) for k in ("error", "low", "high"))
        by_task[label] = len(y), error, low, high
        wrong.append(np.asarray(y != own, dtype=float))
    n = sum(rows for rows, *_ in by_task.values())
    if baseline is None:
        score = scoring.accuracy(data, query).overall
        low = high = float("nan")
        if not scoring.targets and wrong:
            weights = [np.ones(len(p.y)) if p.weight is None else p.weight for p in parts]
            every = np.concatenate(wrong)
            one = errors_by_group(
                every, np.zeros(n), np.zeros(n), sample_weight=np.concatenate(weights)
            ).iloc[0]
            low, high = 1.0 - float(one["high"]), 1.0 - float(one["low"])
        return TestedRows(score, low, high, n, by_task)
    score = scoring.explained(data, query, baseline).overall
    held = scoring._held(data, query, parts, baseline)
    alike = not scoring.targets and len({one.unit for one in held}) == 1
    away = 1.96 * _error_of_ratio(held) if alike else float("nan")
    return TestedRows(score, score - away, score + away, n, by_task)


def _error_of_ratio(held: list[HeldOut]) -> float:
    """Return the standard error of the share of the loss of a constant that is explained."""
    # Of a ratio of sums (Cochran, Sampling Techniques, 1977, section 6.4).
    losses = np.concatenate([one.losses() for one in held])
    null = np.concatenate([one.baseline_losses() for one in held])
    weights = [np.ones(len(one.y)) if one.weight is None else one.weight for one in held]
    weight = np.concatenate(weights)
    n, total = np.count_nonzero(weight), float(weight @ null)
    if n < 2 or total <= 0:
        return float("nan")
    left: Any = weight * (losses - (weight @ losses / total) * null)
    return float(np.sqrt(n / (n - 1) * (left @ left)) / total)
