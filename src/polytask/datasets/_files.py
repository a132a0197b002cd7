"""Finds the original file of a data set: in POLYTASK_DATA, in the cache, or at its source."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path

from polytask._checks import sentence
from polytask.exceptions import DataError

VARIABLE = "POLYTASK_DATA"


@dataclasses.dataclass(frozen=True)
class RemoteFile:
    """A file of a public GitHub repository, pinned by commit and checksum."""

    folder: str
    repository: str
    path: str
    commit: str
    sha256: str

    @property
    def name(self) -> str:
        """The file name without folders."""
        return self.path.rpartition("/")[2]

    @property
    def url(self) -> str:
        """The address of exactly this version."""
        return f"https://raw.githubusercontent.com/{self.repository}/{self.commit}/{self.path}"

    def locate(self) -> Path:
        """Return the path of a verified local copy, downloading it if there is none."""
        found = _in_user_folder(self)
        if found is None:
            return _download(self)
        _verify(found, self.sha256)
        return found


def _in_user_folder(file: RemoteFile) -> Path | None:
    named = os.environ.get(VARIABLE)
    if not named:
        return None
    root = Path(named)
    if not root.is_dir():
        raise DataError(sentence(VARIABLE, "the environment", "an existing folder", named))
    places = (root / "original" / file.folder, root / file.folder, root)
    candidates = (place / file.name for place in places)
    return next((path for path in candidates if path.is_file()), None)


def _verify(path: Path, expected: str) -> None:
    with path.open("rb") as stream:
        got = hashlib.file_digest(stream, "sha256").hexdigest()
    if got != expected:
        # Not downloaded instead: whoever names a folder wants to know that its file is another.
        raise DataError(sentence("sha256", str(path), expected, got))


def _download(file: RemoteFile) -> Path:
    import pooch

    folder = Path(pooch.os_cache("polytask")) / file.folder
    known_hash = f"sha256:{file.sha256}"
    try:
        return Path(pooch.retrieve(file.url, known_hash, fname=file.name, path=folder))
    except OSError as error:  # no network, no such address, or a cache that cannot be written
        reason = f"could not be downloaded ({type(error).__name__})"
        raise DataError(_advice(file, reason)) from error
    except ValueError as error:  # what pooch raises when the checksum is another
        reason = f"was downloaded but refused, as its sha256 must be {file.sha256}"
        raise DataError(_advice(file, reason)) from error


def _advice(file: RemoteFile, reason: str) -> str:
    wanted = f"{file.folder}/{file.name}"
    return f"{file.url} {reason}; set {VARIABLE} to a folder that holds {wanted}."
