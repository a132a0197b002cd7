"""The programs in examples/deep run, and learn what they say."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "deep"


def run(name):
    return runpy.run_path(str(FOLDER / name))["main"]()


def test_every_program_is_tested():
    tested = {"funnel.py", "sequences.py", "shapes.py"}
    assert {path.name for path in FOLDER.glob("*.py")} == tested


@pytest.mark.slow
def test_shapes(capsys):
    found = run("shapes.py")
    both, weighted, _ = found.values()
    # Of three kinds of pixels a constant finds none of those of shapes.
    assert min(metrics["pixels"] for metrics in found.values()) > 0.5
    assert min(metrics["box"] for metrics in found.values()) > 0.55
    # Weight given to the pixels is taken from the boxes.
    lead = [metrics["pixels"] - metrics["box"] for metrics in (both, weighted)]
    assert lead[0] + 0.03 < lead[1]
    assert len(capsys.readouterr().out.splitlines()) == 4


@pytest.mark.slow
def test_sequences(capsys):
    found = run("sequences.py")
    assert found["backwards"] > 0.95
    assert found["tag"] > 0.9
    told = capsys.readouterr().out
    assert "backwards" in told.splitlines()[2]


def test_the_loss_of_sequences_leaves_out_padding():
    import torch

    program = runpy.run_path(str(FOLDER / "sequences.py"))
    (_, targets), *_ = program["sentences"](1, 0)
    target = targets["backwards"][None]
    task_loss = program["by_token"](torch.zeros(1, program["LONGEST"], 8), target.clamp_min(0))
    assert task_loss.shape == target.shape
    assert program["right_tokens"](torch.eye(8)[target.clamp_min(0)], target) == 1.0


@pytest.mark.slow
def test_funnel():
    found = run("funnel.py")
    together, apart = found["one network"], found["one for each task"]
    assert min(together["click"], together["purchase"]) > 0.65
    assert together["rating"] > 0.3
    # No claim that sharing wins: here it is as good.
    assert np.abs(np.subtract(list(together.values()), list(apart.values()))).max() < 0.06
    share = found["purchases"]
    # Right of those who clicked, and of what is bought; too high of everybody.
    assert abs(share["told, of those who clicked"] - share["true, of those who clicked"]) < 0.06
    assert abs(share["told, click x purchase"] - share["true, bought"]) < 0.03
    assert share["told, of all"] - share["true, if all clicked"] > 0.05
