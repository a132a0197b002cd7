"""The regularisation path: the strengths of the search, refitted on all rows."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from polytask import (
    DataError,
    MultiTaskClassifierCV,
    MultiTaskClassifierIC,
    MultiTaskModelCV,
    MultiTaskRegressor,
    MultiTaskRegressorCV,
    MultiTaskRegressorIC,
    ParameterError,
    TaskData,
    load,
    save,
)
from polytask.penalties import L2, L21, MCP, TraceNorm, dirty, toward_mean
from polytask.selection import regularization_path
from polytask.selection.path import fitted_path

mpl.use("Agg")


def targets(seed: int = 0, noise: float = 1.0):
    rng = np.random.default_rng(seed)
    X, W = rng.standard_normal((80, 8)), np.zeros((8, 4))
    W[:2] = 1.0 + 0.3 * rng.standard_normal((2, 4))
    return X, X @ W + noise * rng.standard_normal((80, 4))


@pytest.fixture(scope="module")
def path():
    X, Y = targets()
    return regularization_path(MultiTaskRegressorCV(L21(), alphas=12, cv=4), X, Y)


def test_every_point_is_the_plain_estimator_at_that_strength(path):
    X, Y = targets()
    model = MultiTaskRegressorCV(L21(), alphas=12, cv=4).fit(X, Y)
    for k in (0, 5, 11):
        plain = MultiTaskRegressor(
            L21(path.alphas[k]),
            task_weight=model.task_weight_,
            intercept=model.intercept_mode_,
            intercept_strength=model.intercept_strength_,
            standardize=True,
            scale_targets="auto",
        ).fit(X, Y)
        np.testing.assert_allclose(path.coef[k], plain.coef_, atol=2e-3)
    np.testing.assert_allclose(path.coef[path.chosen], model.coef_, atol=1e-4)
    assert path.alphas[path.chosen] == model.alpha_
    np.testing.assert_array_equal(path.alphas, model.alphas_)


def test_scores_are_those_of_the_search(path):
    X, Y = targets()
    model = MultiTaskRegressorCV(L21(), alphas=12, cv=4).fit(X, Y)
    frame = model.search_frame()
    mine = frame[frame["task_weight"] == model.task_weight_].set_index("alpha")
    found = path.frame().set_index("alpha")
    np.testing.assert_array_equal(mine.loc[found.index, "score"], found["score"])
    np.testing.assert_array_equal(mine.loc[found.index, "standard_error"], found["standard_error"])
    assert path.score[path.best] == model.best_score_


def test_the_marks_are_those_of_the_rules(path):
    X, Y = targets()
    for rule, place in (("min", path.best), ("one_se", path.one_se)):
        model = MultiTaskRegressorCV(L21(), alphas=12, cv=4, rule=rule).fit(X, Y)
        assert model.alpha_ == path.alphas[place]
        again = regularization_path(model, X, Y)
        assert (again.chosen, again.best, again.one_se) == (place, path.best, path.one_se)
        assert next(iter(again.marks().values())) == model.alpha_
    assert path.one_se < path.best
    assert list(path.marks()) == [
        "chosen: least held-out loss",
        "strongest within one standard error",
    ]
    assert list(path.marks("zh")) == ["选用：留出损失最小", "相差不超过一个标准误的最强者"]


def test_the_path_begins_empty_and_its_facts_agree(path):
    assert path.kept[0] == path.ranks[0] == 0
    assert path.kept[-1] == 8
    np.testing.assert_array_equal(path.kept, [(c != 0).any(axis=0).sum() for c in path.coef])
    frame = path.frame()
    assert frame["best"].sum() == frame["one_se"].sum() == frame["chosen"].sum() == 1
    np.testing.assert_array_equal(frame["size of x0"], path.sizes[:, 0])
    np.testing.assert_allclose(path.sizes, np.linalg.norm(path.entries.reshape(12, 8, 4), axis=2))
    long = path.coef_frame()
    assert len(long) == path.coef.size
    one = long[(long["feature"] == "x1") & (long["task"] == 2)]
    np.testing.assert_array_equal(one["coef"], path.coef[:, 2, 1])


@pytest.mark.parametrize(
    "penalty", [TraceNorm(), toward_mean(1.0) + L2(0.1), dirty(1.0, 1.0), MCP()], ids=str
)
def test_every_kind_of_penalty_has_a_path(penalty):
    X, Y = targets()
    found = regularization_path(MultiTaskRegressorCV(penalty, alphas=5, cv=3), X, Y)
    assert found.coef.shape == (5, 4, 8)
    assert np.all(np.diff(found.alphas) < 0)
    assert np.isfinite(found.score).all()
    if isinstance(penalty, TraceNorm):
        assert found.ranks.tolist() == sorted(found.ranks)
        assert found.ranks[0] == 0


@pytest.mark.slow
def test_classes_mixed_losses_and_scores_have_theirs():
    X, Y = targets()
    classes = regularization_path(
        MultiTaskClassifierCV(L21(), alphas=4, cv=3, scoring="accuracy"), X, Y > 0
    )
    assert classes.measure.name == "accuracy"
    assert 0.5 < classes.score.max() <= 1.0
    table = pd.DataFrame(Y, columns=list("abcd")).assign(d=Y[:, 3] > 0)
    mixed = regularization_path(MultiTaskModelCV(L21(), alphas=4, cv=3), X, table)
    assert mixed.coef.shape == (4, 4, 8)
    for found in (classes, mixed):
        found.plot()
    mpl.pyplot.close("all")


def test_tables_and_separate_tasks_are_encoded_as_in_the_fit():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"x": rng.standard_normal(90), "colour": rng.choice(["r", "g"], 90)})
    y, task = (
        table["x"] + (table["colour"] == "r") + rng.standard_normal(90),
        np.repeat([0, 1], 45),
    )
    model = MultiTaskRegressorCV(L21(), alphas=4, cv=3).fit(table, y, task=task)
    found = regularization_path(model, table, y, task=task)
    assert set(found.features) == set(model.coef_feature_names_)
    tasks = {"a": (table[["x"]][:45], y[:45]), "b": (table[45:], y[45:])}
    apart = regularization_path(clone(model), tasks)
    own = [k for k, name in enumerate(apart.features) if name.startswith("colour")]
    a = [task for task, _ in apart.columns].index("a")
    assert not apart.coef[:, a, own].any()
    assert apart.coef[:, 1 - a, own].any()


@pytest.mark.parametrize("criterion", ["aic", "ebic", "gcv"])
def test_a_criterion_stands_in_the_place_of_the_error(criterion):
    X, Y = targets()
    model = MultiTaskRegressorIC(L21(), criterion=criterion, alphas=12).fit(X, Y)
    found = regularization_path(model, X, Y)
    np.testing.assert_array_equal(found.alphas, model.alphas_)
    assert found.value[found.chosen] == found.value.min() == model.best_criterion_
    assert found.best == found.one_se == found.chosen
    frame = model.criteria_frame()
    mine = frame[frame["task_weight"] == model.task_weight_].set_index("alpha")
    table = found.frame().set_index("alpha")
    np.testing.assert_array_equal(mine.loc[table.index, "df"], table["df"])
    np.testing.assert_array_equal(-mine.loc[table.index, criterion], table["score"])
    assert np.isnan(table["standard_error"]).all()
    np.testing.assert_allclose(found.coef[found.chosen], model.coef_, atol=1e-4)
    upper, _ = found.plot()
    assert upper.get_ylabel() == f"{criterion.upper()} of all rows"
    mpl.pyplot.close("all")


@pytest.mark.slow
def test_the_evidence_and_criteria_of_classes_have_paths_that_are_kept_in_files(tmp_path):
    X, Y = targets()
    for model, y in (
        (MultiTaskRegressorIC(L2(), criterion="evidence", alphas=6), Y),
        (MultiTaskClassifierIC(L21(), criterion="bic", alphas=6), Y > 0),
    ):
        save(model.fit(X, y), tmp_path / "m.polytask")
        found = regularization_path(load(tmp_path / "m.polytask"), X, y)
        assert found.value[found.chosen] == model.best_criterion_
        assert (found.df is None) == (model.criterion == "evidence")


def test_a_saved_search_keeps_its_path(tmp_path, path):
    X, Y = targets()
    save(MultiTaskRegressorCV(L21(), alphas=12, cv=4).fit(X, Y), tmp_path / "m.polytask")
    again = regularization_path(load(tmp_path / "m.polytask"), X, Y)
    np.testing.assert_array_equal(again.scores, path.scores)


def test_refusals_are_sentences(path, tmp_path):
    X, Y = targets()
    with pytest.raises(ParameterError, match="estimator of regularization_path must be Multi"):
        regularization_path(MultiTaskRegressor(L21()), X, Y)
    fitted = MultiTaskRegressorCV(L21(), alphas=3, cv=3).fit(X, Y)
    with pytest.raises(DataError, match="other data than the MultiTaskRegressorCV was fitted on"):
        regularization_path(fitted, X, Y + 1.0)
    del fitted.alpha_scores_
    with pytest.raises(DataError, match="fit it again"):
        regularization_path(fitted, X, Y)
    with pytest.raises(ParameterError, match=r"kind of RegularizationPath\.plot"):
        path.plot(kind="lines")
    with pytest.raises(ParameterError, match=r"must be a file that ends in \.png or \.svg"):
        path.write(tmp_path / "path.pdf")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_picture_and_table_are_both_written_or_neither(path, tmp_path):
    path.write(tmp_path / "p.png", tmp_path / "p.csv")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    read = pd.read_csv(tmp_path / "p.csv")
    np.testing.assert_allclose(read["alpha"], path.alphas)
    path.write(tmp_path / "q.svg", kind="entries")
    assert "<svg" in (tmp_path / "q.svg").read_text(encoding="utf-8")
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(DataError, match="there is no folder"):
        path.write(tmp_path / "p.svg", tmp_path / "absent" / "p.csv")
    with pytest.raises(DataError, match="there is no folder"):
        path.write(tmp_path / "absent" / "p.svg", tmp_path / "p.csv")
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert not list(Path(tmp_path).glob(".*"))


def test_a_path_is_of_what_was_fitted_whatever_was_set_since():
    X, Y = targets()
    data = TaskData.from_targets(X, Y)
    aic = MultiTaskRegressorIC(L21(), criterion="aic", alphas=6).fit(X, Y)
    before = fitted_path(aic, data)
    after = fitted_path(aic.set_params(criterion="evidence"), data)
    assert after.measure == before.measure
    np.testing.assert_array_equal(after.scores, before.scores)
    folds = MultiTaskRegressorCV(L21(), alphas=6, cv=4).fit(X, Y)
    assert fitted_path(folds.set_params(scoring="r2"), data).measure.name == "loss"
