"""The program: help, version, configuration, notes, bugs and interrupts."""

from __future__ import annotations

import subprocess
import sys
import warnings
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from typer.testing import CliRunner

import polytask
from polytask import DataWarning
from polytask.cli import predicted, training_data
from polytask.cli import program as _main
from polytask.cli.fit import EXAMPLES
from polytask.messages import Translator, spoken

QUICK = ("--model", "multitask")


def test_version(run):
    assert run("--version").out == f"polytask {polytask.__version__}\n"


def test_module_is_the_program():
    asked = [sys.executable, "-m", "polytask", "--version"]
    assert polytask.__version__ in subprocess.check_output(asked, text=True)


@pytest.mark.parametrize("arguments", [(), ("--help",), ("fit", "--help"), ("predict", "-h")])
def test_help(run, arguments):
    done = run(*arguments)
    assert done.status == 0
    assert "Usage: polytask" in done.out
    assert "bool" not in done.out.lower()  # a flag takes no value


def test_every_option_has_a_help_text():
    from typer.main import get_command

    group = get_command(_main.app())
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        assert command.help
        for option in command.params:
            assert option.help, (command.name, option.name)


def test_runner_of_typer_sees_the_examples():
    done = CliRunner().invoke(_main.app(), ["fit", "--help"])
    assert done.exit_code == 0
    for line in EXAMPLES.splitlines():
        if line.startswith("  polytask"):
            assert line.strip() in done.output


def test_the_language_of_a_run_ends_with_it(run):
    assert "没有命令" in run("nothing", "--lang", "zh").err
    assert spoken()("cli.error", {"text": "x"}) == Translator("en")("cli.error", {"text": "x"})


def test_unknown_command(run):
    done = run("fti")
    assert done.status == 2
    assert done.err.startswith("Error: There is no command 'fti'. Did you mean 'fit'?")
    assert "The commands are inspect, compare, " in run("learn").err


def test_configuration_file_gives_way_to_the_command_line(run, plain):
    plain.to_csv("a.csv", index=False)
    Path("run.toml").write_text(
        'data = "a.csv"\ntask = "g"\ntarget = ["y"]\nmodel = "single"\nout = "m.polytask"\n'
        "drop_missing_target = true\nseed = 4\n",
        encoding="utf-8",
    )
    done = run("fit", "--config", "run.toml", *QUICK)
    assert done.status == 0, done.err
    assert "MultiTaskRegressor with" in done.out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('taks = "g"', "sets 'taks', which is no option of polytask fit. Did you mean 'task'?"),
        ("model = [1, 2]", "model in run.toml must be one value"),
        ("target = [[1]]", "must be one value or a list of values"),
        ('folds = "many"', "--folds must be an integer >= 2; got "),
        ("task = ", "is not a TOML file"),
        (None, "cannot be read"),
    ],
)
def test_bad_configuration_file(run, text, words):
    if text is not None:
        Path("run.toml").write_text(text, encoding="utf-8")
    done = run("fit", "a.csv", "--config", "run.toml")
    assert done.status == 2
    assert words in done.err
    assert len(done.err.splitlines()) == 1


def _raise(error):
    def work(*_, **__):
        raise error

    return work


def _fit(run, plain, *more):
    plain.to_csv("a.csv", index=False)
    return run(
        "fit", "a.csv", "--task", "g", "--target", "y", "--out", "m.polytask", *QUICK, *more
    )


def test_bug_is_a_sentence(run, plain, monkeypatch):
    monkeypatch.setattr(training_data, "read_training", _raise(ZeroDivisionError("oops")))
    done = _fit(run, plain)
    assert done.status == 1
    assert done.err.startswith("This is a bug in polytask (ZeroDivisionError: oops).")
    assert "--debug" in done.err
    assert "Traceback" not in done.err


def test_bug_has_its_traceback_with_debug(run, plain, monkeypatch):
    monkeypatch.setattr(training_data, "read_training", _raise(ZeroDivisionError("oops")))
    assert "Traceback" in _fit(run, plain, "--debug").err
    monkeypatch.setenv("POLYTASK_DEBUG", "1")
    assert "Traceback" in _fit(run, plain).err


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (KeyboardInterrupt(), 130, "Interrupted: no file was written."),
        (MemoryError(), 2, "Error: There is not enough memory"),
        (PermissionError(13, "Permission denied", "a.csv"), 2, "Error: a.csv: Permission denied."),
    ],
)
def test_other_ends(run, plain, monkeypatch, error, status, words):
    monkeypatch.setattr(training_data, "read_training", _raise(error))
    done = _fit(run, plain)
    assert done.status == status
    assert done.err.startswith(words)
    assert not Path("m.polytask").exists()


def test_warnings_of_the_library_are_notes_said_once(run, plain, monkeypatch):
    read = training_data.read_training

    def warning(*arguments):
        for _ in range(2):
            warnings.warn("Look at this.", DataWarning, stacklevel=1)
            warnings.warn("Not ours.", RuntimeWarning, stacklevel=1)
        return read(*arguments)

    monkeypatch.setattr(training_data, "read_training", warning)
    assert _fit(run, plain).err == "Note: Look at this.\n"


def test_a_model_is_replaced_only_if_forced(run, plain):
    assert _fit(run, plain).status == 0
    assert _fit(run, plain).status == 2
    assert _fit(run, plain, "--force").status == 0


def test_nothing_is_written_if_writing_fails(run, plain, monkeypatch):
    assert _fit(run, plain).status == 0
    monkeypatch.setattr(predicted, "prediction_table", _raise(KeyboardInterrupt()))
    assert run("predict", "m.polytask", "a.csv", "--out", "p.csv").status == 130
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["a.csv", "m.polytask"]


@pytest.mark.parametrize("more", [(), ("--json",), ("--help",)])
def test_a_reader_who_stops_reading_is_no_bug(tmp_path, more):
    table = tmp_path / "rows.csv"
    table.write_text("shop,a,y\n" + "".join(f"s{i % 3},{i},{i * i % 7}\n" for i in range(30)))
    code = "import sys; from polytask.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "inspect", str(table), "--task", "shop", *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 141
    assert not said


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), BrokenProcessPool("")])
def test_a_process_that_died_ends_in_a_sentence(run, plain, monkeypatch, error):
    """Only the pipe of standard output may be closed without a word."""
    assert _fit(run, plain).status == 0
    monkeypatch.setattr(predicted, "prediction_table", _raise(error))
    done = run("predict", "m.polytask", "a.csv", "--out", "p.csv")
    assert done.status == 2
    assert done.err.startswith("Error: A process that took part in the work ended unexpectedly")


def test_an_exit_that_no_pipe_asked_for_keeps_its_status(run, plain, monkeypatch):
    assert _fit(run, plain).status == 0
    monkeypatch.setattr(predicted, "prediction_table", _raise(SystemExit(7)))
    with pytest.raises(SystemExit) as ended:
        run("predict", "m.polytask", "a.csv", "--out", "p.csv")
    assert ended.value.code == 7
