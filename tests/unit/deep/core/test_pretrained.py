"""Pre-trained models as trunks, on tiny ones that are made and read back here."""

from __future__ import annotations

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from polytask import DataError, IncompatibleError, ParameterError  # noqa: E402
from polytask.deep import DeepMultiTaskClassifier, DeepMultiTaskRegressor, sharing  # noqa: E402
from polytask.deep.pretrained import (  # noqa: E402
    LayerwiseDecay,
    Pixels,
    Pretrained,
    Tokens,
    first_token,
    freeze,
    mean_of_tokens,
    pooler_output,
)
from polytask.deep.regularise import Penalties, ToStart  # noqa: E402
from polytask.io import load, save  # noqa: E402
from polytask.penalties import L1, L2  # noqa: E402

SMALL = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
}
FEW = {"max_epochs": 3, "early_stopping": False, "learning_rate": 0.01, "random_state": 0}


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("bert")
    config = transformers.BertConfig(vocab_size=20, max_position_embeddings=12, **SMALL)
    transformers.BertModel(config).save_pretrained(folder)
    return lambda: transformers.BertModel.from_pretrained(folder, local_files_only=True)


def sentences(n=40):
    rng = np.random.default_rng(0)
    X = rng.integers(2, 20, (n, 6)).astype(float)
    X[::3, 4:] = 0
    X[:, 0] = 1
    return X, np.column_stack([(X == 7).any(1), (X[:, 1:] > 12).sum(1) > 2]).astype(float)


def classifier(trunk, **settings):
    return DeepMultiTaskClassifier(trunk, standardize=False, **(FEW | settings))


def moved(model, trunk):
    """Return the names of the weights of a trunk that are not what they were."""
    after = dict(model.network_.sharing.trunk.named_parameters())
    return {name for name, p in trunk.named_parameters() if not torch.equal(p, after[name])}


def test_poolings_are_what_they_say_and_padding_counts_for_nothing(bert):
    model, X = bert().eval(), torch.tensor(sentences()[0])
    inputs = Tokens()(X)
    assert inputs["attention_mask"].sum(1).unique().tolist() == [4, 6]
    output = model(**inputs)
    states = output.last_hidden_state
    means = Pretrained(model, Tokens()).eval()(X)
    torch.testing.assert_close(means[0], states[0, :4].mean(0))
    torch.testing.assert_close(means[1], states[1].mean(0))
    longer = torch.cat([X, torch.zeros(len(X), 3)], 1)
    torch.testing.assert_close(Pretrained(model, Tokens()).eval()(longer), means)
    mask = inputs["attention_mask"]
    assert torch.equal(first_token(output, mask), states[:, 0])
    assert torch.equal(pooler_output(output, mask), output.pooler_output)
    assert torch.equal(mean_of_tokens(states, None), states.mean(1))
    # What a tokenizer returns goes on as it is.
    assert torch.equal(Pretrained(model, Tokens()).eval()(inputs), means)


def test_a_frozen_model_is_a_map_that_training_leaves_alone(bert, tmp_path):
    X, Y = sentences()
    trunk = Pretrained(freeze(bert()), Tokens())
    assert not trunk.train().model.training
    model = classifier(trunk).fit(X, Y)
    assert moved(model, trunk) == set()
    network = model.network_
    seen = network.heads(trunk(torch.tensor(X, dtype=torch.float32)))
    torch.testing.assert_close(network(torch.tensor(X, dtype=torch.float32)), seen)
    save(model, tmp_path / "model.poly")
    again = load(tmp_path / "model.poly", trunk=Pretrained(bert(), Tokens()))
    for one, other in zip(model.predict_proba(X), again.predict_proba(X), strict=True):
        np.testing.assert_array_equal(one, other)


def test_layers_learn_at_their_rates_and_frozen_ones_not_at_all(bert, tmp_path):
    X, Y = sentences()
    trunk = Pretrained(freeze(bert(), but=["encoder.layer.*", "embeddings.*"]), Tokens())
    rates = LayerwiseDecay(0.01, 0.5, weight_decay=0.1)
    model = classifier(trunk, optimizer=rates, learning_rate=1e-3).fit(X, Y)
    changed = moved(model, trunk)
    assert {name.split(".")[1] for name in changed} == {"embeddings", "encoder"}
    # The pooler is frozen; of position embeddings, those of places that no row has stay.
    found = {}
    for group in rates.of_network(model.network_).param_groups:
        for parameter in group["params"]:
            found[id(parameter)] = group["lr"], group["weight_decay"]
    known = {
        "heads.weight": (0.01, 0.1),
        "heads.bias": (0.01, 0.0),
        "sharing.trunk.model.encoder.layer.1.attention.self.query.weight": (0.005, 0.1),
        "sharing.trunk.model.encoder.layer.0.output.dense.bias": (0.0025, 0.0),
        "sharing.trunk.model.embeddings.word_embeddings.weight": (0.00125, 0.1),
    }
    named = dict(model.network_.named_parameters())
    assert {name: found[id(named[name])] for name in known} == known
    assert len(found) == sum(p.requires_grad for p in named.values())
    # Adam's first step is as long as the rate, whatever the gradient.
    plain = {"optimizer": LayerwiseDecay(0.01, 0.5), "learning_rate": 1e-3}
    step = classifier(trunk, **plain, max_epochs=1, batch_size=40)
    after = dict(step.fit(X, Y).network_.sharing.trunk.named_parameters())
    for name, length in (("encoder.layer.1", 0.005), ("encoder.layer.0", 0.0025)):
        key = f"model.{name}.output.dense.weight"
        most = (after[key] - dict(trunk.named_parameters())[key]).detach().abs().max()
        assert float(most) == pytest.approx(length, rel=1e-3)
    save(model, tmp_path / "model.poly")
    assert load(tmp_path / "model.poly", trunk=Pretrained(bert(), Tokens())).optimizer == rates


def test_the_penalty_of_the_change_has_the_gradient_of_its_value():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    start = network[0].weight.detach().clone()
    penalties = Penalties(network, {"0": ToStart(L2(0.7)), "2": L2(0.1)})
    with torch.no_grad():
        network[0].weight.add_(torch.randn(4, 3))
    moved_by = network[0].weight.detach() - start
    assert penalties.values()["0"] == pytest.approx(L2(0.7).value(moved_by.numpy().T))
    penalties.smooth().backward()
    for i, j in ((0, 0), (3, 2)):
        ends = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                network[0].weight[i, j] += step
                ends.append(float(penalties.smooth()))
                network[0].weight[i, j] -= step
        slope = float(network[0].weight.grad[i, j])
        assert slope == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6)
    exact = Penalties(network, {"0": ToStart(L1(0.5))})
    before = network[0].weight.detach().clone()
    with torch.no_grad():
        network[0].weight.add_(0.04)
        network[0].weight[0, 0] += 1.0
    exact.proximal_step(torch.optim.SGD(network.parameters(), lr=0.1))
    expected = before.clone()
    expected[0, 0] += 1.04 - 0.05
    torch.testing.assert_close(network[0].weight.detach(), expected)


def test_the_penalty_of_the_change_holds_the_trunk_and_not_the_heads(bert, tmp_path):
    X, Y = sentences()
    trunk, far = Pretrained(bert(), Tokens()), []
    for strength in (1e-6, 1e3):
        model = classifier(trunk, penalties={"trunk": ToStart(L2(strength))}).fit(X, Y)
        after = dict(model.network_.sharing.trunk.named_parameters())
        pairs = [(p, after[n]) for n, p in trunk.named_parameters() if n.endswith("dense.weight")]
        far.append(sum(float((a - b).detach().square().sum()) for a, b in pairs))
    assert far[1] < 0.3 * far[0]
    save(model, tmp_path / "model.poly")
    again = load(tmp_path / "model.poly", trunk=Pretrained(bert(), Tokens()))
    assert again.penalties == model.penalties


def test_additions_are_changes_of_weights_and_begin_at_none(bert):
    trunk, X = Pretrained(bert(), Tokens()).eval(), torch.tensor(sentences()[0])
    task = torch.arange(len(X)) % 3
    built = sharing.LoRA(2, 1, ["*query", "*value"]).build(trunk, 3).eval()
    torch.testing.assert_close(built(X, task), trunk(X))
    learned = [name for name, p in built.named_parameters() if p.requires_grad]
    assert len(learned) == 2 * 2 * 4
    for name, parameter in built.named_parameters():
        if name.endswith("_left"):
            nn.init.normal_(parameter)
    whole = built(X)
    for t in range(3):
        own = copy.deepcopy(trunk)
        for k in range(2):
            for part in ("query", "value"):
                place = f"model.encoder.layer.{k}.attention.self.{part}"
                layer, low = own.get_submodule(place), built.trunk.get_submodule(place)
                with torch.no_grad():
                    layer.weight += low.shared_left @ low.shared_right
                    layer.weight += low.task_left[t] @ low.task_right[t]
        torch.testing.assert_close(whole[:, t], own(X))
        torch.testing.assert_close(built(X[task == t], task[task == t]), own(X[task == t]))


def test_a_task_moves_its_own_outputs_alone(bert, tmp_path):
    X, Y = sentences()
    trunk = Pretrained(bert(), Tokens())
    model = classifier(trunk, sharing=sharing.LoRA(2), task_weight={0: 1.0, 1: 0.0})
    model.fit(X, Y)
    x = torch.tensor(X, dtype=torch.float32)
    change = (model.network_.sharing(x) - trunk.eval()(x)[:, None]).detach().abs().amax((0, 2))
    assert float(change[0]) > 1e-3
    assert float(change[1]) < 1e-5
    save(model, tmp_path / "model.poly")
    again = load(tmp_path / "model.poly", trunk=Pretrained(bert(), Tokens()))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


# Their packages of today are a version apart.
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_models_of_peft_are_taken_as_they_are_and_shared_additions_are_theirs(bert):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, lora_alpha=2, target_modules=["query"], lora_dropout=0.0)
    X, Y = sentences()
    trunk = Pretrained(peft.get_peft_model(bert(), config), Tokens())
    model = classifier(trunk).fit(X, Y)
    changed = moved(model, trunk)
    assert changed
    assert all("lora_" in name for name in changed)
    # The same additions by polytask give the same representation.
    theirs = model.network_.sharing.trunk
    ours = sharing.LoRA(None, 2, ["*query"]).build(Pretrained(bert(), Tokens()), 2).eval()
    for k in range(2):
        place = f"encoder.layer.{k}.attention.self.query"
        low = ours.trunk.model.get_submodule(place)
        known = theirs.model.get_submodule(f"base_model.model.{place}")
        with torch.no_grad():
            low.shared_right.copy_(known.lora_A["default"].weight)
            low.shared_left.copy_(known.lora_B["default"].weight)
    x = torch.tensor(X, dtype=torch.float32)
    torch.testing.assert_close(ours(x), theirs(x))


def test_images_of_a_vision_transformer_from_a_folder(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(image_size=4, patch_size=2, num_channels=1, **SMALL)
    transformers.ViTModel(config).save_pretrained(tmp_path)
    model = transformers.ViTModel.from_pretrained(tmp_path, local_files_only=True)
    trunk = Pretrained(model, Pixels((1, 4, 4)), first_token)
    X = np.random.default_rng(0).standard_normal((30, 16))
    net = DeepMultiTaskRegressor(trunk, sharing=sharing.LoRA(1, 1), **FEW)
    task = np.arange(30) % 2
    assert np.isfinite(net.fit(X, X[:, 0], task=task).predict(X, task=task)).all()
    images = torch.tensor(X, dtype=torch.float32)
    states = model.eval()(pixel_values=images.view(30, 1, 4, 4)).last_hidden_state
    torch.testing.assert_close(trunk.eval()(images), states[:, 0])


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet18"])
def test_images_of_a_model_of_timm_from_a_file(name, tmp_path):
    # Without a torchvision of the same build as torch, timm does not import.
    timm = pytest.importorskip("timm", exc_type=Exception)
    small = {"img_size": 16, "patch_size": 8, "embed_dim": 12, "depth": 2, "num_heads": 2}
    settings = {"in_chans": 1, "num_classes": 0} | (small if "vit" in name else {})
    torch.manual_seed(0)
    torch.save(timm.create_model(name, **settings).state_dict(), tmp_path / "model.pth")
    source = {"file": str(tmp_path / "model.pth"), "num_classes": 0}
    model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=source, **settings)
    X = np.random.default_rng(0).standard_normal((30, 256))
    images = torch.tensor(X, dtype=torch.float32)
    expected = model.eval()(images.view(30, 1, 16, 16))
    task = np.arange(30) % 2
    trunk = Pretrained(freeze(model), Pixels((1, 16, 16), None))
    torch.testing.assert_close(trunk.eval()(images), expected)
    net = DeepMultiTaskRegressor(trunk, **FEW).fit(X, X[:, 0], task=task)
    assert not moved(net, trunk)
    save(net, tmp_path / "net.polytask")
    again = load(tmp_path / "net.polytask", trunk=trunk)
    np.testing.assert_array_equal(again.predict(X, task=task), net.predict(X, task=task))
    free = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=source, **settings)
    near = {"penalties": {"trunk": ToStart(L2(0.1))}, "optimizer": LayerwiseDecay(1e-3, 0.7)}
    near |= {"learning_rate": 1e-3}
    learned = DeepMultiTaskRegressor(Pretrained(free, Pixels((1, 16, 16), None)), **FEW | near)
    assert np.isfinite(learned.fit(X, X[:, 0], task=task).predict(X, task=task)).all()
    assert moved(learned, Pretrained(free, Pixels((1, 16, 16), None)))


class Silent(nn.Module):
    def forward(self, **given):
        return object()


REFUSED = {
    "scaled ids": (
        lambda bert: DeepMultiTaskClassifier(Pretrained(bert(), Tokens()), **FEW).fit(
            *sentences()
        ),
        DataError,
        "standardize=False",
    ),
    "output": (
        lambda bert: Pretrained(Silent(), Tokens())(torch.ones(2, 3)),
        IncompatibleError,
        "last_hidden_state; got object",
    ),
    "pattern": (
        lambda bert: freeze(bert(), but=["pooler.dense.weigth"]),
        ParameterError,
        "'pooler.dense.weight'",
    ),
    "no layers": (
        lambda bert: LayerwiseDecay().of_network(nn.Linear(2, 2)),
        IncompatibleError,
        "list of two layers",
    ),
    "no linear layer": (
        lambda bert: sharing.LoRA(layers=["*atention*"]).build(bert(), 2),
        IncompatibleError,
        "BertModel has none",
    ),
    "no rank": (lambda bert: sharing.LoRA(None), ParameterError, "None for both"),
    "no penalty": (lambda bert: ToStart(0.1), ParameterError, "penalty"),
    "other rows": (
        lambda bert: sharing.LoRA(1).build(nn.Sequential(nn.Flatten(0, 1), nn.Linear(2, 2)), 2)(
            torch.ones(3, 2, 2), torch.zeros(3, dtype=torch.long)
        ),
        IncompatibleError,
        "was given 6",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_is_said(case, bert):
    run, kind, told = REFUSED[case]
    with pytest.raises(kind, match=told.replace("*", ".")):
        run(bert)
