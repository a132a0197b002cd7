"""Penalties along a graph and along time: labels, classes, reductions, refusals."""

from __future__ import annotations

import datetime
import tracemalloc

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from polytask import MultiTaskRegressor
from polytask.exceptions import DataWarning, ParameterError
from polytask.penalties import Columns, along_graph, along_time, coupling, toward_mean

RNG = np.random.default_rng(0)
W = RNG.normal(size=(5, 6))
COLUMNS = Columns(tuple("aabbcc"), ("x", "y", "x", "z", "y", "x"))
WEIGHTS = np.array([[0.0, 2.0, 0.5], [2.0, 0.0, 0.0], [0.5, 0.0, 0.0]])
SEEDS = st.integers(0, 2**32 - 1)


def edges(W, pairs):
    """The sum over pairs of columns (s, t, weight)."""
    return sum(0.5 * a * ((W[:, s] - W[:, t]) ** 2).sum() for s, t, a in pairs)


def chain(n):
    return np.diag(np.ones(n - 1), 1) + np.diag(np.ones(n - 1), -1)


def assert_same(first, second, W):
    assert first.value(W) == pytest.approx(second.value(W))
    np.testing.assert_allclose(first.gradient(W), second.gradient(W), atol=1e-12)
    np.testing.assert_allclose(first.apply(W), second.apply(W), atol=1e-12)
    n = W.shape[1]
    np.testing.assert_allclose(first.diagonal(n), second.diagonal(n), atol=1e-12)
    assert first.curvature() == pytest.approx(second.curvature())


# ------------------------------------------------------------------ reductions


@pytest.mark.parametrize("n", [1, 2, 6])
def test_a_complete_graph_pulls_toward_the_mean(n):
    complete = along_graph(0.7 / n, np.ones((n, n)))
    mean = toward_mean(0.7)
    columns = Columns.plain(n)
    assert_same(complete.bind(columns), mean.bind(columns), W[:, :n])


@given(SEEDS)
def test_a_graph_is_the_coupling_of_its_laplacian(seed):
    rng = np.random.default_rng(seed)
    A = np.triu(rng.random((6, 6)) * (rng.random((6, 6)) < 0.5), 1)
    A = A + A.T
    laplacian = np.diag(A.sum(axis=1)) - A
    assert_same(along_graph(0.7, A), coupling(0.7, laplacian), W)
    pairs = [(s, t, A[s, t]) for s in range(6) for t in range(s)]
    assert along_graph(0.7, A).value(W) == pytest.approx(0.7 * edges(W, pairs))


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_time_is_a_graph_without_branches(n):
    columns = Columns.plain(n)
    assert_same(along_time(0.7).bind(columns), along_graph(0.7, chain(n)).bind(columns), W[:, :n])


def test_time_while_unbound_follows_the_columns():
    assert along_time(0.7).value(W) == pytest.approx(along_graph(0.7, chain(6)).value(W))
    np.testing.assert_allclose(along_time(2.0).gradient(W), 2 * along_graph(1, chain(6)).apply(W))
    assert along_time(0.7).curvature() == 4 * 0.7


# ------------------------------------------------------------------ classes


def test_an_edge_joins_the_classes_that_both_tasks_have():
    bound = along_graph(0.6, WEIGHTS).bind(COLUMNS)
    # x: a, b, c in the columns 0, 2, 5; y: a, c in 1, 4; z: b alone.
    pairs = [(0, 2, 2.0), (0, 5, 0.5), (1, 4, 0.5)]
    assert bound.value(W) == pytest.approx(0.6 * edges(W, pairs))
    assert (bound.gradient(W)[:, 3] == 0).all()


def test_time_follows_each_class_through_the_tasks_that_have_it():
    bound = along_time(0.6, "bac").bind(COLUMNS)
    pairs = [(2, 0, 1.0), (0, 5, 1.0), (1, 4, 1.0)]
    assert bound.value(W) == pytest.approx(0.6 * edges(W, pairs))
    step = 1e-6 * RNG.normal(size=W.shape)
    slope = (bound.value(W + step) - bound.value(W - step)) / 2
    assert np.sum(bound.gradient(W) * step) == pytest.approx(slope)
    np.testing.assert_allclose(bound.diagonal(6), 0.6 * np.array([2, 1, 1, 0, 1, 1]))


def test_no_class_in_common_is_nothing():
    alone = Columns(("a", "b"), ("x", "y"))
    for penalty in (along_time(2.0, "ab"), along_graph(2.0, {("a", "b"): 1.0})):
        assert penalty.bind(alone).value(W[:, :2]) == 0
        assert penalty.bind(alone).curvature() == 0


def test_no_columns():
    nobody = Columns((), ())
    for penalty in (along_time().bind(nobody), along_graph(1.0, np.zeros((0, 0))).bind(nobody)):
        assert penalty.value(np.zeros((3, 0))) == 0
        assert penalty.gradient(np.zeros((3, 0))).shape == (3, 0)
        assert penalty.diagonal(0).shape == (0,)
        assert penalty.curvature() == 0


def test_a_wrong_number_of_columns_is_refused():
    for bound in (along_time(1, "abc").bind(COLUMNS), along_graph(1, WEIGHTS).bind(COLUMNS)):
        for operate in (bound.value, bound.gradient):
            with pytest.raises(ParameterError, match=r"W of .* 6 columns; got .*shape \(5, 4\)"):
                operate(W[:, :4])


# ------------------------------------------------------------------ order


def test_numbers_and_dates_ascend():
    days = [datetime.date(2024, 1, day) for day in (3, 1, 2)]
    moments = [pd.Timestamp(day) for day in days]
    for labels in ((3, 1.5, 2), days, moments, [np.datetime64(day) for day in days]):
        bound = along_time(1.0).bind(Columns(tuple(labels), (None,) * 3))
        assert bound.value(W[:, :3]) == pytest.approx(edges(W, [(1, 2, 1.0), (2, 0, 1.0)]))


@pytest.mark.parametrize("labels", [("May", "June"), (1, "2"), (1, datetime.date(2024, 1, 1))])
def test_other_labels_need_an_order(labels):
    columns = Columns(labels, (None, None))
    with pytest.raises(ParameterError, match="order of along_time must be given where"):
        along_time(1.0).bind(columns)
    assert along_time(1.0, labels[::-1]).bind(columns).curvature() == pytest.approx(2.0)


def test_an_order_may_name_more_tasks():
    some = along_time(1.0, [5, 4, 3, 2, 1]).bind(Columns((2, 5, 4), (None,) * 3))
    assert some.value(W[:, :3]) == pytest.approx(edges(W, [(1, 2, 1.0), (2, 0, 1.0)]))


def test_orders_that_are_refused():
    with pytest.raises(ParameterError, match="got two 'a'"):
        along_time(1.0, ["a", "b", "a"])
    with pytest.raises(ParameterError, match=r"order of along_time must be a sequence .* got 3"):
        along_time(1.0, 3)
    with pytest.raises(ParameterError, match=r"got none for 1\. Did you mean '1'"):
        along_time(1.0, ["1", "2"]).bind(Columns((1, 2), (None, None)))
    with pytest.raises(ParameterError, match="order of along_time"):
        along_time(1.0).replace("order", ["a", "a"])


def test_many_points_in_time_form_no_matrix_between_tasks():
    bound = along_time().bind(Columns.plain(10_000))
    many = np.ones((3, 10_000))
    tracemalloc.start()
    bound.gradient(many)
    bound.value(many)
    bound.diagonal(10_000)
    bound.curvature()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


# ------------------------------------------------------------------ graphs


def frame(labels="abc", rows="abc"):
    return pd.DataFrame(WEIGHTS, index=list(rows), columns=list(labels))


def test_every_way_to_write_a_graph_is_the_same():
    wanted = along_graph(0.6, WEIGHTS).bind(COLUMNS)
    shuffled = frame().loc[list("bca"), list("cab")]
    wider = pd.DataFrame(np.pad(WEIGHTS, (0, 1)), index=list("abcd"), columns=list("abcd"))
    with_diagonal = frame() - 7.0 * np.eye(3)
    for adjacency in (
        sp.csr_array(WEIGHTS),
        WEIGHTS.tolist(),
        frame(),
        shuffled,
        wider,
        with_diagonal,
        pl.DataFrame(WEIGHTS, schema=list("abc")),
        {("a", "b"): 2.0, ("c", "a"): 0.5},
        {("a", "b"): 2, ("b", "a"): 2, ("a", "c"): 0.5, ("a", "a"): 3.0},
    ):
        assert_same(along_graph(0.6, adjacency).bind(COLUMNS), wanted, W)


def test_tasks_that_are_in_no_pair_have_no_neighbours():
    lonely = along_graph(0.6, {("a", "b"): 2.0}).bind(COLUMNS)
    assert (lonely.gradient(W)[:, 4:] == 0).all()
    with pytest.warns(DataWarning, match="joins no two tasks"):
        assert along_graph(0.6, {}).bind(COLUMNS).value(W) == 0


@pytest.mark.parametrize(
    ("adjacency", "got"),
    [
        (np.ones((2, 3)), r"a symmetric matrix.* got shape \(2, 3\)"),
        (np.ones(3), r"a symmetric matrix.* got shape \(3,\)"),
        (np.array([[0.0, 2.0], [1.0, 0.0]]), "got 2 from 0 to 1 and 1 from 1 back"),
        (np.array([[0.0, -2.0], [-2.0, 0.0]]), "got -2 between 0 and 1"),
        (np.array([[0.0, np.nan], [np.nan, 0.0]]), "NaN"),
        ("graph", "got str"),
        ({("a", "b"): 1.0, ("b", "a"): 2.0}, "got 1 from 'a' to 'b' and 2 from 'b' back"),
        ({("a", "b"): -1.0}, "got -1 between 'a' and 'b'"),
        ({("a", "b"): "near"}, r"a mapping of pairs.* got 'near' for \('a', 'b'\)"),
        ({"ab": 1.0}, "a mapping of pairs.* got the key 'ab'"),
        ({("a", "b", "c"): 1.0}, "a mapping of pairs"),
        (frame().iloc[:2], "got 2 rows and 3 columns"),
        (frame(rows="abd"), "a data frame whose rows and columns .* got the row 'd'"),
        (frame(rows="aab"), "got two 'a'"),
        (frame(labels="aab", rows="aab"), "got two 'a'"),
    ],
)
def test_graphs_that_are_refused(adjacency, got):
    with pytest.raises(ParameterError, match=f"adjacency of along_graph must be.*{got}"):
        along_graph(1.0, adjacency)
    with pytest.raises(ParameterError, match=f"adjacency of along_graph must be.*{got}"):
        along_graph(1.0, WEIGHTS).replace("adjacency", adjacency)


@pytest.mark.parametrize(
    ("adjacency", "got"),
    [
        (
            np.ones((2, 2)),
            r"of shape \(3, 3\), a row for each task; got .*shape \(2, 2\)",
        ),
        (frame(labels="abd", rows="abd"), "given for every task; got none for 'c'"),
        ({("a", "bb"): 1.0}, r"about tasks of the model; got 'bb'\. Did you mean 'b'"),
    ],
)
def test_graphs_that_do_not_fit_the_tasks(adjacency, got):
    with pytest.raises(ParameterError, match=f"adjacency of along_graph must be {got}"):
        along_graph(1.0, adjacency).bind(COLUMNS)


def test_the_graph_is_kept_safe_and_compared():
    weights = WEIGHTS.copy()
    kept = along_graph(1.0, weights)
    weights[:] = 0
    assert kept == along_graph(1.0, WEIGHTS)
    assert kept != along_graph(1.0, 2 * WEIGHTS)
    assert kept != along_graph(1.0, frame())
    assert kept.get_params()["adjacency"] != "graph"
    assert hash(kept.adjacency) == hash(along_graph(2.0, WEIGHTS).adjacency)
    assert repr(kept) == "along_graph(alpha=1.0, adjacency=<graph of 3 tasks, 2 edges>)"


# ------------------------------------------------------------------ in a model


def test_strong_penalties_make_neighbours_equal():
    X = RNG.normal(size=(60, 3))
    Y = X @ RNG.normal(size=(3, 4)) + 0.1 * RNG.normal(size=(60, 4))
    time = MultiTaskRegressor(along_time(1e6)).fit(X, Y).coef_
    np.testing.assert_allclose(time, np.tile(time.mean(axis=0), (4, 1)), atol=1e-4)
    pair = MultiTaskRegressor(along_graph(1e6, {(0, 3): 1.0})).fit(X, Y).coef_
    np.testing.assert_allclose(pair[0], pair[3], atol=1e-4)
    free = MultiTaskRegressor(along_time(0.0)).fit(X, Y).coef_
    np.testing.assert_allclose(pair[1:3], free[1:3], atol=1e-3)


def test_names_reach_the_penalty():
    X = pd.DataFrame(RNG.normal(size=(60, 2)), columns=["u", "v"])
    X["month"] = np.tile(["Jan", "Feb", "Mar"], 20)
    y = RNG.normal(size=60)
    with pytest.raises(ParameterError, match="order of along_time"):
        MultiTaskRegressor(along_time(1.0), task_column="month").fit(X, y)
    ordered = along_time(1e5, ["Jan", "Feb", "Mar"])
    model = MultiTaskRegressor(ordered, task_column="month").fit(X, y)
    assert np.ptp(model.coef_, axis=0).max() < 1e-3
    model.set_params(penalty__alpha=0.0).fit(X, y)
    assert np.ptp(model.coef_, axis=0).max() > 1e-2
