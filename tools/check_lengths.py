"""Check that files and functions stay short, and that no text names a machine or is unfinished.

Usage: python tools/check_lengths.py [FOLDER], from anywhere; the default folder is the project.
"""

from __future__ import annotations

import ast
import math
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

MAX_FILE = 700
MAX_BODY = 60
FOLDERS = ("src", "tests", "tools", "docs", "examples", "benchmarks", "changelog", ".ci")
SUFFIXES = {".py", ".md", ".rst", ".toml", ".txt", ".cfg", ".yml", ".yaml", ".json", ".ipynb", ""}
SKIPPED = {".git", "__pycache__", "_build", "auto_examples"}

# Folders of somebody's machine; a path after a host name or a relative path is not one.
MACHINE_PATH = re.compile(r"(?<![\w.~/-])/(?:work|home|root|opt|tmp|Users)/\w")
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX)\b")

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Body(NamedTuple):
    """The body of one function: where it is, and how many lines it has."""

    path: Path
    line: int
    name: str
    length: int


def body_length(function: Function) -> int:
    """Count the lines from the first statement after the docstring to the last one."""
    statements = function.body[1:] if ast.get_docstring(function) is not None else function.body
    if not statements:
        return 0
    first = statements[0]
    decorators: list[ast.expr] = getattr(first, "decorator_list", [])
    start = min([first.lineno, *(decorator.lineno for decorator in decorators)])
    end = statements[-1].end_lineno or start
    return end - start + 1


def bodies(path: Path) -> Iterator[Body]:
    """Yield every function of a file that has a body."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, Function) and (length := body_length(node)):
            yield Body(path, node.lineno, node.name, length)


def quantile(values: list[int], share: float) -> int:
    """Return the smallest value that at least `share` of the values do not exceed."""
    return sorted(values)[max(math.ceil(share * len(values)), 1) - 1]


def texts(root: Path) -> Iterator[Path]:
    """Yield the source, test and documentation files of the project."""
    inside = (path for folder in FOLDERS for path in (root / folder).rglob("*"))
    for path in sorted([*root.glob("*"), *inside]):
        skipped = SKIPPED.intersection(path.relative_to(root).parts)
        if path.is_file() and path.suffix in SUFFIXES and not skipped:
            yield path


def matches(paths: Iterable[Path], pattern: re.Pattern[str], what: str) -> Iterator[str]:
    """Yield one sentence for each line that matches."""
    for path in paths:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        for number, line in enumerate(lines, start=1):
            if pattern.search(line):
                yield f"{path}:{number}: {what}"


def long_files(paths: Iterable[Path]) -> Iterator[str]:
    """Yield one sentence for each file that is too long."""
    for path in paths:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > MAX_FILE:
            yield f"{path}: {lines} lines, at most {MAX_FILE}"


def long_bodies(found: Iterable[Body]) -> Iterator[str]:
    """Yield one sentence for each function that is too long."""
    for body in found:
        if body.length > MAX_BODY:
            place = f"{body.path}:{body.line}"
            yield f"{place}: {body.name} has a body of {body.length} lines, at most {MAX_BODY}"


def main(root: Path) -> int:
    """Print the measures and every fault; return the exit status."""
    sources = sorted((root / "src").rglob("*.py"))
    found = [body for path in sources for body in bodies(path)]
    lengths = [body.length for body in found] or [0]
    print(
        f"{len(sources)} files, {len(found)} functions; body lines: median "
        f"{quantile(lengths, 0.5)}, 95% {quantile(lengths, 0.95)}, max {max(lengths)}"
    )
    faults = [
        *long_files(sources),
        *long_bodies(found),
        *matches(texts(root), MACHINE_PATH, "names a folder of one machine"),
        *matches(sources, UNFINISHED, "marks unfinished work"),
    ]
    print("\n".join(faults) if faults else "No fault found.")
    return 1 if faults else 0


if __name__ == "__main__":
    given = sys.argv[1:]
    sys.exit(main(Path(given[0]) if given else Path(__file__).resolve().parents[1]))
