"""Check the built site: links, anchors, texts of pictures, headings, and a whole reference.

Usage: python tools/check_site.py [FOLDER], by default ``docs/_build/html``. A fault is a line;
the exit status is 1 if there is one.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from enum import Enum
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]


class Page(HTMLParser):
    """What a page says of itself: anchors, links, headings and pictures of its article."""

    def __init__(self, path: Path) -> None:
        """Read the file."""
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.headings: list[int] = []
        self.faults: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag means."""
        given = dict(attrs)
        self.ids.update(filter(None, (given.get("id"), given.get("name") if tag == "a" else None)))
        self.links += filter(None, (given.get(name) for name in ("href", "src", "srcset")))
        thumbnail = (given.get("src") or "").endswith("_thumb.png")  # its link has the title
        if tag == "img" and not thumbnail and not (given.get("alt") or "").strip():
            self.faults.append(f"picture without alternative text: {given.get('src')}")
        if len(tag) == 2 and tag[0] == "h" and tag[1].isdigit():
            self.headings.append(int(tag[1]))


def faults_of_pages(site: Path) -> Iterator[str]:
    """Yield what is wrong with links, pictures and headings."""
    pages = {
        path.resolve(): Page(path)
        for path in sorted(site.rglob("*.html"))
        if "_static" not in path.parts
    }
    for path, page in pages.items():
        place = path.relative_to(site)
        yield from (f"{place}: {fault}" for fault in page.faults)
        if page.headings.count(1) != 1:
            yield f"{place}: {page.headings.count(1)} headings of the first level, not one"
        deeper = zip(page.headings, page.headings[1:], strict=False)
        yield from (f"{place}: h{a} is followed by h{b}" for a, b in deeper if b > a + 1)
        for link in dict.fromkeys(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                yield f"{place}: no file for {link}"
            elif parts.fragment and unquote(parts.fragment) not in pages[target].ids:
                yield f"{place}: no anchor for {link}"


def faults_of_reference(site: Path) -> Iterator[str]:
    """Yield public names without a page, and parameters or base classes that it lacks."""
    sys.path.insert(0, str(ROOT / "docs"))
    public = importlib.import_module("conf").PUBLIC
    for module, kinds in public.items():
        for name in kinds["objects"]:
            path = site / "generated" / f"{module}.{name}.html"
            if not path.is_file():
                yield f"reference: no page for {module}.{name}"
                continue
            value = getattr(importlib.import_module(module), name)
            text = path.read_text(encoding="utf-8")
            if isinstance(value, type) and issubclass(value, Exception | Enum):
                # Who catches an error must know what else would.
                bases = value.__bases__ if issubclass(value, Exception) else ()
                lacking = {base.__name__ for base in bases if f">{base.__name__}<" not in text}
            else:
                told = re.findall(r"\w+", " ".join(re.findall("<strong>(.*?)</strong>", text)))
                wanted = {p for p in inspect.signature(value).parameters if p[0] != "_"}
                lacking = wanted - {"args", "kwargs"} - set(told)
            if lacking:
                yield f"reference: {module}.{name} does not describe {', '.join(sorted(lacking))}"


def main() -> int:
    """Print the faults."""
    site = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "docs" / "_build" / "html").resolve()
    faults = [*faults_of_pages(site), *faults_of_reference(site)]
    for line in (*faults, f"{len(faults)} faults"):
        print(line)
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
