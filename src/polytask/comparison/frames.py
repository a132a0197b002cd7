"""A comparison as data frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from polytask.comparison.records import Findings

if TYPE_CHECKING:
    import pandas as pd


def leaderboard(result: Findings) -> pd.DataFrame:
    """Return the models, best first."""
    import pandas as pd

    models = result.models
    columns: dict[str, Any] = {
        "model": [row.name for row in models],
        "kind": [row.kind for row in models],
        "family": [row.family for row in models],
    }
    for end, place in (("score", 0), ("low", 1), ("high", 2)):
        columns[end] = np.array([row.score[place] for row in models], dtype=float)
    columns["picked"] = np.array([row.picked for row in models], dtype=int)
    for name in further_metrics(result):
        values = [row.metrics.get(name, np.nan) for row in models]
        columns[name] = np.array(values, dtype=float)
    for name in dict.fromkeys(name for row in models for name in row.undefined):
        counts = [row.undefined.get(name, 0) for row in models]
        columns[f"undefined: {name}"] = np.array(counts, dtype=int)
    for name in ("fit_seconds", "predict_seconds"):
        columns[name] = np.array([getattr(row, name) for row in models], dtype=float)
    for name in ("nonzero", "file_bytes"):
        columns[name] = pd.array([getattr(row, name) for row in models], dtype="Int64")
    columns["note"] = [row.note for row in models]
    return pd.DataFrame(columns)


def further_metrics(result: Findings) -> tuple[str, ...]:
    """Return the names of the metrics beside that of the verdict, in order of appearance."""
    named = dict.fromkeys(name for row in result.models for name in row.metrics)
    return tuple(name for name in named if name != result.setup.metric)


def task_frame(result: Findings) -> pd.DataFrame:
    """Return what sharing does for every task, the largest gain first."""
    import pandas as pd

    tasks = result.tasks
    labels = np.empty(len(tasks), dtype=object)
    for place, task in enumerate(tasks):  # one by one: a tuple is one label
        labels[place] = task.task
    columns: dict[str, Any] = {
        "task": pd.Series(labels, dtype=object),
        "rows": np.array([task.rows for task in tasks], dtype=int),
    }
    for name in ("gain", "low", "high", "raw"):
        columns[name] = np.array([getattr(task, name) for task in tasks], dtype=float)
    columns["group"] = [task.group for task in tasks]
    columns["action"] = [task.action for task in tasks]
    columns["more_rows"] = pd.array([task.more_rows for task in tasks], dtype="Int64")
    columns["coverage"] = np.array([task.coverage for task in tasks], dtype=float)
    return pd.DataFrame(columns)


def split_scores(result: Findings) -> pd.DataFrame:
    """Return the verdict's metric of every model in every outer split."""
    import pandas as pd

    found = [(row.name, j, v) for row in result.models for j, v in enumerate(row.splits)]
    names, splits, values = zip(*found, strict=True) if found else ((), (), ())
    return pd.DataFrame(
        {
            "model": pd.Series(list(names), dtype=object if not names else None),
            "split": np.array(splits, dtype=int),
            "score": np.array(values, dtype=float),
        }
    )
