"""Errors about one cell, which whoever ordered the rows can place."""

from __future__ import annotations

from collections.abc import Callable

from polytask.exceptions import DataError


class CellError(DataError):
    """A cell that cannot be used; whoever ordered the rows can say which one was given."""

    def __init__(self, *parts: str | int) -> None:
        self.parts = parts
        super().__init__(self.told(lambda row: f"row {row}"))

    def told(self, place: Callable[[int], str]) -> str:
        """Return the sentence, each row named by a function."""
        return "".join(part if isinstance(part, str) else place(part) for part in self.parts)
