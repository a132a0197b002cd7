"""Rows that come in parts are dealt to folds as evenly as in one table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from polytask.data.dealing import PartDealer
from polytask.exceptions import DataError, ParameterError
from polytask.statistics import collect_parts


def dealt(tasks: np.ndarray, n_parts: int, seed: int = 0) -> np.ndarray:
    """Return the folds of rows that come in parts."""
    dealer = PartDealer(5, seed)
    return np.concatenate([dealer.folds(part, "test") for part in np.array_split(tasks, n_parts)])


@pytest.mark.parametrize("kind", ["text", "numbers", "sorted"])
def test_folds_are_even_random_and_the_same_for_all_cuts(kind: str) -> None:
    rng = np.random.default_rng(0)
    tasks = rng.choice(list("abcdefg"), 2003) if kind == "text" else rng.integers(90, size=2003)
    tasks = np.sort(tasks) if kind == "sorted" else tasks
    folds = dealt(tasks, 1)
    for label in np.unique(tasks):
        own = folds[tasks == label]
        counts = np.bincount(own, minlength=5)
        assert counts.max() - counts.min() <= 1
        # Every five rows of a task hold all folds.
        whole = own[: len(own) // 5 * 5].reshape(-1, 5)
        assert (np.sort(whole, axis=1) == np.arange(5)).all()
    for n_parts in (2, 17, 2003):
        np.testing.assert_array_equal(dealt(tasks, n_parts), folds)
    # Nothing but chance agrees with another seed, with the block before or with a cycle.
    for other in (dealt(tasks, 1, seed=1), np.roll(folds, 5), np.arange(2003) % 5):
        assert abs((folds == other).mean() - 0.2) < 0.06


def test_orders_of_a_block_are_all_as_frequent() -> None:
    folds = PartDealer(3, 0).folds(np.zeros(3 * 6000, dtype=int), "test").reshape(-1, 3)
    orders, counts = np.unique(folds, axis=0, return_counts=True)
    assert len(orders) == 6
    assert np.abs(counts - 1000).max() < 150


def test_statistics_of_parts_with_folds_are_those_of_the_labels() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(200, 2)), columns=["a", "y"])
    table["task"] = rng.integers(3, size=200)
    table["fold"] = PartDealer(4, 7).folds(table["task"].to_numpy(), "test")
    parts = [table[:90], table[90:]]
    known = {"task_column": "task"}
    found = collect_parts(parts, "y", **known, drop=["fold"], fold=4, random_state=7)
    expected = collect_parts(parts, "y", **known, fold="fold")
    assert found.folds == expected.folds
    for one, other in zip(found.cells, expected.cells, strict=True):
        assert one.key == other.key
        np.testing.assert_array_equal(one.second, other.second)
    # Without tasks rows are dealt as they come.
    targets = collect_parts(parts, ["y"], drop=["fold", "task"], fold=4)
    assert sorted(cell.n_rows for cell in targets.cells) == [50] * 4


def test_what_cannot_be_dealt_is_refused() -> None:
    table = pd.DataFrame({"a": [1.0, 2.0], "y": [1.0, 2.0]})
    for fold in (1, 2.5, True):
        with pytest.raises(ParameterError, match="fold of collect_parts must be the name of a"):
            collect_parts([table], "y", fold=fold)
    dask = pytest.importorskip("dask.dataframe", reason="Dask is not installed")
    with pytest.raises(ParameterError, match="partitions of Dask have no order"):
        collect_parts(dask.from_pandas(table, npartitions=1), "y", fold=5)
    gaps = table.assign(task=["x", None])
    with pytest.raises(DataError, match="task"):
        collect_parts([gaps], "y", task_column="task", fold=2)
