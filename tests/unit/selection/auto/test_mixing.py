"""Convex combinations of models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from polytask.selection.auto.mixing import (
    ALONE,
    MEANS,
    HeldRows,
    LogMix,
    MixLoss,
    Policy,
    SquaredMix,
    best_mix,
    learn,
    shared_weights,
    simplex_least_squares,
)


def held_rows(
    Z: np.ndarray, y: np.ndarray, loss: MixLoss | None = None, tasks: int = 4
) -> HeldRows:
    n = len(y)
    return HeldRows(
        Z=Z,
        y=y,
        weight=np.ones(n),
        task=np.arange(n) % tasks,
        fold=(np.arange(n) // tasks) % 5,
        unit=np.arange(n),
        n_tasks=tasks,
        loss=loss or SquaredMix(),
    )


def test_many_small_problems_equal_one_by_one() -> None:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((30, 6, 4))
    grams, crosses = np.swapaxes(A, 1, 2) @ A, 2.0 * rng.standard_normal((30, 4))
    found = simplex_least_squares(grams, crosses)
    assert_allclose(found.sum(axis=1), 1.0)
    assert (found >= 0).all()
    assert 0 < np.mean(found == 0) < 1
    for G, c, w in zip(grams, crosses, found, strict=True):
        slope = G @ w - c
        # Optimal: no used model has a larger slope than any other.
        assert slope[w > 0].max() <= slope.min() + 1e-7


def test_models_that_are_equal_are_no_problem() -> None:
    G = np.ones((1, 3, 3))
    found = simplex_least_squares(G, np.ones((1, 3)))
    assert_allclose(found.sum(), 1.0)
    assert (found >= 0).all()


@pytest.mark.parametrize("loss", [SquaredMix(), LogMix()])
def test_shared_weights_are_those_of_least_loss(loss: MixLoss) -> None:
    rng = np.random.default_rng(1)
    Z = rng.uniform(0.05, 0.95, (400, 4))
    Z[:, 3] = 0.3 * Z[:, 0] + 0.1
    y = 0.6 * Z[:, 0] + 0.4 * Z[:, 1] + 0.05 * rng.standard_normal(400)
    held = held_rows(Z, y, loss)
    w = shared_weights(held)
    assert_allclose(w.sum(), 1.0)
    slope = Z.T @ loss.slopes(Z @ w, y) / len(y)
    assert 0 < np.count_nonzero(w) < 4
    assert slope[w > 0].max() <= slope.min() + 1e-4 * np.abs(slope).max()


@pytest.mark.parametrize("loss", [SquaredMix(), LogMix()])
def test_slopes_and_squares_are_the_derivatives(loss: MixLoss) -> None:
    rng = np.random.default_rng(2)
    Z, y = rng.uniform(0.2, 0.8, (50, 3)), rng.uniform(size=50)
    w, step = np.array([0.2, 0.5, 0.3]), 1e-6

    def value(w: np.ndarray) -> float:
        return float(loss.losses(Z @ w, y).sum())

    mixed = Z @ w
    slope = Z.T @ loss.slopes(mixed, y)
    moved = [(value(w + step * e) - value(w - step * e)) / (2 * step) for e in np.eye(3)]
    assert_allclose(slope, moved, rtol=1e-6)
    rows, targets = loss.squares(Z, y, mixed)
    assert_allclose(rows.T @ (rows @ w - targets), slope, rtol=1e-9)
    change = [
        (Z.T @ loss.slopes(Z @ (w + step * e), y) - Z.T @ loss.slopes(Z @ (w - step * e), y))
        / (2 * step)
        for e in np.eye(3)
    ]
    assert_allclose(rows.T @ rows, change, rtol=1e-5)


def test_tasks_that_differ_lean_to_their_own_kind() -> None:
    rng = np.random.default_rng(3)
    n, tasks = 4000, 4
    truth = rng.standard_normal(n)
    good, bad = (truth + s * rng.standard_normal(n) for s in (0.3, 1.5))
    first = (np.arange(n) % tasks) < 2
    Z = np.column_stack([np.where(first, good, bad), np.where(first, bad, good)])
    mix = best_mix(held_rows(Z, truth, tasks=tasks), ["separate", "pooled"])
    assert mix.policy.by_task
    assert (mix.by_task[:2, 0] > 0.9).all()
    assert (mix.by_task[2:, 1] > 0.9).all()
    assert mix.losses[mix.policy] < 0.5 * mix.losses[ALONE]


def test_tasks_that_are_alike_are_not_told_apart() -> None:
    rng = np.random.default_rng(4)
    truth = rng.standard_normal(400)
    Z = truth[:, None] + rng.standard_normal((400, 3))
    held = held_rows(Z, truth, tasks=40)
    mix = best_mix(held, ["separate", "pooled", "shared"])
    spread = np.abs(mix.by_task - mix.shared).max()
    loose = learn(held, ["separate", "pooled", "shared"], Policy(True, 10.0))[1]
    assert spread < 0.5 * np.abs(loose - mix.shared).max()
    assert_allclose(mix.shared, 1 / 3, atol=0.12)


def test_a_pull_without_end_is_the_shared_weights() -> None:
    rng = np.random.default_rng(5)
    truth = rng.standard_normal(200)
    Z = truth[:, None] + rng.standard_normal((200, 3))
    held, kinds = held_rows(Z, truth), ["separate", "pooled", "shared"]
    shared, by_task = learn(held, kinds, Policy(True, 1e12))
    predicted = np.einsum("im,im->i", Z, by_task[held.task])
    assert_allclose(held.mean_loss(predicted), held.mean_loss(Z @ shared), rtol=1e-3)


def test_one_model_has_all_the_weight() -> None:
    Z = np.random.default_rng(6).standard_normal((50, 1))
    mix = best_mix(held_rows(Z, Z[:, 0]), ["pooled"])
    assert mix.policy == ALONE
    assert_allclose(mix.by_task, 1.0)


def test_a_task_without_held_out_rows_has_the_shared_weights() -> None:
    rng = np.random.default_rng(7)
    truth = rng.standard_normal(300)
    Z = truth[:, None] + rng.standard_normal((300, 2))
    held = replace(held_rows(Z, truth, tasks=3), n_tasks=5)
    shared, by_task = learn(held, ["separate", "pooled"], Policy(True, 30.0))
    predicted = Z @ by_task[4]
    assert_allclose(held.mean_loss(predicted), held.mean_loss(Z @ shared), rtol=1e-2)


def test_errors_that_go_together_count_as_one() -> None:
    rng = np.random.default_rng(2)
    group, truth = np.repeat(np.arange(10), 60), rng.standard_normal(600)
    # All rows of a group have one error: what a combination gains, it gains on ten numbers.
    Z = truth[:, None] + (rng.standard_normal((2, 10)) * [[1.0], [1.3]]).T[group]
    held = replace(held_rows(Z, truth, tasks=1), fold=group % 5)
    kinds = ["separate", "pooled"]
    assert best_mix(held, kinds).policy.mixed
    assert not best_mix(replace(held, unit=group), kinds).policy.mixed


@pytest.mark.parametrize("folds", [1, 5])
def test_means_are_left_only_for_what_is_better_beyond_chance(folds: int) -> None:
    rng = np.random.default_rng(8)
    kinds, chosen = ["separate", "mean"], 0
    for _ in range(20):
        y = rng.exponential(5.0, 200) * (rng.random(200) < 0.05)
        Z = np.column_stack([0.25 + rng.standard_normal(200), np.full(200, 0.25)])
        held = held_rows(Z, y)
        held = replace(held, fold=held.fold % folds)
        chosen += best_mix(held, kinds).policy == MEANS
    assert chosen >= 18
    # Half of the variance is known by one that is no mean.
    y = rng.standard_normal(200)
    held = held_rows(np.column_stack([0.5 * y, np.zeros(200)]), y)
    held = replace(held, fold=held.fold % folds)
    mix = best_mix(held, kinds)
    assert mix.policy != MEANS
    assert_allclose(mix.shared[0], 1.0)
