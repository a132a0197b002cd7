"""Rules that choose among candidates, kinds of intercepts that are searched, and proportions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from polytask import MultiTaskRegressorCV, ParameterError, load, save
from polytask.linear.problem import Settings
from polytask.penalties import L1, L2, L21, ElasticNet, dirty, toward_mean
from polytask.selection import variants
from polytask.selection.rules import RULES, ScoredChoice, pareto_front

SETTINGS = Settings()


def candidate(size: float, score: float, alpha: float = 1.0, family: int = 0) -> ScoredChoice:
    return ScoredChoice(L1(alpha), alpha, SETTINGS, np.array([score, score]), family, 0, size)


# Sizes and scores with a knee at size 3; sizes 2 and 6 lie below the front.
POINTS = [(0, -10.0), (1, -6.0), (2, -7.0), (3, -2.0), (5, -1.5), (6, -1.8), (10, -1.0)]
FRONT = [0, 1, 3, 5, 10]


def test_the_front_has_what_nothing_as_sparse_beats() -> None:
    candidates = [candidate(*point, family=k % 2) for k, point in enumerate(POINTS)]
    assert [c.size for c in pareto_front(candidates[::-1])] == FRONT


def test_pareto_is_farthest_above_the_line_between_the_ends() -> None:
    candidates = [candidate(*point) for point in POINTS]
    chosen = RULES["pareto"](candidates)
    # Of 10 coefficients and 9 units of score: .3 along and 8/9 gained is .59 above the line.
    above = {size: (score + 10) / 9 - size / 10 for size, score in POINTS if size in FRONT}
    assert chosen.size == max(above, key=lambda size: above[size]) == 3


def test_pareto_does_not_depend_on_units() -> None:
    scaled = [candidate(7 * size, 100 * score - 3) for size, score in POINTS]
    assert RULES["pareto"](scaled).size == 21


def test_pareto_without_a_knee_is_the_best() -> None:
    dense = [candidate(10, score, alpha) for alpha, score in ((1.0, -2.0), (0.1, -1.0))]
    assert RULES["pareto"](dense).score == -1.0
    # Every coefficient buys more than the one before: nothing to stop at.
    convex = [candidate(size, score) for size, score in ((0, -10.0), (5, -9.0), (10, 0.0))]
    assert RULES["pareto"](convex).size == 10
    without = [*convex, candidate(3, float("nan"))]
    assert RULES["pareto"](without).size == 10


def sparse(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((80, 20))
    W = np.zeros((20, 4))
    W[:3] = 1.0
    return X, X @ W + rng.standard_normal((80, 4))


def test_pareto_keeps_the_planted_features_and_few_others() -> None:
    X, Y = sparse()
    best = MultiTaskRegressorCV(L21(), cv=3, task_weight="size").fit(X, Y)
    knee = MultiTaskRegressorCV(L21(), cv=3, task_weight="size", rule="pareto").fit(X, Y)
    kept = [np.count_nonzero(np.any(m.coef_, axis=0)) for m in (best, knee)]
    assert np.all(np.any(knee.coef_[:, :3], axis=0))
    assert 3 <= kept[1] < kept[0]
    assert knee.score(X, Y) > 0.9 * best.score(X, Y)


def test_the_table_of_candidates_says_what_was_tried(tmp_path: Path) -> None:
    X, Y = sparse()
    model = MultiTaskRegressorCV([L21(), L2()], alphas=4, cv=3, task_weight="size").fit(X, Y)
    frame = model.search_frame()
    assert len(frame) == 8
    np.testing.assert_allclose(frame["score"], model.scores_.mean(axis=1))
    assert frame["coefficients"].iloc[0] < 10 < frame["coefficients"].iloc[3]
    assert (frame["coefficients"].iloc[4:] == 80).all()
    save(model, tmp_path / "m.polytask")
    assert load(tmp_path / "m.polytask").search_frame().equals(frame)


def test_kinds_of_intercepts_are_searched() -> None:
    rng = np.random.default_rng(0)
    X, task = rng.standard_normal((120, 3)), np.repeat(np.arange(6), 20)
    W = rng.standard_normal((3, 6))
    apart = np.einsum("ij,ji->i", X, W[:, task]) + 5.0 * task + rng.standard_normal(120)
    together = apart - 5.0 * task
    given = {"alphas": 5, "cv": 3, "intercept": ["shared", "task"], "standardize": False}
    found = [MultiTaskRegressorCV(L2(), **given).fit(X, y, task=task) for y in (apart, together)]
    assert [m.intercept_mode_ for m in found] == ["task", "shared"]
    assert set(found[0].intercept_modes_) == {"shared", "task"}
    assert np.ptp(found[1].intercept_) == 0
    pulled = MultiTaskRegressorCV(L2(), **{**given, "intercept": ["task", "toward_mean"]})
    pulled.fit(X, together, task=task)
    tried = set(zip(pulled.intercept_modes_, (c[2] for c in pulled.candidates_), strict=True))
    assert {("toward_mean", k) for k in (0.1, 1.0, 10.0, 100.0)} <= tried
    assert len({k for mode, k in tried if mode == "task"}) == 1


@pytest.mark.parametrize("wrong", [[], ["nearby"], "nearby"])
def test_unknown_kinds_of_intercepts_are_refused(wrong: object) -> None:
    X, Y = sparse()
    with pytest.raises(ParameterError, match="intercept of MultiTaskRegressorCV"):
        MultiTaskRegressorCV(intercept=wrong).fit(X, Y)


def test_variants_are_all_combinations() -> None:
    found = variants(ElasticNet(2.0), {"alpha": (1.0, 3.0), "l1_ratio": (0.2, 0.9)})
    assert [(p.strength, p.l1_ratio) for p in found] == [
        (1.0, 0.2), (1.0, 0.9), (3.0, 0.2), (3.0, 0.9)
    ]  # fmt: skip
    sums = variants(toward_mean(1.0) + L2(0.1), {"p1__alpha": [0.01, 1.0]})
    assert [p.members[1].strength for p in sums] == [0.01, 1.0]
    with pytest.raises(ParameterError, match="l1_ratio of variants"):
        variants(ElasticNet(), {"l1_ratio": ()})
    with pytest.raises(ParameterError, match="l1_ratio"):
        variants(L21(), {"l1_ratio": (0.5,)})


def test_proportions_are_chosen_with_the_strength() -> None:
    X, Y = sparse()
    ratios = (0.1, 1.0)
    model = MultiTaskRegressorCV(
        variants(ElasticNet(), {"l1_ratio": ratios}), alphas=10, cv=3, task_weight="size"
    ).fit(X, Y)
    frame = model.search_frame()
    assert len(frame) == 20
    by_ratio = [frame["score"].iloc[10 * k : 10 * k + 10].max() for k in range(2)]
    assert model.best_penalty_.l1_ratio == ratios[int(np.argmax(by_ratio))] == 1.0
    # Features of single tasks beside common ones: the shares of the parts matter.
    parts = variants(dirty(1.0, 1.0), {"p1__alpha": (0.6, 0.9)})
    shares = MultiTaskRegressorCV(parts, alphas=4, cv=2, task_weight="size").fit(X, Y)
    chosen = shares.best_penalty_.get_params()
    assert chosen["p1__alpha"] / chosen["p0__alpha"] in (pytest.approx(0.6), pytest.approx(0.9))
