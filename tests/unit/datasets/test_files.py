"""Where the original files are looked for, and what is said when one cannot be used."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pooch
import pytest

from polytask.datasets._fetched import (
    COMPUTER,
    ENB,
    HEART,
    LANDMINE,
    SCHOOL,
    VARIABLE,
    RemoteFile,
)
from polytask.exceptions import DataError

CONTENT = b"1,2,3\n"
FILE = RemoteFile(
    folder="small",
    repository="owner/name",
    path="data/small.csv",
    commit="0" * 40,
    sha256=hashlib.sha256(CONTENT).hexdigest(),
)


def refuse(*args, **kwargs):
    raise AssertionError("nothing may be downloaded here")


def write(path: Path, content: bytes = CONTENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("file", [SCHOOL, COMPUTER, LANDMINE, ENB, *HEART.values()])
def test_every_file_is_pinned(file):
    assert len(file.commit) == 40
    assert len(file.sha256) == 64
    assert file.url == (
        f"https://raw.githubusercontent.com/{file.repository}/{file.commit}/{file.path}"
    )
    assert file.url.endswith(file.name)


def test_places_in_the_users_folder_in_order(monkeypatch, tmp_path):
    monkeypatch.setattr(pooch, "retrieve", refuse)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    for place in (".", "small", "original/small"):  # each later one goes first
        expected = write(tmp_path / place / "small.csv")
        assert FILE.locate() == expected


def test_another_checksum_is_refused_and_not_downloaded(monkeypatch, tmp_path):
    monkeypatch.setattr(pooch, "retrieve", refuse)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    path = write(tmp_path / "small" / "small.csv", b"changed")
    with pytest.raises(DataError) as caught:
        FILE.locate()
    got = hashlib.sha256(b"changed").hexdigest()
    assert str(caught.value) == f"sha256 of {path} must be {FILE.sha256}; got {got}."


def test_the_users_folder_must_exist(monkeypatch, tmp_path):
    monkeypatch.setattr(pooch, "retrieve", refuse)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "absent"))
    with pytest.raises(DataError, match="POLYTASK_DATA of the environment must be an existing"):
        FILE.locate()


@pytest.mark.parametrize("value", ["", None, "folder without the file"])
def test_downloads_what_the_users_folder_lacks(monkeypatch, tmp_path, value):
    asked = {}

    def retrieve(url, known_hash, *, fname, path):
        asked.update(url=url, known_hash=known_hash)
        return str(write(Path(path) / fname))

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    if value is None:
        monkeypatch.delenv(VARIABLE, raising=False)
    else:
        monkeypatch.setenv(VARIABLE, value and str(tmp_path))
    assert FILE.locate() == tmp_path / "cache" / "polytask" / "small" / "small.csv"
    assert asked == {"url": FILE.url, "known_hash": f"sha256:{FILE.sha256}"}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionError("no route"), "could not be downloaded (ConnectionError)"),
        (TimeoutError("late"), "could not be downloaded (TimeoutError)"),
        (
            ValueError("SHA256 hash of downloaded file does not match"),
            f"was downloaded but refused, as its sha256 must be {FILE.sha256}",
        ),
    ],
)
def test_a_failed_download_is_one_sentence_with_advice(monkeypatch, tmp_path, error, said):
    def retrieve(*args, **kwargs):
        raise error

    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path)
    monkeypatch.setattr(pooch, "retrieve", retrieve)
    with pytest.raises(DataError) as caught:
        FILE.locate()
    advice = "set POLYTASK_DATA to a folder that holds small/small.csv."
    assert str(caught.value) == f"{FILE.url} {said}; {advice}"


def test_pooch_itself_refuses_another_checksum(monkeypatch, tmp_path):
    source = write(tmp_path / "source" / "small.csv", b"changed")

    def copy(url, output_file, downloader):
        Path(output_file).write_bytes(source.read_bytes())

    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache")
    monkeypatch.setattr("pooch.core.choose_downloader", lambda url, progressbar=False: copy)
    with pytest.raises(DataError, match="was downloaded but refused"):
        FILE.locate()
    source.write_bytes(CONTENT)
    assert FILE.locate().read_bytes() == CONTENT
