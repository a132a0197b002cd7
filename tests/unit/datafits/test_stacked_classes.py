"""Small tasks of several classes joined in one block: the same as one block per task."""

from __future__ import annotations

import numpy as np
import pytest

from polytask import MultiTaskClassifier
from polytask.datafits import (
    ClassesBlock,
    Features,
    Samples,
    StackedClasses,
    TiedIntercepts,
    samples,
)
from polytask.linear import datafit as _parts
from polytask.losses import Multinomial
from polytask.penalties import L2, L21
from polytask.testing import check_datafit


def classes_of_tasks() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X, task = rng.standard_normal((90, 4)), np.repeat([0, 1, 2], 30)
    y = np.digitize(X[:, 0] + 0.3 * task + rng.standard_normal(90), [-0.5, 0.5])
    y[task == 2] = np.minimum(y[task == 2], 1)  # one task has two of the three classes
    return X, y, task


@pytest.mark.parametrize("intercept", ["task", "toward_mean", "shared", None])
@pytest.mark.parametrize("penalty", [L2(0.1), L21(0.05)])
def test_one_block_or_one_per_task(
    monkeypatch: pytest.MonkeyPatch, intercept: str | None, penalty: L2 | L21
) -> None:
    X, y, task = classes_of_tasks()
    model = MultiTaskClassifier(penalty, intercept=intercept, tol=1e-11)
    joint = model.fit(X, y, task=task).decision_function(X, task=task)
    monkeypatch.setattr(_parts, "_SMALL_TASK", 0)
    apart = model.fit(X, y, task=task).decision_function(X, task=task)
    np.testing.assert_allclose(joint, apart, rtol=1e-6, atol=1e-6)


def three_tasks() -> Samples:
    """Return three classes of three tasks, the last of which has no rows."""
    rng = np.random.default_rng(0)
    offsets, table = np.array([0, 9, 20, 20]), np.array([[0, 1, 2], [5, 4, 3], [6, 7, 8]])
    design = StackedClasses(Features(rng.standard_normal((20, 3))), offsets, table)
    y = rng.integers(0, 3, 20).astype(float)
    block = ClassesBlock(design, Multinomial(), y, rng.uniform(0.2, 1.0, 20) / 20)
    return Samples((block,), TiedIntercepts(np.tile([0, 1, 2], 3)), 3, 9)


def test_laws() -> None:
    check_datafit(three_tasks())


def test_products_with_the_hessian_of_each_task_and_on_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    W, V = np.random.default_rng(1).standard_normal((2, 3, 9))
    by_task = three_tasks().evaluate(W).hessian(V)
    monkeypatch.setattr(samples, "_FEW_OF_CLASSES", 8)
    on_rows = three_tasks().evaluate(W).hessian(V)
    np.testing.assert_allclose(by_task, on_rows, atol=1e-12 * np.abs(on_rows).max())
    assert (by_task != on_rows).any()  # by another way


def test_adjoint_is_the_transpose() -> None:
    rng = np.random.default_rng(1)
    offsets, table = np.array([0, 5, 12]), np.array([[2, 0], [1, 3]])
    design = StackedClasses(Features(rng.standard_normal((12, 4))), offsets, table)
    W, U = rng.standard_normal((4, 4)), rng.standard_normal((12, 2))
    forward = np.sum(design.forward(W) * U)
    backward = np.sum(design.adjoint(U) * W[:, design.columns])
    assert forward == pytest.approx(backward)
