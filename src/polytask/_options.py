"""Fields of a dataclass as options of a command and as arguments of a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar

from polytask.messages import LazyMessage

# A key of the catalogue, or what makes a message when it is asked for.
Help = str | Callable[[], LazyMessage]
P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")


@dataclass(frozen=True)
class OptionText:
    """What ``--help`` shows of an option; names are found when they are asked for."""

    # `name` and `kind` are name and type on the command line, where those of the field differ.
    help: Help
    flags: tuple[str, ...] = ()
    metavar: str | None = None
    least: int | None = None
    panel: str | None = None
    is_argument: bool = False
    name: str = ""
    kind: Any = None


def option(
    help: Help,
    *flags: str,
    default: Any = None,  # noqa: ANN401
    metavar: str | None = None,
    least: int | None = None,
    panel: str | None = None,
    name: str = "",
    kind: Any = None,  # noqa: ANN401
) -> Any:  # noqa: ANN401 - a field of any type
    """Return the field of an option."""
    text = OptionText(help, flags, metavar, least, panel, name=name, kind=kind)
    return field(default=default, metadata={"option": text})


def argument(help: Help, metavar: str, *, default: Any = None) -> Any:  # noqa: ANN401
    """Return the field of an argument that has no name on the command line."""
    text = OptionText(help, metavar=metavar, is_argument=True)
    return field(default=default, metadata={"option": text})


class WithOptions(Protocol[P, R_co]):
    """A function of data whose other arguments are the fields of a record."""

    def __call__(self, X: Any, y: Any = None, *args: P.args, **kwargs: P.kwargs) -> R_co:  # noqa: ANN401
        """Make the record and call the function."""


def with_options(
    record: Callable[P, T],
) -> Callable[[Callable[[Any, Any, T], R_co]], WithOptions[P, R_co]]:
    """Give a function of data and a record the fields of the record as its arguments."""

    def decorated(function: Callable[[Any, Any, T], R_co]) -> WithOptions[P, R_co]:
        *data, _ = inspect.signature(function).parameters.values()
        parameters = [*data, *inspect.signature(record).parameters.values()]
        signature = inspect.signature(function).replace(parameters=parameters)

        @wraps(function)
        def call(X: Any, y: Any = None, *args: P.args, **kwargs: P.kwargs) -> R_co:  # noqa: ANN401
            # So that a wrong name is one of the function, not of the record.
            signature.bind(X, y, *args, **kwargs)
            return function(X, y, record(*args, **kwargs))

        text, of_record = (inspect.cleandoc(each.__doc__ or "") for each in (function, record))
        _, _, documented = of_record.partition("----------\n")
        call.__doc__ = text.replace("\n\nReturns\n", f"\n{documented}\n\nReturns\n", 1)
        call.__signature__ = signature  # type: ignore[attr-defined]
        return call

    return decorated
