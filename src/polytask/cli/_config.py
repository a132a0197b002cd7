"""Options from a TOML file; the command line wins."""

from __future__ import annotations

import tomllib
from typing import Any

import typer

from polytask._checks import nearest
from polytask.exceptions import DataError, ParameterError


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
