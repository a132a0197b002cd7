"""Data sets of the folder that POLYTASK_DATA names, as the benchmarks use them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

# Sparse sets with at most so many columns are made dense, so that trees and nets can take them.
_DENSE = 2000


@dataclass(frozen=True)
class RealSet:
    """One set: long (task given) or targets form (task None, y a matrix)."""

    name: str
    X: Any
    y: np.ndarray
    task: np.ndarray | None
    classes: bool


def data_folder() -> Path:
    """Return the folder of the sets, or stop with a sentence."""
    folder = os.environ.get("POLYTASK_DATA")
    if not folder or not Path(folder).is_dir():
        raise SystemExit("Set POLYTASK_DATA to the folder that holds the data sets (NAME.npz).")
    return Path(folder)


def load_set(name: str, max_rows: int | None = None) -> RealSet:
    """Load a set; X becomes a data frame where it has missing cells."""
    folder = data_folder()
    card = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    with np.load(folder / f"{name}.npz", allow_pickle=False) as file:
        arrays = dict(file)
    X = _design(arrays)
    y = arrays["y"]
    task = arrays["task"] if card["layout"] == "stacked" else None
    if max_rows is not None:
        X, y = X[:max_rows], y[:max_rows]
        task = None if task is None else task[:max_rows]
    classes = card["kind"] == "binary"
    if classes and y.ndim == 1:
        y = y.astype(int)
    return RealSet(name, X, y, task, classes)


def load_table(name: str) -> RealSet:
    """Load a set as a user would bring it: dense, but for thousands of columns.

    The third target of hillstrom is a number and left out.
    """
    data = load_set(name)
    if name == "hillstrom":
        data = replace(data, y=data.y[:, :2], classes=True)
    if hasattr(data.X, "indptr") and data.X.shape[1] <= _DENSE:
        data = replace(data, X=data.X.toarray())
    return data


def _design(arrays: dict[str, np.ndarray]) -> Any:
    if "X_data" in arrays:
        # Trees of scikit-learn take no 64-bit places.
        places = (arrays[name].astype(np.int32) for name in ("X_indices", "X_indptr"))
        parts = (arrays["X_data"], *places)
        return sp.csr_array(parts, shape=tuple(arrays["X_shape"])).astype(float)
    X = arrays["X"].astype(float)
    if np.isnan(X).any():
        import pandas as pd

        return pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])
    return X
