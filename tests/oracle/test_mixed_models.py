"""The learned prior against the linear mixed models of statsmodels.

The figures are those of statsmodels 0.15.0, ``MixedLM(y, [1, X], task, exog_re=[1, x]).fit(reml)``
on the sets exam65 (x: column 1, the intake score) and radon (x: column 0, the floor), the best
likelihood that the optimisers "powell", "nm", "cg" (each followed by "bfgs"), "bfgs" and "lbfgs"
reached with gtol=1e-10. Where statsmodels is installed they are computed anew.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose

from polytask import BayesianMultiTaskRegressor
from polytask.bayes import Full

FIGURES = {
    ("exam65", "reml"): {
        "mean": [
            0.531525090753508,
            0.5678997289919409,
            0.378095932228386,
            -0.1584293697171342,
            -0.40938755616190503,
            -0.7648268971597556,
            -0.1988724968696753,
            -0.34732267436260705,
            0.18307333402403464,
        ],
        "covariance": [
            [0.06873591041897255, 0.015835289170488518],
            [0.015835289170488518, 0.015891995435259078],
        ],
        "noise": 0.5205979134429599,
        "log_likelihood": -4544.3286414522045,
    },
    ("exam65", "ml"): {
        "mean": [
            0.5329704622947223,
            0.5693549809000613,
            0.3784046442541812,
            -0.15805895658928207,
            -0.40928264457460983,
            -0.7648527844874824,
            -0.2008275765819032,
            -0.3495724855546674,
            0.18329189467082008,
        ],
        "covariance": [
            [0.06286238805123433, 0.015645955114977416],
            [0.015645955114977416, 0.015423332095493333],
        ],
        "noise": 0.5202793912056181,
        "log_likelihood": -4525.863767819843,
    },
    ("radon", "reml"): {
        "mean": [1.4626545102256612, -0.6423841807543093, 0.7680151689825722],
        "covariance": [
            [0.016677358056684747, 0.00966815871464024],
            [0.00966815871464024, 0.12753152627097727],
        ],
        "noise": 0.5600591299478056,
        "log_likelihood": -1064.320170330176,
    },
    ("radon", "ml"): {
        "mean": [1.461145647657348, -0.6406858462428439, 0.7705675842597811],
        "covariance": [
            [0.013979416210448365, 0.010434945699265183],
            [0.010434945699265183, 0.11907971804419863],
        ],
        "noise": 0.5603181275189606,
        "log_likelihood": -1058.8014756199864,
    },
}
SLOPE = {"exam65": 1, "radon": 0}


def rows_of(folder, name):
    with np.load(folder / f"{name}.npz", allow_pickle=False) as file:
        return file["X"].astype(float), file["y"].astype(float), file["task"]


def fitted(folder, name, method):
    X, y, task = rows_of(folder, name)
    model = BayesianMultiTaskRegressor(
        Full(),
        varying=[SLOPE[name]],
        method=method,
        mean_prior="flat",
        standardize=False,
        scale_targets=None,
        tol=1e-6,
    )
    return model.fit(X, y, task=task)


@pytest.mark.parametrize(("name", "method"), FIGURES)
def test_the_figures_of_statsmodels(polytask_data, name, method):
    model, expected = fitted(polytask_data, name, method), FIGURES[name, method]
    assert_allclose(model.prior_.mean, expected["mean"], rtol=1e-3)
    assert_allclose(model.prior_.covariance, expected["covariance"], rtol=1e-3)
    assert_allclose(model.prior_.noise, expected["noise"], rtol=1e-3)
    assert_allclose(model.log_marginal_likelihood_, expected["log_likelihood"], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["reml", "ml"])
def test_statsmodels_itself(polytask_data, method):
    api = pytest.importorskip("statsmodels.api")
    X, y, task = rows_of(polytask_data, "exam65")
    ones = np.ones((len(y), 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = api.MixedLM(y, np.hstack([ones, X]), task, np.hstack([ones, X[:, 1:2]])).fit(
            reml=method == "reml", method=["cg", "bfgs"], gtol=1e-10, maxiter=5000
        )
    model = fitted(polytask_data, "exam65", method)
    assert_allclose(model.prior_.mean, other.fe_params, rtol=1e-3)
    assert_allclose(model.prior_.covariance, other.cov_re, rtol=1e-3)
    assert_allclose(model.log_marginal_likelihood_, other.llf, rtol=1e-6)
