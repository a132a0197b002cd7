"""The report on relatedness as one web page that needs no other file and no network."""

from __future__ import annotations

from typing import Any

from polytask._charts import brackets
from polytask._messages import Speech
from polytask.analysis import Relatedness
from polytask.analysis import _related_sentences as says
from polytask.analysis._related_presenting import Drawn, drawn_map
from polytask.report import _related
from polytask.report._page import CLOSE, OPEN, rendered

# Height of the tree, in cells.
_TREE = 4.0
# Which of the verdict's colours stands for which answer.
_TONES = {
    "yes": "share",
    "model": "share",
    "training": "share",
    "no": "unclear",
    "nothing": "unclear",
}


def page(result: Relatedness, lang: str = "en") -> str:
    """Return the report as HTML."""
    speech = Speech(lang)
    marked = Speech(lang, lambda name: f"{OPEN}{name}{CLOSE}")
    model, kind = result.source == "model", says.headline(result)
    drawn = drawn_map(result)
    context = {
        "tone": _TONES[kind],
        "headline": speech(f"related.headline.{kind}"),
        "facts": _facts(result, speech),
        "opening": says.opening(result, marked),
        "lines": says.lines(result, marked)[1:],
        "shares": [(n, s, says.percent(s, speech)) for n, s in _related.shares_of(result)],
        "suffix": "_model" if model else "",
        "map": _map(drawn) if len(result.order) > 1 else None,
        "map_notes": _related.map_notes(result, speech, len(drawn.names)),
        "pair_table": _related.pair_table(result, speech),
        "task_table": _related.task_table(result, speech),
        "feature_table": _related.feature_table(result, speech),
        "method": _related.method(result, speech),
        "p_lines": _related.p_lines(result, speech),
    }
    return rendered("relatedness.html", context, lang)


def _facts(result: Relatedness, speech: Speech) -> list[str]:
    rows = sum(one.rows for one in result.tasks)
    counts = {"tasks": len(result.tasks), "rows": rows, "features": result.n_features}
    return [speech(f"count.{name}", {"n": n}) for name, n in counts.items() if n]


def _map(drawn: Drawn) -> dict[str, Any]:
    """Return the cells of the map, a side and a strength each, and the lines of the tree."""
    cells = [
        [("gain" if v > 0 else "lose", f"{min(abs(v), 1.0):.3f}") for v in row]
        for row in drawn.values.tolist()
    ]
    return {
        "names": drawn.names,
        "rows": list(zip(drawn.names, cells, strict=True)),
        "path": _path(drawn),
        "height": _TREE,
    }


def _path(drawn: Drawn) -> str:
    """Return the tree as a path, a unit wide per task, growing up from its leaves."""
    top = max((height for _, _, height, _ in drawn.tree), default=0.0) or 1.0

    def point(at: tuple[float, float]) -> str:
        return f"{at[0] + 0.5:.3f} {_TREE * (1.0 - 0.95 * at[1] / top):.3f}"

    return " ".join(f"M{' L'.join(map(point, bracket))}" for bracket in brackets(drawn.tree))
