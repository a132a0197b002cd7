"""Run the code of a page: what a reader would type, compared with what the page says it prints."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

# What a block needs that has this text.
_PACKAGES = {"polytask.deep import": "torch", "import keras": "keras"}
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: its language, its text and the line where it starts."""

    language: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page in their order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(found[1], found[2], text.count("\n", 0, found.start()) + 1)
        for found in FENCE.finditer(text)
    ]


def run_page(page: Path) -> None:
    """Run every block of a page, one after another, in the current folder.

    Python blocks share their names; of ``sh`` blocks the lines that start with "polytask" are
    run; a ``text`` block is what the block before it prints.
    """
    names: dict[str, Any] = {"__name__": page.stem}
    found = _that_can_run(blocks(page))
    for block, after in zip(found, [*found[1:], None], strict=True):
        printed = _run(block, page, names)
        if after is not None and after.language == "text":
            place = f"{page.name}:{after.line} should read\n{printed}"
            assert _stripped(printed) == _stripped(after.text), place
        else:
            assert block.language != "python" or not printed, f"{page.name}:{block.line} prints"


def _that_can_run(found: list[Block]) -> list[Block]:
    """Return blocks less those that need an absent package, with what they print."""
    absent = [text for text, package in _PACKAGES.items() if find_spec(package) is None]
    kept: list[Block] = []
    for before, block in zip([None, *found], found, strict=False):
        owner = before if block.language == "text" and before is not None else block
        if not any(text in owner.text for text in absent):
            kept.append(block)
    return kept


def _run(block: Block, page: Path, names: dict[str, Any]) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        if block.language == "python":
            # Blank lines in front, so that a traceback names the line of the page.
            exec(compile("\n" * block.line + block.text, str(page), "exec"), names)
        elif block.language == "sh":
            for line in block.text.splitlines():
                _command(line, f"{page.name}:{block.line}: {line}")
    return out.getvalue()


def _command(line: str, place: str) -> None:
    words = shlex.split(line)
    if words and words[0] == "polytask":
        from polytask.cli import main

        assert main(words[1:]) == 0, place


def _stripped(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines()]
