"""Sentences whose form depends on a number."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plural:
    """The forms of a sentence that counts something."""

    field: str
    one: str
    other: str
    zero: str | None = None

    def form(self, number: int) -> str:
        """Return the template for a number."""
        if number == 0 and self.zero is not None:
            return self.zero
        return self.one if number == 1 else self.other

    def templates(self) -> tuple[str, ...]:
        """Return all forms."""
        return tuple(form for form in (self.zero, self.one, self.other) if form is not None)


Template = str | Plural
