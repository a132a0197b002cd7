"""From what a command did or raised to a sentence and an exit status."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable

import typer

from polytask.cli._console import speak, spoken_warnings
from polytask.exceptions import PolytaskError

DONE, BUG, REFUSED, INTERRUPTED = 0, 1, 2, 130

# typer shows the base of its usage errors through this class only.
UsageError = typer.BadParameter.__bases__[0]

# How the options of Python are called on the command line.
SPOKEN = {
    r"\btime of TimeOrdered\b": "--time",
    r'unseen_tasks="shared"': "--unseen-tasks shared",
    r"encoding=, such as": "--encoding, such as",
    r"decimal=',' \(--decimal ,\)": "--decimal ,",
    r", or drop=\[[^]]*\]": "",
    r", or raise max_levels to [\d,]+ to encode every value": "",
    r"pass task=, or set task_column before fit": "name its column with --task",
    r"X of TaskData": "The table",
    r"\b(encoding|sep|decimal) of read_tables?\b": r"--\1",
    r"\bmethod of adapt\b": "--method",
    r"\bspace of tune asks for\b": "The search asks for",
    r"\bsay domain=\.": "say --domain shift or --domain new.",
    r"domain=\"(new|shift)\"": r"--domain \1",
}


class Interrupted(Exception):  # noqa: N818 - it is no error
    """Ctrl-C stopped a command that has something to say about what it leaves behind."""


def status_of(run: Callable[[], object], *, debug: bool) -> int:
    """Run a command; say what went wrong in one sentence."""
    try:
        with spoken_warnings():
            status = run()
    except KeyboardInterrupt:
        status = INTERRUPTED
    except Interrupted as stopped:
        speak(str(stopped))
        return INTERRUPTED
    except Exception as error:
        return _refused(error) or _bug(error, debug)
    if status == INTERRUPTED:
        speak("Interrupted: no file was written.")
    return status if isinstance(status, int) else DONE


def _refused(error: Exception) -> int:
    """Say why the input cannot be used; 0 if the error is no such refusal."""
    if isinstance(error, PolytaskError):
        speak(f"Error: {in_options(str(error))}")
    elif isinstance(error, UsageError):
        speak(f"Error: {_usage(error)}")
    elif isinstance(error, MemoryError):
        speak("Error: There is not enough memory for these data.")
    elif isinstance(error, OSError):
        what = f"{error.filename}: " if error.filename else ""
        speak(f"Error: {what}{error.strerror or error}.")
    else:
        return DONE
    return REFUSED


def in_options(text: str) -> str:
    """Return a sentence of the library in the words of the command line."""
    for python, option in SPOKEN.items():
        text = re.sub(python, option, text)
    return text


def _usage(error: Exception) -> str:
    message: str = getattr(error, "format_message", error.__str__)().replace("\n\t", " ")
    context = getattr(error, "ctx", None)
    where = f" See {context.command_path} --help." if context is not None else ""
    if "extra argument" in message:
        where = f" A pattern such as 'data/*.csv' must stand in quotes.{where}"
    stop = "" if message.endswith((".", "?", "!", ")")) and "extra" not in message else "."
    return f"{message}{stop}{where}"


def _bug(error: Exception, debug: bool) -> int:
    if debug:
        speak("".join(traceback.format_exception(error)).rstrip())
    what = "the lines above" if debug else "what the same command shows with --debug"
    speak(
        f"This is a bug in polytask ({type(error).__name__}: {error}). Please report it to its "
        f"developers, with {what} and the version that polytask --version prints."
    )
    return BUG
