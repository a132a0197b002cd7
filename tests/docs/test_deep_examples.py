"""The programs in examples/deep run, and learn what they say."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "deep"


def run(name):
    return runpy.run_path(str(FOLDER / name))["main"]()


def test_every_program_is_tested():
    tested = {
        "funnel.py",
        "modalities.py",
        "pretrained.py",
        "sequences.py",
        "shapes.py",
        "two_processes.py",
    }
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


@pytest.mark.slow
def test_modalities():
    program = runpy.run_path(str(FOLDER / "modalities.py"))
    found = program["one_seed"](0, 0.8)
    # Rows that lack an input are worth having, and the network can do without it.
    assert found["both"]["all, hiding"] > found["both"]["rows that have both"]
    assert found["upper"]["all, hiding"] > found["upper"]["rows that have both"] + 0.05


@pytest.mark.slow
def test_pretrained():
    pytest.importorskip("transformers")
    found = run("pretrained.py")
    texts, digits = found["texts"]["mean"], found["images"]["mean"]
    # What the trunk knows of words is worth much; of other digits the plain model knows more.
    for way in ("frozen", "LoRA, shared", "LoRA, each task", "layer-wise rates"):
        assert texts[way] > texts["from scratch"] + 0.1
        assert texts[way] > texts["logistic regression"] + 0.1
    assert digits["logistic regression"] > digits["frozen"] + 0.1


@pytest.mark.slow
def test_two_processes_of_torchrun_end_with_the_weights_of_one(tmp_path):
    pytest.importorskip("accelerate")
    distributed = pytest.importorskip("torch.distributed")
    if not distributed.is_available() or not distributed.is_gloo_available():
        pytest.skip("this torch cannot join processes by gloo")
    program = [str(FOLDER / "two_processes.py"), "sales"]
    # A standalone launch takes a free port.
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for processes, arguments in ((1, program), (2, [*launch, *program])):
        done = subprocess.run(
            [sys.executable, *arguments],
            check=False,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"processes: {processes}, loss")
    with np.load(tmp_path / "weights1.npz") as one, np.load(tmp_path / "weights2.npz") as two:
        assert set(one) == set(two)
        for name in one:
            # Sums of two halves of a batch are rounded in another way than that of the whole.
            np.testing.assert_allclose(two[name], one[name], rtol=0, atol=1e-10)
