"""Choosing among what may be made of a new domain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator import MultiTaskEstimator
from polytask.data import TaskData
from polytask.exceptions import DataError
from polytask.transfer._candidates import pooled_losses
from polytask.transfer._refit import refitted
from polytask.transfer._report import Adaptation, Trial, report_of
from polytask.transfer._rows import Given

_POOLED = "pooled"


def refuse_known_tasks(model: MultiTaskEstimator, given: Given) -> None:
    """Refuse tasks of a new domain that have the labels of known ones."""
    known = [entry.label for entry in given.tasks if entry.position >= 0]
    if known:
        raise DataError(
            f"adapt of {type(model).__name__} needs labels of their own for the tasks of a new "
            f"domain; the model knows {known[0]!r} already."
        )


def choose(
    model: MultiTaskEstimator,
    given: Given,
    losses: Mapping[str, NDArray[np.float64]],
    source: TaskData | None,
    untried: Mapping[str, str] | None = None,
) -> tuple[Adaptation, Any]:
    """Choose what predicts rows left out best."""
    tried = dict(losses)
    if source is not None:
        tried[_POOLED] = pooled_losses(model, given, source)
    trial = Trial(tried, given.weight, dict(untried or {}))
    chosen = trial.judged().choice()
    report = replace(report_of(given, trial, "new"), chosen=chosen)
    if chosen != _POOLED or source is None or given.raw is None:
        return report, None
    pooled = refitted(model, [source, given.raw])
    pooled.adaptation_ = report
    return report, pooled
