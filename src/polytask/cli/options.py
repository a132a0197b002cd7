"""The options that several commands share, and how they are kept, repeated and read from TOML."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from polytask._checks import nearest
from polytask.exceptions import DataError, ParameterError

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_NUMBER = r"(\d+(?:[.]\d+)?)"
_PARTS = re.compile(rf"(?:{_NUMBER}h)?(?:{_NUMBER}m(?:in)?)?(?:{_NUMBER}s)?", re.ASCII)


def seconds(text: str) -> float:
    """Return how many seconds a time budget is."""
    words = "".join(text.lower().split())
    bare = re.fullmatch(_NUMBER, words, re.ASCII)
    parts = _PARTS.fullmatch(words)
    found = 0.0
    if bare:
        found = float(words)
    elif parts:
        pairs = zip(parts.groups(), _UNITS.values(), strict=True)
        found = sum(float(part) * unit for part, unit in pairs if part is not None)
    if not 0 < found < float("inf"):
        raise ParameterError(
            "--time-budget must be a time above 0, in seconds or with units, such as 600, 90s, "
            f"10m or 1h30m; got {text!r}."
        )
    return found


def processes(jobs: int | None) -> int:
    """Return how many processes to use: as many as asked for, or as this one may use."""
    if jobs is not None:
        return jobs
    from joblib import cpu_count

    return int(cpu_count())


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, such as "1 row" or "2,000 rows"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


# What says where and how a command runs, not what it does.
_PASSING = frozenset({"out", "config", "resume", "force"})


@dataclass(frozen=True)
class Given:
    """The options of one run that were given, on the command line or in a file."""

    values: Mapping[str, Any]
    words: tuple[str, ...]


def given_options(context: typer.Context) -> Given:
    """Return what was given to a command, but for what decides nothing about its result."""
    values: dict[str, Any] = {}
    first: list[str] = []
    words: list[str] = []
    for option in context.command.params:
        name = str(option.name)
        source = context.get_parameter_source(name)
        if name in _PASSING or source is None or source.name == "DEFAULT":
            continue
        value = context.params[name]
        values[name] = list(value) if isinstance(value, list | tuple) else value
        if option.param_type_name == "argument":
            first.append(str(value))
        else:
            words += _words(option, value)
    return Given(values, (*first, *words))


def _words(option: Any, value: object) -> list[str]:  # noqa: ANN401 - an option of typer
    spoken = max(option.opts, key=len)
    if isinstance(value, bool):
        return [spoken] if value else list(option.secondary_opts[:1])
    listed = value if isinstance(value, list | tuple) else [value]
    pairs = [(spoken, str(item)) for item in listed]
    # A value like -x would be read as an option.
    parted = [[f"{a}={b}"] if b.startswith("-") else [a, b] for a, b in pairs]
    return [word for words in parted for word in words]


def command_line(*words: str) -> str:
    """Return words as a line that a shell reads as they are."""
    return shlex.join([program(), *words])


def program() -> str:
    """Return how this program is called here: by its path where it is not on the search path."""
    called = sys.argv[0]
    own = Path(called).stem == "polytask" and Path(called).is_file()
    return called if own and shutil.which("polytask") is None else "polytask"


def use_config(context: typer.Context, path: str | None) -> str | None:
    """Make the values of a TOML file the defaults of a command."""
    if path is None:
        return path
    options = {
        str(option.name): option for option in context.command.params if option.name != "config"
    }
    spoken = {_spoken(option): name for name, option in options.items()}
    defaults: dict[str, Any] = {}
    for key, value in _read(path).items():
        name = spoken.get(key.replace("_", "-"))
        if name is None:
            known = ", ".join(sorted(spoken))
            raise ParameterError(
                f"{path} sets {key!r}, which is no option of {context.command_path}."
                f"{nearest(key, spoken)} The options are {known}."
            )
        defaults[name] = _value(value, key, path, bool(getattr(options[name], "multiple", False)))
    context.default_map = defaults
    return path


def _spoken(option: Any) -> str:  # noqa: ANN401 - a parameter of typer
    """Return the name of an option as it is typed, without dashes."""
    longest: str = max(option.opts, key=len)
    return longest.removeprefix("--")


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a TOML file: {error}.") from None


def _value(value: object, key: str, path: str, multiple: bool) -> object:
    if isinstance(value, bool):
        return value
    if isinstance(value, list) and multiple and not any(isinstance(v, dict | list) for v in value):
        return [str(item) for item in value]
    if isinstance(value, dict | list):
        allowed = "one value or a list of values" if multiple else "one value"
        raise ParameterError(f"{key} in {path} must be {allowed}; got {value!r}.")
    return [str(value)] if multiple else str(value)


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
