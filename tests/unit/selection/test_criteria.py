"""Information criteria: by hand, against scikit-learn, and on planted supports."""

from __future__ import annotations

from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.linear_model import Lasso

from polytask import (
    DataError,
    IncompatibleError,
    MultiTaskClassifierIC,
    MultiTaskModelIC,
    MultiTaskRegressor,
    MultiTaskRegressorCV,
    MultiTaskRegressorIC,
    ParameterError,
    adapt,
    load,
    save,
)
from polytask.penalties import L1, L2, L21, MCP, TraceNorm, robust, toward_mean
from polytask.selection import deviance as module
from polytask.selection.criteria import CRITERIA, Fit, Noise

PLAIN: dict[str, Any] = {
    "standardize": False,
    "scale_targets": None,
    "task_weight": "size",
    "intercept": "task",
    "tol": 1e-9,
}


def sparse(
    rows: int = 60, d: int = 12, n_tasks: int = 3, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((rows, d))
    W = np.zeros((d, n_tasks))
    W[:3] = rng.standard_normal((3, n_tasks)) + 1.0
    return X, X @ W + rng.standard_normal((rows, n_tasks))


def test_lasso_is_judged_as_by_hand() -> None:
    X, Y = sparse(n_tasks=1)
    n, alphas = len(X), [0.5, 0.2, 0.07]
    model = MultiTaskRegressorIC(L1(), alphas=alphas, **PLAIN).fit(X, Y[:, 0])
    noise = model.noise_variance_[0]
    for k, alpha in enumerate(alphas):
        lasso = Lasso(alpha, tol=1e-12).fit(X, Y[:, 0])
        left, df = np.sum((Y[:, 0] - lasso.predict(X)) ** 2), 1 + np.count_nonzero(lasso.coef_)
        fit = left / noise + n * np.log(2 * np.pi * noise)
        design = np.column_stack([np.ones(n), X[:, lasso.coef_ != 0]])
        least = np.linalg.lstsq(design, Y[:, 0], rcond=None)[1][0] / noise + fit - left / noise
        want = {
            "df": df,
            "aic": fit + 2 * df,
            "bic": fit + np.log(n) * df,
            "gcv": left / n / (1 - df / n) ** 2,
            "aicc": n * np.log(2 * np.pi * left / n) + n * (n + df) / (n - df - 2),
            "ebic": least + np.log(n) * df + 2 * np.log(comb(12, df - 1)),
        }
        for name, value in want.items():
            assert model.criteria_[name][k] == pytest.approx(value, rel=1e-5), name
    best = int(np.argmin(model.criteria_["gcv"]))
    lasso = Lasso(alphas[best], tol=1e-12).fit(X, Y[:, 0])
    left = np.sum((Y[:, 0] - lasso.predict(X)) ** 2)
    # One row more than there is, of the same variance: it changes nothing with one task.
    assert noise == pytest.approx(left / (n - 1 - np.count_nonzero(lasso.coef_)), rel=1e-4)


def fit_of(nonzero: np.ndarray) -> Fit:
    columns = nonzero.shape[1]
    return Fit(np.full(columns, 9.0), np.full(columns, 2.0), np.full(columns, 30.0), nonzero)


def test_ebic_counts_supports_in_fewer_words() -> None:
    noise = Noise(np.zeros(4, dtype=np.intp), np.ones(4))

    def words(nonzero: np.ndarray) -> float:
        fit = fit_of(nonzero)
        return 0.5 * (CRITERIA["ebic"](fit, noise) - CRITERIA["bic"](fit, noise))

    rows = np.zeros((10, 4), dtype=bool)
    rows[:3] = True
    assert words(rows) == pytest.approx(np.log(120))
    # Entries in rows of their own: 4 of 40.
    assert words(np.eye(10, 4, dtype=bool)) == pytest.approx(np.log(91390))
    # Two entries in one row: 10 rows times 6 pairs are fewer than the pairs of 40.
    pair = np.zeros((10, 4), dtype=bool)
    pair[0, :2] = True
    assert words(pair) == pytest.approx(np.log(60))
    assert words(np.ones((10, 4), dtype=bool)) == pytest.approx(0.0, abs=1e-9)


def test_ebic_is_of_the_support_and_ties_go_to_the_better_fit() -> None:
    noise = Noise(np.zeros(4, dtype=np.intp), np.ones(4))
    rows = np.zeros((10, 4), dtype=bool)
    rows[:3] = True
    support = Fit(np.full(4, 5.0), np.full(4, 4.0), np.full(4, 30.0), rows)
    worse, better = (
        Fit(np.full(4, left), np.full(4, 2.0), np.full(4, 30.0), rows, support)
        for left in (20.0, 9.0)
    )
    found = [CRITERIA["ebic"](fit, noise) for fit in (worse, better)]
    want = CRITERIA["bic"](support, noise) + 2 * np.log(120)
    assert found[1] < found[0]
    np.testing.assert_allclose(found, want, rtol=1e-6)


def test_a_support_is_refitted_whatever_the_tasks_weigh() -> None:
    rng = np.random.default_rng(4)
    X, task = rng.standard_normal((90, 6)), np.repeat([0, 1, 2], [20, 30, 40])
    y = X[:, 0] + 0.3 * rng.standard_normal(90) + task
    for weight in ("size", "equal"):
        given = PLAIN | {"task_weight": weight, "scale_targets": "common", "tol": 1e-12}
        model = MultiTaskRegressorIC(L21(), alphas=[0.3], **given).fit(X, y, task=task)
        kept = np.flatnonzero(model.coef_.any(axis=0))
        assert 0 < len(kept) < 6
        least = 0.0
        for t in range(3):
            own = np.column_stack([np.ones(np.sum(task == t)), X[task == t][:, kept]])
            least += np.linalg.lstsq(own, y[task == t], rcond=None)[1][0]
        noise = model.noise_variance_[0]
        parameters = np.log([20, 30, 40]).sum() * (len(kept) + 1)
        spread = model.criteria_["log_likelihood"][0] * -2
        left = np.sum((y - model.predict(X, task=task)) ** 2)
        want = spread + (least - left) / noise + parameters + 2 * np.log(comb(6, len(kept)))
        assert model.criteria_["ebic"][0] == pytest.approx(want, rel=1e-4)


def test_a_support_of_everything_is_judged_as_the_others_are() -> None:
    # Shrunken, all features seem to cost less than they do: the sixth tells nothing.
    rng = np.random.default_rng(0)
    X, task = rng.standard_normal((240, 6)), np.arange(240) % 4
    y = X[:, :5] @ (0.5 + rng.random(5)) + task + rng.standard_normal(240)
    given = PLAIN | {"task_weight": "size", "scale_targets": "common", "tol": 1e-10}
    model = MultiTaskRegressorIC(L21(), criterion="ebic", alphas=[0.3, 1e-2, 1e-6], **given)
    model.fit(X, y, task=task)
    assert (model.sizes_[1:] == 24).all()
    least, kept = 0.0, 6 * 4 + 4
    for t in range(4):
        own = np.column_stack([np.ones(60), X[task == t]])
        least += np.linalg.lstsq(own, y[task == t], rcond=None)[1][0]
    free = -2.0 * model.criteria_["log_likelihood"][2]
    weakest = np.sum((y - MultiTaskRegressor(L21(1e-6), **given).fit(X, y, task=task).predict(
        X, task=task)) ** 2)  # fmt: skip
    want = free + (least - weakest) / model.noise_variance_[0] + np.log(60) * kept
    np.testing.assert_allclose(model.criteria_["ebic"][1:], want, rtol=1e-3)
    # A penalty that makes no zeros has no support to judge.
    plain = MultiTaskRegressorIC(L2(), alphas=[0.1], **given).fit(X, y, task=task)
    assert plain.criteria_["ebic"][0] == plain.criteria_["bic"][0]


def test_without_a_row_to_spare_nothing_is_gained() -> None:
    noise = Noise(np.zeros(1, dtype=np.intp), np.ones(1))
    full = Fit(np.zeros(1), np.array([5.0]), np.array([5.0]), np.ones((5, 1), dtype=bool))
    assert CRITERIA["gcv"](full, noise) == CRITERIA["aicc"](full, noise) == np.inf


@pytest.mark.slow
def test_more_features_than_rows_do_not_end_in_a_fit_of_noise() -> None:
    X, Y = sparse(rows=30, d=80)
    for name in ("aic", "bic", "gcv"):
        given = {"alphas": 16, "task_weight": "size"}
        model = MultiTaskRegressorIC(L21(), criterion=name, **given).fit(X, Y)
        # A path ends where next to nothing is left of the residuals.
        assert model.alpha_ > 5 * model.alphas_[-1], name
        assert 0.3 < model.noise_variance_.mean() < 3.0, name


def test_a_criterion_chooses_its_smallest_value_and_refits_it(tmp_path: Path) -> None:
    X, Y = sparse()
    Y[:7, 0] = np.nan
    model = MultiTaskRegressorIC([L21(), TraceNorm()], criterion="bic", alphas=6).fit(X, Y)
    frame = model.criteria_frame()
    assert {"df", "log_likelihood", "aic", "aicc", "bic", "ebic", "gcv"} <= set(frame.columns)
    k = int(frame["bic"].idxmin())
    assert frame["alpha"][k] == model.alpha_
    assert model.best_criterion_ == pytest.approx(frame["bic"][k])
    np.testing.assert_allclose(model.criterion_, frame["bic"])
    plain = MultiTaskRegressor(
        model.best_penalty_,
        task_weight=model.task_weight_,
        standardize=True,
        scale_targets="auto",
    ).fit(X, Y)
    np.testing.assert_allclose(model.coef_, plain.coef_, rtol=1e-8, atol=1e-10)
    save(model, tmp_path / "m.polytask")
    again = load(tmp_path / "m.polytask")
    assert again.criteria_frame().equals(frame)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_scaling_one_target_moves_its_noise_only() -> None:
    X, Y = sparse()
    one = MultiTaskRegressorIC(L21(), alphas=8).fit(X, Y)
    two = MultiTaskRegressorIC(L21(), alphas=8).fit(X, Y * np.array([1e3, 1.0, 1.0]))
    np.testing.assert_allclose(two.coef_ / [[1e3], [1.0], [1.0]], one.coef_, rtol=1e-6)
    np.testing.assert_allclose(two.noise_variance_ / one.noise_variance_, [1e6, 1.0, 1.0])


def test_weights_count_as_rows() -> None:
    X, Y = sparse(rows=30)
    weight = np.tile([1.0, 2.0, 3.0], 10)
    rows = np.repeat(np.arange(30), weight.astype(int))
    task = np.tile(["a", "b"], 15)
    for name in ("aicc", "bic", "gcv"):
        # At the null strength itself rounding decides whether anything is kept.
        penalties = [L21(), toward_mean() + L2()]
        given = MultiTaskRegressorIC(penalties, criterion=name, alphas=[0.3, 0.1, 0.03])
        weighted = given.fit(X, Y[:, 0], task=task, sample_weight=weight).criterion_
        repeated = given.fit(X[rows], Y[rows, 0], task=task[rows]).criterion_
        np.testing.assert_allclose(weighted, repeated, rtol=1e-3)


def test_moments_and_rows_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y = sparse()
    quick = MultiTaskRegressorIC(L21(), alphas=6, tol=1e-10).fit(X, Y)
    monkeypatch.setattr(module, "LOST", 1.0)
    slow = MultiTaskRegressorIC(L21(), alphas=6, tol=1e-10).fit(X, Y)
    for name in ("aic", "gcv", "df"):
        np.testing.assert_allclose(quick.criteria_[name], slow.criteria_[name], rtol=1e-9)


@pytest.mark.parametrize("loss", ["logistic", "multinomial", "poisson", "gamma"])
def test_other_likelihoods_by_hand(loss: str) -> None:
    rng = np.random.default_rng(3)
    X, task = rng.standard_normal((150, 4)), np.repeat([0, 1, 2], 50)
    eta = 0.8 * X[:, 0]
    y: Any = {
        "logistic": lambda: np.where(rng.random(150) < 1 / (1 + np.exp(-eta)), "yes", "no"),
        "multinomial": lambda: np.array(["a", "b", "c"])[rng.integers(0, 3, 150)],
        "poisson": lambda: rng.poisson(np.exp(eta)).astype(float),
        "gamma": lambda: rng.gamma(2.0, np.exp(eta) / 2.0) + 1e-3,
    }[loss]()
    classes = loss in ("logistic", "multinomial")
    kind: Any = MultiTaskClassifierIC if classes else MultiTaskRegressorIC
    model = kind(L2(), alphas=[0.1], loss=loss, intercept="task", task_weight="size", tol=1e-9)
    model.fit(X, y, task=task)
    if classes:
        proba = model.predict_proba(X, task=task)
        fit = -2 * np.log(proba[np.arange(150), np.searchsorted(model.classes_, y)]).sum()
    else:
        mean = model.predict(X, task=task)
        ratio = np.log(np.maximum(y, 1e-300) / mean)
        poisson = 2 * (np.where(y > 0, y * ratio, 0.0) - (y - mean)).sum()
        gamma = 2 * ((y - mean) / mean - ratio).sum()
        fit = {"poisson": poisson, "gamma": gamma}[loss]
    df = model.criteria_["df"][0]
    # Three classes of a task have two free intercepts.
    least = 6 if loss == "multinomial" else 3
    assert least < df < least + 4 * (9 if loss == "multinomial" else 3)
    noise = model.noise_variance_[0]
    if loss == "gamma":
        assert noise == pytest.approx(fit / (150 - df), rel=0.02)
        fit = fit / noise + 150 * np.log(2 * np.pi * noise)
    else:
        assert noise == 1.0
    assert model.criteria_["aic"][0] == pytest.approx(fit + 2 * df, rel=1e-4)


def test_mixed_targets_have_a_noise_each_where_it_is_free() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((90, 5))
    Y = np.column_stack([X[:, 0] + rng.standard_normal(90) > 0, 3 * X[:, 0] + X[:, 1]])
    Y[:, 1] += 2.0 * rng.standard_normal(90)
    model = MultiTaskModelIC(L21(), alphas=8, criterion="gcv").fit(X, Y)
    assert model.noise_variance_[0] == 1.0
    assert 2.5 < model.noise_variance_[1] < 6.0


def test_what_has_no_likelihood_or_degrees_is_refused() -> None:
    X, Y = sparse()
    with pytest.raises(IncompatibleError, match="huber loss belongs to none"):
        MultiTaskRegressorIC(loss="huber").fit(X, Y)
    with pytest.raises(IncompatibleError, match="not convex"):
        MultiTaskRegressorIC(MCP()).fit(X, Y)
    for penalty in (L21() + TraceNorm(), robust()):
        with pytest.raises(IncompatibleError, match="by cross-validation"):
            MultiTaskRegressorIC(penalty, alphas=2).fit(X, Y)
    with pytest.raises(ParameterError, match="criterion of MultiTaskRegressorIC"):
        MultiTaskRegressorIC(criterion="aci").fit(X, Y)


@pytest.mark.slow
def test_ebic_finds_a_support_that_aic_overshoots() -> None:
    X, Y = sparse(rows=100, d=30, n_tasks=4, seed=2)
    kept = {}
    for name in ("aic", "ebic"):
        model = MultiTaskRegressorIC(L21(), criterion=name, task_weight="size").fit(X, Y)
        kept[name] = np.flatnonzero(model.coef_.any(axis=0)).tolist()
    assert kept["ebic"] == [0, 1, 2]
    assert set(kept["aic"]) > {0, 1, 2}


def test_the_forms_of_data_say_the_same() -> None:
    X, Y = sparse(rows=40)
    given = MultiTaskRegressorIC(
        [L21(), TraceNorm()], alphas=[0.3, 0.05], scale_targets="task", intercept="task", tol=1e-10
    )
    wide = given.fit(X, Y).criteria_
    task = np.repeat([0, 1, 2], 40)
    long = given.fit(np.tile(X, (3, 1)), Y.T.ravel(), task=task).criteria_
    apart = given.fit({t: (X, Y[:, t]) for t in range(3)}).criteria_
    loose = given.fit(csr_array(X), Y).criteria_
    for name in ("df", "aic", "ebic", "gcv"):
        for other in (long, apart, loose):
            np.testing.assert_allclose(other[name], wide[name], rtol=1e-5)


def test_features_that_a_task_lacks_cost_nothing() -> None:
    X, Y = sparse(rows=40, d=4, n_tasks=2)
    tables = {
        "a": (pd.DataFrame(X, columns=list("pqrs")), Y[:, 0]),
        "b": (pd.DataFrame(X[:, :3], columns=list("pqr")), Y[:, 1]),
    }
    model = MultiTaskRegressorIC(L1(), alphas=[0.01], standardize=False, intercept="task")
    model.fit(tables)
    assert model.criteria_["df"][0] == pytest.approx(np.count_nonzero(model.coef_) + 2, rel=1e-4)


def test_a_table_is_encoded_and_a_model_can_learn_another_task() -> None:
    rng = np.random.default_rng(0)
    colour = rng.choice(["red", "blue"], 90)
    X = pd.DataFrame({"size": rng.standard_normal(90), "colour": colour})
    task = np.repeat(["a", "b", "c"], 30)
    y = X["size"] + (colour == "red") + 0.5 * rng.standard_normal(90)
    model = MultiTaskRegressorIC(toward_mean() + L2(0.1), criterion="gcv", alphas=8)
    model.fit(X, y, task=task)
    assert "colour=red" in model.coef_feature_names_.tolist()
    more = adapt(model, X[:5], y[:5], task="d")
    assert set(more.tasks_) == {"a", "b", "c", "d"}


def test_a_criterion_is_a_setting_of_the_search_and_the_other_name_is_its_alias() -> None:
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((40, 4)), rng.standard_normal((40, 2))
    model = MultiTaskRegressorCV(L21(), alphas=5).fit(X, Y)
    assert "score" in model.search_frame()
    with pytest.raises(DataError, match="chose by cross-validation"):
        model.criteria_frame()
    model.set_params(criterion="bic").fit(X, Y)
    assert not hasattr(model, "scores_")
    assert not hasattr(model, "held_out_score_")
    alias = MultiTaskRegressorIC(L21(), criterion="bic", alphas=5).fit(X, Y)
    np.testing.assert_array_equal(model.criterion_, alias.criterion_)
    pd.testing.assert_frame_equal(model.search_frame(), alias.criteria_frame())
    assert MultiTaskRegressorIC().criterion == "aic"
    copy = clone(alias)
    assert type(copy) is MultiTaskRegressorIC
    assert copy.get_params() == alias.get_params()
    model.set_params(criterion=None).fit(X, Y)
    assert not hasattr(model, "criteria_")
