"""A learned prior sees further rows, or statistics of them: the posterior is the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import polytask
from polytask import (
    BayesianMultiTaskRegressor,
    DataError,
    IncompatibleError,
    MultiTaskRegressor,
    adapt,
)
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


def test_what_statistics_cannot_adapt_is_refused():
    first = rows(0)
    known = np.isin(first["task"], TASKS[:5])
    model = fitted("long", first, known)
    new = collected("long", model, first, ~known)
    with pytest.raises(IncompatibleError, match=r"with domain='new'\. Give the rows"):
        adapt(model, new, domain="new")
    penalised = MultiTaskRegressor().fit(first["X"], first["y"], first["task"])
    with pytest.raises(IncompatibleError, match="got MultiTaskRegressor with domain=None"):
        adapt(penalised, new)
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
