"""A sentence that is said later, in a language chosen then."""

from __future__ import annotations

from dataclasses import dataclass, field

from polytask._messages._speech import Speech


@dataclass(frozen=True)
class Said:
    """A key of the table with its fields."""

    key: str
    fields: dict[str, int] = field(default_factory=dict)

    def text(self, speech: Speech) -> str:
        """Return the sentence in the language of a speech."""
        return speech(self.key, self.fields)

    def __str__(self) -> str:
        """Return the sentence in English."""
        return self.text(Speech())
