"""A comparison as a plain document: what comes first, and the sections of its report."""

from __future__ import annotations

import json
import math
from typing import Any

from polytask.comparison import sentences as says
from polytask.comparison import tables
from polytask.comparison.figures import COLUMNS, differences, figure, terms, two_differences
from polytask.comparison.records import Findings, Setup
from polytask.io.records import free_node
from polytask.messages import Translator, clean, marked, plain_number
from polytask.reporting import (
    Block,
    Bullets,
    Code,
    Document,
    Facts,
    Paragraph,
    Section,
    Table,
)

# Tables of tasks up to this length are open from the start.
_OPEN_ROWS = 30
# Tasks are of different sizes where the largest has this many times the rows of the smallest.
_UNEVEN = 1.5


def document(result: Findings, lang: str) -> Document:
    """Return the report of a comparison."""
    say = Translator(lang, marked)
    headline = says.headline(result, say)
    sections: tuple[tuple[str, list[Block]], ...] = (
        ("why", _why(result, say)),
        ("models", _models(result, say)),
        ("tasks", _tasks(result, say)),
        ("size", _sizes(result, say)),
        ("two", _two(result, say)),
        ("features", _features(result, say)),
        ("strength", _strength(result, say)),
        ("learning", _learning(result, say)),
        ("ablation", _ablation(result, say)),
        ("card", [Facts(data_card(result, say)), Bullets(tuple(says.closing(result, say)))]),
        ("warnings", _notes(result, say)),
        ("repeat", _repeat(result, say)),
    )
    judged = math.isfinite(result.gain.mean)
    return Document(
        lang=lang,
        title=say("page.title", {"headline": headline}),
        headline=headline,
        tone=result.verdict.replace(" ", "-") if judged else "none",
        facts=tuple(_facts(result, say)),
        lead=_lead(result, say),
        warnings=tuple(says.warnings(result, say)),
        closing=(*says.ablation(result, say), *says.closing(result, say)),
        opening=say("verdict", {"headline": headline}),
        brief=tables.terminal_scores(result, say),
        source=call_of(result.lock),
        sections=tuple(
            Section(key, say(f"section.{key}"), tuple(blocks))
            for key, blocks in sections
            if blocks
        ),
    )


def _lead(result: Findings, say: Translator) -> tuple[Block, ...]:
    """Return what to do, by how much it is better, how sure that is, and what comes next."""
    use = says.recommendation(result, say)
    shrinks = says.two_by_two(result, say) if says.only_shrinks(result) else ""
    curve = says.learning(result, say) if says.learning_decides(result) else ""
    found: list[Block] = [
        Paragraph(use, "lead"),
        Bullets(tuple(says.benefits(result, say))),
        Paragraph(says.certainty(result, say)),
        Code(_next(result, say), "python", say("next")),
        *map(Paragraph, says.related(result, say)),
        Paragraph(says.groups(result, say)),
        Bullets(tuple(says.actions(result, say))),
        Paragraph(says.networks(result, say)),
        Paragraph(shrinks),
        Paragraph(curve),
    ]
    return tuple(block for block in found if not _is_empty(block))


def _is_empty(block: Block) -> bool:
    return not (block.items if isinstance(block, Bullets | Facts) else getattr(block, "text", "x"))


def _facts(result: Findings, say: Translator) -> list[str]:
    """Return what was compared on, when and by which command."""
    setup, command = result.setup, _command(result.lock)
    files = ", ".join(name.rpartition("/")[2] for name in command.get("files", {}))
    options = command.get("options", {})
    named = options.get("target") or result.lock.get("target") or []
    targets = [named] if isinstance(named, str) else list(named)
    counts = (("tasks", setup.n_tasks), ("rows", setup.n_rows), ("features", setup.n_features),
              ("models", len(result.models)))  # fmt: skip
    return [
        *([say.name(files)] if files else []),
        *(say("fact.target", {"name": say.name(name)}) for name in targets[:1]),
        *(say(f"count.{name}", {"n": n}) for name, n in counts),
        *([say("fact.date", {"date": str(result.lock["date"])})] if "date" in result.lock else []),
    ]  # fmt: skip


def _command(lock: dict[str, Any]) -> dict[str, Any]:
    found = lock.get("command")
    return found if isinstance(found, dict) else {}


def call_of(lock: dict[str, Any]) -> str:
    """Return the call or command that a lock holds, empty if it holds none."""
    line = _command(lock).get("line", lock.get("call", ""))
    return clean(line) if line and isinstance(line, str) else ""


def _next(result: Findings, say: Translator) -> str:
    """Return the command, or the lines of Python, that use the recommended model."""
    if not result.recommended:
        return ""
    if "command" in result.lock:
        return str(_command(result.lock).get("predict", ""))
    rows = {"long": "X_new, task=task_new", "targets": "X_new", "separate": "{task: X_new}"}
    return "\n".join(
        (
            f"model = result.best_model()  # {say('next.fitted')}",
            f"model.predict({rows[result.setup.form]})",
            'result.to_html("report.html")',
        )
    )


def _why(result: Findings, say: Translator) -> list[Block]:
    lines = differences(result, say)
    blocks: list[Block] = []
    if lines:
        caption = say("why.caption", {"metric": says.metric_word(result.setup, say)})
        blocks += [
            figure(result, "differences", say),
            tables.difference_table(lines, caption, say, "differences"),
        ]
    said = (says.trees(result, say), says.networks(result, say))
    blocks += [Paragraph(text) for text in said if text]
    return [*blocks, Paragraph(say("page.words"), "soft")]


def _models(result: Findings, say: Translator) -> list[Block]:
    if not result.models:
        return [Paragraph(say("models.none"))]
    metrics = tables.metric_table(result, say)
    undefined = any(row.undefined for row in result.models)
    return [
        figure(result, "models", say),
        tables.score_table(result, say),
        *([metrics] if metrics is not None else []),
        *([Paragraph(say("models.undefined_note"), "soft")] if undefined else []),
        tables.cost_table(result, say),
    ]


def _tasks(result: Findings, say: Translator) -> list[Block]:
    if not result.tasks:
        return [Paragraph(say("tasks.none"))]
    folded = len(result.tasks) > _OPEN_ROWS
    return [figure(result, "tasks", say), tables.task_table(result, say, folded=folded)]


def _sizes(result: Findings, say: Translator) -> list[Block]:
    rows = [task.rows for task in result.tasks if math.isfinite(task.gain)]
    if len(rows) < 2 or max(rows) < _UNEVEN * min(rows):
        return []
    return [figure(result, "sizes", say)]


def _two(result: Findings, say: Translator) -> list[Block]:
    table = tables.two_by_two_table(result, say)
    if table is None:
        return []
    caption = say("two.gains", {"metric": says.metric_word(result.setup, say)})
    return [
        Paragraph(says.two_by_two(result, say)),
        Paragraph(say("two.note"), "soft"),
        figure(result, "shrinkage", say),
        tables.difference_table(two_differences(result, say), caption, say, "shrinkage"),
        table,
    ]


def _features(result: Findings, say: Translator) -> list[Block]:
    found = result.coefficients
    if found is None or not found.features or not found.columns:
        return []
    return [figure(result, "features", say), tables.coefficient_table(found, COLUMNS, say)]


def _strength(result: Findings, say: Translator) -> list[Block]:
    blocks: list[Block] = []
    if result.path is not None:
        blocks += [
            Paragraph(says.strength(result, say)),
            figure(result, "strength", say),
            figure(result, "path", say),
            tables.path_table(result.path, say),
        ]
    noted: tuple[tuple[Table | None, str], ...] = (
        (tables.sparsity_table(result, say), "kept.note"),
        (tables.importance_table(result, say), "mattered.note"),
    )
    for table, note in noted:
        blocks += [table, Paragraph(say(note), "soft")] if table is not None else []
    return blocks


def _learning(result: Findings, say: Translator) -> list[Block]:
    if not result.learning:
        return []
    said = says.learning(result, say)
    return [
        *([Paragraph(said)] if said else []),
        figure(result, "learning", say),
        tables.learning_table(result, say),
    ]


def _ablation(result: Findings, say: Translator) -> list[Block]:
    if not result.ablation:
        return []
    caption = say("ablation.caption", {"metric": says.metric_word(result.setup, say)})
    return [
        Bullets(tuple(says.ablation(result, say))),
        figure(result, "ablation", say),
        tables.difference_table(terms(result, say), caption, say, "ablation"),
    ]


def data_card(result: Findings, say: Translator) -> tuple[tuple[str, str], ...]:
    """Return what was compared, on what, and how."""
    setup = result.setup
    splits = {"done": setup.n_splits, "planned": setup.planned}
    how = say.word("splits", setup.splits)
    values = {
        "rows": _rows(setup, say),
        "tasks": f"{setup.n_tasks:,}",
        "features": f"{setup.n_features:,}",
        "form": say.word("form", setup.form),
        "problem": say.word("problem", setup.problem),
        "metric": _metric(setup, say),
        "splits": say("card.n_splits", splits | {"how": how}),
        "rule": say("card.rule_text"),
        "margin": f"{result.margin:.3g}",
        "weighted": say("card.yes" if setup.weighted else "card.no"),
        "seed": str(setup.seed),
        "seconds": say("card.time", {"value": plain_number(result.seconds)}),
    }
    return tuple((say(f"card.{name}"), value) for name, value in values.items())


def _rows(setup: Setup, say: Translator) -> str:
    low, median, high = setup.rows_per_task
    if low == high:
        return say("card.rows_equal", {"n": setup.n_rows, "each": low})
    spread: dict[str, str | int] = {"low": low, "high": high, "median": f"{median:,.6g}"}
    return say("card.rows_per_task", spread | {"n": setup.n_rows})


def _metric(setup: Setup, say: Translator) -> str:
    fields = {"metric": says.metric_word(setup, say)}
    if setup.metric == "d2":
        classes = setup.problem == "classification"
        return say("means.d2.classification" if classes else "means.d2", fields)
    return say("means.more" if setup.greater_is_better else "means.less", fields)


def _notes(result: Findings, say: Translator) -> list[Block]:
    notes = says.notes(result, say)
    return [Bullets(tuple(notes)) if notes else Paragraph(say("notes.none"))]


def _repeat(result: Findings, say: Translator) -> list[Block]:
    call, lock = call_of(result.lock), free_node(result.lock)
    text = json.dumps(lock, ensure_ascii=False, indent=2)
    return [
        *([Code(call, "sh", say("repeat.call"))] if call else []),
        Paragraph(say("repeat.note"), "soft"),
        Code(text, "json", say("repeat.lock"), folded=True),
    ]
