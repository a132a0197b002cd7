"""The nets of the accuracy table, and how their settings are chosen."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from _deep_sets import split
from _sets import RealSet
from real_data import score, take

from polytask import SingleTask
from polytask.deep import MLP, DeepMultiTaskClassifier, DeepMultiTaskRegressor, sharing
from polytask.penalties import L2, L21, toward_mean

Settings = Mapping[str, Any]
Keep = Callable[[str, Callable[[], tuple[float, float]]], tuple[float, float]]

_DROPPED, _WIDE = MLP(dropout=0.3), MLP((256,), dropout=0.5)
# What single-task nets and hard sharing try; all kinds try equally many settings, and where a
# run is given fewer, the first of each: they are as unlike each other as three can be.
TRUNKS: dict[str, Settings] = {
    "defaults": {},
    "128-128, dropout .3, decay 1": {"trunk": _DROPPED, "weight_decay": 1.0},
    "128-128, batch norm, dropout .2": {"trunk": MLP(norm="batch", dropout=0.2)},
    "128-128, decay 1": {"trunk": MLP(), "weight_decay": 1.0},
    "128-128, dropout .3": {"trunk": _DROPPED},
    "256, dropout .5": {"trunk": _WIDE},
    "32-32": {"trunk": MLP((32, 32))},
}
# What "shared and regularised" tries, where a tower or expert per task can be paid for.
SHARED: dict[str, Settings] = {
    "MMoE 256, dropout .5": {"sharing": sharing.MMoE(4), "trunk": _WIDE},
    "soft, decay 1": {
        "sharing": sharing.Soft(toward_mean(0.1)),
        "trunk": MLP(),
        "weight_decay": 1.0,
    },
    "task batch norm, dropout .2": {"trunk": MLP(norm="task_batch", dropout=0.2)},
    "CGC 64-64, dropout .3": {"sharing": sharing.CGC(1, 1), "trunk": MLP((64, 64), dropout=0.3)},
    "cross-stitch, dropout .3": {"sharing": sharing.CrossStitch(), "trunk": _DROPPED},
    "FiLM, dropout .3, decay 1": {
        "sharing": sharing.FiLM(),
        "trunk": _DROPPED,
        "weight_decay": 1.0,
    },
    "own layers, L21 of inputs, L2 of heads, dropout .3": {
        "heads": MLP((32,)),
        "penalties": {"input": L21(0.003), "heads": L2(0.01)},
        "trunk": _DROPPED,
    },
}
# The same for many tasks with few rows each.
MANY: dict[str, Settings] = {
    "MMoE 256, dropout .5": SHARED["MMoE 256, dropout .5"],
    "heads near their mean, dropout .3": {
        "penalties": {"heads": toward_mean(0.1) + L2(0.001)},
        "trunk": _DROPPED,
    },
    "FiLM, dropout .3, decay 1": SHARED["FiLM, dropout .3, decay 1"],
    "MMoE 32-32, decay 1": {
        "sharing": sharing.MMoE(4),
        "trunk": MLP((32, 32)),
        "weight_decay": 1.0,
    },
    "FiLM 64, dropout .5": {"sharing": sharing.FiLM(), "trunk": MLP((64,), dropout=0.5)},
    "task batch norm, dropout .2": SHARED["task batch norm, dropout .2"],
    "own layers, L21 of inputs, L2 of heads, dropout .3": SHARED[
        "own layers, L21 of inputs, L2 of heads, dropout .3"
    ],
}
_MANY_TASKS = 50


@dataclass(frozen=True)
class Search:
    """One kind of nets: the settings to try, and the best of them.

    Attributes
    ----------
    few, many : mapping of str to settings
        What to try with few tasks and with many.
    own : bool
        Whether every task has a net of its own.
    """

    few: Mapping[str, Settings]
    many: Mapping[str, Settings]
    own: bool = False

    def best(
        self, data: RealSet, train: np.ndarray, seed: int, keep: Keep, most: int
    ) -> tuple[Any, str, float]:
        """Return the model of the best setting, fitted to all rows of `train`.

        Also the name of the setting, and the CPU seconds of all fits. `keep` looks up, by name,
        what earlier runs found, or computes it; `most` is how many settings are tried.
        """
        fit, held = split(data, train, 0.2, seed)
        known = self.many if n_tasks(data) > _MANY_TASKS else self.few
        tried = dict(list(known.items())[:most])
        if most == 1:
            (name,) = tried
            model, seconds = self._fitted(tried[name], data, train, seed)
            return model, name, seconds

        def judged(settings: Settings) -> tuple[float, float]:
            model, seconds = self._fitted(settings, data, fit, seed)
            return score(model, data, held), seconds

        found = {name: keep(name, partial(judged, own)) for name, own in tried.items()}
        chosen = max(found, key=lambda name: found[name][0])
        model, seconds = self._fitted(tried[chosen], data, train, seed)
        return model, chosen, seconds + sum(own for _, own in found.values())

    def _fitted(
        self, settings: Settings, data: RealSet, rows: np.ndarray, seed: int
    ) -> tuple[Any, float]:
        net = estimator(data)(**settings, random_state=seed, device="cpu")
        started = time.process_time()
        model = fitted(SingleTask(net) if self.own else net, data, rows)
        return model, time.process_time() - started


KINDS = {
    "single-task nets": Search(TRUNKS, TRUNKS, own=True),
    "hard sharing": Search(TRUNKS, TRUNKS),
    "shared and regularised": Search(SHARED, MANY),
}


def n_tasks(data: RealSet) -> int:
    """Return the number of tasks."""
    return data.y.shape[1] if data.task is None else len(np.unique(data.task))


def estimator(data: RealSet) -> Any:
    """Return the class of the nets."""
    return DeepMultiTaskClassifier if data.classes else DeepMultiTaskRegressor


def fitted(model: Any, data: RealSet, rows: np.ndarray) -> Any:
    """Fit a model to some rows."""
    labels = {} if data.task is None else {"task": data.task[rows]}
    return model.fit(take(data.X, rows), data.y[rows], **labels)


def default_nets(data: RealSet, train: np.ndarray, seed: int) -> Any:
    """Return hard sharing as it comes, fitted."""
    return fitted(estimator(data)(random_state=seed, device="cpu"), data, train)
