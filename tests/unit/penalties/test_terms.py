"""Single penalties: conventions, parameters, refusals."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.optimize import brentq
from sklearn.linear_model import ElasticNet as SkElasticNet
from sklearn.linear_model import Lasso, MultiTaskElasticNet, MultiTaskLasso

from polytask import _linalg
from polytask.exceptions import ParameterError
from polytask.penalties import L1, L2, L21, PENALTIES, ElasticNet, SparseGroup, TraceNorm

RNG = np.random.default_rng(0)
W = RNG.normal(size=(6, 4))
ROWS = np.linalg.norm(W, axis=1).sum()
RELATIVE = [L1, ElasticNet, L21, SparseGroup, TraceNorm]


def test_values_follow_the_conventions():
    absolute, square = np.abs(W).sum(), (W**2).sum()
    assert L1(0.3).value(W) == pytest.approx(0.3 * absolute)
    assert L2(0.3).value(W) == pytest.approx(0.15 * square)
    assert ElasticNet(0.3, 0.2).value(W) == pytest.approx(0.06 * absolute + 0.12 * square)
    assert L21(0.3).value(W) == pytest.approx(0.3 * ROWS)
    assert SparseGroup(0.3, 0.2).value(W) == pytest.approx(0.06 * absolute + 0.24 * ROWS)
    spectrum = np.linalg.svd(W, compute_uv=False).sum()
    assert TraceNorm(0.3).value(W) == pytest.approx(0.3 * spectrum)


@pytest.mark.parametrize(
    ("penalty", "model"),
    [
        (L1(0.3), Lasso(0.3, fit_intercept=False, tol=1e-14)),
        (ElasticNet(0.3, 0.7), SkElasticNet(0.3, l1_ratio=0.7, fit_intercept=False, tol=1e-14)),
    ],
)
def test_prox_against_another_solver_one_task(penalty, model):
    design = np.sqrt(6) * np.eye(6)
    column = model.fit(design, np.sqrt(6) * W[:, 0]).coef_
    np.testing.assert_allclose(penalty.prox(W[:, :1], 1.0)[:, 0], column, atol=1e-10)


@pytest.mark.parametrize(
    ("penalty", "model"),
    [
        (L21(0.3), MultiTaskLasso(0.3, fit_intercept=False, tol=1e-14)),
        (
            L21(0.21) + L2(0.09),
            MultiTaskElasticNet(0.3, l1_ratio=0.7, fit_intercept=False, tol=1e-14),
        ),
    ],
)
def test_prox_against_another_solver_many_tasks(penalty, model):
    from polytask.penalties import decompose

    design = np.sqrt(6) * np.eye(6)
    coef = model.fit(design, np.sqrt(6) * W).coef_
    got = decompose(penalty).proximable.prox(W, 1.0)
    np.testing.assert_allclose(got, coef.T, atol=1e-9)


@pytest.mark.parametrize("ratio", [0.01, 0.3, 0.5, 0.95])
@pytest.mark.parametrize("seed", range(5))
def test_the_dual_norm_of_sparse_group_against_root_finding(ratio, seed):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=7) * (rng.random(7) < 0.7)
    z[0] = z[1] = 1.5  # ties

    def excess(c):
        return np.linalg.norm(np.maximum(np.abs(z) - c * ratio, 0)) - c * (1 - ratio)

    wanted = brentq(excess, 0, 1e4, xtol=1e-14)
    assert SparseGroup(1.0, ratio).dual_norm(z[None]) == pytest.approx(wanted, rel=1e-10)


def test_sparse_group_between_its_ends():
    assert SparseGroup(0.4, 1.0).value(W) == pytest.approx(L1(0.4).value(W))
    assert SparseGroup(0.4, 0.0).value(W) == pytest.approx(L21(0.4).value(W))
    assert SparseGroup(l1_ratio=1.0).null_strength(W) == L1().null_strength(W)
    assert SparseGroup(l1_ratio=0.0).null_strength(W) == pytest.approx(L21().null_strength(W))


@pytest.mark.parametrize("penalty", [L1(0.5), L21(0.5), SparseGroup(0.5), TraceNorm(0.5)])
def test_zero_and_tiny_rows_are_safe(penalty):
    V = np.zeros((4, 3))
    V[1] = 1e-200
    V[2] = 2.0
    with np.errstate(all="raise", under="ignore"):
        Z = penalty.prox(V, 1.0)
    assert np.isfinite(Z).all()
    assert (Z[0] == 0).all()
    assert np.isfinite(penalty.value(V))


def test_prox_makes_exact_zeros():
    assert (L21(10.0).prox(W, 1.0) == 0).all()
    assert (L1(0.5).prox(np.full((1, 1), 0.5), 1.0) == 0).all()


def test_the_norms_of_matrices_that_look_alike_are_told_apart():
    rng, penalty = np.random.default_rng(0), TraceNorm(1.0)
    W = rng.normal(size=(3, 4))
    lowered = penalty.prox(W, 0.5)
    alike = [W, W.reshape(4, 3), W.T, np.asfortranarray(W), W.astype(np.float32), lowered, 0 * W]
    for matrix in [*alike, *alike]:
        values = np.linalg.svd(matrix, compute_uv=False)
        assert penalty.norm(matrix) == pytest.approx(values.sum(), rel=1e-6)
        assert penalty.dual_norm(matrix) == pytest.approx(values.max(), rel=1e-6)
    before = penalty.norm(W)
    W *= 2.0
    assert penalty.norm(W) == pytest.approx(2.0 * before)
    assert [penalty.norm(rng.normal(size=(3, 4))) for _ in range(100)] != [before] * 100
    assert penalty.norm(W) == pytest.approx(2.0 * before)


def test_trace_norm_lowers_the_rank():
    spectrum = np.linalg.svd(W, compute_uv=False)
    between = 0.5 * (spectrum[1] + spectrum[2])
    assert np.linalg.matrix_rank(TraceNorm(between).prox(W, 1.0), tol=1e-10) == 2


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
@pytest.mark.parametrize("name", sorted(PENALTIES.keys() - {"LatentTasks"}))
def test_arrays_without_elements(name, shape):
    penalty, empty = PENALTIES[name](alpha=1.0), np.zeros(shape)
    assert penalty.value(empty) == 0
    smooth = name in {"toward_mean", "along_time"}
    operate = penalty.gradient if smooth else lambda V: penalty.prox(V, 1.0)
    assert operate(empty).shape == shape


class FailingSVD:
    """NumPy with a decomposition that does not converge."""

    class linalg:  # noqa: N801 - the name of the real namespace
        @staticmethod
        def svd(*args, **kwargs):
            raise np.linalg.LinAlgError("SVD did not converge")

        svdvals = svd

    asarray = staticmethod(np.asarray)

    def __getattr__(self, name):
        return getattr(np, name)


def test_a_decomposition_that_fails_is_repeated_with_the_slow_driver(monkeypatch):
    wanted = TraceNorm(0.7).prox(W, 1.0), TraceNorm(0.7).value(W)
    true_namespace = _linalg.namespace
    monkeypatch.setattr(_linalg, "namespace", lambda *arrays: FailingSVD())
    parts, values = _linalg.thin_svd(W), _linalg.singular_values(W)
    monkeypatch.setattr(_linalg, "namespace", true_namespace)
    rebuilt = (parts[0] * np.maximum(parts[1] - 0.7, 0)) @ parts[2]
    np.testing.assert_allclose(rebuilt, wanted[0], atol=1e-12)
    assert 0.7 * values.sum() == pytest.approx(wanted[1])


# ------------------------------------------------------------------ parameters


def test_repr_shows_what_was_set():
    assert repr(L21()) == "L21()"
    assert repr(L21(fraction=0.1)) == "L21(fraction=0.1)"
    assert repr(L21(2)) == "L21(alpha=2.0)"
    assert repr(ElasticNet(1.0, 0.5)) == "ElasticNet(alpha=1.0)"
    assert repr(ElasticNet(l1_ratio=0.9)) == "ElasticNet(l1_ratio=0.9)"


def test_parameters_are_stored_as_given():
    assert L1().get_params() == {"alpha": None, "fraction": None}
    assert ElasticNet().get_params() == {"alpha": None, "l1_ratio": 0.5, "fraction": None}
    assert L2().get_params() == {"alpha": None, "radius": None}


def test_strength():
    assert L2().strength == 1.0
    assert L21().strength is None
    assert L21(0.4).strength == 0.4


def test_neither_alpha_nor_fraction_means_a_tenth():
    null = L21().null_strength(W)
    assert L21().resolved(W) == L21(0.1 * null)
    assert L21(fraction=0.5).resolved(W) == L21(0.5 * null)
    assert L21(3.0).resolved(W) == L21(3.0)


@pytest.mark.parametrize("penalty", [cls() for cls in RELATIVE], ids=repr)
@pytest.mark.parametrize("method", ["value", "conjugate", "feasible_scale"])
def test_a_fraction_has_no_value_until_it_is_resolved(penalty, method):
    with pytest.raises(ParameterError, match=r"relative to the data; call resolved\(gradient\)"):
        getattr(penalty, method)(W)


def test_multiples_of_a_fraction():
    assert L21() * 2 == L21(fraction=0.2)
    assert 0.5 * L21(fraction=0.4) == L21(fraction=0.2)
    assert np.float64(0.5) * L21(fraction=0.4) == L21(fraction=0.2)
    assert L21() * 0 == L21(0.0)
    with pytest.raises(ParameterError, match=r"fraction of L21 must be a number in \(0, 1\]"):
        L21(fraction=0.6).scaled(2)


@pytest.mark.parametrize("cls", RELATIVE)
def test_alpha_and_fraction_exclude_each_other(cls):
    with pytest.raises(ParameterError, match="exclude each other"):
        cls(1.0, fraction=0.1)


@pytest.mark.parametrize("cls", [*RELATIVE, L2])
@pytest.mark.parametrize("alpha", [-1, float("nan"), float("inf"), "1", True])
def test_strengths_that_are_refused(cls, alpha):
    with pytest.raises(ParameterError, match=f"alpha of {cls.__name__} must be a finite number"):
        cls(alpha)


@pytest.mark.parametrize("fraction", [0, -0.1, 1.5, float("nan"), "a"])
def test_fractions_that_are_refused(fraction):
    with pytest.raises(ParameterError, match="fraction of L1 must be"):
        L1(fraction=fraction)


@pytest.mark.parametrize("cls", [ElasticNet, SparseGroup])
def test_ratios_that_are_refused(cls):
    with pytest.raises(ParameterError, match=rf"l1_ratio of {cls.__name__} must be a number in"):
        cls(1.0, 1.5)


def test_fraction_is_keyword_only():
    with pytest.raises(TypeError):
        L1(None, 0.1)


def test_replace():
    assert L1(2.0).replace("fraction", 0.3) == L1(fraction=0.3)
    assert L1(fraction=0.3).replace("alpha", 2.0) == L1(2.0)
    assert L1(fraction=0.3).replace("alpha", None) == L1(fraction=0.3)
    assert ElasticNet(2.0).replace("l1_ratio", 0.1) == ElasticNet(2.0, 0.1)
    with pytest.raises(ParameterError, match=r"one of 'alpha', 'frac.*; got 'alhpa'.*'alpha'\?"):
        L1().replace("alhpa", 1.0)
    with pytest.raises(ParameterError, match="alpha of L1"):
        L1().replace("alpha", -1.0)


def test_penalties_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        L1(1.0).alpha = 2.0


def test_equality_and_hash():
    assert L1(1) == L1(1.0)
    assert L1(1) != L1(2)
    assert L1(1) != L21(1)
    assert L1(1) != "L1"
    assert len({L1(1), L1(1.0), L21(1)}) == 2


def test_negative_multiples_are_refused():
    with pytest.raises(ParameterError, match="factor of scaled"):
        L1(1.0).scaled(-1)


def test_sums_with_something_else_are_refused():
    with pytest.raises(ParameterError, match="of a sum of penalties must be a penalty; got 1"):
        L1(1.0) + 1


# ------------------------------------------------------------------ limits


def test_the_elastic_net_without_l1_has_no_null_strength():
    assert ElasticNet(l1_ratio=0.0).null_strength(W) == np.inf
    assert ElasticNet(l1_ratio=0.0).null_strength(0 * W) == 0
    with pytest.raises(ParameterError, match="makes every coefficient vanish"):
        ElasticNet(l1_ratio=0.0).resolved(W)


@pytest.mark.parametrize("penalty", [L1(0), L2(0), L21(0), ElasticNet(0), TraceNorm(0)], ids=repr)
def test_a_strength_of_zero(penalty):
    assert penalty.value(W) == 0
    np.testing.assert_allclose(penalty.prox(W, 1.0), W, atol=1e-12)
    assert penalty.conjugate(W) == np.inf
    assert penalty.conjugate(0 * W) == 0
    assert penalty.feasible_scale(W) == 0
    assert penalty.feasible_scale(0 * W) == np.inf


def test_rounding_does_not_make_a_scaled_dual_point_infeasible():
    for seed in range(50):
        Z = np.random.default_rng(seed).normal(size=(30, 5)).astype(np.float32)
        for penalty in (L1(0.1), L21(0.1), TraceNorm(0.1), SparseGroup(0.1)):
            assert penalty.conjugate(Z * np.float32(penalty.feasible_scale(Z))) == 0


def test_the_norm_where_the_driver_for_some_eigenvalues_gives_up(monkeypatch):
    # LAPACK's does so on some multiples of the identity, up to rounding.
    def fails(*given, **options):
        raise np.linalg.LinAlgError("Internal Error.")

    wanted = np.linalg.norm(W, 2)
    assert TraceNorm().dual_norm(W) == pytest.approx(wanted, rel=1e-12)
    monkeypatch.setattr(_linalg.scipy.linalg, "eigvalsh", fails)
    assert TraceNorm().dual_norm(W) == pytest.approx(wanted, rel=1e-12)
