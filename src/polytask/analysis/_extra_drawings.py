"""Pictures of strength, rows to learn from, and terms of a penalty."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from polytask import _charts
from polytask._messages import Speech, clean
from polytask.analysis import _extra_sentences
from polytask.analysis._extra_parts import StrengthPath
from polytask.analysis._sentences import metric_word
from polytask.exceptions import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from polytask.analysis.result import Comparison


def _path(result: Comparison) -> StrengthPath:
    if result.path is None:
        raise DataError("There is no path to draw: no sharing model was searched.")
    return result.path


def strength(result: Comparison, ax: Axes) -> Axes:
    """Draw the held-out error against the strength of the penalty."""
    path, speech = _path(result), Speech()
    loss = path.measure == "loss"
    word = speech("strength.score", {"score": speech.word("short", path.measure)})
    return _charts.error_curve(
        ax,
        path.alphas,
        [-score if loss else score for score in path.scores],
        path.standard_errors,
        _extra_sentences.marks(path, speech),
        labels=("Strength", speech("strength.loss") if loss else word),
        greater_is_better=not loss,
    )


def path(result: Comparison, ax: Axes) -> Axes:
    """Draw the largest coefficients against the strength of the penalty."""
    found, speech = _path(result), Speech()
    lines = [list(at) for at in zip(*found.sizes, strict=True)] or [[]] * len(found.alphas)
    return _charts.coefficient_lines(
        ax,
        found.alphas,
        lines,
        [clean(name) for name in found.names],
        _extra_sentences.marks(found, speech),
        labels=("Strength", speech("strength.sizes")),
    )


def learning(result: Comparison, ax: Axes) -> Axes:
    """Draw the scores against training rows per task."""
    points, speech = result.learning, Speech()
    if not points:
        raise DataError("There is no learning curve to draw: compare with learning_curve=True.")
    curves = {
        speech(f"learning.{name}"): [getattr(point, name).mean for point in points]
        for name in ("shared", "pooled", "separate")
    }
    known = {name: means for name, means in curves.items() if any(map(math.isfinite, means))}
    metric = metric_word(result.setup, speech)
    return _charts.learning_curves(
        ax,
        [point.rows for point in points],
        known,
        marked=speech("learning.shared"),
        labels=(speech("learning.across"), speech("learning.upward", {"metric": metric})),
    )


def ablation(result: Comparison, ax: Axes) -> Axes:
    """Draw what every term of the penalty adds."""
    if not result.ablation:
        raise DataError("There is no ablation to draw: compare with ablation=True.")
    speech = Speech()
    gains = [one.gain for one in result.ablation]
    metric = metric_word(result.setup, speech)
    return _charts.gain_forest(
        ax,
        [clean(one.term) for one in result.ablation],
        [gain.mean for gain in gains],
        [gain.low for gain in gains],
        [gain.high for gain in gains],
        ["gain" if g.above else "lose" if g.below else "unclear" for g in gains],
        label=speech("ablation.caption", {"metric": metric}),
    )
