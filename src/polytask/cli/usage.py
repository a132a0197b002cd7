"""What typer says of wrong options and around the help of options, in the language of --lang."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand

from polytask._checks import listed, nearest, suggested
from polytask.exceptions import ParameterError
from polytask.messages import LANGUAGES, LazyMessage, spoken

# What other programs call the option that says where results are written.
_WRITES = frozenset({"--report", "--output", "--save"})
# typer shows the base of its usage errors through this class only.
_UsageError: Any = typer.BadParameter.__bases__[0]


def asked_language(words: Sequence[str]) -> str:
    """Return the language that a command line asks for, also if nothing else of it is right."""
    lang = "en"
    for word, following in zip(words, [*words[1:], ""], strict=False):
        named = following if word == "--lang" else word.removeprefix("--lang=")
        lang = named if named in LANGUAGES and word.startswith("--lang") else lang
    return lang


def refused(message: LazyMessage, context: Any) -> ParameterError:  # noqa: ANN401 - of typer
    """Return the refusal of a command line, which says where the right ones are described."""
    fields = {"text": message, "command": context.command_path}
    return ParameterError(LazyMessage("usage.see", fields))


def _message(error: Any, context: Any) -> LazyMessage:  # noqa: ANN401 - of typer
    """Return what is wrong with a command line."""
    name = getattr(error, "option_name", None)
    parameters = {flag: each for each in context.command.params for flag in each.opts}
    if name is not None and name not in parameters:
        flags = [flag for flag in parameters if flag.startswith("--")]
        hint = nearest(name, flags)
        if name in _WRITES and "--out" in parameters:
            hint = suggested(" ".join(filter(None, ("--out", parameters["--out"].metavar))))
        return LazyMessage("usage.no_option", {"option": name, "hint": hint})
    if name is not None:
        needs = "no_value" if getattr(parameters[name], "is_flag", False) else "value_missing"
        return LazyMessage(f"usage.{needs}", {"option": name})
    parameter = getattr(error, "param", None)
    if parameter is None:
        return LazyMessage("usage.other", {"text": error.format_message()})
    flag = max(parameter.opts, key=len) if "--" in parameter.opts[0] else parameter.metavar
    if getattr(error, "message", ""):
        return _value_message(flag, parameter, error, context)
    return LazyMessage("usage.missing", {"option": flag})


def _value_message(flag: str, parameter: Any, error: Any, context: Any) -> LazyMessage:  # noqa: ANN401
    """Return why the value of an option cannot be used."""
    hints = get_type_hints(context.command.callback)
    kinds = (hints[parameter.name], *get_args(hints[parameter.name]))
    choices = [get_args(kind) for kind in kinds if get_origin(kind) is Literal]
    if choices:
        allowed = listed(choices[0])
    elif int in kinds:
        # Older versions keep the limit with the type, newer ones have no type.
        holder = parameter if hasattr(parameter, "min") else parameter.type
        least = getattr(holder, "min", None)
        allowed = LazyMessage("allowed.from", {"least": str(least)})
        allowed = LazyMessage("allowed.integer") if least is None else allowed
    else:
        allowed = LazyMessage("allowed.number")
    # pydantic, with which typer reads values, knows what was given; older versions begin their
    # sentence with it.
    details: Sequence[Any] = getattr(error.__cause__, "errors", list)()
    fields = {"parameter": flag, "allowed": allowed}
    given, is_not, _ = error.message.partition(" is not ")
    if details or is_not:
        got = details[0]["input"] if details else given.strip("'")
        return LazyMessage("refusal.option", fields | {"got": repr(got)})
    return LazyMessage("usage.value", fields)


def folding_highlighter() -> Any:  # noqa: ANN401 - of typer
    """Return what marks options in help, and lets lines of Chinese, which has no spaces, break."""
    from typer.rich_utils import OptionHighlighter

    class Folding(OptionHighlighter):
        def highlight(self, text: Any) -> None:  # noqa: ANN401
            text.overflow = "fold"
            super().highlight(text)

    return Folding()


class Speaking:
    """What a command of typer says by itself, in the language of --lang."""

    if TYPE_CHECKING:
        get_help_option: Any

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        """Read the options of a command line; a line that is wrong is refused."""
        try:
            return super().parse_args(ctx, args)  # type: ignore[misc, no-any-return]
        except _UsageError as error:
            raise refused(_message(error, ctx), ctx) from None

    def format_usage(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Write the line that shows how the command is called."""
        pieces = self.collect_usage_pieces(ctx)  # type: ignore[attr-defined]
        prefix = f"{spoken()('help.usage')} "
        formatter.write_usage(ctx.command_path, " ".join(pieces), prefix=prefix)

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Write the help."""
        from typer import rich_utils

        say = spoken()
        rich_utils.DEFAULT_STRING = say("help.default", {"value": "{}"})
        rich_utils.REQUIRED_LONG_STRING = say("help.required")
        rich_utils.ARGUMENTS_PANEL_TITLE = say("help.panel.arguments")
        rich_utils.OPTIONS_PANEL_TITLE = say("help.panel.options")
        rich_utils.highlighter = folding_highlighter()
        self.get_help_option(ctx).help = say("help.help")
        for each in ctx.command.get_params(ctx):
            if getattr(each, "is_flag", False):
                # Else newer versions name a type, as if a value had to follow.
                each.metavar = ""
        super().format_help(ctx, formatter)  # type: ignore[misc]


class CommandUsage(Speaking, TyperCommand):
    """A command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        """Read the options; words that are none of them are refused."""
        rest = super().parse_args(ctx, args)
        if rest and not ctx.resilient_parsing:
            raise refused(LazyMessage("usage.extra", {"words": " ".join(rest)}), ctx)
        return rest
