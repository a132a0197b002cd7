"""A comparison as a plain document: what comes first, the sections of its report, its charts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from polytask import charts
from polytask.comparison import actions as task_actions
from polytask.comparison import amounts, tables
from polytask.comparison import extra_sentences as extra_says
from polytask.comparison import sentences as says
from polytask.comparison.records import Findings, Interval, Setup, StrengthPath, TaskGain
from polytask.comparison.tables import measure_word, shown_scores, task_names
from polytask.exceptions import DataError, ParameterError
from polytask.io.records import free_node
from polytask.messages import LazyMessage, Translator, clean, marked, plain_number
from polytask.reporting import (
    Block,
    Bullets,
    Code,
    Document,
    Facts,
    Figure,
    Paragraph,
    Section,
)
from polytask.reporting.origin import call_of, command_of, origin_facts
from polytask.selection.entries import of_groupings

if TYPE_CHECKING:
    from polytask.charts import Axes

# Tables of tasks up to this length are open from the start.
_OPEN_ROWS = 30
# Targets that are named at the head.
_NAMED = 3
# Tasks are of different sizes where the largest has this many times the rows of the smallest.
_UNEVEN = 1.5


def document(result: Findings, lang: str) -> Document:
    """Return the report of a comparison."""
    say = Translator(lang, marked, options=bool(command_of(result.lock)))
    headline = says.headline(result, say)
    sections = _evidence(result, say) | _of_the_model(result, say) | _record(result, say)
    judged = math.isfinite(result.gain.mean)
    return Document(
        lang=lang,
        title=say("page.title", {"headline": headline}),
        headline=headline,
        tone=result.verdict.replace(" ", "-") if judged else "none",
        facts=_facts(result, say),
        lead=_lead(result, say),
        warnings=tuple(says.warnings(result, say)),
        closing=(*extra_says.ablation(result, say), *says.closing(result, say)),
        opening=say("verdict", {"headline": headline}),
        brief=tables.terminal_scores(result, say),
        source=call_of(result.lock),
        sections=tuple(
            Section(key, say(f"section.{key}"), tuple(blocks))
            for key, blocks in sections.items()
            if blocks
        ),
    )


def _lead(result: Findings, say: Translator) -> tuple[Block, ...]:
    """Return what to do, by how much it is better, how sure that is, and what comes next."""
    use = says.recommendation(result, say)
    shrinks = says.two_by_two(result, say) if says.only_shrinks(result) else ""
    curve = extra_says.learning(result, say) if extra_says.learning_decides(result) else ""
    found: list[Block] = [
        Paragraph(use, "lead"),
        Paragraph(say("warn.quick") if result.setup.quick else ""),
        Bullets(tuple(says.benefits(result, say))),
        Paragraph(says.certainty(result, say)),
        Paragraph(says.over_time(result, say)),
        _next(result, say),
        Paragraph(says.groupings(result, say)),
        *map(Paragraph, says.related(result, say)),
        Paragraph(says.groups(result, say)),
        Bullets(tuple(task_actions.actions(result, say))),
        Paragraph(says.networks(result, say)),
        Paragraph(shrinks),
        Paragraph(curve),
    ]
    return tuple(block for block in found if getattr(block, "text", getattr(block, "items", "")))


def _facts(result: Findings, say: Translator) -> tuple[str, ...]:
    """Return what was compared on, when and by which command."""
    setup, (files, date) = result.setup, origin_facts(result.lock, "fact.date", say)
    options = command_of(result.lock).get("options", {})
    named = options.get("target") or result.lock.get("target") or []
    targets = [named] if isinstance(named, str) else list(named)
    if setup.form == "targets":
        targets = sorted(str(task) for task, _ in result.dominance)
    shown, rest = say.listed(map(say.name, targets[:_NAMED])), len(targets) - _NAMED
    shown = say("list.more", {"names": shown, "n": rest}) if rest > 0 else shown
    compared = sum(math.isfinite(row.score.mean) for row in result.models)
    counts = {
        "count.tasks": setup.n_tasks,
        "count.rows": setup.n_rows,
        "fact.columns": _n_columns(result),
        "count.models": compared,
    }
    return (
        *files,
        *([say("fact.target", {"n": len(targets), "names": shown})] if targets else []),
        *(say(key, {"n": n}) for key, n in counts.items()),
        *date,
    )


def _next(result: Findings, say: Translator) -> Code:
    """Return the command, or the lines of Python, that use the recommended model."""
    if not result.recommended:
        return Code("", "sh", "")
    if "command" in result.lock:
        return Code(str(command_of(result.lock).get("predict", "")), "sh", say("next.command"))
    rows = {"long": "X_new, task=task_new", "targets": "X_new", "separate": "{task: X_new}"}
    columns: Any = result.lock.get("task_columns")
    given = "X_new" if columns else rows[result.setup.form]
    held = _held_by_new_rows(result, say)
    lines = (
        f"model = result.best_model()  # {say('next.fitted')}",
        f"model.predict({given})" + (f"  # {held}" if held else ""),
        'result.to_html("report.html")',
    )
    return Code("\n".join(lines), "python", say("next"))


def _held_by_new_rows(result: Findings, say: Translator) -> str:
    """Return what new rows need beside the features; empty where a label of each is all."""
    columns: Any = result.lock.get("task_columns")
    names = [one.name for one in result.groupings]
    fields: dict[str, str | int]
    if columns:
        fields = {"names": say.listed(map(repr, columns)), "n": len(columns)}
        return say("next.columns", fields)
    if not names:
        return ""
    if result.recommended == of_groupings(names):
        return say("next.levels", {"names": say.listed(map(repr, names))})
    read = [repr(one.name) for one in result.groupings[1:] if one.told]
    fields = {"first": repr(names[0]), "names": say.listed(read), "n": len(read)}
    return say("next.categories" if read else "next.first", fields)


def _evidence(result: Findings, say: Translator) -> dict[str, list[Block]]:
    """Return the sections on models and tasks."""
    metric = {"metric": amounts.metric_word(result.setup, say)}
    found: dict[str, list[Block]] = {"why": [Paragraph(say("page.words"))]}
    if lines := _differences(result, say):
        both = math.isfinite(result.pooling_gain.mean)
        caption = say("why.caption", metric)
        table = tables.difference_table(lines, caption, say, "differences", result.margin)
        others = any((result.trees_gain, result.networks_gain))
        rule = [say("why.rule"), say("why.others") if others else ""] if both else []
        found["why"] += [Paragraph(say.joined(rule))] if both else []
        found["why"] += [_why_figure(result, say), table]
    found["models"] = [Paragraph(say("models.none"))]
    if result.models:
        found["models"] = [
            _models_figure(result, say),
            tables.score_table(result, say),
            Paragraph(say("models.chosen"), "soft"),
        ]
        if (metrics := tables.metric_table(result, say)) is not None:
            found["models"].append(metrics)
        measured = tables.shown_metrics(result)
        meanings = {"r2_within": tables.within_key(result), "majority": "models.majority"}
        found["models"] += [
            Paragraph(say(key), "soft") for name, key in meanings.items() if name in measured
        ]
        if (errors := tables.error_table(result, say)) is not None:
            found["models"].append(errors)
        if any(row.undefined for row in result.models):
            found["models"].append(Paragraph(say("models.undefined_note"), "soft"))
        if (choices := tables.split_table(result, say)) is not None:
            found["models"].append(choices)
        found["models"] += [tables.cost_table(result, say)]
        found["models"] += [Paragraph(say("models.costs.note"), "soft")]
    found["tasks"] = [Paragraph(say("tasks.none"))]
    if result.tasks:
        folded = len(result.tasks) > _OPEN_ROWS
        table = tables.task_table(result, say, folded=folded)
        more = any(task.more_rows for task in result.tasks)
        found["tasks"] = [_tasks_figure(result, say), table]
        notes = say("tasks.more") if more else "", extra_says.coverage(result, say)
        found["tasks"] += [Paragraph(one, "soft") for one in filter(None, notes)]
    rows = [task.rows for task in result.tasks if math.isfinite(task.gain)]
    if len(rows) > 1 and max(rows) >= _UNEVEN * min(rows):
        found["size"] = [_sizes_figure(result, say)]
    if (two := tables.two_by_two_table(result, say)) is not None:
        gains = _two_differences(result, say)
        found["two"] = [
            Paragraph(says.two_by_two(result, say)),
            Paragraph(say("two.note"), "soft"),
            _two_figure(result, say),
            tables.difference_table(gains, say("two.gains", metric), say, "shrinkage"),
            two,
        ]
    return found


def _of_the_model(result: Findings, say: Translator) -> dict[str, list[Block]]:
    """Return the sections on coefficients, strength, rows and terms of a penalty."""
    found: dict[str, list[Block]] = {"features": [], "strength": [], "learning": []}
    held = result.coefficients
    if held is not None and held.features and held.columns:
        table = tables.coefficient_table(held, _COLUMNS, say)
        found["features"] = [_features_figure(result, say), table]
    path, chosen = result.path, {row.name for row in result.models if row.picked > 0}
    used = path is not None and path.model in chosen | {result.recommended}
    if path is not None and used:
        found["strength"] = [
            Paragraph(extra_says.strength(result, say)),
            _strength_figure(result, say),
            _path_figure(result, say),
            tables.path_table(path, result.setup, say),
        ]
    noted = {
        "kept.note": tables.sparsity_table(result, say),
        "mattered.note": tables.importance_table(result, say) if used else None,
    }
    for note, shown in noted.items():
        found["strength"] += [shown, Paragraph(say(note), "soft")] if shown is not None else []
    if result.learning:
        said = extra_says.learning(result, say)
        found["learning"] = [Paragraph(said)] if said else []
        found["learning"] += [_learning_figure(result, say), tables.learning_table(result, say)]
    if result.ablation:
        caption = say("ablation.caption", {"metric": amounts.metric_word(result.setup, say)})
        found["ablation"] = [
            Bullets(tuple(extra_says.ablation(result, say))),
            _ablation_figure(result, say),
            tables.difference_table(_terms(result, say), caption, say, "ablation"),
        ]
    return found


def _record(result: Findings, say: Translator) -> dict[str, list[Block]]:
    """Return the sections on data, method and notes, and how to run it again."""
    closing, notes = says.closing(result, say), says.notes(result, say)
    none = say("notes.none")
    call, lock = call_of(result.lock), free_node(result.lock)
    text = json.dumps(lock, ensure_ascii=False, indent=2)
    return {
        "card": [Facts(data_card(result, say)), *_decision(result, say)],
        "warnings": [Bullets((*closing, *notes)) if closing or notes else Paragraph(none)],
        "repeat": [
            *([Code(call, "sh", say("repeat.call"))] if call else []),
            *([Paragraph(say("repeat.note"), "soft")] if "command" in lock else []),
            Code(text, "json", say("repeat.lock"), folded=True),
        ],
    }


def data_card(result: Findings, say: Translator) -> tuple[tuple[str, str], ...]:
    """Return what was compared, on what, and how."""
    setup = result.setup
    splits = {"done": setup.n_splits, "planned": setup.planned}
    how = say.word("splits", setup.splits)
    values = {
        "rows": _rows(setup, say),
        "tasks": f"{setup.n_tasks:,}",
        "groupings": says.levels_of_groupings(result, say),
        "features": _encoded(result, "card.encoded", say) or f"{_n_columns(result):,}",
        "form": say.word("form", setup.form),
        "problem": say.word("problem", setup.problem),
        "metric": amounts.metric_meaning(setup, say),
        "splits": say("card.n_splits", splits | {"how": how}),
        "margin": say("card.margin_text", {"value": f"{result.margin:.3g}"}),
        "weighted": say("card.yes" if setup.weighted else "card.no"),
        "seed": str(setup.seed),
        "seconds": say("card.time", {"value": plain_number(result.seconds)}),
    }
    return tuple((say(f"card.{name}"), value) for name, value in values.items() if value)


def _decision(result: Findings, say: Translator) -> tuple[Block, ...]:
    """Return what is compared, the rule in the order in which it is applied, and what is left."""
    margin = {"margin": f"{result.margin:.3g}"}
    points = (say(f"decision.{key}", margin) for key in _POINTS)
    before = (Paragraph(say(f"decision.{key}")) for key in ("compared", "rule"))
    after = (Paragraph(say(f"decision.{key}", margin)) for key in ("use", "luck"))
    return (*before, Bullets(tuple(points)), *after)


# The rule, in the order in which it is applied.
_POINTS = ("same", "share", "plain", "pool", "none")


def _rows(setup: Setup, say: Translator) -> str:
    low, median, high = setup.rows_per_task
    if low == high:
        return say("card.rows_equal", {"n": setup.n_rows, "each": low})
    spread: dict[str, str | int] = {"low": low, "high": high, "median": f"{median:,.6g}"}
    return say("card.rows_per_task", spread | {"n": setup.n_rows})


def _n_columns(result: Findings) -> int:
    """Return how many columns are learned from beside those of the groupings."""
    # Models of one grouping read the others as categories.
    return result.setup.n_features - sum(one.told > 0 for one in result.groupings[1:])


def _encoded(result: Findings, key: str, say: Translator) -> str:
    """Say what encoding made of the columns; nothing if the model has a coefficient for each."""
    n, held = _n_columns(result), result.coefficients
    if held is None:
        return ""
    every = of_groupings(one.name for one in result.groupings)
    read = [one for one in result.groupings[1:] if one.told and held.model != every]
    fields = {"columns": n, "features": held.n_features}
    if read:
        others = say.listed(say.quoted(one.name) for one in read)
        return say(f"{key}.groupings", fields | {"others": others})
    return say(key, fields) if held.n_features != n else ""


# Tasks that a picture can name; of more, those with the largest gains and losses. Columns of the
# heat map.
_DRAWN, _COLUMNS = 60, 60


def _differences(result: Findings, say: Translator) -> list[tuple[str, Interval]]:
    """Return the differences on which the verdict rests, by name."""
    fields = {"rival": says.rival(result, say), "best": says.best_of_rule(result, say)}
    found = {
        "sharing": result.gain,
        "pooling": result.pooling_gain,
        "trees": result.trees_gain,
        "networks": result.networks_gain,
        "networks_sharing": result.networks_sharing,
    }
    return [
        (say(f"why.{name}", fields), gain)
        for name, gain in found.items()
        if gain is not None and math.isfinite(gain.mean)
    ]


def _two_differences(result: Findings, say: Translator) -> list[tuple[str, Interval]]:
    """Return what shrinkage and sharing add, by name."""
    table = result.two_by_two
    if table is None:
        return []
    return [
        (say("two.shrinkage"), table.shrinkage_gain),
        (say("two.sharing"), table.sharing_gain),
    ]


def _terms(result: Findings, say: Translator) -> list[tuple[str, Interval]]:
    """Return what every term of a penalty adds, by name."""
    return [(say("ablation.term", {"term": clean(one.term)}), one.gain) for one in result.ablation]


def _gains(key: str, lines: Sequence[tuple[str, Interval]], caption: str, marks: str) -> Figure:
    """Return a chart of a few differences that have sentences for names."""
    gains = [gain for _, gain in lines]

    def draw(ax: Axes) -> None:
        charts.figures.interval_lines(
            ax,
            [name for name, _ in lines],
            [gain.mean for gain in gains],
            [gain.low for gain in gains],
            [gain.high for gain in gains],
            ["gain" if g.above else "lose" if g.below else "unclear" for g in gains],
            sentences=True,
        )

    return Figure(key, caption, caption, draw, caption=caption, height=0.6 + 0.5 * len(lines),
                  marks=marks)  # fmt: skip


def _why_figure(result: Findings, say: Translator) -> Figure:
    fields = {"metric": amounts.metric_word(result.setup, say)}
    caption = {"caption": say("why.caption", fields), "note": say("why.note")}
    said = say("page.caption", caption)
    return _gains("why-chart", _differences(result, say), said, say("why.marks"))


def _two_figure(result: Findings, say: Translator) -> Figure:
    fields = {"metric": amounts.metric_word(result.setup, say)}
    caption = {"caption": say("two.gains", fields), "note": say("why.note")}
    said = say("page.caption", caption)
    return _gains("two-chart", _two_differences(result, say), said, say("why.marks"))


def _ablation_figure(result: Findings, say: Translator) -> Figure:
    if not result.ablation:
        raise DataError(LazyMessage("comparison.refusal.no_ablation"))
    note = say("ablation.note", {"model": say.quoted(result.ablation[0].model)})
    return _gains("ablation-chart", _terms(result, say), note, say("why.marks"))


def _tones(tasks: Sequence[TaskGain]) -> list[str]:
    """Return in which colour and shape each task is drawn."""
    return [task.group if task.group in ("gain", "lose") else "unclear" for task in tasks]


def _mean_words(result: Findings, say: Translator) -> str:
    """Return the mean that the gains of tasks are shrunk to, which may depend on their rows."""
    centres = [task.centre for task in result.tasks if task.centre is not None]
    places = tables.task_places(result)
    ends = [say.number(end(centres), places, signed=True) for end in (min, max) if centres]
    if not ends:
        return say("tasks.mean.untold")
    low, high = ends
    return say("tasks.mean" if low == high else "tasks.mean.of_size", {"low": low, "high": high})


def _tasks_figure(result: Findings, say: Translator) -> Figure:
    n, half = len(result.tasks), _DRAWN // 2
    cut = n > _DRAWN
    numbers = [*range(half), *range(n - half, n)] if cut else list(range(n))
    names, tasks = task_names(result), [result.tasks[number] for number in numbers]
    metric = amounts.metric_of_task(result.setup, say)
    fields = {"metric": metric, "rival": says.rival(result, say)}
    alike = amounts.one_denominator(result.setup)
    caption = say.joined(
        [
            say("tasks.note", fields),
            say("tasks.shrunk", {"mean": _mean_words(result, say)}) if n > 1 else "",
            say("tasks.baseline", fields) if alike else "",
            say("tasks.cut", {"half": half, "n": n}) if cut else "",
        ]
    )

    def draw(ax: Axes) -> None:
        charts.figures.interval_lines(
            ax,
            [names[number] for number in numbers],
            [task.gain for task in tasks],
            [task.low for task in tasks],
            [task.high for task in tasks],
            _tones(tasks),
            numbers=numbers,
            label=say("size.upward", {"metric": metric}),
            gap=say("tasks.skipped", {"n": n - len(numbers)}) if cut else "",
        )

    height = 0.7 + 0.19 * max(len(tasks), 4)
    return Figure("tasks-chart", say("section.tasks"), say("tasks.chart"), draw, caption,
                  height=height, marks=say("tasks.marks"))  # fmt: skip


def _sizes_figure(result: Findings, say: Translator) -> Figure:
    tasks = [task for task in result.tasks if math.isfinite(task.gain)]
    upward = say("size.upward", {"metric": amounts.metric_of_task(result.setup, say)})

    def draw(ax: Axes) -> None:
        charts.figures.gain_against_size(
            ax,
            [task.rows for task in tasks],
            [task.gain for task in tasks],
            [task.low for task in tasks],
            [task.high for task in tasks],
            _tones(tasks),
            labels=(say("size.across"), upward),
        )

    bare = say("size.bare") if len(tasks) > charts.figures.CROWD else ""
    note = say.joined([say("size.note"), bare])
    return Figure("size-chart", say("section.size"), say("size.desc"), draw, note)


def _models_figure(result: Findings, say: Translator) -> Figure:
    models, metric = tables.tried(result), amounts.metric_word(result.setup, say)
    meaning = {"meaning": amounts.metric_meaning(result.setup, say)}
    scored = says.scored(result, say)
    caption = say.joined([say("models.caption", meaning), scored, say("models.note")])
    marks = say("models.marks" if result.recommended else "models.lines")

    def draw(ax: Axes) -> None:
        charts.figures.interval_lines(
            ax,
            [clean(row.name) for row in models],
            [row.score.mean for row in models],
            [row.score.low for row in models],
            [row.score.high for row in models],
            ["gain" if row.name == result.recommended else "unclear" for row in models],
            around_zero=False,
            label=metric,
        )

    return Figure(
        "models-chart", say("models.scores", {"metric": metric}), say("models.note"), draw,
        caption, height=0.7 + 0.26 * max(len(models), 2), marks=marks,
    )  # fmt: skip


def _features_figure(result: Findings, say: Translator) -> Figure:
    found = result.coefficients
    if found is None or not found.features or not found.columns:
        raise DataError(LazyMessage("comparison.refusal.no_coefficients"))
    counts = {
        "rows": len(found.features), "all_rows": found.n_features,
        "columns": min(len(found.columns), _COLUMNS), "all_columns": found.n_columns,
    }  # fmt: skip
    model = {"model": say.quoted(found.model), "positive": say.quoted(found.positive)}
    kind = "two" if found.positive else "classes"
    note = "features.note" if result.setup.problem == "regression" else f"features.note.{kind}"
    equal = len(found.columns) > 1 and all(len(set(row)) == 1 for row in found.values)
    cut = "columns" if found.n_columns == result.setup.n_tasks else "classes"
    caption = say.joined(
        [
            say(note, model) if found.model else "",
            say("features.equal") if equal else "",
            say("features.which", model) if found.model not in ("", result.recommended) else "",
            _encoded(result, "features.encoded", say),
            say("features.cut_rows", counts) if counts["rows"] < found.n_features else "",
            say(f"features.cut_{cut}", counts) if counts["columns"] < found.n_columns else "",
        ]
    )

    def draw(ax: Axes) -> None:
        names = [[clean(str(n)) for n in listed] for listed in (found.features, found.columns)]
        values = [row[:_COLUMNS] for row in found.values]
        charts.figures.heat_map(ax, values, names[0], names[1][:_COLUMNS])

    return Figure(
        "features-chart", say("section.features"), say("features.chart"), draw, caption,
        width=max(5.0, 2.6 + 0.16 * counts["columns"]), height=2.0 + 0.16 * counts["rows"],
        marks=say("features.marks"),
    )  # fmt: skip


def _path(result: Findings) -> StrengthPath:
    if result.path is None:
        raise DataError(LazyMessage("comparison.refusal.no_path"))
    return result.path


def _strength_figure(result: Findings, say: Translator) -> Figure:
    path = _path(result)

    def draw(ax: Axes) -> None:
        charts.figures.error_curve(
            ax,
            path.alphas,
            shown_scores(path),
            path.standard_errors,
            extra_says.marks(path, say),
            labels=(say("strength.across"), measure_word(path, result.setup, say)),
            greater_is_better=path.measure != "loss",
        )

    title = measure_word(path, result.setup, say)
    note = "strength.note.squared" if title == say("strength.loss") else "strength.note"
    return Figure("error-chart", title, say("strength.error_desc"), draw, say(note),
                  marks=say("strength.marks"))  # fmt: skip


def _path_figure(result: Findings, say: Translator) -> Figure:
    path = _path(result)
    lines = [list(at) for at in zip(*path.sizes, strict=True)] or [[]] * len(path.alphas)

    def draw(ax: Axes) -> None:
        charts.figures.coefficient_lines(
            ax,
            path.alphas,
            lines,
            [clean(name) for name in path.names],
            extra_says.marks(path, say),
            labels=(say("strength.across"), say("strength.sizes")),
        )

    title = say("strength.sizes")
    return Figure("path-chart", title, say("strength.sizes_desc"), draw, title)


def _learning_figure(result: Findings, say: Translator) -> Figure:
    points = result.learning
    if not points:
        raise DataError(LazyMessage("comparison.refusal.no_curve"))
    curves = {
        say(f"learning.{name}"): [getattr(point, name).mean for point in points]
        for name in ("shared", "pooled", "separate")
    }
    metric = amounts.metric_word(result.setup, say)
    by_time = result.setup.splits == "time"
    across = "learning.across.splits" if by_time else "learning.across"

    def draw(ax: Axes) -> None:
        charts.figures.learning_curves(
            ax,
            [point.rows for point in points],
            {name: means for name, means in curves.items() if any(map(math.isfinite, means))},
            marked=say("learning.shared"),
            labels=(say(across), say("learning.upward", {"metric": metric})),
        )

    return Figure("learning-chart", say("section.learning"), say("learning.desc"), draw,
                  say("learning.note"))  # fmt: skip


_FIGURES: Mapping[str, Callable[[Findings, Translator], Figure]] = MappingProxyType(
    {
        "tasks": _tasks_figure,
        "sizes": _sizes_figure,
        "models": _models_figure,
        "features": _features_figure,
        "strength": _strength_figure,
        "path": _path_figure,
        "learning": _learning_figure,
        "ablation": _ablation_figure,
        "differences": _why_figure,
        "shrinkage": _two_figure,
    }
)


def figure(result: Findings, kind: str, say: Translator) -> Figure:
    """Return a chart by its name."""
    if kind not in _FIGURES:
        known = ", ".join(map(repr, _FIGURES))
        raise ParameterError(
            LazyMessage("comparison.refusal.plot_kind", {"known": known, "kind": repr(kind)})
        )
    return _FIGURES[kind](result, say)
