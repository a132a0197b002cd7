"""Read a model from a file."""

from __future__ import annotations

import os
from pathlib import Path

from polytask._estimator import MultiTaskEstimator
from polytask.exceptions import DataError, IncompatibleError
from polytask.persistence._codec import Decoder
from polytask.persistence._container import unpack

# What building objects from values of wrong kinds raises.
_WRONG = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def load(path: str | os.PathLike[str], *, trunk: object = None) -> MultiTaskEstimator:
    """Load a model that :func:`save` has written.

    Loading never runs code from the file: it names classes from a fixed table (and those that
    the caller has marked with ``polytask.persistence.saveable``), and anything else is refused.

    Parameters
    ----------
    path : path-like
        The file.
    trunk : torch.nn.Module or None, default=None
        For a deep model that was fitted with a module of its own as `trunk`: a module of the
        same layers, whose weights are replaced by those of the file.

    Returns
    -------
    MultiTaskEstimator
        Fitted; it predicts what the saved model predicted, bit for bit.

    Raises
    ------
    DataError
        If there is no such file, if it is something else, cut short, altered or damaged, of a
        newer format, or names a class that is not known; if `trunk` is needed and not given,
        or the reverse, or does not fit the weights of the file.
    IncompatibleError
        If the model needs a package that is not installed, as networks need PyTorch.

    See Also
    --------
    save : The reverse.
    """
    document, tensors = unpack(_read(path), os.fspath(path))
    try:
        decoder = Decoder(tensors, trunk)
        model = decoder.decode(document["model"])
    except DataError as error:
        raise DataError(f"Cannot load {os.fspath(path)}: {error}") from error
    except ImportError as error:
        raise IncompatibleError(f"Cannot load {os.fspath(path)}: {error}") from error
    except _WRONG as error:
        raise DataError(
            f"Cannot load {os.fspath(path)}: its content is not that of a model ({error})."
        ) from error
    if not isinstance(model, MultiTaskEstimator):
        kind = type(model).__name__
        raise DataError(f"Cannot load {os.fspath(path)}: it holds a {kind}, not a model.")
    if trunk is not None and not decoder.met_trunk:
        raise DataError(
            f"trunk must be None for {os.fspath(path)}: its model holds no module of the user's."
        )
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
