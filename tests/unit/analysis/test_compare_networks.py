"""A comparison with networks: judged on the same splits, recommended, kept and resumed."""

from __future__ import annotations

import re

import numpy as np
import pytest

from polytask import SingleTask, compare, load, save, write_report
from polytask.comparison import sentences as _sentences
from polytask.messages import Translator

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    X, task = rng.standard_normal((240, 3)), np.repeat(["a", "b", "c", "d"], 60)
    y = np.abs(X[:, 0]) * (1 + 0.2 * (task == "a")) + 0.5 * X[:, 1]
    return X, y + 0.1 * rng.standard_normal(240), task


def net() -> object:
    from polytask.deep import MLP, DeepMultiTaskRegressor

    return DeepMultiTaskRegressor(
        MLP((32,)),
        max_epochs=25,
        early_stopping=False,
        learning_rate=0.02,
        random_state=0,
    )


def models() -> list[object]:
    return ["separate", "near the mean", ("shared net", net()), ("net alone", SingleTask(net()))]


@pytest.fixture(scope="module")
def result(rows):
    X, y, task = rows
    return compare(X, y, task=task, models=models(), quick=True)


@pytest.mark.slow
def test_the_network_is_recommended_and_its_sharing_is_judged_apart(result, rows):
    X, y, task = rows
    linear = compare(X, y, task=task, models=["separate", "near the mean"], quick=True)
    assert (result.verdict, result.gain) == (linear.verdict, linear.gain)
    assert {row.family for row in result.models} == {"linear", "deep"}
    assert all(row.picked == 0 for row in result.models if row.family == "deep")
    assert result.networks_gain.above
    assert result.recommended in ("shared net", "net alone")
    score = {row.name: row.score.mean for row in result.models}
    difference = score["shared net"] - score["net alone"]
    assert result.networks_sharing.mean == pytest.approx(difference)
    assert result.trees_gain is None
    said = result.summary()
    assert f"Use “{result.recommended}”" in said
    assert "better than the best linear model, the kind of model that the verdict" in said


@pytest.mark.slow
def test_what_is_recommended_is_fitted_kept_and_predicts(result, rows, tmp_path):
    X, _, task = rows
    model = result.best_model()
    save(model, tmp_path / "model.polytask")
    again = load(tmp_path / "model.polytask")
    np.testing.assert_array_equal(again.predict(X, task=task), model.predict(X, task=task))
    sizes = {row.name: row.file_bytes for row in result.models}
    assert sizes["net alone"] > 2 * sizes["shared net"] > 0
    for kind in ("html", "md"):
        write_report(result, tmp_path / f"report.{kind}")
        text = (tmp_path / f"report.{kind}").read_text(encoding="utf-8")
        assert "It is better than the best linear model" in text
        assert _sentences.networks(result, Translator("en")).split(":")[0] in text


@pytest.mark.slow
def test_a_comparison_that_was_stopped_goes_on_with_the_same_numbers(result, rows, tmp_path):
    X, y, task = rows
    journal = tmp_path / "journal"
    asked = {"task": task, "models": models(), "quick": True, "journal": journal}
    assert not compare(X, y, **asked, time_budget=0).complete
    resumed = compare(X, y, **asked)
    assert resumed.complete
    assert resumed.scores.equals(result.scores)
    assert resumed.networks_sharing == result.networks_sharing
    sizes = [{row.name: row.file_bytes for row in one.models} for one in (resumed, result)]
    assert sizes[0] == sizes[1]


@pytest.mark.slow
def test_networks_alone_have_a_verdict_of_their_own(rows):
    X, y, task = rows
    chosen = [("shared net", net()), ("net alone", SingleTask(net())), "separate"]
    alone = compare(X, y, task=task, models=chosen, quick=True)
    assert alone.networks_gain is None
    assert alone.networks_sharing is None
    assert alone.two_by_two is None
    assert alone.recommended in ("shared net", "net alone")
    assert {row.name for row in alone.models if row.picked} == {"shared net", "net alone"}


@pytest.mark.slow
def test_the_time_of_networks_is_announced(rows, capsys, monkeypatch):
    from polytask.selection import networks

    monkeypatch.setattr(networks, "_EPOCHS", 2)
    X, y, task = rows
    asked = ["separate", "near the mean", "deep"]
    compare(X, y, task=task, models=asked, quick=True, verbose=True)
    said = capsys.readouterr().err
    assert "4 models, 5 splits, 21 steps: " in said


@pytest.mark.slow
def test_the_time_of_a_model_per_task_is_told_by_some_of_many_tasks(monkeypatch, capsys):
    from polytask.comparison import plan as _estimate

    tried = []

    def timed(model, data):
        tried.append((type(model), data.n_tasks))
        return 200.0 if isinstance(model, SingleTask) else 0.0

    monkeypatch.setattr(_estimate, "_fit_seconds", timed)
    rng = np.random.default_rng(0)
    X, task = rng.standard_normal((240, 2)), np.repeat(np.arange(12), 20)
    y = X[:, 0] + 0.1 * rng.standard_normal(240)
    compare(X, y, task=task, models=["separate", "near the mean"], quick=True, verbose=True)
    assert {count for kind, count in tried if kind is SingleTask} == {8}
    assert {count for kind, count in tried if kind is not SingleTask} == {12}
    # 200 s for 8 tasks, so 300 s for 12; in each of five splits, and in three inner fits to three
    # quarters of the rows: 4875 s, and what has passed since the call.
    assert re.search(r"11 steps: expected to take about 8[12] minutes", capsys.readouterr().err)


def test_functions_among_parameters_are_told_apart_by_name():
    from polytask.selection.entries import told

    def mine(parameters: object) -> object:
        return parameters

    estimator = net()
    estimator.set_params(learning_rate=1e-3, optimizer=mine)
    assert "mine" in told(estimator)
    assert "0x" not in told(estimator)
