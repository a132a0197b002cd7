"""Label smoothing and mixup do what their definitions say."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize

torch = pytest.importorskip("torch")

from polytask._registry import name_of, rebuild, resolve, state_of  # noqa: E402
from polytask.deep.regularise import SmoothedLabels, mixup  # noqa: E402
from polytask.exceptions import DataError, IncompatibleError, ParameterError  # noqa: E402
from polytask.losses import Logistic, Multinomial, Squared  # noqa: E402
from polytask.testing import check_loss  # noqa: E402


@pytest.mark.parametrize("amount", [0.0, 0.1, 0.6])
def test_smoothing_mixes_the_losses_of_all_classes(amount):
    rng = np.random.default_rng(0)
    eta, y = rng.normal(size=(8, 4)), rng.integers(4, size=8).astype(float)
    plain, smoothed = Multinomial(), SmoothedLabels(Multinomial(), amount)
    every = np.mean([plain.value(np.full(8, float(k)), eta) for k in range(4)], axis=0)
    known = (1 - amount) * plain.value(y, eta) + amount * every
    np.testing.assert_allclose(smoothed.value(y, eta), known, rtol=1e-12)
    logistic, smooth = Logistic(), SmoothedLabels(Logistic(), amount)
    y, eta = (y > 1).astype(float), eta[:, 0]
    both = 0.5 * (logistic.value(np.zeros(8), eta) + logistic.value(np.ones(8), eta))
    known = (1 - amount) * logistic.value(y, eta) + amount * both
    np.testing.assert_allclose(smooth.value(y, eta), known, rtol=1e-12)


@pytest.mark.parametrize("loss", [Logistic(), Multinomial()], ids=repr)
def test_smoothed_losses_obey_every_law(loss):
    check_loss(SmoothedLabels(loss, 0.2))


def test_torch_gives_what_numpy_gives():
    rng = np.random.default_rng(1)
    eta, y = rng.normal(size=(8, 4)), rng.integers(4, size=8)
    loss = SmoothedLabels(Multinomial(), 0.3)
    tensor = torch.from_numpy(eta).requires_grad_()
    value = loss.value(torch.from_numpy(y), tensor)
    value.sum().backward()
    np.testing.assert_allclose(value.detach(), loss.value(y, eta), rtol=1e-12)
    np.testing.assert_allclose(tensor.grad, loss.gradient(y, eta), rtol=1e-10, atol=1e-12)


def test_columns_that_a_task_lacks_are_no_classes():
    loss = SmoothedLabels(Multinomial(), 0.3)
    eta, y = torch.randn(5, 2), torch.tensor([0, 1, 1, 0, 1])
    padded = torch.cat([eta, torch.full((5, 2), torch.finfo(eta.dtype).min / 4)], dim=1)
    torch.testing.assert_close(loss.value(y, padded), loss.value(y, eta))
    torch.testing.assert_close(loss.gradient(y, padded)[:, :2], loss.gradient(y, eta))
    assert int(loss.gradient(y, padded)[:, 2:].count_nonzero()) == 0


def test_the_best_probability_is_no_longer_one():
    loss = SmoothedLabels(Logistic(), 0.2)
    best = scipy.optimize.minimize_scalar(
        lambda eta: float(loss.value(np.ones(()), np.array(eta)))
    )
    assert loss.inverse_link(best.x) == pytest.approx(0.9, abs=1e-6)


def test_other_losses_and_amounts_are_refused():
    with pytest.raises(IncompatibleError, match="whose labels can be smoothed; got Squared"):
        SmoothedLabels(Squared())
    with pytest.raises(ParameterError, match=r"amount of SmoothedLabels must be a number in \[0"):
        SmoothedLabels(Logistic(), 1.0)


def test_a_smoothed_loss_is_saved():
    loss = SmoothedLabels(Multinomial(), 0.25)
    name = name_of(loss)
    assert resolve(name) is SmoothedLabels
    assert rebuild(SmoothedLabels, state_of(loss)) == loss


def batch(seed=0, n=40):
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.normal(size=(n, 3)))
    return x, torch.from_numpy(rng.normal(size=n)), torch.from_numpy(rng.integers(4, size=n))


@pytest.mark.parametrize("across", [False, True])
def test_inputs_are_mixed_and_labels_are_weighted(across):
    x, y, task = batch()
    mixed = mixup(x, y, task, across_tasks=across, alpha=1.0, random_state=3)
    n = len(y)
    share = mixed.weight[:n]
    torch.testing.assert_close(mixed.weight[n:], 1 - share)
    assert torch.equal(mixed.y[:n], y)
    assert torch.equal(mixed.x[:n], mixed.x[n:])
    partner = torch.stack([(y == label).nonzero()[0, 0] for label in mixed.y[n:]])
    assert sorted(partner.tolist()) == list(range(n))
    known = share[:, None] * x + (1 - share)[:, None] * x[partner]
    torch.testing.assert_close(mixed.x[:n], known)
    assert torch.equal(mixed.task[n:], task[partner])
    same = mixed.task[:n] == mixed.task[n:]
    assert bool(same.all()) is not across


def test_weights_of_a_task_keep_their_sum_within_tasks():
    x, y, task = batch()
    mixed = mixup(x, y, task, random_state=0)
    sums = torch.zeros(4, dtype=y.dtype).index_add(0, mixed.task, mixed.weight)
    torch.testing.assert_close(sums, torch.bincount(task, minlength=4).to(y.dtype))


def test_every_row_of_a_task_may_be_a_partner():
    x, y, task = batch(n=6)
    task = torch.tensor([0, 0, 0, 1, 1, 1])
    seen = set()
    for seed in range(60):
        mixed = mixup(x, y, task, random_state=seed)
        seen |= {(i, int((y == v).nonzero())) for i, v in enumerate(mixed.y[6:])}
    assert seen == {(i, j) for i in range(6) for j in range(6) if (i < 3) == (j < 3)}


def test_in_the_targets_form_missing_labels_stay_missing():
    rng = np.random.default_rng(0)
    x, y = torch.from_numpy(rng.normal(size=(9, 3))), torch.from_numpy(rng.normal(size=(9, 2)))
    weight = torch.from_numpy((rng.random((9, 2)) > 0.4).astype(float))
    mixed = mixup(x, y, weight=weight, random_state=1)
    assert mixed.task is None
    assert mixed.weight.shape == (18, 2)
    assert torch.equal(mixed.weight[:9] > 0, weight > 0)


def test_a_small_alpha_changes_little_and_draws_repeat():
    x, y, task = batch()
    mixed = mixup(x, y, task, alpha=1e-3, random_state=5)
    larger = torch.maximum(mixed.weight[:40], mixed.weight[40:])
    assert float(larger.mean()) > 0.99
    assert torch.equal(mixed.x, mixup(x, y, task, alpha=1e-3, random_state=5).x)


def test_dictionaries_with_a_missing_input():
    x, y, task = batch()
    mixed = mixup({"a": x, "b": None, "c": [x]}, y, task, random_state=0)
    assert mixed.x["b"] is None
    assert torch.equal(mixed.x["a"], mixed.x["c"][0])


def test_codes_of_categories_are_refused():
    x, y, task = batch()
    with pytest.raises(DataError, match="mix categories after their embedding"):
        mixup(task, y, task)
    with pytest.raises(ParameterError, match="alpha of mixup"):
        mixup(x, y, task, alpha=0.0)
