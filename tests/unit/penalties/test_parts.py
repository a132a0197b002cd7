"""W as a sum of parts: the algebra, closed forms against a solver, strengths, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from polytask.exceptions import IncompatibleError, ParameterError
from polytask.penalties import (
    L1,
    L2,
    L21,
    Columns,
    CompiledRows,
    Conjugate,
    L1Inf,
    NullStrength,
    OutlierTasks,
    Parts,
    Proximable,
    TraceNorm,
    decompose,
    dirty,
    parse,
    robust,
    robust_features,
    sparse_low_rank,
    toward_mean,
)
from polytask.penalties.parts_rows import divide
from polytask.testing import check_penalty

RNG = np.random.default_rng(0)
W = RNG.normal(size=(7, 5)) * (RNG.random((7, 5)) < 0.8)
G = RNG.normal(size=(7, 5))
CLOSED = [
    dirty(0.7, 0.4),
    dirty(0.7, 0.3, shared=L1Inf),
    dirty(0.8, 0.4, shared=L1Inf),
    Parts([L1(0.4), L21(0.7)]),
    Parts([L21(0.4), L2(0.7)]),
    Parts([L2(0.7), TraceNorm(0.4)]),
]


@pytest.mark.parametrize("penalty", CLOSED, ids=repr)
def test_closed_forms_are_the_cheapest_divisions(penalty):
    parts, cost = divide(penalty.members, W)
    assert penalty.value(W) == pytest.approx(cost, rel=1e-9)
    np.testing.assert_allclose(sum(penalty.divided(W)), W, atol=1e-14)
    np.testing.assert_allclose(sum(parts), W, atol=1e-14)


@pytest.mark.parametrize("penalty", CLOSED, ids=repr)
def test_the_prox_of_the_whole_is_the_sum_of_parts_that_minimise(penalty):
    # Alternating over the parts, each given the other, has no other fixed point.
    U, V = np.zeros_like(W), np.zeros_like(W)
    first, second = penalty.members
    for _ in range(3000):
        U = first.prox(W - V, 0.9)
        V = second.prox(W - U, 0.9)
    np.testing.assert_allclose(penalty.prox(W, 0.9), U + V, atol=1e-8)


@pytest.mark.parametrize("shared", [L21, L1Inf])
def test_a_level_sum_of_sizes_does_not_confuse_the_threshold(shared):
    # The wanted sum is a multiple of the bound of the entries: a range of thresholds will do.
    penalty = dirty(0.5, 0.25, shared=shared)
    for seed in range(50):
        point = np.random.default_rng(seed).normal(size=(6, 4))
        Z = penalty.prox(point, 1.0)
        assert penalty.value(Z) == pytest.approx(np.sum((point - Z) * Z), abs=1e-13)
        assert penalty.conjugate((1 - 1e-12) * (point - Z)) == 0


@pytest.mark.parametrize("shared", [L21, L1Inf])
def test_without_one_strength_that_part_is_free(shared):
    assert Parts([shared(0.0), L1(0.4)]).value(W) == 0
    assert Parts([shared(0.7), L1(0.0)]).value(W) == 0
    np.testing.assert_array_equal(Parts([shared(0.0), L1(0.4)]).divided(W)[0], W)
    np.testing.assert_array_equal(Parts([shared(0.7), L1(0.0)]).divided(W)[1], W)


@pytest.mark.parametrize("shared", [L21, L1Inf])
def test_an_expensive_part_is_empty(shared):
    assert Parts([shared(0.7), L1(1e6)]).value(W) == pytest.approx(shared(0.7).value(W))
    assert Parts([shared(1e6), L1(0.4)]).value(W) == pytest.approx(L1(0.4).value(W))


@pytest.mark.parametrize(
    ("penalty", "wanted"),
    [
        (Parts([TraceNorm(0.4)]), TraceNorm(0.4)),
        (Parts([TraceNorm(0.4), TraceNorm(0.6)]), TraceNorm(0.4)),
        (robust(0.4, 1e5), TraceNorm(0.4)),
        (robust(1e5, 0.4), OutlierTasks(0.4)),
        (robust_features(0.4, 1e5), L21(0.4)),
        (sparse_low_rank(0.3, 1e5), L1(0.3)),
        (Parts([L2(1.0), L2(3.0)]), L2(0.75)),
    ],
    ids=repr,
)
def test_values_of_known_divisions(penalty, wanted):
    assert penalty.value(W) == pytest.approx(wanted.value(W), rel=1e-9)


def test_a_ball_takes_what_it_holds():
    size = np.linalg.svd(W, compute_uv=False).sum()
    assert sparse_low_rank(0.3, radius=1.01 * size).value(W) == 0
    assert sparse_low_rank(0.3, radius=0.9 * size).value(W) > 0
    shorter = TraceNorm(radius=0.5 * size).prox(W, 3.0)
    assert np.linalg.svd(shorter, compute_uv=False).sum() == pytest.approx(0.5 * size)
    half = sparse_low_rank(0.3, radius=1.0).scaled(0.5)
    assert half == sparse_low_rank(0.15, radius=1.0)


def test_the_value_of_a_sum_of_rank_one_and_little_is_found():
    tilted = 0.3 + 1e-3 * G
    parts, cost = divide([L1(0.3), TraceNorm(0.6)], tilted)
    assert cost == pytest.approx(0.3 * np.abs(parts[0]).sum() + TraceNorm(0.6).value(parts[1]))
    assert cost <= min(L1(0.3).value(tilted), TraceNorm(0.6).value(tilted))


def test_capabilities_are_those_that_are_known():
    for capability in (CompiledRows, Conjugate, NullStrength):
        assert isinstance(dirty(), capability)
    assert isinstance(robust(), NullStrength)
    assert not isinstance(robust(), Proximable)
    assert isinstance(Parts([TraceNorm(), L2()]), Conjugate)
    assert not isinstance(Parts([TraceNorm(), L2()]), NullStrength)
    assert not isinstance(sparse_low_rank(0.1, radius=2.0), NullStrength)
    assert isinstance(Parts([L21(), L1(), L1Inf()]), NullStrength)
    assert not isinstance(Parts([L21(), L1(), L1Inf()]), Proximable)
    with pytest.raises(IncompatibleError, match="neither a gradient nor a prox"):
        decompose(robust(0.1, 0.1))


def test_parts_of_parts_are_parts():
    whole = Parts([dirty(0.1, 0.2), TraceNorm(0.3)])
    assert whole.members == (L21(0.1), L1(0.2), TraceNorm(0.3))


def test_fractions_are_those_of_each_member_alone():
    whole = robust(fraction=0.25).resolved(G)
    norms = np.linalg.norm(G, axis=0).max(), np.linalg.norm(G, 2)
    assert whole.members[0].alpha == pytest.approx(0.25 * norms[1])
    assert whole.members[1].alpha == pytest.approx(0.25 * norms[0])
    # All parts enter together, at four times the present strengths.
    assert whole.null_strength(G) == pytest.approx(norms[1])
    mixed = Parts([L1(fraction=0.5), L21(2.0)]).resolved(G)
    assert mixed.members[1].alpha == 2.0
    assert mixed.strength == mixed.members[0].alpha


def test_the_null_strength_is_that_of_the_last_part_to_vanish():
    whole = dirty(0.3, 0.1)
    factor = max(np.linalg.norm(G, axis=1).max() / 0.3, np.abs(G).max() / 0.1)
    assert whole.null_strength(G) == pytest.approx(0.3 * factor)
    assert Parts([L21(0.3), L1(0.0)]).null_strength(G) == np.inf
    with pytest.raises(ParameterError, match="depends on the proportions"):
        dirty().null_strength(G)


def test_strengths_move_together():
    assert dirty(0.3, 0.1).with_strength(0.6) == dirty(0.6, 0.2)
    assert (2 * robust(0.3, 0.1)) == robust(0.6, 0.2)
    with pytest.raises(ParameterError, match="in proportion"):
        dirty().with_strength(0.6)


def test_parameters_are_those_of_the_members():
    whole = robust(0.3, 0.1)
    assert whole.get_params()["p1__alpha"] == 0.1
    assert whole.replace("p1__alpha", 0.7) == robust(0.3, 0.7)
    assert isinstance(whole.replace("p0", L1(0.2)), Parts)
    with pytest.raises(ParameterError, match="p2"):
        whole.replace("p2__alpha", 1.0)


def test_a_shift_goes_to_the_first_part():
    whole = robust(0.3, 0.1).shifted(G)
    assert whole.value(W) == pytest.approx(robust(0.3, 0.1).value(W - G), rel=1e-8)
    np.testing.assert_array_equal(whole.null_point, G)


def test_binding_reaches_the_members():
    columns = Columns(("a", "a", "b", "b", "c"), (0, 1, 0, 1, 0))
    bound = robust_features(1e5, 0.5).bind(columns)
    wanted = OutlierTasks(0.5).bind(columns)
    assert bound.value(W) == pytest.approx(wanted.value(W), rel=1e-9)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: dirty(0.3), "own_alpha"),
        (lambda: robust(None, 0.3), "outlier_alpha"),
        (lambda: robust_features(0.3, 0.2, fraction=0.1), "exclude each other"),
        (lambda: dirty(0.3, 0.2, shared=L2), "shared of dirty must be a class of penalties"),
        (lambda: dirty(0.3, 0.2, shared="L1Inf"), "shared of dirty must be a class of penalties"),
        (lambda: sparse_low_rank(0.3), "low_rank_alpha"),
        (lambda: sparse_low_rank(0.3, 0.2, radius=1.0), "exclude each other"),
        (lambda: sparse_low_rank(0.3, radius=0.0), "radius of TraceNorm"),
        (lambda: Parts([]), "members of Parts must be a list of one or more penalties"),
        (lambda: Parts([1.0]), "must be a penalty"),
    ],
)
def test_refusals(make, words):
    with pytest.raises(ParameterError, match=words):
        make()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("dirty", dirty()),
        ("dirty(0.1,0.05)", dirty(0.1, 0.05)),
        ("dirty(0.1, 0.05, shared='L1Inf')", dirty(0.1, 0.05, shared=L1Inf)),
        ("dirty(fraction=0.2, shared=L1Inf)", dirty(fraction=0.2, shared=L1Inf)),
        ("robust(fraction=0.2) + L2(0.1)", robust(fraction=0.2) + L2(0.1)),
        ("sparse_low_rank(0.1, radius=3)", sparse_low_rank(0.1, radius=3)),
        ("Parts([2 * L21(0.3) + L2, toward_mean])", Parts([L21(0.6) + L2(), toward_mean()])),
    ],
)
def test_texts(text, wanted):
    assert parse(text) == wanted
    assert parse(repr(wanted)) == wanted


@pytest.mark.parametrize(
    "text",
    ["Parts(L1)", "Parts([1])", "dirty('a', 'b')", "L1(shared='x')", "dirty(shared='x')"],
)
def test_texts_that_are_refused(text):
    with pytest.raises(ParameterError):
        parse(text)


@pytest.mark.slow
@pytest.mark.parametrize(
    "penalty",
    [
        Parts([L21(0.4), L2(0.7)]),
        Parts([L2(0.0), L21(0.3)]),
        pytest.param(Parts([L2(0.7), TraceNorm(0.4)]), marks=pytest.mark.slow),
    ],
    ids=repr,
)
def test_laws_beside_a_ridge(penalty):
    check_penalty(penalty)
