"""Which trunks can be shared, and what is refused."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from unit.deep.sharing._cases import D, H, N, Own, T, rows, trunk  # noqa: E402

from polytask.deep import MLP  # noqa: E402
from polytask.deep.regularise import TaskBatchNorm1d, TaskSequential  # noqa: E402
from polytask.deep.sharing import CGC, MTAN, PLE, CrossStitch, DSelectK, FiLM, Hard, MMoE, Soft  # noqa: E402
from polytask.exceptions import IncompatibleError, ParameterError  # noqa: E402

ANY = [
    Hard(), Soft(), CrossStitch(), MMoE(2, width=H), CGC(1, 1, width=H), FiLM(3, width=H),
    DSelectK(2, 1), MTAN(width=H),
]  # fmt: skip


@pytest.mark.parametrize("how", ANY, ids=repr)
def test_any_trunk_with_a_dictionary_of_inputs(how):
    module, (x, task) = how.build(Own(trunk()), T), rows()
    inputs = {"a": x, "b": None}
    own, whole = module(inputs, task), module(inputs, None)
    assert own.shape == (N, H)
    known = whole if module.shared_representation else whole[torch.arange(N), task]
    torch.testing.assert_close(own, known)
    # Masks are batched whatever the trunk is.
    assert isinstance(how, MTAN) or not getattr(module, "batched", False)
    assert module(inputs, torch.full((N,), -1)).shape == (N, H)


@pytest.mark.parametrize("how", ANY, ids=repr)
def test_a_trunk_that_gives_another_shape_is_refused(how):
    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(D, H)

        def forward(self, x):
            return self.linear(x)[:, None]

    module = how.build(Wide(), T)
    x, task = rows()
    with pytest.raises(IncompatibleError, match=r"output of the trunk Wide must be of shape \("):
        module(x, task)


class Stubborn(nn.Module):
    def __deepcopy__(self, memo):
        raise RuntimeError("it holds a file")

    def forward(self, x):
        return x


@pytest.mark.parametrize("how", [how for how in ANY[1:] if not isinstance(how, MTAN)], ids=repr)
def test_a_trunk_that_cannot_be_copied_is_refused(how):
    with pytest.raises(IncompatibleError, match=r"cannot be copied \(it holds a file\).*Hard\(\)"):
        how.build(Stubborn(), T)
    assert Hard().build(Stubborn(), T)(*rows()).shape == (N, D)


def test_experts_that_would_start_equal_are_refused():
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(D))

        def forward(self, x):
            return self.scale * x

    with pytest.raises(IncompatibleError, match="no method reset_parameters"):
        MMoE(2, width=D).build(nn.Sequential(nn.Linear(D, D), Plain()), T)
    assert Soft().build(Plain(), T)(*rows()).shape == (N, D)


@pytest.mark.parametrize("how", [MMoE(2), CGC(1, 1), FiLM(2)], ids=repr)
def test_a_width_that_cannot_be_seen_is_asked_for(how):
    with pytest.raises(ParameterError, match=r"width of .* must be the width h"):
        how.build(Own(trunk()), T)


def test_ple_needs_enough_layers():
    with pytest.raises(IncompatibleError, match="3 linear layers; got Sequential with 2"):
        PLE(1, 1, 3).build(trunk(), T)
    with pytest.raises(IncompatibleError, match="trunk of PLE must be an"):
        PLE().build(Own(trunk()), T)


@pytest.mark.parametrize("how", ANY[1:], ids=repr)
def test_trunks_that_take_the_task_are_for_hard_sharing(how):
    own = TaskSequential(nn.Linear(D, H), TaskBatchNorm1d(H, T))
    with pytest.raises(IncompatibleError, match=r"takes the task of each row.*Hard\(\)"):
        how.build(own, T)


def test_stacked_layers_refuse_what_is_no_table():
    module = Soft().build(trunk(), T)
    with pytest.raises(IncompatibleError, match=r"must be a tensor of shape \(n, n_features\)"):
        module({"a": torch.zeros(3, D)}, torch.zeros(3, dtype=torch.long))


def test_one_row_of_a_task_under_batch_norm_uses_running_statistics():
    module = Soft().build(trunk("batch"), T)
    x, task = rows()
    for _ in range(3):
        module(x, task)
    before = module.trunk.layers[1].running_mean[1].clone()
    found = module(x[:1], torch.tensor([1]))
    torch.testing.assert_close(found, module.eval()(x[:1], torch.tensor([1])))
    assert torch.equal(module.trunk.layers[1].running_mean[1], before)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MMoE(0), "n_experts of MMoE"),
        (lambda: CGC(1, 0), "n_own of CGC"),
        (lambda: DSelectK(2, 3), "k of DSelectK must be a number of experts from 1 to 2; got 3"),
        (lambda: PLE(n_levels=0), "n_levels of PLE"),
        (lambda: FiLM(0), "n_dimensions of FiLM"),
        (lambda: CrossStitch(1.5), "own_share of CrossStitch"),
        (lambda: Soft(0.1), "penalty of Soft"),
        (lambda: Hard().build(nn.Identity(), 0), "n_tasks of Hard"),
    ],
)
def test_settings_are_checked(make, message):
    with pytest.raises(ParameterError, match=message):
        make()


def test_images_under_every_structure_that_can():
    def images():
        flat = nn.Sequential(nn.Flatten(), nn.Linear(4 * 9, H))
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), *flat)

    x, (_, task) = torch.randn(N, 1, 8, 8), rows()
    for how in ANY:
        module = how.build(images(), T)
        whole, own = module(x, None), module(x, task)
        known = whole if module.shared_representation else whole[torch.arange(N), task]
        torch.testing.assert_close(own, known)


def test_gates_do_not_read_an_input_that_is_flattened_first():
    own = nn.Sequential(nn.Flatten(), nn.Linear(12, H))
    with pytest.raises(ParameterError, match="width of MMoE"):
        MMoE(2).build(own, T)
    assert MMoE(2, width=H).build(own, T)(torch.randn(7, 3, 4)).shape == (7, T, H)


def test_trunks_with_vectors_of_categories():
    x = torch.zeros(N, 6)
    x[torch.arange(N), torch.arange(N) % 5] = 1.0
    task = torch.arange(N) % T
    for how in (MMoE(2), CGC(1, 1), Soft(), PLE(), FiLM()):
        own = MLP((4, H), embedding=2).build(6, blocks=((0, 5),))
        module = how.build(own, T)
        assert module(x, task).shape == (N, H)


def test_batch_norm_in_experts_is_precise_where_products_are_not():
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(D, H), nn.BatchNorm1d(H), nn.ReLU())
    built = MMoE(3).build(layers, T).float()
    x = torch.randn(600, D, dtype=torch.float32)
    expected = built(x, None)
    with torch.autocast("cpu", torch.bfloat16):
        found = built(x, None)
    assert torch.allclose(found.float(), expected, atol=0.1)
    assert all(buffer.dtype != torch.bfloat16 for buffer in built.buffers())
