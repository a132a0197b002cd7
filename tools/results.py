"""Write the tables of docs/results that have raw rows: ``python tools/results.py``.

A file of docs/results/raw holds what a program of benchmarks/ measured, row by row. In a page
stands ``<!-- table: FILE NAME -->`` before a table and ``<!-- end of table -->`` after it; what is
between them is made from the file, by the program, which computes nothing anew.
"""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"
sys.path.append(str(ROOT / "benchmarks"))
# Files of a program that has several; the others are named after it.
PROGRAMS = {"auto_60s": "auto"}
PLACE = re.compile(r"(<!-- table: (.+?) -->\n)(.*?)(\n<!-- end of table -->)", re.DOTALL)


def tables() -> dict[str, str]:
    """Return every table, by the file and the name that a page has for it."""
    from _kept import Kept

    found: dict[str, str] = {}
    for raw in sorted((RESULTS / "raw").glob("*.jsonl")):
        program = importlib.import_module(PROGRAMS.get(raw.stem, raw.stem))
        rows = getattr(program, "read", Kept)(raw)
        found |= {f"{raw.stem} {name}": text for name, text in program.tables(rows).items()}
    return found


def written(text: str, known: dict[str, str]) -> str:
    """Return a page with its tables made anew."""
    return PLACE.sub(lambda at: f"{at[1]}\n{known[at[2]]}\n{at[4]}", text)


def main() -> None:
    """Rewrite the pages."""
    known, pages = tables(), {path: path.read_text("utf-8") for path in RESULTS.glob("*.md")}
    for path, text in pages.items():
        path.write_text(written(text, known), encoding="utf-8")
    lacking = set(known) - {at[1] for text in pages.values() for at in PLACE.findall(text)}
    if lacking:
        sys.exit(f"no page has a place for {', '.join(sorted(lacking))}")


if __name__ == "__main__":
    main()
