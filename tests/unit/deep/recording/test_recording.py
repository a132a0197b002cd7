"""What training records of pairs of tasks, and that it leaves no trace in the weights."""

from __future__ import annotations

import re

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from polytask import load, relatedness, save  # noqa: E402
from polytask.deep import (  # noqa: E402
    MLP,
    DeepMultiTaskRegressor,
    Task,
    TaskNetwork,
    Training,
    fit_network,
    sharing,
)
from polytask.deep.recording import (  # noqa: E402
    GradientSimilarity,
    TaskAffinity,
    TaskRelation,
    cosines,
)
from polytask.exceptions import DataError, IncompatibleError, ParameterError  # noqa: E402
from polytask.reporting import write_report  # noqa: E402
from polytask.task_relations import Relatedness  # noqa: E402

BOTH = (GradientSimilarity(3), TaskAffinity(3))
# At the start heads of either sign pull the trunk apart, whatever the tasks.
LONG = {"max_epochs": 40, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def two_groups():
    """Rows with six targets: three of one function, three of another."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 6))
    one, other = np.tanh(2 * X[:, 0]) + X[:, 1], np.tanh(2 * X[:, 2]) - X[:, 3]
    return X, np.column_stack([one] * 3 + [other] * 3) + 0.1 * rng.standard_normal((400, 6))


def _model(record=None, **given):
    settings = {"max_epochs": 15, "early_stopping": False, "random_state": 0, **given}
    return DeepMultiTaskRegressor(MLP((16, 16)), record=record, **settings)


@pytest.fixture(scope="module")
def recorded(two_groups):
    return _model(BOTH, **LONG).fit(*two_groups)


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_two_planted_groups_are_told_apart(recorded, number):
    alike = recorded.history_.relations[number].similarity
    within = np.r_[alike[:3, :3][np.triu_indices(3, 1)], alike[3:, 3:][np.triu_indices(3, 1)]]
    assert within.min() > 0.1 + alike[:3, 3:].max()


def test_relatedness_suggests_the_groups(recorded):
    found = relatedness(recorded)
    assert found.source == "gradients"
    groups = {frozenset(group) for group in found.groups}
    assert groups == {frozenset({0, 1, 2}), frozenset({3, 4, 5})}
    best = found.most_alike[0]
    assert (best.first < 3) == (best.second < 3)
    assert found.summary().startswith("In training the gradients of two tasks had a cosine of ")
    assert "2 groups of tasks" in found.summary()
    np.testing.assert_allclose(np.diag(found.matrix), 1.0)


@pytest.mark.slow
def test_relatedness_by_affinity(two_groups):
    found = relatedness(_model(TaskAffinity(3), **LONG).fit(*two_groups))
    assert found.source == "affinity"
    assert len(found.groups) == 2
    assert "times as much as a step for that other task" in found.sentence
    assert Relatedness.from_json(found.to_json()).summary("zh") == found.summary("zh")


def test_reports_say_what_was_recorded(recorded, tmp_path):
    found = relatedness(recorded)
    for name in ("r.html", "r.md"):
        write_report(found, tmp_path / name)
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "How the tasks went together in training" in text
        assert "cosines between the gradients of the tasks" in text


def test_a_network_that_recorded_nothing_is_refused_with_advice(two_groups):
    model = _model(max_epochs=1).fit(*two_groups)
    with pytest.raises(IncompatibleError, match=r"recorded nothing: fit it with record="):
        relatedness(model)


@pytest.mark.parametrize(
    ("settings", "long"),
    [
        ({}, False),
        ({"sharing": sharing.MMoE(2)}, True),
        ({"trunk": MLP((8,), dropout=0.3, norm="batch"), "early_stopping": True}, False),
    ],
    ids=["plain", "experts", "dropout and norm"],
)
def test_weights_are_the_same_with_and_without(two_groups, settings, long):
    X, Y = two_groups
    given = (X, Y[:, 0], np.arange(len(X)) % 3) if long else (X, Y)
    settings = {"max_epochs": 3, "device": "cpu", **settings}
    plain, watched = (_model(record).set_params(**settings).fit(*given) for record in (None, BOTH))
    for name, weight in plain.network_.state_dict().items():
        assert torch.equal(weight, watched.network_.state_dict()[name]), name
    np.testing.assert_array_equal(plain.history_.training, watched.history_.training)
    assert plain.history_.relations == ()
    assert len(watched.history_.relations) == 2


def test_recordings_are_saved_with_the_model(recorded, tmp_path):
    save(recorded, tmp_path / "m.polytask")
    again = load(tmp_path / "m.polytask")
    for one, other in zip(recorded.history_.relations, again.history_.relations, strict=True):
        assert (one.measure, one.tasks) == (other.measure, other.tasks)
        np.testing.assert_array_equal(one.matrix, other.matrix)
    assert relatedness(again).summary() == relatedness(recorded).summary()


def test_recording_goes_on_from_a_checkpoint(two_groups, tmp_path):
    whole = _model(BOTH, max_epochs=4).fit(*two_groups)
    path = tmp_path / "c.safetensors"
    _model(BOTH, max_epochs=2, checkpoint=path).fit(*two_groups)
    resumed = _model(BOTH, max_epochs=4, checkpoint=path).fit(*two_groups)
    for one, other in zip(whole.history_.relations, resumed.history_.relations, strict=True):
        np.testing.assert_array_equal(one.matrix, other.matrix)
        np.testing.assert_array_equal(one.counts, other.counts)
    with pytest.raises(DataError, match="record"):
        _model(None, max_epochs=4, checkpoint=path).fit(*two_groups)


def test_cosines_are_symmetric_and_within_bounds():
    rng = np.random.default_rng(0)
    rows = torch.from_numpy(rng.standard_normal((5, 3)))
    rows = torch.cat([rows, rows[:1], torch.zeros(1, 3)])
    found = cosines(rows @ rows.T).numpy()
    assert np.isnan(found[6]).all()
    assert np.isnan(found[:, 6]).all()
    known = found[:6, :6]
    np.testing.assert_array_equal(known, known.T)
    assert np.abs(known).max() <= 1.0
    np.testing.assert_allclose(known[0, 5], 1.0, rtol=1e-12)


def _linear_network(same: bool) -> tuple[TaskNetwork, list]:
    torch.manual_seed(0)
    trunk = nn.Linear(3, 2, bias=False).double()
    heads = [nn.Linear(2, 1, bias=False).double() for _ in range(2)]
    if same:
        heads[1].load_state_dict(heads[0].state_dict())
    tasks = [Task(name, head, _squared) for name, head in zip("ab", heads, strict=True)]
    x = torch.randn(7, 3, dtype=torch.float64)
    y = torch.randn(7, dtype=torch.float64)
    other = y if same else torch.randn(7, dtype=torch.float64)
    return TaskNetwork(trunk, tasks), [(x, {"a": y, "b": other})]


def _squared(output, target):
    return 0.5 * (output[:, 0] - target) ** 2


def _trained(network, batches, record, lr=0.0):
    # Steps of length 0 leave the weights where the computation by hand has them.
    plain = Training(
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=lr),
        max_epochs=1,
        patience=None,
        record=record,
    )
    return fit_network(network, batches, plain, tasks=("a", "b"))[0].relations[0]


def test_identical_tasks_have_cosine_one():
    network, batches = _linear_network(same=True)
    found = _trained(network, batches, GradientSimilarity(1))
    np.testing.assert_allclose(found.matrix, np.ones((2, 2)), rtol=1e-12)
    network, batches = _linear_network(same=True)
    affinity = _trained(network, 3 * batches, TaskAffinity(1), lr=0.05)
    np.testing.assert_allclose(affinity.similarity, np.ones((2, 2)), rtol=1e-12)


def _by_hand(network, batch):
    """Return the shared weights, the losses of the two tasks and the gradients, of NumPy."""
    x, targets = batch[0].numpy(), [batch[1][name].numpy() for name in "ab"]
    V = network.sharing.weight.detach().numpy().copy()
    heads = [head.weight.detach().numpy()[0].copy() for head in network.heads]

    def loss(trunk, t):
        return 0.5 * np.mean((x @ trunk.T @ heads[t] - targets[t]) ** 2)

    slopes = [np.outer(heads[t], (x @ V.T @ heads[t] - targets[t]) @ x) / len(x) for t in range(2)]
    return V, loss, slopes


def _second_batch():
    torch.manual_seed(1)
    x = torch.randn(5, 3, dtype=torch.float64)
    return x, {name: torch.randn(5, dtype=torch.float64) for name in "ab"}


@pytest.mark.parametrize("several", [False, True], ids=["one batch", "two batches"])
def test_affinity_is_that_of_a_computation_by_hand(several):
    network, batches = _linear_network(same=False)
    batches += [_second_batch()] * several
    V, loss, _ = _by_hand(network, batches[0])
    slopes = _by_hand(network, batches[-1])[2]
    want = [[1.0 - loss(V - 0.05 * slopes[i], j) / loss(V, j) for j in range(2)] for i in range(2)]
    found = _trained(network, batches, TaskAffinity(1, step=0.05))
    np.testing.assert_allclose(found.matrix, want, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(found.counts, np.ones((2, 2)))


def test_a_step_for_affinity_is_as_long_as_the_learning_rate():
    by_rate, by_step = (
        _trained(*_linear_network(same=False), TaskAffinity(1, step=step), lr=0.05).matrix
        for step in (None, 0.05)
    )
    np.testing.assert_array_equal(by_rate, by_step)


def _cosine(a, b):
    return np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b)


def test_cosines_are_those_of_a_computation_by_hand():
    network, batches = _linear_network(same=False)
    slopes = _by_hand(network, batches[0])[2]
    want = _cosine(*slopes)
    found = _trained(network, batches, GradientSimilarity(1))
    np.testing.assert_allclose(found.matrix, [[1.0, want], [want, 1.0]], rtol=1e-10)
    batches.append(_second_batch())
    others = _by_hand(network, batches[1])[2]
    across = np.array([[_cosine(one, other) for other in others] for one in slopes])
    found = _trained(network, batches, GradientSimilarity(1))
    np.testing.assert_allclose(found.matrix, (across + across.T) / 2, rtol=1e-10)
    np.testing.assert_array_equal(found.counts, [[1, 2], [2, 1]])
    spread = abs(across[0, 1] - across[1, 0]) / 2
    np.testing.assert_allclose(found.errors, spread * (1 - np.eye(2)), atol=1e-12)


def test_cosines_at_the_representation_are_those_of_one_batch():
    network, batches = _linear_network(same=False)
    x, (a, b) = batches[0][0].numpy(), [batches[0][1][name].numpy() for name in "ab"]
    V = network.sharing.weight.detach().numpy().copy()
    heads = [head.weight.detach().numpy()[0].copy() for head in network.heads]
    misfits = [x @ V.T @ head - y for head, y in zip(heads, (a, b), strict=True)]
    want = _cosine(*(np.outer(h, m) for h, m in zip(heads, misfits, strict=True)))
    found = _trained(network, batches, GradientSimilarity(1, at="representation"))
    np.testing.assert_allclose(found.matrix, [[1.0, want], [want, 1.0]], rtol=1e-10)


def test_tasks_of_one_batch_after_the_other_meet():
    network, batches = _linear_network(same=False)
    (x, targets), second = batches[0], _second_batch()
    apart = [(x, {"a": targets["a"]}), (second[0], {"b": second[1]["b"]})]
    found = _trained(network, apart, GradientSimilarity(1))
    want = _cosine(_by_hand(network, batches[0])[2][0], _by_hand(network, second)[2][1])
    np.testing.assert_array_equal(found.counts, 1 - np.eye(2))
    np.testing.assert_allclose(found.matrix[0, 1], want, rtol=1e-10)
    # Neither met itself, so what the cosine is worth is not known.
    np.testing.assert_array_equal(found.similarity, np.eye(2))


def test_tasks_that_never_meet_are_unknown():
    network, batches = _linear_network(same=False)
    x, targets = batches[0]
    found = _trained(network, [(x, {"a": targets["a"]})], GradientSimilarity(1))
    np.testing.assert_array_equal(found.counts, [[1, 0], [0, 0]])
    assert np.isnan(found.matrix[0, 1])
    np.testing.assert_array_equal(found.similarity, np.eye(2))


def test_recordings_happen_every_so_many_steps():
    # Of seven steps the first, which waits for the second, the fourth and the last.
    network, batches = _linear_network(same=False)
    found = _trained(network, batches * 7, TaskAffinity(3))
    np.testing.assert_array_equal(found.counts, np.full((2, 2), 3))


@pytest.mark.slow
def test_groups_are_found_where_each_row_belongs_to_one_task():
    # Five rows of a task in a batch: cosines within groups are .02, and 0 across.
    rng = np.random.default_rng(0)
    X, task = rng.standard_normal((1200, 6)), np.arange(1200) % 6
    one, other = np.tanh(2 * X[:, 0]) + X[:, 1], np.tanh(2 * X[:, 2]) - X[:, 3]
    y = np.where(task < 3, one, other) + 0.5 * rng.standard_normal(1200)
    model = _model(GradientSimilarity(1), batch_size=32, **LONG).fit(X, y, task)
    assert {frozenset(group) for group in relatedness(model).groups} == {
        frozenset({0, 1, 2}),
        frozenset({3, 4, 5}),
    }
    relation = model.history_.relations[0]
    assert np.diag(relation.matrix).max() < 0.2
    assert relation.similarity[0, 1] > 5 * relation.matrix[0, 1]


def test_frame_has_the_names_of_the_tasks():
    relation = _relation("gradients", ("a", ("b", 1)), np.eye(2))
    assert relation.frame().index.tolist() == ["a", ("b", 1)]


def _relation(measure, tasks, matrix, errors=0.0):
    one = np.ones((2, 2), dtype=int)
    return TaskRelation(measure, tasks, np.asarray(matrix), 9 * one, errors * one)


def test_signs_that_differ_are_no_similarity():
    matrix = np.array([[0.4, 0.1], [-0.1, 0.1]])
    relation = _relation("affinity", ("a", "b"), matrix)
    np.testing.assert_array_equal(relation.similarity, np.eye(2))
    both = _relation("affinity", ("a", "b"), np.abs(matrix))
    np.testing.assert_allclose(both.similarity[0, 1], 0.1 / np.sqrt(0.04), rtol=1e-12)


def test_noise_of_batches_lessens_no_similarity():
    matrix = [[0.04, 0.03], [0.03, 0.09]]
    known = _relation("gradients", ("a", "b"), matrix, errors=0.01)
    np.testing.assert_allclose(known.similarity[0, 1], 0.03 / 0.06, rtol=1e-12)
    unknown = _relation("gradients", ("a", "b"), matrix, errors=0.021)
    np.testing.assert_array_equal(unknown.similarity, np.eye(2))


def test_errors_are_those_of_means():
    rng = np.random.default_rng(0)
    values, whole = rng.standard_normal((5, 2, 2)), 2.0 + rng.random((5, 2, 2))
    sums = np.full((2, 2), 5.0), whole.sum(0), values.sum(0), np.sum(values**2, axis=0)
    found = TaskRelation.of_sums("affinity", ("a", "b"), *sums)
    np.testing.assert_allclose(found.matrix, values.sum(0) / whole.sum(0), rtol=1e-12)
    of_mean = values.std(0, ddof=1) / np.sqrt(5)
    np.testing.assert_allclose(found.errors, of_mean / whole.mean(0), rtol=1e-12)


def test_affinity_is_of_losses_added_up():
    network, batches = _linear_network(same=False)
    (x, targets), tiny = batches[0], 1e-9
    exact = {name: network(x)[name].detach()[:, 0] + tiny for name in "ab"}
    found = _trained(network, [(x, exact), (x, targets)] * 2, TaskAffinity(1, step=0.05))
    # By the mean of ratios, a step from the second batch multiplies losses of 1e-18 by 1e16.
    assert -10 < found.matrix.min() < found.matrix.max() < 1


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: GradientSimilarity(0), ParameterError, "every of GradientSimilarity"),
        (lambda: GradientSimilarity(at="heads"), ParameterError, "at of GradientSimilarity"),
        (lambda: TaskAffinity(step=0.0), ParameterError, "step of TaskAffinity"),
        (lambda: _fitted("affinity"), ParameterError, "TaskAffinity(every=10)"),
        (lambda: _fitted([TaskAffinity]), ParameterError, "record of DeepMultiTaskRegressor"),
        (
            lambda: _fitted(GradientSimilarity(at="representation")),
            IncompatibleError,
            "each row belongs to one task. Take at='parameters'.",
        ),
        (
            lambda: _fitted(TaskAffinity(), trunk=MLP(())),
            IncompatibleError,
            "TaskAffinity needs layers that tasks share",
        ),
    ],
)
def test_what_cannot_be_recorded_is_refused(make, error, said):
    with pytest.raises(error, match=re.escape(said)):
        make()


def _fitted(record, **settings):
    X = np.random.default_rng(0).standard_normal((20, 2))
    model = _model(record, max_epochs=1).set_params(**settings)
    return model.fit(X, X[:, 0], task=np.arange(20) % 2)
