"""Charts along a scale: what is marked, named and kept in view."""

from __future__ import annotations

import io

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from polytask import charts
from polytask.charts.figures import _apart

mpl.use("Agg")
ALPHAS = np.geomspace(10.0, 0.01, 7)


def axes():
    return Figure(figsize=(6, 4), layout="constrained").add_subplot()


def written(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_error_curve_marks_strengths_and_puts_the_strongest_left():
    ax = charts.figures.error_curve(
        axes(), ALPHAS, np.arange(7.0), np.ones(7), {"chosen": 0.1, "other $x": 1.0}
    )
    first, last = ax.get_xlim()
    assert first > 10.0 > 0.01 > last
    assert [line.get_xdata()[0] for line in ax.lines[1:]] == [0.1, 1.0]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["chosen", "other $x"]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.02, 0.09, ["0.02", "0.05"]),
        (0.013, 0.7, ["0.03", "0.1", "0.3"]),
        (0.31, 0.34, ["0.31", "0.34"]),
        (0.0004, 4000.0, ["0.001", "0.1", "10", "1,000"]),
        (1e-7, 1e6, ["10^{-7}", "10^{-3}", "10^{1}", "10^{5}"]),
        (0.3, 0.3, ["0.3"]),
    ],
)
def test_strengths_have_few_ticks_whatever_their_range(low, high, expected):
    x = np.geomspace(high, low, 7)
    ax = charts.figures.coefficient_lines(axes(), x, np.ones((7, 1)), ["long name " * 3], {})
    ax.figure.canvas.draw()
    seen = [label.get_text() for label in ax.get_xticklabels(which="both")]
    assert len(seen) == len(expected)
    assert all(part in label for part, label in zip(expected, seen, strict=True))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_an_error_beyond_all_others_does_not_squeeze_the_rest(sign):
    error = np.array([3.0, 2.0, 1.0, 1.2, 1.4, 1.6, 1e9])
    ax = charts.figures.error_curve(
        axes(), ALPHAS, sign * error, np.full(7, 0.1), {}, greater_is_better=sign < 0
    )
    assert max(np.abs(ax.get_ylim())) < 10
    low, high = ax.get_ylim()
    assert low < sign * 1.0 < high


def test_undefined_errors_are_left_out():
    ax = charts.figures.error_curve(axes(), ALPHAS, np.full(7, np.nan), np.full(7, np.nan), {})
    ax.figure.savefig(io.BytesIO())


def test_the_longest_lines_are_named_and_empty_ones_are_not():
    sizes = np.outer(np.arange(7.0), [*range(10), 0.0])
    ax = charts.figures.coefficient_lines(axes(), ALPHAS, sizes, [f"f{k}" for k in range(11)], {})
    assert sorted(written(ax)) == [f"f{k}" for k in range(2, 10)]
    ax.figure.savefig(io.BytesIO())


def test_a_path_of_nothing_can_be_drawn():
    ax = charts.figures.coefficient_lines(
        axes(), ALPHAS, np.zeros((7, 3)), list("abc"), {"chosen": 1.0}
    )
    assert written(ax) == []
    ax.figure.savefig(io.BytesIO())


def test_names_are_moved_apart_in_their_order():
    heights = np.array([0.5, 0.51, 0.1, 0.505, np.nan])
    moved = _apart(heights)
    assert np.isnan(moved[4])
    assert np.argsort(moved[:4]).tolist() == np.argsort(heights[:4]).tolist()
    assert np.diff(np.sort(moved[:4])).min() > 0.069
    assert moved[2] == pytest.approx(0.1)
    assert np.mean(moved[[0, 1, 3]]) == pytest.approx(np.mean(heights[[0, 1, 3]]))


def test_learning_curves_name_their_lines():
    ax = charts.figures.learning_curves(
        axes(), [5, 10, 40], {"sharing": [0.1, 0.2, 0.3], "separate": [np.nan, 0.1, 0.3]},
        marked="sharing",
    )  # fmt: skip
    assert written(ax) == ["sharing", "separate"]
    ax.figure.savefig(io.BytesIO())


@pytest.mark.slow
def test_an_image_has_the_same_bytes_again():
    def draw(panels):
        for panel in panels:
            charts.figures.coefficient_lines(
                panel, ALPHAS, np.eye(7)[:, :3], list("abc"), {"c": 1.0}
            )

    for form, head in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        first, second = (charts.image(draw, 4.0, 4.0, 2, form) for _ in range(2))
        assert first == second
        assert first.startswith(head)
