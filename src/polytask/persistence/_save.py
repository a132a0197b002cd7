"""Write a fitted model to one file."""

from __future__ import annotations

import os
from typing import BinaryIO

from sklearn.base import BaseEstimator

from polytask import _registry
from polytask._checks import sentence
from polytask._estimator import MultiTaskEstimator
from polytask._estimator.card import versions
from polytask.data._atomic import write_whole
from polytask.exceptions import DataError
from polytask.persistence._codec import Encoder
from polytask.persistence._container import pack


def save(model: MultiTaskEstimator, path: str | os.PathLike[str]) -> None:
    """Save a fitted model to one file.

    The file is a safetensors container: coefficients bit for bit, everything else as JSON. It
    holds no code. Models fitted from tables carry how their columns were encoded; wrapped
    linear models of scikit-learn are stored as coefficients, its other estimators through
    skops if all their types are trusted.

    Parameters
    ----------
    model : MultiTaskEstimator
        Fitted. A class from outside polytask must be marked with
        ``polytask.persistence.saveable``.
    path : path-like
        The file, such as ``model.polytask``; one that exists is replaced. It is written whole
        or not at all.

    Raises
    ------
    DataError
        If the model is not fitted or holds something that a file cannot hold, or if the file
        cannot be written.

    See Also
    --------
    load : The reverse.
    """
    content = model_bytes(model)

    def write(file: BinaryIO) -> None:
        file.write(content)

    write_whole(path, write)


def model_bytes(model: MultiTaskEstimator) -> bytes:
    """Return what :func:`save` writes."""
    owner = type(model).__name__
    if not isinstance(model, MultiTaskEstimator):
        got = f"a {owner}" if isinstance(model, BaseEstimator) else repr(model)
        raise DataError(sentence("model", "save", "an estimator of polytask", got))
    name = _registry.name_of(model)
    if name is None:
        raise DataError(
            f"{owner} cannot be saved: its class is not marked with polytask.persistence.saveable."
        )
    if not hasattr(model, "data_card_"):
        raise DataError(f"{owner} cannot be saved: it is not fitted yet. Call fit first.")
    encoder = Encoder(owner)
    node = encoder.encode_model(name, model.to_state())
    return pack({"versions": versions(), "class": owner, "model": node}, encoder.tensors)
