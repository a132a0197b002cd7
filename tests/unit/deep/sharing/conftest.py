"""Double precision and a fixed seed for all tests of sharing."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _double():
    torch = pytest.importorskip("torch")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)
