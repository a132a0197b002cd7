"""A penalty from elsewhere takes part everywhere that its capabilities allow.

The exclusive lasso, alpha / 2 * sum of (sum |w|)^2 over the rows or columns w of W, is written as
CONTRIBUTING.md says; no part of the library names it. Answers are compared with those of L-BFGS-B
on the positive and negative parts of W, for which the penalty is a smooth function.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from scipy.optimize import minimize

from polytask import MultiTaskClassifier, MultiTaskRegressor, MultiTaskRegressorCV
from polytask import solvers as solver_names
from polytask.exceptions import IncompatibleError
from polytask.penalties import (
    L1,
    L2,
    L21,
    MCP,
    CompiledRows,
    Conjugate,
    ElasticNet,
    LatentTasks,
    OutlierTasks,
    Parts,
    Proximable,
    Quadratic,
    RowKernel,
    RowSeparable,
    TraceNorm,
    bounded,
    positive,
    toward_mean,
    weighted,
)
from polytask.penalties.row_kernels import row_prox
from polytask.penalties.terms import ALPHA, FRACTION, AbsoluteTerm, RelativeTerm, Unbound
from polytask.selection import regularization_path
from polytask.selection.ablation import ablations
from polytask.solvers import Solver, Splitting, Status
from polytask.testing import check_penalty


def soft(rows, amount):
    return np.sign(rows) * np.maximum(np.abs(rows) - amount, 0.0)


def exclusive_prox(rows, amount):
    """Return the prox of amount / 2 * (sum |row|)^2 of every row, by sorting."""
    # The threshold is amount times the sum that it leaves, the largest over prefixes.
    amount = np.reshape(np.asarray(amount, dtype=rows.dtype), (-1, 1))
    sums = np.cumsum(-np.sort(-np.abs(rows), axis=1), axis=1)
    counts = np.arange(1, rows.shape[1] + 1, dtype=rows.dtype)
    return soft(rows, np.max(amount * sums / (1 + amount * counts), axis=1, keepdims=True))


@dataclass(frozen=True, eq=False, repr=False)
class ExclusiveRows(AbsoluteTerm, Unbound, RowSeparable, Conjugate):
    """alpha / 2 * sum over features of (sum over tasks of |W_jt|)^2: tasks compete."""

    label = "ExclusiveRows"
    ignores_signs = True

    alpha: float | None = field(default=None, metadata=ALPHA)

    def value(self, W):
        return 0.5 * self.weight * float(np.sum(np.sum(np.abs(W), axis=1) ** 2))

    def prox_rows(self, rows, index, step):
        return rows if 0 in rows.shape else exclusive_prox(rows, step * self.weight)

    def conjugate(self, Z):
        if self.weight == 0:
            return float("inf") if Z.any() else 0.0
        return 0.5 * float(np.sum(np.max(np.abs(Z), axis=1, initial=0.0) ** 2)) / self.weight

    def feasible_scale(self, Z):
        return float("inf") if self.weight > 0 or not Z.any() else 0.0


@row_prox
def exclude_row(row, step, parameters):
    amount = step * parameters[0]
    largest = np.sort(np.abs(row))
    total, threshold = 0.0, 0.0
    for k in range(len(row)):
        total += largest[len(row) - 1 - k]
        threshold = max(threshold, amount * total / (1.0 + amount * (k + 1)))
    for t in range(len(row)):
        row[t] = np.sign(row[t]) * max(abs(row[t]) - threshold, 0.0)


@dataclass(frozen=True, eq=False, repr=False)
class CompiledExclusiveRows(ExclusiveRows, CompiledRows):
    """The same with its prox as machine code."""

    label = "CompiledExclusiveRows"

    def row_kernel(self):
        return RowKernel(exclude_row, np.array([self.weight]))


@dataclass(frozen=True, eq=False, repr=False)
class ExclusiveColumns(AbsoluteTerm, Unbound, Conjugate):
    """alpha / 2 * sum over tasks of (sum over features of |W_jt|)^2: features compete."""

    label = "ExclusiveColumns"

    alpha: float | None = field(default=None, metadata=ALPHA)

    def value(self, W):
        return ExclusiveRows(self.weight).value(W.T)

    def prox(self, W, step):
        return ExclusiveRows(self.weight).prox(W.T, step).T

    def conjugate(self, Z):
        return ExclusiveRows(self.weight).conjugate(Z.T)

    def feasible_scale(self, Z):
        return ExclusiveRows(self.weight).feasible_scale(Z)


ROWS = [ExclusiveRows, CompiledExclusiveRows]
KINDS = [*ROWS, ExclusiveColumns]

RNG = np.random.default_rng(0)
X = RNG.standard_normal((50, 6))
Y = X @ (RNG.standard_normal((6, 4)) * (RNG.random((6, 4)) < 0.6)) + 0.3 * RNG.standard_normal(
    (50, 4)
)


def square_of_rows(W, weights):
    """Return half the weighted sum of the squared sums of rows, and its gradient."""
    sums = W.sum(axis=1)
    finite = np.where(np.isinf(weights), 0.0, weights)
    return 0.5 * finite @ sums**2, np.repeat((finite * sums)[:, None], W.shape[1], axis=1)


def least(alpha, columns=False, weights=None, lower=-np.inf, smooth=None):
    """Return the least value of the squared loss plus the penalty, found by L-BFGS-B."""
    Xc, Yc = X - X.mean(axis=0), Y - Y.mean(axis=0)
    shape, weights = (6, 4), np.ones(4 if columns else 6) if weights is None else weights

    def value(v):
        P, N = v.reshape(2, *shape)
        W = P - N
        residual = Xc @ W - Yc
        slope = Xc.T @ residual / len(X)
        cost, pull = square_of_rows((P + N).T if columns else P + N, weights)
        total = 0.5 * np.sum(residual**2) / len(X) + alpha * cost
        pull = alpha * (pull.T if columns else pull)
        if smooth is not None:
            more, curve = smooth(W)
            total, slope = total + more, slope + curve
        return total, np.concatenate([(slope + pull).ravel(), (pull - slope).ravel()])

    out = np.broadcast_to(np.isinf(weights)[:, None], shape) if not columns else np.zeros(shape)
    positive_part = [(0, 0) if gone else (0, None) for gone in np.ravel(out)]
    negative_part = [(0, 0) if gone or lower == 0 else (0, None) for gone in np.ravel(out)]
    options = {"maxiter": 20000, "maxfun": 40000, "ftol": 1e-15, "gtol": 1e-11}
    found = minimize(
        value,
        np.full(48, 0.1),
        jac=True,
        method="L-BFGS-B",
        bounds=positive_part + negative_part,
        options=options,
    )
    return found.fun


def fitted(penalty, **settings):
    model = MultiTaskRegressor(penalty, **({"tol": 1e-9} | settings)).fit(X, Y)
    assert model.solution_.status is Status.CONVERGED
    assert model.solution_.certificate.gap is not None
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_it_obeys_the_laws(kind):
    check_penalty(kind(0.6))


@pytest.mark.parametrize("alpha", [0.01, 0.2, 3.0])
@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_is_certified_and_right(kind, alpha):
    model = fitted(kind(alpha))
    wanted = least(alpha, columns=kind is ExclusiveColumns)
    assert model.solution_.objective == pytest.approx(wanted, rel=1e-7)
    assert model.coef_.any()
    assert alpha < 0.1 or not model.coef_.all()


def solvers():
    made = (getattr(solver_names, name) for name in solver_names.__all__)
    return [s() for s in made if isinstance(s, type) and issubclass(s, Solver) and s is not Solver]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", ["squared", "huber"])
def test_every_solver_that_its_capabilities_allow_has_the_same_answer(kind, loss):
    objective = fitted(kind(0.2), loss=loss).solution_.objective
    taken = []
    for solver in solvers():
        try:
            found = MultiTaskRegressor(kind(0.2), loss=loss, solver=solver, tol=1e-8).fit(X, Y)
        except IncompatibleError:
            continue
        assert found.solution_.objective == pytest.approx(objective, rel=1e-6), solver
        taken.append(type(solver).__name__)
    assert "AcceleratedGradient" in taken
    assert ("BlockDescent" in taken) is (kind is CompiledExclusiveRows and loss == "squared")
    assert ("ExtrapolatedGradient" in taken) is (kind is ExclusiveColumns and loss == "squared")


@pytest.mark.parametrize("kind", ROWS)
def test_weights_and_signs_of_rows(kind):
    weights = np.array([2.0, 1.0, 0.5, np.inf, 1.0, 3.0])
    heavy = fitted(weighted(kind(0.2), weights))
    assert heavy.solution_.objective == pytest.approx(least(0.2, weights=weights), rel=1e-7)
    assert not heavy.coef_[:, 3].any()
    signed = fitted(positive(kind(0.2)))
    assert signed.solution_.objective == pytest.approx(least(0.2, lower=0), rel=1e-7)
    assert (signed.coef_ >= 0).all()
    both = fitted(positive(weighted(kind(0.2), weights)))
    wanted = least(0.2, weights=weights, lower=0)
    assert both.solution_.objective == pytest.approx(wanted, rel=1e-7)
    free = fitted(weighted(kind(0.2), [0.0, 1, 1, 1, 1, 1]))
    wanted = least(0.2, weights=np.array([0.0, 1, 1, 1, 1, 1]))
    assert free.solution_.objective == pytest.approx(wanted, rel=1e-7)
    with pytest.raises(IncompatibleError, match=r"bounds other than 0.*\+ bounded\(L1\(0\)"):
        bounded(kind(0.2), upper=1.0)
    beside = fitted(kind(0.2) + bounded(L1(0), upper=0.3), tol=1e-8)
    assert beside.coef_.max() == pytest.approx(0.3)


def test_columns_take_no_weights_of_rows():
    with pytest.raises(IncompatibleError, match="weight for every feature"):
        weighted(ExclusiveColumns(0.2), np.ones(6))
    with pytest.raises(IncompatibleError, match="cannot have bounds"):
        positive(ExclusiveColumns(0.2))


def ridge(W):
    return 0.15 * np.sum(W**2), 0.3 * W


def about_mean(W):
    away = W - W.mean(axis=1, keepdims=True)
    return 0.25 * np.sum(away**2), 0.5 * away


def near_row_norms(W):
    size = np.sqrt(np.sum(W**2, axis=1, keepdims=True) + 1e-14)
    return 0.1 * size.sum(), 0.1 * W / size


def near_singular_values(W):
    left, values, right = np.linalg.svd(W, full_matrices=False)
    size = np.sqrt(values**2 + 1e-14)
    return 0.1 * size.sum(), 0.1 * (left * (values / size)) @ right


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("more", "smooth"),
    [
        (L2(0.3), ridge),
        (toward_mean(0.5), about_mean),
        (L21(0.1), near_row_norms),
        (TraceNorm(0.1), near_singular_values),
    ],
    ids=["L2", "toward_mean", "L21", "TraceNorm"],
)
def test_sums_with_other_penalties(kind, more, smooth):
    model = fitted(kind(0.2) + more, tol=1e-8)
    wanted = least(0.2, columns=kind is ExclusiveColumns, smooth=smooth)
    assert model.solution_.objective == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_shifts_and_concave_companions(kind):
    W0 = RNG.standard_normal((6, 4))
    moved = fitted(kind(0.2).shifted(W0))
    other = MultiTaskRegressor(kind(0.2), tol=1e-9).fit(X, Y - X @ W0)
    np.testing.assert_allclose(moved.coef_ - W0.T, other.coef_, atol=1e-4)
    concave = MultiTaskRegressor(kind(0.05) + MCP(0.1)).fit(X, Y)
    assert concave.solution_.status is Status.STATIONARY


@pytest.mark.parametrize("kind", KINDS)
def test_parts(kind):
    model = fitted(Parts([L21(0.2), kind(0.1)]), tol=1e-6)
    np.testing.assert_allclose(sum(model.coef_parts_), model.coef_, atol=1e-8)
    # A division never costs more than all in one part.
    alone = fitted(kind(0.1)).solution_.objective
    assert model.solution_.objective <= alone * (1 + 1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_searches_and_paths(kind):
    search = MultiTaskRegressorCV(kind(), alphas=5, cv=3).fit(X, Y)
    assert search.score(X, Y) > 0.5
    assert isinstance(search.best_penalty_, kind)
    path = regularization_path(search, X, Y)
    sizes = np.abs(path.coef).sum(axis=tuple(range(1, path.coef.ndim)))
    assert (np.diff(sizes) > 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_classes(kind):
    model = MultiTaskClassifier(kind(0.05)).fit(X, Y > 0)
    assert model.solution_.status is Status.CONVERGED
    assert model.score(X, Y > 0) > 0.8


@dataclass(frozen=True, eq=False, repr=False)
class TaskSizes(RelativeTerm, Unbound, Conjugate):
    """alpha * sum over tasks of ||w_t||, and of entries: it says that tasks vanish as a whole."""

    label = "TaskSizes"
    selects_tasks = True

    alpha: float | None = field(default=None, metadata=ALPHA)
    fraction: float | None = field(default=None, kw_only=True, metadata=FRACTION)

    def value(self, W):
        return self.weight * float(np.linalg.norm(W, axis=0).sum())

    def prox(self, W, step):
        sizes = np.maximum(np.linalg.norm(W, axis=0), 1e-30)
        return W * np.maximum(1 - float(step) * self.weight / sizes, 0.0)

    def null_strength(self, gradient):
        return float(np.linalg.norm(gradient, axis=0).max(initial=0.0))

    def conjugate(self, Z):
        return 0.0 if self.null_strength(Z) <= self.weight * (1 + 1e-12) else float("inf")

    def feasible_scale(self, Z):
        size = self.null_strength(Z)
        return self.weight / size if size > 0 else float("inf")

    def without_terms(self):
        return {"TaskSizes": L21(1.0)}


def test_what_it_says_of_itself_is_asked():
    check_penalty(TaskSizes(0.6))
    W = np.outer(np.ones(6), [1.0, 1.2, 0.9, 1.1])
    W[:3, 3] *= -1
    odd = X @ W + 0.1 * RNG.standard_normal((50, 4))
    models = [
        MultiTaskRegressor(Parts([TraceNorm(0.6), kind(0.5)]), tol=1e-8).fit(X, odd)
        for kind in (TaskSizes, OutlierTasks)
    ]
    assert list(models[0].outlier_tasks_) == [3]
    assert list(models[0].outlier_tasks_) == list(models[1].outlier_tasks_)
    assert ablations(TaskSizes()) == {"TaskSizes": [L21(1.0)]}


@dataclass(frozen=True, eq=False, repr=False)
class OwnRidge(AbsoluteTerm, Unbound, Quadratic, Conjugate):
    """alpha / 2 * ||W||_F^2, which says so by its shares."""

    label = "OwnRidge"
    shares = (0.0, 0.0, 1.0)

    alpha: float | None = field(default=None, metadata=ALPHA)

    def value(self, W):
        return 0.5 * self.weight * float(np.sum(W * W))

    def gradient(self, W):
        return self.weight * W

    apply = gradient

    def curvature(self):
        return self.weight

    def diagonal(self, n_columns):
        return np.full(n_columns, self.weight)

    def prox(self, W, step):
        return W / (1 + step * self.weight)

    def conjugate(self, Z):
        return 0.5 * float(np.sum(Z * Z)) / self.weight

    def feasible_scale(self, Z):
        return float("inf")


@pytest.mark.parametrize("more", [L21(0.2), TraceNorm(0.2), toward_mean(0.3)], ids=repr)
def test_a_ridge_from_elsewhere_is_one(more):
    own, ours = (fitted(ridge + more).solution_ for ridge in (OwnRidge(0.3), L2(0.3)))
    assert own.objective == pytest.approx(ours.objective, rel=1e-12)
    assert own.certificate.gap == pytest.approx(ours.certificate.gap, abs=1e-9)


def test_what_it_claims():
    assert isinstance(ExclusiveColumns(), Proximable)
    assert not isinstance(ExclusiveColumns(), RowSeparable)


@dataclass(frozen=True, eq=False, repr=False)
class ProxAlone(AbsoluteTerm, Unbound, RowSeparable):
    """The exclusive lasso of somebody who has no conjugate."""

    label = "ProxAlone"

    alpha: float | None = field(default=None, metadata=ALPHA)
    value, prox_rows = ExclusiveRows.value, ExclusiveRows.prox_rows


@pytest.mark.parametrize("loss", ["squared", "quantile"])
@pytest.mark.parametrize("more", [L21(0.1), TraceNorm(0.1)], ids=repr)
def test_a_prox_is_enough_for_sums_but_gives_no_gap(more, loss):
    known, found = (
        MultiTaskRegressor(kind(0.2) + more, loss=loss, tol=1e-7).fit(X, Y).solution_
        for kind in (ExclusiveRows, ProxAlone)
    )
    assert found.status is Status.CONVERGED
    assert found.certificate.gap is None
    assert found.certificate.residual <= 1e-7
    assert found.objective == pytest.approx(known.objective, rel=1e-5)


def test_sums_that_splitting_cannot_solve_say_why():
    for other, reason in ((MCP(0.1), "not convex"), (LatentTasks(2), "neither a gradient nor")):
        with pytest.raises(IncompatibleError, match=reason):
            MultiTaskRegressor(L21(0.1) + other, solver=Splitting()).fit(X, Y)


@dataclass(frozen=True, eq=False, repr=False)
class OwnEntries(AbsoluteTerm, Unbound, RowSeparable):
    """alpha * sum of |w| + w^2 / 2 over entries, which says that it is a sum over them."""

    label = "OwnEntries"
    by_entry = True
    ignores_signs = True

    alpha: float | None = field(default=None, metadata=ALPHA)

    def value(self, W):
        return self.weight * float(np.sum(np.abs(W) + 0.5 * W**2))

    def prox_rows(self, rows, index, step):
        step = self.weight * np.reshape(np.asarray(step, dtype=rows.dtype), (-1, 1))
        return soft(rows, step) / (1 + step)


def test_bounds_of_a_sum_over_entries_from_elsewhere():
    check_penalty(OwnEntries(0.1))
    own = MultiTaskRegressor(bounded(OwnEntries(0.1), -0.5, 0.4), tol=1e-9).fit(X, Y)
    ours = fitted(bounded(ElasticNet(0.2, 0.5), -0.5, 0.4))
    np.testing.assert_allclose(own.coef_, ours.coef_, atol=1e-6)
    assert own.solution_.certificate.gap is None
    assert (own.coef_.min(), own.coef_.max()) == (-0.5, 0.4)
