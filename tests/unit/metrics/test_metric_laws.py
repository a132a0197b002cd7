"""Laws of the metrics: weights, order of rows and tasks, constants, monotone maps, sums."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from polytask import DataError
from polytask.metrics import METRICS, HeldOut, evaluate, r2, relative_gain

PER_ROW = ("y", "prediction", "probabilities", "weight")
NAN = float("nan")


def numbers(seed):
    rng = np.random.default_rng(seed)
    y = rng.normal(seed, 2, 40)
    guess = np.round(y + rng.normal(size=40), 1)
    return HeldOut(y=y, prediction=guess, baseline=0.5, weight=rng.integers(0, 4, 40))


def labelled(seed, k=2, classes=None):
    rng = np.random.default_rng(seed)
    y = np.r_[np.arange(k), rng.integers(k, size=40 - k)]
    p = np.round(10 * rng.dirichlet(np.ones(k), 40) + 2 * np.eye(k)[y]) + 0.01  # with ties
    p /= p.sum(1, keepdims=True)
    return HeldOut(
        y=y,
        prediction=p.argmax(1),
        baseline=rng.dirichlet(np.ones(k)),
        probabilities=p,
        classes=np.arange(k) if classes is None else np.asarray(classes),
        weight=np.r_[np.ones(k, int), rng.integers(0, 4, 40 - k)],
    )


PROBLEMS = {
    "numbers": lambda: [numbers(0), numbers(1), numbers(5)],
    "binary": lambda: [labelled(0), labelled(1), labelled(2)],
    "three": lambda: [labelled(0, 3), labelled(1, 3), labelled(2, 3)],
    "other classes": lambda: [labelled(0), labelled(1, 2, ["a", "b"]), labelled(2, 3)],
    "mixed": lambda: [numbers(0), labelled(1), numbers(2), labelled(3, 3)],
}
EVERY = pytest.mark.parametrize("problem", PROBLEMS)


def rebuilt(held, per_row):
    given = {name: getattr(held, name) for name in held.__dataclass_fields__}
    for name in PER_ROW:
        given[name] = None if given[name] is None else per_row(name, given[name])
    return HeldOut(**given)


def values(parts):
    found = evaluate(parts, list(METRICS))
    return np.array([[e.overall, *e.by_task.values] for e in found.values()])


def same(first, second):
    np.testing.assert_allclose(first, second, rtol=1e-10, atol=1e-12)


@EVERY
def test_a_weight_is_the_row_so_many_times(problem):
    def repeated(held):
        times = held.weight.astype(int)
        return rebuilt(held, lambda n, v: None if n == "weight" else np.repeat(v, times, axis=0))

    parts = PROBLEMS[problem]()
    same(values(parts), values([repeated(held) for held in parts]))


@EVERY
def test_rows_of_weight_zero_do_not_count(problem):
    parts = PROBLEMS[problem]()

    def spoilt(held):
        gone = held.weight == 0
        worst = np.inf if held.classes is None else 0
        assert gone.any()
        return rebuilt(held, lambda n, v: np.where(gone, worst, v) if n == "prediction" else v)

    same(values(parts), values([spoilt(held) for held in parts]))


@EVERY
def test_the_order_of_rows_is_nothing(problem):
    parts, order = PROBLEMS[problem](), np.random.default_rng(0).permutation(40)
    same(values(parts), values([rebuilt(held, lambda _, v: v[order]) for held in parts]))


@EVERY
def test_the_order_of_tasks_is_nothing(problem):
    parts = PROBLEMS[problem]()
    forward, backward = values(parts), values(parts[::-1])
    same(forward[:, 0], backward[:, 0])
    same(forward[:, 1:], backward[:, :0:-1])


@EVERY
def test_one_task_is_all_tasks(problem):
    for held in PROBLEMS[problem]():
        found = values([held])
        same(found[:, 0], found[:, 1])


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.rows])
@EVERY
def test_scores_are_means_of_their_rows(name, problem):
    metric, parts = METRICS[name], [p for p in PROBLEMS[problem]() if METRICS[name].fits(p)]
    for held in parts:
        mean = np.average(metric.rows(held), weights=held.weight)
        assert mean == pytest.approx(metric.by_task(held))
    if name != "d2" and len({held.kind for held in parts}) == 1:
        rows = np.concatenate([metric.rows(held) for held in parts])
        weight = np.concatenate([held.weight for held in parts])
        assert np.average(rows, weights=weight) == pytest.approx(metric.overall(parts))


@EVERY
def test_d2_over_rows_is_a_ratio_of_sums(problem):
    parts = PROBLEMS[problem]()
    ratios = [
        1 - np.sum(p.weight * p.losses()) / np.sum(p.weight * p.baseline_losses()) for p in parts
    ]
    same(evaluate(parts, ["d2"])["d2"].by_task.values, ratios)
    weight = np.concatenate([p.weight for p in parts])
    loss = weight @ np.concatenate([p.losses() for p in parts])
    null = weight @ np.concatenate([p.baseline_losses() for p in parts])
    expected = np.mean(ratios) if problem == "mixed" else 1 - loss / null
    assert METRICS["d2"].overall(parts) == pytest.approx(expected)


def test_scores_over_rows_see_the_level_of_tasks():
    parts = PROBLEMS["numbers"]()
    y, p = (np.concatenate([getattr(held, n) for held in parts]) for n in ("y", "prediction"))
    weight = np.concatenate([held.weight for held in parts])
    found = evaluate(parts, ["r2", "r2_within", "rmse"])
    assert found["r2"].overall == pytest.approx(r2(y, p, weight))
    assert found["r2"].overall > found["r2_within"].overall
    assert found["r2"].by_task == found["r2_within"].by_task
    # Pooled over the rows of all tasks, each around its own mean.
    means = [np.average(held.y, weights=held.weight) for held in parts]
    own = np.concatenate([np.full(len(h.y), m) for h, m in zip(parts, means, strict=True)])
    within = 1 - weight @ (y - p) ** 2 / (weight @ (y - own) ** 2)
    assert found["r2_within"].overall == pytest.approx(within)
    assert found["rmse"].overall == pytest.approx(
        np.sqrt(np.average((y - p) ** 2, weights=weight))
    )


def test_areas_over_rows_take_all_tasks_as_one_sample():
    parts = PROBLEMS["binary"]()
    y, p = (np.concatenate([getattr(held, n) for held in parts]) for n in ("y", "probabilities"))
    weight = np.concatenate([held.weight for held in parts])
    found = evaluate(parts, ["auc", "average_precision"])
    expected = roc_auc_score(y, p[:, 1], sample_weight=weight)
    assert found["auc"].overall == pytest.approx(expected)
    expected = average_precision_score(y, p[:, 1], sample_weight=weight)
    assert found["average_precision"].overall == pytest.approx(expected)


def test_tasks_of_other_classes_are_no_sample():
    found = evaluate(PROBLEMS["other classes"](), ["auc", "calibration"])
    for evaluation in found.values():
        assert evaluation.overall == pytest.approx(evaluation.by_task.mean)


def test_some_tasks_with_weights():
    parts = PROBLEMS["binary"]()
    plain = rebuilt(parts[0], lambda name, v: None if name == "weight" else v)
    ones = rebuilt(parts[0], lambda name, v: np.ones(40) if name == "weight" else v)
    same(values([plain, *parts[1:]]), values([ones, *parts[1:]]))


@EVERY
def test_the_baseline_explains_nothing(problem):
    def constant(held):
        per_row = {"prediction": np.full(40, np.argmax(held.baseline))}
        if held.classes is None:
            per_row["prediction"] = np.full(40, held.baseline)
        per_row["probabilities"] = np.tile(held.baseline, (40, 1))
        return rebuilt(held, per_row.get)

    found = evaluate([constant(h) for h in PROBLEMS[problem]()], ["d2", "accuracy", "majority"])
    same([found["d2"].overall, *found["d2"].by_task.values], 0)
    same(found["accuracy"].by_task.values, found["majority"].by_task.values)


PERFECT = {"accuracy": 1, "auc": 1, "average_precision": 1, "d2": 1, "r2": 1, "r2_within": 1}


@EVERY
def test_a_perfect_model(problem):
    def perfect(held):
        new = {"prediction": held.y}
        if held.classes is not None:
            new["probabilities"] = np.eye(len(held.classes))[held.y]
        return rebuilt(held, new.get)

    found = evaluate([perfect(h) for h in PROBLEMS[problem]()], list(METRICS))
    for name, evaluation in found.items():
        if name != "majority" and not np.isnan(evaluation.overall):
            assert evaluation.overall == pytest.approx(PERFECT.get(name, 0), abs=1e-12)


@pytest.mark.parametrize("name", ["auc", "average_precision"])
def test_areas_depend_on_the_order_only(name):
    held = labelled(0)
    mapped = held.probabilities[:, 1] ** 3 / 2
    other = rebuilt(held, lambda n, v: np.c_[1 - mapped, mapped] if n == "probabilities" else v)
    assert METRICS[name].by_task(other) == pytest.approx(METRICS[name].by_task(held))
    assert METRICS["log_loss"].by_task(other) != pytest.approx(METRICS["log_loss"].by_task(held))


def test_auc_of_the_reversed_order():
    held = labelled(0)
    back = rebuilt(held, lambda name, v: v[:, ::-1] if name == "probabilities" else v)
    assert METRICS["auc"].by_task(back) == pytest.approx(1 - METRICS["auc"].by_task(held))


@pytest.mark.parametrize("weight", [None, [1, 2, 1], [1, 0, 0]])
def test_r2_of_a_constant_is_undefined(weight):
    assert np.isnan(r2(np.full(3, 0.1), np.array([0.1, 0.2, 0.1]), weight))


def test_r2_of_rows_without_weight_is_undefined():
    assert np.isnan(r2(np.array([1.0, 2.0]), np.array([1.0, 2.0]), np.zeros(2)))


def test_relative_gain_by_hand():
    gain = relative_gain([0.6, 3.0, 0.5], [0.5, 4.0, 0.5], [True, False, True])
    assert gain.value == pytest.approx((0.2 + 0.25 + 0.0) / 3)
    assert gain.undefined == 0
    assert relative_gain([0.1], [-0.1], True).value == pytest.approx(2.0)  # a rise is a gain
    assert relative_gain([2.0, 2.0], [1.0, 4.0], False).value == pytest.approx(-0.25)


def test_relative_gain_leaves_out_and_counts():
    gain = relative_gain([0.6, NAN, 0.5, 0.5, 1.0], [0.5, 0.5, NAN, 0.0, np.inf], True)
    assert gain.value == pytest.approx(0.2)
    assert gain.undefined == 4
    nothing = relative_gain([1.0], [0.0], True)
    assert np.isnan(nothing.value)
    assert nothing.undefined == 1


def test_relative_gain_of_the_reference_is_zero():
    base = np.random.default_rng(0).normal(size=9)
    assert relative_gain(base, base, True).value == 0
    scaled = relative_gain(3 * base + 3, 3 * base, True).value
    assert scaled == pytest.approx(relative_gain(base + 1, base, True).value)


@pytest.mark.parametrize("arguments", [([1.0], [1.0, 2.0], True), ([1.0], [1.0], [True, False])])
def test_relative_gain_refuses_other_lengths(arguments):
    with pytest.raises(DataError, match="relative_gain must be of one length"):
        relative_gain(*arguments)
