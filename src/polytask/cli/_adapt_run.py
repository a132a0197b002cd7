"""The work of ``polytask adapt``."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from polytask.cli._console import note, say, say_json, working
from polytask.cli._fit_data import labelled_rows, row_weights
from polytask.cli._kinds import Demand, TargetOptions, target_of
from polytask.cli._predict_run import is_targets, needed_columns, task_column_of
from polytask.cli._roles import require
from polytask.cli._sources import MODEL_SUFFIX, Output, Source, require_file
from polytask.cli._task_labels import as_column, known_labels
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
