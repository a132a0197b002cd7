"""Files that are cut short, damaged, foreign, newer or of another run, and disks that are full."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import warnings
from contextlib import closing

import numpy as np
import pytest

from polytask.exceptions import DataError, DataWarning
from polytask.io import Journal, move_journal
from polytask.io import journal as journal_module

HEADER = {"data": {"hash": "abc", "rows": 12}, "settings": {"models": ["a", "b"], "cv": 5}}
PIECES = {"1": {"score": 0.5}, "2": np.arange(4.0), "任务 3": [None, float("inf")]}


def _open(path, header=HEADER):
    return Journal.open(path, header, owner="compare")


def _fill(path):
    with _open(path) as journal:
        for key, value in PIECES.items():
            journal.put(key, value)


@pytest.fixture
def written(tmp_path):
    """Return a file with three pieces."""
    path = tmp_path / "journal"
    _fill(path)
    return path


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


def _same(one, other) -> bool:
    return np.array_equal(one, other) if isinstance(other, np.ndarray) else one == other


def test_a_file_cut_short_anywhere_by_a_kill_has_the_pieces_before(tmp_path):
    # What a process that is killed leaves: a file, and one of what was written last.
    path, left = tmp_path / "journal", tmp_path / "left"
    left.mkdir()
    counts = []
    with _open(path) as journal:
        for key, value in PIECES.items():
            journal.put(key, value)
        for name in ("journal", "journal-wal"):
            shutil.copy(tmp_path / name, left / name)
    content = (left / "journal-wal").read_bytes()
    for length in [*range(0, len(content), 397), len(content)]:
        shutil.copy(left / "journal", path)
        (tmp_path / "journal-wal").write_bytes(content[:length])
        with _open(path) as journal:
            counts.append(len(journal))
            for key in list(PIECES)[: counts[-1]]:
                assert _same(journal.get(key), PIECES[key])
            journal.put("任务 3", PIECES["任务 3"])
        with _open(path) as journal:
            assert _same(journal.get("任务 3"), PIECES["任务 3"])
    assert counts == sorted(counts)
    assert set(counts) == {0, 1, 2, 3}


def test_a_changed_byte_is_refused_or_loses_the_pieces_that_it_touches(written):
    whole = written.read_bytes()
    moments = random.Random(0)
    outcomes = set()
    for _ in range(400):
        changed = bytearray(whole)
        changed[moments.randrange(len(whole))] ^= 1 << moments.randrange(8)
        written.write_bytes(changed)
        outcomes.add(_outcome(written))
    assert {"whole", "lost"} < outcomes
    refusals = outcomes - {"whole", "lost"}
    assert all("path" in said and ". " not in said for said in refusals)


def test_a_file_cut_short_later_is_refused_in_a_sentence(written):
    whole = written.read_bytes()
    for length in range(100, len(whole), 311):
        written.write_bytes(whole[:length])
        assert "damaged after it was written; restore it from a copy" in _refused(written)


def _outcome(path) -> str:
    """Open a damaged file; what is read is never wrong."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            journal = _open(path)
    except DataError as error:
        return f"refused: {str(error).replace(str(path), 'path')}"
    with journal:
        for key, value in PIECES.items():
            if key in journal:
                assert _same(journal.get(key), value)
        lost = len(journal) < len(PIECES)
    assert not caught or (lost and caught[0].category is DataWarning)
    return "lost" if lost else "whole"


def test_a_damaged_piece_is_repeated_and_the_others_are_read(written):
    content = written.read_bytes()
    assert content.count(b"$array") == 1
    written.write_bytes(content.replace(b"$array", b"$Array"))
    with pytest.warns(DataWarning, match=f"1 of the finished pieces in {written} was damaged"):
        journal = _open(written)
    with journal:
        assert journal.get("1") == PIECES["1"]
        assert journal.get("2") is None
        assert journal.get("任务 3") == PIECES["任务 3"]
        journal.put("2", PIECES["2"])
    with _open(written) as journal:
        assert len(journal) == 3


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
    message = _refused(written, header)
    assert message.startswith(f"compare cannot resume from {written}: ")
    assert said in message
    # The same sentence answers Python and the command line.
    places = "(journal=, or --out on the command line)"
    assert message.endswith(f"choose another place {places}, or delete the file to start again.")


def test_long_entries_are_shown_where_they_differ(tmp_path):
    path = tmp_path / "journal"
    names = [f"column {i}" for i in range(500)]
    _open(path, {"columns": names}).close()
    said = _refused(path, {"columns": [*names[:-1], "other"]})
    assert 'column 499"]' in said
    assert 'other"]' in said
    assert len(said) < 500


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"\x80\x04pickle", b"x" * 100_000])
def test_a_foreign_file_is_refused(tmp_path, content):
    path = tmp_path / "journal"
    path.write_bytes(content)
    assert "is not a journal of polytask and was left as it is" in _refused(path)


def test_a_journal_of_lines_is_refused(tmp_path):
    path = tmp_path / "journal"
    path.write_bytes(b'polytask-journal 1 0.1.0 2ab1c2f3 {"seed":0}\n')
    assert "is a journal of an earlier polytask, which this one does not read" in _refused(path)
    move_journal(path, tmp_path / "old", owner="compare")
    _open(path).close()


def test_a_foreign_database_is_refused(tmp_path):
    path = tmp_path / "journal"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE trials (number INTEGER)")
    assert "is not a journal of polytask and was left as it is" in _refused(path)


def test_a_newer_format_says_which_version_reads_it(written):
    with closing(sqlite3.connect(written, isolation_level=None)) as database:
        database.execute("UPDATE run SET readable_from = '3.4.0'")
        database.execute("PRAGMA user_version = 12")
    said = _refused(written)
    assert "format version 12, and this polytask reads version 2: polytask 3.4.0 or newer" in said


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


def test_a_full_disk_keeps_what_is_finished(written):
    with _open(written) as journal:
        database = journal._database
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        database.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(DataError, match="is full; the pieces finished before are kept"):
            journal.put("4", "x" * 10_000)
        assert "4" not in journal
        assert len(journal) == 3
        database.execute("PRAGMA max_page_count = 1000")
        journal.put("4", "x" * 10_000)
    with _open(written) as journal:
        assert len(journal) == 4


LIMITED = """
import resource, sys
from polytask.io import Journal
from polytask.exceptions import DataError
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
with Journal.open(sys.argv[1], {}, owner="compare") as journal:
    journal.put("small", 1)
    try:
        journal.put("large", "x" * 80_000)
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
    assert f"compare cannot write {path}: " in done.stdout
    assert "the pieces finished before are kept" in done.stdout
    with _open(path, {}) as journal:
        assert (len(journal), journal.get("small"), journal.get("after")) == (2, 1, 2)


def test_a_piece_that_changes_under_the_journal_is_noticed(written):
    with _open(written) as journal:
        journal._database.execute(
            "UPDATE pieces SET value = '{\"score\":0.6}' WHERE key = '\"1\"'"
        )
        assert journal.get("任务 3") == PIECES["任务 3"]
        with pytest.raises(DataError, match="piece '1' is damaged"):
            journal.get("1")


def _altered(path, *statements) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.create_function("checksum_of", -1, journal_module._checksum)
        for statement in statements:
            database.execute(statement)


_ANY = ["{", "[" * 5000, '{"$map":3}', '{"$array":["O","C",[1],"AAAA"]}', '{"$array":[1]}']


@pytest.mark.parametrize("value", _ANY)
def test_a_piece_of_a_wrong_kind_with_a_right_checksum(written, value):
    _altered(
        written,
        f"UPDATE pieces SET value = '{value}'",
        f"UPDATE pieces SET checksum = {journal_module._SUM}",
    )
    with _open(written) as journal, pytest.raises(DataError, match="damaged"):
        journal.get("1")


_ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (("DELETE FROM run",), "damaged"),
        (("INSERT INTO run SELECT * FROM run",), "damaged"),
        (("UPDATE run SET header = '[]', checksum = checksum_of(CAST('[]' AS BLOB))",), "damaged"),
        (("DROP TABLE pieces",), "no such table"),
        (("DROP TABLE run", f"CREATE VIEW run AS {_ENDLESS}"), "not a journal"),
        (("DROP TABLE pieces", f"CREATE VIEW pieces AS {_ENDLESS}"), "is a view"),
    ],
)
def test_a_database_that_was_made_for_it(written, statements, said):
    _altered(written, *statements)
    with pytest.raises(DataError, match=said):
        _open(written)


def test_a_file_that_may_not_be_written_is_named(written):
    if os.access("/proc/version", os.W_OK):
        pytest.skip("whoever may write every file sees no such fault")
    written.chmod(0o400)
    with pytest.raises(DataError, match=f"compare cannot write {written}: .*readonly"):
        _open(written)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder that takes no file")
def test_a_folder_that_takes_no_file_is_named():
    # The lock cannot be made either, which is no sign of another run.
    with pytest.raises(DataError, match="no file can be made in the folder /proc;") as caught:
        _open("/proc/journal")
    assert "another run" not in str(caught.value)
