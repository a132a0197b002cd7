"""What penalties say of parameters that do not fit, and of those without effect."""

from __future__ import annotations

import numpy as np
import pytest

from polytask import MultiTaskRegressor
from polytask.exceptions import DataWarning, ParameterError
from polytask.penalties import L2, LatentTasks, NetworkLasso, along_graph, parse

TASK = np.repeat([0, 1, 2], 10)
X = np.random.default_rng(0).standard_normal((30, 4))
Y = X[:, 0] + 0.1 * np.random.default_rng(1).standard_normal(30)


@pytest.mark.parametrize("make", [NetworkLasso, along_graph])
@pytest.mark.parametrize(
    "adjacency",
    [-np.ones((3, 3)), np.triu(np.ones((3, 3))), {("a",): 1.0}, {("a", "b"): "much"}, "graph"],
    ids=["negative", "one way", "no pair", "no number", "text"],
)
def test_a_graph_is_that_of_the_penalty_that_takes_it(make, adjacency):
    with pytest.raises(ParameterError, match=f"adjacency of {make.__name__} must be"):
        make(0.1, adjacency)


@pytest.mark.parametrize("make", [NetworkLasso, along_graph])
def test_a_graph_that_does_not_fit_the_tasks(make):
    for adjacency in (np.ones((4, 4)), {("north", "south"): 1.0}):
        with pytest.raises(ParameterError, match=f"adjacency of {make.__name__} must be"):
            MultiTaskRegressor(make(0.1, adjacency) + L2(0.1)).fit(X, Y, TASK)


@pytest.mark.parametrize("make", [NetworkLasso, along_graph])
def test_a_graph_without_edges_has_no_effect(make):
    model = MultiTaskRegressor(make(0.1, np.eye(3)) + L2(0.1), tol=1e-10)
    with pytest.warns(DataWarning, match=f"adjacency of {make.__name__} joins no two tasks"):
        model.fit(X, Y, TASK)
    alone = MultiTaskRegressor(L2(0.1), tol=1e-10).fit(X, Y, TASK)
    np.testing.assert_allclose(model.coef_, alone.coef_, atol=1e-4)


def test_more_latent_tasks_than_columns_have_no_effect():
    with pytest.warns(DataWarning, match="more latent tasks than the 3 columns"):
        MultiTaskRegressor(LatentTasks(0.1, n_latent=4)).fit(X, Y, TASK)
    MultiTaskRegressor(LatentTasks(0.1, n_latent=3)).fit(X, Y, TASK)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("L1(1,2,3)", "has 3 values without a name, of 1 that it can have; it takes alpha and"),
        ("NetworkLasso(.1)", "lacks adjacency; it takes alpha and adjacency"),
        ("Clustered(fraction=.1)", "has no parameter 'fraction'; it takes alpha, ratio and"),
        ("coupling()", "lacks alpha and matrix; it takes alpha, matrix and tasks"),
        ("toward_mean(1, alpha=2)", "has alpha twice"),
        ("L1(alpha=1, alpha=2)", "has alpha twice"),
        ("L1(columns=3)", "has no parameter 'columns'"),
        ("Parts(1)", "takes members, each of its own kind"),
    ],
)
def test_text_with_parameters_that_do_not_fit(text, said):
    with pytest.raises(ParameterError) as refused:
        parse(text)
    assert said in str(refused.value)
    assert "__init__" not in str(refused.value)
    assert "positional" not in str(refused.value)
