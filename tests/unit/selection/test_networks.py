"""Networks among the candidates: which there are, how they stop, how they are searched."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from polytask import AutoMultiTaskRegressor, Pooled, SingleTask, load, save
from polytask._estimator import MultiTaskEstimator
from polytask.comparison.boards import ruling_family
from polytask.data import GroupedRows, TimeOrdered
from polytask.exceptions import IncompatibleError, ParameterError
from polytask.penalties import L2, L21, toward_mean
from polytask.selection import Between, networks, tune
from polytask.selection.candidates import (
    DEEP,
    DEFAULT,
    MODELS,
    compared_models,
    deep_models,
    quick_models,
)
from polytask.selection.entries import make_entries, without_splitters
from polytask.selection.facts import DataFacts

pytest.importorskip("torch")

FACTS = DataFacts(
    problem="regression",
    losses="squared",
    n_rows=120,
    n_features=3,
    n_tasks=3,
    median_rows=40.0,
    targets=False,
    sparse=False,
    unseen=False,
    seed=0,
)
GROUPS = {DEFAULT: compared_models(), DEEP: deep_models()}
NETWORKS = [model.name for model in deep_models()]


@pytest.fixture(autouse=True)
def few_epochs(monkeypatch):
    monkeypatch.setattr(networks, "_EPOCHS", 20)


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X, task = rng.standard_normal((120, 3)), np.repeat(["a", "b", "c"], 40)
    return X, np.abs(X[:, 0]) + X[:, 1] + 0.1 * rng.standard_normal(120), task


def small(**params: Any) -> Any:
    from polytask.deep import MLP, DeepMultiTaskRegressor

    trunk = params.pop("trunk", MLP((8,)))
    return DeepMultiTaskRegressor(trunk, max_epochs=3, random_state=0, **params)


def names(entries: Any) -> list[str]:
    return [entry.name for entry in entries]


def test_networks_are_tried_only_where_they_are_asked_for():
    default = [model.name for model in compared_models() if not model.of_groupings]
    assert names(make_entries("default", FACTS, GROUPS, "compare")) == default
    assert not set(default) & set(NETWORKS)
    # By itself "deep" is added to what networks are to beat.
    for asked in ("deep", ["deep"], ["default", "deep"]):
        assert names(make_entries(asked, FACTS, GROUPS, "compare")) == [*default, *NETWORKS]
    beside = make_entries(["separate", "deep"], FACTS, GROUPS, "compare")
    assert names(beside) == ["separate", *NETWORKS]
    with pytest.raises(ParameterError, match=r"'deep'.*got 'dep'.*deep"):
        make_entries(["dep"], FACTS, GROUPS, "compare")


def test_sharing_is_compared_with_a_network_per_task_and_one_for_all():
    kinds = {model.kind for model in deep_models()}
    assert kinds == {"separate", "pooled", "shared"}
    quick = quick_models(FACTS, deep=True)
    assert {model.kind for model in quick} == {"separate", "shared"}
    assert not set(quick) & set(quick_models(FACTS))
    apart, shared = (MODELS[name].make(FACTS) for name in ("network per task", NETWORKS[2]))
    assert isinstance(apart, SingleTask)
    assert repr(apart.estimator.get_params()) == repr(shared.get_params())


def test_what_networks_cannot_do_says_why():
    unseen = dataclasses.replace(FACTS, unseen=True)
    assert "only for tasks that were in training" in str(MODELS["network per task"].unfit(unseen))
    shared = MODELS["network, shared trunk"]
    assert not shared.unfit(unseen)
    assert shared.make(unseen).unseen_tasks == "shared"
    mixed = dataclasses.replace(FACTS, problem="mixed", losses="auto")
    assert "pooled" in str(MODELS["network pooled"].unfit(mixed))
    assert not MODELS["network per task"].unfit(mixed)


def test_numbers_and_classes_have_networks_that_share_nothing(rows):
    X, y, _ = rows
    Y = np.column_stack([y, y > 1, -y]).astype(object)
    facts = dataclasses.replace(FACTS, problem="mixed", losses=None, targets=True)
    losses = {0: "squared", 1: "logistic", 2: "squared"}
    apart = MODELS["network per task"].make(dataclasses.replace(facts, losses=losses))
    found = apart.set_params(max_epochs=2).fit(X, Y).network_
    import torch

    # The slope of one target's output in what belongs to another is zero.
    features = found.represent(torch.ones(4, X.shape[1]), torch.full((4,), 0))
    (features.sum() + 0.0).backward()
    towers = [p.grad for name, p in found.named_parameters() if p.grad is not None]
    assert towers
    assert all(not grad[1:].any() for grad in towers if len(grad) == 3)


@pytest.mark.parametrize("name", NETWORKS)
def test_groups_and_times_decide_about_early_stopping(name, rows):
    X, y, task = rows
    patients, day = np.arange(120) // 3, np.arange(120) % 40
    for cv in (GroupedRows(patients, n_splits=4), TimeOrdered(day, n_splits=3)):
        made = MODELS[name].make(dataclasses.replace(FACTS, cv=cv))
        held = getattr(made, "estimator", made).validation
        assert type(held) is type(cv)
        if isinstance(cv, TimeOrdered):
            assert (held.n_splits, held.test_size) == (1, 0.1)
        made.set_params(
            **{"estimator__max_epochs" if "estimator" in made.get_params() else "max_epochs": 1}
        )
        fitted = made.fit(X, y, task=task)
        plain = without_splitters(fitted)
        assert getattr(plain, "estimator", plain).validation == 0.1
        inner = getattr(plain, "estimators_", {"": getattr(plain, "estimator_", plain)})
        assert all(one.validation == 0.1 for one in inner.values())


def test_networks_of_the_user_are_judged_as_networks(rows):
    given = [("net", small()), ("alone", SingleTask(small())), ("one", Pooled(small(), "none"))]
    entries = make_entries(given, FACTS, GROUPS, "compare")
    assert [(e.kind, e.family) for e in entries] == [
        ("shared", "deep"), ("separate", "deep"), ("pooled", "deep"),
    ]  # fmt: skip
    assert ruling_family(entries) == "deep"
    assert ruling_family(make_entries("deep", FACTS, GROUPS, "compare")) == "linear"
    linear = make_entries(["separate", *NETWORKS], FACTS, GROUPS, "compare")
    assert ruling_family(linear) == "deep"


def test_without_torch_one_sentence_says_what_to_install(monkeypatch):
    gone = [name for name in sys.modules if name.split(".")[:2] == ["polytask", "deep"]]
    for name in (*gone, "torch"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import polytask

    monkeypatch.delattr(polytask, "deep", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: None)
    with pytest.raises(IncompatibleError, match=r'pip install "polytask\[deep\]"'):
        make_entries("deep", FACTS, GROUPS, "compare")
    # Nothing else needs it.
    assert names(make_entries("default", FACTS, GROUPS, "compare"))


def test_torch_is_not_imported_unless_it_is_asked_for():
    program = (
        "import sys\n"
        "from polytask.selection.candidates import DEFAULT, MODELS, compared_models\n"
        "from polytask.selection.entries import make_entries\n"
        "from polytask.selection.facts import DataFacts\n"
        f"facts = {FACTS!r}\n"
        "made = make_entries('default', facts, {DEFAULT: compared_models()}, 'compare')\n"
        "assert made and MODELS['network pooled'].family == 'deep'\n"
        "assert not {'torch', 'polytask.deep'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.slow
def test_auto_uses_a_network_where_it_predicts_best(rows, tmp_path):
    from polytask.deep import MLP

    X, y, task = rows
    net = small(trunk=MLP((32,))).set_params(max_epochs=150, learning_rate=0.02)
    auto = AutoMultiTaskRegressor(["separate", ("net", net)], cv=3).fit(X, y, task=task)
    board = auto.leaderboard()
    assert board["model"][0] == "net"
    assert board["family"][0] == "deep"
    assert "networks: “net”" in auto.explain()
    assert "神经网络" in auto.explain("zh")
    save(auto, tmp_path / "auto.polytask")
    again = load(tmp_path / "auto.polytask")
    np.testing.assert_array_equal(again.predict(X, task=task), auto.predict(X, task=task))


def test_a_network_says_what_is_worth_searching():
    import torch

    from polytask.deep import MLP, DeepMultiTaskRegressor, sharing

    plain = DeepMultiTaskRegressor().search_space()
    kinds = ["learning_rate", "penalties", "sharing", "trunk", "weight_decay"]
    assert sorted(plain) == ["balancer", *kinds]
    assert {len(trunk.widths) for trunk in plain["trunk"]} == {1, 2, 3}
    assert all(isinstance(trunk, MLP) for trunk in plain["trunk"])
    given = small(
        trunk=MLP((8, 4)),
        sharing=sharing.Soft(toward_mean(0.1)),
        penalties={"heads": L2(0.5), "trunk.*": L21(0.01) + L2(0.0)},
    ).search_space()
    assert given["trunk__widths"] == [(4, 2), (8, 4), (16, 8), (8,), (8, 4, 4)]
    assert given["penalties__heads__alpha"] == Between(0.005, 50.0)
    assert given["sharing__penalty__alpha"] == Between(0.001, 10.0)
    assert given["penalties__trunk.*__p0__alpha"].high == pytest.approx(1.0)
    assert "sharing" not in given
    # A strength of 0 asks for no penalty.
    assert "penalties__trunk.*__p1__alpha" not in given
    own = DeepMultiTaskRegressor(torch.nn.Linear(3, 2), optimizer=torch.optim.Adam)
    assert set(own.search_space()) == {"balancer"}
    assert "sharing" not in small(trunk=MLP((8,), norm="task_batch")).search_space()
    experts = small(sharing=sharing.MMoE(2)).search_space()["sharing__n_experts"]
    assert experts.integer


def test_every_value_of_a_space_can_be_set_and_changes_no_other_model():
    from polytask.deep import sharing

    penalties = {"heads": L2(0.5), "input": L21(0.1)}
    model = small(penalties=penalties, sharing=sharing.MMoE(2))
    space = model.search_space()
    for name, given in space.items():
        for value in (given.low, given.high) if isinstance(given, Between) else given:
            wanted = int(value) if isinstance(given, Between) and given.integer else value
            model.set_params(**{name: wanted})
    assert penalties["heads"].alpha == 0.5
    assert model.penalties["heads"].alpha == 50.0
    assert model.sharing.n_experts == 8
    with pytest.raises(ParameterError, match=r"head__alpha.*heads"):
        model.set_params(penalties__head__alpha=1.0)
    with pytest.raises(ParameterError, match="'experts'"):
        model.set_params(sharing__experts=1)


def test_the_tuner_searches_a_network(rows):
    pytest.importorskip("optuna")
    X, y, task = rows
    model = small(penalties={"heads": L2(0.1)})
    space = model.search_space()
    found = tune(model, space, X, y, task, cv=2, n_trials=3, prune=False)
    assert isinstance(found.estimator, MultiTaskEstimator)
    assert set(found.params) == set(space)
    assert {trial.params["penalties__heads__alpha"] for trial in found.trials} != {0.1}
    best = max(found.trials, key=lambda trial: np.mean(trial.scores))
    assert found.params == best.params
    assert found.estimator.penalties["heads"].alpha == best.params["penalties__heads__alpha"]
    assert found.estimator.trunk.widths == best.params["trunk__widths"]
    assert model.penalties["heads"].alpha == 0.1
    again = tune(model, space, X, y, task, cv=2, n_trials=3, prune=False)
    assert [t.scores for t in again.trials] == [t.scores for t in found.trials]
