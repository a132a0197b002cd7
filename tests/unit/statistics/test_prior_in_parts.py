"""The prior that is learned from a table in parts is that of all its rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from unit.pairs import in_turn

import polytask as pt
from polytask import BayesianMultiTaskClassifier, BayesianMultiTaskModel
from polytask.bayes.prior import Diagonal, Full, LowRank, NoVariation, Scalar
from polytask.data import TableEncoder
from polytask.exceptions import ConvergenceWarning, DataError, IncompatibleError
from polytask.statistics import fit_parts

NAMES = list("abcd")
CLASSES = np.array(["high", "low", "middle"])


def table_of(rows: int, n_tasks: int, seed: int, *, size: float = 1.0, classes: Any = 2) -> Any:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.normal(size=(rows, len(NAMES))), columns=NAMES)
    task = rng.integers(n_tasks, size=rows)
    table["town"] = [f"town {t}" for t in task]
    table["weight"] = rng.uniform(0.5, 2.0, rows)
    W = size * (rng.normal(size=4)[:, None] + 0.6 * rng.normal(size=(4, n_tasks)))
    eta = np.einsum("ij,ji->i", table[NAMES].to_numpy(), W[:, task])
    mean = np.exp(1 + 0.3 * eta)
    if classes == "poisson":
        table["ill"] = rng.negative_binomial(4, 4 / (4 + mean))
    elif classes == "gamma":
        table["ill"] = rng.gamma(2.0, mean / 2) + 1e-9
    elif classes == 2:
        table["ill"] = rng.random(rows) < 1 / (1 + np.exp(-eta))
    else:
        noisy = np.clip(np.round(0.7 * eta + rng.logistic(size=rows)), -1, 1)
        table["ill"] = CLASSES[noisy.astype(int) + 1]
    return table


def both(model: Any, table: Any, rows: int) -> tuple[Any, Any]:
    encoder = TableEncoder().fit(table[NAMES])
    found = fit_parts(
        clone(model),
        lambda: (table[k : k + rows] for k in range(0, len(table), rows)),
        "ill",
        task_column="town",
        sample_weight="weight",
        encoder=encoder,
    )
    other = clone(model).set_params(task_column="town")
    X = table.drop(columns=["ill", "weight"])
    return found, other.fit(X, table["ill"], sample_weight=table["weight"])


def assert_same(found: Any, other: Any, *, atol: float = 1e-6) -> None:
    assert found.solution_.status.ok
    np.testing.assert_allclose(found.coef_, other.coef_, atol=atol)
    np.testing.assert_allclose(found.intercept_, other.intercept_, atol=atol)
    one, two = found.log_marginal_likelihood_, other.log_marginal_likelihood_
    assert one == pytest.approx(two, abs=atol, rel=1e-9)
    priors = [p if isinstance(p, list) else [p] for p in (found.prior_, other.prior_)]
    for a, b in zip(*priors, strict=True):
        np.testing.assert_allclose(a.mean, b.mean, atol=atol)
        np.testing.assert_allclose(a.covariance, b.covariance, atol=atol)
        np.testing.assert_allclose(a.mean_covariance, b.mean_covariance, atol=atol)


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 3])
def test_structure_prior_evidence_and_coefficients_are_those_of_all_rows(classes: int) -> None:
    table = table_of(600, 3, 0, classes=classes)
    found, other = both(BayesianMultiTaskClassifier(tol=1e-9), table, 250)
    assert_same(found, other)
    assert found.structure_ == other.structure_
    assert [c.structure for c in found.evidence_] == [c.structure for c in other.evidence_]
    # Structures are compared at thirty times the tolerance.
    for a, b in zip(found.evidence_, other.evidence_, strict=True):
        assert a.log_likelihood == pytest.approx(b.log_likelihood, abs=1e-3)
    assert found.n_passes_ < 80
    X = table.drop(columns=["ill", "weight"]).assign(town="a new one")
    np.testing.assert_allclose(found.predict_proba(X), other.predict_proba(X), atol=1e-6)
    np.testing.assert_array_equal(found.predict(X), other.predict(X))


@pytest.mark.parametrize(
    "structure", [NoVariation(), Scalar(), Diagonal(), LowRank(1), Full()], ids=repr
)
def test_every_structure(structure: Any) -> None:
    table = table_of(2000, 12, 1)
    model = BayesianMultiTaskClassifier(structure=structure, tol=1e-10)
    found, other = both(model, table, 700)
    assert_same(found, other, atol=2e-6)
    assert found.n_passes_ < 35


@pytest.mark.parametrize(
    ("mean_prior", "varying"), in_turn(["flat", "gaussian"], ["all", ["b", "d"]])
)
def test_priors_of_the_mean_and_coefficients_that_vary(mean_prior: str, varying: Any) -> None:
    model = BayesianMultiTaskClassifier(
        structure="diagonal", mean_prior=mean_prior, varying=varying, tol=1e-10
    )
    assert_same(*both(model, table_of(900, 8, 2), 400))


def test_tasks_of_few_rows_and_parts_that_lack_tasks_and_classes() -> None:
    table = table_of(400, 50, 3)
    table.loc[table["town"].isin(["town 3", "town 8"]), "ill"] = True
    table = table.sort_values(["ill", "town"]).reset_index(drop=True)
    model = BayesianMultiTaskClassifier(structure="scalar", tol=1e-10)
    assert_same(*both(model, table, 150))


@pytest.mark.slow
def test_classes_that_are_separable_have_the_same_finite_answer() -> None:
    table = table_of(600, 20, 4, size=8.0)
    found, other = both(BayesianMultiTaskClassifier(structure="scalar", tol=1e-9), table, 400)
    assert np.abs(other.coef_).max() > 8
    assert_same(found, other, atol=1e-4)


def test_targets_of_one_design_with_missing_labels() -> None:
    rng = np.random.default_rng(5)
    table = table_of(700, 1, 5)[NAMES]
    for k, name in enumerate(["fever", "cough", "rash"]):
        y = (rng.random(700) < 1 / (1 + np.exp(-table["a"] - 0.3 * k * table["b"]))).astype(float)
        y[rng.random(700) < 0.2] = np.nan
        y[200 * k : 200 * k + 200] = np.nan
        table = table.assign(**{name: y})
    names = ["fever", "cough", "rash"]
    model = BayesianMultiTaskClassifier(structure="scalar", tol=1e-10)
    encoder = TableEncoder().fit(table[NAMES])
    read = clone(model)
    fit_parts(
        read, lambda: (table[k : k + 150] for k in range(0, 700, 150)), names, encoder=encoder
    )
    assert_same(read, clone(model).fit(table[NAMES], table[names]))


def test_the_model_is_saved_and_learns_on(tmp_path: Any) -> None:
    table = table_of(500, 4, 6)
    found, other = both(BayesianMultiTaskClassifier(structure="scalar", tol=1e-9), table, 200)
    pt.save(found, tmp_path / "model.polytask")
    loaded = pt.load(tmp_path / "model.polytask")
    assert loaded.n_passes_ == found.n_passes_
    more = table_of(60, 4, 7)
    X = more.drop(columns=["ill", "weight"])
    for model in (loaded, other):
        model.partial_fit(X, more["ill"])
    np.testing.assert_allclose(loaded.coef_, other.coef_, atol=1e-6)


def test_a_prior_that_is_far_too_far_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def far(path: Any, params: Any, goal: Any) -> Any:
        asked.append(goal)
        return np.full_like(goal, 1e160)

    asked: list[Any] = []
    monkeypatch.setattr("polytask.bayes.laplace_parts._Path.extrapolated", far)
    monkeypatch.setattr("polytask.bayes.laplace_parts._SLOW", 0.0)
    model = BayesianMultiTaskClassifier(structure="diagonal", tol=1e-8)
    assert_same(*both(model, table_of(900, 8, 2), 900), atol=1e-5)
    assert len(asked) > 1


def test_what_does_not_converge_says_so() -> None:
    model = BayesianMultiTaskClassifier(structure="diagonal", max_iter=1, tol=1e-12)
    with pytest.warns(ConvergenceWarning):
        found, _ = both(model, table_of(300, 3, 8), 100)
    assert not found.solution_.status.ok
    assert found.solution_.residual > 1e-12


def test_curvatures_that_are_too_large_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polytask.linear.in_parts._MOST", 50.0)
    with pytest.raises(DataError, match="4 features and 3 tasks"):
        both(BayesianMultiTaskClassifier(), table_of(300, 3, 9), 100)


def test_partitions_of_dask_are_read_where_they_are() -> None:
    dd = pytest.importorskip("dask.dataframe")
    table = table_of(500, 5, 10).drop(columns="weight")
    encoder = TableEncoder().fit(table[NAMES])
    model = BayesianMultiTaskClassifier(structure="scalar", tol=1e-9, task_column="town")
    found = fit_parts(clone(model), dd.from_pandas(table, npartitions=3), "ill", encoder=encoder)
    assert_same(found, clone(model).fit(table.drop(columns="ill"), table["ill"]))


@pytest.mark.slow
def test_many_features_have_variances_of_their_own() -> None:
    rng = np.random.default_rng(11)
    names = [f"f{j}" for j in range(105)]
    table = pd.DataFrame(rng.normal(size=(3000, 105)), columns=names)
    task = rng.integers(4, size=3000)
    W = 0.3 * rng.normal(size=(105, 1)) + 0.1 * rng.normal(size=(105, 4))
    eta = np.einsum("ij,ji->i", table.to_numpy(), W[:, task])
    table["town"], table["ill"] = task, rng.random(3000) < 1 / (1 + np.exp(-eta))
    encoder = TableEncoder().fit(table[names])
    model = BayesianMultiTaskClassifier(structure="diagonal", tol=1e-8, task_column="town")
    found = fit_parts(
        clone(model), lambda: (table[k::3] for k in range(3)), "ill", encoder=encoder
    )
    assert_same(found, clone(model).fit(table.drop(columns="ill"), table["ill"]), atol=1e-5)


def model_of(loss: str, **settings: Any) -> BayesianMultiTaskModel:
    return BayesianMultiTaskModel(loss=loss, **settings)


def assert_same_dispersions(found: Any, other: Any, *, atol: float = 1e-6) -> None:
    assert_same(found, other, atol=atol)
    np.testing.assert_allclose(found.dispersion_, other.dispersion_, rtol=atol)


@pytest.mark.parametrize(
    ("loss", "structure"),
    in_turn(["poisson", "gamma"], [NoVariation(), Scalar(), LowRank(1), Full()]),
    ids=str,
)
def test_counts_and_amounts_have_the_dispersion_of_all_rows(loss: str, structure: Any) -> None:
    table = table_of(1200, 8, 1, classes=loss)
    found, other = both(model_of(loss, structure=structure, tol=1e-8), table, 500)
    assert_same_dispersions(found, other)
    assert other.dispersion_[0] != pytest.approx(1.0, abs=0.1)
    assert found.n_passes_ < 40
    X = table.drop(columns=["ill", "weight"]).assign(town="town 1")
    np.testing.assert_allclose(found.predict(X), other.predict(X), rtol=1e-6)
    for ends in zip(found.predict_interval(X), other.predict_interval(X), strict=True):
        np.testing.assert_allclose(*ends, rtol=1e-6)
    assert found.score(X, table["ill"]) == pytest.approx(other.score(X, table["ill"]), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["poisson", "gamma"])
def test_the_structure_of_counts_is_chosen_as_with_all_rows(loss: str) -> None:
    table = table_of(600, 4, 0, classes=loss)
    found, other = both(model_of(loss, tol=1e-8), table, 250)
    assert_same_dispersions(found, other)
    assert found.structure_ == other.structure_
    assert found.n_passes_ < 100


def test_counts_of_few_rows_and_parts_that_lack_tasks() -> None:
    table = table_of(300, 40, 3, classes="poisson").sort_values("town").reset_index(drop=True)
    table["ill"] = np.minimum(table["ill"], 3)
    assert_same_dispersions(*both(model_of("poisson", structure="scalar", tol=1e-9), table, 120))


@pytest.mark.parametrize("loss", ["poisson", "gamma"])
def test_targets_of_one_design_have_a_dispersion_each(loss: str, tmp_path: Any) -> None:
    table = table_of(700, 1, 5)[NAMES]
    rng, names = np.random.default_rng(5), ["fever", "cough", "rash"]
    for k, name in enumerate(names):
        mean = np.exp(1 + k + 0.3 * table["a"])
        spread = rng.gamma(2.0 + k, 1 / (2.0 + k), 700)
        y = mean * spread if loss == "gamma" else rng.poisson(mean * spread).astype(float)
        y[rng.random(700) < 0.2] = np.nan
        y[200 * k : 200 * k + 200] = np.nan
        table = table.assign(**{name: y})
    model = model_of(loss, structure="scalar", tol=1e-9)
    encoder = TableEncoder().fit(table[NAMES])
    read = clone(model)
    fit_parts(
        read, lambda: (table[k : k + 150] for k in range(0, 700, 150)), names, encoder=encoder
    )
    other = clone(model).fit(table[NAMES], table[names])
    assert_same_dispersions(read, other)
    assert len(np.unique(other.dispersion_)) == 3
    pt.save(read, tmp_path / "model.polytask")
    loaded = pt.load(tmp_path / "model.polytask")
    np.testing.assert_array_equal(loaded.predict(table[NAMES]), read.predict(table[NAMES]))


def test_counts_of_partitions_of_dask() -> None:
    dd = pytest.importorskip("dask.dataframe")
    table = table_of(500, 5, 10, classes="poisson").drop(columns="weight")
    encoder = TableEncoder().fit(table[NAMES])
    model = model_of("poisson", structure="scalar", tol=1e-9, task_column="town")
    found = fit_parts(clone(model), dd.from_pandas(table, npartitions=3), "ill", encoder=encoder)
    assert_same_dispersions(found, clone(model).fit(table.drop(columns="ill"), table["ill"]))


@pytest.mark.parametrize("loss", ["auto", "squared", "logistic", {"a": "poisson"}])
def test_other_losses_in_parts_name_what_takes_them(loss: Any) -> None:
    read: list[int] = []
    with pytest.raises(IncompatibleError, match="BayesianMultiTaskRegressor from numbers"):
        fit_parts(model_of(loss), lambda: read.append(1) or iter(()), "y", task_column="town")
    assert not read


def test_a_negative_count_among_many_is_refused() -> None:
    table = table_of(300, 3, 9, classes="poisson")
    table["ill"] += 5
    table.loc[250, "ill"] = -1
    with pytest.raises(DataError, match=r">= 0 for loss='poisson'; got -1.0"):
        both(model_of("poisson"), table, 100)
