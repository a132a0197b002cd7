"""Deviance of counts and amounts, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import d2_tweedie_score, mean_gamma_deviance, mean_poisson_deviance

from polytask import DataError
from polytask.losses import Gamma, Poisson
from polytask.metrics import HeldOut, default_metrics, evaluate

LOSSES = {
    "poisson": (Poisson(), 1, mean_poisson_deviance),
    "gamma": (Gamma(), 2, mean_gamma_deviance),
}


def _held(name, **new):
    rng = np.random.default_rng(0)
    mean = rng.gamma(2.0, 1.0, 60)
    y = rng.poisson(mean).astype(float) if name == "poisson" else rng.gamma(2.0, mean / 2)
    weight = rng.uniform(0.5, 2.0, 60)
    given = {"y": y, "prediction": mean, "baseline": np.average(y, weights=weight)}
    return HeldOut(**(given | {"weight": weight, "loss": LOSSES[name][0]} | new))


@pytest.mark.parametrize("name", LOSSES)
def test_deviance_and_the_share_explained_are_those_of_scikit_learn(name):
    held = _held(name)
    found = evaluate([held], ["deviance", "d2"])
    _, power, deviance = LOSSES[name]
    wanted = deviance(held.y, held.prediction, sample_weight=held.weight)
    assert found["deviance"].overall == pytest.approx(wanted)
    share = d2_tweedie_score(held.y, held.prediction, sample_weight=held.weight, power=power)
    assert found["d2"].overall == pytest.approx(share)
    assert found["d2"].by_task.values[0] == pytest.approx(share)


def test_a_mean_of_zero_is_bad_but_finite_and_one_of_nan_shows():
    held = _held("poisson", prediction=np.zeros(60))
    worst = evaluate([held], ["d2"])["d2"].overall
    assert -1e3 < worst < -10
    lost = _held("poisson", prediction=np.full(60, np.nan))
    assert np.isnan(evaluate([lost], ["d2"])["d2"].overall)


def test_zeros_only_and_one_value_have_no_share():
    zeros = _held("poisson", y=np.zeros(60), baseline=0.0, prediction=np.full(60, 0.1))
    tenths = _held("gamma", y=np.full(60, 0.1), baseline=np.mean([0.1] * 3))
    assert np.isnan(evaluate([zeros], ["d2"])["d2"].overall)
    assert np.isnan(evaluate([tenths], ["d2"])["d2"].overall)


def test_losses_of_different_units_are_averaged_over_tasks():
    counts, amounts = _held("poisson"), _held("gamma")
    found = evaluate([counts, amounts], ["d2"])["d2"]
    assert found.overall == pytest.approx(np.mean(found.by_task.values))


def test_the_deviance_is_shown_for_counts_only():
    assert default_metrics([_held("poisson")])[:2] == ("d2", "deviance")
    assert "deviance" not in default_metrics([_held("poisson", loss=None)])


def test_targets_that_the_loss_forbids_are_refused():
    with pytest.raises(DataError, match=r"y of HeldOut must be a number > 0 .*got 0.0"):
        _held("gamma", y=np.zeros(60))
