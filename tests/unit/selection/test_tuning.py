"""Searches of scikit-learn over our estimators, and Optuna's where it is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from scipy.stats import loguniform
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    HalvingRandomSearchCV,
    KFold,
    RandomizedSearchCV,
)

from polytask import (
    DataError,
    IncompatibleError,
    MultiTaskClassifier,
    MultiTaskRegressor,
    ParameterError,
    TaskData,
)
from polytask.data import GroupedRows, WithinTasks
from polytask.penalties import L2, L21, TraceNorm, toward_mean
from polytask.selection import Between, tune, variants


def rows(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows with a few that decide, and few rows: a strength between the ends is best."""
    rng = np.random.default_rng(seed)
    X, task = rng.standard_normal((120, 15)), np.repeat([0.0, 1.0, 2.0, 3.0], 30)
    W = np.zeros((15, 4))
    W[:3] = 1.0 + 0.3 * rng.standard_normal((3, 4))
    y = np.einsum("ij,ji->i", X, W[:, task.astype(int)]) + 2.0 * rng.standard_normal(120)
    return X, y, task


SPACE = {"penalty__alpha": loguniform(1e-3, 10.0)}
WITH_TASK = MultiTaskRegressor(L21(1.0), task_column=15, standardize=True)


def folds(X: np.ndarray, y: np.ndarray, task: np.ndarray) -> list[Any]:
    data = TaskData.from_long(X, y, task)
    return list(WithinTasks(4, random_state=0).split(data))


def test_grid_and_random_search_go_over_penalties_and_strengths() -> None:
    X, y, task = rows()
    table = np.column_stack([X, task])
    grid = GridSearchCV(
        WITH_TASK,
        {"penalty": [L21(), TraceNorm()], "penalty__alpha": [0.01, 0.1, 1.0, 10.0]},
        cv=folds(X, y, task),
    ).fit(table, y)
    assert type(grid.best_estimator_.penalty) is type(grid.best_params_["penalty"])
    assert grid.best_params_["penalty__alpha"] in (0.1, 1.0)
    drawn = RandomizedSearchCV(WITH_TASK, SPACE, n_iter=15, cv=folds(X, y, task), random_state=0)
    drawn.fit(table, y)
    assert drawn.best_score_ > grid.cv_results_["mean_test_score"].min()
    assert drawn.best_estimator_.penalty.strength == drawn.best_params_["penalty__alpha"]
    held = rows(seed=1)
    assert drawn.score(np.column_stack([held[0], held[2]]), held[1]) > -1.0


@pytest.mark.slow
@pytest.mark.parametrize("classes", [False, True])
def test_successive_halving_ends_near_the_best(classes: bool) -> None:
    X, y, task = rows()
    y = y > 0 if classes else y
    kind: Any = MultiTaskClassifier if classes else MultiTaskRegressor
    estimator = kind(L21(1.0), task_column=15, standardize=True)
    table = np.column_stack([X, task])
    order = np.random.default_rng(0).permutation(120)
    halving = HalvingRandomSearchCV(
        estimator, SPACE, n_candidates=12, min_resources=40, factor=3, random_state=0,
        cv=KFold(3, shuffle=True, random_state=0),
    ).fit(table[order], y[order])  # fmt: skip
    assert halving.n_candidates_ == [12, 4]
    assert halving.n_resources_ == [40, 120]
    assert halving.best_estimator_.coef_.any()
    last = halving.cv_results_["iter"] == 1
    assert halving.best_score_ == halving.cv_results_["mean_test_score"][last].max()


def test_our_splitters_serve_scikit_learn_as_pairs() -> None:
    X, y, task = rows()
    groups = np.arange(120) // 3
    data = TaskData.from_long(X, y, task)
    pairs = list(GroupedRows(groups, n_splits=4).split(data))
    search = GridSearchCV(WITH_TASK, {"penalty__alpha": [0.1, 1.0]}, cv=pairs)
    search.fit(np.column_stack([X, task]), y)
    assert search.n_splits_ == 4
    for train, test in pairs:
        assert not set(groups[train]) & set(groups[test])


def test_without_optuna_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    X, y, task = rows()
    with pytest.raises(IncompatibleError, match=r"pip install 'polytask\[search\]'"):
        tune(MultiTaskRegressor(L21(1.0)), {"penalty__alpha": Between(0.1, 1.0)}, X, y, task)


@pytest.mark.parametrize("ends", [(1.0, 1.0), (0.0, 1.0), (-1.0, float("inf"))])
def test_empty_ranges_are_refused(ends: tuple[float, float]) -> None:
    with pytest.raises(ParameterError, match="range of Between"):
        Between(*ends)


NEAR: dict[str, Any] = {
    "penalty__p0__alpha": Between(1e-3, 100.0),
    "penalty__p1__alpha": Between(1e-3, 10.0),
    "task_weight": ["size", "equal"],
}


def near(**given: Any) -> Any:
    X, y, task = rows()
    model = MultiTaskRegressor(toward_mean(1.0) + L2(1.0), standardize=True)
    return tune(model, NEAR, X, y, task, **({"cv": 3, "n_trials": 14} | given))


def test_optuna_finds_good_strengths_and_gives_up_bad_ones() -> None:
    pytest.importorskip("optuna")
    X, y, task = rows()
    found = near()
    frame = found.frame()
    assert len(frame) == 14
    assert found.score == frame.loc[~frame["pruned"], "score"].max()
    assert frame.loc[frame["pruned"], "folds"].max() < 3 == frame["folds"].max()
    assert found.estimator.penalty.members[0].strength == found.params["penalty__p0__alpha"]
    assert found.estimator.score(X, y, task=task) > 0.3
    again = near(prune=False).frame()
    assert not again["pruned"].any()
    assert (again["folds"] == 3).all()


def test_optuna_takes_values_of_any_kind_and_a_task_column() -> None:
    pytest.importorskip("optuna")
    X, y, task = rows()
    penalties = variants(toward_mean(1.0) + L2(0.1), {"p1__alpha": [0.1, 1.0]})
    model = MultiTaskRegressor(L2(1.0), task_column=15)
    found = tune(model, {"penalty": penalties}, np.column_stack([X, task]), y, n_trials=4, cv=2)
    assert found.estimator.penalty in penalties
    assert found.estimator.task_column == 15
    Y = np.where(rows(2)[1] > 0, "yes", "no")
    labels = tune(
        MultiTaskClassifier(L2(1.0)), {"penalty__alpha": Between(1e-3, 1.0)}, X, Y, task,
        n_trials=3, cv=2, scoring=lambda fitted, held: -fitted.score(held),
    )  # fmt: skip
    assert labels.score < 0


def test_a_budget_of_time_ends_the_search() -> None:
    pytest.importorskip("optuna")
    assert len(near(seconds=1e-9).trials) == 1


def test_a_resumed_search_ends_as_one_that_was_not_interrupted(tmp_path: Path) -> None:
    optuna = pytest.importorskip("optuna")
    whole = near()
    storage = str(tmp_path / "search.log")
    near(n_trials=5, storage=storage)
    # What a killed run leaves: a trial that began and never ended.
    kept = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(storage))
    optuna.load_study(study_name="polytask", storage=kept).ask()
    resumed = near(storage=storage)
    assert resumed.trials == whole.trials
    np.testing.assert_array_equal(resumed.estimator.coef_, whole.estimator.coef_)
    with pytest.raises(IncompatibleError, match="holds a search with another"):
        near(storage=storage, random_state=1)


@pytest.mark.slow
def test_optuna_is_imported_when_it_is_used() -> None:
    code = "import polytask.selection, sys; sys.exit('optuna' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_another_scoring_or_other_folds_are_another_search(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    storage = str(tmp_path / "search.log")
    near(n_trials=2, storage=storage)
    for other in ({"scoring": _of_size}, {"prune": False}, {"cv": 2}):
        with pytest.raises(IncompatibleError, match="holds a search with another"):
            near(n_trials=2, storage=storage, **other)


def _of_size(fitted: Any, held: TaskData) -> float:
    return -float(np.abs(fitted.coef_).sum())


def test_a_held_out_task_is_unseen() -> None:
    pytest.importorskip("optuna")
    X, y, task = rows()
    apart = [(np.flatnonzero(task != t), np.flatnonzero(task == t)) for t in np.unique(task)]
    space = {"penalty__alpha": [0.1]}
    model = MultiTaskRegressor(L2(0.1), unseen_tasks="shared")
    found = tune(model, space, X, y, task, cv=apart, n_trials=1)
    by_hand = [
        model.fit(X[a], y[a], task=task[a]).score(X[b], y[b], task=task[b]) for a, b in apart
    ]
    assert found.score == pytest.approx(np.mean(by_hand))
    with pytest.raises(DataError, match="unseen"):
        tune(MultiTaskRegressor(L2(0.1)), space, X, y, task, cv=apart, n_trials=1)


@pytest.mark.parametrize("ends", [(1.5, 4.0), (1.0, 4.5)])
def test_whole_numbers_lie_between_whole_numbers(ends: tuple[float, float]) -> None:
    with pytest.raises(ParameterError, match="between whole numbers with integer=True"):
        Between(*ends, integer=True)
    assert Between(1.0, 4.0, integer=True).high == 4.0


@pytest.mark.parametrize("left", [b'{"op_code": 5, "wor', b"\0" * 70_000])
def test_a_line_that_was_cut_short_and_a_lock_left_behind(tmp_path: Path, left: bytes) -> None:
    pytest.importorskip("optuna")
    storage = tmp_path / "search.log"
    whole = near(n_trials=6, cv=2)
    near(n_trials=3, cv=2, storage=str(storage))
    with storage.open("ab") as file:
        file.write(left)
    (tmp_path / "search.log.lock").write_bytes(b"")
    assert near(n_trials=6, cv=2, storage=str(storage)).trials == whole.trials
    assert [file.name for file in tmp_path.iterdir()] == ["search.log"]


def test_a_storage_that_is_none_is_left_as_it_is(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    table = tmp_path / "table.csv"
    for text in ("a,b\n1,2\n", '{"a": 1}\n'):
        table.write_text(text)
        with pytest.raises(DataError, match="holds no trials of a search"):
            near(n_trials=1, storage=str(table))
        assert table.read_text() == text
    with pytest.raises(DataError, match="there is no folder"):
        near(n_trials=1, storage=str(tmp_path / "none" / "search.log"))
    with FileLock(f"{table}.lock"), pytest.raises(DataError, match="another run"):
        near(n_trials=1, storage=str(table))
