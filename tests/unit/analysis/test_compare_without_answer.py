"""Comparisons that lead to no answer are refused, and leave nothing in the way of others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from polytask import compare
from polytask.exceptions import DataError

FEW = ["separate", "pooled"]


def related(n_tasks: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(n_tasks), 30)
    X = rng.standard_normal((len(task), 4))
    return X, X[:, 0] + rng.standard_normal(len(task)), task


def test_a_journal_that_leads_to_no_answer_is_removed(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y, task = related(n_tasks=3)
    journal = tmp_path / "journal"

    def no_answer(*_: object) -> None:
        raise DataError("No answer.")

    with monkeypatch.context() as patch:
        patch.setattr("polytask.comparison.api.make_answer", no_answer)
        with pytest.raises(DataError, match="No answer"):
            compare(X, y, task=task, models=["separate"], quick=True, journal=journal)
    assert not journal.exists()
    compare(X, y + 1, task=task, models=["separate"], quick=True, journal=journal)


def test_labels_that_do_not_vary_are_refused() -> None:
    X, y, task = related(n_tasks=3)
    with pytest.raises(DataError, match="the labels do not vary"):
        compare(X, np.full(len(y), 0.1), task=task, models=FEW, quick=True)
    Y = np.column_stack([np.full(90, 0.1), np.full(90, 7.0)])
    with pytest.raises(DataError, match="the labels do not vary"):
        compare(X, Y, models=FEW, quick=True)
    # One target that varies can be judged.
    compare(X, np.column_stack([y, Y[:, 0]]), models=["separate"], quick=True)


def test_targets_whose_squares_overflow_are_named() -> None:
    X, y, task = related(n_tasks=3)
    y[5] = 1e300
    with pytest.raises(DataError, match=r"y of compare must be of size up to .* \(row 5"):
        compare(X, y, task=task, models=FEW, quick=True)


def test_a_comparison_in_which_every_model_fails_is_refused() -> None:
    class Broken(LinearRegression):
        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
            raise ValueError("no such sensor")

    X, y, task = related(n_tasks=3)
    with pytest.raises(DataError, match=r"each of the 2 models failed .* no such sensor"):
        compare(X, y, task=task, models=[("broken", Broken())])


def test_measured_numbers_are_no_tasks() -> None:
    X, y, task = related(n_tasks=3)
    with pytest.raises(DataError, match="The tasks of compare are 90 different numbers with fr"):
        compare(X, np.asarray(task, dtype=float), task=y, models=FEW, quick=True)
    # Fractions that name several rows each are labels, and so are whole numbers.
    for names in (task + 1.0, task + 0.5):
        assert compare(X, y, task=names, models=FEW, quick=True).setup.n_tasks == 3
