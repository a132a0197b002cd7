"""Which parameters a name stands for, what is bound to them, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from polytask.deep import MLP, Modalities, sharing  # noqa: E402
from polytask.deep.regularise import Penalties, proximal_step, weight_decay_groups  # noqa: E402
from polytask.exceptions import IncompatibleError, ParameterError  # noqa: E402
from polytask.penalties import (  # noqa: E402
    L1,
    L2,
    L21,
    Clustered,
    Columns,
    OutlierTasks,
    along_graph,
    toward_mean,
    weighted,
)


class Heads(nn.Module):
    def __init__(self, n_columns, width):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_columns, width))
        self.bias = nn.Parameter(torch.zeros(n_columns))


class Network(nn.Module):
    def __init__(self, n_columns=3, how=None):
        super().__init__()
        trunk = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 4))
        self.sharing = (how or sharing.Hard()).build(trunk, 3)
        self.heads = Heads(n_columns, 4)


def shapes(network, name):
    terms = Penalties(network, {name: L2(1.0)}).terms
    return [(term.matrix.name, term.matrix.shape) for term in terms]


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("heads", [("heads", (4, 3))]),
        ("input", [("input", (5, 7))]),
        ("trunk.*", [("sharing.trunk.0.weight", (5, 7)), ("sharing.trunk.3.weight", (7, 4))]),
        ("trunk", [("sharing.trunk.0.weight", (5, 7)), ("sharing.trunk.3.weight", (7, 4))]),
        ("sharing.trunk.3", [("sharing.trunk.3.weight", (7, 4))]),
        ("trunk.0.bias", [("sharing.trunk.0.bias", (1, 7))]),
        ("heads.bias", [("heads.bias", (1, 3))]),
    ],
)
def test_what_a_name_stands_for(name, known):
    assert shapes(Network(), name) == known


def test_all_weights_but_no_bias_and_no_norm():
    assert [shape for _, shape in shapes(Network(), "*")] == [(5, 7), (7, 4), (4, 3)]


def test_layers_with_other_layouts():
    net = nn.Sequential(nn.Conv1d(3, 5, 2), nn.ConvTranspose1d(5, 2, 3), nn.Embedding(9, 4))
    known = [("0.weight", (3, 10)), ("1.weight", (5, 6)), ("2.weight", (9, 4))]
    assert shapes(net, "*") == known


@pytest.mark.parametrize("name", ["0", "1", "2"])
def test_a_matrix_is_read_and_written_in_one_layout(name):
    net = nn.Sequential(nn.Conv1d(3, 5, 2), nn.ConvTranspose1d(5, 2, 3), nn.Embedding(9, 4))
    matrix = Penalties(net, {name: L2(1.0)}).terms[0].matrix
    before = matrix.parameters[0].detach().clone()
    W = matrix.value().detach().clone()
    matrix.write(W)
    assert torch.equal(matrix.parameters[0], before)
    W[1] = 0.0
    matrix.write(W)
    axis = {"0": 1, "1": 0, "2": 0}[name]
    assert int(matrix.parameters[0].select(axis, 1).count_nonzero()) == 0
    assert int(matrix.parameters[0].count_nonzero()) == before.numel() - W.shape[1]


def test_without_a_layer_the_heads_read_the_input():
    net = nn.Module()
    net.sharing, net.heads = sharing.Hard().build(nn.Sequential(), 3), Heads(3, 6)
    assert shapes(net, "input") == [("input", (6, 3))]


@pytest.mark.parametrize(
    ("how", "width"),
    [
        (sharing.Soft(), 3 * 7),
        (sharing.CrossStitch(), 3 * 7),
        (sharing.MMoE(2), 2 * 7 + 3 * 2),
        (sharing.CGC(1, 1), 4 * 7 + 3 * 2),
        (sharing.PLE(1, 1, 2), 4 * 7 + 3 * 2 + 4),
        (sharing.FiLM(4), 7),
    ],
    ids=lambda value: type(value).__name__,
)
def test_input_is_every_layer_that_reads_the_features(how, width):
    assert shapes(Network(how=how), "input")[0] == ("input", (5, width))
    net = Network(how=how)
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    x = torch.randn(8, 5)
    with torch.no_grad():
        matrix = Penalties(net, {"input": L1(1.0)}).terms[0].matrix
        W = matrix.value().clone()
        W[2] = 0.0
        matrix.write(W)
    net.eval()
    other = x.clone()
    other[:, 2] += 5.0
    assert torch.equal(net.sharing(x, None), net.sharing(other, None))
    Penalties(net, {"input": L1(1e6)}).proximal_step(optimizer)
    # Rows of a batch may be computed in another order of additions.
    first, second = net.sharing(x, None)[:2]
    torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-6)


def test_heads_are_bound_to_tasks_and_classes():
    columns = Columns(("a", "a", "b", "b"), ("x", "y", "x", "y"))
    net = Network(4).double()
    W = net.heads.weight.detach().numpy().T
    for penalty in (toward_mean(0.5), along_graph(0.5, {("a", "b"): 2.0}), OutlierTasks(0.3)):
        found = Penalties(net, {"heads": penalty}, columns=columns).values()["heads"]
        np.testing.assert_allclose(found, penalty.bind(columns).value(W), rtol=1e-12)
    net.columns = columns
    found = Penalties(net, {"heads": Clustered(0.4, 0.5, 1)}).values()["heads"]
    np.testing.assert_allclose(found, Clustered(0.4, 0.5, 1).bind(columns).value(W), rtol=1e-12)


def test_heads_of_several_modules_are_one_matrix():
    net = nn.Module()
    net.heads = nn.ModuleDict({"a": nn.Linear(4, 1), "b": nn.Linear(4, 2)})
    assert shapes(net, "heads") == [("heads", (4, 3))]
    net.heads["b"] = nn.Linear(5, 2)
    with pytest.raises(IncompatibleError, match="4, 5 inputs; name them one by one"):
        Penalties(net, {"heads": L2(1.0)})


def test_features_by_name():
    net = Network()
    names = ("a", "b", "c", "d", "e")
    penalty = weighted(L21(1e6), {"b": 0})
    penalties = Penalties(net, {"input": penalty}, feature_names=names)
    penalties.proximal_step(torch.optim.SGD(net.parameters(), lr=1.0))
    rows = net.sharing.trunk[0].weight.detach().abs().sum(0)
    assert [bool(size > 0) for size in rows] == [False, True, False, False, False]


@pytest.mark.parametrize(
    ("penalties", "error", "message"),
    [
        ({"trunc.0": L2(1.0)}, ParameterError, r"must be the name of a layer.*'trunc.0'"),
        ({"input": L21()}, ParameterError, "give alpha"),
        (
            {"input": 0.1},
            ParameterError,
            "'input' of penalties must be a penalty from polytask.penalties",
        ),
        ({"trunk.*": L1(1.0), "input": L21(1.0)}, IncompatibleError, "one penalty, such as"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(penalties, error, message):
    with pytest.raises(error, match=message):
        Penalties(Network(), penalties)


def test_a_ridge_beside_a_penalty_with_zeros_is_allowed():
    penalties = Penalties(Network(), {"*": L2(1.0), "input": L21(1.0), "heads": L1(1.0)})
    assert penalties.names == ("*", "input", "heads")


def test_columns_and_names_that_do_not_fit_are_refused():
    with pytest.raises(ParameterError, match=r"columns of Penalties .* \(3\); got 2"):
        Penalties(Network(), {"heads": L2(1.0)}, columns=Columns.plain(2))
    with pytest.raises(ParameterError, match="feature_names of Penalties"):
        Penalties(Network(), {"input": L2(1.0)}, feature_names=("a",))


def test_networks_without_heads_or_weights_are_named():
    with pytest.raises(IncompatibleError, match="attribute heads"):
        Penalties(nn.Sequential(nn.Linear(2, 2)), {"heads": L2(1.0)})
    with pytest.raises(IncompatibleError, match="trunk or heads with weights"):
        Penalties(nn.Sequential(nn.ReLU()), {"input": L2(1.0)})


def test_pairs_of_modules_and_parameters():
    net = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    bias = torch.tensor([0.7, -0.4])
    net[1].bias.data.copy_(bias)
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    proximal_step([(net[0], L1(1e3)), (net[1].bias, L1(0.1))], optimizer)
    assert int(net[0].weight.count_nonzero()) == 0
    np.testing.assert_allclose(net[1].bias.detach(), bias - 0.1 * bias.sign(), rtol=1e-6)
    assert int(net[1].weight.count_nonzero()) == 4


def test_zeros_are_counted_by_name():
    net = Network()
    penalties = Penalties(net, {"input": L1(1e3), "heads": L1(1e-9)})
    penalties.proximal_step(torch.optim.SGD(net.parameters(), lr=1.0))
    assert penalties.zeros() == {"input": 1.0, "heads": 0.0}


def test_residual_needs_a_gradient():
    with pytest.raises(ParameterError, match=r"call backward\(\)"):
        Penalties(Network(), {"heads": L1(1.0)}).residual()


def test_only_weights_decay():
    net = Network(how=sharing.MMoE(2))
    net.norm = nn.LayerNorm(4)
    decays, others = weight_decay_groups(net, 0.1, without=("heads",))
    assert decays["weight_decay"] == 0.1
    assert others["weight_decay"] == 0.0
    names = {id(p): name for name, p in net.named_parameters()}
    known = {name for name in names.values() if name.endswith("weight")}
    known -= {"heads.weight", "norm.weight", "sharing.trunk.layers.1.weight"}
    assert {names[id(p)] for p in decays["params"]} == known
    together = [id(p) for group in (decays, others) for p in group["params"]]
    assert sorted(together) == sorted(names)


def test_frozen_parameters_do_not_decay_at_all():
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    net[0].weight.requires_grad_(False)
    (group,) = weight_decay_groups(net, 0.1)
    assert [p is net[1].weight for p in group["params"]] == [True]


def test_the_input_behind_categories_is_what_the_trunk_reads():
    net = nn.Module()
    net.trunk = MLP((7,), embedding=2).build(9, blocks=((0, 4), (4, 8)))
    assert shapes(net, "input") == [("input", (5, 7))]


def test_several_inputs_have_no_common_input_layer():
    net = nn.Module()
    net.trunk = Modalities({"a": nn.Linear(3, 2), "b": nn.Linear(3, 2)}, {"a": 2, "b": 2})
    with pytest.raises(IncompatibleError, match=r"name the layers of their encoders"):
        Penalties(net, {"input": L2(1.0)})
