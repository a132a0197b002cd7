"""Task labels of a file, in the type that the model knows them by."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def known_labels(column: pd.Series[Any], tasks: Any) -> list[Hashable]:  # noqa: ANN401 - an array
    """Return labels, each as the model knows it if it is written the same way."""
    # Shapes: column (n,), tasks (n_tasks,).
    # Whether a column of a text file is read as numbers depends on all its cells: "7" beside
    # "A1" is text, alone it is a number. The model's labels decide what it means here; "07" is
    # never 7.
    from polytask.data.labels import label_list

    known = np.asarray(tasks).tolist()
    spelled: dict[str, Hashable] = {}
    for label in known:
        spelled[_spelling(label)] = label
    exact = set(known)
    return [
        label if label in exact else spelled.get(_spelling(label), label)
        for label in label_list(column)
    ]


def as_column(labels: list[Hashable]) -> pd.Series[Any]:
    """Return labels as a column that keeps their types. Shapes: result (n,)."""
    import pandas as pd

    column: pd.Series[Any] = pd.Series(labels, dtype=object).infer_objects()
    return column


def _spelling(label: Hashable) -> str:
    # A file's TRUE is read as a truth value.
    return str(label).casefold() if isinstance(label, bool) else str(label)
