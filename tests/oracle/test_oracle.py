"""Fits against optima that other programs found; see tests/oracle/squared.json."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from polytask import MultiTaskRegressor
from polytask.linear import datafit as _parts
from polytask.linear import problem as _problem
from polytask.penalties import (
    L1,
    L2,
    L21,
    Clustered,
    ElasticNet,
    FusedTasks,
    L1Inf,
    SparseGroup,
    TraceNorm,
    TreeGroup,
    along_graph,
    along_time,
    coupling,
    dirty,
    robust,
    robust_features,
    sparse_low_rank,
    toward_mean,
)
from polytask.solvers import (
    AcceleratedGradient,
    ExtrapolatedGradient,
    Newton,
    PartsGradient,
    SeparateDescent,
)

FOLDER = Path(__file__).parent
ORACLE = json.loads((FOLDER / "squared.json").read_text())
PROBLEMS = {p["key"]: p for p in ORACLE["problems"]}
TREE = [g["tasks"] for g in ORACLE["tree"]], [g["weight"] for g in ORACLE["tree"]]
STORED = np.load(FOLDER / "squared.npz")

X_OF = [STORED[f"X_{t}"] for t in range(4)]
Y_OF = [STORED[f"y_squared_{t}"] for t in range(4)]
WEIGHT_OF = [STORED[f"sample_weight_{t}"] for t in range(4)]
SIZES = np.array([len(y) for y in Y_OF])
ADJACENCY = STORED["adjacency"]
LAPLACIAN = np.diag(ADJACENCY.sum(axis=1)) - ADJACENCY
CHAIN = STORED["R"] @ STORED["R"].T


def pair(kind, p):
    """A penalty of two strengths, p and q, as the one of a strength and a share."""
    total = p["lam1"] + p["lam2"]
    return kind(total, l1_ratio=p["lam1"] / total)


# What the oracle writes without the factor 1/2 has twice the strength here. With Wbar the mean,
# ||W||^2 = ||W - Wbar||^2 + ||Wbar||^2, which gives mean_reg_ridge.
PENALTIES = {
    "l1": lambda p: L1(p["lam"]),
    "l21": lambda p: L21(p["lam"]),
    "trace": lambda p: TraceNorm(p["lam"]),
    "l1_intercept": lambda p: L1(p["lam"]),
    "l21_intercept": lambda p: L21(p["lam"]),
    "trace_intercept": lambda p: TraceNorm(p["lam"]),
    "ridge": lambda p: L2(p["lam"]),
    "elastic_net": lambda p: pair(ElasticNet, p),
    "l21_l2": lambda p: L21(p["lam1"]) + L2(p["lam2"]),
    "sparse_group": lambda p: pair(SparseGroup, p),
    "mean_reg": lambda p: toward_mean(2 * p["lam"]),
    "mean_reg_ridge": lambda p: toward_mean(2 * (p["lam1"] - p["lam2"])) + L2(2 * p["lam2"]),
    "graph_laplacian": lambda p: along_graph(2 * p["lam"], ADJACENCY),
    "graph_laplacian_l1": lambda p: coupling(2 * p["lam1"], LAPLACIAN) + L1(p["lam2"]),
    "srmtl": lambda p: along_time(2 * p["rho1"]) + L1(p["rho2"]),
    "tgl": lambda p: coupling(2 * p["rho2"], CHAIN) + L21(p["rho3"]) + L2(2 * p["rho1"]),
    "cmtl": lambda p: Clustered(p["rho1"], p["rho2"] / p["rho1"], p["k"]),
    "l1inf": lambda p: L1Inf(p["lam"]),
    "fused": lambda p: FusedTasks(p["lam2"], p["lam1"]),
    "cfsgl": lambda p: FusedTasks(p["lam2"], p["lam1"]) + L21(p["lam3"]),
    "tree_group": lambda p: TreeGroup(p["lam"], *TREE),
    "l21_weighted": lambda p: L21(p["lam"]),
    "l21_halfsum": lambda p: L21(p["lam"]),
    "dirty_l1inf": lambda p: dirty(p["lam1"], p["lam2"], shared=L1Inf),
    # Half of its loss, and so half of its strengths: see HALVED.
    "dirty_malsar": lambda p: dirty(p["lam1"] / 2, p["lam2"] / 2, shared=L1Inf),
    "dirty_l21": lambda p: dirty(p["lam1"], p["lam2"]),
    "robust_mtl": lambda p: robust(p["lam1"], p["lam2"]),
    "robust_mtfl": lambda p: robust_features(p["lam1"], p["lam2"]),
    "sparse_low_rank": lambda p: sparse_low_rank(p["lam1"], p["lam2"]),
    "sparse_low_rank_constrained": lambda p: sparse_low_rank(p["gamma"], radius=p["tau"]),
}
PARTS = ("robust_mtl", "robust_mtfl", "sparse_low_rank", "sparse_low_rank_constrained")
# The loss is a sum over rows; without the factor 1/2 for the second.
SUMMED = ("l21_halfsum", "dirty_malsar")
HALVED = ("dirty_malsar",)
ROWS = (
    "l1",
    "l21",
    "l1_intercept",
    "l21_intercept",
    "elastic_net",
    "l21_l2",
    "sparse_group",
    "l21_weighted",
    "l21_halfsum",
)
# What the parts on top of each other are solved with, by statistics or by samples.
STACKED = (AcceleratedGradient(), None)
SMOOTH = ("ridge", "mean_reg", "mean_reg_ridge", "graph_laplacian")


def model(key, **settings):
    problem = PROBLEMS[f"squared__{key}"]
    return problem, MultiTaskRegressor(
        PENALTIES[key](problem["params"]),
        intercept="task" if problem["intercept"] else None,
        # The loss as a sum over the rows is the mean with the number of rows as task weight.
        task_weight=SIZES if key in SUMMED else "equal",
        **settings,
    )


def fit(model, key, form, sparse):
    weighted = PROBLEMS[f"squared__{key}"]["sample_weight"]
    X_of = [sp.csr_array(X) for X in X_OF] if sparse else X_OF
    if form == "separate":
        tasks = {t: (X_of[t], Y_OF[t]) for t in range(4)}
        return model.fit(tasks, sample_weight=dict(enumerate(WEIGHT_OF)) if weighted else None)
    X = sp.csr_array(sp.vstack(X_of)) if sparse else np.vstack(X_of)
    weight = np.concatenate(WEIGHT_OF) if weighted else None
    return model.fit(X, np.concatenate(Y_OF), np.repeat(np.arange(4), SIZES), weight)


def optimum(problem):
    """The objective in the units of the estimator."""
    return problem["objective"] / (2 if problem["penalty"] in HALVED else 1)


def assert_exact(fitted, problem):
    """The tolerances of the oracle's README for tol=1e-12."""
    slack = max(1e-9, 3 * problem["agreement_of_two_best"])
    objective = optimum(problem)
    assert fitted.solution_.objective == pytest.approx(objective, abs=slack * objective)
    np.testing.assert_allclose(fitted.coef_.T, STORED[f"{problem['key']}__W"], atol=1e-5)
    if problem["intercept"]:
        np.testing.assert_allclose(fitted.intercept_, STORED[f"{problem['key']}__c"], atol=1e-5)


@pytest.fixture(params=["statistics", "samples"])
def datafit(request, monkeypatch):
    """Force one of the two data terms."""
    if request.param == "samples":
        monkeypatch.setattr(_parts, "_STATISTICS_ENTRIES", -1)
    return request.param


@pytest.mark.usefixtures("datafit")
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("form", ["long", "separate"])
@pytest.mark.parametrize("key", PENALTIES)
def test_exact(key, form, sparse):
    problem, estimator = model(key, tol=1e-12)
    assert_exact(fit(estimator, key, form, sparse), problem)


@pytest.mark.usefixtures("datafit")
@pytest.mark.parametrize("key", PENALTIES)
def test_default_tolerance(key):
    problem, estimator = model(key)
    fitted = fit(estimator, key, "long", False)
    excess = fitted.solution_.objective - optimum(problem)
    assert abs(excess) <= 1e-6 * fitted.solution_.certificate.reference


@pytest.mark.usefixtures("datafit")
@pytest.mark.parametrize(
    ("key", "solver"),
    [(key, AcceleratedGradient()) for key in PENALTIES if key not in PARTS]
    + [(key, Newton()) for key in SMOOTH]
    + [(key, SeparateDescent()) for key in ROWS]
    + [(key, ExtrapolatedGradient()) for key in ("trace", "trace_intercept", "cmtl")]
    + [(key, PartsGradient(inner)) for key in PARTS for inner in STACKED],
)
def test_every_solver(key, solver):
    problem, estimator = model(key, tol=1e-12, solver=solver)
    assert_exact(fit(estimator, key, "long", False), problem)


@pytest.mark.usefixtures("datafit")
@pytest.mark.parametrize(
    "key", [key for key in PENALTIES if key.startswith("dirty") or key in PARTS]
)
def test_the_parts(key):
    problem, estimator = model(key, tol=1e-12)
    fitted = fit(estimator, key, "long", False)
    for part, name in zip(fitted.coef_parts_, "PQ", strict=True):
        np.testing.assert_allclose(part.T, STORED[f"{problem['key']}__{name}"], atol=1e-5)
    np.testing.assert_array_equal(sum(fitted.coef_parts_), fitted.coef_)


def test_the_data_term_is_the_one_asked_for(datafit):
    key = "ridge"
    _, estimator = model(key)
    seen = []
    build = _problem.Problem
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_problem, "Problem", lambda *parts: seen.append(parts[0]) or build(*parts))
        fit(estimator, key, "long", False)
    expected = {"statistics": "SquaredStatistics", "samples": "Samples"}[datafit]
    assert [type(found).__name__ for found in seen] == [expected]
