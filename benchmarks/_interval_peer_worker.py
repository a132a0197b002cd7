"""Intervals of a peer of ``interval_coverage.py``: ``_interval_peer_worker.py PEER FOLDER``.

It runs in the environment of the peer, which need not have polytask. The folder holds
``rows.npz``: training rows with a column per task beside their features, their targets and tasks,
and the rows to predict; ``answer.npz`` is written beside it, with both ends of 90% intervals.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import RidgeCV

Ends = tuple[np.ndarray, np.ndarray]
STRENGTHS = tuple(10.0 ** (k / 3) for k in range(-9, 16))


def mapie(rows: Any) -> Ends:
    """Return the intervals of CV+ with five folds, over all rows."""
    from mapie.regression import CrossConformalRegressor

    model = CrossConformalRegressor(
        RidgeCV(STRENGTHS), confidence_level=0.9, method="plus", cv=5, random_state=0
    )
    model.fit_conformalize(rows["X"], rows["y"])
    ends = model.predict_interval(rows["Z"])[1]
    return ends[:, 0, 0], ends[:, 1, 0]


def crepes(rows: Any) -> Ends:
    """Return Mondrian intervals by task, a quarter of whose rows is held out."""
    from crepes import ConformalRegressor

    rng, task = np.random.default_rng(0), rows["task"]
    held = np.zeros(len(task), dtype=bool)
    for name in np.unique(task):
        own = rng.permutation(np.flatnonzero(task == name))
        held[own[: len(own) // 4]] = True
    model = RidgeCV(STRENGTHS).fit(rows["X"][~held], rows["y"][~held])
    errors = rows["y"][held] - model.predict(rows["X"][held])
    intervals = ConformalRegressor().fit(errors, bins=task[held])
    found = intervals.predict_int(model.predict(rows["Z"]), bins=rows["task_of_Z"], confidence=0.9)
    return found[:, 0], found[:, 1]


PEERS: dict[str, Callable[[Any], Ends]] = {"MAPIE": mapie, "crepes": crepes}


def main() -> None:
    """Read, fit, predict and write."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    with np.load(folder / "rows.npz", allow_pickle=False) as rows:
        low, high = PEERS[name](rows)
    np.savez(folder / "answer.npz", low=low, high=high)


if __name__ == "__main__":
    main()
