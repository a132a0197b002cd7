"""The Chinese pages of the gallery run the code of the English ones."""

import ast
from pathlib import Path

import pytest

GALLERY = Path(__file__).parents[2] / "examples" / "gallery"


@pytest.mark.parametrize("page", sorted(GALLERY.glob("zh/*.py")), ids=lambda page: page.stem)
def test_both_languages_have_the_same_code(page):
    english = GALLERY / f"{page.stem.removesuffix('_zh')}.py"
    one, other = (ast.parse(file.read_text(encoding="utf-8")) for file in (page, english))
    assert ast.dump(ast.Module(one.body[1:], [])) == ast.dump(ast.Module(other.body[1:], []))
