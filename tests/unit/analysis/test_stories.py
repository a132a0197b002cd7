"""Traps in which a comparison must not be caught: a leak, a rare class, shrinkage alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.neighbors import KNeighborsRegressor

from polytask import MultiTaskClassifier, MultiTaskRegressor, compare
from polytask.penalties import L2, toward_mean


def scores(result: Any) -> dict[str, float]:
    return {row.name: row.score.mean for row in result.models}


def patients(n_tasks: int = 6, n: int = 40, d: int = 60) -> tuple[Any, Any, Any, Any]:
    """The same patients in every hospital; hospitals have nothing in common but them."""
    rng = np.random.default_rng(0)
    who, task = np.tile(np.arange(n), n_tasks), np.repeat(np.arange(n_tasks), n)
    X = rng.standard_normal((n, d))[who] + 0.05 * rng.standard_normal((n * n_tasks, d))
    coef = rng.standard_normal((n_tasks, d)) * (np.arange(d) < 3)
    own = 2.0 * rng.standard_normal(n)
    y = (X * coef[task]).sum(axis=1) + own[who] + 0.3 * rng.standard_normal(n * n_tasks)
    return X, y, task, who


@pytest.mark.slow
def test_a_leak_looks_like_sharing_and_groups_undo_it() -> None:
    X, y, task, who = patients()
    near = ("near", MultiTaskRegressor(toward_mean(0.3) + L2(0.03), standardize=True))
    models = ["separate", "pooled", near]
    leaking = compare(X, y, task=task, models=models)
    assert leaking.verdict == "share"
    honest = compare(X, y, task=task, models=models, groups=who)
    assert honest.gain.low <= 0 <= honest.gain.high
    assert scores(honest)["near"] < 0 < 0.4 < scores(leaking)["near"]


def test_a_leak_flatters_a_flexible_model_until_groups_are_named() -> None:
    rng = np.random.default_rng(1)
    visits = 4
    who = np.repeat(np.arange(120), visits)
    X = rng.standard_normal((120, 6))[who] + 0.01 * rng.standard_normal((len(who), 6))
    # No feature says anything about the outcome: the truth is an explained share of 0.
    y, task = rng.standard_normal(120)[who], who // 20
    near = ("near", MultiTaskRegressor(toward_mean(1.0) + L2(1.0), standardize=True))
    models = ["separate", near, ("nearest", KNeighborsRegressor(1))]
    leaking = compare(X, y, task=task, models=models, quick=True)
    assert scores(leaking)["nearest pooled"] > 0.9
    honest = compare(X, y, task=task, models=models, quick=True, groups=who)
    assert scores(honest)["nearest pooled"] < 0
    assert honest.recommended not in {"nearest pooled", "nearest per task"}


def rare(signal: float) -> tuple[Any, Any, Any]:
    """Four tasks of 300 rows, 2 in 100 of them positive."""
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(4), 300)
    X = rng.standard_normal((len(task), 4))
    score = signal * (X[:, 0] - X[:, 1]) + rng.logistic(size=len(task))
    return X, (score > np.quantile(score, 0.98)).astype(int), task


def of_the_rare(signal: float) -> Any:
    X, y, task = rare(signal)
    near = ("near", MultiTaskClassifier(toward_mean(0.1) + L2(0.001), standardize=True))
    nothing = ("all negative", DummyClassifier(strategy="most_frequent"))
    return compare(X, y, task=task, models=["separate", "pooled", near, nothing], quick=True)


# A task of the test part may have no positive row, and then no AUC: it is counted.
@pytest.mark.filterwarnings("ignore::polytask.exceptions.DataWarning")
def test_all_negative_wins_accuracy_and_nothing_else() -> None:
    result = of_the_rare(signal=2.0)
    rows = {row.name: row for row in result.models}
    idle, used = rows["all negative pooled"].metrics, rows[result.recommended].metrics
    assert idle["accuracy"] == pytest.approx(idle["majority"])
    assert idle["accuracy"] > 0.97
    assert idle["auc"] == pytest.approx(0.5)
    assert used["auc"] > 0.85
    # Shown without being asked for, and far above the share of positives.
    assert used["average_precision"] > 0.2
    assert scores(result)["all negative pooled"] < 0 < scores(result)[result.recommended]


@pytest.mark.filterwarnings("ignore::polytask.exceptions.DataWarning")
def test_nothing_is_found_among_rare_positives_where_there_is_nothing() -> None:
    result = of_the_rare(signal=0.0)
    assert result.verdict != "share"
    assert (result.predicts, result.recommended) == (False, "")


@pytest.mark.slow
def test_unrelated_tasks_gain_by_shrinkage_and_not_by_sharing() -> None:
    rng = np.random.default_rng(0)
    n_tasks, n, d = 30, 24, 8
    task = np.repeat(np.arange(n_tasks), n)
    X = rng.standard_normal((len(task), d))
    coef = 0.5 * rng.standard_normal((n_tasks, d))
    y = (X * coef[task]).sum(axis=1) + 2.0 * rng.standard_normal(len(task))
    near = ("near", MultiTaskRegressor(toward_mean(1.0) + L2(0.1), standardize=True))
    bare = ["separate, unpenalised", "pooled + intercepts, unpenalised"]
    result = compare(
        X, y, task=task, models=["separate", "separate, one strength", near, *bare], quick=True
    )
    assert result.shrinkage_gain is not None
    assert result.sharing_gain is not None
    assert result.shrinkage_gain.low > 0
    assert result.sharing_gain.low <= 0 <= result.sharing_gain.high
