"""Which statistics tell of few rows, so that a site must not hand them over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._checks import is_whole, sentence
from polytask.exceptions import DataError, ParameterError
from polytask.messages import LazyMessage, Text

# The sums of values and of squares give away how often each of so many values occurs.
_COUNTABLE = 3
# Groups of few rows that a message names.
_SHOWN = 5

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class SmallCounts:
    """Refuses the statistics of a cell where some sum is over few rows, but not over none."""

    # A cell has the rows of one task and fold. A row is told apart where a level, a pair of
    # levels or what is left of either has few rows; so is its value of a number that all other
    # rows have alike.

    minimum: int
    names: Sequence[str]

    def __post_init__(self) -> None:
        """Check the minimum."""
        if not is_whole(self.minimum) or self.minimum < 2:
            allowed = LazyMessage("allowed.from_two")
            raise ParameterError(sentence("minimum", "Schema", allowed, repr(self.minimum)))

    def check(self, values: NDArray[np.float64], n_features: int, cell: Text) -> None:
        """Check the rows of a cell. Shapes: values (n, n_features + n_targets)."""
        n, least = len(values), max(self.minimum, 2 * n_features)
        if n <= least:
            fields: dict[str, Any] = {"cell": cell, "n": str(n), "least": str(least)}
            fields |= {"minimum": str(self.minimum), "features": str(n_features)}
            raise DataError(LazyMessage("statistics.refusal.few_rows", fields))
        found = list(self._groups(values))
        masks = np.array([mask for _, mask, _ in found], dtype=float).reshape(-1, n)
        both = np.rint(masks @ masks.T)
        count = np.diagonal(both)
        known = np.array([level for _, _, level in found], dtype=bool)
        # The rows of neither, of the first alone, of the second alone, and of both.
        parts = {
            "both": both,
            "first": np.where(known[None], count[:, None] - both, 0),
            "neither": np.where(known & known[:, None], n - count[:, None] - count + both, 0),
        }
        few: list[Text] = []
        for which, counts in parts.items():
            for first, second in np.argwhere((counts > 0) & (counts < self.minimum)):
                if first > second and which != "first":
                    continue
                one, other = found[first][0], found[second][0]
                key = which if first != second else "one" if which == "both" else "others"
                fields = {"one": one, "other": other, "n": str(int(counts[first, second]))}
                few.append(LazyMessage(f"statistics.rows.{key}", fields))
        if few:
            shown = [*few[:_SHOWN], *["..."] * (len(few) > _SHOWN)]
            fields = {"cell": cell, "few": shown, "minimum": str(self.minimum)}
            raise DataError(LazyMessage("statistics.refusal.few", fields))

    def _groups(self, values: NDArray[np.float64]) -> Iterator[tuple[Text, Mask, bool]]:
        """Yield the rows that have a value, or another one than most, and whether they are all."""
        for name, column in zip(self.names, values.T, strict=True):
            known, code, counts = np.unique(column, return_inverse=True, return_counts=True)
            fields = {"name": name}
            if len(known) <= _COUNTABLE:
                # Of two values one tells where the other is.
                for k, value in list(enumerate(known))[len(known) == 2 :]:
                    yes = "yes" if value == 1 and len(known) == 2 and known[0] == 0 else "value"
                    yield (
                        LazyMessage(f"statistics.rows.{yes}", fields | {"value": f"{value:g}"}),
                        code.ravel() == k, True,
                    )  # fmt: skip
            elif counts.max() >= self.minimum:
                usual = int(counts.argmax())
                fields["value"] = f"{known[usual]:g}"
                yield LazyMessage("statistics.rows.unlike", fields), code.ravel() != usual, False
