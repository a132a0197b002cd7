"""``polytask inspect``: what is in a table or a saved model, and whether its tasks are related."""

from __future__ import annotations

import itertools
import os
import shlex
import warnings
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from dataclasses import MISSING, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from polytask._options import argument, option
from polytask.cli.columns import (
    AUTO,
    MOST,
    NO_SPLITTING,
    ColumnOptions,
    TargetTypeOverride,
    are_series,
    matching,
    may_order_rows,
    ranked_tasks,
    require,
)
from polytask.cli.console import (
    FILE_ROWS,
    in_options,
    note,
    say,
    say_json,
    say_pair,
    say_table,
    say_whole,
    spoken_warnings,
)
from polytask.cli.files import (
    MODEL_SUFFIX,
    RowSource,
    Tables,
    TextFormat,
    refuse_several,
    require_file,
    writable,
)
from polytask.cli.options import Running, Vary, command_line, spoken_flags
from polytask.exceptions import DataError, ParameterError, PolytaskError
from polytask.messages import LazyMessage, message_of

if TYPE_CHECKING:
    import pandas as pd

    from polytask.cli.column_facts import ColumnSummary, TableSummary
    from polytask.cli.targets import ReadTarget, TargetKind
    from polytask.messages import Translator
    from polytask.task_relations import Relatedness

Facts = dict[str, Any]
# Tasks of a model that are listed.
SHOWN = 20


@dataclass(frozen=True)
class Inspected:
    """The file to look at."""

    PANEL = "help.panel.columns"

    path: str = argument("help.path_or_model", "DATA|MODEL", default=MISSING)
    related: bool = option(
        "help.related",
        default=False,
    )


EXAMPLES = """\
  polytask inspect exams.csv --task school --target score

  polytask inspect exams.csv --task school --target score --related --out related.html

  polytask inspect exams.polytask --out exams.card.md
"""


def inspect(
    inspected: Inspected,
    columns: Annotated[ColumnOptions, Vary(("allow_leak",))],
    running: Annotated[
        Running,
        Vary(
            ("resume", "time_budget", "jobs", "seed", "config"),
            {
                "out": option(
                    "help.inspect.out",
                    metavar="REPORT",
                )
            },
        ),
    ],
    text: TextFormat,
) -> None:
    """Say what is in a file."""
    source = RowSource(inspected.path, None, text)
    refuse_several(columns.tasks, "inspect")
    if not (os.path.isdir(source.name) and is_table_file(source.name)):
        require_file(source.name, LazyMessage("cli.what.table_or_model"))
    if inspected.related:
        _relate(source, columns, running)
        return
    given = spoken_flags(replace(columns, tasks=(), target=(), targets=()))
    of_model = not is_table_file(source.name)
    if given or (running.out is not None and not of_model):
        raise ParameterError(
            LazyMessage("cli.refusal.goes_with_related", {"flag": next(iter(given), "--out")})
        )
    # What programs read is the same in every language.
    speech = replace(running, lang="en").speech if running.json else running.speech
    if is_table_file(source.name):
        targets = (*columns.target, *columns.targets)
        table = _summary(source, columns, running)
        try:
            facts, kinds = table_facts(table, source, columns.task, targets, speech)
        except DataError as error:
            # What is wrong with a target is said below what the table holds.
            if not running.json:
                facts, kinds = table_facts(table, source, columns.task, (), speech)
                _say_table(facts, kinds, speech)
                chosen = matching(targets, [*table.columns], source.name)
                told = FILE_ROWS.counted(in_options(message_of(error)))
                _say_next(facts, table, source, columns, chosen, speech, told)
            raise
        if running.json:
            say_json(facts)
            return
        _say_table(facts, kinds, speech)
        known = [each["name"] for each in facts["targets"]]
        _say_next(facts, table, source, columns, known, speech)
        return
    facts = model_facts(source.name, speech)
    say_json(facts) if running.json else _say_model(facts, speech)
    if running.out is not None:
        _write_card(source.name, running)


def _write_card(path: str, running: Running) -> None:
    """Write the card of a saved model, as Markdown and as JSON."""
    from polytask import load

    stem, suffix = os.path.splitext(str(running.out))
    if suffix.lower() not in (".md", ".json"):
        raise ParameterError(LazyMessage("cli.refusal.card", {"path": repr(running.out)}))
    for name in (f"{stem}.md", f"{stem}.json"):
        writable(name, force=running.force, example="", inputs=(path,))
    model: Any = load(path)
    for file in model.card().write(stem + suffix):
        if not running.json:
            say(running.speech("cli.wrote", {"path": str(file)}))


def _summary(source: RowSource, columns: ColumnOptions, running: Running) -> TableSummary:
    """Read a table, in parts where it is large, and say what is not told of one in parts."""
    from polytask.cli.column_facts import TableSummary

    if not source.too_large:
        return TableSummary.of_whole(source.table(columns.is_feature), columns.task)
    from polytask.cli.in_parts import watched
    from polytask.data.readers import frame_of

    note(LazyMessage("cli.note.in_parts", source.too_large))
    parts = source.parts(columns.is_feature).placed()
    placed = next(parts, None)
    if placed is None:
        raise DataError(LazyMessage("read.refusal.no_rows", {"source": source.name}))
    n_columns = placed[1].num_columns
    first = source.first_rows(n_columns)
    note(LazyMessage("cli.note.inspected_in_parts", {"n": first}))
    read = watched(itertools.chain([placed], parts), running)
    most = source.most_values(n_columns)
    return TableSummary.of((frame_of(part) for _, part in read), columns.task, first, most)


def _relate(source: RowSource, columns: ColumnOptions, running: Running) -> None:
    """Say whether tasks are related."""
    from polytask import load, relatedness, write_report
    from polytask.cli.folder import REPORTS

    out = running.out
    if out is not None and not running.force:
        # A folder gets the three forms of a report.
        files = [Path(out), *(Path(out, name) for name in REPORTS)]
        for taken in filter(Path.is_file, files):
            raise DataError(LazyMessage("cli.refusal.exists.report", {"path": str(taken)}))
    with spoken_warnings(), running.waiting("cli.inspect.relating"):
        if is_table_file(source.name):
            result = _of_table(source, columns)
        elif given := spoken_flags(columns):
            raise ParameterError(LazyMessage("cli.refusal.model_knows_tasks", {"given": given[0]}))
        else:
            result = relatedness(load(source.name))
    if running.json:
        say_whole(result.to_json())
    else:
        for line in result.summary(running.lang).split("\n"):
            say(line)
    if out is not None:
        written = write_report(result, out, lang=running.lang)
        if not running.json:
            say(running.speech("cli.wrote", {"path": str(written)}))


def _of_table(source: RowSource, columns: ColumnOptions) -> Relatedness:
    from polytask import relatedness
    from polytask.cli.training_data import read_training

    if source.too_large:
        raise DataError(LazyMessage("cli.refusal.large_related", source.too_large))
    # What is asked here is what the table holds: a copy of the target is named.
    targets = (*columns.target, *columns.targets)
    asked = replace(columns, target=(), targets=targets, allow_leak=True)
    data = read_training(Tables(asked, NO_SPLITTING, source), TargetTypeOverride.of_loss(AUTO))
    assert not isinstance(data.task_column, list)  # refused before
    return relatedness(
        data.X,
        data.y,
        sample_weight=data.weight,
        task_column=data.task_column,
        loss=data.losses(AUTO),
    )


def is_table_file(path: str) -> bool:
    """Tell by its suffix whether a file is a table; a folder is one unless it holds models."""
    from polytask.data.readers import ARROW_SUFFIXES, PARQUET_SUFFIXES, TEXT_SUFFIXES

    if os.path.isdir(path):
        return not any(Path(path).rglob(f"*{MODEL_SUFFIX}"))
    name, workbooks = path.lower().removesuffix(".gz"), (".xlsx", ".xlsm", ".xls")
    return name.endswith((*TEXT_SUFFIXES, *PARQUET_SUFFIXES, *ARROW_SUFFIXES, *workbooks))


def table_facts(
    table: TableSummary,
    source: RowSource,
    task: str | None,
    targets: tuple[str, ...],
    speech: Translator,
) -> tuple[Facts, list[TargetKind]]:
    """Return what is in a table, as JSON values, and what its targets are."""
    from polytask.cli.targets import TargetOptions

    path, names, columns = source.name, [*table.columns], table.columns
    if task is not None:
        require(task, names, path)
    chosen = matching(targets, names, path)
    unfit = {*chosen, *(name for name in names if columns[name].kind in ("dates", "lists"))}
    likely = () if task is not None else ranked_tasks(table.label_columns(unfit))
    reading, override = TargetOptions(source.text.decimal, False), TargetTypeOverride.of_loss(AUTO)
    found = [table.target(name, path, override, reading) for name in chosen]
    leaks: dict[str, LazyMessage] = {}
    doubts: tuple[LazyMessage, ...] = ()
    if len(found) == 1:
        rows = table.first.drop(columns=list(unfit - {task}))
        leaks, doubts = _doubts(rows, found[0][0], task)
    described = [_column(table, name, {task, *chosen}, speech) for name in names]
    for each in described:
        each["leak"] = each["name"] in leaks
        if each["leak"]:
            each["remarks"].insert(0, leaks[each["name"]].text(speech))
    facts = {
        "path": path,
        "rows": table.n_rows,
        "columns": described,
        "remarks": [doubt.text(speech) for doubt in doubts],
        "tasks": None if task is None else _tasks(columns[task]),
        "targets": [
            {
                "name": target.kind.name,
                "kind": "classification" if target.kind.is_class else "regression",
                "reason": str(target.kind.reason),
                "missing": missing,
            }
            for target, missing in found
        ],
        "likely_tasks": [[hint.name, hint.n_values] for hint in likely],
    }
    return facts, [target.kind for target, _ in found]


def _tasks(column: ColumnSummary) -> Facts:
    """Return how many tasks there are, and of how many rows."""
    from statistics import median

    sizes = [seen.rows for seen in (column.values or {}).values()]
    return {
        "column": column.name,
        "count": len(sizes),
        "smallest": min(sizes, default=0),
        "median": float(median(sizes)) if sizes else 0.0,
        "largest": max(sizes, default=0),
        "of_one_row": sizes.count(1),
        "missing": column.missing,
    }


def _doubts(
    rows: pd.DataFrame, target: ReadTarget, task: str | None
) -> tuple[dict[str, LazyMessage], tuple[LazyMessage, ...]]:
    """Return what is to be said of columns that hold the target, and what else misleads."""
    from polytask._estimator.data_checks import remarks_on
    from polytask._estimator.training import training_data

    known = target.column.notna()
    known &= rows[task].notna() if task is not None else True
    with warnings.catch_warnings(), suppress(PolytaskError):
        # What else is wrong with the table is said by the command that learns from it.
        warnings.simplefilter("ignore")
        data = training_data(rows[known], target.column[known], None, None, task, "polytask")
        leaks, doubts = remarks_on(data, target.kind.name)
        # Labels that look alike are remarked on beside their column.
        return leaks, tuple(doubt for doubt in doubts if not doubt.key.startswith("warn.alike"))
    return {}, ()


def _column(
    table: TableSummary, name: str, roles: Container[str | None], speech: Translator
) -> Facts:
    from polytask._estimator.far_cells import decisive_message
    from polytask.cli.column_facts import NUMBERS

    column = table.columns[name]
    kind, distinct, missing = column.kind, column.n_values, column.missing / column.n_rows
    if kind == "lists":
        return {
            "name": name, "kind": kind, "missing": missing, "distinct": None,
            "more_than": None, "example": "", "remarks": [speech("cli.remark.lists")],
        }  # fmt: skip
    remarks = [*_of_values(column, table.most_values, speech)]
    if name in table.twins:
        remarks.append(speech("cli.remark.twin", {"name": table.twins[name]}))
    if name not in roles and kind != "dates" and column.is_identifier:
        remarks.append(speech("cli.remark.identifier"))
    if kind in NUMBERS and table.whole:
        cells = table.first[name].to_numpy(float, na_value=float("nan"))
        far = decisive_message(cells, lambda row: LazyMessage("place.row", {"row": str(row)}))
        remarks += [FILE_ROWS.counted(far.text(speech))] if far else []
    if kind == "dates":
        ordered = "" if may_order_rows(distinct, column.missing) else ".alone"
        remarks.append(speech(f"cli.remark.dates{ordered}", {"drop": shlex.quote(name)}))
    return {
        "name": name, "kind": kind, "missing": missing, "distinct": distinct,
        "more_than": table.most_values if distinct is None else None,
        "example": _example(column, speech), "remarks": remarks,
    }  # fmt: skip


def _of_values(column: ColumnSummary, most: int, speech: Translator) -> Iterator[str]:
    """Yield what deserves a look in the values of a column."""
    from polytask.data.text_hints import spelling_hint

    if column.n_values is None:
        yield speech("cli.remark.many_values", {"n": most})
    elif column.n_values == 0:
        yield speech("cli.remark.empty")
    elif column.n_values == 1 and not column.missing:
        yield speech("cli.remark.constant")
    if column.kind == "text" and column.values is not None and len(column.values) <= MOST:
        twins = spelling_hint(column.name, sorted(map(str, column.values)))
        if twins:
            yield LazyMessage("cli.remark.spelling", twins.fields).text(speech)


def _example(column: ColumnSummary, speech: Translator) -> str:
    from polytask.cli.column_facts import NUMBERS

    if column.ends is not None:
        # Of dates without times of day only the dates are told.
        low, high = (
            f"{end:.6g}" if column.kind in NUMBERS else str(end).removesuffix(" 00:00:00")
            for end in column.ends
        )
        return speech("cli.tune.range", {"low": low, "high": high})
    if column.most_frequent is None:
        return ""
    value, rows = column.most_frequent
    return f"{value} ({rows:,}×)"


def _say_next(
    facts: Facts,
    table: TableSummary,
    source: RowSource,
    columns: ColumnOptions,
    targets: Sequence[str],
    speech: Translator,
    told: str = "",
) -> None:
    """Print the command to go on with; columns that cannot be learned from are left out."""
    # `told` is a refusal that is said after this.
    from polytask.cli.training_data import mended

    likely = facts["likely_tasks"]
    task = columns.task or (likely[0][0] if likely else "COL")
    words = ["--task", task] if columns.task or len(targets) < 2 else []
    number = speech("cli.remark.identifier")
    words += [word for name in targets or ["COL"] for word in ("--target", name)]
    # Rows of series are predicted later; a date of birth is a feature.
    dates = [each["name"] for each in facts["columns"] if each["kind"] == "dates"]
    series = len(dates) == 1 and table.whole and are_series(table.first[dates[0]])
    time = dates[0] if series else None
    time = None if time in (task, *targets) else time
    free = [each for each in facts["columns"] if each["name"] not in (task, time, *targets)]
    unfit = [each["name"] for each in free if each["leak"]]
    ids = [e["name"] for e in free if number in e["remarks"] and e["name"] not in unfit]
    rest = ["--time", time] if time else []
    rest += ["--date-features"] * any(each["kind"] == "dates" for each in free)
    for flag, names in (("--id", ids), ("--drop", unfit)):
        rest += [flag, ",".join(names)] if names else []
    words = [*source.words(), *words, *rest]
    refused = ""
    if "COL" not in words:
        # What compare refuses is answered here, or said.
        words, refused = mended(words)
    if refused and refused == told:
        return
    say()
    if refused:
        say(speech("cli.inspect.refused", {"reason": refused}))
    say(speech("cli.inspect.then" if refused else "cli.inspect.next"))
    say_whole(f"  {_comparing(words)}")
    if task == "COL" and not targets:
        say(speech("cli.inspect.or_targets"))
        say_whole(f"  {_comparing([*source.words(), '--targets', 'COL,COL', *rest])}")
    if "COL" in words:
        say(speech("cli.inspect.open"))


def _comparing(words: Sequence[str]) -> str:
    return command_line("compare", *words, "--out", "comparison", "--quick")


def _say_table(facts: Facts, kinds: list[TargetKind], speech: Translator) -> None:
    """Print what is in a table."""
    from polytask.cli.describe import kind_sentence

    columns, tasks = facts["columns"], facts["tasks"]
    header = [
        speech(f"cli.inspect.{n}") for n in ("column", "kind", "missing", "distinct", "values")
    ]
    rows = [
        (
            each["name"],
            speech.word("cli.kind", each["kind"]),
            f"{each['missing']:.1%}" if each["missing"] else "-",
            _distinct(each, speech),
            each["example"],
        )
        for each in columns
    ]
    size = {"path": facts["path"], "n": facts["rows"], "columns": len(columns)}
    say_table(speech("cli.inspect.title", size), header, rows, right=(2, 3))
    between = speech("list.semicolon")
    remarks = [f"  {c['name']}: {between.join(c['remarks'])}" for c in columns if c["remarks"]]
    remarks += [f"  {remark}" for remark in facts["remarks"]]
    if remarks:
        say()
        say(speech("cli.inspect.remarks"))
        for remark in remarks:
            say(remark)
    say()
    if tasks is not None:
        fields = tasks | {"column": repr(tasks["column"]), "median": f"{tasks['median']:,.6g}"}
        counts = {"single": tasks["of_one_row"], "unlabelled": tasks["missing"]}
        more = (speech(f"cli.inspect.{key}", {"n": n}) for key, n in counts.items() if n)
        equal = ".equal" if tasks["smallest"] == tasks["largest"] else ""
        say(f"{speech(f'cli.inspect.tasks{equal}', fields)}{''.join(more)}")
    elif facts["likely_tasks"]:
        likely = ", ".join(f"{name} ({count:,})" for name, count in facts["likely_tasks"])
        say(speech("cli.inspect.likely", {"names": likely}))
    else:
        each = len(facts["targets"]) > 1
        say(speech("cli.inspect.targets" if each else "cli.inspect.no_task"))
    for kind, target in zip(kinds, facts["targets"], strict=True):
        missing = target["missing"]
        gaps = speech("cli.inspect.gaps", {"n": missing}) if missing else ""
        say(f"{speech('cli.label.target')} {kind_sentence(kind, speech)}{gaps}")


def _distinct(column: Facts, speech: Translator) -> str:
    if column["more_than"] is not None:
        return speech("cli.inspect.beyond", {"n": column["more_than"]})
    return "" if column["distinct"] is None else f"{column['distinct']:,}"


def model_facts(path: str, speech: Translator) -> Facts:
    """Return what a saved model is, as JSON values."""
    from polytask import load
    from polytask.cli.describe import (
        certificate,
        coverage_words,
        describe,
        features_words,
        loss_of,
        proof_label,
        searched,
        short,
    )

    model: Any = load(path)
    solution = getattr(model, "solution_", None)
    penalty = getattr(model, "best_penalty_", None) or getattr(model, "penalty", None)
    coef, loss = getattr(model, "coef_", None), loss_of(model)
    card, levels = model.data_card_, getattr(model, "levels_", None) or {}
    return {
        "path": path,
        "class": type(model).__name__,
        "description": describe(model, speech),
        "tasks": [_plain(label) for label in model.tasks_.tolist()],
        "rows": card.n_rows,
        "rows_per_task": [int(n) for n in card.rows_per_task],
        "form": card.form,
        "versions": dict(card.versions),
        "task_column": model.task_column,
        # How many levels each of several groupings has.
        "groupings": {name: len(found) for name, found in levels.items()},
        "unseen_tasks": model.unseen_tasks,
        "classes": _classes(model),
        "columns": [*model._schema.columns],
        "features": [str(name) for name in model.coef_feature_names_],
        "features_said": features_words(model, speech),
        # Features that some task uses.
        "nonzero": None if coef is None else int((coef != 0).any(axis=0).sum()),
        "penalty": None if penalty is None else repr(penalty),
        "alpha": getattr(model, "alpha_", None),
        "loss": None if loss is None else short(loss),
        # What held-out rows said when it was fitted.
        "searched": dict(searched(model, speech)),
        "intervals": coverage_words(model, speech),
        "status": None if solution is None else solution.status.name,
        "certificate": None if solution is None else certificate(solution, speech),
        "proof": None if solution is None else proof_label(solution, speech),
        "objective": None if solution is None else float(solution.objective),
    }


def _plain(label: object) -> object:
    return label if isinstance(label, str | int | float | bool) else str(label)


def _classes(model: Any) -> list[object] | None:  # noqa: ANN401
    classes = getattr(model, "classes_", None)
    if classes is None:
        return None
    if isinstance(classes, list):
        return [None if c is None else [_plain(label) for label in c.tolist()] for c in classes]
    return [_plain(label) for label in classes.tolist()]


def _say_model(facts: Facts, speech: Translator) -> None:
    """Print what a saved model is."""
    from polytask.cli.describe import named

    column = facts["task_column"]
    trained = {"n": facts["rows"], "form": speech(f"form.{facts['form']}")}
    unseen = speech(f"cli.inspect.unseen.{facts['unseen_tasks']}")
    tasks = f"{len(facts['tasks']):,}"
    if facts["groupings"]:
        levels = [f"{name} ({count:,})" for name, count in facts["groupings"].items()]
        tasks = speech("cli.inspect.groupings", {"levels": named(levels)})
    elif column is not None:
        tasks = speech("cli.inspect.by", {"tasks": tasks, "column": repr(column)})
    features = facts["features_said"]
    if facts["nonzero"] is not None:
        features += speech("cli.inspect.used", {"n": facts["nonzero"]})
    pairs = {
        "file": facts["path"],
        "model": facts["description"],
        "rows": speech("cli.inspect.trained", trained),
        "tasks": speech("list.semicolon").join((tasks, unseen)),
    }
    if facts["columns"]:
        fields: dict[str, str | int] = {"n": len(facts["columns"])}
        fields["names"] = named(facts["columns"])
        pairs["columns"] = speech("cli.inspect.columns", fields)
    pairs["features"] = features
    if facts["classes"] is not None:
        pairs["classes"] = named([str(label) for label in facts["classes"]])
    pairs |= {name: facts[name] for name in ("loss", "intervals") if facts[name]}
    if facts["loss"] == "'auto'":
        pairs["loss"] += speech("cli.inspect.loss_auto")
    for label, text in pairs.items():
        say_pair(speech(f"cli.label.{label}"), text)
    for label, text in facts["searched"].items():
        say_pair(label, text)
    if facts["certificate"] is not None:
        say_pair(facts["proof"], facts["certificate"])
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    say_pair(speech("cli.label.versions"), versions)
    _say_sizes(facts, speech)


def _say_sizes(facts: Facts, speech: Translator) -> None:
    """Print how many rows of each task a model was fitted on."""
    sizes = list(zip(facts["tasks"], facts["rows_per_task"], strict=True))
    rows = [(str(label), f"{count:,}") for label, count in sizes[:SHOWN]]
    say()
    header = (speech("column.task"), speech("column.rows"))
    say_table(speech("cli.inspect.rows"), header, rows, right=(1,))
    if len(sizes) > SHOWN:
        say(speech("cli.inspect.more", {"n": len(sizes) - SHOWN}))
