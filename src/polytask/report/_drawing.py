"""Drawings of a page: named for those who cannot see them, in the colours of the page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from polytask import _charts

if TYPE_CHECKING:
    from markupsafe import Markup

_NAMES = re.compile(r'((?: id="|url\(#|href="#))([^")]+)')


def dressed(drawing: str, key: str, title: str, description: str) -> Markup:
    """Give a drawing its name, and colours that follow the page."""
    from markupsafe import Markup, escape

    for name, colour in _charts.COLOURS.items():
        drawing = drawing.replace(colour, f"var(--{name})")
    # What is named within a drawing is its own: there are others on the page.
    drawing = _NAMES.sub(rf"\g<1>{key}_\g<2>", drawing)
    head, _, rest = drawing.partition(">")
    named = Markup(
        ' role="img" aria-labelledby="{key}-title {key}-desc"><title id="{key}-title">{title}'
        '</title><desc id="{key}-desc">{description}</desc>'
    ).format(key=key, title=escape(title), description=escape(description))
    return Markup(head + str(named) + rest)
