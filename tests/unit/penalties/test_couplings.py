"""Couplings: groups of classes, labels, size."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from polytask.exceptions import ParameterError
from polytask.penalties import Columns, coupling, toward_mean

RNG = np.random.default_rng(0)
W = RNG.normal(size=(5, 6))
COLUMNS = Columns(tuple("aabbcc"), ("x", "y", "x", "z", "y", "x"))
ROOT = RNG.normal(size=(3, 2))
Q = ROOT @ ROOT.T


def test_toward_mean_of_one_class():
    mean = W.mean(axis=1, keepdims=True)
    assert toward_mean(0.6).value(W) == pytest.approx(0.3 * ((W - mean) ** 2).sum())
    bound = toward_mean(0.6).bind(Columns.plain(6))
    np.testing.assert_allclose(bound.gradient(W), toward_mean(0.6).gradient(W))


def test_toward_mean_within_classes():
    wanted = 0.0
    for group in ([0, 2, 5], [1, 4]):
        part = W[:, group]
        wanted += 0.3 * ((part - part.mean(axis=1, keepdims=True)) ** 2).sum()
    bound = toward_mean(0.6).bind(COLUMNS)
    assert bound.value(W) == pytest.approx(wanted)
    assert (bound.gradient(W)[:, 3] == 0).all()
    np.testing.assert_allclose(bound.diagonal(6), 0.6 * np.array([2, 1.5, 2, 0, 1.5, 2]) / 3)


def test_toward_mean_without_a_shared_class_is_nothing():
    alone = toward_mean(2.0).bind(Columns(("a", "b"), ("x", "y")))
    assert alone.value(W[:, :2]) == 0
    assert alone.curvature() == 0
    assert toward_mean(2.0).curvature() == 2.0


def test_toward_mean_equals_a_coupling():
    centring = np.eye(6) - 1 / 6
    same = coupling(0.7, centring)
    assert same.value(W) == pytest.approx(toward_mean(0.7).value(W))
    np.testing.assert_allclose(same.gradient(W), toward_mean(0.7).gradient(W), atol=1e-14)
    assert same.curvature() == pytest.approx(toward_mean(0.7).curvature())


def test_toward_mean_forms_no_matrix_between_tasks():
    n_tasks = 10_000
    bound = toward_mean().bind(Columns.plain(n_tasks))
    many = np.ones((3, n_tasks))
    tracemalloc.start()
    bound.gradient(many)
    bound.value(many)
    bound.diagonal(n_tasks)
    bound.curvature()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def test_a_wrong_number_of_columns_is_refused():
    for bound in (toward_mean().bind(COLUMNS), coupling(1.0, Q)):
        with pytest.raises(ParameterError, match=r"W of .* columns; got .*shape \(5, 4\)"):
            bound.value(W[:, :4])


def test_coupling_by_class():
    bound = coupling(0.6, Q, tasks="cab").bind(COLUMNS)
    place = {"c": 0, "a": 1, "b": 2}
    wanted = np.zeros((6, 6))
    for i in range(6):
        for j in range(6):
            if COLUMNS.classes[i] == COLUMNS.classes[j]:
                wanted[i, j] = Q[place[COLUMNS.tasks[i]], place[COLUMNS.tasks[j]]]
    assert bound.value(W) == pytest.approx(0.3 * np.trace(W @ wanted @ W.T))
    np.testing.assert_allclose(bound.gradient(W), 0.6 * W @ wanted)
    np.testing.assert_allclose(bound.diagonal(6), 0.6 * np.diag(wanted))
    assert bound.curvature() == pytest.approx(0.6 * np.linalg.eigvalsh(wanted).max())


def test_a_bare_matrix_is_in_the_order_of_the_tasks():
    bare, named = coupling(1.0, Q).bind(COLUMNS), coupling(1.0, Q, "abc").bind(COLUMNS)
    assert bare.value(W) == pytest.approx(named.value(W))


def test_the_matrix_is_kept_safe():
    matrix = Q.copy()
    kept = coupling(1.0, matrix)
    matrix[:] = 0
    np.testing.assert_allclose(kept.matrix, Q)
    assert kept != coupling(1.0, 2 * Q)
    assert kept == coupling(1.0, Q)


@pytest.mark.parametrize(
    ("matrix", "got"),
    [
        (np.ones((2, 3)), r"shape \(2, 3\)"),
        (np.array([[1.0, 2.0], [0.0, 1.0]]), "not symmetric"),
        (np.diag([1.0, -0.1]), "the eigenvalue -0.1"),
        (np.diag([1.0, np.nan]), "NaN"),
        ("matrix", "str"),
    ],
)
def test_matrices_that_are_refused(matrix, got):
    with pytest.raises(ParameterError, match=f"matrix of coupling must be a symmetric.*{got}"):
        coupling(1.0, matrix)


def test_labels_that_are_refused():
    with pytest.raises(ParameterError, match="labels that differ; got two 'a'"):
        coupling(1.0, Q, ["a", "b", "a"])
    with pytest.raises(ParameterError, match=r"got none for 1\. Did you mean '1'"):
        coupling(1.0, Q, ["1", "2", "3"]).bind(Columns((1, 2, 3), (None,) * 3))
    with pytest.raises(ParameterError, match=r"of shape \(3, 3\)"):
        coupling(1.0, np.eye(2)).bind(COLUMNS)
    with pytest.raises(ParameterError, match="as many labels as the matrix has rows"):
        coupling(1.0, Q, ["a", "b"])


def test_labels_of_other_tasks_may_be_there():
    some = coupling(1.0, Q, "abc").bind(Columns(("c", "a"), (None, None)))
    np.testing.assert_allclose(some.apply(np.eye(2)), Q[np.ix_([2, 0], [2, 0])])


def test_no_columns():
    assert coupling(1.0, np.zeros((0, 0))).curvature() == 0
    assert toward_mean().diagonal(0).shape == (0,)
