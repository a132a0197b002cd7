"""Read a model from a file."""

from __future__ import annotations

import os
from pathlib import Path

from polytask._estimator import MultiTaskEstimator
from polytask.exceptions import DataError
from polytask.persistence._codec import Decoder
from polytask.persistence._container import unpack

# What building objects from values of wrong kinds raises.
_WRONG = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def load(path: str | os.PathLike[str]) -> MultiTaskEstimator:
    """Load a model that :func:`save` has written.

    Loading never runs code from the file: it names classes from a fixed table (and those that
    the caller has marked with ``polytask.persistence.saveable``), and anything else is refused.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    MultiTaskEstimator
        Fitted; it predicts what the saved model predicted, bit for bit.

    Raises
    ------
    DataError
        If there is no such file, if it is something else, cut short, altered or damaged, of a
        newer format, or names a class that is not known.

    See Also
    --------
    save : The reverse.
    """
    document, tensors = unpack(_read(path), os.fspath(path))
    try:
        model = Decoder(tensors).decode(document["model"])
    except DataError as error:
        raise DataError(f"Cannot load {os.fspath(path)}: {error}") from error
    except _WRONG as error:
        raise DataError(
            f"Cannot load {os.fspath(path)}: its content is not that of a model ({error})."
        ) from error
    if not isinstance(model, MultiTaskEstimator):
        kind = type(model).__name__
        raise DataError(f"Cannot load {os.fspath(path)}: it holds a {kind}, not a model.")
    return model


def _read(path: str | os.PathLike[str]) -> bytes:
    file = Path(path)
    if file.is_dir():
        raise DataError(f"Cannot load {os.fspath(path)}: it is a folder.")
    if not file.exists():
        raise DataError(f"Cannot load {os.fspath(path)}: there is no such file.")
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"Cannot load {os.fspath(path)}: {error.strerror or error}.") from error
