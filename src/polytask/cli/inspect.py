"""``polytask inspect``: what is in a table or a saved model, and whether its tasks are related."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from polytask.cli import options
from polytask.cli.columns import likely_tasks, looks_like_identifier, matching, require
from polytask.cli.console import (
    say,
    say_json,
    say_pair,
    say_table,
    say_whole,
    spoken_warnings,
    working,
)
from polytask.cli.files import Source, Style, require_file
from polytask.cli.fit import certificate, describe, named, proof_of
from polytask.cli.training_data import Demand, TargetOptions, target_of
from polytask.exceptions import DataError, ParameterError

if TYPE_CHECKING:
    import pandas as pd

    from polytask.task_relations import Relatedness


@dataclass(frozen=True)
class ColumnFacts:
    """One column."""

    name: str
    kind: str
    missing: float
    distinct: int
    example: str
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskFacts:
    """The tasks of a table."""

    column: str
    count: int
    smallest: int
    median: float
    largest: int
    of_one_row: int
    missing: int


@dataclass(frozen=True)
class TargetFacts:
    """One target: what it is and why."""

    name: str
    kind: str
    reason: str
    missing: int


@dataclass(frozen=True)
class TableFacts:
    """A table."""

    path: str
    rows: int
    columns: tuple[ColumnFacts, ...]
    tasks: TaskFacts | None
    targets: tuple[TargetFacts, ...]
    likely_tasks: tuple[tuple[str, int], ...]


def table_facts(
    table: pd.DataFrame,
    path: str,
    task: str | None,
    targets: tuple[str, ...],
    decimal: str | None = None,
) -> TableFacts:
    """Look at a table. Shapes: table (n, d)."""
    names = [str(name) for name in table.columns]
    if task is not None:
        require(task, names, path)
    chosen = matching(targets, names, path)
    twins = _twins(table)
    others = table.drop(columns=list(chosen))
    likely = () if task is not None else likely_tasks(others)
    return TableFacts(
        path=path,
        rows=len(table),
        columns=tuple(_column(table[name], name, twins.get(name), task) for name in names),
        tasks=None if task is None else _tasks(table[task], task),
        targets=tuple(_target(table[name], name, path, decimal) for name in chosen),
        likely_tasks=tuple((hint.name, hint.n_values) for hint in likely),
    )


def _column(column: pd.Series[Any], name: str, twin: str | None, task: str | None) -> ColumnFacts:
    from polytask._estimator.far_cells import decisive_message
    from polytask.messages import LazyMessage

    distinct = int(column.nunique())
    missing = float(column.isna().mean())
    remarks = []
    if distinct == 0:
        remarks.append("empty")
    elif distinct == 1 and not missing:
        remarks.append("constant")
    if twin is not None:
        remarks.append(f"same as {twin}")
    if name != task and looks_like_identifier(column, distinct):
        remarks.append("nearly every value different: an identifier? (--id)")
    kind = _kind(column)
    if kind in ("numbers", "whole numbers"):
        cells = column.to_numpy(float, na_value=np.nan)
        far = decisive_message(cells, lambda row: LazyMessage("place.row", {"row": str(row)}))
        remarks += [str(far)] if far else []
    if kind == "dates":
        remarks.append("not encoded: --drop, or turn into numbers")
    return ColumnFacts(name, kind, missing, distinct, _example(column, kind), tuple(remarks))


def _kind(column: pd.Series[Any]) -> str:
    import pandas as pd

    types = pd.api.types
    if not column.notna().any():
        return "empty"
    checks = {
        "categories": isinstance(column.dtype, pd.CategoricalDtype),
        "true/false": types.is_bool_dtype(column),
        "dates": types.is_datetime64_any_dtype(column) or types.is_timedelta64_dtype(column),
        "whole numbers": types.is_integer_dtype(column),
        "numbers": types.is_numeric_dtype(column),
    }
    return next((kind for kind, holds in checks.items() if holds), "text")


def _example(column: pd.Series[Any], kind: str) -> str:
    if kind == "empty":
        return ""
    if kind in ("numbers", "whole numbers"):
        return f"{column.min():.6g} to {column.max():.6g}"
    if kind == "dates":
        return f"{column.min()} to {column.max()}"
    counts = column.value_counts()
    return f"{counts.index[0]} ({int(counts.iloc[0]):,}x)"


def _twins(table: pd.DataFrame) -> dict[str, str]:
    """Return, for each column that repeats an earlier one, that column."""
    import pandas as pd

    seen: dict[int, list[str]] = defaultdict(list)
    twins: dict[str, str] = {}
    for name in table.columns:
        column = table[name]
        codes = pd.util.hash_pandas_object(column, index=False)
        key = int(np.bitwise_xor.reduce(np.asarray(codes) * _odd(len(codes)))) if len(codes) else 0
        same = [other for other in seen[key] if table[other].equals(column)]
        if same and column.notna().any():
            twins[str(name)] = str(same[0])
        seen[key].append(name)
    return twins


def _odd(n: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    # Different factors, so that columns with the same cells in another order differ.
    return np.arange(n, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


def _tasks(column: pd.Series[Any], name: str) -> TaskFacts:
    sizes = np.asarray(column.value_counts())
    few = len(sizes) == 0
    return TaskFacts(
        column=name,
        count=len(sizes),
        smallest=0 if few else int(sizes.min()),
        median=0.0 if few else float(np.median(sizes)),
        largest=0 if few else int(sizes.max()),
        of_one_row=int((sizes == 1).sum()),
        missing=int(column.isna().sum()),
    )


def _target(column: pd.Series[Any], name: str, path: str, decimal: str | None) -> TargetFacts:
    demand = Demand("auto", "--loss auto")
    found = target_of(column, name, path, demand, TargetOptions(decimal))
    word = "classification" if found.kind.is_class else "regression"
    return TargetFacts(name, word, found.kind.reason, int(found.column.isna().sum()))


def say_table_facts(facts: TableFacts) -> None:
    """Print what is in a table."""
    header = ("column", "holds", "missing", "distinct", "values")
    say_table(
        f"{facts.path}: {facts.rows:,} rows, {len(facts.columns):,} columns",
        header,
        [_row(column) for column in facts.columns],
        right=(2, 3),
    )
    _say_remarks(facts)
    _say_tasks(facts)
    for target in facts.targets:
        gaps = f" It is missing in {target.missing:,} rows." if target.missing else ""
        say(f"Target {target.name!r} {target.reason}: {target.kind}.{gaps}")


def _row(column: ColumnFacts) -> tuple[str, ...]:
    missing = f"{column.missing:.1%}" if column.missing else "-"
    return column.name, column.kind, missing, f"{column.distinct:,}", column.example


def _say_remarks(facts: TableFacts) -> None:
    remarks = [f"  {c.name}: {'; '.join(c.remarks)}" for c in facts.columns if c.remarks]
    if remarks:
        say()
        say("Worth a look:")
        for remark in remarks:
            say(remark)


def _say_tasks(facts: TableFacts) -> None:
    say()
    tasks = facts.tasks
    if tasks is not None:
        say(
            f"Tasks by {tasks.column!r}: {tasks.count:,}, with {tasks.smallest:,} to "
            f"{tasks.largest:,} rows each (median {tasks.median:,.0f}); {tasks.of_one_row:,} of "
            f"one row; {tasks.missing:,} rows without a label."
        )
    elif facts.likely_tasks:
        likely = ", ".join(f"{name} ({count:,})" for name, count in facts.likely_tasks)
        say(f"Columns that may name the task (--task), with their distinct values: {likely}.")
    else:
        say("No column looks like the name of a task (--task).")


Facts = dict[str, Any]
SHOWN = 20


def model_facts(path: str) -> Facts:
    """Return what a saved model is, as JSON values."""
    from polytask import load

    model: Any = load(path)
    solution = getattr(model, "solution_", None)
    card = model.data_card_
    return {
        "path": path,
        "class": type(model).__name__,
        "description": describe(model),
        "tasks": [_plain(label) for label in np.asarray(model.tasks_).tolist()],
        "rows": card.n_rows,
        "rows_per_task": [int(n) for n in card.rows_per_task],
        "form": card.form,
        "versions": dict(card.versions),
        "task_column": model.task_column,
        "unseen_tasks": model.unseen_tasks,
        "classes": _classes(model),
        "columns": [str(name) for name in getattr(model, "feature_names_in_", [])],
        "features": [str(name) for name in model.coef_feature_names_],
        "nonzero": _nonzero(model),
        "penalty": repr(_penalty(model)) if _penalty(model) is not None else None,
        "alpha": getattr(model, "alpha_", None),
        "status": None if solution is None else solution.status.name,
        "certificate": None if solution is None else certificate(solution),
        "proof": None if solution is None else proof_of(solution),
        "objective": None if solution is None else float(solution.objective),
    }


def _plain(label: object) -> object:
    return label if isinstance(label, str | int | float | bool) else str(label)


def _penalty(model: Any) -> Any:  # noqa: ANN401 - any estimator
    return getattr(model, "best_penalty_", None) or getattr(model, "penalty", None)


def _classes(model: Any) -> list[object] | None:  # noqa: ANN401
    classes = getattr(model, "classes_", None)
    if classes is None:
        return None
    if isinstance(classes, list):
        return [None if c is None else [_plain(label) for label in c.tolist()] for c in classes]
    return [_plain(label) for label in classes.tolist()]


def _nonzero(model: Any) -> int | None:  # noqa: ANN401
    """Return the number of features that some task uses."""
    coef = getattr(model, "coef_", None)
    return None if coef is None else int(np.any(np.asarray(coef) != 0, axis=0).sum())


def say_model_facts(facts: Facts) -> None:
    """Print what a saved model is."""
    say_pair("File", facts["path"])
    say_pair("Model", facts["description"])
    column = facts["task_column"]
    by = "" if column is None else f" by {column!r}"
    say_pair("Rows", f"{facts['rows']:,} in training, {facts['form']} form")
    say_pair("Tasks", f"{len(facts['tasks']):,}{by}; unseen ones: {facts['unseen_tasks']}")
    say_pair("Columns", named(facts["columns"]))
    used = "" if facts["nonzero"] is None else f", {facts['nonzero']:,} of them used"
    say_pair("Features", f"{len(facts['features']):,}{used}")
    if facts["classes"] is not None:
        say_pair("Classes", named([str(label) for label in facts["classes"]]))
    if facts["certificate"] is not None:
        say_pair(facts["proof"], facts["certificate"])
    say_pair("Versions", ", ".join(f"{name} {v}" for name, v in facts["versions"].items()))
    _say_tasks_model_facts(facts)


def _say_tasks_model_facts(facts: Facts) -> None:
    pairs = list(zip(facts["tasks"], facts["rows_per_task"], strict=True))
    rows = [(str(label), f"{count:,}") for label, count in pairs[:SHOWN]]
    say()
    say_table("Rows in training", ("task", "rows"), rows, right=(1,))
    if len(pairs) > SHOWN:
        say(f"... and {len(pairs) - SHOWN:,} more tasks (all with --json).")


_RELATED_MODEL = "A saved model knows its tasks: drop {option}."


@dataclass(frozen=True)
class Asked:
    """What the user said about the columns of a table."""

    task: str | None
    targets: tuple[str, ...]
    drop: tuple[str, ...]
    ids: tuple[str, ...]
    drop_missing: bool

    def options(self) -> dict[str, bool]:
        """Return which options are given."""
        return {
            "--task": self.task is not None,
            "--target": bool(self.targets),
            "--drop": bool(self.drop),
            "--id": bool(self.ids),
            "--drop-missing-target": self.drop_missing,
        }


def run_related(source: Source, asked: Asked, out: str | None, *, force: bool, json: bool) -> None:
    """Say whether tasks are related."""
    require_file(source.name, "a table or a model")
    if out is not None and os.path.isfile(out) and not force:
        raise DataError(f"{out} exists already: choose another name, or replace it with --force.")
    table = is_table_file(source.name)
    with spoken_warnings(), working("Comparing the tasks"):
        result = _of_table(source, asked) if table else _of_model(source.name, asked)
    if json:
        say_whole(result.to_json())
    else:
        for line in result.summary().split("\n"):
            say(line)
    if out is not None:
        from polytask import write_report

        written = write_report(result, out)
        if not json:
            say(f"Wrote {written}.")


def _of_table(source: Source, asked: Asked) -> Relatedness:
    from polytask import relatedness
    from polytask.cli.columns import Wanted
    from polytask.cli.compare import Method
    from polytask.cli.training_data import read_training

    wanted = Wanted(
        task=asked.task,
        target_patterns=asked.targets,
        drop=asked.drop,
        ids=asked.ids,
        # What is asked here is what the table holds: a copy of the target is named.
        allow_leak=True,
    )
    choices = Method("auto", None, (), unseen=False, quick=False, splits=None, seed=0)
    data = read_training(source, wanted, choices.demand(), asked.drop_missing)
    return relatedness(
        data.X,
        data.y,
        sample_weight=data.weight,
        task_column=data.task_column,
        loss=choices.losses(data.kinds),
    )


def _of_model(path: str, asked: Asked) -> Relatedness:
    from polytask import load, relatedness

    given = [option for option, held in asked.options().items() if held]
    if given:
        raise ParameterError(_RELATED_MODEL.format(option=given[0]))
    return relatedness(load(path))


_RELATED_ONLY = {
    "drop": "--drop",
    "ids": "--id",
    "drop_missing": "--drop-missing-target",
    "out": "--out",
}


def run_inspect(source: Source, task: str | None, targets: tuple[str, ...], json: bool) -> None:
    """Say what is in a file."""
    require_file(source.name, "a table or a model")
    if not is_table_file(source.name):
        facts = model_facts(source.name)
        say_json(facts) if json else say_model_facts(facts)
        return
    found = table_facts(source.table(), source.name, task, targets, source.style.decimal)
    say_json(asdict(found)) if json else say_table_facts(found)


def refuse_without_related(**given: object) -> None:
    """Refuse options that belong to ``--related``."""
    for name, value in given.items():
        if value:
            raise ParameterError(f"{_RELATED_ONLY[name]} of polytask inspect goes with --related.")


def is_table_file(path: str) -> bool:
    """Tell by its suffix whether a file is a table."""
    from polytask.data.readers import ARROW_SUFFIXES, PARQUET_SUFFIXES, TEXT_SUFFIXES

    name = path.lower().removesuffix(".gz")
    return name.endswith((*TEXT_SUFFIXES, *PARQUET_SUFFIXES, *ARROW_SUFFIXES, ".xlsx", ".xls"))


def inspect(
    path: Annotated[
        str, typer.Argument(metavar="DATA|MODEL", help="A table, or a model that fit has written.")
    ],
    task: Annotated[
        str | None,
        typer.Option(
            metavar="COL", rich_help_panel=options.COLUMNS, help="The column that names the task."
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COL",
            rich_help_panel=options.COLUMNS,
            help="A target, by name or pattern: says whether it is a number or a class.",
        ),
    ] = None,
    related: Annotated[
        bool,
        typer.Option(
            "--related",
            rich_help_panel=options.COMPARING,
            help="Say whether the tasks are related, how much they share, and which are alike.",
        ),
    ] = False,
    drop: options.Drop = None,
    ids: options.Ids = None,
    drop_missing: options.DropMissing = False,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="REPORT",
            rich_help_panel=options.RUNNING,
            help="With --related: write a report there, .html, .md, .json, or a folder for all.",
        ),
    ] = None,
    force: options.Force = False,
    json: Annotated[
        bool, typer.Option("--json", rich_help_panel=options.RUNNING, help="Print JSON.")
    ] = False,
    sep: options.Sep = None,
    decimal: options.Decimal = None,
    encoding: options.Encoding = None,
    missing_values: options.MissingValues = None,
) -> None:
    """Say what is in a table or a saved model, and whether its tasks are related."""
    source = Source(path, None, Style(sep, decimal, encoding, tuple(missing_values or ())))
    targets = tuple(target or ())
    if related:
        asked = Asked(task, targets, tuple(drop or ()), tuple(ids or ()), drop_missing)
        run_related(source, asked, out, force=force, json=json)
        return
    refuse_without_related(drop=drop, ids=ids, drop_missing=drop_missing, out=out)
    run_inspect(source, task, targets, json)
