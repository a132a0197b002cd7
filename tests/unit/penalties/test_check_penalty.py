"""Each law of `check_penalty` fails for a penalty that breaks it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np
import pytest

from polytask.penalties import L1, L2, L21, Proximable, Quadratic, Smooth, TraceNorm, coupling
from polytask.penalties import toward_mean as make_toward_mean
from polytask.penalties.couplings import TowardMean
from polytask.penalties.terms import ALPHA, AbsoluteTerm, Unbound
from polytask.testing import algebra_laws, check_penalty, penalty_laws, prox_laws
from polytask.testing._points import resolved_case

FIRST, RIDGE, ROWS, SPECTRUM = L1(0.6), L2(0.6), L21(0.6), TraceNorm(0.6)


MADE = {}


def altered(base, **methods):
    """Return a penalty of strength 0.6 that is wrong in some methods."""
    name = f"{base.__name__}_{len(MADE)}"
    MADE[name] = type(name, (base,), methods | {"__module__": __name__})
    globals()[name] = MADE[name]  # where pickle looks for it
    return MADE[name](0.6)


def overwriting(self, Z):
    Z[...] = 0.0
    return np.inf


def float64_prox(self, rows, index, step):
    return FIRST.prox_rows(rows.astype(np.float64), index, step)


def restrengthened(self, alpha):
    return dataclasses.replace(self, alpha=alpha)


def rescaled(self, factor):
    return dataclasses.replace(self, alpha=factor * self.alpha)


def forgetful_bind(self, columns):
    object.__setattr__(self, "alpha", self.alpha + 1.0)
    return self


WRONG = {
    "value returns a float": [altered(L1, value=lambda self, W: np.abs(W))],
    "value is at least 0": [altered(L1, value=lambda self, W: -FIRST.value(W))],
    "value is convex": [altered(L1, value=lambda self, W: FIRST.value(W) ** 0.5)],
    "value in float32": [
        altered(L1, value=lambda self, W: FIRST.value(W) * (1 + (W.dtype == np.float32)))
    ],
    "minimises": [
        altered(L1, prox_rows=lambda self, W, index, s: FIRST.prox_rows(W, index, 0.99 * s)),
        altered(L21, prox_rows=lambda self, W, index, s: FIRST.prox_rows(W, index, s)),
        altered(L2, prox_rows=lambda self, W, index, s: W * (1 - 0.6 * s)),
        altered(TraceNorm, prox=lambda self, W, s: W),
        altered(TraceNorm, prox=lambda self, W, s: np.zeros_like(W)),
    ],
    "prox keeps the shape": [altered(TraceNorm, prox=lambda self, W, s: W[:1])],
    r"prox\(W, 0\) is W": [
        altered(TraceNorm, prox=lambda self, W, s: SPECTRUM.prox(W, s) if s else 0 * W)
    ],
    "prox keeps float32": [altered(L1, prox_rows=float64_prox)],
    "prox in float32 is near": [
        altered(
            L1,
            prox_rows=lambda self, W, index, s: (
                FIRST.prox_rows(W, index, s) * np.where(W.dtype == np.float32, W.dtype.type(2), 1)
            ).astype(W.dtype),
        )
    ],
    "prox_rows gives the rows": [
        altered(L1, prox_rows=lambda self, W, i, s: FIRST.prox_rows(W, i, s) * (len(W) != 3))
    ],
    "a step for each row": [
        altered(
            L21, prox_rows=lambda self, W, index, s: ROWS.prox_rows(W, index, float(np.mean(s)))
        )
    ],
    "the conjugate is infinite": [altered(L1, conjugate=lambda self, Z: np.inf)],
    r"value\(Z\) \+ conjugate\(U\)": [
        altered(L1, conjugate=lambda self, Z: FIRST.conjugate(Z) + 1e-3),
        altered(L2, conjugate=lambda self, Z: 2 * RIDGE.conjugate(Z)),
    ],
    r">= <W, Z>": [
        altered(L1, conjugate=lambda self, Z: 0.0),
    ],
    r"finite at feasible_scale": [
        altered(L1, feasible_scale=lambda self, Z: 1.1 * FIRST.feasible_scale(Z))
    ],
    "finite where feasible_scale is inf": [altered(L1, feasible_scale=lambda self, Z: np.inf)],
    "beyond feasible_scale": [
        altered(L1, feasible_scale=lambda self, Z: 0.9 * FIRST.feasible_scale(Z))
    ],
    "the gradient is the derivative": [altered(L2, gradient=lambda self, W: 0.61 * W)],
    "the gradient has the shape": [altered(L2, gradient=lambda self, W: 0.6 * W[:1])],
    "gradient keeps float32": [
        altered(L2, gradient=lambda self, W: 0.6 * W.astype(np.float64)),
    ],
    r"curvature\(\) bounds": [
        altered(L2, curvature=lambda self: 0.59),
        altered(TowardMean, curvature=lambda self: 0.59),
    ],
    r"apply\(W\) is gradient": [altered(L2, apply=lambda self, W: 0.7 * W)],
    "an entry for each column": [altered(L2, diagonal=lambda self, n: np.zeros(1))],
    "diagonal is that": [altered(TowardMean, diagonal=lambda self, n: np.full(n, 0.6))],
    "optimal above null_strength": [
        altered(L21, null_strength=lambda self, G: 0.99 * ROWS.null_strength(G)),
        altered(TraceNorm, null_strength=lambda self, G: ROWS.null_strength(G)),
    ],
    "not optimal below null_strength": [
        altered(L21, null_strength=lambda self, G: 1.01 * ROWS.null_strength(G)),
    ],
    "for a gradient of 0": [
        altered(L1, null_strength=lambda self, G: FIRST.null_strength(G) or 1.0)
    ],
    r"scaled\(c\) has": [altered(L1, scaled=lambda self, c: self)],
    r"2 \* p has": [altered(L1, __rmul__=lambda self, c: self)],
    r"p \* 2 has": [altered(L1, __mul__=lambda self, c: self)],
    r"p \+ p has": [altered(L1, __add__=lambda self, other: self)],
    r"is the prox of scaled": [altered(L1, scaled=lambda self, c: Sly(0.6 * c))],
    "with_strength sets": [
        altered(L2, scaled=rescaled, with_strength=lambda self, a: self),
    ],
    "proportional to the strength": [
        altered(L2, scaled=rescaled, with_strength=lambda self, a: Offset(a)),
    ],
    r"value at W - W0": [altered(L2, shifted=lambda self, W0: L2(0.6).shifted(-W0))],
    "bind leaves": [altered(L2, bind=forgetful_bind)],
    "binding to the same columns": [
        altered(L2, bind=lambda self, columns: rescaled(self, 2.0)),
    ],
    "writes into": [altered(L1, feasible_scale=overwriting), altered(L2, conjugate=overwriting)],
    "without rows is 0": [
        altered(L1, value=lambda self, W: L1.value(self, W) + float(len(W) == 0)),
        altered(L1, null_strength=lambda self, G: FIRST.null_strength(G) + float(len(G) == 0)),
    ],
    "prox keeps an empty shape": [
        altered(TraceNorm, prox=lambda self, W, s: TraceNorm.prox(self, W, s) if len(W) else W.T)
    ],
    "gradient keeps an empty shape": [
        altered(
            TowardMean, gradient=lambda self, W: TowardMean.gradient(self, W) if len(W) else W.T
        )
    ],
    "a clone is": [altered(L2, __sklearn_clone__=lambda self: L2(0.6))],
    "by its own value": [
        altered(L2, scaled=rescaled, with_strength=restrengthened, replace=lambda *_: L2(5.0)),
    ],
    "fraction \\* null_strength": [altered(L1, resolved=lambda self, G: self.with_strength(1.0))],
}
MEAN = TowardMean(0.6)


class Sly(L1):
    """The value of L1 and another prox."""

    def prox_rows(self, rows, index, step):
        return rows


class Offset(L2):
    """Another value."""

    def value(self, W):
        return 1.0 + 0.5 * self.alpha * float(np.sum(W * W))


class Fixed(L2):
    """A penalty whose replace keeps alpha."""

    def scaled(self, factor):
        return rescaled(self, factor)

    def with_strength(self, alpha):
        return restrengthened(self, alpha)

    def replace(self, name, value):
        return self


class Lax(L2):
    """A penalty that takes any name."""

    def replace(self, name, value):
        return super().replace(name, value) if name == "alpha" else self


class Both(L1):
    """A penalty that keeps its fraction when it gets an alpha."""

    def get_params(self, deep=True):
        return {"alpha": 1.0, "fraction": 0.25}


@dataclass(frozen=True, eq=False, repr=False)
class Threshold(AbsoluteTerm, Unbound, Proximable):
    """alpha * number of entries other than 0: a prox and nothing else."""

    label = "Threshold"

    alpha: float | None = field(default=None, metadata=ALPHA)

    def value(self, W):
        return self.weight * float(np.sum(W != 0))

    def prox(self, W, step):
        border = np.sqrt(2 * step * self.weight)
        return np.where(np.abs(W) > border, W, np.zeros_like(W))


class Boastful(Threshold):
    """A penalty whose shifted copy claims more than it has."""

    def shifted(self, W0):
        return Claimant(self.alpha, W0)


class Claimant(L1):
    """The value of a shifted Threshold, with the capabilities of L1."""

    def __init__(self, alpha, W0):
        super().__init__(alpha)
        object.__setattr__(self, "W0", W0)

    def value(self, W):
        return Threshold(self.alpha).value(W - self.W0)

    def shifted(self, W0):
        return Claimant(self.alpha, self.W0 + W0)


@dataclass(frozen=True, eq=False, repr=False)
class Graded(AbsoluteTerm, Unbound, Quadratic):
    """A quadratic penalty that weighs the features by their number."""

    label = "Graded"

    alpha: float | None = field(default=None, metadata=ALPHA)

    def apply(self, W):
        return self.weight * W * np.arange(1, len(W) + 1, dtype=W.dtype)[:, None]

    def gradient(self, W):
        return self.apply(W)

    def value(self, W):
        return 0.5 * float(np.sum(W * self.apply(W)))

    def curvature(self):
        return 6 * self.weight

    def diagonal(self, n_columns):
        return np.full(n_columns, self.weight)


@dataclass(frozen=True, eq=False, repr=False)
class LogCosh(AbsoluteTerm, Unbound, Smooth):
    """alpha * sum log cosh W: smooth, and not quadratic."""

    label = "LogCosh"

    alpha: float | None = field(default=None, metadata=ALPHA)

    def value(self, W):
        return self.weight * float(np.sum(np.logaddexp(W, -W) - np.log(2)))

    def gradient(self, W):
        return self.weight * np.tanh(W)

    def curvature(self):
        return self.weight


@pytest.mark.parametrize(
    ("law", "penalty"), [(law, wrong) for law, group in WRONG.items() for wrong in group]
)
def test_a_wrong_penalty_breaks_a_law(law, penalty):
    with pytest.raises(AssertionError, match=law):
        check_penalty(penalty)


@pytest.mark.parametrize(
    ("law", "penalty"),
    [
        ("replace changes the parameter", Fixed(0.6)),
        ("refuses an unknown name", Lax(0.6)),
        ("claims RowSeparable only if", Boastful(0.6)),
    ],
)
def test_a_penalty_with_a_wrong_algebra_breaks_a_law(law, penalty):
    with pytest.raises(AssertionError, match=law):
        check_penalty(penalty)


def test_a_fraction_that_stays_beside_alpha_breaks_a_law():
    case = resolved_case(FIRST, None, 0)
    with pytest.raises(AssertionError, match="alpha clears fraction"):
        algebra_laws.fractions(Both(0.6), case)


def test_an_expansive_prox_breaks_a_law():
    case = resolved_case(altered(TraceNorm, prox=lambda self, W, s: 2 * W), None, 0)
    with pytest.raises(AssertionError, match="firmly"):
        prox_laws._firm(case)


def test_the_order_of_features_matters_to_a_graded_penalty():
    check_penalty(Graded(0.4), features_alike=False)
    with pytest.raises(AssertionError, match="order of the features"):
        check_penalty(Graded(0.4))


def test_the_order_of_tasks_matters_to_a_bare_matrix():
    with pytest.raises(AssertionError, match="order of the tasks"):
        check_penalty(coupling(0.6, np.diag([1.0, 2.0, 3.0, 4.0])))


def test_parts_that_do_not_add_up_break_a_law(monkeypatch):
    monkeypatch.setattr(algebra_laws, "decompose", lambda p: prox_laws.decompose(p.scaled(2.0)))
    with pytest.raises(AssertionError, match="add up to the penalty"):
        check_penalty(make_toward_mean(1.0))


def test_leaving_the_namespace_breaks_a_law():
    xp = pytest.importorskip("array_api_strict")
    wrong = altered(TowardMean, gradient=lambda self, W: MEAN.gradient(np.asarray(W)))
    with pytest.raises(AssertionError, match="stay there"):
        penalty_laws._namespace(resolved_case(wrong, None, 0), xp)


@pytest.mark.parametrize("penalty", [Threshold(0.3), LogCosh(0.5), LogCosh(0.5) + L2()], ids=repr)
def test_penalties_from_outside_get_every_law(penalty):
    check_penalty(penalty)
