"""Strength, learning curve and terms of a penalty, as tables and drawings of a report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from polytask import charts
from polytask.comparison import Comparison
from polytask.comparison import sentences as says
from polytask.comparison.records import Interval, StrengthPath
from polytask.comparison.sentences import metric_word
from polytask.messages import Translator, clean, decimals, plain_number
from polytask.reporting.drawing import Chart, Line, chart, dressed
from polytask.reporting.tables import (
    Cell,
    Column,
    Table,
    common_places,
    difference_table,
    interval_shower,
    own,
)

if TYPE_CHECKING:
    from markupsafe import Markup


_WIDTH, _HEIGHT = 6.4, 2.9
# Error and sizes have one axis across: their charts stand below each other.
_BOX = (0.13, 0.14, 0.76, 0.82)


def context(result: Comparison, speech: Translator, marked: Translator) -> dict[str, Any]:
    """Return what a page shows of strength, rows and terms."""
    path = result.path
    return {
        "strength_said": says.strength(result, marked),
        "strength_upward": "" if path is None else _measure(path, speech),
        "strength_error": None if path is None else _error_svg(path, speech),
        "strength_sizes": None if path is None else _sizes_svg(path, speech),
        "strength_marks": [] if path is None else list(says.marks(path, speech)),
        "strength_names": [] if path is None else [clean(name) for name in path.names],
        "path_table": None if path is None else path_table(path, speech),
        "kept_table": kept_table(result, speech),
        "mattered_table": mattered_table(result, speech),
        "learning_said": says.learning(result, marked),
        "learning_names": list(_curves(result, speech)),
        "learning_svg": _learning_svg(result, speech) if result.learning else None,
        "learning_table": learning_table(result, speech),
        "ablation_said": says.ablation(result, marked),
        "ablation_model": speech.name(result.ablation[0].model) if result.ablation else "",
        "ablation_chart": _ablation_chart(result, speech) if result.ablation else None,
        "ablation_table": ablation_table(result, speech),
    }


def _measure(path: StrengthPath, speech: Translator) -> str:
    if path.measure == "loss":
        return speech("strength.loss")
    return speech("strength.score", {"score": speech.word("short", path.measure)})


def _shown_scores(path: StrengthPath) -> list[float]:
    """Return errors where the score is minus one."""
    sign = -1.0 if path.measure == "loss" else 1.0
    return [sign * score for score in path.scores]


def _error_svg(path: StrengthPath, speech: Translator) -> Markup:
    def draw(ax: Any) -> None:  # noqa: ANN401 - Axes
        charts.error_curve(
            ax,
            path.alphas,
            _shown_scores(path),
            path.standard_errors,
            says.marks(path, speech),
            labels=("", ""),
            greater_is_better=path.measure != "loss",
            named=False,
        )

    title = _measure(path, speech)
    return dressed(
        charts.svg(draw, _WIDTH, _HEIGHT, _BOX), "error", title, speech("strength.error_desc")
    )


def _sizes_svg(path: StrengthPath, speech: Translator) -> Markup:
    def draw(ax: Any) -> None:  # noqa: ANN401 - Axes
        lines = [list(at) for at in zip(*path.sizes, strict=True)] or [[]] * len(path.alphas)
        # The page has the fonts for names, the drawing may not.
        names = [str(k + 1) for k in range(len(path.names))]
        marks = says.marks(path, speech)
        charts.coefficient_lines(ax, path.alphas, lines, names, marks, labels=("", ""))

    drawing = charts.svg(draw, _WIDTH, _HEIGHT, _BOX)
    return dressed(drawing, "sizes", speech("strength.sizes"), speech("strength.sizes_desc"))


def _curves(result: Comparison, speech: Translator) -> dict[str, list[float]]:
    """Return the scores of each kind of model against rows, by its name."""
    named = {
        speech(f"learning.{name}"): [getattr(point, name).mean for point in result.learning]
        for name in ("shared", "pooled", "separate")
    }
    return {name: means for name, means in named.items() if any(map(math.isfinite, means))}


def _learning_svg(result: Comparison, speech: Translator) -> Markup:
    def draw(ax: Any) -> None:  # noqa: ANN401 - Axes
        marked, curves = speech("learning.shared"), _curves(result, speech)
        rows = [point.rows for point in result.learning]
        charts.learning_curves(ax, rows, curves, marked=marked, labels=("", ""), named=False)

    title, description = speech("section.learning"), speech("learning.desc")
    return dressed(charts.svg(draw, _WIDTH, _HEIGHT), "learning", title, description)


def _columns(
    speech: Translator, texts: Sequence[str], numeric: Sequence[str]
) -> tuple[Column, ...]:
    plain = [Column(name, speech(f"column.{name}")) for name in texts]
    return (*plain, *(Column(name, speech(f"column.{name}"), numeric=True) for name in numeric))


def _percent(share: float, speech: Translator) -> Cell:
    return Cell(
        speech("number.percent", {"value": f"{100 * share:.1f}".removesuffix(".0")}), share
    )


def path_table(path: StrengthPath, speech: Translator) -> Table:
    """Return every strength with its score and what it keeps; ranks where they say more."""
    words = {value: name for name, value in says.marks(path, speech).items()}
    scores = _shown_scores(path)
    places = decimals(path.standard_errors, scores)
    most = max(path.ranks)
    spectral = any(r < min(k, most) for k, r in zip(path.features, path.ranks, strict=True))
    rows = tuple(
        (
            Cell(plain_number(path.alphas[k]), path.alphas[k]),
            Cell(speech.number(scores[k], places), scores[k]),
            Cell(speech.number(path.standard_errors[k], places), path.standard_errors[k]),
            Cell(f"{path.features[k]:,}", path.features[k]),
            *([Cell(f"{path.ranks[k]:,}", path.ranks[k])] if spectral else []),
            Cell(words.get(path.alphas[k], "")),
        )
        for k in range(len(path.alphas))
    )
    score = Column("path_score", _measure(path, speech), numeric=True)
    rest = _columns(speech, (), ("standard_error", "kept", *(["rank"] if spectral else [])))
    mark = Column("mark", "")
    columns = (*_columns(speech, ("strength",), ()), score, *rest, mark)
    caption = speech("strength.caption", {"model": speech.name(path.model)})
    return Table("path", caption, columns, rows)


def kept_table(result: Comparison, speech: Translator) -> Table | None:
    """Return the share of features and coefficients that every penalty keeps."""
    if not result.sparsity:
        return None
    rows = tuple(
        (
            own(one.model),
            own(one.penalty) if one.penalty else Cell(speech("kept.none")),
            _percent(one.features, speech),
            _percent(one.coefficients, speech),
            Cell("" if one.rank is None else f"{one.rank:,}", one.rank),
        )
        for one in result.sparsity
    )
    columns = _columns(speech, ("model", "penalty"), ("features", "coefficients", "rank"))
    return Table("kept", speech("kept.caption"), columns, rows)


def mattered_table(result: Comparison, speech: Translator) -> Table | None:
    """Return which choices of the search decided about the score."""
    if result.path is None or not result.parameter_importance:
        return None
    rows = tuple(
        (
            Cell(speech.word("choice", one.parameter), one.parameter),
            _percent(one.share, speech),
            Cell(plain_number(one.spread), one.spread),
            Cell(f"{one.tried:,}", one.tried),
        )
        for one in result.parameter_importance
    )
    caption = speech("mattered.caption", {"model": speech.name(result.path.model)})
    columns = _columns(speech, ("parameter",), ("share", "spread", "tried"))
    return Table("mattered", caption, columns, rows)


def learning_table(result: Comparison, speech: Translator) -> Table | None:
    """Return scores and gains by training rows per task."""
    points = result.learning
    if not points:
        return None
    scores = ("separate", "pooled", "shared")
    gains = ("over_separate", "over_pooled")
    places = common_places(getattr(p, name) for p in points for name in (*scores, *gains))
    plain, signed = (interval_shower(places, speech, signed=s) for s in (False, True))
    rows = tuple(
        (
            Cell(f"{point.rows:,.6g}", point.rows),
            *(plain(getattr(point, name)) for name in scores),
            *(signed(getattr(point, name)) for name in gains),
        )
        for point in points
    )
    caption = speech("learning.caption", {"metric": metric_word(result.setup, speech)})
    return Table("learning", caption, _columns(speech, ("train_rows",), (*scores, *gains)), rows)


def _terms(result: Comparison, speech: Translator) -> list[tuple[str, Interval]]:
    return [
        (speech("ablation.term", {"term": speech.name(one.term)}), one.gain)
        for one in result.ablation
    ]


def _ablation_chart(result: Comparison, speech: Translator) -> Chart:
    lines = [
        Line(
            name,
            gain,
            "gain" if gain.above else "lose" if gain.below else "unclear",
            speech.interval(gain.mean, gain.low, gain.high),
            own=False,
        )
        for name, gain in _terms(result, speech)
    ]
    return chart(lines, around_zero=True)


def ablation_table(result: Comparison, speech: Translator) -> Table | None:
    """Return what every term of the penalty adds."""
    if not result.ablation:
        return None
    caption = speech("ablation.caption", {"metric": metric_word(result.setup, speech)})
    return difference_table(_terms(result, speech), caption, speech, key="ablation")


def blocks(result: Comparison, speech: Translator) -> list[tuple[str, list[str], list[Table]]]:
    """Return sections of a text: title, sentences, tables; those with nothing are left out."""
    path, kept = result.path, kept_table(result, speech)
    tables = [None if path is None else path_table(path, speech), kept]
    tables.append(mattered_table(result, speech))
    strength = [says.strength(result, speech)]
    strength += [speech("strength.note")] if path is not None else []
    strength += [speech("kept.note")] if kept is not None else []
    learning = [says.learning(result, speech), speech("learning.note")]
    model = speech.name(result.ablation[0].model) if result.ablation else ""
    terms = [*says.ablation(result, speech), speech("ablation.note", {"model": model})]
    found = [
        ("strength", strength, tables),
        ("learning", learning, [learning_table(result, speech)]),
        ("ablation", terms, [ablation_table(result, speech)]),
    ]
    held = [(name, said, [t for t in listed if t is not None]) for name, said, listed in found]
    return [
        (speech(f"section.{name}"), [s for s in said if s], listed)
        for name, said, listed in held
        if listed
    ]
