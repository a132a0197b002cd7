"""The programs in benchmarks/ about networks: what they say, and that the pages show it."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    "regularising_nets": ROOT / "docs" / "regularising_nets.md",
    "balancing_matters": ROOT / "docs" / "balancing.md",
}


@pytest.fixture
def program(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module


def test_without_a_card_nothing_is_measured(program, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    program("deep_gpu").main(["--out", str(tmp_path / "gpu.md")])
    told = "There is no CUDA card here: nothing was measured. Run this program where there is one."
    assert capsys.readouterr().out.strip() == told
    assert not (tmp_path / "gpu.md").exists()


def test_every_kind_of_step_of_the_program_for_cards_can_be_taken(program, monkeypatch):
    cards = program("deep_gpu")
    monkeypatch.setattr(cards, "WIDTH", 8)
    for case in cards.CASES:
        if not case.compiled:
            small = case._replace(rows=16, n_tasks=min(case.n_tasks, 20))
            cards.stepper(small, torch.device("cpu"))()
    assert {case.mixed for case in cards.CASES} == {False, True}


@pytest.mark.parametrize("name", PAGES)
def test_pictures_of_the_page_are_those_that_the_program_draws(name):
    drawn = re.findall(r'"(\w+\.png)"', (ROOT / "benchmarks" / f"{name}.py").read_text("utf-8"))
    shown = re.findall(r"\]\(images/([^)]*)\)", PAGES[name].read_text("utf-8"))
    assert sorted(shown) == sorted(drawn)
    assert f"benchmarks/{name}.py" in PAGES[name].read_text("utf-8")
    assert all((ROOT / "docs" / "images" / picture).stat().st_size < 200_000 for picture in shown)


@pytest.mark.parametrize("name", PAGES)
def test_tables_of_results_have_a_row_for_every_network(name, program):
    text = (ROOT / "docs" / "results" / f"{name}.md").read_text("utf-8")
    tried = program(name)
    if name == "balancing_matters":
        rows, columns = list(tried.BALANCERS), [c for c in tried.CASES if c != tried.SCALED]
    else:
        rows, columns = list(tried.SEARCHED | tried.OWN_NORMS), list(tried.SETS)
    for row in rows:
        assert f"\n| {row} |" in text, row
    for column in columns:
        assert f" {column} |" in text, column


def test_a_difference_is_bold_where_its_interval_leaves_out_zero(program):
    nets = program("_nets")
    base = [0.0, 0.0, 0.0, 0.0, 0.0]
    mean, half = nets.against([1.0, 2.0, 3.0, 4.0, 5.0], base)
    # Student's t with four degrees of freedom: 2.776 standard errors.
    np.testing.assert_allclose([mean, half], [3.0, 2.776 * np.sqrt(2.5 / 5)])
    assert nets.told(mean, half) == "**+3.000 ± 1.963**"
    assert nets.told(0.1, 0.2) == "+0.100 ± 0.200"


def test_the_simulations_are_what_they_are_called(program):
    nets = program("regularising_nets")
    one, own = (nets.simulated(0, own_instruments=own) for own in (False, True))
    np.testing.assert_array_equal(one.y, own.y)
    means = [
        np.ptp([p.X[p.task == t].mean(0) for t in range(4)], axis=0).max() for p in (one, own)
    ]
    assert means[0] < 0.5 < 5.0 < means[1]
    made = program("balancing_matters")
    alike, units = (made.CASES[title].make(0) for title in ("alike", "unlike units"))
    np.testing.assert_allclose(units.y, alike.y * made.UNITS)
