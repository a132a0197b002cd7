"""The line of ``polytask fit`` that learns from a table again, as far as a model tells it."""

from __future__ import annotations

import re
from typing import Any

from polytask.cli.options import command_line

# Of more columns a line cannot be read.
_NAMED = 20


def fit_line(
    model: Any,  # noqa: ANN401 - a fitted estimator
    table: str,
    *words: str,
    out: str,
    target: str | None = None,
) -> str:
    """Return the line that fits a table with the columns and the loss of a model."""
    from polytask.selection.losses import has_learned_prior

    if model.data_card_.form == "targets":
        known = [word for name in model.tasks_ for word in ("--target", str(name))]
    else:
        names = [str(name) for name, _ in model._schema.groupings]
        names = names or ["TASK" if model.task_column is None else str(model.task_column)]
        known = [word for name in names for word in ("--task", name)]
        known += ["--target", target or "TARGET"]
    columns = [str(name) for name in model._schema.columns]
    if 0 < len(columns) <= _NAMED and not re.search(r"[,*?[]", "".join(columns)):
        # A table may have others, such as dates, which fit would refuse.
        known += ["--features", ",".join(columns)]
    known += ["--date-features"] * bool(model._schema.dates)
    loss = loss_option(model)
    if loss is not None and ("learned-prior" not in words or has_learned_prior(loss)):
        known += ["--loss", loss]
    return command_line("fit", table, *known, *words, "--out", out)


def loss_option(model: Any) -> str | None:  # noqa: ANN401
    """Return the loss of a model, or of the one inside it; None for that of plain numbers."""
    from polytask.losses import LOSSES
    from polytask.losses.parse import parse

    found = [v for k, v in model.get_params().items() if k.rpartition("__")[2] == "loss"]
    # Other estimators have losses of their own, which are no objects of this package.
    names = [loss if isinstance(loss, str) else repr(loss) for loss in found]
    known = (name for name in names if name != "squared" and parse(name, LOSSES) is not None)
    return next(known, None)
