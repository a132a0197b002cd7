"""Networks and new tasks: known ones stay as they are, and the new one learns what it can."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

torch = pytest.importorskip("torch")

from scipy.optimize import minimize  # noqa: E402

from polytask import (  # noqa: E402
    DataError,
    IncompatibleError,
    MultiTaskRegressor,
    ParameterError,
    adapt,
    load,
    save,
)
from polytask.deep import (  # noqa: E402
    MLP,
    DeepMultiTaskClassifier,
    DeepMultiTaskModel,
    DeepMultiTaskRegressor,
    sharing,
)
from polytask.deep.adapting import Adapters, NearSource, NewHead, Unfreeze  # noqa: E402
from polytask.penalties import toward_mean  # noqa: E402
from polytask.transfer._deep import head_prior, units_of  # noqa: E402
from polytask.transfer._pulled import Grid, TaskRows  # noqa: E402

LAYERS = (Unfreeze(2, 40), NearSource(0.01, 80), Adapters(2, 80))
METHODS = (None, NewHead(), *LAYERS)
SETTINGS = {
    "trunk": MLP((8, 8)),
    "learning_rate": 0.01,
    "max_epochs": 10,
    "early_stopping": False,
    "random_state": 0,
}


class Cases:
    """Four known tasks, and a new one with another relation."""

    def __init__(self, n=60):
        rng = np.random.default_rng(0)
        self.X = rng.standard_normal((4 * n, 3))
        self.task = np.repeat(list("abcd"), n)
        shift = (self.task == "b") * 0.5
        self.y = (
            np.tanh(2 * self.X[:, 0]) + self.X[:, 1] + shift + 0.1 * rng.standard_normal(4 * n)
        )
        self.new = rng.standard_normal((40, 3))
        # A bend in a direction that no known task has.
        self.target = 2 * np.abs(self.new[:, 2]) - self.new[:, 0] + 0.1 * rng.standard_normal(40)

    def classes(self, values, count):
        edges = np.quantile(self.y, np.linspace(0, 1, count + 1)[1:-1])
        return np.array(["low", "mid", "top"])[np.digitize(values, edges)]


@pytest.fixture(scope="module")
def cases():
    return Cases()


@pytest.fixture(scope="module")
def numbers(cases):
    return DeepMultiTaskRegressor(**SETTINGS).fit(cases.X, cases.y, task=cases.task)


def _new(cases, n=40):
    return cases.new[:n], cases.target[:n]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("domain", [None, "new"])
def test_known_tasks_are_predicted_as_before_to_the_bit(cases, numbers, method, domain, tmp_path):
    if domain == "new" and method in LAYERS:
        method = dataclasses.replace(method, steps=10)
    weights = {name: value.clone() for name, value in numbers.network_.state_dict().items()}
    before = numbers.predict(cases.X, task=cases.task)
    more = adapt(numbers, *_new(cases), task="e", domain=domain, method=method)
    np.testing.assert_array_equal(more.predict(cases.X, task=cases.task), before)
    assert more.tasks_.tolist() == ["a", "b", "c", "d", "e"]
    assert numbers.tasks_.tolist() == ["a", "b", "c", "d"]
    assert all(torch.equal(weights[k], v) for k, v in numbers.network_.state_dict().items())
    save(more, tmp_path / "m.polytask")
    again = load(tmp_path / "m.polytask")
    label = ["e"] * 40
    np.testing.assert_array_equal(
        again.predict(cases.new, task=label), more.predict(cases.new, task=label)
    )
    np.testing.assert_array_equal(again.predict(cases.X, task=cases.task), before)
    assert again.adaptation_ == more.adaptation_


@pytest.mark.slow
@pytest.mark.parametrize("method", LAYERS, ids=lambda m: type(m).__name__)
def test_layers_that_learn_do_better_where_the_representation_lacks_something(
    cases, numbers, method
):
    plain = adapt(numbers, *_new(cases), task="e")
    changed = adapt(numbers, *_new(cases), task="e", method=method)
    (steps,) = changed.adaptation_.steps
    assert steps > 0
    assert changed.adaptation_.scores["adapted"] < plain.adaptation_.scores["adapted"]
    own = changed._tasks.added[0]
    assert bool(own.layers) != bool(own.additions)
    assert plain.adaptation_.steps == ()


def test_additions_are_small_and_of_low_rank(cases, numbers):
    own = adapt(numbers, *_new(cases), task="e", method=Adapters(2, 80))._tasks.added[0]
    assert set(own.additions) == {"sharing.trunk.0.weight", "sharing.trunk.2.weight"}
    shapes = [(left.shape, right.shape) for left, right in own.additions.values()]
    assert shapes == [((8, 2), (2, 3)), ((8, 2), (2, 8))]


def test_gradual_unfreezing_begins_at_the_last_layer(numbers):
    assert set(Unfreeze(1).change(numbers.network_).layers) == {
        "sharing.trunk.2.weight",
        "sharing.trunk.2.bias",
    }
    change = Unfreeze(5).change(numbers.network_)
    assert [len(stage) for stage in change.stages] == [2, 4]


@pytest.mark.slow
def test_layers_are_held_near_their_source(cases, numbers):
    far = {}
    for strength in (0.0, 10.0):
        method = NearSource(strength, 80)
        course = method.change(numbers.network_)
        assert course.strength == strength
        own = adapt(numbers, *_new(cases), task="e", method=method)._tasks.added[0]
        source = numbers.network_.state_dict()
        far[strength] = sum(
            float(np.square(value - source[name].numpy()).sum())
            for name, value in own.layers.items()
        )
    assert far[10.0] < 0.2 * far[0.0]


def test_few_rows_leave_the_layers_as_they_are(cases, numbers):
    few = adapt(numbers, *_new(cases, 4), task="e", method=Unfreeze())
    plain = adapt(numbers, *_new(cases, 4), task="e")
    assert few.adaptation_.steps == (0,)
    np.testing.assert_array_equal(
        few.predict(cases.new, task=["e"] * 40), plain.predict(cases.new, task=["e"] * 40)
    )
    assert "layers of the network stay as they are" in few.adaptation_.summary()
    assert "layers" not in plain.adaptation_.summary()


def _objective(prior, H, rows, strength):
    """Return the problem of a new head, written down again."""
    E = np.column_stack([H, np.ones(len(H))])
    inverse = np.linalg.inv(prior.root @ prior.root.T)

    def value(w):
        away = w.reshape(prior.mean.shape) - prior.mean
        eta = E @ w.reshape(prior.mean.shape).T
        eta = eta if len(prior.mean) > 1 else eta[:, 0]
        held = 0.5 * prior.noise * strength * np.einsum("kp,pq,kq->", away, inverse, away)
        return float(rows.weight @ rows.loss.value(rows.y, eta)) + held

    return value


@pytest.mark.parametrize("kind", ["numbers", "pairs", "classes"])
def test_the_new_head_is_the_exact_optimum(cases, numbers, kind):
    model, y = numbers, cases.target
    if kind != "numbers":
        count = {"pairs": 2, "classes": 3}[kind]
        model = DeepMultiTaskClassifier(**SETTINGS)
        model.fit(cases.X, cases.classes(cases.y, count), task=cases.task)
        y = np.digitize(
            cases.target, np.quantile(cases.target, np.linspace(0, 1, count + 1)[1:-1])
        )
    tasks = model._tasks
    units = units_of(tasks, _rows(cases, tasks, y))
    rows = _rows(cases, tasks, (y - units.mean) / units.scale)
    prior = head_prior(model, tasks)
    H = tasks.features(rows.X, -1)
    head = prior.learned(H, rows, Grid((1.0,)))
    found = np.column_stack([head.line.coef, head.line.intercept])
    value = _objective(prior, H, rows, 1.0)
    best = minimize(
        value,
        prior.mean.ravel(),
        method="L-BFGS-B",
        options={"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-10},
    )
    assert value(found.ravel()) <= best.fun * (1 + 1e-7)


def _rows(cases, tasks, y):
    return TaskRows(
        cases.new[:12], np.asarray(y[:12], dtype=float), np.ones(12), tasks.loss_of(-1)
    )


def test_the_more_rows_the_less_is_left_to_the_others(cases, numbers):
    X, y = np.repeat(cases.new, 10, axis=0), np.repeat(cases.target, 10)
    shared = adapt(numbers, None, task="e")
    errors = [
        np.mean((model.predict(cases.new, task=["e"] * 40) - cases.target) ** 2)
        for model in (shared, *(adapt(numbers, X[:n], y[:n], task="e") for n in (100, 400)))
    ]
    assert errors[2] < 0.9 * errors[1] < 0.9 * errors[0]


def test_a_task_without_rows_gets_what_is_shared(cases, numbers):
    more = adapt(numbers, None, task="e")
    numbers.unseen_tasks = "shared"
    want = numbers.predict(cases.new, task=["never"] * 40)
    numbers.unseen_tasks = "error"
    np.testing.assert_array_equal(more.predict(cases.new, task=["e"] * 40), want)
    assert "Without targets" in more.adaptation_.summary()


def test_several_new_tasks_and_more_of_them_later(cases, numbers):
    label = np.repeat(["e", "f"], 20)
    both = adapt(numbers, *_new(cases), task=label)
    one = adapt(
        adapt(numbers, *_new(cases, 20), task="e"), cases.new[20:], cases.target[20:], task="f"
    )
    assert one.tasks_.tolist() == both.tasks_.tolist() == ["a", "b", "c", "d", "e", "f"]
    assert one.data_card_.rows_per_task == both.data_card_.rows_per_task
    np.testing.assert_allclose(
        one.predict(cases.new, task=label), both.predict(cases.new, task=label), rtol=1e-10
    )


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("method", [None, NearSource(0.01, 40)], ids=["head", "layers"])
def test_classes(cases, count, method, tmp_path):
    y = cases.classes(cases.y, count)
    model = DeepMultiTaskClassifier(**SETTINGS).fit(cases.X, y, task=cases.task)
    before = model.predict_proba(cases.X, task=cases.task)
    new = cases.classes(-3 * cases.new[:, 0], count)
    more = adapt(model, cases.new, new, task="e", method=method)
    np.testing.assert_array_equal(more.predict_proba(cases.X, task=cases.task), before)
    proba = more.predict_proba(cases.new, task=["e"] * 40)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0, rtol=1e-6)
    assert np.mean(more.predict(cases.new, task=["e"] * 40) == new) > 0.7
    assert more.task_classes_["e"].tolist() == model.classes_.tolist()
    assert len(more.columns_) == len(more.tasks_) * (1 if count == 2 else 3)
    save(more, tmp_path / "m.polytask")
    again = load(tmp_path / "m.polytask")
    np.testing.assert_array_equal(again.predict_proba(cases.new, task=["e"] * 40), proba)
    one_class = adapt(model, cases.new[:6], np.repeat(y[:1], 6), task="f", method=method)
    assert np.isfinite(one_class.predict_proba(cases.new, task=["f"] * 40)).all()


def test_a_new_target_has_units_of_its_own(cases):
    Y = np.column_stack([cases.y, 1000 * cases.y + 50])
    model = DeepMultiTaskRegressor(**SETTINGS).fit(cases.X, Y)
    more = adapt(model, cases.X[:100], 1e5 * cases.y[:100], task="large")
    assert more.predict(cases.X).shape == (len(cases.X), 3)
    np.testing.assert_array_equal(more.predict(cases.X)[:, :2], model.predict(cases.X))
    misfit = more.predict(cases.X)[100:, 2] - 1e5 * cases.y[100:]
    assert np.mean(misfit**2) < 0.3 * np.var(1e5 * cases.y)


def test_a_far_domain_is_left_to_its_own_rows(cases, numbers):
    rng = np.random.default_rng(3)
    X = rng.standard_normal((60, 3))
    y = 100 * X[:, 2] - 40
    far = adapt(numbers, X, y, task="far", domain="new")
    report = far.adaptation_
    assert sorted(report.scores) == ["adapted", "source", "target"]
    assert report.chosen == "target"
    assert far._tasks.added[0].reads_features
    fresh = rng.standard_normal((10, 3))
    np.testing.assert_allclose(
        far.predict(fresh, task=["far"] * 10), 100 * fresh[:, 2] - 40, rtol=0.05, atol=2.0
    )
    np.testing.assert_array_equal(
        far.predict(cases.X, task=cases.task), numbers.predict(cases.X, task=cases.task)
    )


def test_rows_like_the_known_ones_keep_the_model(cases, numbers):
    old = cases.X, cases.y, cases.task
    same = adapt(numbers, cases.X[:30], cases.y[:30], task="same", domain="new", source=old)
    assert sorted(same.adaptation_.scores) == ["adapted", "pooled", "source", "target"]
    assert same.adaptation_.chosen in ("adapted", "source", "pooled")


def test_a_shift_fits_again(cases, numbers):
    shifted = adapt(
        numbers, cases.X[:60] + 0.5, task="a", domain="shift",
        source=(cases.X, cases.y, cases.task),
    )  # fmt: skip
    assert shifted.adaptation_.domain == "shift"
    assert 10 < shifted.adaptation_.effective_rows <= 240


@pytest.mark.parametrize(
    "how", [sharing.MMoE(2), sharing.CGC(), sharing.Soft(toward_mean(0.1)), sharing.FiLM(4)],
    ids=lambda how: type(how).__name__,
)  # fmt: skip
def test_every_way_of_sharing(cases, how):
    model = DeepMultiTaskRegressor(**{**SETTINGS, "max_epochs": 4}, sharing=how)
    model.fit(cases.X, cases.y, task=cases.task)
    before = model.predict(cases.X, task=cases.task)
    more = adapt(model, *_new(cases), task="e", method=NearSource(0.01, 20))
    np.testing.assert_array_equal(more.predict(cases.X, task=cases.task), before)
    assert more.adaptation_.scores["adapted"] < more.adaptation_.scores["source"]


def test_heads_with_layers_and_norms(cases):
    trunk = MLP((8,), norm="batch", dropout=0.2)
    model = DeepMultiTaskRegressor(**{**SETTINGS, "trunk": trunk}, heads=MLP((4,)))
    model.fit(cases.X, cases.y, task=cases.task)
    one, other = (adapt(model, *_new(cases), task="e", method=Unfreeze(2, 20)) for _ in range(2))
    label = ["e"] * 40
    np.testing.assert_array_equal(
        one.predict(cases.new, task=label), other.predict(cases.new, task=label)
    )


def test_tables_and_sparse_rows(cases):
    table = pd.DataFrame(cases.X, columns=["u", "v", "w"]).assign(
        g=cases.task, colour=np.where(cases.X[:, 0] > 0, "red", "blue")
    )
    model = DeepMultiTaskRegressor(**SETTINGS, task_column="g").fit(table, cases.y)
    new = table.head(30).assign(g="e")
    more = adapt(model, new, cases.target[:30])
    assert len(more.predict(new)) == 30
    known = table.iloc[30:]
    np.testing.assert_array_equal(more.predict(known), model.predict(known))
    far = adapt(model, new, 500 * cases.X[:30, 2], domain="new")
    assert far.adaptation_.chosen == "target"
    assert len(far.predict(new)) == 30
    sparse = DeepMultiTaskRegressor(**SETTINGS).fit(
        sp.csr_array(cases.X), cases.y, task=cases.task
    )
    rows = sp.csr_array(cases.new)
    thin = adapt(sparse, rows, cases.target, task="e", method=Adapters(1, 20))
    assert np.isfinite(thin.predict(rows, task=["e"] * 40)).all()


def test_a_trunk_of_the_user(cases, tmp_path):
    trunk = torch.nn.Sequential(torch.nn.Linear(3, 6), torch.nn.Tanh())
    model = DeepMultiTaskRegressor(**{**SETTINGS, "trunk": trunk})
    model.fit(cases.X, cases.y, task=cases.task)
    more = adapt(model, *_new(cases), task="e", method=Adapters(2, 80))
    assert set(more._tasks.added[0].additions) <= {"sharing.trunk.0.weight"}
    save(more, tmp_path / "m.polytask")
    again = load(tmp_path / "m.polytask", trunk=trunk)
    label = ["e"] * 40
    np.testing.assert_array_equal(
        again.predict(cases.new, task=label), more.predict(cases.new, task=label)
    )


def test_one_known_task(cases):
    model = DeepMultiTaskRegressor(**SETTINGS).fit(cases.X, cases.y)
    more = adapt(model, *_new(cases), task="e")
    assert more.adaptation_.scores["adapted"] < more.adaptation_.scores["source"]


def test_weights_count_rows(cases, numbers):
    X, y = _new(cases, 10)
    weighted = adapt(numbers, X, y, task="e", sample_weight=np.r_[2.0, np.ones(9)])
    twice = adapt(numbers, np.vstack([X, X[:1]]), np.r_[y, y[:1]], task="e")
    np.testing.assert_allclose(
        weighted.predict(cases.new, task=["e"] * 40),
        twice.predict(cases.new, task=["e"] * 40),
        rtol=1e-9,
    )


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda c, m: adapt(m, *_new(c), task="a"), DataError, "knows 'a' already"),
        (
            lambda c, m: adapt(m, *_new(c), task="a", domain="new"),
            DataError,
            "new labels for the tasks",
        ),
        (
            lambda c, m: adapt(m, *_new(c), task="e", method="unfreeze"),
            ParameterError,
            "an object of polytask.deep.adapting",
        ),
        (
            lambda c, m: adapt(m, *_new(c), task="e", method=Unfreeze),
            ParameterError,
            "an object of polytask.deep.adapting",
        ),
        (
            lambda c, m: adapt(
                m, c.X, task="a", domain="shift", source=(c.X, c.y, c.task), method=Unfreeze()
            ),
            IncompatibleError,
            "leave method out",
        ),
        (
            lambda c, m: adapt(
                MultiTaskRegressor(toward_mean(1.0)).fit(c.X, c.y, task=c.task),
                *_new(c), task="e", method=Unfreeze(),
            ),
            IncompatibleError,
            "says which layers of a network change",
        ),
        (
            lambda c, m: adapt(DeepMultiTaskRegressor(), *_new(c), task="e"),
            DataError,
            "fitted before",
        ),
        (lambda c, m: adapt(_bare(c), *_new(c), task="e", method=Unfreeze()),
         IncompatibleError, "this network has none"),
        (lambda c, m: adapt(_bare(c), *_new(c), task="e", method=Adapters()),
         IncompatibleError, "Adapters needs linear layers"),
        (lambda c, m: adapt(_mixed(c), *_new(c), task="e"), IncompatibleError, "one loss"),
        (lambda c, m: Unfreeze(0), ParameterError, "layers of Unfreeze"),
        (lambda c, m: Adapters(0), ParameterError, "rank of Adapters"),
        (lambda c, m: NearSource(-1.0), ParameterError, "strength of NearSource"),
        (lambda c, m: NearSource(steps=0), ParameterError, "steps of NearSource"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused(cases, numbers, make, error, said):
    with pytest.raises(error, match=re.escape(said)):
        make(cases, numbers)


def _bare(cases):
    model = DeepMultiTaskRegressor(MLP(()), max_epochs=1, early_stopping=False, random_state=0)
    return model.fit(cases.X, cases.y, task=cases.task)


def _mixed(cases):
    Y = np.column_stack([cases.y, cases.y > 0])
    model = DeepMultiTaskModel(
        loss={0: "squared", 1: "logistic"}, max_epochs=1, early_stopping=False, random_state=0
    )
    return model.fit(cases.X, Y)


@pytest.mark.slow
def test_linear_models_are_adapted_without_torch():
    program = (
        "import sys\n"
        "import numpy as np\n"
        "from polytask import MultiTaskRegressor, adapt\n"
        "X = np.random.default_rng(0).standard_normal((40, 2))\n"
        "model = MultiTaskRegressor().fit(X, X[:, 0], task=np.arange(40) % 2)\n"
        "adapt(model, X[:5], X[:5, 1], task=2)\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_the_unit_of_the_target_makes_no_difference_to_a_robust_loss():
    rng = np.random.default_rng(1)
    X, task = rng.normal(size=(240, 3)), np.repeat(np.arange(6), 40)
    y = X @ [1.0, 2.0, 3.0] + rng.normal(size=6)[task] + 0.5 * rng.normal(size=240)
    old, new = task < 5, np.flatnonzero(task == 5)[:20]
    found = []
    for unit in (1.0, 1e3):
        settings = {"trunk": MLP((8,)), "max_epochs": 15, "random_state": 0}
        model = DeepMultiTaskRegressor(loss="huber", **settings)
        model.fit(X[old], unit * y[old], task=task[old])
        more = adapt(model, X[new], -unit * y[new], task=5, domain="new")
        scores = {name: score / unit**2 for name, score in more.adaptation_.scores.items()}
        found.append(
            (more.adaptation_.chosen, scores, more.predict(X[200:], task=[5] * 40) / unit)
        )
    (chosen, scores, plain), (again, others, scaled) = found
    assert chosen == again == "target"
    assert scores == pytest.approx(others, rel=1e-3)
    np.testing.assert_allclose(plain, scaled, rtol=1e-3, atol=1e-3)
