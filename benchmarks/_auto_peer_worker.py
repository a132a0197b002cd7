"""Fits one peer of ``auto.py`` and predicts: ``python _auto_peer_worker.py PEER FOLDER SECONDS``.

It runs in the environment of the peer, which need not have polytask. The folder holds
``rows.npz``: training rows, their targets and tasks, and the rows to predict; ``answer.npz`` is
written beside it, with the predictions and the CPU seconds of the fit.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

_SHARE_HELD = 0.2
_MOST_TREES = 2000
_PATIENCE = 50
_RATE = 0.05


def _held_out(task: np.ndarray) -> np.ndarray:
    """Mark a fifth of the rows of every task, as what decides about settings."""
    rng = np.random.default_rng(0)
    held = np.zeros(len(task), dtype=bool)
    for name in np.unique(task):
        rows = rng.permutation(np.flatnonzero(task == name))
        held[rows[: int(_SHARE_HELD * len(rows))]] = True
    return held


def _while_time(settings: Iterable[Any], seconds: float) -> Iterator[Any]:
    """Yield settings to try, the first and more while half of the time is left for the refit."""
    begun = time.perf_counter()
    for one in settings:
        yield one
        if time.perf_counter() - begun > seconds / 2:
            return


def lightgbm(rows: Any, classes: bool, seconds: float) -> np.ndarray:
    """Fit LightGBM with the task as a category; leaves and trees by held-out rows."""
    import lightgbm as lgb

    X = np.column_stack([rows["X"], rows["task"]])
    held, last = _held_out(rows["task"]), X.shape[1] - 1
    kind = lgb.LGBMClassifier if classes else lgb.LGBMRegressor
    tried = []
    for leaves, fewest in _while_time(((7, 20), (31, 20), (31, 5)), seconds):
        settings = {"num_leaves": leaves, "min_child_samples": fewest, "learning_rate": _RATE}
        settings |= {"n_jobs": 1, "verbose": -1, "random_state": 0}
        model = kind(n_estimators=_MOST_TREES, **settings)
        model.fit(
            X[~held],
            rows["y"][~held],
            eval_set=[(X[held], rows["y"][held])],
            categorical_feature=[last],
            callbacks=[lgb.early_stopping(_PATIENCE, verbose=False)],
        )
        loss = min(next(iter(model.best_score_["valid_0"].values())), np.inf)
        tried.append((loss, model.best_iteration_, settings))
    _, trees, settings = min(tried, key=lambda one: one[0])
    model = kind(n_estimators=trees, **settings)
    model.fit(X, rows["y"], categorical_feature=[last])
    Z = np.column_stack([rows["Z"], rows["task_of_Z"]])
    return np.asarray(model.predict_proba(Z)[:, 1] if classes else model.predict(Z))


def catboost(rows: Any, classes: bool, seconds: float) -> np.ndarray:
    """Fit CatBoost with the task as a category; depth and trees by held-out rows."""
    from catboost import CatBoostClassifier, CatBoostRegressor, Pool

    def pool(X: np.ndarray, task: np.ndarray, y: np.ndarray | None = None) -> Any:
        import pandas as pd

        frame = pd.DataFrame(X).assign(task=task.astype(str))
        frame.columns = [str(name) for name in frame.columns]
        return Pool(frame, y, cat_features=["task"])

    kind = CatBoostClassifier if classes else CatBoostRegressor
    X, y, task = rows["X"], rows["y"], rows["task"]
    held, tried = _held_out(task), []
    fixed = {"learning_rate": _RATE, "thread_count": 1, "verbose": False, "random_seed": 0}
    fixed["allow_writing_files"] = False
    for depth in _while_time((4, 6, 8), seconds):
        model = kind(iterations=_MOST_TREES, depth=depth, **fixed)
        model.fit(
            pool(X[~held], task[~held], y[~held]),
            eval_set=pool(X[held], task[held], y[held]),
            early_stopping_rounds=_PATIENCE,
        )
        loss = next(iter(model.get_best_score()["validation"].values()))
        tried.append((loss, model.tree_count_, depth))
    _, trees, depth = min(tried)
    model = kind(iterations=max(trees, 1), depth=depth, **fixed).fit(pool(X, task, y))
    asked = pool(rows["Z"], rows["task_of_Z"])
    return np.asarray(model.predict_proba(asked)[:, 1] if classes else model.predict(asked))


def _independent(X: np.ndarray) -> list[int]:
    """Return the columns that those before them do not make up; others hinder its search."""
    # A column is made up where nothing is left of it: the diagonal of a QR decomposition.
    left = np.abs(np.diag(np.linalg.qr(X, mode="r")))
    return [j for j in range(len(left)) if left[j] > 1e-8 * np.sqrt(len(X))]


def gpboost_linear(rows: Any, classes: bool, seconds: float, slopes: bool = False) -> np.ndarray:
    """Fit the linear mixed model of GPBoost with an intercept per task, or slopes too."""
    import gpboost as gpb

    mean, scale = rows["X"].mean(axis=0), rows["X"].std(axis=0)
    own = np.flatnonzero(scale > 0)
    own = own[_independent((rows["X"][:, own] - mean[own]) / scale[own])]
    X, Z = ((part[:, own] - mean[own]) / scale[own] for part in (rows["X"], rows["Z"]))
    random: dict[str, Any] = {}
    asked: dict[str, Any] = {}
    if slopes:
        random = {"group_rand_coef_data": X, "ind_effect_group_rand_coef": [1] * X.shape[1]}
        asked = {"group_rand_coef_data_pred": Z}
    model = gpb.GPModel(
        group_data=rows["task"],
        likelihood="bernoulli_logit" if classes else "gaussian",
        num_parallel_threads=1,
        **random,
    )
    model.fit(y=rows["y"].astype(float), X=np.column_stack([np.ones(len(X)), X]))
    found = model.predict(
        group_data_pred=rows["task_of_Z"],
        X_pred=np.column_stack([np.ones(len(Z)), Z]),
        predict_response=True,
        **asked,
    )
    return np.asarray(found["mu"])


def gpboost_slopes(rows: Any, classes: bool, seconds: float) -> np.ndarray:
    """Fit the linear mixed model of GPBoost with independent slopes of every feature."""
    return gpboost_linear(rows, classes, seconds, slopes=True)


def gpboost_trees(rows: Any, classes: bool, seconds: float) -> np.ndarray:
    """Fit the trees of GPBoost with an intercept per task; depth and trees by held-out rows."""
    import gpboost as gpb

    likelihood = "bernoulli_logit" if classes else "gaussian"
    held, tried = _held_out(rows["task"]), []
    X, y, task = rows["X"], rows["y"].astype(float), rows["task"]

    def parameters(depth: int, fewest: int) -> dict[str, Any]:
        chosen = {"max_depth": depth, "num_leaves": 2**10, "min_data_in_leaf": fewest}
        return chosen | {"learning_rate": _RATE, "verbose": 0, "num_threads": 1, "seed": 0}

    def trained(depth: int, fewest: int, part: np.ndarray, trees: int, check: bool) -> Any:
        model = gpb.GPModel(group_data=task[part], likelihood=likelihood, num_parallel_threads=1)
        data = gpb.Dataset(X[part], y[part])
        more: dict[str, Any] = {}
        if check:
            model.set_prediction_data(group_data_pred=task[held])
            more["valid_sets"] = gpb.Dataset(X[held], y[held], reference=data)
            more["early_stopping_rounds"] = _PATIENCE
            more["use_gp_model_for_validation"] = True
        chosen = parameters(depth, fewest)
        return gpb.train(chosen, data, trees, gp_model=model, verbose_eval=False, **more)

    for depth, fewest in _while_time(((2, 20), (5, 20), (5, 5)), seconds):
        booster = trained(depth, fewest, ~held, _MOST_TREES, check=True)
        loss = next(iter(next(iter(booster.best_score.values())).values()))
        tried.append((loss, booster.best_iteration, depth, fewest))
    _, trees, depth, fewest = min(tried)
    booster = trained(depth, fewest, np.ones(len(y), dtype=bool), max(trees, 1), check=False)
    found = booster.predict(
        rows["Z"], group_data_pred=rows["task_of_Z"], predict_var=False, pred_latent=False
    )
    return np.asarray(found["response_mean"])


def autogluon(rows: Any, classes: bool, seconds: float) -> np.ndarray:
    """Fit AutoGluon without networks, the task as a category, within the seconds."""
    import pandas as pd
    from autogluon.tabular import TabularPredictor

    names = [f"x{j}" for j in range(rows["X"].shape[1])]
    several = len(np.unique(rows["task"])) > 1

    def frame(X: np.ndarray, task: np.ndarray) -> pd.DataFrame:
        table = pd.DataFrame(X, columns=names)
        return (
            table.assign(task=task.astype(str)).astype({"task": "category"}) if several else table
        )

    train = frame(rows["X"], rows["task"]).assign(target=rows["y"])
    with tempfile.TemporaryDirectory() as folder:
        predictor = TabularPredictor(
            "target",
            problem_type="binary" if classes else "regression",
            eval_metric="log_loss" if classes else "mean_squared_error",
            path=folder,
            verbosity=0,
        )
        predictor.fit(
            train,
            time_limit=seconds,
            presets="best_quality",
            dynamic_stacking=False,
            excluded_model_types=["NN_TORCH", "FASTAI"],
            num_cpus=1,
        )
        asked = frame(rows["Z"], rows["task_of_Z"])
        if classes:
            return predictor.predict_proba(asked, as_multiclass=False).to_numpy()
        return predictor.predict(asked).to_numpy()


PEERS: dict[str, Callable[[Any, bool, float], np.ndarray]] = {
    "LightGBM": lightgbm,
    "CatBoost": catboost,
    "GPBoost linear, intercepts": gpboost_linear,
    "GPBoost linear, slopes": gpboost_slopes,
    "GPBoost trees": gpboost_trees,
    "AutoGluon": autogluon,
}


def _spent() -> float:
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, who))


def main(peer: str, folder: str, seconds: str) -> None:
    """Read the rows, fit, predict, and write the answer."""
    warnings.simplefilter("ignore")
    with np.load(Path(folder) / "rows.npz", allow_pickle=False) as file:
        rows = dict(file)
    begun = _spent()
    values = PEERS[peer](rows, bool(rows["classes"]), float(seconds))
    np.savez(Path(folder) / "answer.npz", values=values, seconds=_spent() - begun)


if __name__ == "__main__":
    main(*sys.argv[1:])
