"""Relatedness in sentences, a table and a picture."""

from __future__ import annotations

import html
import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polytask import charts
from polytask.exceptions import DataError
from polytask.messages import Translator, clean
from polytask.task_relations.records import LEVEL, RECORDED, Pair, RelatednessSummary, Shares

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from polytask.task_relations.result import Relatedness


# Names in a sentence before it says "and n more".
_NAMED, _PAIRS, _GROUPS = 5, 3, 5
# Answers beside which groups and pairs are named.
_SAID = ("yes", "model", "training")


def p_words(value: float, n_permutations: int, speech: Translator) -> str:
    """Return a p-value; the smallest that a number of permutations allows as a bound."""
    least = bool(n_permutations) and value <= 1.0 / (n_permutations + 1) * 1.000001
    key = "related.p_least" if least else "related.p"
    return speech(key, {"value": f"{value:.2g}" if value < 0.1 else f"{value:.2f}"})


def percent(share: float, speech: Translator) -> str:
    """Return a share in percent."""
    return speech("number.percent", {"value": f"{100 * share:.0f}"})


def shares_words(shares: Shares, speech: Translator) -> str:
    """Return what is common, clustered and own; empty if that is not known."""
    if not math.isfinite(shares.common):
        return ""
    names = ("common", "clustered", "own")
    return speech("related.shares", {n: percent(getattr(shares, n), speech) for n in names})


def kinship(found: RelatednessSummary, speech: Translator, n_permutations: int = 0) -> str:
    """Return whether tasks are related, and how much they share."""
    if math.isnan(found.p_value):
        return speech("related.nothing")
    p = p_words(found.p_value, n_permutations, speech)
    if found.p_value > LEVEL:
        return speech("related.no", {"p": p})
    shares = shares_words(found.shares, speech)
    if not shares:
        return speech("related.no_shares", {"p": p})
    return speech.joined(
        [speech("related.yes", {"p": p, "shares": shares}), effective(found, speech)]
    )


def effective(found: RelatednessSummary, speech: Translator) -> str:
    """Return how many unrelated tasks the tasks are worth; empty if that is not known."""
    value = found.effective_tasks
    if not math.isfinite(value):
        return ""
    shown = f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}"
    return speech("related.effective", {"n": found.n_tasks, "value": shown})


def opening_words(result: Relatedness, speech: Translator) -> str:
    """Return the answer in one or two sentences."""
    found = result.key_figures
    if result.source in RECORDED:
        return _training(result, speech)
    if result.source == "data":
        return kinship(found, speech, result.n_permutations)
    shares = shares_words(found.shares, speech)
    if not shares:
        return speech("related.model_nothing")
    return speech.joined([speech("related.model", {"shares": shares}), effective(found, speech)])


def _training(result: Relatedness, speech: Translator) -> str:
    """Return how tasks went together in training."""
    n = len(result.order)
    if n < 2:
        return speech("related.training_nothing")
    mean = float(result.matrix.sum() - n) / (n * (n - 1))
    return speech(f"related.{result.source}", {"value": f"{mean:.2f}"})


def headline(result: Relatedness) -> str:
    """Return the kind of the answer: yes, no, nothing, model or training."""
    if result.source in RECORDED:
        return "training" if len(result.order) > 1 else "nothing"
    known = result.p_value if result.source == "data" else result.shares.common
    if math.isnan(known):
        return "nothing"
    if result.source == "model":
        return "model"
    return "yes" if result.p_value <= LEVEL else "no"


def aspects(result: Relatedness, speech: Translator) -> str:
    """Return in what the tasks agree by the tests of single aspects, if they are related."""
    if headline(result) != "yes":
        return ""
    # All three are looked at, so each has a third of the level.
    clear = [name for name, p in result.p_values.items() if p <= LEVEL / len(result.p_values)]
    names = speech.listed(speech(f"related.aspect.{name}") for name in clear)
    return speech("related.aspects", {"names": names}) if names else ""


def groups(result: Relatedness, speech: Translator) -> str:
    """Return the suggested groups; empty where none were looked for."""
    if headline(result) not in _SAID:
        return ""
    found = result.groups
    if not found:
        return speech("related.no_groups") if len(result.order) > 2 else ""
    listed = speech.listed(
        speech("related.group", {"names": names(group, speech)}) for group in found[:_GROUPS]
    )
    return speech(
        "related.groups", {"n": len(found), "groups": _more(listed, len(found) - _GROUPS, speech)}
    )


def names(tasks: Sequence[Hashable], speech: Translator) -> str:
    """Return the first names of tasks, and how many more there are."""
    listed = speech.listed(speech.name(task) for task in tasks[:_NAMED])
    return _more(listed, len(tasks) - _NAMED, speech)


def _more(listed: str, rest: int, speech: Translator) -> str:
    return speech("list.more", {"names": listed, "n": rest}) if rest > 0 else listed


def pairs(result: Relatedness, speech: Translator) -> list[str]:
    """Return the tasks that are most and least alike; nothing of unrelated tasks."""
    if headline(result) not in _SAID:
        return []
    found = {"related.pairs_most": result.most_alike, "related.pairs_least": result.least_alike}
    return [
        speech(key, {"pairs": speech.listed(_pair(one, speech) for one in listed[:_PAIRS])})
        for key, listed in found.items()
        if listed
    ]


def _pair(pair: Pair, speech: Translator) -> str:
    fields = {"first": speech.name(pair.first), "second": speech.name(pair.second)}
    return speech("related.pair", fields | {"value": f"{pair.similarity:.2f}"})


def features(result: Relatedness, speech: Translator) -> list[str]:
    """Return which features work alike and which differ; nothing of unrelated tasks."""
    if headline(result) not in ("yes", "model"):
        return []
    found = {"shared": result.features_shared, "varying": result.features_varying}
    return [
        speech(f"related.{kind}", {"names": names(listed, speech)})
        for kind, listed in found.items()
        if listed
    ]


def notes(result: Relatedness, speech: Translator) -> list[str]:
    """Return what is to be known beside it."""
    silent = len(result.tasks) - result.n_informative
    kind = {"data": "", "model": "_model"}.get(result.source, "_training")
    found: Iterable[str] = (
        speech("related.level", {"share": percent(result.level_share, speech)})
        if math.isfinite(result.level_share)
        else "",
        speech(f"related.silent{kind}", {"n": silent}) if silent else "",
        speech("related.units") if kind == "_model" and result.units == "given" else "",
    )
    return [sentence for sentence in found if sentence]


def lines(result: Relatedness, speech: Translator) -> list[str]:
    """Return all that is to be said, a line for each."""
    said = [
        opening_words(result, speech),
        aspects(result, speech),
        groups(result, speech),
        *pairs(result, speech),
        *features(result, speech),
        *notes(result, speech),
    ]
    return [line for line in said if line]


# Cells of a map per side.
_CELLS = 60


@dataclass(frozen=True, eq=False)
class Drawn:
    """A map that fits on a picture. Shapes: values (k, k)."""

    values: NDArray[np.float64]
    names: tuple[str, ...]
    tree: tuple[tuple[int, int, float, int], ...]
    binned: bool


def drawn_map(result: Relatedness) -> Drawn:
    """Return the map of a result, many tasks as runs of neighbours."""
    names = task_names([result.tasks[place].task for place in result.order])
    matrix, n = result.matrix, len(result.order)
    if n <= _CELLS:
        return Drawn(matrix, tuple(names), result.tree, binned=False)
    ends = np.linspace(0, n, _CELLS + 1).astype(int)
    starts, sizes = ends[:-1], np.diff(ends)
    # The correlation of a task with itself says nothing about its run.
    off = matrix - np.eye(n)
    sums = np.add.reduceat(np.add.reduceat(off, starts, axis=0), starts, axis=1)
    pairs = np.outer(sizes, sizes) - np.diag(sizes)
    means = np.divide(sums, pairs, out=np.ones_like(sums), where=pairs > 0)
    return Drawn(means, tuple(names[k] for k in starts), (), binned=True)


def task_names(tasks: Sequence[Hashable]) -> list[str]:
    """Return a name for each task; those that look alike are told apart by type."""
    texts = [clean(str(task)) for task in tasks]
    counts = Counter(texts)
    return [
        text if counts[text] == 1 else clean(repr(task))
        for text, task in zip(texts, tasks, strict=True)
    ]


def opening(result: Relatedness, lang: str = "en") -> str:
    """Return the answer in one or two sentences."""
    return opening_words(result, Translator(lang))


def summary(result: Relatedness, lang: str = "en") -> str:
    """Return what was found, a line for each sentence."""
    return "\n".join(lines(result, Translator(lang)))


def task_table(result: Relatedness) -> pd.DataFrame:
    """Return one row per task, as in the data."""
    import pandas as pd

    tasks = result.tasks
    return pd.DataFrame(
        {
            "task": _labels([one.task for one in tasks]),
            "rows": np.array([one.rows for one in tasks], dtype=int),
            "closeness": np.array([one.closeness for one in tasks], dtype=float),
            "nearest": _labels([one.nearest for one in tasks]),
            "similarity": np.array([one.similarity for one in tasks], dtype=float),
            "group": pd.array([one.group for one in tasks], dtype="Int64"),
        }
    )


def _labels(values: Sequence[object]) -> pd.Series[Any]:
    import pandas as pd

    out = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):  # one by one: a tuple is one label
        out[place] = value
    return pd.Series(out, dtype=object)


def html_table(result: Relatedness) -> str:
    """Return the tasks, closest first, as a plain HTML table with the answer as its caption."""
    lines = [result.tasks[place] for place in result.order]
    lines = sorted(lines, key=lambda line: -line.closeness)[:_CELLS]
    heads = ("task", "rows", "closeness", "nearest", "similarity", "group")
    cells = [
        [clean(str(one.task)), f"{one.rows:,}", f"{one.closeness:.2f}", clean(str(one.nearest)),
         f"{one.similarity:.2f}", "" if one.group is None else str(one.group)]
        for one in lines
    ]  # fmt: skip
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in heads)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in cells)
    caption = html.escape(opening(result))
    return (
        f'<table><caption style="text-align: left">{caption}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _cell(text: str) -> str:
    return f'<td dir="auto">{html.escape(text)}</td>'


def plot(result: Relatedness, ax: Axes | None = None) -> Axes:
    """Draw the map of the tasks, its tree above it; see :meth:`Relatedness.plot`."""
    if not result.order:
        raise DataError("There is no map to draw: no task says anything about its coefficients.")
    drawn = drawn_map(result)
    if ax is None:
        side = 2.5 + 0.16 * max(len(drawn.names), 6)
        ax = charts.new_axes(side + 0.8, side)
    return charts.task_map(ax, drawn.values, drawn.names, drawn.tree)
