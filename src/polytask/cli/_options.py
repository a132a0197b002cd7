"""The options that several commands have in common."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from polytask.cli._config import use_config

READING, COLUMNS, LEARNING, COMPARING, RUNNING = (
    "Reading files",
    "Columns",
    "Learning",
    "Comparing",
    "Running",
)

Data = Annotated[
    str | None,
    typer.Argument(
        metavar="DATA",
        show_default=False,
        help="The table: .csv, .tsv, .txt (also .gz), .parquet, .arrow, .feather.",
    ),
]
Sep = Annotated[
    str | None,
    typer.Option(
        metavar="CHAR",
        rich_help_panel=READING,
        help="Separator of text files: a character, or comma, semicolon, tab, pipe "
        "(default: found from the first rows).",
    ),
]
Decimal = Annotated[
    str | None,
    typer.Option(
        metavar="CHAR",
        rich_help_panel=READING,
        help="Decimal mark: . or , (default: . and, in targets of text, what their numbers tell).",
    ),
]
MissingValues = Annotated[
    list[str] | None,
    typer.Option(
        metavar="WORD",
        rich_help_panel=READING,
        help="A word that means missing in every column, such as 'n/a?'; give it once per word.",
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        rich_help_panel=READING,
        help="Encoding of text files (default: UTF-8, else UTF-16 by its mark, else GB18030).",
    ),
]
FilePerTask = Annotated[
    str | None,
    typer.Option(
        metavar="PATTERN",
        rich_help_panel=READING,
        help="One file per task, such as 'folder/*.csv' (in quotes); the task is the name of "
        "the file without its suffix.",
    ),
]
Task = Annotated[
    str | None,
    typer.Option(metavar="COL", rich_help_panel=COLUMNS, help="The column that names the task."),
]
Target = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COL",
        rich_help_panel=COLUMNS,
        help="What is predicted. Several, without --task: each is a task.",
    ),
]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATTERN",
        rich_help_panel=COLUMNS,
        help="Targets by pattern, such as 'y_*', or a list a,b,c.",
    ),
]
Features = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLS",
        rich_help_panel=COLUMNS,
        help="Features: a,b,c or patterns (default: all other columns).",
    ),
]
Drop = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLS",
        rich_help_panel=COLUMNS,
        help="Columns to leave out: a,b,c or patterns.",
    ),
]
Weight = Annotated[
    str | None,
    typer.Option(metavar="COL", rich_help_panel=COLUMNS, help="The column of row weights."),
]
DropMissing = Annotated[
    bool,
    typer.Option(
        "--drop-missing-target",
        rich_help_panel=COLUMNS,
        help="Leave rows without a target out instead of refusing them.",
    ),
]
AllowLeak = Annotated[
    bool,
    typer.Option(
        "--allow-leak",
        rich_help_panel=COLUMNS,
        help="Learn from a column that equals the target up to a factor and a constant, instead "
        "of refusing it.",
    ),
]
Ids = Annotated[
    list[str] | None,
    typer.Option(
        "--id",
        metavar="COL",
        rich_help_panel=COLUMNS,
        help="A column that names the rows: never a feature, copied into predictions.",
    ),
]
Loss = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        rich_help_panel=LEARNING,
        help="auto, squared, huber (for numbers, some of them wrong), poisson (counts and rates), "
        "gamma (positive amounts), quantile (the median; quantile(0.9): what nine in ten stay "
        "below), square_root (tasks with unlike noise), logistic, squared_hinge or multinomial. "
        "auto: text, true/false, categories and numbers with exactly two values are classes; "
        "other numbers are numbers, also written like $1,234.50. More than 20 classes with fewer "
        "than ten rows each on average must be asked for with multinomial.",
    ),
]
Criterion = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        rich_help_panel=LEARNING,
        help="Search without folds: aic, aicc or gcv (to predict), bic or ebic (to find the "
        "few columns that matter), evidence (quadratic penalties).",
    ),
]
FOLDS = 5
Folds = Annotated[
    int | None,
    typer.Option(
        min=2, rich_help_panel=LEARNING, show_default=str(FOLDS), help="Folds of a search."
    ),
]
Unseen = Annotated[
    Literal["error", "shared"] | None,
    typer.Option(
        rich_help_panel=LEARNING,
        help="Rows of tasks that were not in training: refuse them (error, the default), or "
        "predict them from what the tasks share.",
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        rich_help_panel=RUNNING,
        help="Processes to use at most (default: one per processor); small work takes one.",
    ),
]
Config = Annotated[
    str | None,
    typer.Option(
        metavar="FILE.toml",
        is_eager=True,
        callback=use_config,
        rich_help_panel=RUNNING,
        help='Read options from a TOML file, such as: task = "school". What stands on the '
        "command line wins.",
    ),
]
Force = Annotated[
    bool,
    typer.Option("--force", rich_help_panel=RUNNING, help="Replace the file named by --out."),
]
Time = Annotated[
    str | None,
    typer.Option(
        metavar="COL",
        rich_help_panel=COMPARING,
        help="Learn from the past, test on what comes next, by this column of numbers or dates.",
    ),
]
Group = Annotated[
    str | None,
    typer.Option(
        metavar="COL",
        rich_help_panel=COMPARING,
        help="Rows that belong together (a patient, a day) are never on both sides of a split.",
    ),
]
Budget = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        rich_help_panel=RUNNING,
        help="Time it may take: 600 (seconds), 90s, 10m, 1h30m. Fits that have begun may take a "
        "quarter more (those of tune end first); the same command goes on from there.",
    ),
]
