"""Datasets and loaders of torch as arrays, for the estimators."""

from __future__ import annotations

from typing import Any, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, IterableDataset

from polytask._checks import sentence
from polytask.exceptions import DataError

_ITEMS = "pairs (x, y), or (x, y, task), with x a vector of numbers"


def is_dataset(X: object) -> TypeGuard[Dataset[Any] | DataLoader[Any]]:
    """Say whether X is a dataset or a loader of torch."""
    return isinstance(X, Dataset | DataLoader)


def labelled_arrays(
    X: Dataset[Any] | DataLoader[Any], owner: str
) -> tuple[NDArray[Any], NDArray[Any], list[Any] | None]:
    """Return features, targets and tasks of a dataset, read into memory."""
    items = _items(X, owner)
    sizes = {len(item) if isinstance(item, list | tuple) else 1 for item in items}
    if sizes not in ({2}, {3}):
        raise DataError(sentence("The items of X", owner, _ITEMS, f"{sorted(sizes)} parts"))
    tasks = [_plain(item[2]) for item in items] if sizes == {3} else None
    return _stacked([item[0] for item in items]), _stacked([item[1] for item in items]), tasks


def feature_arrays(
    X: Dataset[Any] | DataLoader[Any], owner: str
) -> tuple[NDArray[Any], list[Any] | None]:
    """Return features, and tasks if the items hold them; items may be x alone."""
    items = _items(X, owner)
    parts = [item if isinstance(item, list | tuple) else (item,) for item in items]
    tasks = [_plain(part[2]) for part in parts] if all(len(p) == 3 for p in parts) else None
    return _stacked([part[0] for part in parts]), tasks


def _items(X: Dataset[Any] | DataLoader[Any], owner: str) -> list[Any]:
    dataset: Any = X.dataset if isinstance(X, DataLoader) else X
    if isinstance(dataset, IterableDataset):
        items = list(dataset)
    else:
        items = [dataset[i] for i in range(len(dataset))]
    if not items:
        raise DataError(sentence("X", owner, "a dataset with items", "none"))
    return items


def _stacked(values: list[Any]) -> NDArray[Any]:
    return np.stack([np.asarray(_plain(value)) for value in values])


def _plain(value: Any) -> Any:  # noqa: ANN401 - a tensor, or anything else
    if not isinstance(value, torch.Tensor):
        return value
    return value.item() if value.ndim == 0 else value.detach().cpu().numpy()
