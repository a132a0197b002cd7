"""``polytask adapt``: a model for new tasks or a new domain."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import MISSING, asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from polytask._options import argument, option
from polytask.cli.columns import as_column, known_labels, require
from polytask.cli.console import FILE_ROWS, note, say, say_json
from polytask.cli.files import MODEL_SUFFIX, RowSource, TextFormat, require_file, writable
from polytask.cli.fit_line import fit_line, loss_option
from polytask.cli.options import Running, Vary, spoken_flags
from polytask.exceptions import IncompatibleError, ParameterError
from polytask.messages import LazyMessage

if TYPE_CHECKING:
    import pandas as pd

    from polytask.statistics import TaskStatistics

# Methods of networks by the word of the command, as classes of polytask.deep.adapting.
METHODS = {
    "head": "NewHead",
    "unfreeze": "Unfreeze",
    "near-source": "NearSource",
    "adapters": "Adapters",
}


@dataclass(frozen=True)
class Adapting:
    """What the user said about the new rows."""

    PANEL = "help.panel.adapting"

    model: str = argument("help.adapt.model", "MODEL", default=MISSING)
    data: str | None = argument("help.adapt.data", "DATA")
    target: str | None = option("help.adapt.target", metavar="COL")
    tasks: tuple[str, ...] = option(
        "help.predict.task", "--task", metavar="COL", default=(), name="task"
    )
    weight: str | None = option("help.weight", metavar="COL")
    drop_missing_target: bool = option("help.drop_missing_target", default=False)
    domain: Literal["shift", "new"] | None = option(
        "help.domain",
        metavar="shift|new",
    )
    source: str | None = option("help.source", metavar="DATA")
    method: Literal["head", "unfreeze", "near-source", "adapters"] | None = option(
        "help.method",
        metavar="head|unfreeze|near-source|adapters",
    )

    def check(self) -> None:
        """Refuse what needs no data to be refused."""
        if self.domain is None and self.source is not None:
            raise ParameterError(LazyMessage("cli.refusal.source_alone"))
        if self.domain == "new" and self.target is None:
            raise ParameterError(LazyMessage("cli.refusal.new_needs_target"))
        if self.domain == "shift" and self.source is None:
            raise ParameterError(LazyMessage("cli.refusal.shift_needs_source"))
        given = {"--weight": self.weight, "--drop-missing-target": self.drop_missing_target}
        for flag, value in given.items():
            if self.target is None and value:
                raise ParameterError(
                    LazyMessage("cli.refusal.needs_target_to_learn", {"flag": flag})
                )


EXAMPLES = """\
  polytask adapt exams.polytask new.csv --target score --out more.polytask

  polytask adapt sites.polytask west.stats --out more.polytask

  polytask adapt m.polytask new.csv --domain shift --source old.csv --target score --out b.polytask
"""


def adapt(
    adapting: Adapting,
    text: TextFormat,
    running: Annotated[Running, Vary(("resume", "time_budget", "jobs", "seed"))],
) -> None:
    """Load, read, adapt, write and say what was done."""
    from polytask import adapt as adapted_to
    from polytask import load, save

    new = RowSource(adapting.data, None, text)
    old = None if adapting.source is None else RowSource(adapting.source, None, text)
    new.check("adapt")
    if old is not None and old.is_statistics:
        fields = {"flag": "--source", "source": old.name}
        raise IncompatibleError(LazyMessage("cli.refusal.flag_needs_rows", fields))
    target = writable(
        running.out,
        force=running.force,
        example=f"more{MODEL_SUFFIX}",
        inputs=(adapting.model, adapting.data, adapting.source),
    )
    adapting.check()
    require_file(adapting.model, LazyMessage("cli.what.fitted_model"))
    model = load(adapting.model)
    _refuse_unusable(model, adapting)
    X: Any = None
    if new.is_statistics:
        X, y, task, weight = _statistics(new, adapting), None, None, None
    else:
        X, y, task, weight = _rows(model, new, adapting)
    before = None
    if old is not None:
        if adapting.target is None:
            raise ParameterError(LazyMessage("cli.refusal.source_needs_target"))
        X_old, y_old, task_old, _ = _rows(model, old, replace(adapting, domain=None, weight=None))
        before = (X_old, y_old) if task_old is None else (X_old, y_old, task_old)
    method = None
    if adapting.method is not None:
        from polytask.deep import adapting as methods

        method = getattr(methods, METHODS[adapting.method])()
    with running.waiting("cli.adapting"):
        adapted = adapted_to(
            model, X, y, task=task, sample_weight=weight,
            domain=adapting.domain, source=before, method=method,
        )  # fmt: skip
    save(adapted, target)
    if model._has_intervals() and not adapted._has_intervals():
        fields = {"path": target, "model": adapting.model}
        note(LazyMessage("cli.adapt.no_interval", fields))
    if running.json:
        say_json({"model": target, **_content(adapted.adaptation_)})
        return
    say(adapted.adaptation_.summary(running.lang))
    say(running.speech("cli.wrote", {"path": target}))


def _refuse_unusable(model: Any, asked: Adapting) -> None:  # noqa: ANN401
    """Refuse a model that cannot be extended, naming the command that fits one that can."""
    from sklearn.base import is_regressor

    from polytask._estimator.groupings import has_levels
    from polytask.selection.adaptable import obstacle

    reason: Any = obstacle(model)
    if reason is None:
        return
    if hasattr(model, "members_"):
        reason = LazyMessage("cli.refusal.adapt_combined", {"model": asked.model})
    # Of several groupings, only those of plain numbers can be extended.
    if not has_levels(model) or (is_regressor(model) and loss_option(model) is None):
        line = fit_line(model, "OLD.csv", out=f"joint{MODEL_SUFFIX}", target=asked.target)
        reason += LazyMessage("cli.refusal.adapt_joint", {"command": line})
    raise IncompatibleError(reason)


def _statistics(source: RowSource, asked: Adapting) -> TaskStatistics:
    """Return the statistics of new tasks; refuse what they know, and what needs rows."""
    from polytask.statistics import TaskStatistics

    needs_rows = Adapting(
        asked.model, domain=asked.domain, source=asked.source, method=asked.method
    )
    for flag in spoken_flags(replace(asked, domain=None, source=None, method=None)):
        fields = {"flag": flag, "source": source.name}
        raise ParameterError(LazyMessage("cli.refusal.statistics_know", fields))
    for flag in spoken_flags(needs_rows):
        fields = {"flag": flag, "source": source.name}
        raise IncompatibleError(LazyMessage("cli.refusal.flag_needs_rows", fields))
    require_file(source.name, LazyMessage("cli.what.statistics"))
    return TaskStatistics.load(source.name)


def _rows(model: Any, source: RowSource, asked: Adapting) -> tuple[Any, Any, Any, Any]:  # noqa: ANN401
    """Return features, targets, tasks and weights, as `polytask.adapt` takes them."""
    from polytask.cli.predicted import (
        grouped_rows,
        is_targets,
        needed_columns,
        single_task,
        task_column_of,
    )
    from polytask.cli.training_data import row_weights

    table = source.table()
    name = asked.target
    # A shift can do without the targets of new rows.
    if asked.domain == "shift" and name not in table.columns:
        name = None
    if name is not None:
        require(name, list(table.columns), source.name)
        table = _labelled(model, table, name, source, asked)
    if asked.weight is not None:
        require(asked.weight, list(table.columns), source.name)
    weight = row_weights(table, asked.weight, source.name)
    y = None if name is None else _values(table, name)
    if model._schema.groupings:
        task: Any = None
        X, task, _ = grouped_rows(model, table, source, asked.tasks, "shared")
    elif is_targets(model):
        task_column_of(model, single_task(asked.tasks), table, source.name)
        if asked.target is None:
            raise ParameterError(LazyMessage("cli.refusal.adapt_targets"))
        X = needed_columns(table, model, source)
        y, task = _values(table, asked.target), asked.target
    else:
        X, task = _with_tasks(model, table, source, asked)
    return X, y, task, weight


def _with_tasks(
    model: Any,  # noqa: ANN401
    table: pd.DataFrame,
    source: RowSource,
    asked: Adapting,
) -> tuple[Any, Any]:
    """Return features, and the task of every row unless it is among their columns."""
    from polytask.cli.predicted import needed_columns, note_unused, single_task, task_column_of

    column = task_column_of(model, single_task(asked.tasks), table, source.name)
    if column is None:
        raise ParameterError(LazyMessage("cli.refusal.adapt_task"))
    labels = known_labels(table[column], model.tasks_)
    X = needed_columns(table, model, source)
    if asked.target is None:
        note_unused("cli.note.adapt_unused", table, [*X.columns, column], model, source)
    if column != model.task_column:
        return X, _objects(labels)
    X = X.drop(columns=[column])
    X[column] = as_column(labels)
    return X, None


def _labelled(
    model: Any,  # noqa: ANN401
    table: pd.DataFrame,
    name: str,
    source: RowSource,
    asked: Adapting,
) -> pd.DataFrame:
    """Return the rows that have a target, which is read as what the model has learned."""
    from polytask.cli.targets import TargetOptions, labelled_rows, target_of, type_of_model

    FILE_ROWS.target = name, source.name
    options = TargetOptions(source.text.decimal, asked.drop_missing_target)
    found = target_of(table[name], name, source.name, type_of_model(model), options)
    if found.kind.written:
        how = found.kind.written.node
        note(LazyMessage("cli.note.written", {"name": name, "how": how}))
    table[name] = found.column
    return labelled_rows(table, name, source.name, asked.drop_missing_target)


def _values(table: pd.DataFrame, name: str) -> Any:  # noqa: ANN401 - an array
    from polytask.data.tables import get_column

    return get_column(table, name)


def _objects(labels: list[Hashable]) -> Any:  # noqa: ANN401 - an array
    import numpy as np

    out = np.empty(len(labels), dtype=object)
    out[:] = labels
    return out


def _content(report: Any) -> dict[str, Any]:  # noqa: ANN401 - an Adaptation
    """Return JSON values."""
    content = asdict(report)
    content["tasks"] = [
        task if isinstance(task, str | int) else str(task) for task in report.tasks
    ]
    content["strengths"] = [v if math.isfinite(v) else "inf" for v in report.strengths]
    content["differences"] = {k: list(v) for k, v in report.differences.items()}
    return {**content, "summary": report.summary()}
