"""Meta-learning: gradients through steps, the estimator, and what it refuses."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils.estimator_checks import parametrize_with_checks

torch = pytest.importorskip("torch")

from polytask import DataError, IncompatibleError, ParameterError, adapt, load, save  # noqa: E402
from polytask.deep import (  # noqa: E402
    ANIL,
    MAML,
    MLP,
    MetaLearner,
    MetaSGD,
    Reptile,
    balancing,
)
from polytask.deep.meta import Episode, MetaNetwork, Part  # noqa: E402
from polytask.deep.network import NetworkPlan  # noqa: E402
from polytask.deep.sharing import Hard  # noqa: E402
from polytask.losses import Logistic, Multinomial, Squared  # noqa: E402
from polytask.penalties import L1, L2  # noqa: E402

METHODS = [
    MAML(steps=3, learning_rate=0.1),
    MAML(steps=2, learning_rate=0.2, proximal=L2(0.5)),
    MAML(steps=2, learning_rate=0.2, proximal=L1(0.05)),
    ANIL(steps=3, learning_rate=0.3),
    MetaSGD(steps=2, learning_rate=0.1),
]


SQUARED, PLAIN = Squared(), MAML(2, 0.1)


def learner(method, loss=SQUARED, widths=(4,), columns=1):
    plan = NetworkPlan(MLP(widths, activation="tanh"), Hard(), 2, (loss,), (columns,), "float64")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MetaNetwork(plan.build(torch.device("cpu")), method, loss, 3)


def episode(classes=0, b=3, k=4, q=5):
    rng = np.random.default_rng(1)

    def part(n):
        y = rng.integers(classes, size=(b, n)) if classes else rng.normal(size=(b, n))
        arrays = rng.normal(size=(b, n, 2)), y.astype(float), rng.uniform(0.5, 2, size=(b, n))
        return Part(*map(torch.from_numpy, arrays))

    return Episode(part(k), part(q), torch.arange(b))


def mean_losses(net, batch):
    sums = net.sums(batch)
    return (sums.losses / sums.weights).sum()


@pytest.mark.parametrize("method", METHODS, ids=repr)
@pytest.mark.parametrize("loss", [Squared(), Logistic(), Multinomial()], ids=lambda x: x.name)
def test_gradients_are_finite_differences(method, loss):
    classes = {"squared": 0, "logistic": 2, "multinomial": 3}[loss.name]
    net, batch = learner(method, loss, columns=3 if classes == 3 else 1), episode(classes)
    mean_losses(net, batch).backward()
    rng = np.random.default_rng(2)
    for parameter in net.parameters():
        way = torch.from_numpy(rng.normal(size=parameter.shape))
        slope = float((parameter.grad * way).sum())
        values = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                parameter.add_(step * way)
                values.append(float(mean_losses(net, batch)))
                parameter.sub_(step * way)
        assert_allclose(slope, (values[0] - values[1]) / 2e-5, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("first_order", [False, True])
def test_the_gradient_on_a_quadratic_is_the_one_derived_by_hand(first_order):
    # Linear, so that a step is theta - rate (A theta - b), and its derivative I - rate A.
    net = learner(MAML(2, 0.1, first_order), widths=())
    batch = episode(b=1)
    mean_losses(net, batch).backward()
    found = torch.cat([net.network.heads.weight.grad[0], net.network.heads.bias.grad]).numpy()

    def normal(part):
        Z = np.column_stack([part.x[0].numpy(), np.ones(part.y.shape[1])])
        share = part.weight[0].numpy() / part.weight[0].numpy().sum()
        return (Z * share[:, None]).T @ Z, (Z * share[:, None]).T @ part.y[0].numpy()

    heads = net.network.heads
    theta = torch.cat([heads.weight[0], heads.bias]).detach().numpy()
    (A, b), (Q, c) = normal(batch.support), normal(batch.query)
    for _ in range(2):
        theta = theta - 0.1 * (A @ theta - b)
    J = np.eye(3) if first_order else np.linalg.matrix_power(np.eye(3) - 0.1 * A, 2)
    assert_allclose(found, J @ (Q @ theta - c), rtol=1e-12)


def test_reptile_moves_towards_the_weights_of_the_tasks():
    net, batch = learner(Reptile(steps=3, learning_rate=0.1)), episode()
    start = {n: p.detach().clone() for n, p in net.network.named_parameters()}
    mean_losses(net, batch).backward()
    found = {n: p.grad for n, p in net.network.named_parameters()}
    expected = {n: torch.zeros_like(p) for n, p in start.items()}
    for t in range(3):
        net.network.load_state_dict(start)
        optimizer = torch.optim.SGD(net.network.parameters(), lr=0.1)
        for part in (batch.support, batch.query, batch.support):
            optimizer.zero_grad()
            errors = net.network(part.x[t])[:, 0] - part.y[t]
            (0.5 * part.weight[t] * errors**2).sum().div(part.weight[t].sum()).backward()
            optimizer.step()
        for n, p in net.network.named_parameters():
            expected[n] += (start[n] - p.detach()) / 0.1
    for n in start:
        assert_allclose(found[n].numpy(), expected[n].numpy(), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("penalty", [L2(1e15), L1(1e6)], ids=repr)
def test_an_infinite_pull_stays_at_the_start(penalty):
    net, batch = learner(MAML(4, 0.5, proximal=penalty)), episode()
    for name, own in net.adapted([batch.support], 4, False).items():
        start = net.start()[name].expand_as(own)
        assert_allclose(own.detach().numpy(), start.detach().numpy(), atol=1e-12)


def test_only_the_head_adapts_and_padding_changes_nothing():
    net, batch = learner(ANIL()), episode()
    assert set(net.adapted([batch.support], 2, False)) == {"heads.weight", "heads.bias"}
    net = learner(MAML())
    part = batch.support
    more = Part(*(torch.cat([v, 0 * v if i == 2 else v], 1) for i, v in enumerate(part)))
    one, other = (net.adapted([p], 3, False)["heads.weight"] for p in (part, more))
    assert_allclose(one.detach().numpy(), other.detach().numpy(), rtol=1e-12)


RNG = np.random.default_rng(0)
N = 20
TASK = np.repeat([f"t{k:02d}" for k in range(15)], N)
AMPLITUDE, PHASE = RNG.uniform(0.5, 3, 15).repeat(N), RNG.uniform(0, 3, 15).repeat(N)
X = RNG.uniform(-3, 3, (15 * N, 1))
Y = AMPLITUDE * np.sin(X[:, 0] + PHASE)
LEVELS = np.array(["high", "low", "middle"])
KINDS = {
    "numbers": Y,
    "pairs": np.where(Y > 0, "yes", "no"),
    "classes": LEVELS[np.digitize(Y, [-0.5, 0.5])],
}
OLD = TASK < "t12"
NEW = np.flatnonzero(TASK == "t13")
QUICK = {"support": 8, "max_epochs": 3, "precision": "float64", "random_state": 0}


def fitted(kind="numbers", method=PLAIN, **settings):
    model = MetaLearner(MLP((8,), activation="tanh"), method, **{**QUICK, **settings})
    return model.fit(X[OLD], KINDS[kind][OLD], task=TASK[OLD])


def values(model, *args):
    proba = getattr(model, "predict_proba", None)
    return (model.predict if proba is None else proba)(*args)


def test_learning_pays():
    rng = np.random.default_rng(1)
    amplitude, phase = rng.uniform(0.5, 3, (220, 1)), rng.uniform(0, 3, (220, 1))
    x = rng.uniform(-3, 3, (220, N))
    y, old, settings = amplitude * np.sin(x + phase), np.repeat(np.arange(200), N), {"support": 8}
    settings |= {"trunk": MLP((20, 20)), "tasks_per_step": 20, "random_state": 0}
    trained = {"max_epochs": 12, "learning_rate": 1e-2}, {"max_epochs": 1, "learning_rate": 1e-9}
    errors = []
    for more in trained:
        model = MetaLearner(method=MAML(2, 0.1), **settings, **more)
        model.fit(x[:200].reshape(-1, 1), y[:200].ravel(), task=old)
        new = {t: (x[t, :10, None], y[t, :10]) for t in range(200, 220)}
        found = model.adapt(new).predict({t: x[t, 10:, None] for t in new})
        errors.append(np.mean([np.mean((found[t] - y[t, 10:]) ** 2) for t in new]))
    assert errors[0] < 0.6 * errors[1]


@pytest.mark.parametrize("method", [*METHODS, Reptile(2, 0.1)], ids=repr)
@pytest.mark.parametrize("kind", KINDS)
def test_seeds_saving_and_adapting(kind, method, tmp_path):
    model = fitted(kind, method)
    again = fitted(kind, method)
    expected = values(model, X[OLD], TASK[OLD])
    assert_array_equal(values(again, X[OLD], TASK[OLD]), expected)
    assert not np.array_equal(
        values(fitted(kind, method, random_state=1), X[OLD], TASK[OLD]), expected
    )
    more = model.adapt(X[NEW[:6]], KINDS[kind][NEW[:6]], task="t13")
    other = adapt(model, X[NEW[:6]], KINDS[kind][NEW[:6]], task="t13")
    save(more, tmp_path / "m.polytask")
    for one in (more, other, load(tmp_path / "m.polytask")):
        assert_array_equal(values(one, X[OLD], TASK[OLD]), expected)
        assert_array_equal(values(one, X[NEW], TASK[NEW]), values(more, X[NEW], TASK[NEW]))
    assert "t13" not in model.tasks_
    assert more.data_card_.n_rows == OLD.sum() + 6
    if kind != "numbers":
        assert_allclose(expected.sum(axis=1), 1.0)
        assert set(more.predict(X[NEW], TASK[NEW])) <= set(model.classes_)


def test_known_tasks_are_adapted_on_their_own_rows():
    model = fitted()
    for label in ("t00", "t05"):
        rows = label == TASK
        same = model.adapt(X[rows], Y[rows], task="copy")
        expected = model.predict(X[rows], task=TASK[rows])
        assert_allclose(same.predict(X[rows], task=["copy"] * N), expected, rtol=1e-9)
    shared = model.set_params(unseen_tasks="shared").predict(X[NEW], task=TASK[NEW])
    scaled = torch.from_numpy((X[NEW] - X[OLD].mean()) / X[OLD].std())
    raw = model.network_(scaled)[:, 0].detach().numpy()
    assert_allclose(shared, raw * Y[OLD].std() + Y[OLD].mean(), rtol=1e-9)


PLAIN_STEP = {"max_epochs": 1, "validation": 0.0, "tasks_per_step": 12}


def start_after(rate, **settings):
    """Return the initial weights after one step of all tasks."""
    step = {"optimizer": functools.partial(torch.optim.SGD, lr=rate)}
    model = fitted(**{**PLAIN_STEP, "standardize": True, **step, **settings})
    return {name: w.astype(float) for name, w in model._tasks.weights.items()}


@pytest.mark.parametrize("method", [PLAIN, ANIL(2, 0.1), Reptile(2, 0.1)], ids=repr)
def test_penalties_pull_at_the_initial_weights_by_layer(method):
    begin, rate = start_after(1e-300, method=method), 0.01
    plain = start_after(rate, method=method)
    pulled = start_after(rate, method=method, penalties={"input": L2(0.5)})
    change = {name: pulled[name] - plain[name] for name in plain}
    name = next(name for name in plain if "heads" not in name and name.endswith("weight"))
    # The gradient of a/2 |W|^2.
    assert_allclose(change.pop(name), -rate * 0.5 * begin[name], rtol=1e-8)
    assert not any(np.any(other) for other in change.values())
    none = start_after(rate, method=method, penalties={"input": L1(1e3)})
    assert not none[name].any()


@pytest.mark.parametrize("method", [PLAIN, MAML(2, 0.1, first_order=True), Reptile(2, 0.1)])
def test_balancers_weigh_the_tasks_of_a_step(method):
    begin = start_after(1e-300, method=method)
    equal, rate = start_after(0.01, method=method), 0.01
    half = start_after(rate, method=method, balancer=balancing.Fixed([0.5] * 12))
    for name, w in begin.items():
        assert_allclose(half[name] - w, 0.5 * (equal[name] - w), rtol=1e-8, atol=1e-14)
    one = np.eye(12)[3]
    alone = [start_after(rate, method=method, balancer=balancing.Fixed(w)) for w in (one, 1 - one)]
    for name, w in begin.items():
        parts = sum(part[name] - w for part in alone)
        assert_allclose(parts, equal[name] - w, rtol=1e-7, atol=1e-13)


BALANCERS = [
    balancing.DWA(period=1),
    *(
        getattr(balancing, name)()
        for name in (
            *("Equal", "GeometricMean", "RandomWeights", "STCH", "Uncertainty", "IMTLL"),
            *("FAMO", "AutoLambda", "GradNorm", "MGDA", "PCGrad", "CAGrad", "IMTLG", "Nash"),
            *("Aligned", "UPGrad"),
        )
    ),
]


@pytest.mark.parametrize("balancer", BALANCERS, ids=lambda b: type(b).__name__)
@pytest.mark.parametrize("method", [PLAIN, Reptile(2, 0.1)], ids=["MAML", "Reptile"])
def test_every_balancer_trains_some_tasks_at_a_time(method, balancer):
    model = fitted(method=method, balancer=balancer, tasks_per_step=5, validation=0.2)
    assert np.isfinite(model.predict(X[OLD], TASK[OLD])).all()
    plain = fitted(method=method, tasks_per_step=5, validation=0.2)
    same = np.array_equal(model.predict(X[OLD], TASK[OLD]), plain.predict(X[OLD], TASK[OLD]))
    assert same == isinstance(balancer, balancing.Equal)


def test_weights_forms_and_tables_say_the_same():
    model = fitted()
    at = NEW[:6]
    twice = model.adapt(np.repeat(X[at], 2, 0), np.repeat(Y[at], 2), task="n")
    weighted = model.adapt(X[at], Y[at], task="n", sample_weight=np.full(6, 2.0))
    wanted = model.adapt({"n": (X[at], Y[at])}).predict(X[NEW], task=["n"] * N)
    for one in (twice, weighted):
        assert_allclose(one.predict(X[NEW], task=["n"] * N), wanted, rtol=1e-9)
    sparse = MetaLearner(MLP((8,), activation="tanh"), MAML(2, 0.1), **QUICK)
    sparse.fit(sp.csr_matrix(X[OLD]), Y[OLD], task=TASK[OLD])
    assert_allclose(sparse.predict(X[OLD], TASK[OLD]), model.predict(X[OLD], TASK[OLD]), rtol=1e-9)
    table = pd.DataFrame({"x": X[:, 0], "kind": np.where(X[:, 0] > 1, "a", "b"), "ward": TASK})
    framed = MetaLearner(MLP((8,)), task_column="ward", **QUICK).fit(table[OLD], Y[OLD])
    more = framed.adapt(table.iloc[NEW], Y[NEW])
    assert more.tasks_[-1] == "t13"
    assert more.predict(table.iloc[NEW]).shape == (N,)
    assert more.score(table[OLD], Y[OLD]) == framed.score(table[OLD], Y[OLD])


def test_more_steps_go_on_from_the_same_weights():
    whole, half = fitted(method=MAML(4, 0.1), adapt_steps=1), fitted(method=MAML(4, 0.1))
    at = TASK[OLD] == "t00"
    part = dataclasses.replace(whole._tasks, steps=4)
    assert_array_equal(whole.history_.training, half.history_.training)
    assert_array_equal(part.own["heads.bias"].shape, half._tasks.own["heads.bias"].shape)
    longer = dataclasses.replace(whole)
    longer.__dict__.update(whole.__dict__, _tasks=part)
    same = longer.adapt(X[OLD][at], Y[OLD][at], "n").predict(X[:5], ["n"] * 5)
    assert_allclose(same, half.predict(X[:5], ["t00"] * 5), rtol=1e-9)


# Rows of an episode are drawn: one of weight 2 is not drawn twice.
DRAWN = {
    f"check_sample_weight_equivalence_on_{kind}_data": "drawn" for kind in ("dense", "sparse")
}


@parametrize_with_checks(
    [MetaLearner(MLP((8,)), MAML(1, 0.1), **{**QUICK, "max_epochs": 2})],
    expected_failed_checks=lambda _: DRAWN,
)
def test_scikit_learn(estimator, check):
    check(estimator)


NORMED = MLP((4,), norm="batch")
PULLED = MAML(proximal=L2(1.0, radius=1.0) + L1())
APART = {"a": (X[:9], Y[:9]), "b": (X[:9], KINDS["pairs"][:9])}


def quick():
    return MetaLearner(**QUICK)


CASES = {
    "method": (lambda: fitted(method="MAML"), ParameterError, "object of polytask.deep"),
    "steps": (lambda: MAML(steps=0), ParameterError, "steps of MAML"),
    "penalty": (lambda: ANIL(proximal=3), ParameterError, "proximal of ANIL"),
    "no prox": (lambda: fitted(method=PULLED), ParameterError, "give alpha"),
    "matrix": (lambda: quick().fit(X, np.c_[Y, Y]), IncompatibleError, "target matrix"),
    "layers": (lambda: fitted(penalties=L2(1.0)), ParameterError, "penalties of MetaLearner"),
    "no such layer": (lambda: fitted(penalties={"hats": L2(1.0)}), ParameterError, "'hats'"),
    "norm": (
        lambda: MetaLearner(NORMED, **QUICK).fit(X, Y, TASK),
        IncompatibleError,
        'norm="layer"',
    ),
    "rows": (lambda: quick().fit(X[:3], Y[:3], list("abc")), DataError, "at least two rows"),
    "known": (lambda: fitted().adapt(X[:3], Y[:3], task="t00"), DataError, "knows 't00' already"),
    "class": (lambda: fitted("pairs").adapt(X[:1], ["no way"], "n"), DataError, "'no way'"),
    "unseen": (lambda: fitted().predict(X[:1], task=["t99"]), DataError, "'t99'"),
    "domain": (
        lambda: adapt(fitted(), X[:3], Y[:3], task="n", domain="new"),
        IncompatibleError,
        "domain=",
    ),
    "epochs": (lambda: fitted(max_epochs="all"), ParameterError, '"auto"'),
    "losses": (
        lambda: quick().fit(APART),
        IncompatibleError,
        "one loss for all tasks",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_refusals_are_sentences(name):
    call, kind, words = CASES[name]
    with pytest.raises(kind, match=words):
        call()
