"""What "auto" may choose, and what it costs."""

from __future__ import annotations

import numpy as np
import pytest

from polytask import BayesianMultiTaskClassifier, BayesianMultiTaskRegressor
from polytask.bayes import Diagonal, Full, LowRank, NoVariation, Scalar
from polytask.bayes.choose import is_informed


def tasks(seed, n_tasks, n, d, spread):
    rng = np.random.default_rng(seed)
    W = rng.standard_normal(d) / np.sqrt(d) + spread * rng.standard_normal((n_tasks, d))
    task = np.repeat(np.arange(n_tasks), n)
    X = rng.standard_normal((len(task), d))
    return X, np.sum(X * W[task], axis=1) + rng.standard_normal(len(task)), task, W


def test_no_more_parameters_than_rows():
    """Four tasks of ten rows and 25 features: a rich covariance would reproduce the rows."""
    X, y, task, W = tasks(3, 4, 10, 25, 0.0)
    model = BayesianMultiTaskRegressor().fit(X, y, task=task)
    assert {type(entry.structure) for entry in model.evidence_} == {NoVariation, Scalar}
    assert np.mean(np.sum((model.coef_ - W) ** 2, axis=1)) < 2.0
    X, y, task, _ = tasks(3, 6, 10, 25, 0.0)
    wider = BayesianMultiTaskRegressor().fit(X, y, task=task)
    assert Diagonal in {type(entry.structure) for entry in wider.evidence_}


def test_a_parameter_costs_half_the_log_of_the_rows():
    X, y, task, _ = tasks(0, 8, 30, 3, 0.3)
    model = BayesianMultiTaskRegressor().fit(X, y, task=task)
    for entry in model.evidence_:
        assert entry.score == entry.log_likelihood - entry.price
        assert entry.price == pytest.approx(0.5 * entry.n_parameters * np.log(len(y)))
    best = max(model.evidence_, key=lambda entry: entry.score)
    assert best.structure == model.structure_


@pytest.mark.parametrize(("spread", "kinds"), [(0.0, (NoVariation,)), (0.7, (Scalar, Diagonal))])
def test_the_truth_is_found(spread, kinds):
    X, y, task, _ = tasks(1, 40, 30, 4, spread)
    assert isinstance(BayesianMultiTaskRegressor().fit(X, y, task=task).structure_, kinds)


def test_low_rank_is_tried_for_classes_whatever_a_score_test_promises():
    """On landmine the test promises less than the price, and rank 1 predicts best."""
    X, eta, task, _ = tasks(0, 12, 60, 5, 0.0)
    y = (eta > 1.0).astype(int)
    model = BayesianMultiTaskClassifier().fit(X, y, task=task)
    assert LowRank in {type(entry.structure) for entry in model.evidence_}
    numbers = BayesianMultiTaskRegressor().fit(X, eta, task=task)
    assert LowRank not in {type(entry.structure) for entry in numbers.evidence_}


def test_both_choices_stop_where_parameters_outnumber_rows():
    structure = Full()
    assert is_informed(structure, q=4, tasks=10, rows=14)
    assert not is_informed(structure, q=4, tasks=10, rows=13)
    assert not is_informed(structure, q=4, tasks=3, rows=1000)
