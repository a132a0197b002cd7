"""Groups of options are dataclasses, from which help, TOML keys, commands and calls follow."""

from __future__ import annotations

import inspect
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cached_property, partial
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer

from polytask._checks import nearest, of_system
from polytask._options import OptionText, option
from polytask._progress import waiting
from polytask.cli.usage import CommandUsage
from polytask.exceptions import DataError, ParameterError
from polytask.messages import LazyMessage, Translator, speak_in, spoken


@dataclass(frozen=True)
class Vary:
    """What one command changes of a group: the options that it lacks, and those that differ."""

    without: tuple[str, ...] = ()
    changed: Mapping[str, Any] = field(default_factory=dict)


def _parameters(kind: Any, vary: Vary) -> Iterator[inspect.Parameter]:  # noqa: ANN401
    """Yield the options of a group as parameters of typer."""
    hints = get_type_hints(kind)
    for each in fields(kind):
        if is_dataclass(hints[each.name]):
            yield from _parameters(hints[each.name], vary)
        elif "option" in each.metadata and each.name not in vary.without:
            made = vary.changed.get(each.name, each)
            text: OptionText = made.metadata["option"]
            hint: Any = text.kind or hints[each.name]
            name = text.name or each.name
            default = inspect.Parameter.empty if made.default is MISSING else made.default
            if get_origin(hint) is tuple:
                hint, default = list[str] | None, None
            yield inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=default,
                annotation=Annotated[hint, _for_typer(text, name, hint, kind.PANEL)],
            )


def _for_typer(text: OptionText, name: str, hint: object, panel: str) -> Any:  # noqa: ANN401
    said = (LazyMessage(text.help) if isinstance(text.help, str) else text.help()).text(spoken())
    if text.is_argument:
        return typer.Argument(metavar=text.metavar, help=said, show_default=False)
    flags = text.flags or ((f"--{name.replace('_', '-')}",) if hint is bool else ())
    callback = use_config if name == "config" else None
    return typer.Option(
        *flags, metavar=text.metavar, help=said, rich_help_panel=spoken()(text.panel or panel),
        min=text.least, show_default=True, callback=callback, is_eager=callback is not None,
    )  # fmt: skip


def _built(kind: Any, vary: Vary, values: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a dataclass
    hints, given = get_type_hints(kind), {}
    for each in fields(kind):
        text: OptionText | None = each.metadata.get("option")
        if is_dataclass(hints[each.name]):
            given[each.name] = _built(hints[each.name], vary, values)
        elif text and (name := text.name or each.name) in values and each.name not in vary.without:
            repeats = get_origin(text.kind or hints[each.name]) is tuple
            # What repeats and is not given is left to the group.
            if not repeats or values[name]:
                given[each.name] = tuple(values[name]) if repeats else values[name]
    return kind(**given)


def flattened(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of single options that calls a function of groups of options."""
    hints = get_type_hints(function, include_extras=True)
    hints.pop("return", None)
    parameters: list[inspect.Parameter] = []
    groups: dict[str, Callable[[Mapping[str, Any]], Any]] = {}
    for name, hint in hints.items():
        kind, vary = get_args(hint) if get_origin(hint) is Annotated else (hint, Vary())
        if is_dataclass(kind):
            parameters += _parameters(kind, vary)
            groups[name] = partial(_built, kind, vary)
        else:
            keyword = inspect.Parameter.KEYWORD_ONLY
            parameters.append(inspect.Parameter(name, keyword, annotation=hint))
            groups[name] = itemgetter(name)

    def call(**values: Any) -> Any:  # noqa: ANN401
        if values.get("lang"):
            speak_in(values["lang"])
        return function(**{name: made(values) for name, made in groups.items()})

    parameters.sort(key=lambda each: _rank(each.annotation))
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {each.name: each.annotation for each in parameters}
    return call


# Panels of --help in this order; those of single commands stand in the place of the gap.
_PANELS = ("columns", "held_out", "", "running", "reading")


def _rank(hint: Any) -> int:  # noqa: ANN401 - an Annotated type, or a context
    texts = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    panel = getattr(texts[0], "rich_help_panel", None) if texts else None
    panels = [name and spoken()(f"help.panel.{name}") for name in _PANELS]
    return -1 if panel is None else panels.index(panel if panel in panels else "")


def command(name: str, function: Callable[..., Any], examples: str) -> Any:  # noqa: ANN401
    """Return the command of a function whose parameters are groups of options."""
    say = spoken()
    texts = (say(key) for key in (f"help.{name}.details", f"help.{name}.exit") if say.has(key))
    app = typer.Typer(
        add_completion=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"], "allow_extra_args": True},
    )
    described = "\n\n".join((say(f"help.{name}"), *texts))
    epilog = f"[bold]{say('help.examples')}[/bold]\n\n{examples}"
    options = say("help.options")
    app.command(name, cls=CommandUsage, help=described, epilog=epilog, options_metavar=options)(
        flattened(function)
    )
    return typer.main.get_command(app)


def _given(group: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - a dataclass of options
    """Yield flag and value of the options of a group that differ from their defaults."""
    for each in fields(group):
        text, value = each.metadata.get("option"), getattr(group, each.name)
        if text is not None and not text.is_argument and value != each.default:
            name = (text.name or each.name).replace("_", "-")
            flag = text.flags[0] if text.flags else f"--{name}"
            yes, _, no = flag.partition("/")
            yield (no if value is False else yes), value is False or value


def spoken_words(group: Any) -> list[str]:  # noqa: ANN401 - a dataclass of options
    """Return the words that give the options of a group their values; defaults are left out."""
    return [word for flag, value in _given(group) for word in flag_words(flag, "", value)]


def spoken_flags(group: Any) -> list[str]:  # noqa: ANN401 - a dataclass of options
    """Return the options of a group that differ from their defaults, as they are typed."""
    return [flag for flag, _ in _given(group)]


def flag_words(flag: str, opposite: str, value: object) -> list[str]:
    """Return the words that give one option its value."""
    if isinstance(value, bool):
        return [flag] if value else [opposite]
    listed = [str(item) for item in value] if isinstance(value, list | tuple) else [str(value)]
    # A value like -x would be read as an option.
    parted = [[f"{flag}={item}"] if item.startswith("-") else [flag, item] for item in listed]
    return [word for words in parted for word in words]


# What says where and how a command runs, not what it does.
_PASSING = frozenset({"out", "config", "resume", "force"})


@dataclass(frozen=True)
class ExplicitOptions:
    """The options of one run that were given, on the command line or in a file."""

    values: Mapping[str, Any]
    words: tuple[str, ...]

    @classmethod
    def of(cls, context: typer.Context) -> ExplicitOptions:
        """Return what was given to a command, but for what decides nothing about its result."""
        values: dict[str, Any] = {}
        first: list[str] = []
        words: list[str] = []
        for parameter in context.command.params:
            name = str(parameter.name)
            source = context.get_parameter_source(name)
            if name in _PASSING or source is None or source.name == "DEFAULT":
                continue
            value = context.params[name]
            values[name] = list(value) if isinstance(value, list | tuple) else value
            if parameter.param_type_name == "argument":
                first.append(str(value))
            else:
                opposite = next(iter(parameter.secondary_opts), "")
                words += flag_words(max(parameter.opts, key=len), opposite, value)
        return cls(values, (*first, *words))

    def line(self, command: str, out: str | None) -> str:
        """Return the line that runs a command again and writes to `out`."""
        written = ["--out", out] if out else []
        return shlex.join(["polytask", command, *self.words, *written])


def command_line(*words: str) -> str:
    """Return a line that runs this program, by its path where it is not on the search path."""
    called = sys.argv[0]
    own = Path(called).stem == "polytask" and Path(called).is_file()
    return shlex.join([called if own and shutil.which("polytask") is None else "polytask", *words])


def use_config(context: typer.Context, path: str | None) -> str | None:
    """Make the values of a TOML file the defaults of a command."""
    if path is None:
        return path
    spoken = {
        max(each.opts, key=len).removeprefix("--"): each
        for each in context.command.params
        if each.name != "config"
    }
    try:
        with open(path, "rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise DataError(of_system("read", path, error)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(
            LazyMessage("cli.refusal.not_toml", {"path": path, "error": str(error)})
        ) from None
    defaults: dict[str, Any] = {}
    for key, value in content.items():
        found = spoken.get(key.replace("_", "-"))
        if found is None:
            known = ", ".join(sorted(spoken))
            raise ParameterError(
                LazyMessage(
                    "cli.refusal.not_an_option",
                    {
                        "path": path,
                        "key": repr(key),
                        "command": context.command_path,
                        "hint": nearest(key, spoken),
                        "known": known,
                    },
                )
            )
        several = bool(getattr(found, "multiple", False))
        defaults[str(found.name)] = _toml_value(value, key, path, several)
    context.default_map = {**(context.default_map or {}), **defaults}
    return path


def _toml_value(value: object, key: str, path: str, several: bool) -> object:
    if isinstance(value, bool):
        return value
    if isinstance(value, list) and several and not any(isinstance(v, dict | list) for v in value):
        return [str(item) for item in value]
    if isinstance(value, dict | list):
        allowed = LazyMessage("cli.what.values") if several else LazyMessage("cli.what.value")
        raise ParameterError(
            LazyMessage(
                "cli.refusal.toml_value",
                {"key": key, "path": path, "allowed": allowed, "value": repr(value)},
            )
        )
    return [str(value)] if several else str(value)


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_NUMBER = r"(\d+(?:[.]\d+)?)"
_PARTS = re.compile(rf"(?:{_NUMBER}h)?(?:{_NUMBER}m(?:in)?)?(?:{_NUMBER}s)?", re.ASCII)


def seconds(text: str) -> float:
    """Return how many seconds a time budget is."""
    words = "".join(text.lower().split())
    parts = _PARTS.fullmatch(words)
    found = 0.0
    if re.fullmatch(_NUMBER, words, re.ASCII):
        found = float(words)
    elif parts:
        pairs = zip(parts.groups(), _UNITS.values(), strict=True)
        found = sum(float(part) * unit for part, unit in pairs if part is not None)
    if not 0 < found < float("inf"):
        raise ParameterError(LazyMessage("cli.refusal.time_budget", {"text": repr(text)}))
    return found


_SIZES = {"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12}


def in_bytes(text: str) -> float:
    """Return how many bytes a size is, such as 2GB."""
    words = "".join(text.lower().split())
    found = re.fullmatch(rf"{_NUMBER}({'|'.join(_SIZES)})", words, re.ASCII)
    size = float(found[1]) * _SIZES[found[2]] if found else 0.0
    if not size:
        raise ParameterError(LazyMessage("cli.refusal.memory", {"text": repr(text)}))
    return size


@dataclass(frozen=True)
class Cluster:
    """Where a table is read."""

    PANEL = "help.panel.running"

    dask: str | None = option("help.dask", metavar="ADDRESS")


@dataclass(frozen=True)
class Running:
    """Where the result goes, and how the command runs."""

    PANEL = "help.panel.running"

    out: str | None = option("help.out", metavar="MODEL")
    force: bool = option("help.force", default=False)
    json: bool = option("help.json", default=False)
    resume: bool = option(
        "help.resume",
        "--resume/--no-resume",
        default=True,
    )
    time_budget: str | None = option(
        "help.time_budget",
        metavar="TIME",
    )
    jobs: int | None = option("help.jobs", metavar="N", least=1)
    seed: int = option("help.seed", default=0, metavar="N", least=0)
    lang: Literal["en", "zh"] = option("help.lang", default="en", metavar="en|zh")
    quiet: bool = option("help.quiet", default=False)
    config: str | None = option(
        "help.config",
        metavar="FILE.toml",
    )

    @property
    def seconds(self) -> float | None:
        """The time budget."""
        return None if self.time_budget is None else seconds(self.time_budget)

    @property
    def processes(self) -> int:
        """How many processes to use: as many as asked for, or as this one may use."""
        from joblib import cpu_count

        return int(cpu_count()) if self.jobs is None else self.jobs

    @cached_property
    def speech(self) -> Translator:
        """The language of what is printed."""
        return Translator(self.lang)

    def waiting(self, key: str, model: object = "") -> AbstractContextManager[None]:
        """Show on standard error, while a block runs, what is done, unless quiet."""
        return waiting(self.speech(key, {"model": type(model).__name__}), not self.quiet)
