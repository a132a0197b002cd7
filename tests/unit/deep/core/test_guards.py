"""What training refuses instead of a wrong result, and what it tells."""

from __future__ import annotations

import functools
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.optim.lr_scheduler import LambdaLR  # noqa: E402

from polytask import DataError, IncompatibleError, ParameterError  # noqa: E402
from polytask.deep import (  # noqa: E402
    MLP,
    DeepMultiTaskRegressor,
    Modalities,
    Task,
    TaskNetwork,
    Training,
    balancing,
    final_phase,
    fit_network,
    labelled,
    sharing,
)
from polytask.deep.trainable import Sums  # noqa: E402
from polytask.deep.training.history import Tally  # noqa: E402
from polytask.exceptions import DataWarning  # noqa: E402
from polytask.penalties import L1, L21, TraceNorm  # noqa: E402

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 4))
TASK = np.repeat(["a", "b", "c"], 40)
Y = X[:, 0] * np.repeat([1.0, 2.0, 3.0], 40) + 0.1 * RNG.normal(size=120)
SGD = functools.partial(torch.optim.SGD, lr=0.01)
squares = nn.MSELoss(reduction="none")


def model(**settings):
    return DeepMultiTaskRegressor(
        **{"trunk": MLP((8,)), "max_epochs": 3, "random_state": 0, **settings}
    )


def network(loss=squares, **settings):
    torch.manual_seed(0)
    return TaskNetwork(nn.Identity(), [Task("v", nn.Linear(4, 1), loss, **settings)])


def batch(n=6):
    return torch.tensor(X[:n], dtype=torch.float32), {"v": torch.zeros(n, 1)}


def exploding(optimizer):
    return LambdaLR(optimizer, lambda epoch: 1.0 if epoch < 4 else 1e35)


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize(
    ("settings", "step"),
    [
        ({"optimizer": SGD, "schedule": exploding, "max_epochs": 5}, 5),
        ({"optimizer": functools.partial(torch.optim.SGD, lr=1e30), "max_epochs": 1}, 1),
    ],
    ids=["schedule", "first"],
)
def test_divergence_in_the_last_step_is_refused(early_stopping, settings, step):
    told = rf"the loss of task '[abc]' is (inf|nan) after step {step} \(epoch {step}\)"
    with pytest.raises(DataError, match=told):
        model(batch_size=1000, early_stopping=early_stopping, **settings).fit(X, Y, TASK)


class Held(nn.Module):
    """A head whose output is not a number on the rows held out, from the second epoch on."""

    def __init__(self, bad):
        super().__init__()
        self.linear, self.bad, self.seen = nn.Linear(4, 1), bad, 0

    def forward(self, x):
        self.seen += len(x) == 3
        factor = self.bad if len(x) == 3 and self.seen > 1 else 1.0
        return self.linear(x) * factor


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_held_out_loss_that_is_not_finite_never_wins(bad):
    torch.manual_seed(0)
    net = TaskNetwork(nn.Identity(), [Task("v", Held(bad), squares)])
    history, result = fit_network(
        net, [batch()], Training(SGD, max_epochs=4), held_out=[batch(3)], tasks=net.names
    )
    assert result.best_epoch == 1
    assert np.isfinite(result.held_out_objective)
    assert_array_equal(history.held_out_objective[1:], np.inf)


def test_training_whose_held_out_loss_was_never_finite_is_refused():
    head = Held(float("nan"))
    head.seen = 1
    net = TaskNetwork(nn.Identity(), [Task("v", head, squares)])
    with pytest.raises(DataError, match="the held-out loss was finite in no epoch"):
        fit_network(net, [batch()], Training(SGD, max_epochs=2), held_out=[batch(3)])


def test_no_number_says_that_a_task_has_no_label():
    tally = Tally(3)
    losses, ones = torch.tensor([float("nan"), 2.0]), torch.ones(2)
    tally.add(Sums(losses, ones, torch.tensor([0, 2])))
    assert_array_equal(tally.means(None).numpy(), [np.inf, np.nan, 2.0])


@pytest.mark.parametrize("name", ["batches", "held_out", "everything"])
def test_what_can_be_iterated_once_is_refused(name):
    given = {"batches": [batch()], name: (batch() for _ in range(3))}
    with pytest.raises(ParameterError, match=f"{name} of fit_network must be iterable once for"):
        fit_network(network(), given.pop("batches"), Training(SGD, max_epochs=2), **given)


def test_epochs_without_a_label_are_refused():
    training = Training(SGD, max_epochs=2)
    told = r"must be batches with at least one label in every epoch; got none \(epoch 1\)"
    with pytest.raises(DataError, match=f"batches of fit_network {told}"):
        fit_network(network(), [], training)
    for empty in ([], [(batch()[0], {"v": None})]):
        with pytest.raises(DataError, match=f"held_out of fit_network {told}"):
            fit_network(network(), [batch()], training, held_out=empty)


class Tokens(nn.Module):
    def forward(self, x):
        return x[:, :, None].expand(-1, -1, 3)


def test_token_losses_without_their_rows_are_refused():
    def flat(output, target):
        return nn.functional.cross_entropy(
            output.flatten(0, 1), target.flatten(), reduction="none"
        )

    net = TaskNetwork(nn.Linear(4, 5), [Task("words", Tokens(), flat)])
    tokens = torch.zeros(6, 5, dtype=torch.long)
    told = r"loss of task 'words' must be .* each of the 6 samples; got shape \(30,\)"
    with pytest.raises(ParameterError, match=told):
        net.sums((torch.ones(6, 4), {"words": tokens}))


@pytest.mark.parametrize("mask", [None, labelled])
def test_losses_of_every_pair_of_rows_are_refused(mask):
    net = network(lambda output, target: (output - target) ** 2, mask=mask)
    x, _ = batch()
    told = r"of shapes \(6, 1\) and \(6,\), whose axes must agree; got shape \(6, 6\)"
    with pytest.raises(ParameterError, match=told):
        net.sums((x, {"v": torch.zeros(6)}))
    assert net.sums((x, {"v": torch.zeros(6, 1)})).weights.item() == 6


def aligned(batches, accumulate):
    torch.manual_seed(0)
    encoders = {"a": nn.Linear(2, 3), "b": nn.Linear(2, 3)}
    trunk = Modalities(encoders, {"a": 3, "b": 3}, alignment=5.0)
    net = TaskNetwork(trunk, [Task("v", nn.Linear(6, 1), squares)])
    fit_network(net, batches, Training(SGD, max_epochs=1, accumulate=accumulate))
    return net.sharing.encoders[0].weight.detach().numpy()


def pair(rows, **targets):
    x = torch.tensor(X[rows], dtype=torch.float32)
    return {"a": x[:, :2], "b": x[:, 2:]}, targets or {"v": x[:, :1]}


def test_a_smaller_last_group_has_the_whole_extra_term():
    half = [pair(slice(6))]
    assert_allclose(aligned(half, 4), aligned(half, 1), rtol=1e-6)


def test_a_batch_without_labels_has_its_extra_term():
    first, second = pair(slice(6)), pair(slice(6, 12), v=None)
    both, alone = aligned([first, second], 1), aligned([first], 1)
    assert np.abs(both - alone).max() > 1e-3


class Counted(nn.Linear):
    """A trunk that counts its training batches."""

    batches = 0

    def forward(self, x):
        type(self).batches += self.training
        return super().forward(x)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"penalties": {"heads": TraceNorm(0.1)}}, r"optimizer=functools\.partial\(torch\.optim"),
        (
            {
                "penalties": {"heads": L1(0.1)},
                "optimizer": functools.partial(torch.optim.RMSprop, lr=0.01),
            },
            "RMSprop",
        ),
        ({"optimizer": torch.optim.LBFGS}, "LBFGS evaluates the loss several times in a step"),
    ],
    ids=["TraceNorm", "RMSprop", "LBFGS"],
)
def test_an_optimiser_that_does_not_fit_is_refused_before_work(settings, told):
    Counted.batches = 0
    with pytest.raises(IncompatibleError, match=told):
        model(trunk=Counted(4, 3), **settings).fit(X, Y, TASK)
    assert Counted.batches == 0
    assert callable(final_phase)


def test_only_weights_decay():
    trunk = MLP((8,), norm="layer")
    before = model(trunk=trunk, optimizer=functools.partial(torch.optim.SGD, lr=0.0))
    plain, decayed = (
        model(trunk=trunk, max_epochs=1, batch_size=200, early_stopping=False, weight_decay=decay)
        for decay in (0.0, 100.0)
    )
    start = before.fit(X, Y, TASK)._tasks.weights
    plain, decayed = (m.fit(X, Y, TASK)._tasks.weights for m in (plain, decayed))
    # One step of AdamW with a rate of 1e-3 takes a tenth of each weight that decays.
    for name, value in start.items():
        share = 0.1 if value.ndim == 2 else 0.0
        assert_allclose(plain[name] - decayed[name], share * value, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("balancer", [balancing.PCGrad(), balancing.UPGrad()], ids=repr)
def test_a_balancer_with_nothing_to_do_is_told(balancer):
    with pytest.warns(DataWarning, match="does nothing at balance_at='representation'") as told:
        idle = model(balancer=balancer).fit(X, Y, TASK)
    assert len(told) == 1
    assert_allclose(idle.predict(X, TASK), model().fit(X, Y, TASK).predict(X, TASK), rtol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(balancer=balancer, balance_at="parameters").fit(X, Y, TASK)
        model(balancer=balancer).fit(X, np.column_stack([Y, -Y]))
        model(balancer=balancing.MGDA()).fit(X, Y, TASK)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("accumulate", 0),
        ("max_epochs", -2),
        ("patience", 0),
        ("checkpoint_every", 0),
        ("clip_norm", -1.0),
        ("optimizer", None),
        ("schedule", "steps"),
        ("balance_at", "heads"),
    ],
)
def test_settings_of_the_loop_are_checked(name, value):
    with pytest.raises(ParameterError, match=f"{name} of Training must be"):
        Training(**{name: value})
    if value is not None:
        with pytest.raises(ParameterError, match=f"{name} of DeepMultiTaskRegressor must be"):
            model(**{name: value}).fit(X, Y, TASK)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("task_weights", np.ones(2)),
        ("task_weights", torch.ones(3)),
        ("task_weights", torch.ones(1, 1)),
        ("tasks", ("v", "w")),
    ],
)
def test_there_is_one_weight_and_name_for_each_task(name, value):
    told = f"{name} of fit_network must be as many as there are tasks, 1; got shape"
    with pytest.raises(ParameterError, match=told):
        fit_network(network(), [batch()], Training(SGD), **{name: value})


def test_weights_may_be_an_array():
    training = Training(SGD, max_epochs=2)
    first, _ = fit_network(network(), [batch()], training, task_weights=np.array([2]))
    second, _ = fit_network(network(), [batch()], training, task_weights=torch.tensor([2.0]))
    assert_array_equal(first.objective, second.objective)


def test_a_checkpoint_brings_the_seed(tmp_path):
    path = tmp_path / "state.ckpt"
    short = model(random_state=None, checkpoint=path).fit(X, Y, TASK)
    longer = model(random_state=None, checkpoint=path, max_epochs=6).fit(X, Y, TASK)
    assert longer.n_iter_ == 6
    assert_array_equal(longer.history_.training[:3], short.history_.training)
    other = model(random_state=None).fit(X, Y, TASK)
    assert np.abs(other.history_.training - short.history_.training).max() > 1e-6
    with pytest.raises(DataError, match="it differs in seed"):
        model(random_state=1, checkpoint=path).fit(X, Y, TASK)


@pytest.mark.parametrize("trunk", [MLP((8,), norm="batch"), nn.BatchNorm1d(4)], ids=repr)
def test_one_row_has_no_batch_norm(trunk):
    with pytest.raises(DataError, match=r"must be of 2 rows or more .* got 1 row\. Choose"):
        model(trunk=trunk, batch_size=1).fit(X, Y, TASK)
    fitted = model(trunk=trunk).fit(X, Y, TASK)
    whole, one = fitted.predict(X, TASK), fitted.predict(X[:1], TASK[:1])
    assert_allclose(one, whole[:1], rtol=1e-5)


@pytest.mark.skipif(torch.cuda.device_count() > 9, reason="the card is there")
def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(ParameterError, match=r"a device that torch has here.*; got 'cuda:9'"):
        model(device="cuda:9").fit(X, Y, TASK)


@pytest.mark.parametrize("way", [sharing.Hard(), sharing.MMoE(2)], ids=repr)
def test_rows_for_which_the_network_overflows_are_refused(way):
    fitted = model(sharing=way).fit(X, Y, TASK)
    with pytest.raises(DataError, match=r"X of predict must be .* in float32; got \S+e\+60"):
        fitted.predict(X * 1e60, TASK)


def test_the_status_is_a_sentence():
    early = model(max_epochs=2).fit(X, Y, TASK).solution_
    assert early.status.name == "BEST_OF_ALL"
    assert "before the held-out loss had gone `patience` epochs without" in early.message
    endless = model(patience=None, penalties={"input": L21(0.01)}).fit(X, Y, TASK)
    assert endless.n_iter_ == 3
