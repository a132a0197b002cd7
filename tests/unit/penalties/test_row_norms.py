"""Norms of rows and of groups of features: exact proxes, duals, reductions, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import linprog, lsq_linear, minimize

from polytask import MultiTaskClassifier, MultiTaskRegressor, MultiTaskRegressorCV, load, save
from polytask.exceptions import IncompatibleError, ParameterError
from polytask.penalties import (
    L1,
    L2,
    L21,
    Columns,
    FusedTasks,
    GroupNorm,
    L1Inf,
    SparseGroup,
    TraceNorm,
    TreeGroup,
    decompose,
    parse,
)
from polytask.penalties.row_kernels import apply_rows
from polytask.solvers import AcceleratedGradient, BlockDescent, ExtrapolatedGradient

RNG = np.random.default_rng(0)
W = RNG.normal(size=(6, 4))
PLAIN = Columns.plain(4)
TREE = ((0,), (1,), (2,), (3,), (0, 1), (2, 3), (0, 1, 2, 3))
WEIGHTS = (0.5, 0.5, 0.5, 0.5, 0.7, 0.7, 1.0)
BLOCKS = ((0, 3), (1, 2, 5), (4,))


def tree(*args, **settings):
    return TreeGroup(*args, **settings).bind(PLAIN)


def test_values_follow_the_conventions():
    assert L1Inf(0.3).value(W) == pytest.approx(0.3 * np.abs(W).max(axis=1).sum())
    steps = np.abs(np.diff(W, axis=1)).sum()
    assert FusedTasks(0.3, 0.2).value(W) == pytest.approx(0.3 * steps + 0.2 * np.abs(W).sum())
    order = FusedTasks(0.3, order=(2, 0, 3, 1)).bind(PLAIN)
    assert order.value(W) == pytest.approx(0.3 * np.abs(np.diff(W[:, [2, 0, 3, 1]])).sum())
    pairs = zip(TREE, WEIGHTS, strict=True)
    wanted = sum(w * np.linalg.norm(W[:, list(g)], axis=1).sum() for g, w in pairs)
    assert tree(0.3, TREE, WEIGHTS).value(W) == pytest.approx(0.3 * wanted)
    wanted = sum(np.sqrt(4 * len(g)) * np.linalg.norm(W[list(g)]) for g in BLOCKS)
    assert GroupNorm(0.3, BLOCKS).value(W) == pytest.approx(0.3 * wanted)


@pytest.mark.parametrize("amount", [0.0, 1e-3, 0.2, 1.0, 5.0, 1e6])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 40])
def test_fused_prox_against_its_dual(n, amount):
    """The prox is y - D'u for the u in [-amount, amount] that minimises ||y - D'u||."""
    rng = np.random.default_rng(n)
    rows = rng.normal(size=(5, n))
    rows[0] = np.round(rows[0])  # ties
    rows[1] = 0.0
    rows[2] = np.sort(rows[2])
    differences = np.diff(np.eye(n), axis=0)
    for row, got in zip(rows, FusedTasks(amount).prox(rows, 1.0), strict=True):
        wanted = row
        if n > 1 and amount > 0:
            bounds = (-amount, amount)
            dual = lsq_linear(differences.T, row, bounds=bounds, method="bvls", tol=1e-15)
            wanted = row - differences.T @ dual.x
        assert_allclose(got, wanted, atol=1e-9)


def test_fused_prox_keeps_its_digits_when_the_strength_is_far_above_the_coefficients():
    rows = 1e-6 * W
    assert_allclose(
        FusedTasks(1e9).prox(rows, 1.0), rows.mean(axis=1)[:, None] + 0 * W, rtol=1e-14
    )
    assert_allclose(
        FusedTasks(1e-6).prox(rows, 0.3), 1e-6 * FusedTasks(1.0).prox(W, 0.3), rtol=1e-12
    )


@pytest.mark.parametrize("radius", [0.0, 0.4, 2.0, 50.0])
def test_the_prox_of_l1_inf_leaves_a_projection_onto_the_l1_ball(radius):
    rest = W - L1Inf(radius).prox(W, 1.0)
    sizes = np.abs(W).sum(axis=1)
    assert_allclose(np.abs(rest).sum(axis=1), np.minimum(sizes, radius), rtol=1e-12, atol=1e-14)
    assert np.all(rest * W >= 0)


def fused_dual_norm(z, differences, entries):
    """The least c with z = c s + D'v, |s| <= c entries and |v| <= c differences."""
    n = len(z)
    D = np.diff(np.eye(n), axis=0)
    limits = np.r_[np.full(n, entries), np.full(n - 1, differences)]
    both = np.vstack([np.eye(2 * n - 1), -np.eye(2 * n - 1)])
    upper = np.column_stack([both, -np.r_[limits, limits]])
    equal = np.column_stack([np.eye(n), D.T, np.zeros(n)])
    cost = np.r_[np.zeros(2 * n - 1), 1.0]
    bounds = [(None, None)] * (2 * n)
    found = linprog(cost, upper, np.zeros(4 * n - 2), equal, z, bounds=bounds, method="highs")
    return found.fun


@pytest.mark.parametrize("seed", range(5))
def test_the_dual_norm_of_fused_tasks_against_a_linear_program(seed):
    z = np.random.default_rng(seed).normal(size=7) + 0.3 * seed
    got = FusedTasks(0.4, 0.1).null_strength(z[None])
    assert got == pytest.approx(0.4 * fused_dual_norm(z, 0.4, 0.1), rel=1e-9)
    assert FusedTasks(0.0, 0.1).null_strength(z[None]) == pytest.approx(np.abs(z).max())
    assert FusedTasks(0.4).null_strength(z[None]) == np.inf
    level = z - z.mean()
    wanted = np.abs(np.cumsum(level)[:-1]).max()
    assert FusedTasks(0.4).null_strength(level[None]) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    "penalty",
    [
        tree(1.0, TREE, WEIGHTS),
        GroupNorm(1.0, BLOCKS) + L21(0.3),
        L1Inf(1.0) + L1(0.3) + L21(0.2),
        FusedTasks(1.0, 0.4).bind(PLAIN) + L21(0.3),
    ],
    ids=repr,
)
def test_dual_norms_against_the_largest_ratio(penalty):
    """The dual norm is the largest <Z, V> / norm(V); no point may exceed it."""
    whole = decompose(penalty).proximable
    limit = 1 / whole.feasible_scale(W)
    best = max(_ratio(whole, np.random.default_rng(seed)) for seed in range(6))
    assert limit * (1 + 1e-9) >= best >= 0.98 * limit


def _ratio(whole, rng):
    """Look for a large ratio, from the prox at which little is left."""
    start = whole.prox(W, 0.97 / whole.feasible_scale(W)) + 1e-9 * rng.normal(size=W.shape)
    loss = lambda v: -np.sum(W * v.reshape(W.shape)) / whole.value(v.reshape(W.shape))  # noqa: E731
    return -minimize(loss, start.ravel(), method="Powell", options={"maxiter": 2}).fun


@pytest.mark.parametrize("step", [0.1, 0.7, 3.0])
def test_reductions(step):
    pairs = [
        (tree(0.4, TREE[:4]), L1(0.4)),
        (tree(0.4, ((3, 1, 0, 2),)), L21(0.4)),
        (tree(0.4, (*TREE[:4], TREE[-1]), (0.3,) * 4 + (0.7,)), SparseGroup(0.4, 0.3)),
        (FusedTasks(0.0, 0.4), L1(0.4)),
        (GroupNorm(0.4, [[j] for j in range(6)]), L21(0.8)),
        (GroupNorm(0.4, [[j] for j in range(6)], np.ones(6)), L21(0.4)),
        (
            decompose(GroupNorm(0.1, [[j] for j in range(6)]) + L1(0.3)).proximable,
            SparseGroup(0.5, 0.6),
        ),
    ]
    for special, plain in pairs:
        assert special.value(W) == pytest.approx(plain.value(W))
        assert_allclose(special.prox(W, step), plain.prox(W, step), atol=1e-14)
        assert special.feasible_scale(W) == pytest.approx(plain.feasible_scale(W), rel=1e-12)
    column = W[:, :1]
    for special in (L1Inf(0.4), TreeGroup(0.4, ((0,),)).bind(Columns.plain(1))):
        assert_allclose(special.prox(column, step), L1(0.4).prox(column, step), atol=1e-14)
    assert_allclose(FusedTasks(0.4).prox(column, step), column)


def test_a_group_of_features_with_its_own_weight_is_a_row_with_its_own_strength():
    weights = np.arange(6.0)
    got = GroupNorm(0.4, [[j] for j in range(6)], weights).prox(W, 1.0)
    for j in range(6):
        assert_allclose(got[j], L21(0.4 * weights[j]).prox(W[j : j + 1], 1.0)[0], atol=1e-15)
    assert GroupNorm(0.4, [[j] for j in range(6)], weights).null_strength(W) == np.inf


def test_classes_are_followed_one_by_one():
    columns = Columns(("b", "b", "a", "a", "c"), ("x", "y", "y", "x", "x"))
    bound = FusedTasks(0.5, order=("a", "b", "c", "d")).bind(columns)
    V = RNG.normal(size=(3, 5))
    got = bound.prox(V, 1.0)
    for parts in ([3, 0, 4], [2, 1]):
        assert_allclose(got[:, parts], FusedTasks(0.5).prox(V[:, parts], 1.0), atol=1e-15)
    groups = TreeGroup(0.5, (("a", "c"), ("b",))).bind(columns).prox(V, 1.0)
    for parts in ([2, 3, 4], [0, 1]):
        assert_allclose(groups[:, parts], L21(0.5).prox(V[:, parts], 1.0), atol=1e-15)


@pytest.mark.parametrize("penalty", [L1Inf(0.4), FusedTasks(0.3, 0.1), tree(0.3, TREE)], ids=repr)
def test_one_step_for_each_row_in_compiled_code(penalty):
    whole = decompose(penalty.bind(PLAIN) + L21(0.2) + L1(0.1)).proximable
    kernel, rows, steps = whole.row_kernel(), W.copy(), np.linspace(0.0, 2.0, 6)
    apply_rows(rows, steps, kernel.parameters, kernel.prox)
    assert_allclose(rows, whole.prox_rows(W, slice(None), steps), atol=1e-14)


def test_strengths_of_fused_tasks():
    penalty = FusedTasks(0.5, 0.2)
    assert penalty.with_strength(1.0) == FusedTasks(1.0, 0.4)
    assert (2 * FusedTasks(fraction=0.2, l1=0.5)).get_params()["fraction"] == 0.4
    assert FusedTasks().strength == 1.0
    assert FusedTasks(0.0, 0.3).with_strength(0.6) == FusedTasks(0.0, 0.6)
    assert FusedTasks(0.0).with_strength(0.6) == FusedTasks(0.6)
    with pytest.raises(ParameterError, match="exclude each other"):
        FusedTasks(1.0, fraction=0.1)
    with pytest.raises(ParameterError, match="give alpha"):
        FusedTasks(fraction=0.1).resolved(W)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: TreeGroup(1.0), "one or more groups"),
        (lambda: TreeGroup(1.0, "abc"), "one or more groups"),
        (lambda: TreeGroup(1.0, ["abc"]), "the group 'abc'"),
        (lambda: TreeGroup(1.0, [[1, 1]]), "differ"),
        (lambda: TreeGroup(1.0, [[[1]]]), "differ"),
        (lambda: TreeGroup(1.0, [[]]), "differ"),
        (lambda: TreeGroup(1.0, [[0, 1], [1, 2]]), r"\(0, 1\) and \(1, 2\), which overlap"),
        (lambda: TreeGroup(1.0, [[0]], [1, 2]), r"as there are groups \(1\); got 2"),
        (lambda: TreeGroup(1.0, [[0]], [-1]), "weights of TreeGroup"),
        (lambda: TreeGroup(1.0, [["north"]]).bind(Columns(("nort",), (None,))), "Did you mean"),
        (lambda: TreeGroup(1.0, [[0]]).value(W), "call bind"),
        (lambda: tree(1.0, [range(4)]).value(W[:, :3]), "an array with 4 columns"),
        (lambda: FusedTasks(1.0).row_kernel(), "call bind"),
        (lambda: FusedTasks(1.0, order=[0, 0]), "got two 0"),
        (lambda: FusedTasks(1.0).bind(Columns(("a", "b"), (None, None))), "order of FusedTasks"),
        (lambda: FusedTasks(1.0).bind(PLAIN).value(W[:, :3]), "an array with 4 columns"),
        (lambda: GroupNorm(1.0), "one or more groups"),
        (lambda: GroupNorm(1.0, [[0, 1], [1]]), "got two 1"),
        (lambda: GroupNorm(1.0, [[0, 2]]), "got none for 1"),
        (lambda: GroupNorm(1.0, [[-1, 0]]), "got -1"),
        (lambda: GroupNorm(1.0, [["age"]]), "'age'"),
        (lambda: GroupNorm(1.0, [[0, 1]]).value(W), r"of 6 features in all, as W; got 2"),
    ],
)
def test_refusals(make, words):
    with pytest.raises(ParameterError, match=words):
        make()


def test_sums_that_are_not_exact_are_refused():
    for other in (TraceNorm(1.0), FusedTasks(1.0)):
        for penalty in (L1Inf(1.0) + other, other + tree(1.0, TREE)):
            with pytest.raises(IncompatibleError):
                decompose(penalty.bind(PLAIN))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("L1Inf(fraction=0.2)", L1Inf(fraction=0.2)),
        ("FusedTasks(0.1, 0.2, order=['b', 'a']) + L21", FusedTasks(0.1, 0.2, ("b", "a")) + L21()),
        ("TreeGroup(1, [['b', 'a'], ['b']], [1, 2])", TreeGroup(1, [["b", "a"], ["b"]], [1, 2])),
        ("GroupNorm(groups=[[0, 2], [1]])", GroupNorm(groups=[[0, 2], [1]])),
    ],
)
def test_texts(text, wanted):
    assert parse(text) == wanted
    assert parse(repr(wanted)) == wanted


def problem(n=60):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(n, 6))
    coef = np.zeros((6, 4))
    coef[0] = [2.0, 2.0, -1.0, -1.0]
    coef[3] = 1.0
    return X, X @ coef + 0.3 * rng.normal(size=(n, 4))


PENALTIES = [
    L1Inf(fraction=0.1),
    FusedTasks(l1=0.5, fraction=0.1),
    FusedTasks(0.2) + L21(fraction=0.1),
    TreeGroup(groups=TREE, fraction=0.1),
    TreeGroup(0.1, TREE) + L2(0.1),
    GroupNorm(groups=BLOCKS, fraction=0.1),
    GroupNorm(0.02, BLOCKS) + L1(0.05),
    GroupNorm(0.02, BLOCKS) + FusedTasks(0.1),
]


@pytest.mark.parametrize("penalty", PENALTIES, ids=repr)
def test_fits_are_certified_found_alike_by_every_solver_and_saved(penalty, tmp_path):
    X, Y = problem()
    solvers = (AcceleratedGradient(), BlockDescent(), ExtrapolatedGradient(), "auto")
    fits = []
    for solver in solvers:
        try:
            fits.append(MultiTaskRegressor(penalty, solver=solver, tol=1e-9).fit(X, Y))
        except IncompatibleError:
            assert solver != "auto"
    assert len(fits) == 3
    assert all(fit.solution_.gap is not None for fit in fits)
    for fit in fits[1:]:
        assert_allclose(fit.coef_, fits[0].coef_, atol=1e-4)
    save(fits[0], tmp_path / "model.zip")
    again = load(tmp_path / "model.zip")
    assert again.penalty == penalty
    assert_allclose(again.predict(X), fits[0].predict(X))


@pytest.mark.parametrize("penalty", PENALTIES, ids=repr)
def test_every_coefficient_vanishes_at_the_null_strength(penalty):
    shares = [name for name in penalty.get_params() if name.endswith("fraction")]
    given = [name for name in shares if penalty.get_params()[name] is not None]
    for name in given:
        penalty = penalty.replace(name, 1.0)
    penalty = penalty if given else penalty.with_strength(1e4)
    X, Y = problem()
    fit = MultiTaskRegressor(penalty).fit(X, Y)
    assert not fit.coef_.any()
    assert 0 < fit.solution_.null_strength < np.inf


@pytest.mark.slow
@pytest.mark.parametrize(
    "penalty",
    [
        L1Inf(),
        FusedTasks(),
        FusedTasks(l1=0.3, fraction=0.5),
        TreeGroup(groups=(("a", "b"), ("c",))),
        GroupNorm(groups=BLOCKS) + L1(0.1),
        TreeGroup(groups=(("a", "b"), ("c",))) + L2(),
    ],
    ids=repr,
)
def test_paths(penalty):
    if isinstance(penalty, FusedTasks):
        penalty = penalty.replace("order", ("b", "c", "a"))
    X, Y = problem(40)
    task = np.tile(["a", "b", "c", "c"], 40)
    model = MultiTaskRegressorCV(penalty, alphas=5, cv=2, random_state=0)
    model.fit(np.repeat(X, 4, axis=0), Y.ravel(), task)
    assert model.solution_.status.ok
    assert len(model.alphas_) == 5
    assert model.best_penalty_.get_params().keys() == penalty.get_params().keys()


@pytest.mark.slow
def test_classes_of_tasks():
    X, Y = problem()
    labels = np.digitize(Y[:, :2], [-1.0, 1.0])
    for penalty in (FusedTasks(0.05, 0.01), TreeGroup(0.05, ((0,), (1,), (0, 1))), L1Inf(0.05)):
        model = MultiTaskClassifier(penalty).fit(X, labels)
        assert model.solution_.gap is not None
        assert model.solution_.status.ok
    fused = MultiTaskClassifier(FusedTasks(10.0)).fit(X, labels)
    assert_allclose(fused.coef_[:3], fused.coef_[3:], atol=1e-12)
