"""The peers of ``auto.py`` that are no models of scikit-learn, in environments of their own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _sets import RealSet

sys.path.append(str(Path(__file__).parent / "speed"))
from environments import Environment, python_of

_CACHE = Path.home() / ".cache" / "polytask-peers"
_WORKER = Path(__file__).with_name("_auto_peer_worker.py")
_LIGHTGBM = Environment("lightgbm", ("lightgbm==4.7.0", "scikit-learn"))
_CATBOOST = Environment("catboost", ("catboost==1.2.10",))
_GPBOOST = Environment("gpboost", ("gpboost==1.8.0",))
_AUTOGLUON = Environment("autogluon", ("autogluon.tabular[lightgbm,catboost,xgboost]==1.6.3",))
# Seconds of AutoGluon where Auto has no budget.
_SECONDS = 60.0
_OF_TASKS = ("GPBoost linear, intercepts", "GPBoost linear, slopes", "GPBoost trees")
_ENVIRONMENTS = {
    "LightGBM": _LIGHTGBM,
    "CatBoost": _CATBOOST,
    **dict.fromkeys(_OF_TASKS, _GPBOOST),
    "AutoGluon": _AUTOGLUON,
}


@dataclass
class Peer:
    """One model for the rows of all tasks, or one per target of a matrix with equal seconds."""

    name: str
    classes: bool
    seconds: float
    cpu: float = 0.0
    classes_: list[np.ndarray] = field(default_factory=list)

    def fit(self, X: Any, y: np.ndarray, task: np.ndarray | None = None) -> Peer:
        """Keep the rows: fitting and predicting is one call of the peer's environment."""
        self.rows = np.asarray(X, dtype=float), np.asarray(y), task
        self.classes_ = [np.array([0, 1])] * (y.shape[1] if y.ndim == 2 else 1)
        return self

    def predict(self, X: Any, task: np.ndarray | None = None) -> np.ndarray:
        """Return numbers, or probabilities of the second class, (n,) or (n, targets)."""
        Z = np.asarray(X, dtype=float)
        fitted, y, known = self.rows
        if known is not None:
            return self._answer(X=fitted, y=y, task=known, Z=Z, task_of_Z=task)
        columns, share = [], self.seconds / y.shape[1]
        for own in y.T:
            seen = ~np.isnan(own.astype(float))
            one, other = np.zeros(seen.sum(), dtype=int), np.zeros(len(Z), dtype=int)
            columns.append(
                self._answer(share, X=fitted[seen], y=own[seen], task=one, Z=Z, task_of_Z=other)
            )
        return np.column_stack(columns)

    def predict_proba(self, X: Any, task: np.ndarray | None = None) -> Any:
        """Return probabilities of both classes, (n, 2), or a list of them per target."""
        second = self.predict(X, task)
        if second.ndim == 1:
            return np.column_stack([1.0 - second, second])
        return [np.column_stack([1.0 - own, own]) for own in second.T]

    def _answer(self, seconds: float | None = None, **rows: Any) -> np.ndarray:
        python = python_of(_ENVIRONMENTS[self.name], _CACHE)
        if python is None:
            raise ValueError(f"pip could not make an environment for {self.name}")
        with tempfile.TemporaryDirectory() as folder:
            np.savez(Path(folder) / "rows.npz", classes=self.classes, **rows)
            given = [self.name, folder, str(self.seconds if seconds is None else seconds)]
            done = subprocess.run(
                [str(python), str(_WORKER), *given], capture_output=True, text=True, check=False
            )
            if done.returncode:
                last = done.stderr.strip().splitlines()[-1:]
                raise ValueError(f"{self.name} failed: {' '.join(last)}")
            with np.load(Path(folder) / "answer.npz") as found:
                self.cpu += float(found["seconds"])
                return np.asarray(found["values"])


def peers(data: RealSet, budget: float | None) -> dict[str, Any]:
    """Return what makes each peer that can be fitted to a set, by name."""
    if hasattr(data.X, "indptr"):
        print(f"<!-- {data.name}: the peers take no sparse rows -->", file=sys.stderr)
        return {}
    names = [name for name in _ENVIRONMENTS if data.task is not None or name not in _OF_TASKS]
    return {name: partial(Peer, name, data.classes, budget or _SECONDS) for name in names}
