"""Charts: what is drawn, and names that no font or parser may spoil."""

from __future__ import annotations

import re

import matplotlib
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from polytask import charts
from polytask.charts import axis_limits
from polytask.charts import canvas as _fonts
from polytask.charts import canvas as _labels

matplotlib.use("Agg")
NAN = float("nan")
NAMES = [
    "plain", "$x^2$ and $broken", r"\frac{a}{b}", "<img onerror>", "x" * 300, "两个 tasks",
    "مدرسة", "בית", "👩‍👩‍👧", "a\nb\tc\x00", "", "\ud800", "é",
]  # fmt: skip


def axes():
    return Figure(figsize=(6, 4), layout="constrained").add_subplot()


def written(ax) -> list[str]:
    return [label.get_text() for label in ax.get_yticklabels()]


def drawn(ax) -> None:
    """Draw for real: missing glyphs and broken formulas warn or fail here."""
    ax.figure.savefig(__import__("io").BytesIO(), format="png")


def hostile(ax):
    n = len(NAMES)
    mean = np.linspace(0.2, -0.1, n)
    groups = ["gain", "unclear", "lose"] * n
    return charts.figures.interval_lines(ax, NAMES, mean, mean - 0.05, mean + 0.05, groups[:n])


def test_any_name_can_be_drawn():
    ax = hostile(axes())
    drawn(ax)
    assert written(ax)[:2] == NAMES[:2]
    assert len(written(ax)) == len(NAMES)


@pytest.mark.parametrize("form", ["png", "svg", "pdf"])
def test_any_name_can_be_saved_in_any_form(form, tmp_path):
    hostile(axes()).figure.savefig(tmp_path / f"chart.{form}")


@pytest.fixture
def only_latin(monkeypatch):
    """A machine whose fonts have nothing but ASCII and the ellipsis."""
    ascii_only = frozenset(map(chr, range(32, 127))) | {"…"}
    monkeypatch.setattr(_fonts, "fonts", lambda usual: (usual, ascii_only))


def test_name_that_no_font_has_becomes_its_number_with_a_note(only_latin):
    ax = charts.figures.interval_lines(
        axes(),
        ["a", "两个", "c"],
        [3, 2, 1],
        [NAN] * 3,
        [NAN] * 3,
        ["gain"] * 3,
        numbers=[0, 57, 58],
    )
    assert written(ax) == ["a", "#57", "c"]
    assert ax.get_title(loc="left") == _labels.NOTE


def test_there_is_no_note_where_every_name_can_be_written(only_latin):
    ax = charts.figures.interval_lines(axes(), ["a", "b"], [2, 1], [1, 0], [3, 2], ["gain"] * 2)
    assert ax.get_title(loc="left") == ""


def test_long_names_keep_both_ends():
    assert (
        _labels.shortened("customer_segment_region_north_number_1", 20) == "customer_segm…mber_1"
    )
    assert _labels.shortened("short", 20) == "short"


def test_wide_letters_count_twice():
    short = _labels.shortened("学" * 40, 20)
    assert sum(2 if c != "…" else 1 for c in short) <= 20


@given(st.text(max_size=80), st.integers(6, 40))
def test_shortened_names_fit(text, widest):
    assert charts.width(_labels.shortened(text, widest)) <= widest


def test_first_name_is_on_top_and_groups_have_colours_and_shapes():
    ax = charts.figures.interval_lines(
        axes(), ["a", "b"], [0.2, -0.1], [0.1, -0.2], [0.3, -0.05], ["gain", "lose"], label="Gain"
    )
    bottom, top = ax.get_ylim()
    assert bottom > top
    points = {line.get_marker(): line for line in ax.lines if line.get_marker() in ("o", "D")}
    assert list(points["o"].get_xydata()[0]) == [0.2, 0]
    assert list(points["D"].get_xydata()[0]) == [-0.1, 1]
    assert points["o"].get_color() != points["D"].get_color()
    assert ax.get_xlabel() == "Gain"


def test_recommended_model_is_marked_and_missing_scores_are_left_out():
    ax = charts.figures.interval_lines(
        axes(),
        ["a", "b", "c"],
        [0.5, NAN, 0.4],
        [0.4, NAN, NAN],
        [0.6, NAN, NAN],
        ["unclear", "unclear", "gain"],
        around_zero=False,
    )
    drawn(ax)
    (marked,) = [line for line in ax.lines if line.get_color() == charts.COLOURS["gain"]]
    assert list(marked.get_xydata()[0]) == [0.4, 2]
    assert written(ax) == ["a", "b", "c"]


def test_model_far_off_does_not_squeeze_the_others():
    names = [f"model {j}" for j in range(6)]
    mean = [0.5, 0.48, 0.45, 0.44, 0.4, -8.0]
    groups = ["unclear"] * 6
    ax = charts.figures.interval_lines(axes(), names, mean, mean, mean, groups, around_zero=False)
    assert ax.get_xlim()[0] > 0.3
    assert [line.get_marker() for line in ax.lines].count("<") == 1


@pytest.mark.parametrize(("rows", "scale"), [([20, 30, 40], "linear"), ([5, 50, 900], "log")])
def test_sizes_far_apart_get_a_logarithmic_axis(rows, scale):
    ax = charts.figures.gain_against_size(
        axes(),
        rows,
        [0.1, 0.0, -0.1],
        [0, -0.1, NAN],
        [0.2, 0.1, NAN],
        ["gain", "unclear", "lose"],
    )
    drawn(ax)
    assert ax.get_xscale() == scale
    texts = [label.get_text() for label in ax.get_xticklabels()]
    assert not any("$" in text for text in texts)


def test_size_of_zero_rows_has_a_place():
    ax = charts.figures.gain_against_size(
        axes(), [0, 900], [0, 0], [0, 0], [0, 0], ["unclear"] * 2
    )
    assert ax.get_xscale() == "linear"


@pytest.mark.parametrize(("n", "lines"), [(3, 3), (200, 0)])
def test_of_many_tasks_the_points_stand_without_their_intervals(n, lines):
    gains = np.linspace(-1, 1, n)
    ax = charts.figures.gain_against_size(
        axes(), np.arange(1, n + 1), gains, gains - 1, gains + 1, ["gain"] * n
    )
    segments = [part for found in ax.collections for part in found.get_segments()]
    assert sum(np.ptp(part[:, 1]) > 0 for part in segments) == lines
    assert sum(len(line.get_xdata()) for line in ax.lines if line.get_marker() != "None") == n


def test_heat_map_is_even_around_zero_and_shows_every_number():
    values = np.array([[1.0, -3.0, NAN], [0.5, 0.0, 2.0]])
    ax = charts.figures.heat_map(axes(), values, ["两", "$b$"], ["x", "y", "z"])
    drawn(ax)
    (mesh,) = ax.collections
    colours = np.asarray(mesh.get_facecolor()).reshape(2, 3, 4)
    # The largest is opaque, nothing at 0 and where no number is.
    np.testing.assert_allclose(colours[..., 3], np.nan_to_num(np.abs(values)) / 3.0)
    assert tuple(colours[0, 0, :3]) != tuple(colours[0, 1, :3])
    assert [text.get_text() for text in ax.texts] == ["×"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["x", "y", "z"]


def test_heat_map_of_zeros_and_of_many_columns():
    ax = charts.figures.heat_map(
        axes(), np.zeros((2, 61)), ["a", "b"], [f"task {j}" for j in range(61)]
    )
    drawn(ax)
    assert len(ax.get_xticklabels()) == 0


@pytest.mark.parametrize("n", [0, 1])
def test_few_lines_can_be_drawn(n):
    empty = [0.1] * n
    drawn(charts.figures.interval_lines(axes(), ["a"] * n, empty, empty, empty, ["gain"] * n))
    drawn(
        charts.figures.interval_lines(
            axes(), ["a"] * n, empty, empty, empty, ["gain"] * n, around_zero=False
        )
    )
    drawn(charts.figures.gain_against_size(axes(), empty, empty, empty, empty, ["gain"] * n))


def test_new_axes_belong_to_a_figure_that_a_notebook_knows():
    from matplotlib import pyplot

    ax = charts.new_axes(3, 2)
    try:
        assert ax.figure.number in pyplot.get_fignums()
        assert tuple(ax.figure.get_size_inches()) == (3, 2)
    finally:
        pyplot.close(ax.figure)


def points(ax) -> None:
    charts.figures.gain_against_size(
        ax, [1, 2, 300], [1, 2, 3], [0, 1, 2], [2, 3, 4], ["gain"] * 3
    )


def svg(draw, width=4, height=3):
    return charts.svg(draw, width, height, key="k", title="Title", description="More")


def test_svg_is_the_same_each_time_and_takes_no_style_from_outside():
    first = svg(points)
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "lines.linewidth": 9}):
        assert svg(points) == first
        assert matplotlib.rcParams["font.size"] == 30


def test_svg_leaves_size_fonts_and_background_to_the_page():
    text = svg(points)
    assert text.startswith("<svg viewBox=")
    assert text.endswith("</svg>")
    for part in ("<?xml", "<!DOCTYPE", "<metadata", "<style", "font-family", "http", "xlink"):
        assert part not in text
    assert re.search(r"<text[^>]*>300</text>|>200</text>", text)


def test_svg_has_the_colours_of_the_page_and_names_of_its_own():
    text = svg(points)
    assert not re.findall(r"#[0-9a-f]{6}\b", text)
    assert set(re.findall(r"var\(--(\w+)\)", text)) <= set(charts.COLOURS)
    assert all(name.startswith("k") for name in re.findall(r' id="([^"]*)"', text))
    assert '<title id="k-title">Title</title><desc id="k-desc">More</desc>' in text


def test_svg_escapes_what_is_written_in_it():
    text = svg(lambda ax: ax.set_title("</svg><script>"), 3, 2)
    assert "<script>" not in text
    assert "&lt;/svg&gt;&lt;script&gt;" in text


def test_svg_keeps_names_that_no_font_here_has(only_latin):
    names = ["第一小学", "مدرسة"]
    text = svg(
        lambda ax: charts.figures.interval_lines(ax, names, [1, 2], [0, 1], [2, 3], ["gain"] * 2)
    )
    assert all(f">{name}</text>" in text for name in names)


def test_wrapped_text_fits_and_loses_nothing():
    text = "Learning together, over the better of separate and pooled"
    lines = _labels.wrapped(text, 20).split("\n")
    assert " ".join(lines) == text
    assert all(charts.width(line) <= 20 for line in lines)
    assert _labels.wrapped("学" * 25, 20).split("\n") == ["学" * 10, "学" * 10, "学" * 5]


@pytest.mark.parametrize("around_zero", [True, False])
def test_limits_hold_all_that_is_near(around_zero):
    low, high = axis_limits(
        [0.1, 0.2, 0.3], [0.05, 0.1, 0.2], [0.15, 0.3, 0.4], around_zero=around_zero
    )
    assert low < (0 if around_zero else 0.05) <= 0.4 < high


def test_limits_leave_out_what_is_far_and_cut_long_lines():
    low, high = axis_limits(
        [0.1, 0.2, 0.3, 0.25, -50.0],
        [0, 0.1, 0.2, -90, -60],
        [0.2, 0.3, 0.4, 90, -40],
        around_zero=False,
    )
    assert -1 < low < 0.1
    assert 0.4 < high < 1.5


def test_limits_of_nothing_and_of_one_number():
    assert axis_limits([], [], [], around_zero=True) == (-1.0, 1.0)
    low, high = axis_limits([NAN, 5.0], [NAN, NAN], [NAN, NAN], around_zero=False)
    assert low < 5.0 < high
    low, high = axis_limits([0.0, 0.0], [0.0, 0.0], [0.0, 0.0], around_zero=True)
    assert low < 0 < high


@example([5e-324])
@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=20))
def test_limits_are_an_axis_that_holds_most_points(mean):
    low, high = axis_limits(mean, mean, mean, around_zero=False)
    assert low < high
    assert sum(low <= m <= high for m in mean) > len(mean) / 2


def test_paired_bars_stand_below_their_names():
    ax = axes()
    charts.figures.paired_bars(
        ax, NAMES[:3], [1.0, -2.0, 0.5], [0.1, 0.0, 3.0], words=("all", "own")
    )
    first, second = ax.containers
    assert [bar.get_width() for bar in first] == [1.0, -2.0, 0.5]
    assert [bar.get_width() for bar in second] == [0.1, 0.0, 3.0]
    middles = [[bar.get_y() + bar.get_height() / 2 for bar in bars] for bars in (first, second)]
    assert np.mean(middles, axis=0).tolist() == pytest.approx([0, 1, 2])
    assert ax.yaxis_inverted()
    assert written(ax) == NAMES[:3]
    drawn(ax)
