"""Pieces of work in other processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from polytask import _workers
from polytask._workers import Workers
from polytask.messages import LazyMessage

FOREVER = 600.0


def work(factor, piece):
    """Return the product and the process; a piece may also be a pause or the end."""
    if piece == "die":
        os._exit(3)
    if piece == "raise":
        raise TypeError("it cannot be done")
    if piece == "pause":
        time.sleep(FOREVER)
    return {"value": factor * piece, "process": os.getpid()}


@pytest.fixture(params=[True, False], ids=["fork", "start"])
def forks(request, monkeypatch):
    if not request.param:
        monkeypatch.setattr(_workers, "_forks", lambda: False)


def test_small_work_is_done_here():
    with Workers(work, 2, 2) as workers:
        found = list(workers.results([1, 2, 3]))
    assert [(piece, record["value"]) for piece, record in found] == [(1, 2), (2, 4), (3, 6)]
    assert {record["process"] for _, record in found} == {os.getpid()}


@pytest.mark.usefixtures("forks")
def test_work_beyond_a_second_or_so_is_done_elsewhere_with_the_same_result(monkeypatch):
    monkeypatch.setattr(_workers, "BRIEF", -1.0)
    monkeypatch.setattr(_workers, "_STARTED", -1.0)
    with Workers(work, 2, 2) as workers:
        found = dict(workers.results([1, 2, 3]))
    assert {piece: record["value"] for piece, record in found.items()} == {1: 2, 2: 4, 3: 6}
    assert os.getpid() not in {record["process"] for record in found.values()}


def test_after_the_deadline_no_process_is_started(monkeypatch):
    with Workers(work, 2, 2) as workers:
        monkeypatch.setattr(workers, "_start", lambda: pytest.fail("a process was started"))
        pieces = iter([1, 2])
        assert list(workers.results(pieces, time.monotonic() - 1.0)) == []
        assert list(pieces) == [1, 2]


@pytest.mark.usefixtures("forks")
def test_what_is_not_finished_at_the_deadline_is_ended():
    with Workers(work, 2, 2) as workers:
        # The first finished piece says that the processes are there.
        assert dict(workers.results([1], time.monotonic() + FOREVER))[1]["value"] == 2
        assert list(workers.results(["pause"], time.monotonic() + 1.0)) == []
        assert dict(workers.results([3], time.monotonic() + FOREVER))[3]["value"] == 6


@pytest.mark.usefixtures("forks")
def test_a_process_that_dies_loses_its_piece_alone():
    with Workers(work, 2, 1) as workers:
        found = dict(workers.results(["die", 1], time.monotonic() + FOREVER))
    assert "ended from outside" in str(LazyMessage(**found["die"]["failed"]))
    assert found[1]["value"] == 2


@pytest.mark.usefixtures("forks")
def test_an_error_comes_back_with_where_it_was():
    with (
        Workers(work, 2, 1) as workers,
        pytest.raises(TypeError, match="it cannot be done") as raised,
    ):
        list(workers.results(["raise"], time.monotonic() + FOREVER))
    assert "in work" in raised.value.__notes__[0]


def test_no_process_is_left():
    with Workers(work, 2, 2) as workers:
        list(workers.results([1, 2], time.monotonic() + FOREVER))
        processes = [process for process, _ in workers._idle]
        assert all(process.is_alive() for process in processes)
    assert processes
    assert not any(process.is_alive() for process in processes)


def test_a_process_of_a_pool_works_by_itself():
    with Workers(nested, 2, 1) as workers:
        found = dict(workers.results([1], time.monotonic() + FOREVER))
    assert found[1]["inner"] == found[1]["outer"]


def nested(factor, piece):
    """Use workers within a worker."""
    with Workers(work, factor, 2) as workers:
        inner = dict(workers.results([piece], time.monotonic() + FOREVER))
    return {"inner": inner[piece]["process"], "outer": os.getpid()}


def test_saving_an_estimator_of_scikit_learn_loads_no_pytorch():
    pytest.importorskip("torch")
    program = (
        "import sys; from polytask.io.codec import skops_content;"
        "from sklearn.tree import DecisionTreeRegressor as Tree;"
        "skops_content(Tree().fit([[1.0]], [1.0]), 'Tree', 'model');"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
