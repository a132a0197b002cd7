"""Writers that are killed, two writers at once, forked children, threads."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from polytask.exceptions import DataError
from polytask.io import Journal, move_journal

HEADER = {"seed": 3}

# Writes pieces 0, 1, ... after those that are there, and tells of each when it is stored.
WRITER = """
import sys
import numpy as np
from polytask.io import Journal
with Journal.open(sys.argv[1], {"seed": 3}, owner="compare") as journal:
    print("open", len(journal), flush=True)
    number = len(journal)
    while True:
        journal.put(str(number), np.full(60_000, number / 7))
        print(number, flush=True)
        number += 1
"""

# Is killed within its third write: before the write is complete, or just after.
KILLED_WITHIN = """
import os, signal, sys
from polytask.io import Journal
with Journal.open(sys.argv[1], {"seed": 3}, owner="compare") as journal:
    journal.put("0", 0)
    journal.put("1", [1.5])
    journal._database.execute("PRAGMA cache_spill = 1")
    journal._database.execute("BEGIN")
    journal.put("2", "x" * int(sys.argv[2]))
    if sys.argv[3] == "after":
        journal._database.execute("COMMIT")
    os.kill(os.getpid(), signal.SIGKILL)
"""

HOLDER = """
import sys
from polytask.io import Journal
with Journal.open(sys.argv[1], {"seed": 3}, owner="compare") as journal:
    journal.put("0", 0)
    print("ready", flush=True)
    sys.stdin.readline()
"""

posix = pytest.mark.skipif(os.name != "posix", reason="signals and forks are those of POSIX")


def _open(path):
    return Journal.open(path, HEADER, owner="compare")


def _start(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _kill(process) -> list[str]:
    """End a process at once; return what it had still told."""
    process.kill()
    told, _ = process.communicate()
    return told.splitlines()


@pytest.mark.slow
def test_every_finished_piece_survives_kills_at_random_moments(tmp_path):
    path = tmp_path / "journal"
    moments = random.Random(0)
    known = 0
    for _ in range(6):
        process = _start(WRITER, path)
        first = process.stdout.readline().split()
        assert first[0] == "open"
        assert int(first[1]) in (known, known + 1)  # the last one may be stored and not yet told
        for _ in range(moments.randrange(1, 6)):
            known = int(process.stdout.readline()) + 1
        time.sleep(moments.random() * 0.01)
        told = _kill(process)
        known = int(told[-1]) + 1 if told else known
        with _open(path) as journal:
            assert known <= len(journal) <= known + 1
            known = len(journal)
            for number in range(known):
                assert np.array_equal(journal.get(str(number)), np.full(60_000, number / 7))


@posix
@pytest.mark.parametrize("moment", ["within", "after"])
@pytest.mark.parametrize("size", [100, 100_000, 10_000_000])
def test_a_writer_killed_within_a_write_loses_that_piece_alone(tmp_path, size, moment):
    path = tmp_path / "journal"
    process = _start(KILLED_WITHIN, path, size, moment)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    finished = 2 + (moment == "after")
    with _open(path) as journal:
        assert (len(journal), journal.get("0"), journal.get("1")) == (finished, 0, [1.5])
        assert journal.get("2") in (None, "x" * size)
        journal.put("2", "again")
    with _open(path) as journal:
        assert journal.get("2") == "again"
    assert os.listdir(tmp_path) == ["journal"]


def test_a_second_writer_is_refused(tmp_path):
    path = tmp_path / "journal"
    process = _start(HOLDER, path)
    assert process.stdout.readline() == "ready\n"
    for attempt in (
        lambda: _open(path),
        lambda: move_journal(path, tmp_path / "old", owner="compare"),
    ):
        with pytest.raises(DataError, match="another run writes to it, or the drive"):
            attempt()
    process.communicate("\n")
    assert process.returncode == 0
    assert os.listdir(tmp_path) == ["journal"]
    with _open(path) as journal:
        assert len(journal) == 1


def test_a_killed_holder_leaves_no_lock(tmp_path):
    path = tmp_path / "journal"
    process = _start(HOLDER, path)
    assert process.stdout.readline() == "ready\n"
    _kill(process)
    with _open(path) as journal:
        assert len(journal) == 1
        with pytest.raises(DataError, match="another run"):
            _open(path)
    assert os.listdir(tmp_path) == ["journal"]


def test_what_a_kill_has_left_moves_along(tmp_path):
    path = tmp_path / "journal"
    process = _start(HOLDER, path)
    assert process.stdout.readline() == "ready\n"
    _kill(process)
    move_journal(path, tmp_path / "old", owner="compare")
    with _open(path) as journal:
        assert len(journal) == 0
    with _open(tmp_path / "old") as journal:
        assert journal.get("0") == 0
    assert sorted(os.listdir(tmp_path)) == ["journal", "old"]


def test_a_refused_file_is_free_again(tmp_path):
    path = tmp_path / "journal"
    with _open(path) as journal:
        journal.put("0", 0)
    with pytest.raises(DataError, match="'seed'"):
        Journal.open(path, {"seed": 4}, owner="compare")
    with _open(path) as journal:
        assert len(journal) == 1


def test_writers_that_take_turns_never_write_at_once(tmp_path):
    code = """
import sys
from polytask.io import Journal
from polytask.exceptions import DataError
done = 0
while done < 15:
    try:
        journal = Journal.open(sys.argv[1], {"seed": 3}, owner="compare")
    except DataError as error:
        assert "another run writes" in str(error), error
        continue
    with journal:
        journal.put(f"{sys.argv[2]} {done}", len(journal))
    done += 1
"""
    path = tmp_path / "journal"
    processes = [_start(code, path, name) for name in "ab"]
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    with _open(path) as journal:
        found = [journal.get(f"{name} {number}") for name in "ab" for number in range(15)]
    assert sorted(found) == list(range(30))


@posix
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_neither_writes_nor_frees_the_lock(tmp_path):
    path = tmp_path / "journal"
    with _open(path) as journal:
        journal.put("0", 0)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                journal.put("1", 1)
            except DataError as error:
                status = 0 if f"belongs to process {os.getppid()}" in str(error) else 2
            finally:
                journal.close()
                os._exit(status)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert len(journal) == 1
        with pytest.raises(DataError, match="another run writes to it"):
            _open(path)
        journal.put("1", 1)
    with _open(path) as journal:
        assert len(journal) == 2


def test_threads_may_share_a_journal(tmp_path):
    path = tmp_path / "journal"

    def store(number):
        journal.put(str(number), np.full(number, number))
        return journal.get(str(number)).sum()

    with _open(path) as journal, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(store, range(60))) == [number**2 for number in range(60)]
    with _open(path) as journal:
        assert len(journal) == 60
