"""Alignment of the representations of tasks: values, gradients, and rows without targets."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.distance import cdist

torch = pytest.importorskip("torch")

from polytask import DataError, IncompatibleError, ParameterError, load, save  # noqa: E402
from polytask.deep import MLP, DeepMultiTaskClassifier, DeepMultiTaskRegressor  # noqa: E402
from polytask.deep.align import CORAL, MMD, Adversarial, reverse_gradient  # noqa: E402

RNG = np.random.default_rng(0)
TASK = torch.tensor([0] * 5 + [2] * 4 + [3] * 6)
FEATURES = torch.from_numpy(RNG.normal(size=(15, 3)) + TASK.numpy()[:, None])
OBJECTS = [CORAL(0.7), MMD(0.7, (0.5, 2.0)), MMD(0.7)]


def pairs():
    own = [FEATURES[t == TASK].numpy() for t in (0, 2, 3)]
    return itertools.combinations(own, 2)


def kernel(A, B, widths):
    return np.mean([np.exp(-cdist(A, B, "sqeuclidean") / (2 * w**2)).mean() for w in widths])


def test_values_are_those_of_an_independent_computation():
    apart = [((np.cov(A.T) - np.cov(B.T)) ** 2).sum() / (4 * 3**2) for A, B in pairs()]
    found = float(CORAL(0.7).build(3, 4)(FEATURES, TASK))
    assert_allclose(found, 0.7 * np.mean(apart), rtol=1e-12)
    half = cdist(FEATURES, FEATURES, "sqeuclidean").mean() / 2
    for given in (0.5, 2.0), None:
        widths = given or np.sqrt(half * np.array([0.25, 0.5, 1, 2, 4]))
        apart = [
            kernel(A, A, widths) + kernel(B, B, widths) - 2 * kernel(A, B, widths)
            for A, B in pairs()
        ]
        found = float(MMD(0.7, given).build(3, 4)(FEATURES, TASK))
        assert_allclose(found, 0.7 * np.mean(apart), rtol=1e-12)


@pytest.mark.parametrize("alignment", OBJECTS[:2], ids=repr)
def test_gradients_are_finite_differences(alignment):
    module = alignment.build(3, 4)
    leaf = FEATURES.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: module(x, TASK), leaf)


@pytest.mark.parametrize("alignment", OBJECTS, ids=repr)
def test_equal_samples_and_a_single_task_cost_nothing(alignment):
    module, half = alignment.build(3, 2), FEATURES[:6]
    same = module(torch.cat([half, half]), torch.tensor([0] * 6 + [1] * 6))
    assert_allclose(float(same), 0.0, atol=1e-15)
    assert float(module(half, torch.zeros(6).long())) == 0.0


def test_the_adversary_learns_and_what_it_reads_is_pushed_the_other_way():
    module = Adversarial(0.3, hidden=4).build(3, 4).double()
    leaf = FEATURES.clone().requires_grad_()
    loss = module(leaf, TASK)
    plain = torch.nn.functional.cross_entropy(module.discriminator(leaf), TASK)
    assert_allclose(loss.item(), plain.item(), rtol=1e-12)
    own = list(module.parameters())
    found = torch.autograd.grad(loss, [leaf, *own])
    wanted = torch.autograd.grad(plain, [leaf, *own])
    assert_allclose(found[0].numpy(), -0.3 * wanted[0].numpy(), rtol=1e-12)
    for one, other in zip(found[1:], wanted[1:], strict=True):
        assert_array_equal(one.numpy(), other.numpy())
    x = torch.ones(2, requires_grad=True)
    reverse_gradient(x, 2.0).sum().backward()
    assert x.grad.tolist() == [-2.0, -2.0]


X = RNG.normal(size=(120, 4))
DOMAIN = np.repeat(["old", "older", "new"], 40)
X[80:] += 2.0
Y = X[:, 0] - X[:, 1]
GAPS = np.where((DOMAIN == "new") | (np.arange(120) == 3), np.nan, Y)
QUICK = {"trunk": MLP((8,)), "max_epochs": 30, "random_state": 0, "precision": "float64"}


@pytest.mark.parametrize("alignment", [*OBJECTS, Adversarial(0.5)], ids=repr)
def test_rows_without_targets_take_part(alignment, tmp_path):
    settings = {**QUICK, "alignment": alignment, "early_stopping": False}
    model = DeepMultiTaskRegressor(**settings).fit(X, GAPS, task=DOMAIN)
    assert model.task_weight_sums_.tolist() == [0, 39, 40]
    assert model.tasks_.tolist() == ["new", "old", "older"]
    expected = model.predict(X, task=DOMAIN)
    other = DeepMultiTaskRegressor(**settings)
    other.fit(np.where(DOMAIN == "new", 5.0, 0)[:, None] + X, GAPS, task=DOMAIN)
    one, two = (m.network_.heads.weight.detach() for m in (model, other))
    assert not np.allclose(one, two)
    save(model, tmp_path / "m.polytask")
    assert_array_equal(load(tmp_path / "m.polytask").predict(X, task=DOMAIN), expected)
    parts = {t: (X[t == DOMAIN], GAPS[t == DOMAIN]) for t in ("old", "older")}
    parts["new"] = (X[DOMAIN == "new"], None)
    separate = DeepMultiTaskRegressor(**settings).fit(parts)
    assert_allclose(separate.predict({"new": X})["new"], model.predict(X, ["new"] * 120))


def test_alignment_brings_representations_together():
    def distance(alignment):
        model = DeepMultiTaskRegressor(**QUICK, alignment=alignment, learning_rate=0.01)
        seen = slice(None) if alignment else ~np.isnan(GAPS)
        model.fit(X[seen], GAPS[seen], task=DOMAIN[seen])
        Z = torch.from_numpy((X - X.mean(0)) / X.std(0))
        features = model.network_.represent(Z, torch.zeros(120).long())
        scaled = features / features.std()
        code = torch.from_numpy((DOMAIN == "new").astype(int))
        return MMD(1.0, (1.0,)).build(8, 2)(scaled, code).item()

    assert distance(MMD(10.0)) < 0.5 * distance(None)


def test_classes_with_gaps():
    labels = np.where(np.isnan(GAPS), None, np.where(np.nan_to_num(GAPS) > 0, "yes", "no"))
    model = DeepMultiTaskClassifier(**QUICK, alignment=CORAL()).fit(X, labels, task=DOMAIN)
    assert model.classes_.tolist() == ["no", "yes"]
    assert_allclose(model.predict_proba(X, task=DOMAIN).sum(axis=1), 1.0)
    parts = {"a": (X[:40], ["p", "q", "r", "p"] * 10), "b": (X[80:], None)}
    several = DeepMultiTaskClassifier(**QUICK, alignment=CORAL()).fit(parts)
    assert set(several.predict({"b": X})["b"]) <= set("pqr")


def fit(alignment=None, y=Y, task=DOMAIN):
    return lambda: DeepMultiTaskRegressor(**QUICK, alignment=alignment).fit(X, y, task=task)


CASES = {
    "object": (fit("coral"), ParameterError, "object of polytask.deep.align"),
    "matrix": (fit(CORAL(), np.c_[Y, Y], None), IncompatibleError, "target matrix"),
    "none": (fit(CORAL(), Y * np.nan), DataError, "y of DeepMultiTaskRegressor"),
    "gaps": (fit(None, GAPS), DataError, "must be given in every row"),
    "strength": (lambda: CORAL(-1.0), ParameterError, "strength of CORAL"),
    "bandwidth": (lambda: MMD(1.0, (0.0,)), ParameterError, "bandwidths of MMD"),
}


@pytest.mark.parametrize("name", CASES)
def test_refusals_are_sentences(name):
    call, kind, words = CASES[name]
    with pytest.raises(kind, match=words):
        call()
