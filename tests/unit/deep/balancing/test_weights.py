"""Weights against TorchJD, against SciPy on the published problem, and by hand."""

from __future__ import annotations

import importlib.util
import itertools
import json
import math

import numpy as np
import pytest
import scipy.optimize

torch = pytest.importorskip("torch")

from unit.deep.balancing import torchjd_values  # noqa: E402

from polytask.deep.balancing import (  # noqa: E402
    DWA,
    FAMO,
    IMTLG,
    IMTLL,
    MGDA,
    STCH,
    Aligned,
    CAGrad,
    Fixed,
    GeometricMean,
    GradNorm,
    Nash,
    RandomWeights,
    StatefulBalancer,
    Uncertainty,
    UPGrad,
)
from polytask.deep.balancing.cones import (  # noqa: E402
    Cosines,
    nonnegative_minimum,
    projected_in_order,
)
from polytask.exceptions import DataError, IncompatibleError, ParameterError  # noqa: E402

PROBLEMS = list(torchjd_values.PROBLEMS)
# TorchJD's CAGrad needs the other two.
LACKING = [
    name for name in ("torchjd", "cvxpy", "clarabel") if importlib.util.find_spec(name) is None
]
KEPT = json.loads(torchjd_values.FILE.read_text(encoding="utf-8"))


def weighed(balancer, gramian, losses=None, dtype=torch.float64):
    G = torch.tensor(np.asarray(gramian), dtype=dtype)
    values = np.ones(len(G)) if losses is None else losses
    balance = StatefulBalancer(balancer, len(G))
    return balance.weigh(torch.tensor(values, dtype=dtype), gramian=G).numpy()


def gramian(name):
    J = torchjd_values.gradients(name)
    return J @ J.T


def ours(name):
    """Weights on the scale of TorchJD, which takes the mean where polytask takes the sum."""
    G, k = gramian(name), len(gramian(name))
    lengths = np.sqrt(np.diagonal(G))
    cosines = Cosines(G / np.outer(lengths, lengths), lengths, np.finfo(float).eps)
    losses = [torch.tensor(torchjd_values.losses(name, step)) for step in range(5)]
    dwa = StatefulBalancer(DWA(torchjd_values.TEMPERATURE, period=2), k)
    famo = StatefulBalancer(FAMO(), k)
    for step in range(4):
        dwa.weigh(losses[step])
    for step in range(3):
        famo.weigh(losses[step])
        famo.observe(losses[step + 1])
    return {
        "MGDA": weighed(MGDA(), G) / k,
        "CAGrad": weighed(CAGrad(torchjd_values.C), G) / k,
        "IMTLG": weighed(IMTLG(), G) / k,
        "Aligned": weighed(Aligned(), G) / k,
        "PCGrad": projected_in_order(cosines, torchjd_values.order(name)),
        "GeometricMean": StatefulBalancer(GeometricMean(), k).weigh(losses[0]).numpy() / k,
        "STCH": StatefulBalancer(STCH(k * torchjd_values.MU), k).weigh(losses[0]).numpy() / k**2,
        "UW": StatefulBalancer(Uncertainty(squared_error=True), k).weigh(losses[0]).numpy(),
        "IMTLL": StatefulBalancer(IMTLL(), k).weigh(losses[0]).numpy(),
        "DWA": dwa.weigh(losses[4]).numpy(),
        "FAMO": famo.weigh(losses[3]).numpy() / k,
    }


# In TorchJD Frank and Wolfe's method stops early, the interior-point method at 1e-8 of the value,
# and FAMO adds 1e-8 to losses.
TOLERANCE = {"MGDA": 1e-3, "CAGrad": 1e-4, "FAMO": 1e-4}


@pytest.mark.parametrize("method", list(KEPT["two"]))
@pytest.mark.parametrize("name", PROBLEMS)
def test_weights_are_those_kept_from_torchjd(name, method):
    wanted = np.array(KEPT[name][method])
    error = np.abs(ours(name)[method] - wanted).max()
    assert error <= TOLERANCE.get(method, 1e-8) * np.abs(wanted).max()


@pytest.mark.slow
@pytest.mark.skipif(LACKING, reason=f"{', '.join(LACKING)} not installed")
@pytest.mark.parametrize("name", PROBLEMS)
def test_kept_weights_are_what_torchjd_gives(name):
    for method, values in torchjd_values.weights(name).items():
        np.testing.assert_allclose(values, KEPT[name][method], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", PROBLEMS)
def test_upgrad_is_the_projection_on_the_dual_cone(name):
    J = torchjd_values.gradients(name)
    wanted = sum(_projected(J, g) for g in J)
    np.testing.assert_allclose(weighed(UPGrad(), J @ J.T) @ J, wanted, rtol=1e-6, atol=1e-6)


def _projected(J, g):
    """Return the vector nearest to g with no negative product with a row of J (Moreau)."""
    against, _ = scipy.optimize.nnls(-J.T, g)
    return g + J.T @ against


@pytest.mark.parametrize("name", ["two", "three", "seven"])
def test_nash_solves_the_published_problem(name):
    G = gramian(name)

    def negative_product(logs):
        """Maximise the product of what tasks gain: over w, sum log w - w' G w / 2."""
        w = np.exp(logs)
        return w @ G @ w / 2 - logs.sum(), w * (G @ w) - 1

    start = -np.log(np.diagonal(G)) / 2
    found = scipy.optimize.minimize(
        negative_product, start, jac=True, method="BFGS", options={"gtol": 1e-10}
    )
    np.testing.assert_allclose(weighed(Nash(), G), np.exp(found.x), rtol=1e-6)


def test_mgda_is_certified_for_many_tasks():
    rng = np.random.default_rng(0)
    for k, m in [(30, 50), (30, 20), (300, 400)]:
        J = rng.normal(size=(k, m)) * np.geomspace(0.1, 10, k)[:, None] + 0.3
        G = J @ J.T
        w = weighed(MGDA(), G) / k
        gap = w @ G @ w - (G @ w).min()
        assert w.sum() == pytest.approx(1)
        assert gap <= 1e-9 * np.diagonal(G).max()


def test_mgda_of_two_tasks_by_hand():
    # The point of the segment from (2, 0) to (0, 1) nearest to 0 divides it 1 : 4.
    w = weighed(MGDA(), [[4.0, 0.0], [0.0, 1.0]])
    np.testing.assert_allclose(w, [0.4, 1.6], rtol=1e-9)


def test_opposite_gradients_cancel():
    G = [[1.0, -1.0], [-1.0, 1.0]]
    for balancer in (MGDA(), UPGrad()):
        w = weighed(balancer, G)
        assert w @ np.array(G) @ w <= 1e-8


def test_equal_orthogonal_gradients_are_left_alone():
    for balancer in (MGDA(), UPGrad(), IMTLG(), Aligned(), Nash(), CAGrad(0.0)):
        np.testing.assert_allclose(weighed(balancer, np.eye(4)), np.ones(4), rtol=1e-8)


def test_without_conflict_upgrad_is_the_sum():
    J = np.abs(torchjd_values.gradients("seven"))
    np.testing.assert_allclose(weighed(UPGrad(), J @ J.T), np.ones(7))


def test_upgrad_says_where_it_stops():
    with pytest.raises(IncompatibleError, match="max_tasks=3"):
        weighed(UPGrad(max_tasks=3), np.eye(4))


def test_cagrad_keeps_its_distance_and_serves_the_worst():
    for name in PROBLEMS:
        G = gramian(name)
        k, c = len(G), 0.4
        mean = np.full(k, 1 / k)
        w = weighed(CAGrad(c), G) / k
        radius = c * np.sqrt(mean @ G @ mean)
        assert np.sqrt((w - mean) @ G @ (w - mean)) == pytest.approx(radius, rel=1e-6)
        assert (G @ w).min() >= (G @ mean).min()


def test_single_precision_gives_nearly_the_same():
    G = gramian("many")
    for balancer in (MGDA(), UPGrad(), CAGrad(), Nash()):
        single = weighed(balancer, G, dtype=torch.float32)
        np.testing.assert_allclose(single, weighed(balancer, G), rtol=0.02, atol=0.02)


def test_large_gramians_of_single_precision_stay_in_it():
    rng = np.random.default_rng(2)
    J = rng.normal(size=(280, 600)) * np.geomspace(0.5, 5, 280)[:, None]
    G = J @ J.T
    for balancer in (MGDA(), CAGrad(), Nash(), IMTLG(), Aligned()):
        single = weighed(balancer, G, dtype=torch.float32)
        assert np.abs(single - weighed(balancer, G)).max() <= 0.02 * np.abs(single).max()


def test_imtlg_of_gradients_that_depend_on_each_other():
    J = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]])
    w = weighed(IMTLG(), J @ J.T)
    assert w.sum() == pytest.approx(3)
    np.testing.assert_allclose(w[0], w[1], rtol=1e-9)
    same = np.ones((2, 3))
    np.testing.assert_allclose(weighed(IMTLG(), same @ same.T), [1.0, 1.0])


@pytest.mark.parametrize("seed", range(5))
def test_the_quadratic_program_against_scipy(seed):
    rng = np.random.default_rng(seed)
    k, m = 12, 7
    root = rng.normal(size=(15, k))
    A, B = root.T @ root, rng.normal(size=(m, k))
    found = nonnegative_minimum(A, B)
    L = np.linalg.cholesky(A)
    for b, x in zip(B, found, strict=True):
        wanted, _ = scipy.optimize.nnls(L.T, np.linalg.solve(L, b))
        np.testing.assert_allclose(x, wanted, rtol=1e-7, atol=1e-9)


def test_gradnorm_follows_the_paper():
    # Two steps by hand: r = (loss / first loss) / mean; the sign of the distance moves w.
    balance = StatefulBalancer(GradNorm(alpha=1.0, learning_rate=0.1), 2)
    G = torch.diag(torch.tensor([4.0, 1.0], dtype=torch.float64))
    first = balance.weigh(torch.tensor([1.0, 10.0], dtype=torch.float64), gramian=G)
    assert first.tolist() == [1.0, 1.0]
    # Sizes 2 and 1, targets 1.5 for both (all rates 1): w moves to 0.9 and 1.1.
    second = balance.weigh(torch.tensor([0.5, 10.0], dtype=torch.float64), gramian=G)
    np.testing.assert_allclose(second, [0.9, 1.1], rtol=1e-6)
    # Rates 0.5 and 1 over their mean 0.75: the task that lags is pushed, the other is not.
    third = balance.weigh(torch.tensor([0.5, 10.0], dtype=torch.float64), gramian=G)
    assert third[0] < 0.9 < 1.1 < third[1]


def test_gradnorm_settles_where_the_sizes_meet_their_targets():
    balance = StatefulBalancer(GradNorm(alpha=0.0, learning_rate=0.01), 3)
    lengths = torch.tensor([3.0, 1.0, 0.5], dtype=torch.float64)
    losses = torch.ones(3, dtype=torch.float64)
    for _ in range(3000):
        w = balance.weigh(losses, gramian=torch.diag(lengths**2))
    sizes = w * lengths
    assert float(sizes.max() / sizes.min()) < 1.1


def test_uncertainty_settles_at_the_likeliest_variance():
    losses = torch.tensor([0.2, 4.0])
    for squared, at in ((False, 0.5), (True, 0.5)):
        balance = StatefulBalancer(Uncertainty(0.02, squared_error=squared), 2)
        for _ in range(2000):
            w = balance.weigh(losses)
        np.testing.assert_allclose(w * losses, at, rtol=0.02)


def test_imtll_brings_losses_to_one():
    losses = torch.tensor([0.2, 4.0])
    balance = StatefulBalancer(IMTLL(0.02), 2)
    for _ in range(2000):
        w = balance.weigh(losses)
    np.testing.assert_allclose(w * losses, 1.0, rtol=0.02)


def test_famo_without_observing_compares_with_the_next_batch():
    told, untold = StatefulBalancer(FAMO(), 2), StatefulBalancer(FAMO(), 2)
    losses = [torch.tensor(values) for values in ([1.0, 2.0], [0.5, 1.9], [0.3, 1.9])]
    for before, after in itertools.pairwise(losses):
        told.weigh(before)
        told.observe(after)
        untold.weigh(before)
    assert torch.equal(told.weigh(losses[-1]), untold.weigh(losses[-1]))
    # The second task falls more slowly, so it has gained weight beyond 1 / loss.
    w = told.weigh(losses[-1]) * losses[-1]
    assert w[1] > w[0]


def test_dwa_by_hand():
    balance = StatefulBalancer(DWA(temperature=1.0, period=1), 2)
    for losses in ([1.0, 1.0], [0.5, 1.0]):
        assert balance.weigh(torch.tensor(losses)).tolist() == [1.0, 1.0]
    wanted = 2 * torch.softmax(torch.tensor([0.5, 1.0]), 0)
    torch.testing.assert_close(balance.weigh(torch.tensor([9.0, 9.0])), wanted)


def test_relative_stch_counts_in_first_losses():
    balance = StatefulBalancer(STCH(0.5, relative=True), 2)
    balance.weigh(torch.tensor([1.0, 10.0]))
    w = balance.weigh(torch.tensor([1.0, 5.0]))
    shares = torch.softmax(torch.tensor([1.0, 0.5]) / 0.5, 0)
    torch.testing.assert_close(w, 2 * shares / torch.tensor([1.0, 10.0]))


def test_random_weights_have_the_stated_law():
    balance = StatefulBalancer(RandomWeights(3), 3)
    drawn = torch.stack([balance.weigh(torch.ones(3)) for _ in range(2000)])
    assert float((drawn.sum(1) - 3).abs().max()) < 1e-5
    np.testing.assert_allclose(drawn.mean(0), 1.0, atol=0.05)
    logs = drawn[:, 0].log() - drawn[:, 1].log()
    assert float(logs.std()) == pytest.approx(math.sqrt(2), rel=0.05)


def test_bad_parameters_are_refused():
    with pytest.raises(ParameterError, match="weights of Fixed"):
        Fixed([1.0, -1.0])
    with pytest.raises(ParameterError, match="as many as there are tasks, 3"):
        StatefulBalancer(Fixed([1.0, 1.0]), 3).weigh(torch.ones(3))
    with pytest.raises(ParameterError, match="squared_error of Uncertainty"):
        StatefulBalancer(Uncertainty(squared_error=[True]), 3).weigh(torch.ones(3))
    for make in (lambda: STCH(0.0), lambda: DWA(period=0), lambda: CAGrad(-1.0)):
        with pytest.raises(ParameterError):
            make()


def test_negative_losses_are_refused_with_their_place():
    for balancer in (GeometricMean(), IMTLL(), Uncertainty(), DWA(), FAMO()):
        with pytest.raises(DataError, match="finite numbers >= 0; got -"):
            StatefulBalancer(balancer, 2).weigh(torch.tensor([1.0, -2.0]))
