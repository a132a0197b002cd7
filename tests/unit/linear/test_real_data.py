"""Plain estimators without an argument beat the mean on every real data set, unwarned."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from polytask import MultiTaskClassifier, MultiTaskModel, MultiTaskRegressor

SETS = [
    "adult_mmoe", "amazon_sentiment", "bank_conjoint", "computer", "exam65", "heart4", "hillstrom",
    "landmine", "mfeat_pix", "mtr_atp1d", "mtr_enb", "mtr_rf1", "mtr_scpf", "mtr_wq", "radon",
    "sarcos_sub", "school", "tox21",
]  # fmt: skip


def read(folder, name):
    """Return X (a table if it has gaps), y, the task of each row or None, kinds of targets."""
    stored = np.load(folder / f"{name}.npz", allow_pickle=False)
    if "X_data" in stored:
        parts = stored["X_data"], stored["X_indices"], stored["X_indptr"]
        X = sp.csr_array(parts, shape=tuple(stored["X_shape"]))
    else:
        X = stored["X"]
        if np.isnan(X).any():
            X = pd.DataFrame(X, columns=[f"f{j}" for j in range(X.shape[1])])
    kinds = set(stored["target_kinds"].tolist())
    return X, stored["y"], stored.get("task"), kinds


def rows(X, which):
    return X.iloc[which] if isinstance(X, pd.DataFrame) else X[which]


def quality(y, prediction, classes):
    """Accuracy, or minus the squared error over the variance."""
    if classes:
        return np.mean(y == prediction)
    return -np.mean((y - prediction) ** 2) / np.var(y)


def best_constant(train, classes):
    return float(np.mean(train) > 0.5) if classes else np.mean(train)


def gains(X, y, task, kinds, seed):
    """Yield for each target by how much the model is better than the task means, the grand mean.

    The means of the training rows of each task are the same model with no coefficients.
    """
    order = np.random.default_rng(seed).permutation(len(y))
    train, test = np.sort(order[: 3 * len(y) // 4]), np.sort(order[3 * len(y) // 4 :])
    if len(kinds) > 1:
        model = MultiTaskModel()
    else:
        model = MultiTaskClassifier() if kinds == {"binary"} else MultiTaskRegressor()
    if task is None:
        out = np.asarray(model.fit(rows(X, train), y[train]).predict(rows(X, test)), dtype=float)
        truth = [(y[test, t], out[:, t], y[train, t]) for t in range(y.shape[1])]
    else:
        model.fit(rows(X, train), y[train], task[train])
        test = test[np.isin(task[test], model.tasks_)]
        truth = [(y[test], np.asarray(model.predict(rows(X, test), task[test])), y[train])]
    for held_out, prediction, learned in truth:
        seen, known = ~np.isnan(held_out), learned[~np.isnan(learned)]
        classes = len(np.unique(known)) == 2
        grand = own = np.full(len(held_out), best_constant(known, classes))
        if task is not None:
            means = {t: best_constant(y[train][task[train] == t], classes) for t in model.tasks_}
            own = np.array([means[t] for t in task[test]])
        reached = quality(held_out[seen], prediction[seen], classes)
        yield [reached - quality(held_out[seen], base[seen], classes) for base in (own, grand)]


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_better_than_the_mean(polytask_data, name):
    X, y, task, kinds = read(polytask_data, name)
    # One split of a small set is mostly luck.
    seeds = range(5) if len(y) < 1000 and name != "mtr_atp1d" else range(1)
    over_own, over_grand = np.mean(
        [gain for seed in seeds for gain in gains(X, y, task, kinds, seed)], axis=0
    )
    assert over_own > 0
    assert over_grand > 0
