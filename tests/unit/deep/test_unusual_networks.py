"""Unusual networks and settings: what is said, and what is not silently gone on with."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

from polytask import adapt  # noqa: E402
from polytask.deep import (  # noqa: E402
    MLP,
    DeepMultiTaskRegressor,
    Modalities,
    Task,
    TaskNetwork,
    Training,
    balancing,
    fit_network,
    recording,
)
from polytask.deep.regularise import Penalties, final_phase  # noqa: E402
from polytask.exceptions import (  # noqa: E402
    ConvergenceWarning,
    DataError,
    DataWarning,
    IncompatibleError,
    ParameterError,
)
from polytask.messages import Translator  # noqa: E402
from polytask.penalties import L1, L2, L21, TraceNorm, coupling  # noqa: E402

RNG = np.random.default_rng(0)
X = RNG.standard_normal((120, 6))
TASK = np.arange(120) % 4
Y = X[:, 0] + 0.3 * TASK * X[:, 1]


def net(**settings: Any) -> DeepMultiTaskRegressor:
    usual = {"trunk": MLP((8,)), "max_epochs": 2, "early_stopping": False, "random_state": 0}
    return DeepMultiTaskRegressor(**(usual | settings))


def sgd(rate: float) -> Callable[[Any], Any]:
    return lambda parameters: torch.optim.SGD(parameters, lr=rate)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("penalties", lambda k: {"penalties": {"heads": coupling(0.1, (1.0 + k) * np.eye(4))}}),
        ("optimizer", lambda k: {"optimizer": sgd(0.01 * (1 + k))}),
        ("schedule", lambda k: {"schedule": lambda o: torch.optim.lr_scheduler.StepLR(o, 1 + k)}),
        ("task_weight", lambda k: {"task_weight": np.array([1.0, 2.0, 3.0, 4.0 + k])}),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(
    tmp_path: Path, name: str, make: Callable[[int], dict[str, Any]]
) -> None:
    fit = functools.partial(net, checkpoint=tmp_path / "c")
    fit(**make(0)).fit(X, Y, task=TASK)
    fit(**make(0), max_epochs=3).fit(X, Y, task=TASK)
    with pytest.raises(DataError, match=f"of another training: it differs in {name}"):
        fit(**make(1), max_epochs=4).fit(X, Y, task=TASK)


def test_a_checkpoint_with_modules_of_other_weights_warns(tmp_path: Path) -> None:
    first, second = nn.Linear(6, 8), nn.Linear(6, 8)
    path = tmp_path / "c"
    net(trunk=first, checkpoint=path).fit(X, Y, task=TASK)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)
        want = net(trunk=first, checkpoint=path, max_epochs=3).fit(X, Y, task=TASK)
    with pytest.warns(DataWarning, match="began with modules of other weights than these"):
        found = net(trunk=second, checkpoint=path, max_epochs=3).fit(X, Y, task=TASK)
    np.testing.assert_array_equal(found.predict(X, task=TASK), want.predict(X, task=TASK))


@pytest.mark.parametrize("penalty", [L1(0.01), L21(0.05), L2(0.1)])
def test_penalties_of_the_input_may_follow_vectors_of_categories(penalty: Any) -> None:
    table = pd.DataFrame(X, columns=list("abcdef"))
    table["k"] = RNG.choice(list("uvwxyz"), len(X))
    model = net(trunk=MLP((8,), embedding=2), penalties={"input": penalty})
    assert np.isfinite(model.fit(table, Y, task=TASK).solution_.objective)


def test_adapting_an_added_task_again_is_refused() -> None:
    added = adapt(net().fit(X, Y, task=TASK), X[:30], Y[:30], task=9)
    with pytest.raises(DataError, match="adapt adds new tasks; the model knows 9 already"):
        adapt(added, X[:30], Y[:30], task=9)


class PartlyUsed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(6, 8), nn.Linear(3, 3)

    def forward(self, x: Any) -> Any:
        return torch.relu(self.used(x))


def test_a_layer_that_takes_no_part_may_be_penalised() -> None:
    model = net(trunk=PartlyUsed(), penalties={"*": L1(0.01)}).fit(X, Y, task=TASK)
    assert np.isfinite(model.solution_.residual)


def test_a_penalty_of_frozen_layers_alone_is_refused() -> None:
    trunk = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8))
    trunk[0].requires_grad_(False)
    with pytest.raises(IncompatibleError, match="'input' has a penalty but its parameters are"):
        net(trunk=trunk, penalties={"input": L2(0.1)}).fit(X, Y, task=TASK)
    frozen = trunk[0].weight.clone()
    model = net(trunk=trunk, penalties={"*": L2(0.1)}).fit(X, Y, task=TASK)
    assert torch.equal(next(model.network_.parameters()).cpu(), frozen)


def test_one_measured_step_tells_no_groups() -> None:
    rng = np.random.default_rng(1)
    features, noise, task = (
        rng.standard_normal((240, 4)),
        rng.standard_normal(240),
        np.arange(240) % 6,
    )
    record = recording.GradientSimilarity(every=1000)
    model = net(trunk=MLP((16,)), record=record).fit(features, noise, task=task)
    (relation,) = model.history_.relations
    assert np.diagonal(relation.counts).tolist() == [1] * 6
    np.testing.assert_array_equal(relation.similarity, np.eye(6))


def test_the_end_of_a_final_phase_is_told_in_its_own_words() -> None:
    model = net(penalties={"heads": TraceNorm(0.1)}, final_phase=2)
    with pytest.warns(ConvergenceWarning, match="^final_phase ended with its last step before"):
        model.fit(X, Y, task=TASK)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"penalties": {0: L1(0.1)}}, "A key of penalties must be the name of a layer"),
        ({"random_state": "a"}, "random_state of DeepMultiTaskRegressor must be an integer"),
    ],
)
def test_settings_of_another_kind_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        net(**settings).fit(X, Y, task=TASK)


@pytest.mark.parametrize("seed", range(4))
def test_rows_without_labels_are_not_held_out(seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets = np.full((120, 3), np.nan)
    for column in range(3):
        targets[rng.choice(120, 3, replace=False), column] = rng.standard_normal(3)
    model = net(early_stopping=True, random_state=seed).fit(X, targets)
    assert np.isfinite(model.predict(X)).all()


def test_a_masked_label_counts_for_nothing_where_the_loss_is_endless_at_zero() -> None:
    def share(output: Any, target: Any) -> Any:
        return ((output - target) / target).abs()

    def parts(target: Any) -> Any:
        return ~torch.isnan(target)

    target = torch.tensor(np.abs(Y[:40]) + 1.0).float()[:, None]
    target[::3] = float("nan")
    inputs = torch.tensor(X[:40]).float()
    network = TaskNetwork(nn.Linear(6, 4), [Task("n", nn.Linear(4, 1), share, mask=parts)])
    batches = [(inputs, {"n": target})]
    solution = fit_network(network, batches, Training(max_epochs=3))[1]
    assert np.isfinite(solution.objective)


def batches_of(generator: Any) -> DataLoader[Any]:
    data = TensorDataset(torch.tensor(X).float(), torch.tensor(Y).float()[:, None])

    def together(rows: list[Any]) -> Any:
        inputs, targets = zip(*rows, strict=True)
        return torch.stack(inputs), {"n": torch.stack(targets)}

    return DataLoader(data, 16, shuffle=True, generator=generator, collate_fn=together)


def small() -> Any:
    torch.manual_seed(3)
    return TaskNetwork(nn.Linear(6, 4), [Task("n", nn.Linear(4, 1), squares)])


def squares(output: Any, target: Any) -> Any:
    return (output - target) ** 2


def test_batches_with_a_generator_of_their_own_are_gone_on_with(tmp_path: Path) -> None:
    def trained(epochs: int, path: Path | None) -> Any:
        network, own = small(), torch.Generator().manual_seed(5)
        fit_network(network, batches_of(own), Training(max_epochs=epochs, checkpoint=path))
        return network.state_dict()

    whole = trained(4, None)
    trained(2, tmp_path / "c")
    smooth_prox_split = trained(4, tmp_path / "c")
    assert all(torch.equal(whole[name], smooth_prox_split[name]) for name in whole)


def test_a_loop_refuses_the_checkpoint_of_another_balancer_or_penalty(tmp_path: Path) -> None:
    path = tmp_path / "c"

    def train(epochs: int, **others: Any) -> None:
        training = Training(max_epochs=epochs, checkpoint=path)
        fit_network(small(), batches_of(torch.Generator()), training, **others)

    train(1, penalties={"heads": L2(0.1)})
    train(2, penalties={"heads": L2(0.1)})
    for others, told in (
        ({"penalties": {"heads": L2(5.0)}}, "penalties of layers"),
        ({"penalties": {"heads": L2(0.1)}, "balancer": balancing.FAMO()}, "balancer, parts"),
    ):
        with pytest.raises(DataError, match=f"differs in {told}"):
            train(3, **others)


def test_penalties_of_another_network_are_refused() -> None:
    with pytest.raises(IncompatibleError, match="its parameters are not in the optimiser"):
        fit_network(
            small(),
            batches_of(None),
            Training(max_epochs=1),
            penalties=Penalties(small(), {"heads": L2(5.0)}),
        )


def test_one_row_for_the_batch_norm_of_an_encoder_is_refused() -> None:
    def encoder() -> nn.Module:
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))

    trunk = Modalities({"a": encoder(), "b": encoder()}, {"a": 4, "b": 4})
    inputs = {"a": torch.randn(5, 3), "b": torch.full((5, 3), float("nan"))}
    inputs["b"][2] = 1.0
    with pytest.raises(DataError, match="2 rows or more with the input 'b', for its batch norm"):
        trunk(inputs)
    trunk.eval()
    assert trunk(inputs).shape == (5, 8)
    with pytest.raises(IncompatibleError, match=r"'trunk.encoders.0.0', which is of 'a'"):
        trunk.input_layers()


@pytest.mark.parametrize("unit", [1e-46, 1e-49, 1e39, 1e49])
@pytest.mark.parametrize("form", ["long", "targets"])
def test_weights_may_have_any_unit(unit: float, form: str) -> None:
    rng = np.random.default_rng(3)
    X, weight = rng.normal(size=(40, 3)), rng.uniform(0.5, 2.0, size=40)
    model = DeepMultiTaskRegressor(MLP((4,)), max_epochs=3, patience=None, random_state=0)

    def fitted(weight: np.ndarray) -> np.ndarray:
        if form == "targets":
            return model.fit(X, X[:, :2], sample_weight=weight).predict(X)
        task = np.arange(40) % 2
        return model.fit(X, X[:, 0], task=task, sample_weight=weight).predict(X, task=task)

    np.testing.assert_allclose(fitted(weight * unit), fitted(weight), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_penalties_leave_frozen_layers_as_they_are(kind: Callable[..., Any]) -> None:
    net = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4), nn.Linear(4, 1))
    net[0].weight.requires_grad_(False)
    before = net[0].weight.clone()
    penalties = Penalties(net, {"*": L1(0.3)})
    X = torch.randn(30, 6)
    for optimizer in (kind(net.parameters(), lr=0.1), kind(net[1:].parameters(), lr=0.1)):
        penalties.check(optimizer)
        assert penalties.applicable(optimizer) is penalties
        for _ in range(30):
            optimizer.zero_grad()
            net(X).square().mean().backward()
            optimizer.step()
            penalties.proximal_step(optimizer)
    assert torch.equal(net[0].weight, before)
    assert (net[1].weight == 0).any()
    net.zero_grad()
    net(X).square().mean().backward()
    assert penalties.residual()["*"] >= 0.0
    end = final_phase(penalties, lambda: net(X).square().mean())
    assert end.status.ok
    assert torch.equal(net[0].weight, before)


def test_inputs_of_unlike_length_and_encodings_of_another_width_are_named() -> None:
    trunk = Modalities({"a": nn.Linear(3, 4), "b": nn.Linear(2, 4)}, {"a": 4, "b": 5})
    with pytest.raises(DataError, match="input 'b' of Modalities must be of 4 rows; got 5"):
        trunk({"a": torch.ones(4, 3), "b": torch.ones(5, 2)})
    with pytest.raises(DataError, match=r"encoding of 'b' .* of shape \(4, 5\); got \(4, 4\)"):
        trunk({"a": torch.ones(4, 3), "b": torch.ones(4, 2)})
    wrong = r"input 'a' .* must be what its encoder takes; got a batch of shape \(4, 7\) \(mat1"
    with pytest.raises(DataError, match=wrong):
        trunk({"a": torch.ones(4, 7), "b": torch.ones(4, 2)})


def test_one_image_for_the_batch_norm_of_an_encoder_is_enough() -> None:
    picture = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(32, 4))
    frozen = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    trunk = Modalities({"image": picture, "row": frozen}, {"image": 4, "row": 4})
    frozen.eval()
    inputs = {"image": torch.randn(3, 1, 6, 6), "row": torch.randn(3, 3)}
    inputs["image"][:2] = float("nan")
    inputs["row"][1:] = float("nan")
    assert trunk(inputs).shape == (3, 8)


def test_lazy_layers_can_be_trained(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(40, 3))
    for checkpoint in (None, tmp_path / "c"):
        trunk = nn.Sequential(nn.LazyLinear(4), nn.ReLU())
        model = DeepMultiTaskRegressor(trunk, max_epochs=2, checkpoint=checkpoint)
        assert model.fit(X, X[:, :2]).predict(X).shape == (40, 2)


def test_a_checkpoint_of_a_trunk_with_other_settings_is_refused(tmp_path: Path) -> None:
    class Scaled(nn.Module):
        def __init__(self, size: float) -> None:
            super().__init__()
            self.layer, self.size = nn.Linear(3, 4), size

        def forward(self, x: Any) -> Any:
            return self.layer(x) * self.size

    X = np.random.default_rng(0).normal(size=(40, 3))

    def fit(size: float, epochs: int) -> None:
        path, trunk = tmp_path / "c", Scaled(size)
        DeepMultiTaskRegressor(trunk, max_epochs=epochs, checkpoint=path, random_state=0).fit(
            X, X[:, :2]
        )

    fit(1.0, 1)
    with pytest.raises(DataError, match="differs in trunk"):
        fit(2.0, 2)


def test_a_loop_refuses_the_checkpoint_of_other_layers_or_batches(tmp_path: Path) -> None:
    def train(layer: nn.Module, own: Any, epochs: int) -> None:
        network = TaskNetwork(
            nn.Sequential(nn.Linear(6, 4), layer), [Task("n", nn.Linear(4, 1), squares)]
        )
        training = Training(max_epochs=epochs, checkpoint=tmp_path / "c")
        fit_network(network, batches_of(own), training)

    train(nn.ReLU(), torch.Generator(), 1)
    with pytest.raises(DataError, match="differs in kinds of layers") as caught:
        train(nn.Tanh(), torch.Generator(), 2)
    assert "两者的层的类型不同" in caught.value.args[0].text(Translator("zh"))
    with pytest.raises(DataError, match="differs in generators of batches"):
        train(nn.ReLU(), None, 2)


@pytest.mark.parametrize("penalty", [L21(0.5), L1(0.1)])
def test_penalties_with_zeros_of_partly_frozen_heads_are_refused(penalty: Any) -> None:
    network = TaskNetwork(nn.Linear(6, 4), [Task(name, nn.Linear(4, 1), squares) for name in "ab"])
    network.heads[0].weight.requires_grad_(False)
    penalties = Penalties(network, {"heads": penalty})
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for ask in (
        lambda: penalties.check(optimizer),
        lambda: penalties.proximal_step(optimizer),
        lambda: final_phase(penalties, lambda: network.trunk(torch.ones(2, 6)).sum()),
    ):
        with pytest.raises(IncompatibleError, match="A part of 'heads' is frozen"):
            ask()


def test_a_batch_of_no_rows_has_no_labels() -> None:
    task = Task("n", nn.Linear(4, 1), squares, mask=lambda target: ~torch.isnan(target))
    network = TaskNetwork(nn.Linear(6, 4), [task])
    assert len(network.sums((torch.zeros(0, 6), {"n": torch.zeros(0, 1)})).losses) == 0
