"""Modes of classes and counts of several groupings against statsmodels' Bayesian mixed models.

``fit_map`` finds the mode of effects, mean coefficients and log standard deviations together:
where it ends, effects and mean are the mode under these standard deviations. It has no Laplace
evidence: of that ``tests/unit/bayes/test_crossed_laplace.py`` has a dense computation.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose

from polytask.bayes.crossed import CrossedRows
from polytask.bayes.crossed_laplace import CrossedEngine, GroupedLabels
from polytask.bayes.label_losses import LabelLoss, LabelLosses
from polytask.bayes.laplace_rows import Labelled
from polytask.losses import Logistic, Poisson

LEVELS = (14, 6)


@pytest.mark.parametrize("kind", ["classes", "counts"])
@pytest.mark.parametrize("form", ["crossed", "nested"])
def test_the_mode_is_that_of_statsmodels(form, kind):
    api = pytest.importorskip("statsmodels.genmod.bayes_mixed_glm")
    rng = np.random.default_rng(0)
    codes = np.column_stack([rng.integers(0, size, 300) for size in LEVELS])
    codes[:, 1] = codes[:, 0] // 3 if form == "nested" else codes[:, 1]
    Z = np.column_stack([np.ones(300), rng.standard_normal(300)])
    eta = Z @ [0.2, 0.7] + rng.standard_normal(14)[codes[:, 0]]
    eta += rng.standard_normal(6)[codes[:, 1]]
    counts = rng.poisson(np.exp(0.5 * eta))
    y = (rng.random(300) < 1 / (1 + np.exp(-eta)) if kind == "classes" else counts).astype(float)
    made = api.BinomialBayesMixedGLM if kind == "classes" else api.PoissonBayesMixedGLM
    own = [np.eye(size)[code] for size, code in zip(LEVELS, codes.T, strict=True)]
    ident = np.repeat([0, 1], LEVELS)
    peer = made(y, Z, sp.csr_matrix(np.hstack(own)), ident, vcp_p=0.3, fe_p=100.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = peer.fit_map(minim_opts={"gtol": 1e-7})
    kinds = LabelLoss(Logistic()) if kind == "classes" else LabelLoss(Poisson(), 0.0, 1.0)
    losses = LabelLosses((kinds,))
    labelled = Labelled(Z, y, np.ones(300), np.array([0, 300]), losses=losses)
    rows = CrossedRows(Z, codes, LEVELS, np.arange(1))
    mode = CrossedEngine(GroupedLabels(labelled, rows)).mode(
        np.diag(np.exp(theirs.vcp_mean)), None, losses
    )
    assert_allclose(mode.here.beta, theirs.fe_mean, atol=1e-4)
    assert_allclose(mode.effects, theirs.vc_mean, atol=1e-4)
