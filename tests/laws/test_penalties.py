"""Every exported penalty obeys every law that its capabilities entail."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from polytask import penalties
from polytask._registry import FORMATS, registered
from polytask.penalties import (
    L1,
    L2,
    L21,
    PENALTIES,
    Columns,
    ElasticNet,
    SparseGroup,
    TraceNorm,
    coupling,
    toward_mean,
)
from polytask.testing import check_penalty

ROOT = np.random.default_rng(3).normal(size=(4, 3))
COUPLED = coupling(0.6, ROOT @ ROOT.T, tasks=range(4))

# What cannot be made from a strength alone is made here.
MADE = {"coupling": COUPLED}
MADE |= {name: make(alpha=0.6) for name, make in PENALTIES.items()}
RELATIVE = {name: make() for name, make in PENALTIES.items()}

COMPOSED = [
    L1(0.3) + L21(0.5),
    L21() + L2(),
    L21(fraction=0.2) + L2(2.0) + toward_mean(0.5),
    TraceNorm(0.4) + L2(0.1) + COUPLED,
    ElasticNet(0.4, 0.3) + SparseGroup(0.2, 0.7),
    toward_mean() + L2(),
    TraceNorm(0.2) + TraceNorm(0.3),
    TraceNorm(0.2) + L21(0.3),
    ElasticNet(0.5, 1.0),
    ElasticNet(0.5, 0.0),
    SparseGroup(0.5, 1.0),
    SparseGroup(0.5, 0.0),
]
CLASSES = Columns(tuple("aabbcc"), ("x", "y", "x", "z", "y", "x"))


def exported_members():
    """Everything exported that makes a penalty for users."""
    for name in penalties.__all__:
        member = getattr(penalties, name)
        if inspect.isfunction(member) and name != "decompose":
            yield name
        if name in PENALTIES:
            yield name


@pytest.mark.parametrize("name", sorted(set(exported_members())))
def test_laws(name):
    check_penalty(MADE[name])


@pytest.mark.parametrize("name", sorted(RELATIVE))
def test_laws_without_a_strength(name):
    check_penalty(RELATIVE[name], random_state=1)


@pytest.mark.parametrize("penalty", COMPOSED, ids=repr)
def test_laws_of_composed_penalties(penalty):
    check_penalty(penalty, random_state=2)


@pytest.mark.parametrize("penalty", [*MADE.values()], ids=repr)
def test_laws_with_classes(penalty):
    if penalty is COUPLED:
        penalty = coupling(0.6, ROOT[:3] @ ROOT[:3].T, tasks="cab")
    check_penalty(penalty, columns=CLASSES)


def test_the_order_of_tasks_matters_to_a_bare_matrix():
    check_penalty(coupling(0.6, COUPLED.matrix), tasks_alike=False)


@pytest.mark.parametrize("name", sorted(MADE))
@pytest.mark.parametrize("namespace", ["array_api_strict", "torch"])
def test_other_namespaces(name, namespace):
    check_penalty(MADE[name], xp=pytest.importorskip(namespace))


@pytest.mark.parametrize("namespace", ["array_api_strict", "torch"])
def test_other_namespaces_with_classes(namespace):
    check_penalty(toward_mean(), columns=CLASSES, xp=pytest.importorskip(namespace))


def test_every_saveable_class_is_in_the_fixed_table():
    layers = ("polytask.penalties", "polytask.losses")
    ours = {cls: name for cls, name in registered().items() if cls.__module__.startswith(layers)}
    assert ours
    for cls, name in ours.items():
        assert FORMATS[name] == f"{cls.__module__}:{cls.__qualname__}"
