"""A document as one web page that needs no other file and no network, or as a part of one."""

from __future__ import annotations

import base64
import functools
import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING

from polytask import charts
from polytask.messages import CLOSE, OPEN, Translator, unmarked
from polytask.reporting.document import Document, Figure

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


def page(document: Document) -> str:
    """Return a document as HTML."""
    script = _source("page.js")
    return (
        _environment()
        .get_template("page.html")
        .render(
            document=document,
            say=Translator(document.lang),
            style=_source("style.css"),
            script=script,
            # Only this script may run, whatever a string of the user holds.
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )


def notebook(document: Document) -> str:
    """Return what comes first in a document, and its brief table, as HTML without styles."""
    return _environment().get_template("notebook.html").render(document=document)


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("polytask.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(named=_named, drawn=_drawn)
    environment.tests["kind"] = lambda block, name: type(block).__name__ == name
    return environment


@functools.cache
def _source(name: str) -> Markup:
    from markupsafe import Markup

    text = files("polytask.reporting").joinpath("templates", name).read_text(encoding="utf-8")
    return Markup(text.strip())


def _named(sentence: str) -> Markup:
    """Escape a sentence and set names of users apart, so that they keep their direction."""
    from markupsafe import Markup, escape

    text = str(escape(sentence))
    return Markup(text.replace(OPEN, '<bdi class="own">').replace(CLOSE, "</bdi>"))


def _drawn(figure: Figure) -> Markup:
    from markupsafe import Markup

    text = charts.svg(
        figure.draw,
        figure.width,
        figure.height,
        key=figure.key,
        title=unmarked(figure.title),
        description=unmarked(figure.description),
    )
    return Markup(text)
