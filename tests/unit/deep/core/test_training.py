"""The loop: objective, accumulation, early stopping, resuming, guards."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

torch = pytest.importorskip("torch")

from polytask import ConvergenceWarning, DataError, IncompatibleError  # noqa: E402
from polytask.deep import (  # noqa: E402
    MLP,
    DeepMultiTaskClassifier,
    DeepMultiTaskRegressor,
    balancing,
    sharing,
)
from polytask.deep.training import loop as loop_module  # noqa: E402
from polytask.deep.training.checkpoint import read_checkpoint, write_checkpoint  # noqa: E402
from polytask.deep.training.history import StopReason, Tally  # noqa: E402
from polytask.penalties import L2, L21  # noqa: E402

SGD = functools.partial(torch.optim.SGD, lr=0.05)
QUICK = {"max_epochs": 6, "random_state": 0, "batch_size": 32}


@pytest.fixture(scope="module")
def rows():
    """Tasks of unlike size, the target of one of them four times as large."""
    rng = np.random.default_rng(0)
    task = np.repeat(["a", "b", "c"], [120, 60, 20])
    X = rng.normal(size=(200, 4)) + 1.0
    y = np.abs(X[:, 0]) + X[:, 1] + np.where(task == "b", 4 * X[:, 2], 0)
    return X, y + 0.1 * rng.normal(size=200), task


def small(**settings):
    # The same bits come on the processor alone.
    return DeepMultiTaskRegressor(**{"trunk": MLP((8,)), "device": "cpu", **QUICK, **settings})


def weights(model):
    return model._tasks.weights


def assert_same_weights(first, second, rtol=0.0):
    for name, value in weights(first).items():
        assert_allclose(value, weights(second)[name], rtol=rtol, atol=rtol, err_msg=name)


def test_the_same_seed_gives_the_same_bits(rows):
    first, second = small(trunk=MLP((8,), dropout=0.2)), small(trunk=MLP((8,), dropout=0.2))
    assert_same_weights(first.fit(*rows), second.fit(*rows))
    third = small(trunk=MLP((8,), dropout=0.2), random_state=1).fit(*rows)
    assert np.abs(weights(first)["heads.weight"] - weights(third)["heads.weight"]).max() > 1e-3


def test_the_generators_of_the_user_are_left_alone(rows):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    small().fit(*rows)
    assert torch.equal(torch.rand(3), expected)


def test_accumulated_batches_make_the_step_of_one_large_batch(rows):
    plain = small(batch_size=200, optimizer=SGD, precision="float64", early_stopping=False)
    parts = small(
        batch_size=40, accumulate=5, optimizer=SGD, precision="float64", early_stopping=False
    )
    assert_same_weights(plain.fit(*rows), parts.fit(*rows), rtol=1e-10)


def test_task_weights_and_sizes_enter_the_objective(rows):
    X, y, task = rows
    settings = {"batch_size": 200, "early_stopping": False, "precision": "float64"}
    settings |= {"max_epochs": 1, "scale_targets": None}
    share = np.array([120, 60, 20]) * 3 / 200
    for choice, s in (("equal", np.ones(3)), ("size", share), ([1.0, 0.5, 2.0], [1.0, 0.5, 2.0])):
        model = small(task_weight=choice, **settings).fit(X, y, task)
        history = model.history_
        assert_allclose(history.weights, s)
        assert_allclose(history.objective, (np.array(s) * history.training[0]).sum())
        squares = (y - model.predict(X, task)) ** 2 / 2
        means = [squares[task == name].mean() for name in model.tasks_]
        assert_allclose(model.solution_.objective, np.dot(s, means), rtol=1e-6)


def test_early_stopping_keeps_the_best_epoch(rows):
    X, y, task = rows
    noise = np.random.default_rng(1).normal(size=len(y))
    settings = {"trunk": MLP((64,)), "learning_rate": 0.02, "patience": 5, "max_epochs": 60}
    model = small(**settings).fit(X, noise, task)
    held = model.history_.held_out_objective
    assert model.solution_.status is StopReason.STOPPED_EARLY
    assert model.solution_.best_epoch == int(np.argmin(held)) + 1
    assert model.n_iter_ == model.solution_.best_epoch + 5
    again = small(**{**settings, "max_epochs": model.solution_.best_epoch}).fit(X, noise, task)
    assert_same_weights(model, again)


def test_every_task_with_enough_rows_is_held_out_and_trained(rows):
    X, y, task = rows
    model = small(max_epochs=1, validation=0.2).fit(X, y, task)
    assert np.isfinite(model.history_.held_out).all()
    assert np.isfinite(model.history_.training).all()
    one = np.append(task, "d")
    lonely = small(max_epochs=1).fit(np.vstack([X, X[:1]]), np.append(y, 0.0), one)
    assert np.isnan(lonely.history_.held_out[0, 3])
    assert np.isfinite(lonely.history_.training[0, 3])


def test_without_rows_to_hold_out_the_last_epoch_is_kept():
    X, y = np.arange(8.0).reshape(4, 2), np.arange(4.0)
    model = small().fit(X, y, ["a", "b", "c", "d"])
    assert model.solution_.status is StopReason.LAST_EPOCH
    assert model.history_.held_out is None
    assert model.n_iter_ == 6


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("step", [3, 17, 29])
@pytest.mark.parametrize("how", ["plain", "balanced"])
def test_resuming_after_a_kill_gives_the_same_bits(rows, tmp_path, monkeypatch, step, how):
    settings = {"trunk": MLP((8,), dropout=0.3, norm="batch"), "max_epochs": 8}
    if how == "balanced":
        settings |= {"balancer": balancing.DWA(), "task_sampling": "temperature"}
        settings |= {"schedule": functools.partial(torch.optim.lr_scheduler.StepLR, step_size=2)}
        settings |= {"penalties": {"heads": L21(0.01)}}
    whole = small(**settings).fit(*rows)
    path = str(tmp_path / "state.ckpt")
    original = loop_module._TrainingRun._step

    def killed(run, group, tally):
        if run.steps == step:
            raise KilledError
        original(run, group, tally)

    with monkeypatch.context() as patch:
        patch.setattr(loop_module._TrainingRun, "_step", killed)
        with pytest.raises(KilledError):
            small(**settings, checkpoint=path).fit(*rows)
    resumed = small(**settings, checkpoint=path).fit(*rows)
    assert_same_weights(whole, resumed)
    assert_array_equal(whole.history_.training, resumed.history_.training)
    assert resumed.n_iter_ == whole.n_iter_


def test_a_checkpoint_of_other_data_is_refused(rows, tmp_path, monkeypatch):
    X, y, task = rows
    path = tmp_path / "state.ckpt"
    small(checkpoint=path).fit(X, y, task)
    with pytest.raises(DataError, match="is of another training: it differs in data"):
        small(checkpoint=path).fit(X, y + 1.0, task)
    for changed in ({"trunk": MLP((9,))}, {"learning_rate": 0.1}, {"balancer": balancing.DWA()}):
        with pytest.raises(DataError, match=f"it differs in {next(iter(changed))}"):
            small(checkpoint=path, **changed).fit(X, y, task)
    longer = small(checkpoint=path, max_epochs=9).fit(X, y, task)
    assert_same_weights(longer, small(max_epochs=9).fit(X, y, task))
    with monkeypatch.context() as newer:
        newer.setattr("polytask.deep.training.checkpoint.VERSION", 99)
        told = r"its format is polytask-checkpoint \d, and polytask-checkpoint 99 is needed"
        with pytest.raises(DataError, match=told):
            small(checkpoint=path).fit(X, y, task)
    path.write_bytes(b"nothing of ours")
    with pytest.raises(DataError, match="is no checkpoint of polytask"):
        small(checkpoint=path).fit(X, y, task)


def test_a_finished_training_is_not_done_again(rows, tmp_path, monkeypatch):
    path = tmp_path / "state.ckpt"
    first = small(checkpoint=path).fit(*rows)
    monkeypatch.setattr(loop_module._TrainingRun, "_step", None)
    assert_same_weights(first, small(checkpoint=path).fit(*rows))


def test_an_interrupt_leaves_the_best_epoch_so_far(rows, monkeypatch):
    original = loop_module._TrainingRun._epoch

    def interrupted(run):
        original(run)
        if run.epochs == 3:
            run._step([next(iter(run.batches))], Tally(3))
            raise KeyboardInterrupt

    monkeypatch.setattr(loop_module._TrainingRun, "_epoch", interrupted)
    model, plain = small().fit(*rows), small(early_stopping=False).fit(*rows)
    assert model.solution_.status is plain.solution_.status is StopReason.INTERRUPTED
    assert model.n_iter_ == 3
    monkeypatch.undo()
    assert_same_weights(model, small(max_epochs=3).fit(*rows))
    assert_same_weights(plain, small(max_epochs=3, early_stopping=False).fit(*rows))


def test_an_interrupt_before_the_first_epoch_is_passed_on(rows, monkeypatch):
    def interrupted(run):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop_module._TrainingRun, "_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        small().fit(*rows)


def test_a_loss_that_explodes_names_task_and_step(rows):
    with pytest.raises(DataError, match=r"loss of task '[abc]' is (inf|nan) in step \d+ \(epoch"):
        small(optimizer=functools.partial(torch.optim.SGD, lr=1e9), max_epochs=50).fit(*rows)


def test_clipping_bounds_the_step(rows):
    start = small(max_epochs=1, batch_size=200, early_stopping=False)
    still = start.set_params(optimizer=functools.partial(torch.optim.SGD, lr=0.0)).fit(*rows)
    before = weights(still)
    moved = start.set_params(
        optimizer=functools.partial(torch.optim.SGD, lr=1.0), clip_norm=1e-3
    ).fit(*rows)
    size = sum(((weights(moved)[n] - before[n]) ** 2).sum() for n in before) ** 0.5
    assert_allclose(size, 1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    "schedule",
    [
        functools.partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.0),
        functools.partial(
            torch.optim.lr_scheduler.ReduceLROnPlateau, factor=1e-9, patience=0, threshold=1.0
        ),
    ],
)
def test_a_schedule_is_stepped_every_epoch(rows, schedule):
    settings = {"optimizer": SGD, "early_stopping": False}
    model = small(schedule=schedule, **settings).fit(*rows)
    # Two epochs at most move the weights.
    late = model.history_.training[3:]
    assert_allclose(late, late[:1].repeat(len(late), axis=0), rtol=1e-4)
    free = small(**settings).fit(*rows).history_.objective
    assert free[-1] < 0.9 * model.history_.objective[-1]


def test_balancers_train_and_are_refused_with_accumulation(rows):
    X, y, task = rows
    Y = np.column_stack([y, -y + X[:, 3], X[:, 2]])
    for at in ("representation", "parameters"):
        model = small(
            balancer=balancing.MGDA(), balance_at=at, max_epochs=20, learning_rate=0.02
        ).fit(X, Y)
        assert model.history_.objective[-1] < 0.6 * model.history_.objective[0]
    with pytest.raises(IncompatibleError, match="accumulate=2 cannot go with a balancer"):
        small(balancer=balancing.DWA(), accumulate=2).fit(X, y, task)
    with pytest.raises(IncompatibleError, match="a root over a step"):
        small(loss="square_root", accumulate=2).fit(X, y, task)


def test_penalties_by_name_make_exact_zeros(rows):
    X, y, task = rows
    noisy = np.column_stack([X, np.random.default_rng(3).normal(size=(200, 6))])
    model = small(
        penalties={"input": L21(0.05), "heads": L2(1e-4)}, max_epochs=60, learning_rate=0.01
    ).fit(noisy, y, task)
    rows_of_input = np.abs(weights(model)["sharing.trunk.0.weight"]).max(axis=0)
    assert rows_of_input[:2].min() > 0.05
    assert (rows_of_input[4:] == 0).sum() >= 4


def test_a_checkpoint_from_before_a_parameter_counts_as_its_default(rows, tmp_path):
    path = tmp_path / "run.ckpt"
    small(checkpoint=path, max_epochs=3).fit(*rows)
    older = read_checkpoint(path)
    del older["identity"]["heads"], older["identity"]["mixup"]
    write_checkpoint(path, older)
    with pytest.raises(DataError, match="it differs in mixup"):
        small(checkpoint=path, mixup=0.4).fit(*rows)
    assert_same_weights(small(checkpoint=path).fit(*rows), small().fit(*rows))
    newer = read_checkpoint(path)
    newer["identity"]["cooling"] = "'slow'"
    write_checkpoint(path, newer)
    with pytest.raises(DataError, match="does not have: cooling"):
        small(checkpoint=path).fit(*rows)


def test_a_checkpoint_from_before_a_parameter_of_an_object_counts_as_its_default(rows, tmp_path):
    path = tmp_path / "run.ckpt"
    settings = {
        "trunk": MLP((6,), activation="tanh"),
        "sharing": sharing.MMoE(2),
        "balancer": balancing.DWA(),
        "penalties": {"input": L21(0.01)},
        "checkpoint": path,
    }
    small(**settings, max_epochs=3).fit(*rows)
    older = read_checkpoint(path)
    for name in ("trunk.norm", "sharing.width", "balancer.period", "penalties.input.fraction"):
        del older["identity"][name]
    bound = [name for name in older["identity"] if name.startswith("penalties of layers.input.")]
    (fraction,) = [name for name in bound if name.endswith(".prox.fraction")]
    del older["identity"][fraction]
    write_checkpoint(path, older)
    with pytest.raises(DataError, match=r"it differs in trunk\.norm"):
        small(**settings | {"trunk": MLP((6,), activation="tanh", norm="layer")}).fit(*rows)
    with pytest.raises(DataError, match=r"it differs in .*balancer\.period"):
        small(**settings | {"balancer": balancing.DWA(period=3)}).fit(*rows)
    resumed = small(**settings).fit(*rows)
    assert_same_weights(resumed, small(**settings | {"checkpoint": None}).fit(*rows))


def test_label_smoothing_is_that_of_the_formula(rows):
    X, y, task = rows
    labels = np.where(y > 1, "p", "q")
    settings = {"trunk": MLP((4,)), "max_epochs": 1, "random_state": 0, "batch_size": 200}
    settings |= {"early_stopping": False, "precision": "float64"}
    plain = DeepMultiTaskClassifier(**settings).fit(X, labels, task)
    smooth = DeepMultiTaskClassifier(label_smoothing=0.2, **settings).fit(X, labels, task)
    flipped = DeepMultiTaskClassifier(**settings).fit(X, np.where(y > 1, "q", "p"), task)
    mean = 0.5 * (plain.history_.training + flipped.history_.training)
    expected = 0.8 * plain.history_.training + 0.2 * mean
    assert_allclose(smooth.history_.training, expected, rtol=1e-10)
    assert smooth.predict_proba(X, task).shape == (200, 2)


@pytest.mark.slow
@pytest.mark.parametrize("across", [False, True])
def test_mixup_keeps_the_weight_of_tasks_and_trains(rows, across):
    X, y, task = rows
    model = small(mixup=0.4, mixup_across_tasks=across, max_epochs=40, learning_rate=0.01)
    model.fit(X, y, task)
    assert model.history_.training.shape == (40, 3)
    assert model.score(X, y, task) > 0.5
    assert_same_weights(model, small(**model.get_params(deep=False)).fit(X, y, task))


@pytest.mark.slow
def test_a_norm_for_each_task_undoes_its_units():
    rng = np.random.default_rng(0)
    task = np.repeat([0, 1, 2], 100)
    X = rng.normal(size=(300, 3))
    y = np.maximum(X[:, 0], 0) - X[:, 1]
    moved = X * np.array([1.0, 30.0, 0.1])[task, None] + np.array([0.0, 50.0, -3.0])[task, None]
    scores = {
        norm: small(trunk=MLP((16, 8), norm=norm), max_epochs=60, learning_rate=0.01)
        .fit(moved, y, task)
        .score(moved, y, task)
        for norm in ("batch", "task_batch")
    }
    assert scores["task_batch"] > 0.85
    assert scores["task_batch"] > scores["batch"] + 0.2


def test_history_is_a_table(rows):
    history = small().fit(*rows).history_
    frame = history.frame()
    assert list(frame.columns) == ["epoch", "task", "training", "held_out"]
    assert len(frame) == 18
    wide = frame.pivot(index="epoch", columns="task", values="training")
    assert_array_equal(wide[["a", "b", "c"]].to_numpy(), history.training)
    assert (np.diff(history.seconds) > 0).all()


def test_progress_shows_the_losses_of_tasks(rows, capsys):
    small(verbose=True).fit(*rows)
    shown = capsys.readouterr().err
    assert "Training: 0/6" in shown
    assert "6/6, done" in shown


def test_a_linear_network_is_a_convex_problem():
    """Without a hidden layer the network has the objective of the convex solver."""
    from polytask import MultiTaskClassifier, MultiTaskRegressor

    rng = np.random.default_rng(4)
    task = np.repeat(np.arange(4), 40)
    X = rng.normal(size=(160, 3))
    y = X @ [1.0, -1.0, 0.5] + 0.3 * task + rng.normal(size=160)
    lbfgs = functools.partial(torch.optim.SGD, lr=0.3, momentum=0.9)
    common = {"optimizer": lbfgs, "batch_size": 160, "early_stopping": False, "max_epochs": 400}
    common |= {"precision": "float64", "random_state": 0, "standardize": False}
    for deep, convex, targets in (
        (
            DeepMultiTaskRegressor(MLP(()), penalties={"heads": L2(0.1)}, scale_targets=None),
            MultiTaskRegressor(L2(0.1), task_weight="equal", intercept="task"),
            y,
        ),
        (
            DeepMultiTaskClassifier(MLP(()), penalties={"heads": L21(0.02)}),
            MultiTaskClassifier(L21(0.02), task_weight="equal", intercept="task"),
            y > 0.5,
        ),
    ):
        convex.set_params(tol=1e-10).fit(X, targets, task)
        deep.set_params(**common).fit(X, targets, task)
        W = weights(deep)["heads.weight"]
        assert_allclose(deep.solution_.penalty, float(deep.penalties["heads"].value(W.T)))
        assert_allclose(deep.solution_.objective, convex.solution_.objective, rtol=1e-4)
        assert_allclose(W, convex.coef_, atol=2e-3)
        assert_array_equal(W == 0, convex.coef_ == 0)
    # The last one has a penalty that makes zeros, and stands still there.
    assert deep.solution_.residual < 1e-3
    assert deep.set_params(max_epochs=1).fit(X, targets, task).solution_.residual > 1e-2


def test_history_is_drawn(rows):
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    history = small().fit(*rows).history_
    ax = history.plot()
    assert len(ax.lines) == 2 * 3 + 2 + 1
    assert_allclose(ax.lines[3].get_ydata(), history.training.mean(axis=1))
    again = small(early_stopping=False).fit(*rows).history_.plot(pyplot.subplots()[1])
    assert len(again.lines) == 4
    chinese = history.plot(pyplot.subplots()[1], lang="zh")
    assert [chinese.get_xlabel(), chinese.get_ylabel()] == ["轮次", "损失"]
    assert [t.get_text() for t in chinese.get_legend().get_texts()] == ["训练", "留出"]
    pyplot.close("all")


def test_training_that_ends_while_it_improves_warns(rows):
    slow = {"learning_rate": 1e-3, "validation": 0.2}
    with pytest.warns(ConvergenceWarning, match="max_epochs=6 with the held-out"):
        model = small(**slow, max_epochs=6, patience=5).fit(*rows)
    assert model.solution_.status is StopReason.STILL_IMPROVING
    assert model.solution_.best_epoch == 6
    # Too short for early stopping to stop it, or not asked to stop: as was wanted.
    short = small(**slow, max_epochs=5, patience=5).fit(*rows)
    assert short.solution_.status is StopReason.STILL_IMPROVING
    endless = small(**slow, max_epochs=6, patience=None).fit(*rows)
    assert endless.solution_.status is StopReason.BEST_OF_ALL
    whole = small(max_epochs=6, early_stopping=False).fit(*rows)
    assert whole.solution_.status is StopReason.LAST_EPOCH


def test_the_objective_is_that_of_the_weights_kept_and_its_penalty_is_told(rows):
    X, y, task = rows
    plain = small(max_epochs=2, precision="float64").fit(X, y, task).solution_
    assert plain.penalty == 0.0
    model = small(
        max_epochs=2, precision="float64", penalties={"heads": L2(0.3), "input": L21(0.01)}
    ).fit(X, y, task)
    found = weights(model)
    first = next(value for name, value in found.items() if name.startswith("sharing"))
    expected = 0.15 * (found["heads.weight"] ** 2).sum()
    expected += 0.01 * np.linalg.norm(first, axis=0).sum()
    assert_allclose(model.solution_.penalty, expected)
    assert model.solution_.objective > model.solution_.penalty
