"""``polytask compare --learning-curve --ablation``: more of the same comparison."""

from __future__ import annotations

from pathlib import Path

import pytest
from unit.cli._comparing import SAME, comparison, numbers_of

from polytask import Comparison
from polytask.comparison import work as _run

pytestmark = pytest.mark.usefixtures("light")


def read() -> Comparison:
    return Comparison.from_json(Path("out/report.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_they_go_on_from_a_finished_comparison(run, there, monkeypatch):
    before = numbers_of(Path("out/scores.csv").read_text(encoding="utf-8"))
    assert read().learning == read().ablation == ()
    real, done = _run.run_unit, []

    def counted(study, unit):
        done.append(unit.variant)
        return real(study, unit)

    monkeypatch.setattr(_run, "run_unit", counted)
    finished = comparison(run, *SAME, "--learning-curve", "--ablation")
    result = read()
    assert numbers_of(Path("out/scores.csv").read_text(encoding="utf-8")) == before
    assert all(done)
    assert [point.share for point in result.learning] == [0.125, 0.25, 0.5, 1.0]
    assert {one.term for one in result.ablation} == {"toward_mean", "L2"}
    report = Path("out/report.md").read_text(encoding="utf-8")
    assert "per task), joint models gain" in report
    assert "steps beyond those of the verdict" in finished.err
    count = len(done)
    again = run("rerun", "out/run.lock.json", "--out", "again")
    assert again.status == 0, again.err
    assert len(done) == 2 * count + 10
    same = Comparison.from_json(Path("again/report.json").read_text(encoding="utf-8"))
    assert same.learning == result.learning
    assert same.ablation == result.ablation
