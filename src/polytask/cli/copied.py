"""Options of the columns of a table that is predicted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from polytask._options import option


@dataclass(frozen=True)
class Copied:
    """What is known of the columns of the table, and copied from them."""

    PANEL = "Columns"

    ids: tuple[str, ...] = option(
        "A column that identifies rows, copied into the predictions.",
        "--id",
        metavar="COL",
        default=(),
    )
    keep: tuple[str, ...] = option(
        "Further columns to copy into the predictions: a,b,c or patterns.",
        metavar="COLS",
        default=(),
    )
    task: str | None = option(
        "The column that names the task, for a model that was fitted on one file per task; other "
        "models know their column.",
        metavar="COL",
    )
    unseen_tasks: Literal["error", "shared"] | None = option(
        "Rows of tasks that were not in training: error refuses them, shared predicts them from "
        "what all tasks have in common (default: as the model was fitted).",
        metavar="error|shared",
    )
    interval: float | None = option(
        "Also write the columns lower and upper, between which a new target lies with this "
        "probability, such as 0.9. The learned prior for numbers has such intervals.",
        metavar="LEVEL",
        panel="Output and running",
    )
