"""Every datafit obeys every law, for every loss, design and kind of intercepts."""

from __future__ import annotations

import numpy as np
import pytest

from polytask.losses import Gamma, Logistic, Poisson, Squared
from polytask.testing import _problems, check_datafit

MODES = _problems.intercept_modes()
LOSSES = [Squared(), Logistic(), Poisson(), Gamma()]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_samples(loss, mode):
    check_datafit(_problems.stacked_samples(loss, MODES[mode], 1))
    check_datafit(_problems.shared_samples(loss, MODES[mode], 2), random_state=1)


@pytest.mark.parametrize("mode", MODES)
def test_statistics(mode):
    check_datafit(_problems.stacked_statistics(MODES[mode], 1))
    check_datafit(_problems.shared_statistics(MODES[mode], 2, missing=True))
    check_datafit(_problems.shared_statistics(MODES[mode], 3, missing=False))


@pytest.mark.parametrize("mode", MODES)
def test_classes(mode):
    check_datafit(_problems.class_samples(_problems.intercept_modes(5)[mode], 1))


@pytest.mark.parametrize("seed", [0, *(pytest.param(k, marks=pytest.mark.slow) for k in (1, 2))])
def test_small_problems(seed):
    for datafit in _problems.small_problems(seed).values():
        check_datafit(datafit, random_state=seed)


def test_intercepts_of_one_class_across_tasks():
    check_datafit(_problems.class_samples(None, 4))
    check_datafit(_problems.mixed_samples(4), random_state=np.random.default_rng(0).integers(9))
