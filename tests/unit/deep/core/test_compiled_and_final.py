"""Options of training that touch the whole of it: compiled layers, and the final phase."""

from __future__ import annotations

import functools
import shutil

import numpy as np
import pytest
from numpy.testing import assert_allclose

torch = pytest.importorskip("torch")

from polytask import ConvergenceWarning, IncompatibleError, MultiTaskRegressor, ParameterError  # noqa: E402
from polytask.deep import (  # noqa: E402  # noqa: E402, I001
    MLP,
    DeepMultiTaskRegressor,
    Task,
    TaskNetwork,
    Training,
    balancing,
    fit_network,
)
from polytask.deep.training.engine import compile_layers  # noqa: E402
from polytask.penalties import L1, L2, TraceNorm  # noqa: E402

SGD = functools.partial(torch.optim.SGD, lr=0.1)
SETTINGS = {"random_state": 0, "device": "cpu", "precision": "float64"}

needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("clang++") is None,
    reason="torch.compile needs a compiler for C++, which is not here",
)


@pytest.fixture
def targets():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 6))
    W = np.outer(rng.normal(size=6), rng.normal(size=4))
    return X, X @ W + 0.1 * rng.normal(size=(120, 4))


@pytest.mark.slow
@needs_compiler
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")
def test_compiled_layers_give_the_same_model(targets):
    settings = {**SETTINGS, "max_epochs": 3, "precision": "float32"}
    trunk = MLP((8,), norm="batch")
    plain = DeepMultiTaskRegressor(trunk, **settings).fit(*targets)
    compiled = DeepMultiTaskRegressor(trunk, compile=True, **settings).fit(*targets)
    for name, value in plain._tasks.weights.items():
        assert_allclose(compiled._tasks.weights[name], value, atol=1e-6)
    assert_allclose(compiled.predict(targets[0]), plain.predict(targets[0]), atol=1e-5)


def test_what_is_compiled_is_the_trunk_and_its_sharing(monkeypatch, targets):
    asked = []

    def noted(module):
        asked.append(module)

    monkeypatch.setattr(torch.nn.Module, "compile", noted)
    heads = [Task("t", torch.nn.Linear(3, 1), torch.nn.MSELoss())]
    network = TaskNetwork(torch.nn.Linear(6, 3), heads)
    compile_layers(network)
    assert asked == [network.sharing]
    batch = torch.ones(4, 6), {"t": torch.ones(4, 1)}
    for chosen in (False, True):
        asked.clear()
        history, _ = fit_network(network, [batch], Training(SGD, max_epochs=1, compile=chosen))
        assert asked == [network.sharing] * chosen
        assert history.tasks == ("t",)


def test_compiled_layers_and_gradients_of_parameters_are_refused(targets):
    at_parameters = DeepMultiTaskRegressor(
        compile=True, balancer=balancing.MGDA(), balance_at="parameters"
    )
    with pytest.raises(IncompatibleError, match="compile=True cannot go with a balancer at"):
        at_parameters.fit(*targets)


def test_the_final_phase_reaches_the_convex_optimum_under_adam(targets):
    X, Y = targets
    model = DeepMultiTaskRegressor(
        MLP(()),
        penalties={"heads": TraceNorm(0.3)},
        final_phase=2000,
        max_epochs=5,
        early_stopping=False,
        **SETTINGS,
    ).fit(X, Y)
    linear = MultiTaskRegressor(TraceNorm(0.3), task_weight="equal", tol=1e-9)
    linear.fit((X - X.mean(0)) / X.std(0), (Y - Y.mean(0)) / Y.std(0))
    assert_allclose(model.solution_.objective, linear.solution_.objective, rtol=1e-5)
    assert model.solution_.residual < 1e-3
    assert np.linalg.matrix_rank(model.network_.heads.weight.detach().numpy(), tol=1e-8) == 1


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_the_final_phase_moves_penalised_layers_and_their_biases_only(targets, precision):
    settings = {**SETTINGS, "precision": precision, "max_epochs": 4, "patience": None}
    trained = DeepMultiTaskRegressor(MLP((5,)), penalties={"heads": L2(0.3)}, **settings)
    ended = DeepMultiTaskRegressor(
        MLP((5,)), penalties={"heads": L2(0.3)}, final_phase=500, **settings
    )
    before, after = trained.fit(*targets), ended.fit(*targets)
    for name, value in before._tasks.weights.items():
        same = np.array_equal(after._tasks.weights[name], value)
        assert same == (not name.startswith("heads")), name
    assert after.solution_.objective < before.solution_.objective
    assert after.solution_.held_out_objective != before.solution_.held_out_objective
    assert all(p.requires_grad for p in after.network_.parameters())


def test_while_training_only_what_the_optimizer_cannot_apply_is_left_out(targets):
    penalties = {"heads": TraceNorm(0.3), "input": L1(0.3)}
    network = DeepMultiTaskRegressor(
        MLP((5,)), penalties=penalties, final_phase=1, max_epochs=30, patience=None, **SETTINGS
    )
    with pytest.warns(ConvergenceWarning, match="final_phase ended with its last step"):
        network.fit(*targets)
    # One step of the final phase makes few zeros; those of training are still there.
    assert (next(network.network_.parameters()) == 0).sum() > 5
    with pytest.raises(IncompatibleError, match=r"end with final_phase \(final_phase=1000"):
        network.set_params(final_phase=0).fit(*targets)


def test_a_final_phase_with_nothing_to_do_or_a_wrong_length_is_refused(targets):
    with pytest.raises(IncompatibleError, match="final_phase=10 needs penalties"):
        DeepMultiTaskRegressor(final_phase=10).fit(*targets)
    for wrong in (-1, 1.5):
        with pytest.raises(ParameterError, match="final_phase of DeepMultiTaskRegressor must be"):
            DeepMultiTaskRegressor(final_phase=wrong).fit(*targets)
    with pytest.raises(ParameterError, match="compile of Training must be"):
        Training(compile="yes")


@pytest.mark.parametrize("setting", [{"learning_rate": 0.1}, {"weight_decay": 0.1}])
def test_settings_of_the_default_optimizer_are_refused_beside_another(targets, setting):
    model = DeepMultiTaskRegressor(optimizer=SGD, **setting)
    with pytest.raises(ParameterError, match=r"beside optimizer=, which has .* got 0.1\. Give it"):
        model.fit(*targets)
