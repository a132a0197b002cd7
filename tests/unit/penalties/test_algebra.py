"""Sums, shifts, and what solvers get from them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from polytask.exceptions import IncompatibleError, ParameterError
from polytask.penalties import (
    L1,
    L2,
    L21,
    Columns,
    Conjugate,
    ElasticNet,
    NullStrength,
    Penalty,
    Proximable,
    Quadratic,
    RowSeparable,
    Shifted,
    Smooth,
    SparseGroup,
    Sum,
    TraceNorm,
    coupling,
    decompose,
    toward_mean,
)
from polytask.penalties.decomposition import Ridged, ridged

RNG = np.random.default_rng(0)
G = RNG.normal(size=(6, 4))
W0 = RNG.normal(size=(6, 4))
CAPABILITIES = (Smooth, Quadratic, Proximable, RowSeparable, Conjugate, NullStrength)
Q = coupling(1.0, np.eye(4))


def able(penalty):
    return {capability.__name__ for capability in CAPABILITIES if isinstance(penalty, capability)}


ROWS = {"Proximable", "RowSeparable", "Conjugate", "NullStrength"}
NORM = ROWS - {"RowSeparable"}
SMOOTH = {"Smooth", "Quadratic"}
RIDGE = SMOOTH | {"Proximable", "RowSeparable", "Conjugate"}


@pytest.mark.parametrize(
    ("penalty", "capabilities"),
    [
        (L1(), ROWS),
        (L21(), ROWS),
        (ElasticNet(), ROWS),
        (SparseGroup(), ROWS),
        (TraceNorm(), NORM),
        (L2(), RIDGE),
        (toward_mean(), SMOOTH),
        (Q, SMOOTH),
        (L1().shifted(W0), ROWS),
        (TraceNorm().shifted(W0), NORM),
        (L2().shifted(W0), RIDGE),
        (Q.shifted(W0), SMOOTH),
        (toward_mean() + L2(), SMOOTH),
        ((toward_mean() + L2()).shifted(W0), SMOOTH),
        (L21() + L2(), {"NullStrength"}),
        (L21() + L1(), {"NullStrength"}),
        ((L21() + L2()).shifted(W0), {"NullStrength"}),
        (L21() + L2().shifted(W0), set()),
        (TraceNorm() + L21(), set()),
        (decompose(L21(1.0) + L2()).proximable, RIDGE - SMOOTH),
        (decompose(TraceNorm(1.0) + L2()).proximable, {"Proximable", "Conjugate"}),
    ],
    # The order of a set differs from process to process.
    ids=lambda value: "+".join(sorted(value)) if isinstance(value, set) else repr(value),
)
def test_capabilities_are_told_truly(penalty, capabilities):
    assert able(penalty) == capabilities


# ------------------------------------------------------------------ sums


def test_sums_are_flat():
    total = L1(1) + (L2(2) + toward_mean(3)) + L1(4)
    assert isinstance(total, Sum)
    assert [m.strength for m in total.members] == [1, 2, 3, 4]
    assert repr(L21(fraction=0.1) + L2(1.0)) == "L21(fraction=0.1) + L2(alpha=1.0)"


def test_sums_expose_their_members():
    total = L21(fraction=0.1) + L2(2.0)
    assert total.get_params(deep=False) == {"p0": L21(fraction=0.1), "p1": L2(2.0)}
    first = {"p0", "p0__alpha", "p0__fraction", "p0__radius"}
    assert set(total.get_params()) == first | {"p1", "p1__alpha", "p1__radius"}
    assert total.replace("p0__alpha", 3.0) == L21(3.0) + L2(2.0)
    assert total.replace("p1", toward_mean(1.0)) == L21(fraction=0.1) + toward_mean(1.0)
    with pytest.raises(ParameterError, match=r"one of 'p0', 'p0__alpha', .*; got 'p9__alpha'"):
        total.replace("p9__alpha", 1.0)
    with pytest.raises(ParameterError, match="alpha of L2"):
        total.replace("p1__alpha", -1.0)
    with pytest.raises(ParameterError, match="must be a penalty; got 3"):
        total.replace("p1", 3)


def test_the_strength_of_a_sum_is_that_of_its_reference():
    total = L2(2.0) + L21(4.0) + toward_mean(1.0)
    assert total.reference == L21(4.0)
    assert total.strength == 4.0
    assert total.with_strength(1.0) == L2(0.5) + L21(1.0) + toward_mean(0.25)
    assert (toward_mean(2.0) + L2(1.0)).with_strength(4.0) == toward_mean(4.0) + L2(2.0)


def test_a_sum_without_proportions_takes_no_strength():
    with pytest.raises(ParameterError, match=r"which has none yet; give it an alpha > 0"):
        (L21() + L2()).with_strength(1.0)
    with pytest.raises(ParameterError, match="which has none yet"):
        (L21(0.0) + L2()).with_strength(1.0)


def test_members_are_resolved_on_their_own_null_strength():
    got = (L21(fraction=0.2) + L1(fraction=0.3) + L2(1.0)).resolved(G)
    limits = L21().null_strength(G), L1().null_strength(G)
    assert got == L21(0.2 * limits[0]) + L1(0.3 * limits[1]) + L2(1.0)


def test_fractions_of_members_that_vanish_at_different_points_are_refused():
    with pytest.raises(ParameterError, match="vanish at different points"):
        (L1(1.0) + L21().shifted(W0)).resolved(G)


def test_the_null_strength_of_a_sum_with_one_norm_is_that_of_the_norm():
    assert (L2(3.0) + L21()).null_strength(G) == L21().null_strength(G)


def test_the_null_strength_of_merged_norms():
    total = L21(1.0) + L1(3.0)
    whole = SparseGroup(4.0, 0.75).null_strength(G)
    assert total.null_strength(G) == pytest.approx(whole / 4)
    with pytest.raises(ParameterError, match="depends on the proportions"):
        (L21(0.0) + L1(1.0)).null_strength(G)


def test_binding_reaches_every_member():
    columns = Columns(tuple("aab"), tuple("xyx"))
    total = (L2(1.0) + toward_mean(1.0)).bind(columns)
    assert total.members[1].columns == columns


def test_sums_of_different_members_differ():
    assert L1(1) + L2(1) == L1(1) + L2(1)
    assert L1(1) + L2(1) != L1(1) + L2(2)
    assert pickle.loads(pickle.dumps(L1(1) + L2(1))) == L1(1) + L2(1)


@pytest.mark.parametrize("penalty", [L2(0.1), L1(0.2), toward_mean(1.0) + L2(0.1)])
def test_what_fits_work_out_from_a_penalty_is_no_part_of_it(penalty):
    before = pickle.dumps(penalty)
    split = decompose(penalty)
    assert decompose(penalty) is split
    assert pickle.dumps(penalty) == before


# ------------------------------------------------------------------ shifts


def test_shifts_pull_to_the_point():
    shifted = L21(100.0).shifted(W0)
    np.testing.assert_array_equal(shifted.prox(G, 1.0), W0)
    np.testing.assert_array_equal(shifted.null_point, W0)
    assert shifted.value(W0) == 0
    assert isinstance(shifted, Shifted)


def test_the_point_is_kept_safe():
    point = W0.copy()
    shifted = L1(1.0).shifted(point)
    point[:] = 0
    np.testing.assert_array_equal(shifted.by, W0)
    with pytest.raises(ValueError, match="read-only"):
        shifted.by[0] = 1.0


def test_shifts_add_up():
    twice = L1(1.0).shifted(W0).shifted(W0)
    np.testing.assert_allclose(twice.by, 2 * W0)
    assert isinstance(twice.penalty, L1)


def test_a_shifted_penalty_has_the_parameters_of_the_penalty():
    shifted = L1(fraction=0.3).shifted(W0)
    assert shifted.get_params() == {"alpha": None, "fraction": 0.3}
    assert shifted.replace("alpha", 2.0) == L1(2.0).shifted(W0)
    assert shifted.resolved(G).strength == pytest.approx(0.3 * L1().null_strength(G))
    assert repr(shifted) == "L1(fraction=0.3).shifted(<array of shape (6, 4)>)"


def test_shifts_differ_by_their_points():
    assert L1(1.0).shifted(W0) == L1(1.0).shifted(W0)
    assert L1(1.0).shifted(W0) != L1(1.0).shifted(2 * W0)


def test_float32_stays_float32():
    single = G.astype(np.float32)
    assert L21(0.1).shifted(W0).prox(single, 0.5).dtype == np.float32
    assert Q.shifted(W0).gradient(single).dtype == np.float32
    assert decompose(L1(0.1) + L2().shifted(W0)).proximable.prox(single, 1).dtype == np.float32


# ------------------------------------------------------------------ decompose


def test_single_penalties():
    assert decompose(L21(1.0)).proximable == L21(1.0)
    assert decompose(L2(1.0)).proximable == L2(1.0)
    assert decompose(L2(1.0)).smooth is None
    assert decompose(toward_mean(1.0)).smooth == toward_mean(1.0)
    assert decompose(toward_mean(1.0)).proximable is None
    assert decompose(ElasticNet(1.0)).proximable == ElasticNet(1.0)


def test_ridges_go_with_the_prox():
    split = decompose(L2(1.0) + toward_mean(2.0))
    assert (split.smooth, split.proximable) == (toward_mean(2.0), L2(1.0))
    split = decompose(L2(1.0) + L21(3.0) + L2(0.5) + toward_mean(2.0))
    assert split.smooth == toward_mean(2.0)
    assert isinstance(split.proximable, Ridged)
    assert split.proximable.penalty == L21(3.0)
    assert split.proximable.ridge.weight == 1.5
    assert decompose(L2(1.0) + L2(2.0)).proximable == L2(3.0)


def test_ridges_about_another_point():
    total = L21(0.3) + L2(0.5).shifted(W0)
    split = decompose(total)
    np.testing.assert_array_equal(split.proximable.ridge.centre, W0)
    two = decompose(L2(1.0) + L2(0.5).shifted(W0))
    assert two.proximable == L2(1.0)
    assert two.smooth == L2(0.5).shifted(W0)


def test_a_ridge_of_zero_adds_nothing():
    assert decompose(L21(0.3) + L2(0.0)).proximable == L21(0.3)


@pytest.mark.parametrize(
    ("total", "wanted"),
    [
        (L1(1.0) + L1(2.0), L1(3.0)),
        (L21(1.0) + L21(2.0), L21(3.0)),
        (TraceNorm(1.0) + TraceNorm(2.0), TraceNorm(3.0)),
        (L1(1.0) + L21(3.0), SparseGroup(4.0, 0.25)),
        (SparseGroup(4.0, 0.25) + L21(4.0), SparseGroup(8.0, 0.125)),
        (L1(0.0) + TraceNorm(2.0), TraceNorm(2.0)),
        (L1(0.0) + L21(0.0), L1(0.0)),
    ],
    ids=repr,
)
def test_norms_that_merge(total, wanted):
    assert decompose(total).proximable == wanted


def test_an_elastic_net_merges_by_its_parts():
    whole = decompose(ElasticNet(2.0, 0.25) + L21(1.5)).proximable
    assert whole.penalty == SparseGroup(2.0, 0.25)
    assert whole.ridge.weight == 1.5


def test_norms_shifted_to_one_point_merge():
    whole = decompose((L1(1.0) + L21(3.0)).shifted(W0)).proximable
    assert whole == SparseGroup(4.0, 0.25).shifted(W0)


@pytest.mark.parametrize(
    "total",
    [
        TraceNorm(1.0) + L21(2.0),
        L1(1.0) + L1(1.0).shifted(W0),
        L1(1.0).shifted(2 * W0) + L1(1.0).shifted(W0),
    ],
    ids=repr,
)
def test_norms_that_do_not_merge_are_refused(total):
    with pytest.raises(IncompatibleError, match=r"cannot be combined.*Use Splitting"):
        decompose(total)


def test_the_refusal_names_both():
    with pytest.raises(IncompatibleError, match=r"TraceNorm\(alpha=1.0\) and L21\(alpha=2.0\)"):
        decompose(TraceNorm(1.0) + L21(2.0))


def test_fractions_must_be_resolved_before():
    with pytest.raises(ParameterError, match="relative to the data"):
        decompose(L1() + L21())


def test_a_penalty_without_capabilities_is_refused():
    class Bare(Penalty):
        strength = 1.0
        null_point = None

        def __repr__(self):
            return "Bare()"

    unable = type("Unable", (Bare,), dict.fromkeys(Penalty.__abstractmethods__, lambda *_: None))
    with pytest.raises(IncompatibleError, match="neither a gradient nor a prox"):
        decompose(unable())


def test_a_prox_without_a_conjugate_keeps_only_its_prox():
    class Plain(Proximable):
        def value(self, W):
            return 0.0

        def prox(self, W, step):
            return W

    whole = ridged(Plain(), decompose(L21(1.0) + L2(2.0)).proximable.ridge)
    assert able(whole) == {"Proximable"}
    np.testing.assert_allclose(whole.prox(G, 0.5), G / 2)
