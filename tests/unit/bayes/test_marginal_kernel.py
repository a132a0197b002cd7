"""The likelihood in the space of the rows is for mean coefficients with a learned variance."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from polytask.bayes.normal import KernelMarginal
from polytask.exceptions import IncompatibleError


def test_mean_coefficients_without_a_variance_are_refused():
    kernel = object.__new__(KernelMarginal)
    kernel.marginal = SimpleNamespace(model=None, unpack=lambda params: (params, None, None))
    with pytest.raises(IncompatibleError, match="learned variance"):
        kernel.evaluate(np.zeros(2))
