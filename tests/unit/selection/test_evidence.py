"""The evidence of quadratic penalties against the normal density of the targets itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.linalg import block_diag
from scipy.optimize import minimize_scalar

from polytask import BayesianMultiTaskRegressor, IncompatibleError, MultiTaskRegressorIC
from polytask._estimator import regression
from polytask.data import TaskData
from polytask.linear.fitting import bound_penalty, solve
from polytask.linear.problem import Settings, build_problem
from polytask.penalties import L2, L21, Penalty, along_time, coupling, toward_mean
from polytask.selection import evidence as module
from polytask.selection.evidence import evidence

D, TASKS, ROWS = 3, 4, 8


def long_data(seed: int = 0) -> TaskData:
    rng = np.random.default_rng(seed)
    sizes = [5, 8, 11, 8]
    task = np.repeat(np.arange(TASKS), sizes)
    X = rng.standard_normal((len(task), D)) + 0.7 * task[:, None]
    W = rng.standard_normal((D, 1)) + 0.4 * rng.standard_normal((D, TASKS))
    y = np.einsum("ij,ji->i", X, W[:, task]) + rng.standard_normal(len(task)) + task
    return TaskData.from_long(X, y, task)


def target_data(gaps: bool) -> TaskData:
    rng = np.random.default_rng(1)
    X = rng.standard_normal((12, D))
    Y = X @ rng.standard_normal((D, TASKS)) + rng.standard_normal((12, TASKS)) + 2.0
    if gaps:
        Y[:2, 0], Y[5:9, 2] = np.nan, np.nan
    return TaskData.from_targets(X, Y)


def rows_of(data: TaskData) -> list[tuple[np.ndarray, np.ndarray]]:
    found = []
    for t in range(data.n_tasks):
        if data.y.ndim == 2:
            seen = ~np.isnan(data.y[:, t])
            found.append((data.X[seen], data.y[seen, t]))
        else:
            found.append((data.X[data.task_slice(t)], data.y[data.task_slice(t)]))
    return found


def density(data: TaskData, settings: Settings, A: np.ndarray) -> float:
    """Return the largest log density of the targets over the noise, all else integrated out."""
    rows = rows_of(data)
    counts = np.array([len(y) for _, y in rows], dtype=float)
    weight = counts / counts.mean() if settings.task_weight == "size" else np.ones(TASKS)
    a = np.repeat(weight / counts, counts.astype(int))
    y = np.concatenate([part for _, part in rows])
    # Coefficients task by task, then intercepts.
    Z, P = block_diag(*[X for X, _ in rows]), np.kron(A, np.eye(data.n_features))
    level = block_diag(*[np.ones((len(part), 1)) for _, part in rows])
    if settings.intercept == "shared":
        Z, P = np.column_stack([Z, level.sum(axis=1)]), block_diag(P, 0.0)
    elif settings.intercept is not None:
        kappa = settings.intercept_strength / counts.mean()
        pull = kappa * (np.eye(TASKS) - 1.0 / TASKS)
        pulled = settings.intercept == "toward_mean"
        Z, P = np.column_stack([Z, level]), block_diag(P, pull if pulled else 0 * pull)
    values, vectors = np.linalg.eigh(P)
    held = values > 1e-9 * values.max()
    fixed, random = Z @ vectors[:, ~held], Z @ vectors[:, held] / np.sqrt(values[held])
    unit = np.diag(1.0 / a) + random @ random.T

    def lacking(log_noise: float) -> float:
        K = np.exp(log_noise) * unit
        inverse = np.linalg.inv(K)
        total = len(y) * np.log(2 * np.pi) + np.linalg.slogdet(K)[1]
        left = y
        if fixed.shape[1]:
            inner = fixed.T @ inverse @ fixed
            total += np.linalg.slogdet(inner)[1] - fixed.shape[1] * np.log(2 * np.pi)
            left = y - fixed @ np.linalg.solve(inner, fixed.T @ inverse @ y)
        return float(0.5 * (total + left @ inverse @ left))

    # The flat prior is of the mean of intercepts, not of a direction of length one.
    volume = 0.5 * np.log(TASKS) if settings.intercept == "toward_mean" else 0.0
    return -minimize_scalar(lacking, bounds=(-12, 5), method="bounded").fun - volume


def found(data: TaskData, settings: Settings, penalty: Penalty) -> float:
    problem = build_problem(data, regression(data, "squared", "the test"), settings, "the test")
    bound = bound_penalty(problem, penalty)
    solution = solve(problem, bound, "auto", 1e-13, 100_000, None)
    return evidence(problem.datafit, bound, solution.objective, problem.counts).log


MEAN = np.eye(TASKS) - 1.0 / TASKS
STEPS = np.diff(np.eye(TASKS), axis=0)
RANDOM = np.random.default_rng(5).standard_normal((TASKS, TASKS))
Q = RANDOM @ RANDOM.T
PRIORS: dict[str, tuple[Penalty, np.ndarray]] = {
    "L2": (L2(0.3), 0.3 * np.eye(TASKS)),
    "near the mean": (toward_mean(2.0) + L2(0.1), 2.0 * MEAN + 0.1 * np.eye(TASKS)),
    "free mean": (toward_mean(0.5), 0.5 * MEAN),
    "along time": (along_time(0.4) + L2(0.2), 0.4 * STEPS.T @ STEPS + 0.2 * np.eye(TASKS)),
    "any coupling": (coupling(0.3, Q), 0.3 * Q),
}
DATA = {"long": long_data(), "targets": target_data(False), "gaps": target_data(True)}


@pytest.mark.parametrize("form", DATA)
@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize("intercept", ["task", "toward_mean", "shared", None])
def test_it_is_the_normal_density_of_the_targets(form: str, name: str, intercept: Any) -> None:
    penalty, A = PRIORS[name]
    for weight in ("size", "equal"):
        settings = Settings(weight, intercept, intercept_strength=4.0)
        want = density(DATA[form], settings, A)
        assert found(DATA[form], settings, penalty) == pytest.approx(want, abs=1e-5)


def test_intercepts_pulled_without_end_are_shared() -> None:
    data = DATA["long"]
    tied = found(data, Settings("size", "shared"), L2(0.3))
    pulled = found(data, Settings("size", "toward_mean", intercept_strength=1e9), L2(0.3))
    assert pulled == pytest.approx(tied, abs=1e-5)


def test_strength_that_the_data_are_drawn_from_is_found() -> None:
    rng = np.random.default_rng(0)
    X, task = rng.standard_normal((3000, 5)), np.repeat(np.arange(100), 30)
    mean = rng.standard_normal(5)
    W = mean[:, None] + 0.5 * rng.standard_normal((5, 100))
    y = np.einsum("ij,ji->i", X, W[:, task]) + 2.0 * rng.standard_normal(3000)
    model = MultiTaskRegressorIC(
        toward_mean(1.0) + L2(1e-6), criterion="evidence", alphas=np.geomspace(10, 0.01, 61),
        standardize=False, scale_targets=None, intercept="task", task_weight="size",
    ).fit(X, y, task=task)  # fmt: skip
    # Noise over prior variance, per row of a task: 4 / .25 / 30.
    assert model.alpha_ == pytest.approx(16 / 30, rel=0.25)
    assert model.noise_variance_[0] == pytest.approx(4.0, rel=0.1)
    # The learned prior maximises the same likelihood, with a variance of its own for intercepts.
    learned = BayesianMultiTaskRegressor("scalar", mean_prior="flat").fit(X, y, task=task)
    # Its prior is of scaled targets, its noise a standard deviation in their units.
    variance = learned.prior_.covariance[1, 1] * np.var(y)
    ratio = learned.noise_[0] ** 2 / variance / 30
    assert model.alpha_ == pytest.approx(ratio, rel=0.15)


def test_all_strengths_of_the_search_agree_with_each_other() -> None:
    X, Y = DATA["gaps"].X, DATA["gaps"].y
    model = MultiTaskRegressorIC(criterion="evidence", alphas=9, task_weight="size").fit(X, Y)
    frame = model.criteria_frame()
    assert len(frame) == 27
    k = int(frame["log_evidence"].idxmax())
    assert frame["alpha"][k] == model.alpha_
    np.testing.assert_allclose(model.criterion_, -2 * frame["log_evidence"])


def test_rows_without_moments_say_the_same() -> None:
    # More coefficients than twice the labels: the data term stays on rows.
    rng = np.random.default_rng(0)
    X, task = rng.standard_normal((24, 20)), np.repeat(np.arange(4), 6)
    y = X[:, 0] + rng.standard_normal(24)
    data = TaskData.from_long(X, y, task)
    model = MultiTaskRegressorIC(
        L2(), criterion="evidence", alphas=[0.7], standardize=False, scale_targets=None,
        intercept="task", task_weight="size",
    ).fit(data)  # fmt: skip
    want = density(data, Settings("size", "task"), 0.7 * np.eye(4))
    assert model.criteria_["log_evidence"][0] == pytest.approx(want, abs=1e-4)


def test_what_is_no_normal_prior_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y = DATA["targets"].X, DATA["targets"].y
    with pytest.raises(IncompatibleError, match="quadratic penalties"):
        MultiTaskRegressorIC(L21(), criterion="evidence").fit(X, Y)
    with pytest.raises(IncompatibleError, match="numbers of directions free"):
        MultiTaskRegressorIC([L2(), toward_mean()], criterion="evidence").fit(X, Y)
    with pytest.raises(IncompatibleError, match="squared loss"):
        MultiTaskRegressorIC(L2(), criterion="evidence", loss="poisson").fit(X, np.abs(Y))
    monkeypatch.setattr(module, "_LARGEST", 5)
    with pytest.raises(IncompatibleError, match="a matrix of"):
        MultiTaskRegressorIC(along_time() + L2(), criterion="evidence").fit(X, DATA["gaps"].y)


@pytest.mark.parametrize("penalty", [toward_mean(), along_time()])
@pytest.mark.parametrize("intercept", ["task", "toward_mean"])
@pytest.mark.parametrize("seed", range(3))
def test_a_direction_that_nothing_holds_is_refused(
    seed: int, intercept: str, penalty: Penalty
) -> None:
    # Rounding of either sign must not pass for a direction that is told.
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((30, 3 + seed)) * 10.0 ** rng.uniform(-2, 2, 3 + seed)
    Y, task = rng.standard_normal((30, 4)), np.repeat(np.arange(3), 10)
    model = MultiTaskRegressorIC(
        penalty, criterion="evidence", alphas=10, intercept=intercept, task_weight="size"
    )
    model.fit(X, Y)
    model.fit(X, Y[:, 0], task=task)
    wide = np.column_stack([X, X @ rng.standard_normal(3 + seed)])
    with pytest.raises(IncompatibleError, match="neither the data nor the penalty"):
        model.fit(wide, Y)
    with pytest.raises(IncompatibleError, match="neither the data nor the penalty"):
        model.fit(wide, Y[:, 0], task=task)
