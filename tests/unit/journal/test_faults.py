"""Files that are cut short, damaged, foreign, newer or of another run, and disks that are full."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from polytask.exceptions import DataError
from polytask.io import Journal

HEADER = {"data": {"hash": "abc", "rows": 12}, "settings": {"models": ["a", "b"], "cv": 5}}
PIECES = {"1": {"score": 0.5}, "2": np.arange(4.0), "任务 3": [None, float("inf")]}


def _open(path, header=HEADER):
    return Journal.open(path, header, owner="compare")


@pytest.fixture
def written(tmp_path):
    """Return a file with three pieces, and its lines."""
    path = tmp_path / "journal"
    with _open(path) as journal:
        for key, value in PIECES.items():
            journal.put(key, value)
    return path, path.read_bytes().splitlines(keepends=True)


def _refused(path, header=HEADER) -> str:
    """Return the sentence of the refusal; nothing is changed and nothing left behind."""
    before = path.read_bytes()
    with pytest.raises(DataError) as caught:
        _open(path, header)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]
    said = str(caught.value)
    assert said.endswith(".")
    assert ". " not in said.replace("...", "")
    return said


def test_a_last_record_cut_short_anywhere_is_dropped_and_written_over(written):
    path, lines = written
    whole = b"".join(lines[:-1])
    for length in range(len(lines[-1])):
        path.write_bytes(whole + lines[-1][:length])
        with _open(path) as journal:
            assert journal.torn == (length > 0)
            assert len(journal) == 2
            assert "任务 3" not in journal
            assert path.read_bytes() == whole
            journal.put("任务 3", PIECES["任务 3"])
        assert path.read_bytes() == b"".join(lines)


def test_a_header_cut_short_anywhere_is_written_again(written):
    path, lines = written
    for length in range(len(lines[0])):
        path.write_bytes(lines[0][:length])
        with _open(path) as journal:
            assert journal.torn == (length > 0)
            assert len(journal) == 0
        assert path.read_bytes() == lines[0]


def test_a_damaged_last_record_is_dropped(written):
    path, lines = written
    path.write_bytes(b"".join(lines[:-1]) + b"\0" * (len(lines[-1]) - 1) + b"\n")
    with _open(path) as journal:
        assert (journal.torn, len(journal)) == (1, 2)


def test_a_changed_byte_before_the_last_record_is_named_by_its_line(written):
    path, lines = written
    whole = b"".join(lines)
    last = len(whole) - len(lines[-1])
    # Without its end, the record before the last and the last are one that is cut short.
    for place in range(last - 1):
        changed = bytearray(whole)
        changed[place] ^= 0x15
        path.write_bytes(changed)
        said = _refused(path)
        number = whole[:place].count(b"\n") + 1
        if number > 1:  # a changed header may also look foreign or newer
            assert f"Line {number} of the journal {path} was damaged" in said


def test_without_the_damaged_line_the_others_are_read(written):
    path, lines = written
    lines[2] = lines[2].replace(b"array", b"Array")
    path.write_bytes(b"".join(lines))
    assert "Line 3" in (said := _refused(path))
    assert "delete that line to repeat its piece alone" in said
    del lines[2]
    path.write_bytes(b"".join(lines))
    with _open(path) as journal:
        assert journal.get("1") == PIECES["1"]
        assert journal.get("任务 3") == PIECES["任务 3"]
        assert len(journal) == 2


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (
            {**HEADER, "data": {"hash": "xyz", "rows": 12}},
            """its entry 'data.hash' is "abc", and this run's is "xyz"; choose another place""",
        ),
        (
            {"data": {"hash": "abc", "rows": 13}, "settings": {"models": ["a"], "cv": 4}},
            "its entry 'data.rows' is 12, and this run's is 13 (also different: "
            "'settings.models', 'settings.cv'); choose",
        ),
        ({**HEADER, "seed": 0}, "its entry 'seed' is missing, and this run's is 0; choose"),
        ({"data": HEADER["data"], "settings": {}}, "'settings' is missing, and this run's is {}"),
        ({"settings": HEADER["settings"]}, "'data.hash' is \"abc\", and this run's is missing"),
        ({**HEADER, "a": {"b": {str(i): i for i in range(9)}}}, "'a.b.3' and 5 more);"),
    ],
)
def test_another_header_is_refused_by_its_entry(written, header, said):
    path, _ = written
    message = _refused(path, header)
    assert message.startswith(f"compare cannot resume from {path}: ")
    assert said in message
    assert message.endswith("(--out), or delete the file to start again.")


def test_long_entries_are_shown_where_they_differ(tmp_path):
    path = tmp_path / "journal"
    names = [f"column {i}" for i in range(500)]
    _open(path, {"columns": names}).close()
    said = _refused(path, {"columns": [*names[:-1], "other"]})
    assert 'column 499"]' in said
    assert 'other"]' in said
    assert len(said) < 500


def test_a_file_of_another_run_that_was_killed_stays_as_it_is(written):
    path, lines = written
    path.write_bytes(b"".join(lines)[:-5])
    _refused(path, {**HEADER, "seed": 1})


@pytest.mark.parametrize(
    "content", [b"\n", b"a,b\n1,2\n", b"\x80\x04pickle", b"polytask-model 1", b"x" * 100_000]
)
def test_a_foreign_file_is_refused(tmp_path, content):
    path = tmp_path / "journal"
    path.write_bytes(content)
    assert "is not a journal of polytask and was left as it is" in _refused(path)


def test_a_newer_format_says_which_version_reads_it(written):
    path, lines = written
    assert lines[0].startswith(b"polytask-journal 1 0.1.0 ")
    path.write_bytes(b"polytask-journal 12 3.4.0 of another kind\nand so on\n")
    said = _refused(path)
    assert "format version 12, and this polytask reads version 1: polytask 3.4.0 or newer" in said


def test_a_folder_that_is_missing_and_a_folder_in_place_of_the_file(tmp_path):
    with pytest.raises(DataError, match="there is no folder"):
        _open(tmp_path / "no" / "journal")
    assert not (tmp_path / "no").exists()
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=r"compare cannot write .*folder"):
        _open(tmp_path / "folder")
    assert os.listdir(tmp_path) == ["folder"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="is not a regular file"):
        _open(tmp_path / "pipe")


def _full_after(count):
    """Return a write that takes some bytes and then finds the disk full."""
    real, left = os.write, [count]

    def write(fd, data):
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = real(fd, bytes(data)[: left[0]])
        left[0] -= done
        return done

    return write


FULL = "compare cannot write {path}: " + re.escape(os.strerror(errno.ENOSPC)) + "; the pieces"


@pytest.mark.parametrize("count", [0, 1, 30])
def test_a_full_disk_keeps_what_is_finished(written, monkeypatch, count):
    path, lines = written
    with _open(path) as journal:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", _full_after(count))
            with pytest.raises(DataError, match=FULL.format(path=path)) as caught:
                journal.put("4", "x" * 100)
        assert "finished before (3) are kept" in str(caught.value)
        assert path.read_bytes() == b"".join(lines)
        assert "4" not in journal
        journal.put("4", "x")
        assert journal.get("4") == "x"
    with _open(path) as journal:
        assert (journal.torn, len(journal)) == (0, 4)


def test_a_half_written_record_that_cannot_be_cut_at_once_is_cut_later(written, monkeypatch):
    path, lines = written

    def no_cut(fd, length):
        raise OSError(errno.EIO, "broken")

    journal = _open(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", _full_after(20))
        patch.setattr(os, "ftruncate", no_cut)
        for _ in range(2):
            with pytest.raises(DataError, match="compare cannot write"):
                journal.put("4", "x" * 100)
        assert len(path.read_bytes()) == len(b"".join(lines)) + 20
    journal.put("5", 5)
    journal.close()
    with _open(path) as journal:
        assert (journal.torn, len(journal), journal.get("5")) == (0, 4, 5)


def test_a_disk_that_fails_to_flush_loses_that_piece_only(written, monkeypatch):
    path, lines = written
    with _open(path) as journal:
        real = os.fsync
        answers = iter([OSError(errno.EIO, "broken")])

        def fsync(fd):
            for error in answers:
                raise error
            real(fd)

        monkeypatch.setattr(os, "fsync", fsync)
        with pytest.raises(DataError, match="broken; the pieces finished before"):
            journal.put("4", 1)
        assert path.read_bytes() == b"".join(lines)
        assert "4" not in journal


def test_an_interrupt_within_a_write_leaves_no_half_record(written, monkeypatch):
    path, lines = written
    real = os.write

    def interrupted(fd, data):
        real(fd, bytes(data)[:20])
        raise KeyboardInterrupt

    with _open(path) as journal:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", interrupted)
            with pytest.raises(KeyboardInterrupt):
                journal.put("4", 1)
        assert path.read_bytes() == b"".join(lines)
        assert len(journal) == 3


def test_a_full_disk_at_the_start(tmp_path, monkeypatch):
    path = tmp_path / "journal"
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", _full_after(10))
        with pytest.raises(DataError, match="compare cannot write .*" + os.strerror(errno.ENOSPC)):
            _open(path)
    assert os.listdir(tmp_path) == ["journal"]
    with _open(path) as journal:
        assert (journal.torn, len(journal)) == (0, 0)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_the_systems_own_full_device(written, monkeypatch):
    path, lines = written
    real = os.write
    with _open(path) as journal, open("/dev/full", "wb", buffering=0) as full:
        monkeypatch.setattr(os, "write", lambda fd, data: real(full.fileno(), data))
        with pytest.raises(DataError, match=FULL.format(path=path)):
            journal.put("4", 1)
    assert path.read_bytes() == b"".join(lines)


LIMITED = """
import resource, sys
from polytask.io import Journal
from polytask.exceptions import DataError
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
with Journal.open(sys.argv[1], {}, owner="compare") as journal:
    journal.put("small", 1)
    try:
        journal.put("large", "x" * 30_000)
    except DataError as error:
        print(error)
    journal.put("after", 2)
"""


@pytest.mark.skipif(os.name != "posix", reason="limits of file size are those of POSIX")
def test_a_write_that_the_system_takes_in_part_only(tmp_path):
    path = tmp_path / "journal"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, path], capture_output=True, text=True, check=True
    )
    assert os.strerror(errno.EFBIG) in done.stdout
    with _open(path, {}) as journal:
        assert (journal.torn, len(journal), journal.get("after")) == (0, 2, 2)


def test_a_file_that_changes_under_the_journal_is_noticed(written):
    path, lines = written
    with _open(path) as journal:
        changed = bytearray(b"".join(lines))
        changed[len(lines[0]) + 20] ^= 1
        path.write_bytes(changed)
        assert journal.get("任务 3") == PIECES["任务 3"]
        with pytest.raises(DataError, match="piece '1' is damaged"):
            journal.get("1")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder that takes no file")
def test_a_folder_that_takes_no_file_is_named():
    # The lock cannot be made either, which is no sign of another run.
    with pytest.raises(DataError, match="no file can be made in the folder /proc ") as caught:
        _open("/proc/journal")
    assert "another run" not in str(caught.value)
