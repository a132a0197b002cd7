"""The folder of a comparison: whose it is, how it is filled, how an interrupted run goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from unit.cli._comparing import (
    FILES,
    QUICK,
    SAME,
    comparison,
    files_of,
    numbers_of,
    raising,
    verdict_of,
)

import polytask
from polytask.data.readers import read_table
from polytask.exceptions import DataError

pytestmark = pytest.mark.usefixtures("light")


def test_no_model_is_kept_where_the_mean_predicts_as_well(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(4)
    table = pd.DataFrame(
        {"g": list("abc") * 40, "x": rng.normal(size=120), "y": rng.normal(size=120)}
    )
    table.to_csv("noise.csv", index=False)
    done = comparison(run, "noise.csv", "--task", "g", "--target", "y", "--quick")
    found = polytask.Comparison.from_json(Path("out/report.json").read_text(encoding="utf-8"))
    assert (found.predicts, json.loads(found.to_json())["predicts"]) == (False, False)
    assert "polytask predict" not in done.out
    assert "No model is kept in out" in done.out
    assert [name for name in files_of("out") if name.startswith("model")] == []


def test_the_folder_of_a_comparison_is_no_model_but_has_one(run, there):
    done = run("predict", "out", "a.csv", "--out", "p.csv")
    assert (done.status, "Did you mean 'out/model/model.polytask'?" in done.err) == (2, True)


@pytest.mark.slow
def test_same_command_takes_finished_fits_over(run, there, monkeypatch):
    before = Path("out/scores.csv").read_bytes()
    Path("out/report.html").unlink()
    _forbid_fits(monkeypatch)
    comparison(run, *SAME, "--lang", "zh", "--quiet")
    assert Path("out/scores.csv").read_bytes() == before
    assert files_of("out") == FILES


def _forbid_fits(monkeypatch):
    from polytask.comparison import work as _run

    monkeypatch.setattr(_run, "run_unit", raising(AssertionError("a fit")))


def test_no_resume_begins_again(run, there, monkeypatch):
    _forbid_fits(monkeypatch)
    done = run("compare", *SAME, "--out", "out", "--no-resume")
    assert (done.status, "a fit" in done.err) == (1, True)


@pytest.mark.slow
def test_a_journal_that_lost_pieces_goes_on_to_the_same_numbers(run, there):
    before = Path("out/scores.csv").read_text(encoding="utf-8")
    with closing(sqlite3.connect("out/journal", isolation_level=None)) as database:
        database.execute("DELETE FROM pieces WHERE rowid % 3 = 0")
    shutil.rmtree("out/model")
    (there / "out" / ".part-of-a-killed-run").mkdir()
    comparison(run, *SAME)
    old, new = (numbers_of(text) for text in (before, Path("out/scores.csv").read_text("utf-8")))
    assert old == new
    assert files_of("out") == FILES
    assert not (there / "out" / ".part-of-a-killed-run").exists()


@pytest.mark.parametrize("kind", ["cut", "of lines"])
def test_a_journal_that_cannot_be_read_is_refused_and_replaced_on_request(run, there, kind):
    content = Path("out/journal").read_bytes()
    cut = content[: len(content) * 2 // 3] if kind == "cut" else b"polytask-journal 1 0.1.0 1\n"
    Path("out/journal").write_bytes(cut)
    done = run("compare", *SAME, "--out", "out")
    assert done.status == 2
    assert f"out/journal {'was damaged' if kind == 'cut' else 'is a journal of an'}" in done.err
    assert Path("out/journal").read_bytes() == cut
    if kind == "cut":
        assert run("compare", *SAME, "--out", "out", "--no-resume").status == 0
        assert files_of("out") == FILES


def test_folder_of_another_comparison_is_left_alone(run, there):
    before = {name: Path("out", name).read_bytes() for name in FILES}
    done = run("compare", *SAME, "--seed", "4", "--out", "out")
    assert done.status == 2
    assert "out holds another comparison (seed: not given there, 4 here)" in done.err
    assert {name: Path("out", name).read_bytes() for name in FILES} == before


@pytest.mark.slow
def test_force_replaces_another_comparison(run, there):
    comparison(run, *QUICK, "--force")
    lock = json.loads(Path("out/run.lock.json").read_text(encoding="utf-8"))
    assert lock["settings"]["quick"] is True


def test_a_command_that_is_refused_late_changes_nothing(run, there):
    table = read_table("a.csv").table
    table["two"] = [0, 1] * (len(table) // 2)
    table.to_csv("a.csv", index=False)
    before = {name: Path("out", name).read_bytes() for name in FILES}
    done = run("compare", *SAME, "--group", "two", "--force", "--out", "out")
    assert (done.status, "at least 4 groups" in done.err) == (2, True)
    assert {name: Path("out", name).read_bytes() for name in files_of("out")} == before


@pytest.mark.slow
@pytest.mark.parametrize("stopped", ["never", "in writing", "in fitting"])
def test_fits_that_lead_to_no_answer_leave_nothing_in_the_way(run, plain, monkeypatch, stopped):
    plain.to_csv("a.csv", index=False)
    with monkeypatch.context() as patch:
        _stop(run, patch, stopped)
    kept = {name: Path("out", name).read_bytes() for name in files_of("out") - {"journal"}}
    with monkeypatch.context() as patch:
        patch.setattr("polytask.comparison.api.make_answer", raising(DataError("No answer.")))
        done = run("compare", *QUICK, "--out", "out")
    assert (done.status, done.err.splitlines()[-1]) == (2, "Error: No answer.")
    left = {name: Path("out", name).read_bytes() for name in files_of("out")}
    # The report of an interrupted run stays, with the lock that says of what it is.
    assert left == (kept if stopped == "in fitting" else {})
    comparison(run, *QUICK, "--seed", "7", *(["--force"] if left else []))


def _stop(run, patch, when):
    if when == "never":
        return
    if when == "in fitting":
        _interrupt_after(patch, 1)
    else:
        patch.setattr(polytask, "write_report", raising(KeyboardInterrupt()))
    assert run("compare", *QUICK, "--out", "out").status == 130


@pytest.mark.slow
def test_targets_that_no_model_can_explain_are_refused_before_the_first_fit(
    run, plain, monkeypatch
):
    plain.assign(y=0).to_csv("zeros.csv", index=False)
    plain.to_csv("a.csv", index=False)
    with monkeypatch.context() as patch:
        _forbid_fits(patch)
        done = run("compare", "zeros.csv", *QUICK[1:], "--loss", "poisson", "--out", "out")
    assert (done.status, "have the same value in" in done.err) == (2, True)
    assert not Path("out").exists()
    comparison(run, *QUICK)


def test_no_resume_that_is_refused_keeps_the_fits_of_the_interrupted_run(run, plain, monkeypatch):
    plain.to_csv("a.csv", index=False)
    with monkeypatch.context() as patch:
        _interrupt_after(patch, 1)
        run("compare", *QUICK, "--out", "out")
        before = {name: Path("out", name).read_bytes() for name in files_of("out")}
        patch.setattr("polytask.comparison.api.make_lock", raising(DataError("Refused.")))
        done = run("compare", *QUICK, "--out", "out", "--no-resume")
    assert (done.status, "journal" in before) == (2, True)
    assert {name: Path("out", name).read_bytes() for name in files_of("out")} == before


def test_changed_data_are_another_comparison(run, there):
    table = read_table("a.csv").table
    table.loc[3, "x"] += 1
    table.to_csv("a.csv", index=False)
    done = run("compare", *SAME, "--out", "out")
    assert done.status == 2
    assert "out holds another comparison (of other data: a.csv)" in done.err


@pytest.mark.parametrize("name", ["scores.csv", "journal.old"])
def test_foreign_files_are_left_alone(run, plain, name):
    plain.to_csv("a.csv", index=False)
    Path(name).write_text("mine", encoding="utf-8")
    done = run("compare", *SAME, "--out", ".")
    assert done.status == 2
    assert f". holds {name}, which belongs to no known comparison" in done.err
    assert Path(name).read_text(encoding="utf-8") == "mine"
    assert files_of(".") == {"a.csv", name}


@pytest.mark.slow
def test_a_budget_that_runs_out_leaves_a_report_and_goes_on(run, plain):
    plain.to_csv("a.csv", index=False)
    done = run("compare", *SAME, "--time-budget", "0.001s", "--out", "out")
    assert done.status == 0, done.err
    assert "The time budget ran out" in done.err
    lock = json.loads(Path("out/run.lock.json").read_text(encoding="utf-8"))
    assert lock["command"]["complete"] is False
    done = comparison(run, *SAME)
    assert "budget" not in done.err
    assert files_of("out") == FILES


def _interrupt_after(monkeypatch, count):
    """Let the comparison be interrupted when so many fits are finished."""
    from polytask.comparison import work as _run

    work, finished = _run.run_unit, []

    def run_unit(*arguments):
        if len(finished) == count:
            raise KeyboardInterrupt
        finished.append(1)
        return work(*arguments)

    monkeypatch.setattr(_run, "run_unit", run_unit)


@pytest.mark.slow
def test_ctrl_c_leaves_a_partial_report(run, plain, monkeypatch):
    plain.to_csv("a.csv", index=False)
    with monkeypatch.context() as patch:
        _interrupt_after(patch, 7)
        done = run("compare", *SAME, "--out", "out")
    assert done.status == 130
    assert done.err.splitlines()[-1] == (
        "Interrupted: out holds the report of 2 of 3 splits, and the same command goes on from "
        "there."
    )
    assert verdict_of(done)
    assert files_of("out") == {name for name in FILES if not name.startswith("model/")}
    held = polytask.Comparison.from_json(Path("out/report.json").read_text(encoding="utf-8"))
    assert not held.complete
    resumed = comparison(run, *SAME)
    fresh = comparison(run, *SAME, out="fresh")
    assert verdict_of(resumed) == verdict_of(fresh)
    texts = [Path(name, "scores.csv").read_text(encoding="utf-8") for name in ("out", "fresh")]
    assert numbers_of(texts[0]) == numbers_of(texts[1])


@pytest.mark.slow
@pytest.mark.parametrize("place", ["before the first fit", "while writing"])
def test_ctrl_c_elsewhere_keeps_the_journal(run, plain, monkeypatch, place):
    plain.to_csv("a.csv", index=False)
    with monkeypatch.context() as patch:
        if place == "while writing":
            patch.setattr(polytask, "save", raising(KeyboardInterrupt()))
        else:
            patch.setattr("polytask.comparison.api.costs_of", raising(KeyboardInterrupt()))
        done = run("compare", *QUICK, "--out", "out")
    assert done.status == 130
    assert "the same command goes on" in done.err
    assert files_of("out") <= {"journal", "run.lock.json"}
    comparison(run, *QUICK)
    assert files_of("out") == FILES


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.slow
def test_a_killed_run_and_a_ctrl_c_of_all_processes_go_on(folder, plain):
    plain.to_csv("a.csv", index=False)
    words = ["compare", *SAME, "--splits", "2", "--jobs", "2"]
    for name, sent, status in (("killed", signal.SIGKILL, -9), ("stopped", signal.SIGINT, 130)):
        process = _started(*words, "--out", name)
        _wait_for(process, Path(name, "journal"), 2)
        os.killpg(process.pid, sent)
        _, err = process.communicate()
        assert process.returncode == status, err
        again = _started(*words, "--out", name)
        _, err = again.communicate()
        assert again.returncode == 0, err
    killed, stopped = (Path(n, "scores.csv").read_text("utf-8") for n in ("killed", "stopped"))
    assert numbers_of(killed) == numbers_of(stopped)


def _started(*arguments):
    code = "import sys; from polytask.cli import main; sys.exit(main())"
    source = Path(polytask.__file__).parents[1]
    # In a group of its own, as a terminal starts it: a signal reaches all its processes.
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def _pieces(journal):
    """Return how many pieces a journal has to which another process is writing."""
    with tempfile.TemporaryDirectory() as folder:
        for end in ("", "-wal"):
            with suppress(FileNotFoundError):
                shutil.copy(f"{journal}{end}", f"{folder}/copy{end}")
        with closing(sqlite3.connect(f"{folder}/copy")) as database, suppress(sqlite3.Error):
            return database.execute("SELECT count(*) FROM pieces").fetchone()[0]
    return 0


def _wait_for(process, journal, pieces):
    """Wait until a journal holds so many pieces."""
    while process.poll() is None:
        if _pieces(journal) >= pieces:
            return
        time.sleep(0.05)
    raise AssertionError(process.communicate()[1])


def test_nothing_is_changed_if_writing_fails(run, there, monkeypatch):
    before = {name: Path("out", name).read_bytes() for name in FILES}
    monkeypatch.setattr(polytask, "write_report", raising(OSError(28, "No space left on device")))
    done = run("compare", *SAME, "--out", "out")
    assert done.status == 2
    assert "Cannot write out: No space left on device." in done.err
    assert {name: Path("out", name).read_bytes() for name in FILES} == before
