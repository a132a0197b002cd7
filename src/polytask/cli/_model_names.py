"""The names that ``--models`` takes."""

from __future__ import annotations

from collections.abc import Sequence

from polytask._checks import nearest
from polytask.exceptions import ParameterError


def check_models(names: Sequence[str]) -> None:
    """Refuse, before anything is read, names that there are not and networks without PyTorch."""
    from polytask.selection.candidates import DEEP, DEFAULT, MODELS
    from polytask.selection.networks import load_deep

    known = (DEFAULT, DEEP, *MODELS)
    for name in names:
        require("--models", name, known)
    if any(name == DEEP or (name != DEFAULT and MODELS[name].family == DEEP) for name in names):
        load_deep()


def require(option: str, name: str, known: Sequence[str]) -> None:
    """Refuse a value of an option that is not among those known."""
    if name not in known:
        shown = ", ".join(map(repr, known))
        raise ParameterError(
            f"{option} must be one of {shown}; got {name!r}.{nearest(name, known)}"
        )
