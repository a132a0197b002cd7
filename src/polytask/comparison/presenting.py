"""How a comparison shows itself: sentences, tables, pictures."""

from __future__ import annotations

import html
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from polytask import charts
from polytask._checks import one_of
from polytask.comparison import sentences as _extra_sentences
from polytask.comparison import sentences as _sentences
from polytask.comparison.records import Coefficients, Interval, StrengthPath
from polytask.comparison.sentences import metric_word
from polytask.exceptions import DataError
from polytask.messages import Translator, clean

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from polytask.comparison.result import Comparison


def _path(result: Comparison) -> StrengthPath:
    if result.path is None:
        raise DataError("There is no path to draw: no sharing model was searched.")
    return result.path


def strength(result: Comparison, ax: Axes) -> Axes:
    """Draw the held-out error against the strength of the penalty."""
    path, speech = _path(result), Translator()
    loss = path.measure == "loss"
    word = speech("strength.score", {"score": speech.word("short", path.measure)})
    return charts.error_curve(
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
    found, speech = _path(result), Translator()
    lines = [list(at) for at in zip(*found.sizes, strict=True)] or [[]] * len(found.alphas)
    return charts.coefficient_lines(
        ax,
        found.alphas,
        lines,
        [clean(name) for name in found.names],
        _extra_sentences.marks(found, speech),
        labels=("Strength", speech("strength.sizes")),
    )


def learning(result: Comparison, ax: Axes) -> Axes:
    """Draw the scores against training rows per task."""
    points, speech = result.learning, Translator()
    if not points:
        raise DataError("There is no learning curve to draw: compare with learning_curve=True.")
    curves = {
        speech(f"learning.{name}"): [getattr(point, name).mean for point in points]
        for name in ("shared", "pooled", "separate")
    }
    known = {name: means for name, means in curves.items() if any(map(math.isfinite, means))}
    metric = metric_word(result.setup, speech)
    return charts.learning_curves(
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
    speech = Translator()
    gains = [one.gain for one in result.ablation]
    metric = metric_word(result.setup, speech)
    return charts.gain_forest(
        ax,
        [clean(one.term) for one in result.ablation],
        [gain.mean for gain in gains],
        [gain.low for gain in gains],
        [gain.high for gain in gains],
        ["gain" if g.above else "lose" if g.below else "unclear" for g in gains],
        label=speech("ablation.caption", {"metric": metric}),
    )


# Tasks that a picture can name; of more, those with the largest gains and losses.
_DRAWN = 60
_COST = ("fit_seconds", "predict_seconds")
_COUNTS = ("nonzero", "file_bytes")


def verdict_sentence(result: Comparison, lang: str = "en") -> str:
    """Return the verdict, what it rests on, and how many tasks gain and lose."""
    speech = Translator(lang)
    said = [_sentences.verdict(result, speech), _sentences.groups(result, speech)]
    return speech.joined(said)


def summary(result: Comparison, lang: str = "en") -> str:
    """Return the verdict, what to do, why, whether the tasks are related, and a caution."""
    speech = Translator(lang)
    lines = [
        verdict_sentence(result, lang),
        _sentences.recommendation(result, speech),
        _sentences.luck(result, speech),
        _sentences.networks(result, speech),
        *_sentences.actions(result, speech),
        _sentences.two_by_two(result, speech),
        _extra_sentences.learning(result, speech),
        *_extra_sentences.ablation(result, speech),
        _sentences.related(result, speech),
        *_sentences.warnings(result, speech),
    ]
    return "\n".join(line for line in lines if line)


def leaderboard(result: Comparison) -> pd.DataFrame:
    """Return the models, best first."""
    import pandas as pd

    models = result.models
    columns: dict[str, Any] = {
        "model": [row.name for row in models],
        "kind": [row.kind for row in models],
        "family": [row.family for row in models],
    }
    for end, place in (("score", 0), ("low", 1), ("high", 2)):
        columns[end] = np.array([row.score[place] for row in models], dtype=float)
    columns["picked"] = np.array([row.picked for row in models], dtype=int)
    for name in further_metrics(result):
        values = [row.metrics.get(name, np.nan) for row in models]
        columns[name] = np.array(values, dtype=float)
    for name in dict.fromkeys(name for row in models for name in row.undefined):
        counts = [row.undefined.get(name, 0) for row in models]
        columns[f"undefined: {name}"] = np.array(counts, dtype=int)
    for name in _COST:
        columns[name] = np.array([getattr(row, name) for row in models], dtype=float)
    for name in _COUNTS:
        columns[name] = pd.array([getattr(row, name) for row in models], dtype="Int64")
    columns["note"] = [row.note for row in models]
    return pd.DataFrame(columns)


def further_metrics(result: Comparison) -> tuple[str, ...]:
    """Return the names of the metrics beside that of the verdict, in order of appearance."""
    named = dict.fromkeys(name for row in result.models for name in row.metrics)
    return tuple(name for name in named if name != result.setup.metric)


def task_table(result: Comparison) -> pd.DataFrame:
    """Return what sharing does for every task, the largest gain first."""
    import pandas as pd

    tasks = result.tasks
    labels = np.empty(len(tasks), dtype=object)
    for place, task in enumerate(tasks):  # one by one: a tuple is one label
        labels[place] = task.task
    columns: dict[str, Any] = {
        "task": pd.Series(labels, dtype=object),
        "rows": np.array([task.rows for task in tasks], dtype=int),
    }
    for name in ("gain", "low", "high", "raw"):
        columns[name] = np.array([getattr(task, name) for task in tasks], dtype=float)
    columns["group"] = [task.group for task in tasks]
    columns["action"] = [task.action for task in tasks]
    columns["more_rows"] = pd.array([task.more_rows for task in tasks], dtype="Int64")
    return pd.DataFrame(columns)


def task_names(result: Comparison) -> list[str]:
    """Return a name for every task of :func:`task_table`; those alike are told apart by type."""
    texts = [clean(str(task.task)) for task in result.tasks]
    counts = Counter(texts)
    return [
        text if counts[text] == 1 else clean(repr(task.task))
        for text, task in zip(texts, result.tasks, strict=True)
    ]


def split_scores(result: Comparison) -> pd.DataFrame:
    """Return the verdict's metric of every model in every outer split."""
    import pandas as pd

    found = [(row.name, j, v) for row in result.models for j, v in enumerate(row.splits)]
    names, splits, values = zip(*found, strict=True) if found else ((), (), ())
    return pd.DataFrame(
        {
            "model": pd.Series(list(names), dtype=object if not names else None),
            "split": np.array(splits, dtype=int),
            "score": np.array(values, dtype=float),
        }
    )


def html_table(result: Comparison) -> str:
    """Return the leaderboard as a plain HTML table with the verdict as its caption."""
    speech = Translator()
    heads = ("model", "kind", "score", "picked", "fit_seconds", "nonzero")
    cells = [
        [clean(row.name), row.kind, _score(row.score, speech), str(row.picked),
         _seconds(row.fit_seconds), "" if row.nonzero is None else f"{row.nonzero:,}"]
        for row in result.models
    ]  # fmt: skip
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in heads)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in cells)
    caption = html.escape(verdict_sentence(result))
    return (
        f'<table><caption style="text-align: left">{caption}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _cell(text: str) -> str:
    return f'<td dir="auto">{html.escape(text)}</td>'


def _score(score: Interval, speech: Translator) -> str:
    return _sentences.interval_words(score, speech, signed=False)


def _seconds(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3g}"


def plot(result: Comparison, ax: Axes | None = None, kind: str = "tasks") -> Axes:
    """Draw a comparison."""
    one_of(kind, "kind", "Comparison.plot", _DRAWINGS)
    lines, draw = _DRAWINGS[kind]
    if ax is None:
        ax = charts.new_axes(7.0, 1.2 + 0.24 * max(lines(result), 4))
    return draw(result, ax)


def ends(n: int) -> list[int]:
    """Return the places of the tasks that a chart shows: all, or as many from either end."""
    half = _DRAWN // 2
    return list(range(n)) if n <= _DRAWN else [*range(half), *range(n - half, n)]


def _gain_label(result: Comparison) -> str:
    return f"Gain ({_sentences.metric_word(result.setup, Translator())})"


def _draw_tasks(result: Comparison, ax: Axes) -> Axes:
    numbers, names = ends(len(result.tasks)), task_names(result)
    tasks = [result.tasks[number] for number in numbers]
    label, n = _gain_label(result), len(result.tasks)
    if len(tasks) < n:
        half = _DRAWN // 2
        label = f"{label}: the {half} largest and the {half} smallest of {n:,} tasks"
    return charts.gain_forest(
        ax,
        [names[number] for number in numbers],
        [task.gain for task in tasks],
        [task.low for task in tasks],
        [task.high for task in tasks],
        [task.group for task in tasks],
        numbers=numbers,
        label=label,
    )


def _draw_sizes(result: Comparison, ax: Axes) -> Axes:
    tasks = result.tasks
    return charts.gain_against_size(
        ax,
        [task.rows for task in tasks],
        [task.gain for task in tasks],
        [task.low for task in tasks],
        [task.high for task in tasks],
        [task.group for task in tasks],
        labels=("Rows of the task", _gain_label(result)),
    )


def _draw_models(result: Comparison, ax: Axes) -> Axes:
    models = result.models
    return charts.leaderboard_intervals(
        ax,
        _names(row.name for row in models),
        [row.score.mean for row in models],
        [row.score.low for row in models],
        [row.score.high for row in models],
        marked=clean(result.recommended),
        label=_sentences.metric_word(result.setup, Translator()).capitalize(),
    )


def _draw_features(result: Comparison, ax: Axes) -> Axes:
    found = _coefficients(result)
    return charts.heat_map(ax, found.values, _names(found.features), _names(found.columns))


def _coefficients(result: Comparison) -> Coefficients:
    found = result.coefficients
    if found is None or not found.features or not found.columns:
        raise DataError("There are no coefficients to draw: no linear sharing model was fitted.")
    return found


def _names(labels: Iterable[object]) -> list[str]:
    return [clean(str(label)) for label in labels]


# How many lines a picture has, and who draws it.
_Drawing = tuple[Callable[["Comparison"], int], Callable[["Comparison", "Axes"], "Axes"]]
_DRAWINGS: Mapping[str, _Drawing] = MappingProxyType(
    {
        "tasks": (lambda result: len(ends(len(result.tasks))), _draw_tasks),
        "sizes": (lambda result: 12, _draw_sizes),
        "models": (lambda result: len(result.models), _draw_models),
        "features": (lambda result: len(_coefficients(result).features) + 8, _draw_features),
        "strength": (lambda result: 12, strength),
        "path": (lambda result: 12, path),
        "learning": (lambda result: 12, learning),
        "ablation": (lambda result: len(result.ablation), ablation),
    }
)
