"""Metrics of held-out rows against scikit-learn's functions, and where they are undefined."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn import metrics as oracle
from sklearn.calibration import calibration_curve

from polytask import DataError, ParameterError
from polytask.metrics import METRICS, HeldOut, default_metrics, evaluate

NUMBERS = [name for name, metric in METRICS.items() if metric.of == "numbers"]
CLASSES = [name for name, metric in METRICS.items() if metric.of == "classes"]
NAN = float("nan")


def numbers(seed=0, n=60, weighted=True, baseline=0.3):
    rng = np.random.default_rng(seed)
    y = rng.normal(seed, 2, n)
    weight = rng.integers(1, 4, n) if weighted else None
    return HeldOut(y=y, prediction=y + rng.normal(size=n), baseline=baseline, weight=weight)


def labelled(seed=0, n=60, k=2, weighted=True, classes=None, steps=None):
    """Return rows whose probabilities carry information; `steps` levels of them make ties."""
    rng = np.random.default_rng(seed)
    y = np.r_[np.arange(k), rng.integers(k, size=n - k)]
    eta = rng.normal(size=(n, k)) + 1.5 * np.eye(k)[y]
    p = np.exp(eta) / np.exp(eta).sum(1, keepdims=True)
    if steps:
        p = np.round(p * steps + 1)
        p /= p.sum(1, keepdims=True)
    return HeldOut(
        y=y,
        prediction=p.argmax(1),
        baseline=rng.dirichlet(np.ones(k)),
        probabilities=p,
        classes=np.arange(k) if classes is None else np.asarray(classes),
        weight=rng.integers(1, 4, n) if weighted else None,
    )


def fields(held):
    return {name: getattr(held, name) for name in held.__dataclass_fields__}


def changed(held, **new):
    return HeldOut(**{**fields(held), **new})


def take(held, rows):
    per_row = {"y", "prediction", "probabilities", "weight"}
    return HeldOut(
        **{
            name: value[rows] if name in per_row and value is not None else value
            for name, value in fields(held).items()
        }
    )


def score(name, held):
    return METRICS[name].by_task(held)


OF_NUMBERS = {
    "r2": oracle.r2_score,
    "r2_within": oracle.r2_score,
    "mse": oracle.mean_squared_error,
    "rmse": oracle.root_mean_squared_error,
    "mae": oracle.mean_absolute_error,
    "deviance": oracle.mean_squared_error,
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", OF_NUMBERS)
def test_numbers_against_scikit_learn(name, weighted):
    held = numbers(weighted=weighted)
    expected = OF_NUMBERS[name](held.y, held.prediction, sample_weight=held.weight)
    assert score(name, held) == pytest.approx(expected, rel=1e-12)


def test_d2_of_the_best_constant_is_r2():
    held = numbers()
    held = changed(held, baseline=np.average(held.y, weights=held.weight))
    assert score("d2", held) == pytest.approx(score("r2", held), rel=1e-12)


def auc(held):
    if len(held.classes) == 2:
        return oracle.roc_auc_score(held.y, held.probabilities[:, 1], sample_weight=held.weight)
    return oracle.roc_auc_score(
        held.y, held.probabilities, multi_class="ovr", sample_weight=held.weight
    )


def average_precision(held):
    p = held.probabilities[:, 1] if len(held.classes) == 2 else held.probabilities
    return oracle.average_precision_score(held.y, p, sample_weight=held.weight)


def accuracy(held):
    return oracle.accuracy_score(held.y, held.prediction, sample_weight=held.weight)


def majority(held):
    most = np.full(len(held.y), np.argmax(held.baseline))
    return oracle.accuracy_score(held.y, most, sample_weight=held.weight)


def log_loss(held):
    return oracle.log_loss(held.y, held.probabilities, sample_weight=held.weight)


def brier(held):
    return oracle.brier_score_loss(
        held.y,
        held.probabilities,
        sample_weight=held.weight,
        labels=np.arange(len(held.classes)),
    )


OF_CLASSES = {
    "accuracy": accuracy,
    "majority": majority,
    "auc": auc,
    "average_precision": average_precision,
    "log_loss": log_loss,
    "deviance": log_loss,
    "brier": brier,
}


@pytest.mark.parametrize("steps", [None, 3])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("k", [2, 3, 5])
@pytest.mark.parametrize("name", OF_CLASSES)
def test_classes_against_scikit_learn(name, k, weighted, steps):
    held = labelled(k=k, weighted=weighted, steps=steps)
    assert score(name, held) == pytest.approx(OF_CLASSES[name](held), rel=1e-12)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_log_loss_is_clipped_as_in_scikit_learn(k, precision):
    held = labelled(k=k, weighted=False)
    p = held.probabilities.astype(precision)
    p[:9] = np.eye(k, dtype=precision)[(held.y[:9] + np.arange(9) % 2) % k]
    held = changed(held, probabilities=p)
    assert score("log_loss", held) == pytest.approx(log_loss(held), rel=1e-6)
    assert score("log_loss", held) > 1


def test_d2_of_the_held_out_shares_is_that_of_scikit_learn():
    for k in (2, 3):
        held = labelled(k=k)
        share = np.bincount(held.y, held.weight) / held.total
        expected = oracle.d2_log_loss_score(held.y, held.probabilities, sample_weight=held.weight)
        assert score("d2", changed(held, baseline=share)) == pytest.approx(expected, rel=1e-12)


def test_calibration_against_bins_of_scikit_learn():
    held = labelled(n=200, weighted=False)
    true, predicted = calibration_curve(
        held.y, held.probabilities[:, 1], n_bins=10, strategy="quantile"
    )
    expected = np.abs(true - predicted).mean()  # 20 rows in every bin
    assert score("calibration", held) == pytest.approx(expected, rel=1e-12)


def test_calibration_of_several_classes_by_hand():
    held = labelled(n=20, k=3, weighted=False)
    p, hit = held.probabilities.max(1), held.y == held.prediction
    halves = np.split(np.argsort(p), 2)
    expected = np.mean([abs(p[half].mean() - hit[half].mean()) for half in halves])
    assert score("calibration", held) == pytest.approx(expected, rel=1e-12)


def test_calibration_of_a_constant_is_its_distance_to_the_share():
    held = labelled(n=90)
    held = changed(held, probabilities=np.tile([0.75, 0.25], (90, 1)))
    share = np.average(held.y, weights=held.weight)
    assert score("calibration", held) == pytest.approx(abs(share - 0.25))


def test_calibrated_probabilities_have_a_small_error():
    rng = np.random.default_rng(0)
    p = rng.random(20_000)
    y = rng.random(20_000) < p
    held = HeldOut(
        y=y,
        prediction=p > 0.5,
        baseline=[0.5, 0.5],
        probabilities=np.c_[1 - p, p],
        classes=["no", "yes"],
    )
    assert score("calibration", held) < 0.02
    assert score("calibration", changed(held, probabilities=np.c_[1 - p**2, p**2])) > 0.1


def test_calibration_needs_twenty_rows():
    assert np.isnan(score("calibration", labelled(n=19, weighted=False)))
    assert score("calibration", labelled(n=20, weighted=False)) >= 0


def test_one_against_rest_averages_the_classes_held_out():
    whole = labelled(k=4, weighted=False)
    held = take(whole, whole.y < 2)
    p = held.probabilities
    expected = np.mean([oracle.roc_auc_score(held.y == c, p[:, c]) for c in (0, 1)])
    assert score("auc", held) == pytest.approx(expected)
    expected = np.mean([oracle.average_precision_score(held.y == c, p[:, c]) for c in (0, 1)])
    assert score("average_precision", held) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["auc", "average_precision"])
@pytest.mark.parametrize("k", [2, 3])
def test_one_class_held_out_is_undefined(name, k):
    whole = labelled(k=k)
    assert np.isnan(score(name, take(whole, whole.y == 1)))
    gone = np.where(whole.y == 1, whole.weight, 0)
    assert np.isnan(score(name, changed(whole, weight=gone)))


def test_a_class_that_training_lacked_is_possible():
    """Its probability is 0, for the model and for the constant: clipped, not infinite."""
    held = HeldOut(
        y=[0, 0, 2],
        prediction=[0, 0, 1],
        baseline=[0.5, 0.5, 0.0],
        probabilities=[[0.9, 0.1, 0], [0.8, 0.2, 0], [0.1, 0.9, 0]],
        classes=["a", "b", "c"],
    )
    assert np.isfinite([score(name, held) for name in ("d2", "log_loss", "auc", "brier")]).all()


def test_d2_is_undefined_where_the_constant_is_right():
    tenths = HeldOut(y=[0.1] * 3, prediction=[0.1, 0.2, 0.1], baseline=np.mean([0.1] * 3))
    assert tenths.baseline != 0.1  # the mean of three 0.1s
    one_class = HeldOut(
        y=[0, 0],
        prediction=[0, 0],
        baseline=[1.0, 0.0],
        probabilities=[[0.9, 0.1]] * 2,
        classes=[0, 1],
    )
    single = changed(one_class, probabilities=np.float32(one_class.probabilities))
    for held in (tenths, one_class, single):
        assert np.isnan(score("d2", held))
        assert np.isnan(METRICS["d2"].overall([held]))
        assert np.isnan(METRICS["d2"].rows(held)).all()
    off = changed(one_class, baseline=[1 - 1e-6, 1e-6])
    assert score("d2", off) < -1000


@pytest.mark.parametrize("name", METRICS)
def test_no_rows_are_undefined(name):
    for held in (numbers(), labelled()):
        for empty in (take(held, []), changed(held, weight=np.zeros(60))):
            assert np.isnan(score(name, empty))
            assert np.isnan(METRICS[name].overall([empty]))


@pytest.mark.parametrize("name", METRICS)
def test_other_kinds_are_undefined_and_not_counted(name):
    parts = [numbers(), labelled(), take(numbers(), []), take(labelled(), [])]
    found = evaluate(parts, [name])[name]
    kinds = {"numbers": [0], "classes": [1], "both": [0, 1]}[METRICS[name].of]
    assert np.flatnonzero(~np.isnan(found.by_task.values)).tolist() == kinds
    assert found.undefined == len(kinds)
    assert found.overall == pytest.approx(found.by_task.mean)


@pytest.mark.parametrize("name", METRICS)
def test_without_probabilities(name):
    metric, held = METRICS[name], changed(labelled(), probabilities=None)
    if metric.of == "numbers":
        return
    assert np.isnan(metric.by_task(held)) == metric.needs_probabilities
    assert np.isnan(metric.overall([held, labelled()])) == metric.needs_probabilities


def test_a_failed_model_shows():
    held = numbers(weighted=False)
    gap, pole = held.prediction.copy(), held.prediction.copy()
    gap[3], pole[3] = NAN, np.inf
    for name in ("d2", *NUMBERS):
        assert np.isnan(score(name, changed(held, prediction=gap)))
    for name in ("d2", "r2", "r2_within"):
        assert score(name, changed(held, prediction=pole)) == -np.inf
        assert score(name, changed(held, prediction=held.prediction + 1e200)) == -np.inf
    classes = labelled(weighted=False)
    p = classes.probabilities.copy()
    p[3] = NAN
    for name in ("d2", "auc", "average_precision", "log_loss", "brier", "calibration"):
        assert np.isnan(score(name, changed(classes, probabilities=p)))
    assert np.isnan(score("majority", changed(classes, baseline=[NAN, NAN])))


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ({"y": [1.0, NAN]}, "y of HeldOut must be finite; got nan"),
        ({"y": ["a", "b"]}, "y of HeldOut must be numbers; got values of type <U1"),
        ({"prediction": [1.0]}, r"prediction of HeldOut must be of shape \(2,\)"),
        ({"baseline": [1.0, 2.0]}, r"baseline of HeldOut must be of shape \(\)"),
        ({"weight": [1.0, -1.0]}, "weight of HeldOut must be finite numbers >= 0; got -1.0"),
        ({"weight": [1.0, NAN]}, "weight of HeldOut must be finite"),
        ({"weight": [1.0]}, r"weight of HeldOut must be of shape \(2,\)"),
    ],
)
def test_bad_numbers_are_refused(new, message):
    with pytest.raises(DataError, match=message):
        HeldOut(**{"y": [1.0, 2.0], "prediction": [1.0, 2.0], "baseline": 0.0, **new})


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ({"y": [0, 2]}, "y of HeldOut must be codes of the 2 classes, 0 to 1; got 2"),
        ({"y": [0, -1]}, "got -1"),
        ({"y": [0.0, 0.5]}, "got 0.5"),
        ({"prediction": [0.0, NAN]}, "prediction of HeldOut must be codes .* got nan"),
        ({"prediction": ["a", "b"]}, "prediction of HeldOut must be numbers"),
        ({"baseline": 0.5}, r"baseline of HeldOut must be of shape \(2,\)"),
        ({"probabilities": [[0.5, 0.5]]}, r"probabilities of HeldOut must be of shape \(2, 2\)"),
    ],
)
def test_bad_codes_are_refused(new, message):
    given = {"y": [0, 1], "prediction": [0.0, 1.0], "baseline": [0.5, 0.5], "classes": ["a", "b"]}
    with pytest.raises(DataError, match=message):
        HeldOut(**{**given, **new})


def test_unknown_names_are_refused():
    with pytest.raises(ParameterError, match=r"names of evaluate .*Did you mean 'accuracy'"):
        evaluate([numbers()], ["acuracy"])
    assert evaluate([], ["d2"])["d2"].by_task.values == ()


def test_metrics_can_be_sent_to_workers():
    for name, metric in METRICS.items():
        assert pickle.loads(pickle.dumps(metric)) == metric
        assert metric.name == name


RARE = changed(labelled(weighted=False), y=np.arange(60) == 0)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([numbers()], "d2 r2_within rmse mae"),
        ([labelled()], "d2 accuracy majority auc log_loss calibration"),
        ([labelled(k=3)], "d2 accuracy majority auc log_loss calibration"),
        ([RARE], "d2 accuracy majority auc average_precision log_loss calibration"),
        ([RARE, labelled(k=3)], "d2 accuracy majority auc log_loss calibration"),
        (
            [numbers(), labelled()],
            "d2 r2_within rmse mae accuracy majority auc log_loss calibration",
        ),
    ],
)
def test_default_metrics(parts, expected):
    assert default_metrics(parts) == tuple(expected.split())


def test_rare_positives_are_counted_by_weight():
    heavy = changed(RARE, weight=np.where(RARE.y == 1, 100, 1))
    assert "average_precision" not in default_metrics([heavy])
    assert "average_precision" in default_metrics([heavy, *[RARE] * 20])
