"""Where the rows of a part stand in what is read, as refusals name them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.exceptions import PolytaskError
from polytask.messages import LazyMessage, message_of

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, eq=False)
class Place:
    """Where the rows of a part stand: behind how many others, and in which of several files."""

    first: int = 0
    file: str | None = None
    # Which of the rows there are rows of the part; None for all.
    kept: NDArray[np.intp] | None = None

    @contextmanager
    def named(self) -> Iterator[None]:
        """Count rows, in what is refused of the part, from the first row of the file."""
        try:
            yield
        except PolytaskError as error:
            said = message_of(error)
            if isinstance(said, LazyMessage):
                told = self._told(said)
                # A message that names no row is the same wherever the rows stand.
                if self.file is not None and Place(1)._told(said) != said:
                    told = LazyMessage("place.in_file", {"file": self.file, "said": told})
                error.args = (told,)
            raise

    def _told(self, message: LazyMessage) -> LazyMessage:
        fields = {}
        for name, value in message.fields.items():
            numbers = name == "row" or (name == "rows" and message.key == "rows.some")
            fields[name] = self._numbered(value) if numbers else self._within(value)
        return LazyMessage(message.key, fields)

    def _within(self, value: Any) -> Any:  # noqa: ANN401 - a field of a message
        if isinstance(value, list):
            return [self._within(item) for item in value]
        if isinstance(value, Mapping):
            return self._told(LazyMessage(**value)).node
        return self._told(value) if isinstance(value, LazyMessage) else value

    def _numbered(self, rows: Any) -> str:  # noqa: ANN401 - a number, or several in a text
        def there(found: re.Match[str]) -> str:
            row = int(found[0])
            return str(self.first + (row if self.kept is None else int(self.kept[row])))

        return _NUMBER.sub(there, str(rows))
