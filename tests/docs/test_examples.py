"""The notebook runs from top to bottom, and is stored without what it printed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def _name(path):
    return path.name


def _cells(notebook, kind):
    content = json.loads(notebook.read_text(encoding="utf-8"))
    return [cell for cell in content["cells"] if cell["cell_type"] == kind]


def test_there_is_a_notebook_of_compare():
    assert "compare.ipynb" in map(_name, NOTEBOOKS)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=_name)
def test_notebook_is_stored_clean(notebook):
    content = json.loads(notebook.read_text(encoding="utf-8"))
    assert (content["nbformat"], content["metadata"]["kernelspec"]["name"]) == (4, "python3")
    identifiers = [cell["id"] for cell in content["cells"]]
    assert len(set(identifiers)) == len(identifiers)
    for cell in _cells(notebook, "code"):
        assert (cell["outputs"], cell["execution_count"]) == ([], None)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=_name)
def test_links_of_the_notebook_lead_somewhere(notebook):
    for cell in _cells(notebook, "markdown"):
        for target in LINK.findall("".join(cell["source"])):
            assert (notebook.parent / target).exists(), target


@pytest.mark.slow
def test_notebook_of_compare_runs(tmp_path, monkeypatch, capsys):
    import matplotlib as mpl

    from polytask.selection import learners

    # Fewer strengths than a reader waits for: the cells are what is tested.
    monkeypatch.setattr(learners, "ALPHAS", 3)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook = ROOT / "examples" / "compare.ipynb"
    names = {"__name__": "__main__"}
    with mpl.rc_context({"backend": "agg"}):
        for cell in _cells(notebook, "code"):
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    assert names["result"].verdict in {"share", "separate", "pool", "unclear"}
    assert names["result"].complete
    # The first printed words are those of the verdict.
    assert capsys.readouterr().out.startswith(names["result"].summary())
    assert (names["folder"] / "report.html").stat().st_size > 10_000
