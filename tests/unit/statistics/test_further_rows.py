"""A learned prior sees further rows, or statistics of them: the posterior is the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone

import polytask
from polytask import (
    BayesianMultiTaskRegressor,
    DataError,
    IncompatibleError,
    MultiTaskClassifier,
    MultiTaskModel,
    MultiTaskRegressor,
    MultiTaskRegressorCV,
    MultiTaskRegressorIC,
    adapt,
)
from polytask.penalties import L2, L21, TraceNorm, toward_mean
from polytask.statistics import collect

TASKS = np.array(list("abcdef"))


def rows(seed: int, n: int = 300) -> dict[str, Any]:
    rng, common = np.random.default_rng(seed), np.random.default_rng(9)
    X, task = rng.normal(size=(n, 3)) * [1.0, 4.0, 0.2] + [0.0, 9.0, 0.0], rng.integers(6, size=n)
    W = 1.0 + 0.4 * common.normal(size=(6, 3))
    y = (X * W[task]).sum(axis=1) + rng.normal(size=n)
    Y = X @ W.T + rng.normal(size=(n, 6))
    weight = rng.uniform(0.5, 2.0, n)
    return {"X": X, "y": y, "task": TASKS[task], "Y": Y, "weight": weight}


def given(form: str, r: dict[str, Any], kept: np.ndarray) -> tuple[tuple[Any, ...], Any]:
    X, y, task, weight = (r[name][kept] for name in ("X", "y", "task", "weight"))
    match form:
        case "long":
            return (X, y, task), {"sample_weight": weight}
        case "targets":
            return (X, r["Y"][kept]), {}
        case "gaps":
            gaps = np.random.default_rng(1).random((len(X), 6)) < 0.3
            return (X, np.where(gaps, np.nan, r["Y"][kept])), {}
        case "table":
            table = pd.DataFrame(X, columns=list("pqr"))
            table["colour"] = np.array(["red", "blue"])[np.arange(len(X)) % 2]
            return (table.assign(site=task), y), {}
    return ({t: (X[task == t], y[task == t]) for t in np.unique(task).tolist()},), {}


def fitted(form: str, r: dict[str, Any], kept: np.ndarray) -> Any:
    data, more = given(form, r, kept)
    column = "site" if form == "table" else None
    return BayesianMultiTaskRegressor(task_column=column).fit(*data, **more)


def collected(form: str, model: Any, r: dict[str, Any], kept: np.ndarray) -> Any:
    data, more = given(form, r, kept)
    column = {"task_column": "site"} if form == "table" else {}
    return collect(*data, **more, **column, encoder=model.encoder_)


def assert_alike(model: Any, other: Any, r: dict[str, Any]) -> None:
    assert model.tasks_.tolist() == other.tasks_.tolist()
    for name in ("coef_", "intercept_", "task_weight_sums_"):
        assert_allclose(getattr(model, name), getattr(other, name), rtol=1e-9, atol=1e-9)
    one, two = model._tasks.blocks, other._tasks.blocks
    assert len(one) == len(two)


@pytest.mark.parametrize("form", ["long", "targets", "gaps", "separate", "table"])
def test_further_statistics_are_further_rows(form):
    first, more = rows(0), rows(1, 200)
    known, every = np.isin(first["task"], TASKS[:5]), np.ones(200, dtype=bool)
    known = known if form not in ("targets", "gaps") else np.ones(300, dtype=bool)
    model, same = fitted(form, first, known), fitted(form, first, known)
    data, weight = given(form, more, every)
    model.partial_fit(collected(form, model, more, every))
    same.partial_fit(*data, **weight)
    assert_alike(model, same, more)
    new, _ = given(form, more, np.arange(200) < 20)
    for one, two in zip(*(m.predict(*_query(form, new), return_std=True) for m in (model, same)),
                        strict=True):  # fmt: skip
        pairs = (
            zip(one.values(), two.values(), strict=True) if form == "separate" else [(one, two)]
        )
        for mine, theirs in pairs:
            assert_allclose(mine, theirs, rtol=1e-9)
    assert_allclose(model.score(*data, **weight), same.score(*data, **weight), rtol=1e-9)


def _query(form: str, data: tuple[Any, ...]) -> tuple[Any, ...]:
    if form == "separate":
        return ({t: X for t, (X, _) in data[0].items()},)
    return (data[0], data[2]) if form == "long" else (data[0],)


@pytest.mark.parametrize("form", ["long", "separate", "table"])
def test_a_new_task_is_adapted_to_by_its_statistics(form, tmp_path):
    first, more = rows(0), rows(1, 200)
    model = fitted(form, first, np.isin(first["task"], TASKS[:5]))
    new = more["task"] == "f"
    data, weight = given(form, more, new)
    found = adapt(model, collected(form, model, more, new))
    column = {"task": None} if form in ("separate", "table") else {"task": data[2]}
    expected = adapt(model, *data[:2], **column, **weight)
    assert_alike(found, expected, more)
    assert found.adaptation_.tasks == ("f",)
    assert found.adaptation_.rows == expected.adaptation_.rows
    assert found.data_card_.rows_per_task == expected.data_card_.rows_per_task
    assert model.tasks_.tolist() == list("abcde")
    polytask.save(found, tmp_path / "m.polytask")
    assert polytask.load(tmp_path / "m.polytask").tasks_.tolist() == list("abcdef")
    first_sentence = expected.adaptation_.summary().partition(".")[0]
    assert found.adaptation_.summary().startswith(first_sentence)


PENALISED = {
    "coupling": MultiTaskRegressor(toward_mean(0.3), standardize=True, scale_targets="auto"),
    "rows": MultiTaskRegressor(L21(0.1)),
    "spectral": MultiTaskRegressor(TraceNorm(0.1), loss="square_root"),
    "search": MultiTaskRegressorCV(toward_mean(), alphas=4, cv=3),
    "criterion": MultiTaskRegressorIC(L21(), alphas=8),
    "model": MultiTaskModel(toward_mean(0.3) + L2(0.01), loss="squared"),
}


@pytest.mark.parametrize("n", [1, 4, 200])
@pytest.mark.parametrize("kind", PENALISED)
def test_a_penalised_model_adapts_to_statistics_as_to_rows(kind, n):
    first, more = rows(0), rows(1, 1200)
    old = first["task"] != "f"
    model = clone(PENALISED[kind]).fit(first["X"][old], first["y"][old], first["task"][old])
    new = np.flatnonzero(more["task"] == "f")[:n]
    X, y, weight = (more[name][new] for name in ("X", "y", "weight"))
    expected = adapt(model, X, y, task="f", sample_weight=weight)
    found = adapt(model, collect(X, y, np.full(len(X), "f"), sample_weight=weight))
    # Rows may ask for another strength; at that of the model both are the same.
    if expected.adaptation_.strengths == (1.0,):
        for name in ("coef_", "intercept_", "task_weight_sums_"):
            assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-9, atol=1e-9)
    assert n == 200 or expected.adaptation_.strengths == (1.0,)
    assert found.adaptation_.strengths == (1.0,)
    assert found.adaptation_.rows == expected.adaptation_.rows == (len(X),)
    assert found.data_card_.rows_per_task == expected.data_card_.rows_per_task
    assert "only rows can tell" in found.adaptation_.summary()
    assert_allclose(found.predict(first["X"][old], first["task"][old]),
                    model.predict(first["X"][old], first["task"][old]))  # fmt: skip
    assert model.tasks_.tolist() == list("abcde")


def test_rows_that_ask_for_no_other_strength_are_their_statistics():
    first, more = rows(0), rows(1, 1200)
    old, new = first["task"] != "f", np.flatnonzero(more["task"] == "f")[:40]
    model = MultiTaskRegressor(toward_mean(0.05), standardize=True)
    model.fit(first["X"][old], first["y"][old], first["task"][old])
    expected = adapt(model, more["X"][new], more["y"][new], task="f")
    assert expected.adaptation_.strengths == (1.0,)
    found = adapt(model, collect(more["X"][new], more["y"][new], np.full(40, "f")))
    assert_allclose(found.coef_, expected.coef_, rtol=1e-9)
    assert_allclose(found.intercept_, expected.intercept_, rtol=1e-9)


def test_what_statistics_cannot_adapt_is_refused():
    first = rows(0)
    known = np.isin(first["task"], TASKS[:5])
    model = fitted("long", first, known)
    new = collected("long", model, first, ~known)
    with pytest.raises(IncompatibleError, match=r"with domain='new'\. Give the rows"):
        adapt(model, new, domain="new")
    robust = MultiTaskRegressor(loss="huber").fit(*given("long", first, known)[0])
    with pytest.raises(IncompatibleError, match=r"got MultiTaskRegressor\(loss='huber'\) with"):
        adapt(robust, new)
    penalised = MultiTaskRegressor().fit(*given("long", first, known)[0])
    with pytest.raises(IncompatibleError, match="got MultiTaskRegressor with domain='new'"):
        adapt(penalised, new, domain="new")
    with pytest.raises(DataError, match="the model knows 'a' already"):
        adapt(penalised, collected("long", model, first, known))
    with pytest.raises(IncompatibleError, match="has 3 features, and the statistics have 2"):
        adapt(
            penalised, collect(first["X"][~known, :2], first["y"][~known], first["task"][~known])
        )
    with pytest.raises(DataError, match="one target per row"):
        adapt(penalised, collect(first["X"], first["Y"]))
    X, y, task = given("long", first, known)[0]
    classes = MultiTaskClassifier().fit(X, y > 0, task)
    with pytest.raises(IncompatibleError, match="got MultiTaskClassifier"):
        adapt(classes, new)
    with pytest.raises(DataError, match="'a'"):
        adapt(model, collected("long", model, first, known))
    with pytest.raises(DataError, match="y, task and sample_weight of adapt"):
        adapt(model, new, task="f")
    two = collect(first["X"][:, :2], first["y"], first["task"])
    with pytest.raises(IncompatibleError, match="has 3 features, and the statistics have 2"):
        model.partial_fit(two)
    table = pd.DataFrame(first["X"], columns=list("pqr"))
    with pytest.raises(IncompatibleError, match="not encoded alike"):
        model.partial_fit(collect(table, first["y"], first["task"]))
