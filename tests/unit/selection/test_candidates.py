"""The registry of comparison models."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from polytask import AutoMultiTaskClassifier
from polytask._estimator import MultiTaskEstimator
from polytask.selection import learners
from polytask.selection.candidates import DEEP, MODELS, quick_models
from polytask.selection.facts import DataFacts, target_spread
from polytask.selection.trials import trial_of

FACTS = DataFacts(
    problem="regression",
    losses="squared",
    n_rows=60,
    n_features=3,
    n_tasks=3,
    median_rows=20.0,
    targets=False,
    sparse=False,
    unseen=False,
    seed=0,
)


def rows(classes: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X, task = rng.standard_normal((60, 3)), np.repeat([0, 1, 2], 20)
    y = X[:, 0] + 0.5 * rng.standard_normal(60)
    return X, (y > 0 if classes else y), task


def _each_model():
    for name, model in MODELS.items():
        yield pytest.param(name, marks=[pytest.mark.slow] * (model.family == DEEP))


@pytest.mark.parametrize("name", _each_model())
@pytest.mark.parametrize("problem", ["regression", "classification"])
def test_every_model_fits_and_predicts(name, problem):
    classes = problem == "classification"
    facts = dataclasses.replace(FACTS, problem=problem, losses="auto" if classes else "squared")
    model = MODELS[name]
    if model.family == DEEP:
        pytest.importorskip("torch")
    if model.unfit(facts):
        # Some for the few rows, others because this is no target matrix, one for one grouping.
        few = ("boosting per task", "forest pooled", "extra trees pooled")
        few = (*few, "boosting, learned prior")
        few = (*few, "learned prior of all groupings")
        assert name in (*few, "joint forest", "joint extra trees", "forest per task")
        return
    X, y, task = rows(classes)
    made = model.make(facts)
    trial = trial_of(made)
    quick = made if trial is None else trial.small
    assert isinstance(quick, MultiTaskEstimator)
    least = 0.0 if model.family == "mean" else 0.3
    assert quick.fit(X, y, task=task).score(X, y, task=task) > least


def test_what_cannot_be_tried_says_why():
    wide = dataclasses.replace(FACTS, unseen=True, sparse=True, median_rows=500.0)
    assert "only for tasks that were in training" in str(MODELS["separate"].unfit(wide))
    assert "sparse" in str(MODELS["boosting pooled"].unfit(wide))
    assert "sparse" in str(MODELS["boosting per task"].unfit(wide))
    matrix = dataclasses.replace(FACTS, targets=True)
    assert not MODELS["joint forest"].unfit(matrix)
    assert not MODELS["joint extra trees"].unfit(matrix)
    assert "no gaps" in str(MODELS["forest per task"].unfit(matrix))
    gaps = dataclasses.replace(matrix, gaps=True)
    assert "without gaps" in str(MODELS["joint forest"].unfit(gaps))
    assert not MODELS["forest per task"].unfit(gaps)
    assert "sparse" in str(MODELS["forest per task"].unfit(dataclasses.replace(gaps, sparse=True)))
    mixed = dataclasses.replace(FACTS, problem="mixed")
    assert "pooled" in str(MODELS["pooled"].unfit(mixed))
    assert not MODELS["separate"].unfit(mixed)
    assert not MODELS["near the mean"].unfit(mixed)
    assert "100 rows" in str(MODELS["boosting per task"].unfit(FACTS))
    assert "100 rows" in str(MODELS["forest pooled"].unfit(FACTS))
    assert "all targets" in str(MODELS["extra trees pooled"].unfit(matrix))
    quantile = dataclasses.replace(FACTS, median_rows=500.0, losses="quantile")
    assert "squared" in str(MODELS["forest pooled"].unfit(quantile))
    assert not MODELS["learned prior"].unfit(mixed)
    boosted = MODELS["boosting, learned prior"]
    assert "500 rows" in str(boosted.unfit(FACTS))
    assert "task label" in str(boosted.unfit(matrix))
    assert "gamma" in str(boosted.unfit(quantile))
    assert not boosted.unfit(dataclasses.replace(FACTS, n_rows=500))
    assert "one kind" in str(MODELS["pooled, corrected"].unfit(mixed))
    # Not left to the joint forest, which takes targets of one kind.
    whole = dataclasses.replace(mixed, targets=True)
    assert "one estimator" in str(MODELS["forest per task"].unfit(whole))
    outliers = dataclasses.replace(FACTS, losses={"a": "poisson", "b": "huber"})
    assert "poisson and gamma" in str(MODELS["learned prior"].unfit(outliers))
    many = dataclasses.replace(FACTS, n_features=5000)
    assert "5,000" in str(MODELS["learned prior"].unfit(many))


@pytest.mark.slow
def test_trees_with_a_learned_prior_of_classes_are_a_candidate():
    pytest.importorskip("lightgbm")
    rng = np.random.default_rng(0)
    X, task = rng.uniform(-2, 2, (700, 3)), np.arange(700) % 10
    y = 3 * np.sin(2 * X[:, 0]) + rng.normal(size=10)[task] + rng.logistic(size=700) > 0
    names = ["learned prior", "boosting, learned prior"]
    auto = AutoMultiTaskClassifier(names, cv=3).fit(X, y, task=task)
    assert auto.leaderboard()["model"][0] == "boosting, learned prior"


def test_trees_with_a_learned_prior_need_lightgbm(monkeypatch):
    many = dataclasses.replace(FACTS, n_rows=500)
    made = MODELS["boosting, learned prior"].make(many)
    assert made.get_params()["varying"] == "all"
    counts = dataclasses.replace(many, losses="poisson")
    assert MODELS["boosting, learned prior"].make(counts).loss == "poisson"
    monkeypatch.setattr(learners, "find_spec", lambda name: None)
    assert "pip install" in str(MODELS["boosting, learned prior"].unfit(many))


def test_names_kinds_and_the_quick_ones():
    assert all(name == model.name for name, model in MODELS.items())
    assert {model.kind for model in MODELS.values()} == {"separate", "pooled", "shared"}
    assert [model.name for model in quick_models(FACTS)] == [
        "separate",
        "separate, one strength",
        "pooled",
        "pooled + intercepts",
        "task means",
        "learned prior",
    ]


def test_a_quick_comparison_of_several_groupings_has_both_learned_priors():
    facts = dataclasses.replace(FACTS, groupings=("store", "product"))
    found = [model.name for model in quick_models(facts)]
    assert found[-2:] == ["learned prior", "learned prior of all groupings"]


def test_a_quick_comparison_has_a_sharing_model_also_where_the_first_cannot_be_tried():
    many = dataclasses.replace(FACTS, n_features=5000)
    assert [model.name for model in quick_models(many)][-2:] == ["learned prior", "near the mean"]


def test_a_trial_of_a_search_is_smaller_and_others_have_none():
    search = MODELS["near the mean"].make(FACTS)
    trial = trial_of(search)
    assert trial.small.alphas < trial.large.alphas < search.alphas
    # Two folds for five; 10 s to prepare them, and 1 s per strength for both together.
    few, more = trial.small.alphas, trial.large.alphas
    assert trial.whole(10.0 + few, 10.0 + more) == pytest.approx(5 / 2 * (10.0 + search.alphas))
    # A measurement that is noise adds nothing.
    assert trial.whole(10.0, 9.0) == pytest.approx(25.0)
    assert trial_of(MODELS["separate"].make(FACTS)) is None


def test_a_trial_of_a_search_with_few_strengths():
    search = MODELS["near the mean"].make(FACTS).set_params(alphas=[0.1, 1.0, 10.0])
    trial = trial_of(search)
    assert trial.whole(4.0, 5.0) == pytest.approx(10.0)


def test_targets_in_other_units_have_no_pooled_line_but_trees_that_tell_them_apart():
    facts = dataclasses.replace(FACTS, targets=True, target_spread=12.0, median_rows=500.0)
    lines = ("pooled", "pooled + intercepts", "pooled + category")
    for name in (*lines, "pooled + intercepts, unpenalised"):
        assert "differ up to 12 times" in str(MODELS[name].unfit(facts))
    for name in ("boosting pooled", "joint forest", "joint extra trees", "boosting, corrected"):
        assert MODELS[name].unfit(facts) is None
    alike = dataclasses.replace(facts, target_spread=9.0)
    assert [MODELS[name].unfit(alike) for name in lines] == [None] * 3


def test_the_spread_of_targets_is_that_of_their_standard_deviations():
    Y = np.array([[0.0, 5.0, 1.0, np.nan], [2.0, 5.0, 61.0, 4.0], [4.0, 5.0, 31.0, 8.0]])
    # A constant says nothing, gaps are left out.
    assert target_spread(Y) == pytest.approx(15.0)
    assert target_spread(np.ones((3, 2))) == 0.0
