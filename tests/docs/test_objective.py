"""The conversion table of docs/objective.md: each line of code agrees with its formula to 1e-6."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from docs import _reference as ref
from scipy.optimize import newton
from sklearn import linear_model

from polytask import MultiTaskClassifier, MultiTaskRegressor
from polytask.penalties import (
    L1,
    L2,
    L21,
    AlternatingStructure,
    Clustered,
    ElasticNet,
    TraceNorm,
    coupling,
    toward_mean,
)

PAGE = Path(__file__).resolve().parents[2] / "docs" / "objective.md"
d, T = 4, 3


class Row(NamedTuple):
    """One row of the table."""

    name: str
    formula: str
    code: str


def _table() -> list[Row]:
    text = PAGE.read_text(encoding="utf-8").partition("| Elsewhere |")[2].partition("\n\n")[0]
    lines = text.splitlines()[2:]
    return [Row(*[cell.strip() for cell in line.strip("|").split(" | ")]) for line in lines]


class Example(NamedTuple):
    """The data of one kind of row, as `fit` takes them and as lists of (X_t, y_t)."""

    fit: dict[str, Any]
    rows: ref.Rows

    @property
    def counts(self) -> list[int]:
        return [len(y) for _, y in self.rows]


def _rows(seed: int, sizes: list[int], binary: bool = False) -> ref.Rows:
    rng = np.random.default_rng(seed)
    rows = []
    for n in sizes:
        X = rng.standard_normal((n, d)) + 0.3
        y = X @ rng.uniform(0.6, 1.6, d) + 1.5 * rng.standard_normal(n) + 0.5
        rows.append((X, (y > 1.5).astype(float) if binary else y))
    return rows


def _one_task(binary: bool = False) -> Example:
    ((X, y),) = rows = _rows(1, [40], binary)
    return Example({"X": X, "y": y}, rows)


def _long(binary: bool = False) -> Example:
    rows = _rows(2, [15, 22, 32], binary)
    X, y = (np.concatenate(part) for part in zip(*rows, strict=True))
    return Example({"X": X, "y": y, "task": np.repeat(np.arange(T), [15, 22, 32])}, rows)


def _targets() -> Example:
    rng = np.random.default_rng(3)
    X = rng.standard_normal((40, d)) + 0.3
    Y = X @ rng.uniform(0.6, 1.6, (d, T)) + rng.standard_normal((40, T)) + 0.5
    return Example({"X": X, "y": Y}, [(X, y) for y in Y.T])


def _several_classes() -> Example:
    ((X, y),) = _rows(4, [60])
    labels = np.digitize(y, [0.0, 2.5])
    return Example({"X": X, "y": labels}, [(X, labels)])


P = SimpleNamespace(
    alpha=0.1, r=0.4, C=0.7, l1=0.02, l2=0.08, rho1=1.3, rho2=0.9, rho_L2=0.6,
    k=2, Lam1=0.11, Lam2=0.07, lam=1.7, lam1=2.1, lam2=1.2,
    R=np.array([[1.0, 0.0], [-1.0, 1.0], [0.0, -1.0]]), G=np.array([[1.0], [-0.5], [-0.5]]),
)  # fmt: skip
P.q = P.lam1 / (P.lam1 + P.lam2)


def _of_sklearn(estimator: Any) -> Callable[[Example], tuple[Any, Any]]:
    def reference(example: Example) -> tuple[Any, Any]:
        fitted = estimator.fit(example.fit["X"], example.fit["y"])
        return np.atleast_2d(fitted.coef_), np.atleast_1d(fitted.intercept_)

    return reference


def _of_formula(
    loss: Callable[..., ref.Term],
    factor: Callable[[list[int], int], float],
    *terms: ref.Term,
    intercept: bool = True,
) -> Callable[[Example], tuple[Any, Any]]:
    """Minimise the sum over tasks of factor(counts, t) * summed loss, plus terms."""

    def reference(example: Example) -> tuple[Any, Any]:
        tasks = len(example.rows)
        factors = [factor(example.counts, t) for t in range(tasks)]
        return ref.minimum([loss(example.rows, factors), *terms], d, tasks, intercept)

    return reference


def _mean_regularised(example: Example) -> tuple[Any, Any]:
    """Solve for w_0 and all v_t at once, as one least squares problem."""
    blocks, targets = [], []
    for t, (X, y) in enumerate(example.rows):
        blocks.append(np.hstack([X, *[X if s == t else 0 * X for s in range(T)]]))
        targets.append(y)
    strengths = [P.lam2] * d + [P.lam1 / T] * (d * T)
    design = np.vstack([*blocks, np.diag(np.sqrt(strengths))])
    y = np.concatenate([*targets, np.zeros(len(strengths))])
    solution = np.linalg.lstsq(design, y, rcond=None)[0].reshape(T + 1, d)
    return solution[0] + solution[1:], np.zeros(T)


def _constrained(
    penalty: Callable[[float], ref.Term], norm: Callable[[Any], float], bound: float
) -> Callable[[Example], tuple[Any, Any]]:
    """Find the multiplier of the constraint: the strength at which the norm is the bound."""

    def reference(example: Example) -> tuple[Any, Any]:
        def at(multiplier: float) -> tuple[Any, Any]:
            return _of_formula(ref.squared, _half_mean, penalty(multiplier))(example)

        def excess(multiplier: float) -> float:
            return norm(at(multiplier)[0].T) - bound

        # From weak ones, since what is not smooth vanishes from some strength on.
        return at(newton(excess, 1e-3, x1=2e-3, tol=1e-13))

    return reference


def _whole(counts: list[int], t: int) -> float:
    return 1.0


def _half(counts: list[int], t: int) -> float:
    return 0.5


def _mean(counts: list[int], t: int) -> float:
    return 1.0 / counts[t]


def _half_mean(counts: list[int], t: int) -> float:
    return 0.5 / counts[t]


def _keras(counts: list[int], t: int) -> float:
    return 1.0 / (counts[t] * len(counts))


_LOGISTIC = {"C": P.C, "tol": 1e-12, "max_iter": 10000}
_TIGHT = {"tol": 1e-14, "max_iter": 100000}
_CENTRE = np.eye(T) - np.ones((T, T)) / T

# The bounds of the constrained forms.
TAU = {"squares": 3.0, "rows": 5.0, "singular": 4.6}

CASES: dict[str, tuple[Example, Callable[[Example], tuple[Any, Any]]]] = {
    "scikit-learn `Ridge(alpha)`": (_one_task(), _of_sklearn(linear_model.Ridge(P.alpha))),
    "scikit-learn `Lasso(alpha)`": (
        _one_task(),
        _of_sklearn(linear_model.Lasso(P.alpha, **_TIGHT)),
    ),
    "scikit-learn `ElasticNet(alpha, l1_ratio=r)`": (
        _one_task(),
        _of_sklearn(linear_model.ElasticNet(P.alpha, l1_ratio=P.r, **_TIGHT)),
    ),
    "scikit-learn `MultiTaskLasso(alpha)`": (
        _targets(),
        _of_sklearn(linear_model.MultiTaskLasso(P.alpha, **_TIGHT)),
    ),
    "scikit-learn `MultiTaskElasticNet(alpha, l1_ratio=r)`": (
        _targets(),
        _of_sklearn(linear_model.MultiTaskElasticNet(P.alpha, l1_ratio=P.r, **_TIGHT)),
    ),
    "scikit-learn `LogisticRegression(C=C)`, two classes": (
        _one_task(binary=True),
        _of_sklearn(linear_model.LogisticRegression(**_LOGISTIC)),
    ),
    "scikit-learn `LogisticRegression(C=C)`, more classes": (
        _several_classes(),
        _of_sklearn(linear_model.LogisticRegression(**_LOGISTIC)),
    ),
    'Keras `Dense(T)`, loss `"mse"`, `l1(l1)`': (
        _targets(),
        _of_formula(ref.squared, _keras, ref.l1(P.l1)),
    ),
    'Keras `Dense(T)`, loss `"mse"`, `l2(l2)`': (
        _targets(),
        _of_formula(ref.squared, _keras, ref.square(P.l2)),
    ),
    'Keras `Dense(T)`, loss `"mse"`, `l1_l2(l1, l2)`': (
        _targets(),
        _of_formula(ref.squared, _keras, ref.l1(P.l1), ref.square(P.l2)),
    ),
    'Keras `Dense(1)`, loss `"binary_crossentropy"`, `l1_l2(l1, l2)`': (
        _one_task(binary=True),
        _of_formula(ref.logistic, _mean, ref.l1(P.l1), ref.square(P.l2)),
    ),
    "MALSAR `Least_Lasso`": (
        _long(),
        _of_formula(ref.squared, _half, ref.l1(P.rho1), ref.square(P.rho_L2), intercept=False),
    ),
    "MALSAR `Least_L21`": (
        _long(),
        _of_formula(ref.squared, _half, ref.l21(P.rho1), ref.square(P.rho_L2), intercept=False),
    ),
    "MALSAR `Least_Trace`": (
        _long(),
        _of_formula(ref.squared, _half, ref.trace(P.rho1), intercept=False),
    ),
    "MALSAR `Least_SRMTL`": (
        _long(),
        _of_formula(ref.squared, _half, ref.square(P.rho1, P.R), ref.l1(P.rho2), intercept=False),
    ),
    "MALSAR `Least_SRMTL`, `R = eye(T) - ones(T) / T`": (
        _long(),
        _of_formula(
            ref.squared, _half, ref.square(P.rho1, _CENTRE), ref.l1(P.rho2), intercept=False
        ),
    ),
    "MALSAR `Least_CMTL`": (
        _long(),
        _of_formula(
            ref.squared, _half, ref.clustered(P.rho1, P.rho2 / P.rho1, P.k), intercept=False
        ),
    ),
    "MALSAR `Least_CASO`": (
        _long(),
        _of_formula(
            ref.squared, _half, ref.shared_subspace(P.rho1, P.rho2 / P.rho1, P.k), intercept=False
        ),
    ),
    "MALSAR `Logistic_L21`": (
        _long(binary=True),
        _of_formula(ref.logistic, _mean, ref.l21(P.rho1 / 20), ref.square(P.rho_L2 / 20)),
    ),
    'RMTL, regression, `"Lasso"`': (
        _long(),
        _of_formula(ref.squared, _half_mean, ref.l1(P.Lam1), ref.square(P.Lam2)),
    ),
    'RMTL, regression, `"L21"`': (
        _long(),
        _of_formula(ref.squared, _half_mean, ref.l21(P.Lam1), ref.square(P.Lam2)),
    ),
    'RMTL, regression, `"Trace"`': (
        _long(),
        _of_formula(ref.squared, _half_mean, ref.trace(P.Lam1), ref.square(P.Lam2)),
    ),
    'RMTL, regression, `"Graph"`': (
        _long(),
        _of_formula(ref.squared, _half_mean, ref.square(P.Lam1, P.G), ref.square(P.Lam2)),
    ),
    "Textbook, squared loss": (
        _long(),
        _of_formula(ref.squared, _whole, ref.square(P.lam)),
    ),
    "Textbook, half the squared loss": (
        _long(),
        _of_formula(ref.squared, _half, ref.square(P.lam / 2)),
    ),
    "Textbook, log loss": (
        _long(binary=True),
        _of_formula(ref.logistic, _whole, ref.square(P.lam)),
    ),
    r"Textbook, squares bounded by $\tau$": (
        _targets(),
        _constrained(lambda c: ref.square(c / 2), np.linalg.norm, TAU["squares"]),
    ),
    r"Textbook, rows bounded by $\tau$": (
        _targets(),
        _constrained(ref.l21, lambda W: np.linalg.norm(W, axis=1).sum(), TAU["rows"]),
    ),
    r"Textbook, singular values bounded by $\tau$": (
        _targets(),
        _constrained(ref.trace, lambda W: np.linalg.norm(W, "nuc"), TAU["singular"]),
    ),
    "Evgeniou and Pontil (2004), $w_t = w_0 + v_t$": (_long(), _mean_regularised),
}

# A logistic loss averaged over rows wants weaker penalties than one that is summed.
WEAKER = {"MALSAR `Logistic_L21`": 20}


def _names(row: Row, example: Example) -> dict[str, Any]:
    parts = (MultiTaskClassifier, MultiTaskRegressor, L1, L2, L21, ElasticNet, TraceNorm)
    parts += (AlternatingStructure, Clustered, coupling, toward_mean)
    names = {part.__name__: part for part in parts} | vars(P)
    for parameter in ("rho1", "rho_L2"):
        names[parameter] /= WEAKER.get(row.name, 1)
    names["tau"] = TAU.get(row.name.removeprefix("Textbook, ").split()[0])
    return names | {"n": sum(example.counts), "n_mean": np.mean(example.counts), "T": T}


def _built(row: Row, example: Example) -> Any:
    (code,) = re.findall(r"^`([^`]+)`", row.code)
    estimator = eval(code, _names(row, example))
    return estimator.set_params(tol=1e-13, max_iter=100000)


def test_every_row_has_a_test_and_every_test_a_row():
    assert [row.name for row in _table()] == list(CASES)


@pytest.mark.parametrize("row", _table(), ids=lambda row: row.name)
def test_code_minimises_the_formula(row):
    example, reference = CASES[row.name]
    model = _built(row, example).fit(**example.fit)
    coef, intercept = reference(example)
    if row.name.endswith("more classes"):
        # Only differences between the intercepts of classes matter.
        intercept, ours = intercept - intercept.mean(), model.intercept_ - model.intercept_.mean()
    else:
        ours = model.intercept_
    np.testing.assert_allclose(model.coef_, coef, atol=1e-6)
    np.testing.assert_allclose(ours, intercept, atol=1e-6)


def test_size_and_equal_task_weights_agree_on_one_design():
    example = _targets()
    size, equal = (
        MultiTaskRegressor(L21(0.1), task_weight=weight, tol=1e-12).fit(**example.fit)
        for weight in ("size", "equal")
    )
    np.testing.assert_allclose(size.coef_, equal.coef_, atol=1e-7)


@pytest.mark.parametrize(
    ("settings", "strength"),
    [({}, 1.0), ({"intercept_strength": 7.0}, 7.0), ({"intercept": "task"}, 0.0)],
)
def test_objective_of_the_solution_is_the_formula(settings, strength):
    example = _long()
    X, y, task = example.fit["X"], example.fit["y"], example.fit["task"]
    model = MultiTaskRegressor(L21(0.1), **settings).fit(X, y, task=task)
    residual = y - model.predict(X, task=task)
    n_mean = np.mean(example.counts)
    penalty = 0.1 * np.linalg.norm(model.coef_, axis=0).sum()
    level = model.intercept_ + model.coef_ @ X.mean(axis=0)
    away = level - level.mean()
    pull = strength / n_mean / 2 * away @ away
    assert np.abs(away).max() > 0.01
    value = 0.5 * residual @ residual / n_mean + penalty + pull
    assert model.solution_.objective == pytest.approx(value, rel=1e-12)
