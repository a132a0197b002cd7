"""The report on relatedness as Markdown."""

from __future__ import annotations

from polytask._messages import Speech
from polytask.analysis import Relatedness
from polytask.analysis import _related_sentences as says
from polytask.report import _related
from polytask.report._markdown import escaped, table_text


def markdown(result: Relatedness, lang: str = "en") -> str:
    """Return the report as Markdown."""
    speech = Speech(lang, escaped)
    blocks = [
        f"# {speech('related.headline.' + says.headline(result))}",
        says.opening(result, speech),
        "\n".join(f"- {line}" for line in says.lines(result, speech)[1:]),
        *_shares(result, speech),
        *_map(result, speech),
        *_features(result, speech),
        *_method(result, speech),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _shares(result: Relatedness, speech: Speech) -> list[str]:
    found = _related.shares_of(result)
    if not found:
        return []
    note = "related.shares.note_model" if result.source == "model" else "related.shares.note"
    lines = [
        f"- {speech(f'related.shares.{name}')}: {says.percent(share, speech)}"
        for name, share in found
    ]
    return [f"## {speech('related.section.shares')}", speech(note), "\n".join(lines)]


def _map(result: Relatedness, speech: Speech) -> list[str]:
    if len(result.order) < 2:
        return []
    return [
        f"## {speech('related.section.map')}",
        table_text(_related.pair_table(result, speech)),
        f"## {speech('related.section.tasks')}",
        table_text(_related.task_table(result, speech)),
    ]


def _features(result: Relatedness, speech: Speech) -> list[str]:
    if not result.features:
        return []
    model = result.source == "model"
    return [
        f"## {speech('related.section.features')}",
        speech("related.features.note_model" if model else "related.features.note"),
        table_text(_related.feature_table(result, speech)),
    ]


def _method(result: Relatedness, speech: Speech) -> list[str]:
    said = _related.method(result, speech)
    if not said:
        return []
    parts = [f"- {line}" for line in _related.p_lines(result, speech)]
    return [f"## {speech('related.section.method')}", *said, "\n".join(parts)]
