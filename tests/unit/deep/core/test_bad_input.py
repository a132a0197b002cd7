"""Nonsense ends in one sentence that says what to do."""

from __future__ import annotations

import builtins
import functools
import importlib.util
import sys

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")

from polytask import DataError, IncompatibleError, ParameterError, PolytaskError  # noqa: E402
from polytask.deep import MLP, DeepMultiTaskClassifier, DeepMultiTaskModel, DeepMultiTaskRegressor  # noqa: E402
from polytask.penalties import L21  # noqa: E402

N = 60
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 3))
Y = X @ [1.0, -1.0, 0.5] + 0.3 * RNG.normal(size=N)
TASK = np.repeat(["a", "b", "c"], 20)
TABLE = pd.DataFrame(X, columns=["age", "size", "dose"]).assign(school=TASK)
QUICK = {"max_epochs": 2, "random_state": 0}


def put(array, value, *place):
    changed = array.copy()
    changed[place] = value
    return changed


def regressor(**settings):
    return DeepMultiTaskRegressor(**{"trunk": MLP((4,)), **QUICK, **settings})


def fit(**settings):
    return lambda: regressor(**settings).fit(X, Y, TASK)


class Doubled(torch.nn.Module):
    """A trunk that gives twice as many rows."""

    def forward(self, x):
        return torch.cat([x, x])


CASES = {
    "NaN in X": (lambda: regressor().fit(put(X, np.nan, 3, 1), Y, TASK), r"NaN \(row 3, column 1"),
    "inf in y": (lambda: regressor().fit(X, put(Y, np.inf, 5), TASK), "infinity"),
    "no rows": (lambda: regressor().fit(X[:0], Y[:0]), r"0 sample\(s\)"),
    "no such column": (
        lambda: regressor(task_column="scool").fit(TABLE, Y),
        r"no column 'scool'\. Did you mean 'school'\?",
    ),
    "a column less in predict": (
        lambda: regressor(task_column="school").fit(TABLE, Y).predict(TABLE.drop(columns="age")),
        "lacks 1 column",
    ),
    "other width in predict": (
        lambda: regressor().fit(X, Y, TASK).predict(X[:, :2], TASK),
        "X has 2 features, but DeepMultiTaskRegressor is expecting 3",
    ),
    "labels for a regressor": (lambda: regressor().fit(X, TASK, TASK), "must be numbers"),
    "numbers for a classifier": (
        lambda: DeepMultiTaskClassifier(**QUICK).fit(X, Y, TASK),
        "Unknown label type: continuous",
    ),
    "negative counts": (fit(loss="poisson"), r"a number >= 0 for loss='poisson'"),
    "no such loss": (fit(loss="sqared"), "Did you mean 'squared'"),
    "classes for numbers": (fit(loss="logistic"), "must be a loss of numbers"),
    "a loss of no task": (
        lambda: DeepMultiTaskModel(loss={"z": "squared"}, **QUICK).fit(X, Y, TASK),
        "loss of DeepMultiTaskModel must be a mapping of the tasks",
    ),
    "no trunk": (fit(trunk="mlp"), "trunk of DeepMultiTaskRegressor must be None, an MLP"),
    "widths": (fit(trunk=MLP(64)), r"widths of MLP must be a sequence .* got 64"),
    "a width of 0": (fit(trunk=MLP((8, 0))), "widths of MLP must be an integer >= 1"),
    "dropout": (fit(trunk=MLP(dropout=1.0)), r"dropout of MLP must be a number in \[0, 1\)"),
    "activation": (fit(trunk=MLP(activation="rely")), "activation of MLP must be one of 'relu'"),
    "norm": (
        fit(trunk=MLP(norm="bath")),
        "norm of MLP must be one of 'batch', 'layer', 'task_batch', None",
    ),
    "a trunk of other rows": (fit(trunk=Doubled()), r"trunk Doubled must be of shape \(2, h\)"),
    "a trunk of other features": (
        fit(trunk=torch.nn.Linear(4, 2)),
        "trunk must be a module that takes rows of 3 features; this one failed: mat1 and",
    ),
    "heads": (fit(heads=MLP(norm="batch")), "heads of Deep.* must be None, or an MLP whose norm"),
    "no sharing": (fit(sharing="hard"), "sharing of DeepMultiTaskRegressor must be None or a"),
    "no balancer": (fit(balancer="mgda"), "balancer of StatefulBalancer must be one with"),
    "no penalties": (fit(penalties=L21(0.1)), "penalties of DeepMultiTaskRegressor must be None"),
    "a name of no layer": (fit(penalties={"trunc.*": L21(0.1)}), "trunc"),
    "learning rate": (fit(learning_rate=0.0), "learning_rate of Deep.* must be a finite number"),
    "an optimiser object": (
        fit(optimizer=torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)),
        "optimizer of DeepMultiTaskRegressor must be a callable of the parameters",
    ),
    "batch size": (fit(batch_size=0), "batch_size of DeepMultiTaskRegressor must be an integer"),
    "batch size in words": (fit(batch_size="all"), 'must be "auto" or an integer >= 1; got'),
    "epochs": (fit(max_epochs=0.5), "max_epochs of DeepMultiTaskRegressor must be an integer"),
    "mixup": (fit(mixup=-1.0), "mixup of DeepMultiTaskRegressor must be a finite number >= 0"),
    "smoothing": (
        lambda: DeepMultiTaskClassifier(label_smoothing=1.0).fit(X, TASK),
        r"label_smoothing of DeepMultiTaskClassifier must be a number in \[0, 1\)",
    ),
    "share": (fit(validation=1.0), "validation of Deep.* between 0 and 1"),
    "sampling": (fit(task_sampling="unifrom"), "Did you mean 'uniform'"),
    "precision": (fit(precision="float16"), "precision of DeepMultiTaskRegressor must be one of"),
    "device": (fit(device="gpu"), 'device of DeepMultiTaskRegressor must be "auto" or a device'),
    "task weight": (fit(task_weight="sizes"), "task_weight of Deep.* one of 'size', 'equal'"),
    "weights of too few tasks": (fit(task_weight=[1.0, 2.0]), "3 finite numbers >= 0"),
    "a folder that is not there": (fit(checkpoint="/nowhere/at/all.ckpt"), "there is no folder"),
    "a task that was never seen": (
        lambda: regressor().fit(X, Y, TASK).predict(X[:1], ["z"]),
        r"1 unseen label \('z'\)",
    ),
    "no task in predict": (lambda: regressor().fit(X, Y, TASK).predict(X), "pass task="),
    "an explosion": (
        fit(optimizer=functools.partial(torch.optim.SGD, lr=1e12), max_epochs=30),
        r"Training diverged: the loss of task '[abc]' is \S+ in step \d+ \(epoch \d+\)\. Lower",
    ),
}


@pytest.mark.parametrize(("call", "told"), CASES.values(), ids=CASES)
def test_one_sentence(call, told):
    with pytest.raises(PolytaskError, match=told) as caught:
        call()
    assert isinstance(caught.value, DataError | ParameterError | IncompatibleError)


def test_a_task_of_one_row_or_one_class_is_fitted():
    task = np.append(TASK, "d")
    wide = np.vstack([X, X[:1]])
    model = regressor().fit(wide, np.append(Y, 1.0), task)
    assert np.isfinite(model.predict(wide, task)).all()
    one = np.where(TASK == "a", "yes", np.where(Y > 0, "yes", "no"))
    classes = DeepMultiTaskClassifier(MLP((4,)), **QUICK).fit(X, one, TASK)
    assert np.isfinite(classes.predict_proba(X, TASK)).all()


def test_a_task_without_weight_has_the_mean_head():
    weight = np.where(TASK == "b", 0.0, 1.0)
    with pytest.warns(UserWarning, match="1 task"):
        model = regressor(unseen_tasks="shared").fit(X, Y, TASK, weight)
    mean = model.predict(X, np.repeat("z", N))
    np.testing.assert_allclose(model.predict(X, np.repeat("b", N)), mean)


def test_without_torch_the_command_to_install_is_named(monkeypatch):
    found = importlib.util.find_spec
    hidden = {name for name in sys.modules if name.startswith("polytask.deep")}
    for name in hidden:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "torch" else found(name, *a)
    )
    with pytest.raises(ImportError, match=r'pip install "polytask\[deep\]"'):
        builtins.__import__("polytask.deep")
