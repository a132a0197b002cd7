"""Names stay inside a drawing whatever fonts the machine and the reader have."""

from __future__ import annotations

import re
import unicodedata
import warnings

import numpy as np
import pytest

from polytask.charts import canvas, figures

NAMES = ["北京朝阳区第一百货商店", "广州天河店", "上海浦东新区旗舰店"]
SENTENCES = [
    "最好的联合模型与最好的分开或合并模型相比",
    "共用一个模型，与每个任务一个模型相比",
]


def _heat(ax):
    figures.heat_map(ax, np.eye(3), NAMES, NAMES)


def _lines(ax):
    groups = ["gain"] * 2
    figures.interval_lines(
        ax, SENTENCES, [1.0, 2.0], [0.5, 1.5], [1.5, 2.5], groups, sentences=True
    )


def _drawn(draw):
    return canvas.svg(draw, 5.0, 3.0, key="k", title="t", description="d")


@pytest.mark.parametrize("draw", [_heat, _lines])
def test_wide_letters_stay_inside_where_no_font_has_them(draw):
    drawing = _drawn(draw)
    _, _, wide, high = map(float, re.search(r'viewBox="([^"]*)"', drawing)[1].split())
    found = re.findall(r"<text([^>]*)>([^<]*)</text>", drawing)
    wide_texts = [(a, t) for a, t in found if unicodedata.east_asian_width(t[0]) == "W"]
    assert len(wide_texts) >= 4
    for attributes, text in wide_texts:
        # The page knows where a name ends, and its letters are one size wide.
        assert "text-anchor: end" in attributes
        x, y = (float(re.search(rf' {c}="([-\d.]+)"', attributes)[1]) for c in "xy")
        length = 9.0 * len(text)
        if "rotate(-90" in attributes:
            assert y + length <= high
        else:
            assert x - length >= 0
        assert 0 <= x <= wide


def test_the_numbers_of_the_scale_beside_a_map_stay_inside():
    names = [f"Community clinic of {k}" for k in range(6)]
    drawing = _drawn(lambda ax: figures.task_map(ax, np.eye(6), names, ((0, 1, 0.2, 2),)))
    wide = float(re.search(r'viewBox="([^"]*)"', drawing)[1].split()[2])
    found = re.findall(r'<text[^>]* x="([\d.]+)"[^>]*>(-?[01])</text>', drawing)
    assert [text for _, text in found] == ["1", "0", "-1"]
    assert all(float(x) + 6.0 * len(text) <= wide for x, text in found)


def test_numbers_stand_for_names_that_a_picture_cannot_show(monkeypatch):
    monkeypatch.setattr(canvas, "fonts", lambda usual: (usual, frozenset(map(chr, range(256)))))
    shown = []

    def draw(panels):
        shown.append(canvas.labels(NAMES))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        canvas.image(draw, 3.0, 2.0, 1, "png")
        canvas.image(draw, 3.0, 2.0, 1, "svg")
    assert shown[0].texts == ["#0", "#1", "#2"]
    assert shown[0].replaced
    assert shown[1].texts == NAMES
