"""``polytask export`` writes a graph, or says what it needs."""

from __future__ import annotations

import importlib.util

import numpy as np
import pandas as pd
import pytest

import polytask as pt


@pytest.fixture
def saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.standard_normal((40, 2)), columns=["width", "height"])
    table["shop"] = np.array(["a", "b"])[np.arange(40) % 2]
    model = pt.BayesianMultiTaskRegressor(task_column="shop").fit(table, table["width"] * 2)
    pt.save(model, "m.polytask")
    return table, model


def test_a_graph_is_written_and_described(saved, run):
    onnx = pytest.importorskip("onnx", reason='exports need onnx: pip install "polytask[onnx]"')
    done = run("export", "m.polytask", "--interval", "0.9", "--out", "m.onnx")
    assert done.status == 0
    assert "given width, height, shop" in done.out.replace(" and ", ", ")
    names = [output.name for output in onnx.load("m.onnx").graph.output]
    assert names == ["prediction", "lower", "upper"]
    again = run("export", "m.polytask", "--out", "m.onnx")
    assert again.status == 2


def test_what_is_no_graph_is_refused(saved, run):
    assert ".onnx" in run("export", "m.polytask", "--out", "m.pt").err
    assert run("export", "m.polytask", "--to", "pmml", "--out", "m.onnx").status == 2
    if importlib.util.find_spec("onnx") is None:
        assert "pip install" in run("export", "m.polytask", "--out", "m.onnx").err
