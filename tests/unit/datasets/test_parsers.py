"""Parsers against small files written here."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.io import savemat

from polytask.datasets._fetched import read_arff, read_mat, read_numbers, stack


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_read_numbers_knows_the_marks_of_unknown_values(tmp_path, newline):
    path = tmp_path / "a.data"
    lines = ["a,b,c", "1,?,.5", "-9, ,-9.0", "", "-1,2e1,3"]
    path.write_text(newline.join([*lines, ""]), encoding="utf-8", newline="")
    nan = np.nan
    assert_array_equal(read_numbers(path), [[1, nan, 0.5], [nan, nan, nan], [-1, 20, 3]])


def test_read_arff(tmp_path):
    path = tmp_path / "a.arff"
    header = "% comment\n@relation r\n@ATTRIBUTE 'a b' numeric\n@attribute c real\n@data\n"
    path.write_text(header + "1,2.5\n?,-3\n", encoding="utf-8")
    assert_array_equal(read_arff(path), [[1, 2.5], [np.nan, -3]])


def test_read_mat_leaves_out_the_header(tmp_path):
    path = tmp_path / "a.mat"
    savemat(path, {"X": np.eye(2)})
    variables = read_mat(path)
    assert list(variables) == ["X"]
    assert_array_equal(variables["X"], np.eye(2))


def test_stack_does_not_overflow_small_integers():
    blocks = [np.full((1, 2), 200, dtype=np.uint8), np.ones((2, 2), dtype=np.uint8)]
    targets = [np.array([[255]], dtype=np.uint8), np.array([[1], [2]], dtype=np.uint8)]
    X, y, index = stack(blocks, targets)
    assert X.dtype == y.dtype == np.float64
    assert_array_equal(X, [[200, 200], [1, 1], [1, 1]])
    assert_array_equal(y, [255, 1, 2])
    assert_array_equal(index, [0, 1, 1])
