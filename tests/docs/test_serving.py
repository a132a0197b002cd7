"""The recipes of the page about serving work, each where its package is installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from docs._blocks import blocks

PAGE = Path(__file__).resolve().parents[2] / "docs" / "serving.md"
PACKAGES = ("onnx", "onnxruntime", "fastapi", "httpx", "mlflow")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", ["ONNX", "One task", "FastAPI", "MLflow"])
def test_recipes(part, tmp_path, monkeypatch):
    text = PAGE.read_text(encoding="utf-8")
    starts = [line for line in text.splitlines() if line.startswith("## ")]
    first = next(k for k, line in enumerate(starts) if line[3:].startswith(part))
    begin, after = text.index(starts[first]), [*starts, None][first + 1]
    section = text[begin : None if after is None else text.index(after)]
    for package in PACKAGES:
        needs = any(f"{word} {package}" in section for word in ("import", "from"))
        if (needs or (package == "onnx" and "to_onnx" in section)) and find_spec(package) is None:
            pytest.skip(f"the recipe needs {package}")
    if part == "FastAPI" and find_spec("httpx") is None:
        pytest.skip("its test client needs httpx")
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    page.write_text(text[: text.index("## ONNX")] + "\n" + section, encoding="utf-8")
    names = {"__name__": "page"}
    exec("import numpy as np", names)
    for block in blocks(page):
        exec(compile(block.text, str(PAGE), "exec"), names)
