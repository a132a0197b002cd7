"""Penalties without one of their terms."""

from __future__ import annotations

import pytest

from polytask.penalties import (
    L1,
    L2,
    L21,
    ElasticNet,
    FusedTasks,
    Parts,
    SparseGroup,
    TraceNorm,
    dirty,
    toward_mean,
    weighted,
)
from polytask.selection.ablation import ablations

HEAVY = weighted(L21(1.0), [1, 2])


@pytest.mark.parametrize(
    ("penalty", "rests"),
    [
        (toward_mean(3.0) + L2(0.1), {"toward_mean": L2(0.1), "L2": toward_mean(3.0)}),
        (dirty(1.0, 0.7), {"L21": L1(0.7), "L1": L21(1.0)}),
        (SparseGroup(2.0), {"L1": L21(1.0), "L21": L1(1.0)}),
        (ElasticNet(2.0), {"L1": L2(1.0), "L2": L1(1.0)}),
        (FusedTasks(1.0, l1=0.3), {"FusedTasks": L1(1.0), "L1": FusedTasks(1.0)}),
        (FusedTasks(1.0), {}),
        (ElasticNet(2.0, l1_ratio=1.0), {}),
        (weighted(SparseGroup(2.0), [1, 2]), {"L1": HEAVY, "L21": weighted(L1(1.0), [1, 2])}),
        (L21(), {}),
        (
            L21(0.5) + L1(0.2) + L2(0.1),
            {"L21": L1(0.2) + L2(0.1), "L1": L21(0.5) + L2(0.1), "L2": L21(0.5) + L1(0.2)},
        ),
        (
            Parts([L21(1.0), L1(0.7), TraceNorm(1.0)]),
            {
                "L21": Parts([L1(0.7), TraceNorm(1.0)]),
                "L1": Parts([L21(1.0), TraceNorm(1.0)]),
                "TraceNorm": Parts([L21(1.0), L1(0.7)]),
            },
        ),
    ],
    ids=repr,
)
def test_what_is_left_of_a_penalty(penalty, rests):
    assert penalty.without_terms() == rests


def test_terms_of_one_name_are_told_apart():
    assert list(Parts([L21(1.0), L21(0.5)]).without_terms()) == ["L21 (1)", "L21 (2)"]


def test_a_search_of_several_keeps_those_without_the_term_and_each_once():
    found = ablations([toward_mean(1.0) + L2(0.001), toward_mean(1.0) + L2(0.1), L21()])
    assert found == {"toward_mean": [L2(0.001), L21()], "L2": [toward_mean(1.0), L21()]}
    assert ablations([L21(), TraceNorm()]) == {}
    assert set(ablations(None)) == {"toward_mean", "L2"}
