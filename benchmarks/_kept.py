"""Results that long programs keep, so that a run that was stopped can go on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Kept:
    """Results of earlier runs in a file of lines, so that a run can be continued."""

    def __init__(self, path: str | Path | None, title: str = "") -> None:
        self.path, self.title = path, title
        known = Path(path).read_text().splitlines() if path and Path(path).exists() else []
        self.values = {tuple(key): tuple(value) for key, value in map(json.loads, known)}

    def grouped(self) -> dict[str, dict[str, dict[int, Any]]]:
        """Return all results by title, label and split."""
        found: dict[str, dict[str, dict[int, Any]]] = {}
        for (title, label, split), value in sorted(self.values.items(), key=lambda one: one[0][2]):
            found.setdefault(title, {}).setdefault(label, {})[split] = value
        return found

    def get(self, label: str, split: int, compute: Callable[[], Any]) -> Any:
        """Return a result, computed if it is not known."""
        key = (self.title, label, split)
        if key not in self.values:
            self.values[key] = compute()
            if self.path:
                with Path(self.path).open("a") as file:
                    file.write(json.dumps([key, self.values[key]]) + "\n")
        return self.values[key]
