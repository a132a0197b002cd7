"""Readers of the three file formats in which the original files come."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_UNKNOWN = {"", "?", "-9", "-9.0"}


def read_mat(path: Path) -> dict[str, NDArray[Any]]:
    """Return the variables of a MATLAB file."""
    from scipy.io import loadmat

    return {name: value for name, value in loadmat(path).items() if not name.startswith("__")}


def read_arff(path: Path) -> NDArray[np.float64]:
    """Return the numeric attributes of an ARFF file, one column each."""
    # Shapes: result (n, n_attributes).
    from scipy.io.arff import loadarff

    records, meta = loadarff(path)
    return np.column_stack([records[name] for name in meta.names()]).astype(np.float64)


def read_numbers(path: Path) -> NDArray[np.float64]:
    """Return the numbers of a comma-separated file with one header line."""
    # Shapes: result (n, n_columns).
    with path.open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.reader(stream) if row][1:]
    return np.array([[_value(field.strip()) for field in row] for row in rows])


def _value(field: str) -> float:
    return float("nan") if field in _UNKNOWN else float(field)


def stack(
    blocks: list[NDArray[Any]], targets: list[NDArray[Any]]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]]:
    """Stack one block of rows per task into the long form."""
    # Shapes: blocks (n_t, d), X (n, d), y (n,), index (n,).
    index = np.repeat(np.arange(len(blocks)), [len(block) for block in blocks])
    X = np.concatenate(blocks).astype(np.float64)
    return X, np.concatenate([target.ravel() for target in targets]).astype(np.float64), index
