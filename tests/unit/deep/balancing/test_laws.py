"""Every exported balancer obeys every law."""

from __future__ import annotations

import dataclasses
import re

import pytest

torch = pytest.importorskip("torch")

from polytask.deep import balancing  # noqa: E402
from polytask.deep.balancing import (  # noqa: E402
    CAGrad,
    Equal,
    Fixed,
    GradientBalancer,
    LossBalancer,
    PCGrad,
    RandomWeights,
    State,
    TorchJD,
)
from polytask.testing import check_balancer  # noqa: E402

# What methods promise beyond the laws of all, or do not.
PROMISES = {
    "Equal": {"degree": 0.0},
    "Fixed": {"degree": 0.0, "fixed": True, "tasks_alike": False},
    "GeometricMean": {"degree": 0.0},
    "RandomWeights": {"degree": 0.0, "tasks_alike": False},
    "Uncertainty": {"alone": None},
    "IMTLL": {"alone": None},
    "DWA": {"degree": 0.0},
    "FAMO": {"degree": 0.0},
    "GradNorm": {"degree": 0.0},
    "MGDA": {"degree": 0.0, "harmless": True},
    "UPGrad": {"degree": 0.0, "harmless": True},
    "PCGrad": {"degree": 0.0, "tasks_alike": False},
    "CAGrad": {"degree": 0.0, "alone": 1.4},
    "IMTLG": {"degree": 0.0},
    "Nash": {"degree": -1.0, "alone": None},
    "Aligned": {"degree": 0.0},
}
MADE = {"Fixed": Fixed([1.0, 0.5, 2.0, 0.0, 3.0])}


def _exported():
    for name in balancing.__all__:
        member = getattr(balancing, name)
        weighs = hasattr(member, "weigh_losses") or hasattr(member, "weigh_gradients")
        if weighs and dataclasses.is_dataclass(member) and member is not TorchJD:
            yield name


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", _exported())
def test_laws(name, seed):
    balancer = MADE.get(name) or getattr(balancing, name)()
    check_balancer(balancer, **PROMISES.get(name, {}), random_state=seed)


def test_the_package_names_them_all():
    named = set(re.findall(r":class:`(\w+)`", balancing.__doc__))
    assert named == {*_exported(), "TorchJD"}


def test_nothing_is_promised_for_what_is_not_exported():
    assert set(PROMISES) <= set(_exported())


@dataclasses.dataclass(frozen=True)
class Wrong:
    """Breaks one law."""

    fault: str

    def start(self, n_tasks, like):
        return State({"seen": like.new_zeros(n_tasks)})

    def weigh_losses(self, losses, state):
        weights = torch.ones_like(losses)
        if self.fault == "order":
            weights = torch.arange(1.0, len(losses) + 1).to(losses)
        if self.fault == "dtype":
            weights = weights.double() if losses.dtype == torch.float32 else weights.float()
        if self.fault == "finite":
            weights = 1 / losses
        if self.fault == "alone":
            weights = weights * 2
        if self.fault == "scale":
            weights = losses
        return weights, state.with_tasks(seen=state.tasks["seen"] + 1)


@pytest.mark.parametrize(
    ("fault", "law"),
    [
        ("order", "permutation"),
        ("dtype", "dtype"),
        ("finite", "losses and gradients of zero"),
        ("alone", "one task weighs"),
        ("scale", "homogeneous"),
    ],
)
def test_a_broken_law_is_named(fault, law):
    with pytest.raises(AssertionError, match=law):
        check_balancer(Wrong(fault), alone=None if fault == "scale" else 1.0, degree=0.0)


def test_harm_is_named():
    with pytest.raises(AssertionError, match="negative inner product"):
        check_balancer(Equal(), harmless=True)


def test_kinds():
    for name in _exported():
        balancer = MADE.get(name) or getattr(balancing, name)()
        kinds = isinstance(balancer, LossBalancer), isinstance(balancer, GradientBalancer)
        assert sum(kinds) == 1


def test_seeds_matter():
    assert PCGrad(1) != PCGrad(2)
    assert RandomWeights(1).start(2, torch.zeros(1)).common["generator"].dtype == torch.uint8
    assert CAGrad(0.5).c == 0.5
