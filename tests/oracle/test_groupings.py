"""The learned priors of several groupings against other implementations of the same model.

The first oracle is the likelihood of all rows at once, written here from their covariance alone,
and maximised by SciPy. The second is ``MixedLM`` of statsmodels with variance components.
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.optimize
from numpy.testing import assert_allclose

from polytask import BayesianMultiTaskRegressor

FORMS = ["crossed", "nested", "three"]


def table(form: str, seed: int = 0) -> pd.DataFrame:
    """Return rows of schools and towns, crossed or nested, and of years as a third grouping."""
    rng = np.random.default_rng(seed)
    n = 240
    school = rng.integers(0, 14, n)
    town = school // 3 if form == "nested" else rng.integers(0, 6, n)
    year = rng.integers(0, 5, n)
    x = rng.standard_normal(n)
    y = 1.0 + 0.5 * x + 0.8 * rng.standard_normal(14)[school] + rng.standard_normal(6)[town]
    y += 0.6 * rng.standard_normal(5)[year] * (form == "three") + rng.standard_normal(n)
    return pd.DataFrame({"school": school, "town": town, "year": year, "x": x, "y": y})


def names_of(form: str) -> list[str]:
    return ["school", "town", "year"] if form == "three" else ["school", "town"]


def fitted(data: pd.DataFrame, names: list[str], method: str) -> BayesianMultiTaskRegressor:
    model = BayesianMultiTaskRegressor(
        "none", method=method, task_column=names, standardize=False, scale_targets=None, tol=1e-8
    )
    return model.fit(data[["x", *names]], data["y"])


def found(model: BayesianMultiTaskRegressor, names: list[str]) -> np.ndarray:
    """Return the variances of the groupings and of the noise."""
    return np.array([*(model.prior_[n].covariance[0, 0] for n in names), model.noise_[0] ** 2])


def dense_likelihood(data: pd.DataFrame, names: list[str], method: str, variances) -> float:
    """Return the log-likelihood of all rows at once, whose covariance has n rows and columns."""
    X, y = np.column_stack([np.ones(len(data)), data["x"]]), data["y"].to_numpy()
    V = variances[-1] * np.eye(len(y))
    for name, variance in zip(names, variances[:-1], strict=True):
        own = data[name].to_numpy()
        V += variance * (own[:, None] == own)
    inverse, cross = np.linalg.inv(V), X.T @ np.linalg.inv(V)
    residual = y - X @ np.linalg.solve(cross @ X, cross @ y)
    value = np.linalg.slogdet(V)[1] + residual @ inverse @ residual
    degrees = len(y)
    if method == "reml":
        value += np.linalg.slogdet(cross @ X)[1]
        degrees -= X.shape[1]
    return -0.5 * (value + degrees * np.log(2.0 * np.pi))


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("form", FORMS)
def test_the_likelihood_of_all_rows_at_once(form, method):
    data, names = table(form), names_of(form)
    model = fitted(data, names, method)
    best = scipy.optimize.minimize(
        lambda logs: -dense_likelihood(data, names, method, np.exp(logs)),
        np.zeros(len(names) + 1),
        method="L-BFGS-B",
        options={"ftol": 1e-14, "gtol": 1e-8},
    )
    assert_allclose(found(model, names), np.exp(best.x), rtol=1e-3)
    assert_allclose(model.log_marginal_likelihood_, -best.fun, rtol=1e-8)


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("form", FORMS)
def test_statsmodels(form, method):
    api = pytest.importorskip("statsmodels.api")
    data, names = table(form), names_of(form)
    model = fitted(data, names, method)
    components = {name: f"0 + C({name})" for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = api.MixedLM.from_formula(
            "y ~ x", groups=np.ones(len(data)), vc_formula=components, re_formula="0", data=data
        ).fit(reml=method == "reml", gtol=1e-9)
    assert sorted(peer.model.exog_vc.names) == peer.model.exog_vc.names
    variances = dict(zip(peer.model.exog_vc.names, peer.vcomp, strict=True))
    assert_allclose(found(model, names), [*(variances[n] for n in names), peer.scale], rtol=1e-3)
    assert_allclose(model.prior_[names[0]].mean, peer.fe_params, rtol=1e-3)
