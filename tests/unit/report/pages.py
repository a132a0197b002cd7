"""A parsed page, for tests: elements with their attributes, parents and text."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "br", "img", "input", "link", "hr"}


@dataclass(eq=False)
class Element:
    tag: str
    attributes: dict[str, str | None]
    parent: Element | None
    texts: list[str] = field(default_factory=list)
    children: list[Element] = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())

    def all(self, tag: str) -> list[Element]:
        found = [self] if self.tag == tag else []
        return found + [one for child in self.children for one in child.all(tag)]

    def get(self, name: str) -> str:
        return self.attributes.get(name) or ""


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.top = Element("page", {}, None)
        self.open = [self.top]
        self.every: list[Element] = []

    def handle_starttag(self, tag, attrs) -> None:
        element = Element(tag, dict(attrs), self.open[-1])
        self.open[-1].children.append(element)
        self.every.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open[-1].tag == tag, f"{tag} closes {self.open[-1].tag}"
        self.open.pop()

    def handle_data(self, data) -> None:
        for element in self.open:
            element.texts.append(data)


class Page:
    """All elements of a page; parsing fails where tags do not match."""

    def __init__(self, text: str) -> None:
        builder = _Builder()
        builder.feed(text)
        builder.close()
        assert builder.open == [builder.top]
        self.elements = builder.every
        self.top = builder.top

    def all(self, tag: str) -> list[Element]:
        return [element for element in self.elements if element.tag == tag]

    def by_id(self, name: str) -> Element:
        (found,) = [element for element in self.elements if element.get("id") == name]
        return found

    def column(self, table: str, name: str) -> list[str]:
        """Return the exact values of one column of a table."""
        rows = self.by_id(f"table-{table}").all("tr")
        heads = [cell.get("data-column") for cell in rows[0].all("th")]
        place = heads.index(name)
        return [
            [one for one in row.children if one.tag in ("th", "td")][place].get("data-value")
            for row in rows[1:]
        ]
