"""What a new domain falls back to, how sure it is then, and candidates that cannot be tried."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from polytask import (
    BayesianMultiTaskClassifier,
    BayesianMultiTaskRegressor,
    DataError,
    MultiTaskClassifier,
    adapt,
    load,
    save,
)
from polytask.linear.adapted_coefficients import AdaptedCoefficients, line_given
from polytask.losses import Logistic, Squared
from polytask.penalties import toward_mean
from polytask.transfer._candidates import alone
from polytask.transfer._learned import deviation_of
from polytask.transfer._learned_prior import width_of
from polytask.transfer._pulled import (
    WIDER,
    Line,
    QuadraticPull,
    TaskRows,
    learn,
    level_factor,
    log_evidence,
)

D = 3
MEAN = np.array([1.0, -2.0, 0.5])


def rows(seed, n, w=MEAN, level=0.0, noise=1.0, n_tasks=1):
    """Tasks whose coefficients differ a little."""
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(n_tasks), n)
    X = rng.standard_normal((len(task), D))
    W = w + 0.1 * rng.standard_normal((n_tasks, D))
    own = level + 0.3 * rng.standard_normal(n_tasks)
    y = np.sum(X * W[task], axis=1) + own[task] + noise * rng.standard_normal(len(task))
    return X, y, task


OLD = rows(0, 25, n_tasks=12)


@pytest.fixture(scope="module")
def numbers():
    return BayesianMultiTaskRegressor().fit(*OLD[:2], task=OLD[2])


@pytest.fixture(scope="module")
def classes():
    return BayesianMultiTaskClassifier().fit(OLD[0], OLD[1] > 0, task=OLD[2])


def fell_back(numbers, n=30):
    X, y, _ = rows(3, n, -3 * MEAN, level=30.0, noise=4.0)
    return adapt(numbers, X, y, task="far", domain="new")


def test_intervals_of_a_fallback_cover_what_the_prior_would_not(numbers):
    found = fell_back(numbers)
    assert found.adaptation_.chosen == "target"
    X, y, _ = rows(3, 3000, -3 * MEAN, level=30.0, noise=4.0)
    y = y - y.mean() + found.predict(X, task=np.full(len(y), "far")).mean()
    lower, upper = found.predict_interval(X, task=np.full(len(y), "far"))
    assert 0.85 < np.mean((lower <= y) & (y <= upper)) < 0.97
    # The posterior of the learned prior promises what the old tasks had: noise of 1.
    assert np.all(found._tasks.deviation(X[:5], 12) < 3.0)
    _, deviation = found.predict(X[:5], task=["far"] * 5, return_std=True)
    np.testing.assert_allclose(deviation, found._given_lines[0].deviation)


def test_known_tasks_are_predicted_and_as_sure_as_before(numbers):
    found = fell_back(numbers)
    for before, after in zip(
        numbers.predict(OLD[0], task=OLD[2], return_std=True),
        found.predict(OLD[0], task=OLD[2], return_std=True),
        strict=True,
    ):
        np.testing.assert_allclose(after, before)


def test_many_new_tasks_leave_known_ones_as_they_are(numbers):
    X, y, task = rows(21, 5, level=4.0, n_tasks=25)
    found = adapt(numbers, X, y, task=task + 100, domain="new")
    assert found.adaptation_.chosen == "adapted"
    np.testing.assert_array_equal(found.coef_[:12], numbers.coef_)
    np.testing.assert_array_equal(
        found.predict(OLD[0], task=OLD[2]), numbers.predict(OLD[0], task=OLD[2])
    )


def test_further_rows_bring_back_the_posterior(numbers):
    found = fell_back(numbers)
    X, y, _ = rows(9, 8)
    more = copy.copy(found).partial_fit(X, y, task=["far"] * 8)
    _, deviation = more.predict(X, task=["far"] * 8, return_std=True)
    np.testing.assert_allclose(deviation, more._tasks.deviation(X, 12))
    other = copy.copy(found).partial_fit(X, y, task=[0] * 8)
    assert other._given_lines == found._given_lines
    # Older rows that count less are no further rows of the task.
    less = copy.copy(found).partial_fit(X, y, task=[0] * 8, forget=0.5)
    assert less._given_lines == found._given_lines
    np.testing.assert_allclose(less.coef_[12], found.coef_[12])


def test_a_fallback_survives_saving(numbers, tmp_path):
    found = fell_back(numbers)
    save(found, tmp_path / "model.polytask")
    again = load(tmp_path / "model.polytask")
    X = rows(4, 5)[0]
    for one, other in zip(
        again.predict(X, task=["far"] * 5, return_std=True),
        found.predict(X, task=["far"] * 5, return_std=True),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_few_rows_left_out_promise_less():
    losses, weight = 0.5 * np.array([1.0, 1.0, 1.0, 1.0, np.nan]), np.ones(5)
    assert deviation_of(losses, weight) == pytest.approx(np.sqrt(4.0 / 2.0))
    many = deviation_of(np.full(4000, 0.5), np.ones(4000))
    assert many == pytest.approx(1.0, abs=1e-3)
    # One row that counts for all is no more than one row: the largest factor.
    lone = deviation_of(np.full(3, 0.5), np.array([1e9, 1.0, 1.0]))
    assert lone == pytest.approx(np.sqrt(3.0))


@pytest.mark.parametrize("unseen", [True, False])
def test_classes_of_a_fallback_are_as_sure_as_what_was_scored(classes, unseen):
    X = rows(5, 40)[0]
    more = adapt(classes, X[:6], rows(5, 40)[1][:6] > 0, task="far")
    tasks = more._tasks
    given = AdaptedCoefficients(12, None, unseen)
    held = type(tasks)(
        tasks.linear, tasks.posteriors, tasks.mean, tasks.scale, tasks.present, (given,)
    )
    eta = X @ tasks.linear.coef[12] + tasks.linear.intercept[12]
    if unseen:
        variance = tasks.posteriors[0].variance(tasks.scaled(X, 12), -1)
        eta = eta / np.sqrt(1.0 + np.pi / 8.0 * variance)
    np.testing.assert_allclose(held.eta(X, 12)[:, 0], eta)
    assert not np.allclose(tasks.eta(X, 12)[:, 0], eta)
    assert line_given(held.given, 3) is None


def test_rows_of_one_class_alone_have_smoothed_odds():
    X = rows(6, 5)[0]
    one = TaskRows(X, np.ones(5), np.ones(5), Logistic())
    found = alone(one, Line(np.zeros((1, D)), np.zeros(1)), np.ones(D)).line
    assert found.intercept[0] == pytest.approx(np.log(5.5 / 0.5))
    np.testing.assert_array_equal(found.coef, 0.0)


def test_rows_that_separate_the_classes_are_not_certain():
    X = rows(6, 20)[0]
    one = TaskRows(X, (X[:, 0] > 0).astype(float), np.ones(20), Logistic())
    found = alone(one, Line(np.zeros((1, D)), np.zeros(1)), np.ones(D)).line
    assert 0.5 < found.coef[0, 0] < 4.0


def test_a_level_far_off_is_let_go_and_one_nearby_is_held():
    X, y, task = rows(1, 40, n_tasks=30)
    model = BayesianMultiTaskRegressor("none").fit(X, y, task=task)
    assert np.sqrt(model.prior_.covariance[0, 0]) < 0.5
    far, target, _ = rows(2, 6, level=3.0)
    near = TaskRows(far, target - 3.0, np.ones(6), Squared())
    assert width_of(model, [TaskRows(far, target, np.ones(6), Squared())])[1] > 10.0
    assert width_of(model, [near])[1] < 3.0
    assert width_of(model, []) == (1.0, 1.0)
    held, free = (adapt(model, far, target, task="far", domain=d) for d in (None, "new"))
    truth = rows(2, 400, level=3.0)
    errors = [
        np.mean((m.predict(truth[0], task=["far"] * 400) - truth[1]) ** 2) for m in (held, free)
    ]
    assert errors[1] < 0.8 * errors[0]


def test_without_evidence_the_factor_is_that_of_the_prior():
    """Flat evidence leaves the mixture as it is, whatever its level."""
    assert level_factor(lambda factor: 7.0) == pytest.approx(level_factor(lambda factor: 0.0))
    assert level_factor(lambda factor: -100.0 * abs(np.log(factor))) == pytest.approx(1.0)
    assert level_factor(lambda factor: 50.0 * np.log(factor)) > 900.0


@pytest.mark.slow
@pytest.mark.parametrize(
    "make", [BayesianMultiTaskClassifier, lambda: MultiTaskClassifier(toward_mean(0.1))]
)
@pytest.mark.parametrize("count", [0, 1])
def test_a_shift_with_new_rows_of_one_class(make, count):
    X, y, task = OLD
    model = make().fit(X, y > 0, task=task)
    far = rows(8, 12)[0] + 1.0
    target = np.arange(12) >= count
    found = adapt(model, far, target, task="far", domain="shift", source=(X, y > 0, task))
    report = found.adaptation_
    assert set(report.scores) == {"adapted", "source", "pooled"}
    assert set(report.untried) == {"target"}
    assert "two classes" in report.untried["target"]
    assert "because these rows do not allow it: a model of the new rows alone." in report.summary()
    assert "仅用新数据" in report.summary("zh")
    assert found.predict(far, task=["far"] * 12).mean() > 0.5


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        (1e13, "weight 2 is the row twice"),
        (1e49, "weight 2 is the row twice"),
        (1e100, "must be zero, or numbers from 1e-50 to 1e50"),
        (1e305, "must be zero, or numbers from 1e-50 to 1e50"),
    ],
)
@pytest.mark.parametrize("kind", ["all", "one"])
def test_huge_weights_are_refused_in_a_sentence(numbers, classes, weight, words, kind):
    X, y, task = OLD
    given = np.ones(len(y))
    given[slice(None) if kind == "all" else slice(5, 6)] = weight
    n = 20
    own = given[:n]
    for model, target in ((numbers, y), (classes, y > 0)):
        tries = (
            lambda m=model, t=target: type(m)().fit(X, t, task=task, sample_weight=given),
            lambda m=model, t=target: type(m)(prior=m).fit(X, t, task=task, sample_weight=given),
            lambda m=model, t=target: copy.copy(m).partial_fit(
                X[:n], t[:n], task=["far"] * n, sample_weight=own
            ),
            lambda m=model, t=target: adapt(m, X[:n], t[:n], task="far", sample_weight=own),
            lambda m=model, t=target: adapt(
                m, X[:n], t[:n], task="far", sample_weight=own, domain="new"
            ),
        )
        for attempt in tries:
            with pytest.raises(DataError, match=words):
                attempt()


@pytest.mark.parametrize("weight", [1e6, 1e8, 1e10, 1e12])
@pytest.mark.parametrize("kind", [BayesianMultiTaskRegressor, BayesianMultiTaskClassifier])
@pytest.mark.filterwarnings("ignore::polytask.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_large_weights_give_an_answer_or_a_sentence(kind, weight):
    X, y, task = OLD
    target = y if kind is BayesianMultiTaskRegressor else y > 0
    for chosen in (slice(None), slice(5, 6), slice(None, None, 16)):
        given = np.ones(len(y))
        given[chosen] = weight
        error = fit_error(kind("scalar"), (X, target, task), given)
        assert error is None or "weight 2 is the row twice" in error


def fit_error(model, data, weight):
    """Return what a fit is refused with, None for a finite answer; any other error is raised."""
    X, y, task = data
    try:
        model.fit(X, y, task=task, sample_weight=weight)
    except DataError as error:
        return str(error)
    return None if np.isfinite(model.coef_).all() else "not finite"


def test_one_class_does_not_loosen_the_pull():
    X = rows(6, 8)[0]
    one = TaskRows(X, np.ones(8), np.ones(8), Logistic())
    start, held = Line(np.zeros((1, D)), np.zeros(1)), QuadraticPull(np.zeros(D), np.ones(D), 4.0)
    assert learn(one, start, held, WIDER).strength == 1.0
    assert not TaskRows(X, np.ones(8), np.ones(8), Squared()).of_one_class


@pytest.mark.parametrize("classes", [False, True])
def test_the_evidence_of_a_pull_is_that_of_the_normal_prior(classes):
    """Numbers: the density of all targets at the best noise. Classes: by quadrature."""
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((7, 1)), rng.standard_normal(7)
    loss = Logistic() if classes else Squared()
    held = [QuadraticPull(np.zeros(1), np.full(1, np.inf), level) for level in (0.5, 5.0)]
    start = Line(np.zeros((1, 1)), np.zeros(1))
    target = (y > 0).astype(float) if classes else y + 1.0
    given = TaskRows(X, target, np.ones(7), loss)
    found = [log_evidence(given, start, pull) for pull in held]
    if classes:
        grid = np.linspace(-30, 30, 20001)
        ill = target.sum()
        logs = ill * grid - 7 * np.logaddexp(0.0, grid)
        exact = [np.log(np.sum(np.exp(logs - 0.5 * k * grid**2)) * np.sqrt(k)) for k in (0.5, 5.0)]
        assert found[1] - found[0] == pytest.approx(exact[1] - exact[0], abs=0.05)
        return
    exact = []
    for k in (0.5, 5.0):
        covariance = np.eye(7) + 1.0 / k
        square = target @ np.linalg.solve(covariance, target)
        normal = multivariate_normal(np.zeros(7), covariance * square / 7)
        exact.append(normal.logpdf(target))
    assert found[1] - found[0] == pytest.approx(exact[1] - exact[0], abs=1e-9)
