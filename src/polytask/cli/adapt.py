"""``polytask adapt``: a model for new tasks or a new domain."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import typer

from polytask.cli import options
from polytask.cli.columns import as_column, known_labels, require
from polytask.cli.console import note, say, say_json, working
from polytask.cli.files import MODEL_SUFFIX, Output, Source, Style, require_file
from polytask.cli.predict import is_targets, needed_columns, task_column_of
from polytask.cli.training_data import Demand, TargetOptions, labelled_rows, row_weights, target_of
from polytask.exceptions import ParameterError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Asked:
    """What the user said about the new rows."""

    task: str | None
    target: str | None
    weight: str | None
    drop_missing: bool
    domain: str | None
    method: str | None = None


# Methods of networks by the word of the command, as classes of polytask.deep.adapting.
METHODS = {
    "head": "NewHead",
    "unfreeze": "Unfreeze",
    "near-source": "NearSource",
    "adapters": "Adapters",
}


@dataclass(frozen=True, eq=False)
class New:
    """Rows as `polytask.adapt` takes them."""

    X: Any
    y: Any
    task: Any
    weight: Any


def run_adapt(
    path: str, source: Source, old: Source | None, asked: Asked, output: Output, *, json: bool
) -> None:
    """Load, read, adapt, write and say what was done."""
    source.check("polytask adapt")
    target = output.check(f"more{MODEL_SUFFIX}", path, *_read(source, old))
    _check(asked, old)
    require_file(path, "the model that polytask fit has written")
    from polytask import adapt, load, save

    model = load(path)
    new = _rows(model, source, asked)
    before = None if old is None else _old_rows(model, old, asked)
    with working("Adapting ..."):
        adapted = adapt(
            model, new.X, new.y, task=new.task, sample_weight=new.weight,
            domain=asked.domain, source=before, method=_method(asked.method),
        )  # fmt: skip
    save(adapted, target)
    if json:
        say_json({"model": target, **_content(adapted.adaptation_)})
        return
    say(adapted.adaptation_.summary())
    say(f"Wrote {target}.")


def _method(word: str | None) -> Any:  # noqa: ANN401 - an object of polytask.deep.adapting
    if word is None:
        return None
    from polytask.deep import adapting

    return getattr(adapting, METHODS[word])()


def _read(source: Source, old: Source | None) -> list[str | None]:
    return [source.data, None if old is None else old.data]


def _check(asked: Asked, old: Source | None) -> None:
    if asked.domain is None and old is not None:
        raise ParameterError(
            "--source is for --domain shift or --domain new: say which, or leave it out."
        )
    if asked.domain == "new" and asked.target is None:
        raise ParameterError(
            "--domain new needs --target: without targets nobody knows what has changed."
        )
    if asked.domain == "shift" and old is None:
        raise ParameterError(
            "--domain shift needs --source, the table that the model was fitted on: old rows are "
            "weighted by how much they look like new ones."
        )
    if asked.target is None:
        for option, value in (
            ("--weight", asked.weight),
            ("--drop-missing-target", asked.drop_missing),
        ):
            if value:
                raise ParameterError(
                    f"{option} needs --target: without targets nothing is learned."
                )


def _rows(model: Any, source: Source, asked: Asked) -> New:  # noqa: ANN401
    """Return the rows of a table."""
    table = source.table()
    name = _target(asked, table, source)
    if name is not None:
        table = _labelled(model, table, name, source, asked)
    if asked.weight is not None:
        require(asked.weight, list(table.columns), source.name)
    weight = row_weights(table, asked.weight, source.name)
    y = None if name is None else _values(table, name)
    if is_targets(model):
        return New(*_target_rows(model, table, source, asked), weight)
    column = task_column_of(model, asked.task, table, source.name)
    if column is None:
        raise ParameterError(
            "The model has one task without a name: name the column that says which task the new "
            "rows belong to with --task."
        )
    labels = known_labels(table[column], model.tasks_)
    X = _features(model, table, source.name, column, labels)
    return New(X, y, None if column == model.task_column else _objects(labels), weight)


def _labelled(
    model: Any,  # noqa: ANN401
    table: pd.DataFrame,
    name: str,
    source: Source,
    asked: Asked,
) -> pd.DataFrame:
    """Return the rows that have a target, which is read as what the model has learned."""
    classes = getattr(model, "task_classes_", None) or getattr(model, "classes_", None)
    if classes is None:
        demand = Demand("squared", "the model, which predicts numbers")
    elif isinstance(classes, dict) and any(own is None for own in classes.values()):
        demand = Demand("auto", "--loss auto")
    else:
        demand = Demand("classes", "the model, which predicts classes")
    options = TargetOptions(source.style.decimal, asked.drop_missing)
    found = target_of(table[name], name, source.name, demand, options)
    if found.kind.written:
        note(f"Target {name!r} holds numbers written {found.kind.written}: read as numbers.")
    table[name] = found.column
    return labelled_rows(table, name, source.name, asked.drop_missing)


def _target(asked: Asked, table: pd.DataFrame, source: Source) -> str | None:
    """Return the column of the targets of new rows, which a shift can do without."""
    if asked.target is None or (asked.domain == "shift" and asked.target not in table.columns):
        return None
    require(asked.target, list(table.columns), source.name)
    return asked.target


def _target_rows(
    model: Any,  # noqa: ANN401
    table: pd.DataFrame,
    source: Source,
    asked: Asked,
) -> tuple[Any, Any, str]:
    """Return the rows of a new target, which is the name of the new task."""
    task_column_of(model, asked.task, table, source.name)
    if asked.target is None:
        raise ParameterError("Each target of the model is a task: name the new one with --target.")
    X = needed_columns(table, model, source.name)
    return X, _values(table, asked.target), asked.target


def _features(
    model: Any,  # noqa: ANN401
    table: pd.DataFrame,
    source: str,
    column: str,
    labels: list[Hashable],
) -> pd.DataFrame:
    X = needed_columns(table, model, source)
    if column == model.task_column:
        X = X.drop(columns=[column])
        X[column] = as_column(labels)
    return X


def _old_rows(model: Any, old: Source, asked: Asked) -> Any:  # noqa: ANN401
    """Return the rows that the model was fitted on, as `polytask.adapt` takes them."""
    table = old.table()
    name = asked.target
    if name is None:
        raise ParameterError(
            "--source needs --target, the column of its targets; new rows without that column "
            "count as rows without targets."
        )
    require(name, list(table.columns), old.name)
    table = _labelled(model, table, name, old, asked)
    column = task_column_of(model, asked.task, table, old.name)
    labels = known_labels(table[str(column)], model.tasks_)
    X = _features(model, table, old.name, str(column), labels)
    y = _values(table, name)
    return (X, y) if column == model.task_column else (X, y, _objects(labels))


def _values(table: pd.DataFrame, name: str) -> Any:  # noqa: ANN401 - an array
    from polytask.data.tables import get_column

    return get_column(table, name)


def _objects(labels: list[Hashable]) -> Any:  # noqa: ANN401 - an array
    out = np.empty(len(labels), dtype=object)
    out[:] = labels
    return out


def _content(report: Any) -> dict[str, Any]:  # noqa: ANN401 - an Adaptation
    """Return JSON values."""
    content = asdict(report)
    content["tasks"] = [
        task if isinstance(task, str | int) else str(task) for task in report.tasks
    ]
    content["strengths"] = [_finite(value) for value in report.strengths]
    content["differences"] = {k: list(v) for k, v in report.differences.items()}
    return {**content, "summary": report.summary()}


def _finite(value: float) -> float | str:
    return value if np.isfinite(value) else "inf"


HELP = """Adapt a model to new tasks, or to a new domain, and write it as a new model.

New tasks are learned from their rows and what the model's tasks share; its own tasks are \
predicted as before. Without --target the new tasks have no rows to learn from yet.
"""

EPILOG = """[bold]Examples[/bold]

A new school:

  polytask adapt exams.polytask new.csv --target score --out more.polytask

Pupils of the same schools who are otherwise distributed:

  polytask adapt m.polytask new.csv --domain shift --source old.csv --target score --out b.polytask
"""


def adapt(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model that fit has written.")],
    data: options.Data = None,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="COL",
            rich_help_panel=options.COLUMNS,
            help="The column that names the task, for a model that was fitted on one file per "
            "task (others know their column).",
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="COL",
            rich_help_panel=options.COLUMNS,
            help="What is predicted; leave it out if the new rows have no target.",
        ),
    ] = None,
    weight: options.Weight = None,
    drop_missing_target: options.DropMissing = False,
    domain: Annotated[
        Literal["shift", "new"] | None,
        typer.Option(
            rich_help_panel=options.LEARNING,
            help="What may differ: shift (only how the features are distributed), new (also how "
            "the target depends on them). Falls back to what predicts best.",
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            rich_help_panel=options.LEARNING,
            help="The table that the model was fitted on: needed for --domain shift.",
        ),
    ] = None,
    method: Annotated[
        Literal["head", "unfreeze", "near-source", "adapters"] | None,
        typer.Option(
            rich_help_panel=options.LEARNING,
            help="What a network learns for a new task: head (the default: all layers stay), "
            "unfreeze (the last two layers, one after the other), near-source (all layers, held "
            "near what they are), adapters (additions of low rank).",
        ),
    ] = None,
    sep: options.Sep = None,
    decimal: options.Decimal = None,
    encoding: options.Encoding = None,
    missing_values: options.MissingValues = None,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL2", rich_help_panel=options.RUNNING, help="The model file to write."
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", rich_help_panel=options.RUNNING, help="Print JSON.")
    ] = False,
    config: options.Config = None,
    force: options.Force = False,
) -> None:
    """Adapt a model to new tasks, or to a new domain."""
    style = Style(sep, decimal, encoding, tuple(missing_values or ()))
    old = None if source is None else Source(source, None, style)
    asked = Asked(task, target, weight, drop_missing_target, domain, method)
    run_adapt(model, Source(data, None, style), old, asked, Output(out, force), json=json)
