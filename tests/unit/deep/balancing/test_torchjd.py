"""The adapter of TorchJD, with the package and with one that looks like it."""

from __future__ import annotations

import importlib.util
import sys
import types

import pytest

torch = pytest.importorskip("torch")

from polytask.deep.balancing import StatefulBalancer, TorchJD  # noqa: E402
from polytask.exceptions import IncompatibleError  # noqa: E402


class Weighting:
    """Stands for ``torchjd.aggregation.Weighting``."""

    def __call__(self, gramian):
        return 1 / gramian.diagonal()


class Remembering(Weighting):
    def reset(self):
        """Stands for a weighting with a state."""


@pytest.fixture
def lookalike(monkeypatch):
    package, module = types.ModuleType("torchjd"), types.ModuleType("torchjd.aggregation")
    module.Weighting = Weighting
    monkeypatch.setitem(sys.modules, "torchjd", package)
    monkeypatch.setitem(sys.modules, "torchjd.aggregation", module)


@pytest.mark.usefixtures("lookalike")
def test_weights_are_passed_on():
    balance = StatefulBalancer(TorchJD(Weighting()), 2)
    gramian = torch.diag(torch.tensor([2.0, 4.0]))
    assert balance.weigh(torch.ones(2), gramian=gramian).tolist() == [0.5, 0.25]


@pytest.mark.usefixtures("lookalike")
def test_what_cannot_be_adapted_is_refused():
    with pytest.raises(IncompatibleError, match="remembers nothing"):
        TorchJD(Remembering())
    with pytest.raises(IncompatibleError, match="a weighting of torchjd"):
        TorchJD(lambda gramian: gramian)


def test_the_command_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchjd", None)
    monkeypatch.setitem(sys.modules, "torchjd.aggregation", None)
    with pytest.raises(ImportError, match=r'pip install "polytask\[torchjd\]"'):
        TorchJD(Weighting())


@pytest.mark.skipif(importlib.util.find_spec("torchjd") is None, reason="TorchJD is not installed")
def test_a_weighting_of_torchjd_itself():
    from torchjd.aggregation import KrumWeighting

    balance = StatefulBalancer(TorchJD(KrumWeighting(1, 1)), 5)
    J = torch.sin(torch.arange(30.0)).reshape(5, 6)
    weights = balance.weigh(torch.ones(5), gramian=J @ J.T)
    assert torch.equal(weights, KrumWeighting(1, 1)(J @ J.T))
