"""Every exported loss obeys every law."""

from __future__ import annotations

import inspect

import pytest

from polytask import losses
from polytask.losses import LOSSES, Loss
from polytask.testing import check_loss

EXPORTED = [
    member
    for name in losses.__all__
    if inspect.isclass(member := getattr(losses, name)) and not inspect.isabstract(member)
]


@pytest.mark.parametrize("loss", EXPORTED)
@pytest.mark.parametrize("seed", [0, 1])
def test_laws(loss, seed):
    check_loss(loss(), random_state=seed)


@pytest.mark.parametrize("loss", EXPORTED)
@pytest.mark.parametrize("namespace", ["array_api_strict", "torch"])
def test_other_namespaces(loss, namespace):
    check_loss(loss(), xp=pytest.importorskip(namespace))


def test_the_registry_has_every_loss_under_its_name():
    assert set(LOSSES.values()) == set(EXPORTED)
    assert all(loss().name == name for name, loss in LOSSES.items())
    assert all(issubclass(loss, Loss) for loss in EXPORTED)
