"""Every penalty with its defaults finds the signal of an ordinary problem."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from polytask import MultiTaskClassifier, MultiTaskRegressor, penalties
from polytask.penalties import L1, L21, LatentTasks, Penalty

CHAIN = {(0, 1): 1.0, (1, 2): 1.0, (2, 3): 1.0}
# What has no default because only the data can say it.
NEEDED = {
    "TreeGroup": {"groups": ((0, 1), (2, 3))},
    "GroupNorm": {"groups": ((0, 1, 2, 3, 4), (5, 6, 7, 8, 9))},
    "coupling": {"alpha": 1.0, "matrix": 1.1 * np.eye(4) - 0.1},
    "along_graph": {"alpha": 1.0, "adjacency": CHAIN},
    "NetworkLasso": {"alpha": 0.1, "adjacency": CHAIN},
    "Parts": {"members": [L21(), L1()]},
    "weighted": {"penalty": L21(), "feature_weights": np.ones(10)},
    "bounded": {"penalty": L21()},
    "positive": {"penalty": L21()},
    "reweighted": {"penalty": L21()},
}


def written():
    """Return what is exported and makes penalties, by name."""
    found = {}
    for name in penalties.__all__:
        made = getattr(penalties, name)
        makes = inspect.isfunction(made) and name not in {"parse", "decompose"}
        leaf = inspect.isclass(made) and issubclass(made, Penalty) and not inspect.isabstract(made)
        # Classes that functions of other names make, and sums, which are written with +.
        if makes or (leaf and name not in {"AlongGraph", "Coupling", "Shifted", "Sum"}):
            found[name] = made
    return found


def problem(unit):
    rng = np.random.default_rng(0)
    W = np.zeros((10, 4))
    W[:4] = 1.0 + 0.5 * rng.standard_normal((4, 1)) + 0.3 * rng.standard_normal((4, 4))
    X = rng.standard_normal((100, 10))
    return X, unit * (X @ W + 0.5 * rng.standard_normal((100, 4)))


@pytest.mark.parametrize("unit", [1e-3, 1.0])
@pytest.mark.parametrize("name", sorted(written()))
def test_the_default_finds_the_signal(name, unit):
    X, Y = problem(unit)
    model = MultiTaskRegressor(written()[name](**NEEDED.get(name, {}))).fit(X, Y)
    assert model.coef_.any()
    assert model.score(X, Y) > 0.5


@pytest.mark.parametrize("name", sorted(written()))
def test_the_default_finds_the_signal_in_classes(name):
    X, Y = problem(1.0)
    model = MultiTaskClassifier(written()[name](**NEEDED.get(name, {}))).fit(X, Y > 0)
    assert model.coef_.any()
    assert model.score(X, Y > 0) > 0.65


@pytest.mark.parametrize("unit", [1e-3, 1e3])
def test_latent_tasks_by_default_do_not_depend_on_the_units_of_targets(unit):
    X, Y = problem(1.0)
    model, other = (MultiTaskRegressor(LatentTasks()).fit(X, u * Y) for u in (1.0, unit))
    np.testing.assert_allclose(other.coef_ / unit, model.coef_, rtol=1e-3, atol=1e-4)


def test_a_fraction_of_latent_tasks_is_one_of_a_scale_of_the_gradient():
    gradient = np.array([[3.0, 0.0], [-4.0, 1.0]])
    assert LatentTasks().resolved(gradient).alpha == pytest.approx(0.1 * 2.5 ** (4 / 3))
    half = LatentTasks(fraction=0.5)
    assert half.resolved(gradient).alpha == pytest.approx(0.5 * 2.5 ** (4 / 3))
    assert not isinstance(half, penalties.NullStrength)


def test_every_default_is_tried():
    lacking = [name for name in NEEDED if name not in written()]
    assert not lacking
    assert set(penalties.PENALTIES) <= set(written())
