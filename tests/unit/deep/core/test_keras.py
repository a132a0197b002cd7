"""A Keras 3 model on the torch backend is a trunk like any other."""

from __future__ import annotations

import os

import numpy as np
import pytest
from numpy.testing import assert_array_equal

torch = pytest.importorskip("torch")
os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")
if keras.backend.backend() != "torch":
    pytest.skip("Keras runs on another backend than torch", allow_module_level=True)

import polytask  # noqa: E402
from polytask import ParameterError  # noqa: E402
from polytask.deep import DeepMultiTaskRegressor, Task, TaskNetwork, sharing  # noqa: E402
from polytask.deep.keras_models import KerasTrunk, as_module  # noqa: E402
from polytask.penalties import L21  # noqa: E402

# Keras' own conversion of tensors to arrays.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SETTINGS = {"random_state": 0, "device": "cpu", "patience": None}


def layers():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.1),
            keras.layers.Dense(8, activation="relu"),
        ]
    )


@pytest.fixture
def targets():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 6))
    return X, np.tanh(X[:, :3] + X[:, 1:4])


@pytest.mark.slow
def test_it_learns_as_trunk_the_same_each_time_and_is_not_changed(targets):
    model = layers()
    before = [weight.copy() for weight in model.get_weights()]
    settings = {**SETTINGS, "max_epochs": 60, "learning_rate": 0.01}
    one = DeepMultiTaskRegressor(model, **settings).fit(*targets)
    two = DeepMultiTaskRegressor(model, **settings).fit(*targets)
    assert one.score(*targets) > 0.7
    assert_array_equal(one.predict(targets[0]), two.predict(targets[0]))
    for now, then in zip(model.get_weights(), before, strict=True):
        assert_array_equal(now, then)


def test_dropout_and_batch_norm_follow_torch():
    trunk = as_module(
        keras.Sequential(
            [
                keras.Input((6,)),
                keras.layers.BatchNormalization(momentum=0.5),
                keras.layers.Dropout(0.5),
            ]
        )
    )
    x = torch.full((40, 6), 3.0) + torch.arange(40.0)[:, None] / 40
    dropped = trunk.train()(x) == 0
    assert 0.3 < dropped.float().mean() < 0.7
    moved = dict(trunk.named_parameters())["layer0.moving_mean"].clone()
    assert (moved > 1.0).all()
    kept = trunk.eval()(x)
    assert not (kept == 0).any()
    assert torch.equal(trunk(x), kept)
    assert torch.equal(dict(trunk.named_parameters())["layer0.moving_mean"], moved)


def test_a_saved_model_is_loaded_with_a_model_of_the_same_layers(targets, tmp_path):
    fitted = DeepMultiTaskRegressor(layers(), max_epochs=2, **SETTINGS).fit(*targets)
    polytask.save(fitted, tmp_path / "model.polytask")
    again = polytask.load(tmp_path / "model.polytask", trunk=layers())
    assert_array_equal(again.predict(targets[0]), fitted.predict(targets[0]))


@pytest.mark.slow
def test_the_rows_of_a_penalty_are_the_inputs(targets):
    X, Y = targets
    X = np.column_stack([X, np.random.default_rng(1).normal(size=(200, 4))])
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((10,)), keras.layers.Dense(8, activation="tanh")])
    fitted = DeepMultiTaskRegressor(
        model, penalties={"input": L21(0.2)}, max_epochs=100, early_stopping=False, **SETTINGS
    ).fit(X, Y)
    kernel = dict(fitted.network_.named_parameters())["sharing.trunk.layer0.kernel"]
    used = kernel.detach().numpy().any(axis=1)
    assert used[1:3].all()
    assert not used[6:].any()


def test_a_network_of_tasks_holds_the_model_itself_with_kernels_of_convolutions():
    model = keras.Sequential([keras.Input((8, 8, 2)), keras.layers.Conv2D(3, 3)])
    network = TaskNetwork(model, [Task("t", torch.nn.Flatten(), torch.nn.MSELoss())])
    assert network(torch.ones(2, 8, 8, 2))["t"].shape == (2, 108)
    assert isinstance(network.sharing, KerasTrunk)
    (layer,) = network.sharing.children()
    assert layer.kernel is model.layers[0].kernel.value
    assert layer.layouts["kernel"].matrix(layer.kernel).shape == (2, 27)


@pytest.mark.parametrize(
    ("trunk", "setting", "message"),
    [
        (lambda: keras.Sequential([keras.layers.Dense(3)]), {}, "must be built: begin it"),
        (
            lambda: keras.Sequential(
                [keras.Input((6,)), keras.layers.Dense(3, kernel_regularizer="l2")]
            ),
            {},
            "must be without regularisers; penalties= does the same",
        ),
        (layers, {"precision": "float64"}, "that of the Keras model, 'float32'; got float64"),
        (layers, {"sharing": sharing.MMoE(2, width=8)}, "cannot be drawn anew"),
    ],
)
def test_what_does_not_go_together_is_refused(targets, trunk, setting, message):
    with pytest.raises(polytask.PolytaskError, match=message):
        DeepMultiTaskRegressor(trunk(), **setting, **SETTINGS).fit(*targets)


def test_a_head_may_be_one_and_a_part_of_a_module_may_not():
    head = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5)])
    network = TaskNetwork(torch.nn.Linear(3, 4), [Task("t", head, torch.nn.MSELoss())])
    assert (network.train()(torch.ones(40, 3))["t"] == 0).any()
    within = torch.nn.Sequential(layers(), torch.nn.ReLU())
    with pytest.raises(ParameterError, match="got a Sequential within a Sequential"):
        TaskNetwork(within, [Task("t", torch.nn.Linear(8, 1), torch.nn.MSELoss())])


def test_other_modules_stay_as_they_are():
    layer = torch.nn.Linear(2, 2)
    assert as_module(layer) is layer
