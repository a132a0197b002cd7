"""A fraction means the same in every unit of the target and of the features."""

from __future__ import annotations

import numpy as np
import pytest

import polytask.penalties as penalties
from polytask import MultiTaskRegressor
from polytask.datasets import load_diabetes_groups


@pytest.mark.parametrize(
    "penalty",
    [
        penalties.ElasticNet(),
        penalties.ElasticNet() + penalties.L1(fraction=0.01),
        penalties.weighted(penalties.ElasticNet(), np.linspace(0.5, 2.0, 9)),
        penalties.bounded(penalties.ElasticNet(fraction=0.05), lower=0.0),
        penalties.positive(penalties.weighted(penalties.ElasticNet(fraction=0.05), np.ones(9))),
    ],
    ids=repr,
)
@pytest.mark.parametrize(("of_target", "of_features"), [(1000.0, 1.0), (1.0, 1e-3), (1e-3, 1e3)])
def test_an_elastic_net_by_fraction_does_not_depend_on_units(penalty, of_target, of_features):
    data = load_diabetes_groups()
    usual = MultiTaskRegressor(penalty, tol=1e-9).fit(data.X, data.y, task=data.task)
    X, y = data.X * of_features, data.y * of_target
    other = MultiTaskRegressor(penalty, tol=1e-9).fit(X, y, task=data.task)
    assert usual.score(data.X, data.y, task=data.task) > 0.3
    np.testing.assert_allclose(other.coef_ * of_features / of_target, usual.coef_, atol=1e-4)


def test_no_default_depends_on_the_unit_of_the_target():
    data = load_diabetes_groups()
    for name in ("L1", "L21", "L1Inf", "ElasticNet", "SparseGroup", "TraceNorm", "OutlierTasks"):
        model = MultiTaskRegressor(getattr(penalties, name)())
        scores = [model.fit(data.X, c * data.y, task=data.task)
                  .score(data.X, c * data.y, task=data.task)
                  for c in (1.0, 1000.0)]  # fmt: skip
        assert scores[0] == pytest.approx(scores[1], abs=1e-4), name
        assert scores[0] > 0.3, name
