"""A model in one file: written whole or not at all, read without running code from it."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import platform
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np
import scipy
import sklearn
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from polytask import _registry
from polytask._checks import sentence
from polytask.exceptions import DataError, IncompatibleError
from polytask.io.atomic import write_whole
from polytask.io.codec import Decoder, Encoder
from polytask.messages import LazyMessage, Text, message_of

FORMAT = "polytask-model"
VERSION = 1
READABLE_FROM = "0.1.0"

_KEY = "polytask"
_BLANK = "0" * 64
# How every file of this format goes on after the eight bytes that hold the header's length.
_BEGIN = (
    '{"__metadata__":{' + json.dumps(_KEY) + ":"
    + json.dumps(f'{{"format": "{FORMAT}", "sha256": "')[:-1]
).encode()  # fmt: skip
_SUM = slice(8 + len(_BEGIN), 8 + len(_BEGIN) + len(_BLANK))

T = TypeVar("T")
Document = dict[str, Any]
Tensors = dict[str, NDArray[Any]]


def pack(content: Document, tensors: Tensors) -> bytes:
    """Return the bytes of a file."""
    from safetensors.numpy import save

    head = {
        "format": FORMAT,
        "sha256": _BLANK,
        "format_version": VERSION,
        "readable_from": READABLE_FROM,
    }
    text = json.dumps(head | content, allow_nan=False)
    data = bytearray(save(tensors, metadata={_KEY: text}))
    data[_SUM] = _checksum(data)
    return bytes(data)


def unpack(data: bytes, name: str) -> tuple[Document, Tensors]:
    """Check the bytes of a file and take it apart."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    header = _header(data, name)
    try:
        document: Any = _parsed(header["__metadata__"][_KEY])
        version = document.get("format_version", VERSION)
    except (AttributeError, KeyError, TypeError):
        document = version = None
    if isinstance(version, int) and version > VERSION:
        fields = {"file": name, "version": version, "known": VERSION}
        fields["reader"] = str(document.get("readable_from"))
        raise DataError(LazyMessage("io.refusal.newer", fields))
    whole = len(data) == _length(header, data) and _checksum(data) == data[_SUM]
    if not whole or document is None:
        raise DataError(LazyMessage("io.refusal.altered", {"file": name}))
    try:
        return document, {key: np.array(value) for key, value in load(data).items()}
    except (SafetensorError, LookupError) as error:
        # The header was made by another program: shapes that do not fit, or unknown kinds.
        raise DataError(LazyMessage("io.refusal.altered", {"file": name})) from error


def _checksum(data: bytes | bytearray) -> bytes:
    digest = hashlib.sha256(memoryview(data)[: _SUM.start])
    digest.update(_BLANK.encode())
    digest.update(memoryview(data)[_SUM.stop :])
    return digest.hexdigest().encode()


def _header(data: bytes, name: str) -> Any:  # noqa: ANN401 - JSON, None if it cannot be read
    """Return the header; refuse what is not a whole file of this format."""
    if len(data) <= 8:
        raise DataError(LazyMessage("io.refusal.too_short", {"file": name, "n": len(data)}))
    if data[8 : _SUM.start] != _BEGIN[: max(len(data) - 8, 0)]:
        raise DataError(LazyMessage("io.refusal.no_model", {"file": name, "what": _what(data)}))
    end = 8 + int.from_bytes(data[:8], "little")
    if len(data) < max(end, _SUM.stop):
        raise DataError(
            LazyMessage("io.refusal.cut_short", {"file": name, "size": str(len(data))})
        )
    header = _parsed(data[8:end])
    if header is not None and len(data) < _length(header, data):
        raise DataError(
            LazyMessage("io.refusal.cut_short", {"file": name, "size": str(len(data))})
        )
    return header


def _parsed(text: bytes | str) -> Any:  # noqa: ANN401 - JSON, None if it is none
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _length(header: Any, data: bytes) -> int:  # noqa: ANN401 - JSON
    """Return how long the file must be by its header; -1 if the header makes no sense."""
    try:
        ends = [item["data_offsets"][1] for key, item in header.items() if key != "__metadata__"]
        return 8 + int.from_bytes(data[:8], "little") + int(max(ends, default=0))
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, OverflowError):
        return -1


def _what(data: bytes) -> Text:
    """Say what a file seems to be instead."""
    if data[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return LazyMessage("io.looks.pickle")
    if data[:4] == b"PK\x03\x04":
        return LazyMessage("io.looks.zip")
    if data[8:9] == b"{":
        return LazyMessage("io.looks.safetensors")
    return ""


# What building objects from values of wrong kinds raises, or of sizes that no memory holds.
_WRONG = (
    *(ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError),
    *(MemoryError, BadZipFile),
)


def load(path: str | os.PathLike[str], *, trunk: object = None) -> Any:  # noqa: ANN401 - whatever estimator was saved
    """Load a model that :func:`save` has written.

    Loading never runs code from the file: it names classes from a fixed table (and those that
    the caller has marked with ``polytask.io.saveable``), and anything else is refused.

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
    model, decoder = _loaded(path, trunk)
    if not _is_model(model):
        fields = {"path": os.fspath(path), "kind": type(model).__name__}
        raise DataError(LazyMessage("io.refusal.load.no_model", fields))
    if trunk is not None and not decoder.met_trunk:
        raise DataError(LazyMessage("io.refusal.no_trunk", {"path": os.fspath(path)}))
    return model


def _loaded(path: str | os.PathLike[str], trunk: object = None) -> tuple[Any, Decoder]:
    """Return the object of a file and what has decoded it."""
    document, tensors = unpack(_read(path), os.fspath(path))
    decoder = Decoder(tensors, trunk)
    try:
        return decoder.decode(document["model"]), decoder
    except DataError as error:
        raise DataError(_cannot_load(path, message_of(error))) from error
    except ImportError as error:
        raise IncompatibleError(_cannot_load(path, message_of(error))) from error
    except _WRONG as error:
        fields = {"path": os.fspath(path), "reason": str(error)}
        raise DataError(LazyMessage("io.refusal.load.content", fields)) from error


def _cannot_load(path: str | os.PathLike[str], reason: Text) -> LazyMessage:
    return LazyMessage("io.refusal.load.other", {"path": os.fspath(path), "reason": reason})


def load_object(path: str | os.PathLike[str], kind: type[T]) -> T:
    """Load an object of one class that :func:`save_object` has written."""
    found, _ = _loaded(path)
    if not isinstance(found, kind):
        fields = {"path": os.fspath(path), "kind": type(found).__name__, "wanted": kind.__name__}
        raise DataError(LazyMessage("io.refusal.load.another", fields))
    return found


def save_object(value: object, path: str | os.PathLike[str]) -> None:
    """Save an object whose class is marked with ``saveable``, whole or not at all."""
    owner = type(value).__name__
    encoder = Encoder(owner)
    node = encoder.encode(value, LazyMessage("io.part.content"))
    content = {"versions": versions(), "class": owner, "model": node}
    write_whole(path, pack(content, encoder.tensors))


def _read(path: str | os.PathLike[str]) -> bytes:
    file = Path(path)
    if file.is_dir():
        raise DataError(LazyMessage("io.refusal.load.folder", {"path": os.fspath(path)}))
    if not file.exists():
        raise DataError(LazyMessage("io.refusal.load.no_file", {"path": os.fspath(path)}))
    try:
        return file.read_bytes()
    except OSError as error:
        fields = {"path": os.fspath(path), "reason": str(error.strerror or error)}
        raise DataError(LazyMessage("io.refusal.load.system", fields)) from error


def save(model: BaseEstimator, path: str | os.PathLike[str], *, card: bool = False) -> None:
    """Save a fitted model to one file.

    The file is a safetensors container: coefficients bit for bit, everything else as JSON. It
    holds no code. Models fitted from tables carry how their columns were encoded; wrapped
    linear models of scikit-learn are stored as coefficients, its other estimators through
    skops if all their types are trusted.

    Parameters
    ----------
    model : MultiTaskEstimator
        Fitted. A class from outside polytask must be marked with
        ``polytask.io.saveable``.
    path : path-like
        The file, such as ``model.polytask``; one that exists is replaced. It is written whole
        or not at all.
    card : bool, default=False
        Whether to write the model card beside it, ``model.card.md`` and ``model.card.json``:
        what the model is for, its data, scores, coverage and limits. That of test rows,
        ``model.card(X, y).write(path)``, says more.

    Raises
    ------
    DataError
        If the model is not fitted or holds something that a file cannot hold, or if the file
        cannot be written.

    See Also
    --------
    load : The reverse.
    """
    write_whole(path, model_bytes(model))
    if card:
        made: Any = model
        made.card().write(Path(path).with_suffix(".card"))


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide about a fit."""
    # By name, because nothing below the top may know the top.
    own: str = importlib.import_module("polytask").__version__
    return {
        "polytask": own,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "scikit-learn": sklearn.__version__,
    }


def _is_model(value: object) -> bool:
    """Tell an estimator of polytask: what it has learned has a state of its own."""
    return (
        isinstance(value, BaseEstimator)
        and hasattr(value, "to_state")
        and hasattr(value, "predict")
    )


def model_bytes(model: BaseEstimator) -> bytes:
    """Return what :func:`save` writes."""
    owner = type(model).__name__
    if not _is_model(model):
        own, kind = isinstance(model, BaseEstimator), LazyMessage("got.kind", {"kind": owner})
        allowed = LazyMessage("allowed.own_estimator")
        raise DataError(sentence("model", "save", allowed, kind if own else repr(model)))
    name = _registry.name_of(model)
    if name is None:
        raise DataError(LazyMessage("io.refusal.not_saveable", {"owner": owner}))
    if not hasattr(model, "data_card_"):
        raise DataError(LazyMessage("io.refusal.not_fitted", {"owner": owner}))
    encoder = Encoder(owner)
    node = encoder.encode_model(name, model.to_state())
    return pack({"versions": versions(), "class": owner, "model": node}, encoder.tensors)
