"""Models that go on learning: pieces are all rows, and forgetting is weights that decay."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from unit.pairs import in_turn

import polytask
from polytask import (
    BayesianMultiTaskRegressor,
    DataError,
    IncompatibleError,
    MultiTaskRegressor,
    MultiTaskRegressorCV,
    ParameterError,
    adapt,
)
from polytask.linear.estimators import placed
from polytask.penalties import L2, L21, TraceNorm, toward_mean
from polytask.statistics import collect

N, D, PIECES = 240, 3, 3
PENALTIES = {
    "coupling": toward_mean(1.0) + L2(0.1),
    "rows": L21(0.05),
    "spectral": TraceNorm(0.05),
}


def rows(seed: int = 0) -> dict[str, Any]:
    """Return rows whose third piece has a task and a level that the others lack."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, D)) * [1.0, 3.0, 0.3] + [0.0, 5.0, 0.0]
    late = np.arange(N) >= 2 * N // PIECES
    task = np.where(late, rng.integers(5, size=N), rng.integers(4, size=N))
    colour = np.array(["red", "blue", "amber"])[rng.integers(2 + late)]
    W = 1.0 + 0.5 * np.random.default_rng(9).normal(size=(5, D))
    y = (X * W[task]).sum(axis=1) + 0.4 * (colour == "amber") + rng.normal(size=N)
    gaps = np.where(rng.random((N, 5)) < 0.3, np.nan, 0.0)
    return {
        "X": X, "y": y, "task": np.array(list("abcde"))[task], "colour": colour,
        "Y": X @ W.T + rng.normal(size=(N, 5)) + gaps,
    }  # fmt: skip


def given(form: str, r: dict[str, Any], kept: Any) -> tuple[Any, ...]:
    X, y, task = (r[name][kept] for name in ("X", "y", "task"))
    if form == "targets":
        return X, r["Y"][kept]
    if form == "separate":
        return ({t: (X[task == t], y[task == t]) for t in np.unique(task).tolist()},)
    if form == "table":
        table = pd.DataFrame(X, columns=list("pqr"))
        return table.assign(colour=r["colour"][kept], site=task), y
    return X, y, task


def pieces() -> list[slice]:
    step = N // PIECES
    return [slice(k * step, (k + 1) * step) for k in range(PIECES)]


def decayed(forget: float) -> np.ndarray:
    """Return the weights that rows have after the last piece."""
    age = PIECES - 1 - np.arange(N) // (N // PIECES)
    return (1.0 - forget) ** age


def weights(form: str, r: dict[str, Any], weight: np.ndarray) -> Any:
    if form != "separate":
        return weight
    return {t: weight[r["task"] == t] for t in np.unique(r["task"]).tolist()}


def assert_alike(model: Any, other: Any) -> None:
    assert model.tasks_.tolist() == other.tasks_.tolist()
    assert model.coef_feature_names_.tolist() == other.coef_feature_names_.tolist()
    for name in ("coef_", "intercept_", "task_weight_sums_"):
        assert_allclose(getattr(model, name), getattr(other, name), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("forget", [0.0, 0.3])
@pytest.mark.parametrize("form", ["long", "targets", "separate", "table"])
def test_pieces_are_all_rows_with_weights_that_decay(form, forget):
    r, more = rows(), {"task_column": "site"} if form == "table" else {}
    model = MultiTaskRegressor(
        PENALTIES["coupling"], tol=1e-13, standardize=True, scale_targets="auto", **more
    )
    same = copy.deepcopy(model)
    for k, part in enumerate(pieces()):
        data = given(form, r, part)
        # Rows and statistics of rows may take turns.
        model.partial_fit(*([collect(*data, **more)] if k == 1 else data), forget=forget)
    same.fit(*given(form, r, slice(None)), sample_weight=weights(form, r, decayed(forget)))
    assert_alike(model, same)
    assert_allclose(model.score(*given(form, r, slice(None))),
                    same.score(*given(form, r, slice(None))), rtol=1e-9)  # fmt: skip
    assert model.statistics_.n_rows == N
    assert model.data_card_.n_rows == N


def test_a_later_piece_may_lack_the_labels_of_a_target():
    r = rows()
    lacking = np.where(np.arange(5) == 2, np.nan, r["Y"])
    model = MultiTaskRegressor(PENALTIES["coupling"], tol=1e-13)
    model.partial_fit(r["X"], r["Y"]).partial_fit(r["X"], lacking)
    same = MultiTaskRegressor(PENALTIES["coupling"], tol=1e-13)
    same.fit(np.vstack([r["X"]] * 2), np.vstack([r["Y"], lacking]))
    assert_alike(model, same)


@pytest.mark.parametrize(
    ("penalty", "loss"), in_turn(PENALTIES, ["square_root", "squared", "squared"])
)
def test_every_kind_of_penalty_goes_on(penalty, loss):
    r = rows()
    model = MultiTaskRegressor(PENALTIES[penalty], loss=loss, tol=1e-14, task_weight="equal")
    for part in pieces():
        model.partial_fit(*given("long", r, part), forget=0.2)
        assert model.solution_.status.ok
    same = copy.deepcopy(model).fit(*given("long", r, slice(None)), sample_weight=decayed(0.2))
    # What a duality gap of 1e-14 leaves of coefficients is its root.
    assert_allclose(model.coef_, same.coef_, atol=1e-6)
    assert_allclose(model.solution_.objective, same.solution_.objective, rtol=1e-9)


def test_the_solver_starts_from_the_last_coefficients():
    r = rows()
    model = MultiTaskRegressor(TraceNorm(0.05), tol=1e-10)
    model.partial_fit(1e9 * collect(r["X"], r["y"], r["task"]))
    fresh = model.solution_.n_iter
    assert fresh > 50
    model.partial_fit(r["X"][:1], r["y"][:1], r["task"][:1])
    assert model.solution_.n_iter < 0.2 * fresh


def test_where_tasks_and_levels_are_new_the_others_start_where_they_were():
    r = rows()
    first, last = (given("table", r, part) for part in (pieces()[0], pieces()[2]))
    model = MultiTaskRegressor(PENALTIES["coupling"], task_column="site").partial_fit(*first)
    own = collect(last[0].assign(site="B"), last[1], task_column="site")
    start = placed(model.solution_, model.statistics_, model.statistics_ + own)
    assert start.W.shape == (D + 3, 5)
    assert_allclose(start.W[:, 0], 0.0)
    kept = [k for k, name in enumerate(own.feature_names or ()) if name != "colour=amber"]
    assert_allclose(start.W[kept, 1:], model.solution_.W)
    assert_allclose(start.intercept, [0.0, *model.solution_.intercept])


@pytest.mark.parametrize("kind", ["common", "task", "correlated", "wide"])
def test_a_learned_prior_forgets_by_weights_that_decay(kind):
    r = rows()
    wide = kind == "wide"
    form = "targets" if kind == "correlated" else "long"
    if wide:
        r["X"] = np.random.default_rng(2).normal(size=(N, 60))
    first, second = (given(form, r, part) for part in pieces()[:2])
    noise = {} if wide else {"noise": kind}
    model = BayesianMultiTaskRegressor(**noise).fit(*first)
    held = copy.deepcopy(model)
    model.partial_fit(*second, forget=0.4)
    twice = copy.deepcopy(held).partial_fit(*first, forget=0.4)
    expected = copy.deepcopy(held).partial_fit(*first, sample_weight=np.full(N // PIECES, 0.6))
    query = first[:1] + first[2:]
    for mine, theirs in zip(twice.predict(*query, return_std=True),
                            expected.predict(*query, return_std=True), strict=True):  # fmt: skip
        assert_allclose(mine, theirs, rtol=1e-6 if wide else 1e-9)
    again = copy.deepcopy(held).partial_fit(collect(*second), forget=0.4)
    assert_allclose(again.coef_, model.coef_, rtol=1e-6 if wide else 1e-9, atol=1e-9)
    if kind == "correlated":
        # A prior that is given has no correlations.
        return
    both = slice(0, 2 * N // PIECES)
    weight = np.where(np.arange(2 * N // PIECES) < N // PIECES, 0.6, 1.0)
    everything = given(form, r, both)
    same = BayesianMultiTaskRegressor(prior=held).fit(*everything, sample_weight=weight)
    query = everything[:1] + everything[2:]
    for mine, theirs in zip(model.predict(*query, return_std=True),
                            same.predict(*query, return_std=True), strict=True):  # fmt: skip
        assert_allclose(mine, theirs, rtol=1e-6 if wide else 1e-9)
    assert_allclose(model.task_weight_sums_, same.task_weight_sums_, rtol=1e-12)
    assert_allclose(model.score(*everything), same.score(*everything), rtol=1e-6)


def test_a_task_without_new_rows_goes_back_to_the_prior():
    r = rows()
    model = BayesianMultiTaskRegressor().fit(r["X"], r["y"], r["task"])
    query = (r["X"][:5], np.full(5, "a"))
    own = r["task"] != "a"
    known = model.predict(*query, return_std=True)
    _, widest = model.predict(r["X"][:5], np.full(5, "new"), return_std=True)
    model.partial_fit(r["X"][own], r["y"][own], r["task"][own], forget=0.9)
    less = model.predict(*query, return_std=True)
    for _ in range(8):
        model.partial_fit(r["X"][own], r["y"][own], r["task"][own], forget=0.9)
    mean, deviation = model.predict(*query, return_std=True)
    unseen, _ = model.predict(r["X"][:5], np.full(5, "new"), return_std=True)
    assert np.all(less[1] > known[1] * 1.001)
    assert_allclose(mean, unseen, rtol=1e-4)
    assert_allclose(deviation, widest, rtol=1e-3)


def drifting(forget: float, model: Any) -> float:
    """Return the mean squared error of predicting each day before it is learned."""
    rng, errors = np.random.default_rng(3), []
    W = rng.normal(size=(6, D))
    for day in range(60):
        W = W + 0.15 * rng.normal(size=(6, D))
        X, task = rng.normal(size=(60, D)), np.repeat(np.arange(6), 10)
        y = (X * W[task]).sum(axis=1) + 0.5 * rng.normal(size=60)
        if day >= 10:
            errors.append(np.mean((y - model.predict(X, task)) ** 2))
        model.partial_fit(X, y, task, forget=forget)
    return float(np.mean(errors))


@pytest.mark.parametrize("kind", ["penalised", "learned prior"])
def test_what_drifts_is_predicted_better_by_a_model_that_forgets(kind):
    makers = {
        "penalised": lambda: MultiTaskRegressor(toward_mean(0.01)),
        "learned prior": BayesianMultiTaskRegressor,
    }
    kept, forgot = (drifting(forget, makers[kind]()) for forget in (0.0, 0.3))
    assert forgot < 0.5 * kept


def test_a_saved_model_goes_on(tmp_path):
    r = rows()
    first, second, third = (given("table", r, part) for part in pieces())
    for model in (
        MultiTaskRegressor(PENALTIES["coupling"], tol=1e-12, task_column="site"),
        BayesianMultiTaskRegressor(task_column="site"),
    ):
        model.partial_fit(*first)
        polytask.save(model, tmp_path / "m.polytask")
        again = polytask.load(tmp_path / "m.polytask")
        for part in (second, third)[: 2 if isinstance(model, MultiTaskRegressor) else 1]:
            model.partial_fit(*part, forget=0.1)
            again.partial_fit(*part, forget=0.1)
        assert_alike(again, model)


def cannot_go_on(model: Any, why: str) -> None:
    assert not hasattr(model, "partial_fit")
    with pytest.raises(AttributeError, match="partial_fit") as raised:
        model.partial_fit([[1.0]], [1.0])
    assert why in str(raised.value.__cause__)


def test_what_cannot_go_on_is_refused_and_changes_nothing():
    r = rows()
    data = given("long", r, slice(80))
    model = MultiTaskRegressor(PENALTIES["coupling"])
    cannot_go_on(copy.deepcopy(model).fit(*data), "this model has none")
    cannot_go_on(MultiTaskRegressor(loss="huber"), "got loss='huber'")
    for forget in (1.0, -0.1, "much", None):
        with pytest.raises(ParameterError, match=r"a number in \[0, 1\)"):
            model.partial_fit(*data, forget=forget)
        with pytest.raises(ParameterError, match=r"a number in \[0, 1\)"):
            BayesianMultiTaskRegressor().partial_fit(*data, forget=forget)
    assert not hasattr(model, "statistics_")
    model.partial_fit(*data)
    before = model.coef_.copy()
    with pytest.raises(DataError, match="y, task and sample_weight of"):
        model.partial_fit(collect(*data), data[1])
    with pytest.raises(DataError, match="X has 2 features, but MultiTaskRegressor is expecting 3"):
        model.partial_fit(data[0][:, :2], *data[1:])
    with pytest.raises(IncompatibleError, match="columns"):
        model.partial_fit(collect(data[0][:, :2], *data[1:]))
    with pytest.raises(DataError, match="row 3"):
        model.partial_fit(np.where(np.arange(80)[:, None] == 3, np.nan, data[0]), *data[1:])
    with pytest.raises(DataError, match="4 tasks"):
        model.partial_fit(*data[:2])
    with pytest.raises(IncompatibleError, match="date_features must be False"):
        MultiTaskRegressor(date_features=True).partial_fit(*data)
    with pytest.raises(DataError, match=r"y of MultiTaskRegressor\.partial_fit"):
        MultiTaskRegressor().partial_fit(r["X"], np.where(np.arange(5) == 2, np.nan, r["Y"]))
    with pytest.raises(DataError, match="has no rows"):
        model.partial_fit(*data, sample_weight=np.zeros(80))
    assert_allclose(model.coef_, before)
    assert model.statistics_.n_rows == 80
    # What fit and adapt have learned is in no statistics.
    cannot_go_on(adapt(model, r["X"][:8], r["y"][:8], task="new"), "this model has none")
    assert not hasattr(model.fit(*data), "statistics_")


def test_statistics_times_a_number_are_those_of_weighted_rows():
    r = rows()
    data = given("long", r, slice(None))
    fold = np.arange(N) % 4
    found = 0.3 * collect(*data, fold=fold)
    same = collect(*data, fold=fold, sample_weight=np.full(N, 0.3))
    for one, two in zip((found * np.float64(2.0)).cells, (2 * same).cells, strict=True):
        assert one.key == two.key
        assert one.n_rows == two.n_rows
        assert_allclose(one.weight, two.weight, rtol=1e-12)
        assert_allclose(one.second, two.second, atol=1e-12)
    assert (np.float64(0.5) * found).n_rows == N
    # A search holds out the folds of all days, old ones with the weights that they have left.
    day = collect(*given("long", rows(1), slice(None)), fold=fold)
    search = MultiTaskRegressorCV(toward_mean(), alphas=4, cv=4).fit(found + day)
    assert search.held_out_score_ > 0.5
    for factor in (0, -1.0, float("nan"), "half", None, found):
        with pytest.raises((ParameterError, TypeError)):
            found * factor


def test_rows_of_no_weight_are_gone():
    r = rows()
    model = MultiTaskRegressor(toward_mean(1.0) + L2(0.1))
    model.partial_fit(*given("long", r, slice(None)))
    own = r["task"] != "a"
    for _ in range(40):
        model.partial_fit(r["X"][own], r["y"][own], r["task"][own], forget=0.999)
    # The task is known, and predicted with the mean of the others.
    assert model.tasks_.tolist() == list("abcde")
    assert model.statistics_.rows_per_task[0] == 0
    others = model.coef_[1:].min(axis=0), model.coef_[1:].max(axis=0)
    assert np.all((model.coef_[0] >= others[0]) & (model.coef_[0] <= others[1]))
