"""A dictionary of inputs with an encoder each, tolerant of missing ones."""

from __future__ import annotations

import functools

import pytest
from numpy.testing import assert_allclose

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from polytask import DataError, IncompatibleError, ParameterError  # noqa: E402
from polytask.deep import Modalities, Task, TaskNetwork, Training, fit_network  # noqa: E402

ADAM = functools.partial(torch.optim.Adam, lr=0.01)
squares = nn.MSELoss(reduction="none")


def trunk(width=6, fusion=None, **settings):
    torch.manual_seed(0)
    encoders = {"a": nn.Linear(3, 6), "b": nn.Linear(2, width)}
    return Modalities(encoders, {"a": 6, "b": width}, fusion, **settings)


def inputs(n=8):
    torch.manual_seed(1)
    return {"a": torch.randn(n, 3), "b": torch.randn(n, 2)}


def test_missing_inputs_are_stood_in_for():
    network, x = trunk().eval(), inputs()
    with torch.no_grad():
        network.stand_ins[1].fill_(7.0)
    whole = network(x)
    absent = network({"a": x["a"]})
    assert torch.equal(absent, network({"a": x["a"], "b": None}))
    assert torch.equal(absent[:, :6], whole[:, :6])
    assert (absent[:, 6:] == 7.0).all()
    holed = {"a": x["a"], "b": x["b"].clone()}
    holed["b"][3, 0] = float("nan")
    found = network(holed)
    assert torch.equal(found[3], absent[3])
    rest = torch.arange(8) != 3
    assert_allclose(found[rest].detach(), whole[rest].detach(), rtol=1e-6)
    found.sum().backward()
    assert torch.isfinite(network.encoders[1].weight.grad).all()


def test_hidden_inputs_leave_one_to_every_row():
    network = trunk(hide=0.9)
    with torch.no_grad():
        for stand_in in network.stand_ins:
            stand_in.fill_(9.0)
    x = inputs(400)
    x["b"][:50] = float("nan")
    hidden = (network(x).reshape(400, 2, 6) == 9.0).all(-1)
    assert not hidden.all(1).any()
    assert not hidden[:50, 0].any()
    assert hidden[50:].sum() > 250
    assert not (network.eval()(x).reshape(400, 2, 6)[50:] == 9.0).any()


def test_the_alignment_is_the_mean_squared_distance():
    network, x = trunk(alignment=0.5), inputs()
    x["b"][:2] = float("nan")
    network(x)
    a, b = network.encoders[0](x["a"][2:]), network.encoders[1](x["b"][2:])
    assert_allclose(network.extra_loss.item(), 0.5 * (a - b).square().mean().item(), rtol=1e-6)
    network.eval()(x)
    assert network.extra_loss is None


@pytest.mark.slow
def test_what_was_trained_on_both_predicts_from_one():
    torch.manual_seed(0)
    n = 512
    cause = torch.randn(n, 1)
    a = torch.cat([cause, torch.randn(n, 2)], 1)
    b = torch.cat([2 * cause + 0.1 * torch.randn(n, 1), torch.randn(n, 1)], 1)
    y = cause.abs()
    scores = {}
    for hide in (0.0, 0.4):
        body = nn.Sequential(nn.Linear(12, 24), nn.ReLU())
        network = TaskNetwork(
            trunk(fusion=body, hide=hide, alignment=0.1 * hide),
            [Task("size", nn.Linear(24, 1), squares)],
        )
        batches = [
            ({"a": a[i : i + 64], "b": b[i : i + 64]}, {"size": y[i : i + 64]})
            for i in range(0, n, 64)
        ]
        fit_network(network, batches, Training(ADAM, max_epochs=40))
        error = (network({"a": a})["size"] - y).square().mean()
        scores[hide] = 1 - (error / y.var()).item()
    assert scores[0.4] > 0.8
    assert scores[0.4] > scores[0.0] + 0.1


def test_wrong_inputs_are_refused():
    network = trunk()
    with pytest.raises(DataError, match="An input of Modalities must be one of 'a', 'b'; got 'c'"):
        network({"c": torch.ones(2, 2)})
    with pytest.raises(DataError, match="needs one input or more in a batch; got none"):
        network({"a": None})
    with pytest.raises(IncompatibleError, match="which must have one width"):
        trunk(width=5, alignment=1.0)
    with pytest.raises(ParameterError, match=r"hide of Modalities must be a number in \[0, 1\)"):
        trunk(hide=1.0)
    with pytest.raises(ParameterError, match="given for the same inputs"):
        Modalities({"a": nn.Identity()}, {"b": 3})
