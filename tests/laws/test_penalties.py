"""Every exported penalty obeys every law that its capabilities entail."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from polytask import penalties
from polytask.penalties import (
    L1,
    L2,
    L21,
    PENALTIES,
    Clustered,
    Columns,
    ElasticNet,
    FusedTasks,
    GroupNorm,
    L1Inf,
    LearnedCovariance,
    NetworkLasso,
    OutlierTasks,
    Parts,
    SparseGroup,
    TraceNorm,
    TreeGroup,
    along_graph,
    along_time,
    bounded,
    coupling,
    dirty,
    positive,
    reweighted,
    robust,
    robust_features,
    sparse_low_rank,
    toward_mean,
    weighted,
)
from polytask.testing import check_penalty

ROOT = np.random.default_rng(3).normal(size=(4, 3))
COUPLED = coupling(0.6, ROOT @ ROOT.T, tasks=range(4))

# What cannot be made from a strength alone is made here.
MADE = {"coupling": COUPLED, "along_graph": along_graph(0.6, {(0, 1): 2.0, (3, 1): 0.5})}
MADE["NetworkLasso"] = NetworkLasso(0.6, {(0, 1): 2.0, (3, 1): 0.5})
MADE["TreeGroup"] = TreeGroup(0.6, ((0,), (1,), (2, 3), (3,), (0, 1, 2, 3)), (0.5, 0.6, 1, 0.4, 2))
MADE["GroupNorm"] = GroupNorm(0.2, ((4, 0), (1, 2, 3), (5,)))
MADE["weighted"] = weighted(L21(0.6), np.full(6, 2.0))
MADE["bounded"] = bounded(L1(0.6), lower=-0.5, upper=1.0)
MADE["positive"] = positive(SparseGroup(0.6))
MADE["reweighted"] = reweighted(L21(0.6), 0.5)
MADE["Parts"] = Parts([L21(0.6), TraceNorm(0.8)])
MADE["dirty"] = dirty(0.6, 0.4)
MADE["robust"] = robust(0.6, 0.5)
MADE["robust_features"] = robust_features(0.6, 0.5)
MADE["sparse_low_rank"] = sparse_low_rank(0.4, 0.7)
# A penalty of factors has no value at W; its own laws are in unit/solvers/test_factored.py.
OF_W = {name: make for name, make in PENALTIES.items() if name != "LatentTasks"}
MADE |= {name: make(alpha=0.6) for name, make in OF_W.items()}
RELATIVE = {name: make() for name, make in OF_W.items()}

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
    OutlierTasks(0.4) + L2(0.1) + along_time(0.3),
    OutlierTasks(0.2) + OutlierTasks(0.3),
    LearnedCovariance(0.4) + toward_mean(0.2),
    LearnedCovariance(0.4) + LearnedCovariance(0.2),
    Clustered(0.4, 0.5, 3) + L2(0.1),
    Clustered(0.4, 0.5, 3) + Clustered(0.2, 0.5, 3),
    Clustered(2.0, 0.01, 1),
    Clustered(0.4, 0.5, 9),
]
# Bounds on a norm, beside a penalty on it and alone.
BOUNDED_NORMS = [
    L2(0.6, radius=2.0),
    L21(0.6, radius=2.0),
    L21(fraction=0.2, radius=2.0),
    TraceNorm(0.6, radius=2.0),
    *(kind(radius=2.0) for kind in (L2, L21, TraceNorm)),
]
# Norms of rows, which join L1, L21 and norms of groups of features.
NESTED = [
    L1Inf(0.3) + L1(0.2),
    L1(0.1) + L21(0.2) + L1Inf(0.3) + L1Inf(0.1),
    FusedTasks(0.3, 0.2) + L21(0.3),
    FusedTasks(l1=0.5, fraction=0.2) + L2(0.1),
    FusedTasks(0.0, 0.3) + L2(0.1),
    SparseGroup(0.3, 0.4) + FusedTasks(0.2) + FusedTasks(0.3),
    TreeGroup(0.3, ((0, 2), (1, 3), (9,)), (1, 2, 3)) + L21(0.2) + L1(0.1),
    TreeGroup(groups=((0,), (3, 1, 2)), fraction=0.3) + L2(0.1),
]
BLOCKS = GroupNorm(0.2, ((4, 0), (1, 2, 3), (5,)), (1.0, 2.0, 0.5))
WITH_BLOCKS = [
    GroupNorm(groups=((4, 0), (1, 2, 3), (5,)), fraction=0.2) + L2(0.5),
    BLOCKS + L1(0.1),
    L21(0.2) + L1(0.1) + BLOCKS + BLOCKS,
    L1(0.1) + BLOCKS + FusedTasks(0.1) + L21(0.1),
    BLOCKS + L1Inf(0.3),
]
CLASSES = Columns(tuple("aabbcc"), ("x", "y", "x", "z", "y", "x"))
# What names tasks, for the tasks of CLASSES.
NAMED = {
    "coupling": coupling(0.6, ROOT[:3] @ ROOT[:3].T, tasks="cab"),
    "along_graph": along_graph(0.6, {("c", "a"): 2.0, ("b", "a"): 0.5}),
    "along_time": along_time(0.6, order="cab"),
    "NetworkLasso": NetworkLasso(0.6, {("c", "a"): 2.0, ("b", "a"): 0.5}),
    "FusedTasks": FusedTasks(0.6, 0.2, order="cab"),
    "TreeGroup": TreeGroup(0.6, (tuple("abc"), tuple("ac"), ("b",)), (1, 2, 0.5)),
}
WITH_CLASSES = {**MADE, **NAMED}


# Their values take many steps each.
DIVIDED = {"Parts", "dirty", "robust", "robust_features", "sparse_low_rank"}
LONG = {"Parts", "robust_features", "sparse_low_rank"}
COSTLY = [
    dirty(0.6, 0.3, shared=L1Inf),
    Parts([L1(0.2), L21(0.3)]),
    robust() + L2(0.1),
    sparse_low_rank(0.3, radius=2.0),
    Parts([L1(0.3), L21(0.5), TraceNorm(0.6)]),
    Parts([L21(0.4) + L2(0.3), toward_mean(0.5)]),
]


def some(names, slow, exhaustive):
    for name in sorted(names):
        marks = [pytest.mark.exhaustive] if name in exhaustive else []
        yield pytest.param(name, marks=marks or [pytest.mark.slow] * (name in slow))


def exported_members():
    """Everything exported that makes a penalty for users."""
    for name in penalties.__all__:
        member = getattr(penalties, name)
        if inspect.isfunction(member) and name not in ("decompose", "parse"):
            yield name
        if name in MADE:
            yield name


@pytest.mark.parametrize("name", some(set(exported_members()), DIVIDED, LONG))
def test_laws(name):
    check_penalty(MADE[name], features_alike=name != "GroupNorm")


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", sorted(RELATIVE))
def test_laws_without_a_strength(name):
    check_penalty(RELATIVE[name], random_state=1)


# One in four at once, the others where there is time.
SUMS = [
    pytest.param(penalty, marks=[pytest.mark.slow] * (k % 4 > 0))
    for k, penalty in enumerate([*COMPOSED, *NESTED])
]


@pytest.mark.parametrize("penalty", SUMS, ids=repr)
def test_laws_of_composed_penalties(penalty):
    check_penalty(penalty, random_state=2)


@pytest.mark.parametrize("penalty", BOUNDED_NORMS, ids=repr)
def test_laws_of_bounds_on_a_norm(penalty):
    check_penalty(penalty, random_state=2)
    check_penalty(penalty, columns=CLASSES)


@pytest.mark.exhaustive
@pytest.mark.parametrize("penalty", COSTLY, ids=repr)
def test_laws_of_other_parts(penalty):
    check_penalty(penalty, random_state=3)


@pytest.mark.slow
@pytest.mark.parametrize("penalty", WITH_BLOCKS, ids=repr)
def test_laws_of_penalties_with_blocks_of_features(penalty):
    check_penalty(penalty, features_alike=False, random_state=2)


@pytest.mark.exhaustive
@pytest.mark.parametrize("added", [L21(0.2), L1(0.1) + L21(0.2), BLOCKS], ids=repr)
@pytest.mark.parametrize("name", ["L1Inf", "FusedTasks", "TreeGroup"])
def test_laws_of_norms_of_rows_with_classes(name, added):
    penalty = WITH_CLASSES[name] + added
    check_penalty(penalty, columns=CLASSES, features_alike=added is not BLOCKS)


@pytest.mark.parametrize("name", some(WITH_CLASSES, WITH_CLASSES, DIVIDED))
def test_laws_with_classes(name):
    check_penalty(WITH_CLASSES[name], columns=CLASSES, features_alike=name != "GroupNorm")


def test_the_order_of_tasks_matters_to_a_bare_matrix():
    check_penalty(coupling(0.6, COUPLED.matrix), tasks_alike=False)
    check_penalty(along_graph(0.6, np.abs(COUPLED.matrix)), tasks_alike=False)


@pytest.mark.parametrize("name", some(MADE, MADE, DIVIDED))
@pytest.mark.parametrize("namespace", ["array_api_strict", "torch"])
def test_other_namespaces(name, namespace):
    xp = pytest.importorskip(namespace)
    check_penalty(MADE[name], features_alike=name != "GroupNorm", xp=xp)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["toward_mean", "OutlierTasks", *NAMED])
@pytest.mark.parametrize("namespace", ["array_api_strict", "torch"])
def test_other_namespaces_with_classes(name, namespace):
    check_penalty(WITH_CLASSES[name], columns=CLASSES, xp=pytest.importorskip(namespace))
