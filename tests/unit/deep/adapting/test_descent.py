"""Descent for one more task: where it starts, what moves, and what holds it."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from polytask.deep import MLP, DeepMultiTaskClassifier, DeepMultiTaskRegressor  # noqa: E402
from polytask.deep import adapting as descent  # noqa: E402
from polytask.deep.adapting import Adapters, DescentStart, NearSource, Unfreeze, descend, layers_of  # noqa: E402
from polytask.losses import Multinomial, Squared  # noqa: E402

METHODS = (Unfreeze(2, 10, 0.01), NearSource(0.1, 20, 0.01), Adapters(2, 20, 0.01))


@pytest.fixture(scope="module")
def tasks():
    """A small network of three tasks, in double precision."""
    rng = np.random.default_rng(0)
    X, task = rng.standard_normal((90, 3)), np.arange(90) % 3
    model = DeepMultiTaskRegressor(
        MLP((6, 5)),
        max_epochs=3,
        early_stopping=False,
        precision="float64",
        device="cpu",
        random_state=0,
    )
    return model.fit(X, np.abs(X[:, 0]) + task, task=task)._tasks


@pytest.fixture
def start(tasks):
    coef, intercept = tasks.mean_head()
    mean = np.column_stack([coef, intercept])
    return DescentStart(mean, np.eye(6), np.zeros((6, 1)), 0.1)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((30, 3))
    return X, X[:, 1] * X[:, 2], rng.uniform(0.5, 2.0, 30)


def _value(tasks, method, start, rows, course):
    """Return the objective of a course, written down again."""
    X, y, weight = rows
    features = tasks.features(X, -1) if course is None else _features(tasks, course, X)
    head = start.mean if course is None else course.head
    u = np.linalg.solve(start.root, (head - start.mean).T)
    misfit = features @ head[0, :-1] + head[0, -1] - y
    fit = (
        weight @ (0.5 * misfit**2) / weight.sum() + 0.5 * start.ridge * (u**2).sum() / weight.sum()
    )
    if course is None or not isinstance(method, NearSource):
        return fit
    source = tasks.network.state_dict()
    layers, _ = course.change.kept()
    far = sum(
        float(np.square(value - source[name].numpy()).sum()) for name, value in layers.items()
    )
    return fit + 0.5 * method.strength * far


def _features(tasks, course, X):
    from polytask.deep.prediction import AddedTask

    layers, additions = course.change.kept()
    coef, intercept = course.head[:, :-1], course.head[:, -1]
    own = AddedTask(Squared(), None, (None,), coef, intercept, False, layers, additions)
    network = own.network_of(tasks.network)
    code = torch.full((len(X),), -1)
    scaled = torch.from_numpy((X - tasks.feature_mean) / tasks.feature_scale)
    return network.represent(scaled, code).detach().numpy()


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_no_step_is_the_start_and_steps_lower_the_objective(tasks, start, rows, method):
    none = descend(tasks, method, start, rows, Squared(), watched=rows[0], steps=0)
    np.testing.assert_allclose(none.head, start.mean, rtol=1e-12)
    np.testing.assert_allclose(_features(tasks, none, rows[0]), tasks.features(rows[0], -1))
    before = _value(tasks, method, start, rows, None)
    course = descend(tasks, method, start, rows, Squared(), watched=rows[0])
    assert _value(tasks, method, start, rows, course) < 0.9 * before
    assert course.looks == (0, 10, 20)
    assert course.seen.shape == (3, 30, 1)
    np.testing.assert_allclose(course.seen[0], none.seen[0])
    last = _features(tasks, course, rows[0]) @ course.head[0, :-1] + course.head[0, -1]
    np.testing.assert_allclose(course.seen[-1][:, 0], last, rtol=1e-9)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_pieces_make_the_same_steps_as_the_whole(tasks, start, rows, method, monkeypatch):
    whole = descend(tasks, method, start, rows, Squared())
    monkeypatch.setattr(descent, "_CHUNK", 7)
    pieces = descend(tasks, method, start, rows, Squared())
    np.testing.assert_allclose(pieces.head, whole.head, rtol=1e-8, atol=1e-10)


def test_the_last_step_is_looked_at_too(tasks, start, rows):
    course = descend(tasks, Unfreeze(2, 7), start, rows, Squared(), watched=rows[0])
    assert course.looks == (0, 10, 14)
    assert len(course.seen) == 3


def test_the_network_is_left_alone(tasks, start, rows):
    before = {name: value.clone() for name, value in tasks.network.state_dict().items()}
    descend(tasks, NearSource(0.1, 5), start, rows, Squared())
    assert all(torch.equal(before[k], v) for k, v in tasks.network.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in tasks.network.parameters())


def test_a_strong_penalty_holds_the_layers(tasks, start, rows):
    far = []
    for strength in (0.0, 1e3):
        change = descend(tasks, NearSource(strength, 30), start, rows, Squared()).change
        layers, _ = change.kept()
        far.append(sum(np.linalg.norm(w - change.sources[n].numpy()) for n, w in layers.items()))
    assert far[1] < 0.1 * far[0]


def test_several_classes():
    rng = np.random.default_rng(0)
    X, task = rng.standard_normal((90, 3)), np.arange(90) % 3
    model = DeepMultiTaskClassifier(MLP((6,)), max_epochs=2, early_stopping=False, random_state=0)
    tasks = model.fit(X, np.digitize(X[:, 0], [-0.5, 0.5]), task=task)._tasks
    coef, intercept = tasks.mean_head()
    start = DescentStart(np.column_stack([coef, intercept]), np.eye(7), np.zeros((7, 3)), 0.01)
    y = np.digitize(X[:, 1], [-0.5, 0.5]).astype(float)
    given = (X, y, np.ones(90))
    course = descend(tasks, NearSource(0.0, 40, 0.02), start, given, Multinomial(), watched=X)
    losses = [float(np.mean(Multinomial().value(y, eta))) for eta in course.seen]
    assert losses[-1] < losses[2] < losses[0]


def test_layers_are_counted_from_the_features():
    X = np.random.default_rng(0).standard_normal((20, 3))
    model = DeepMultiTaskRegressor(
        MLP((4, 3), norm="layer"), heads=MLP((2,)), max_epochs=1, early_stopping=False,
        random_state=0,
    )  # fmt: skip
    network = model.fit(X, X[:, 0], task=np.arange(20) % 2).network_
    found = layers_of(network)
    assert [names[0].partition(".")[0] for names in found] == ["sharing", "sharing", "own"]
    assert len(found[0]) == 3  # a matrix, and scale and shift of the norm after it
