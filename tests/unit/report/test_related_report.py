"""Reports on relatedness: pages, Markdown, pictures; the sentence in a comparison."""

from __future__ import annotations

import dataclasses
import json
import re

import matplotlib as mpl
import numpy as np
import pytest
from unit.report import examples
from unit.report.pages import Page

from polytask import Comparison, Relatedness, relatedness
from polytask.charts.figures import brackets
from polytask.exceptions import DataError
from polytask.reporting import write_report
from polytask.task_relations.document import drawn_map
from polytask.task_relations.records import RelatednessSummary, Shares


def result(n=8, rows=20, names=None, n_permutations=99):
    rng = np.random.default_rng(0)
    W = np.outer(np.resize([1.0, -1.0], n), [1.0, 0.5, 0.0]) + 0.1
    X = rng.standard_normal((n * rows, 3))
    task = np.repeat(np.arange(n), rows)
    y = (X * W[task]).sum(axis=1) + rng.standard_normal(len(task))
    named = {(names[t] if names else f"school {t}"): np.flatnonzero(task == t) for t in range(n)}
    data = {name: (X[at], y[at]) for name, at in named.items()}
    return relatedness(data, n_permutations=n_permutations)


def model_result():
    from polytask import MultiTaskRegressor

    rng = np.random.default_rng(0)
    X, task = rng.standard_normal((80, 3)), np.repeat(range(4), 20)
    return relatedness(MultiTaskRegressor().fit(X, X @ np.ones(3), task=task))


def nothing():
    return relatedness(np.ones((6, 2)), np.arange(6.0), task=np.repeat([0, 1], 3))


HOSTILE = tuple(name for name in examples.HOSTILE if "\ud800" not in name and name != " ")
CASES = {
    "yes": result,
    "hostile": lambda: result(len(HOSTILE), names=HOSTILE),
    "many": lambda: result(130, 5, n_permutations=19),
    "two": lambda: result(2),
    "model": model_result,
    "nothing": nothing,
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]()


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_form_is_written_and_whole(case, lang, tmp_path):
    write_report(case, tmp_path / "all", lang=lang)
    page = Page((tmp_path / "all" / "report.html").read_text(encoding="utf-8"))
    assert len(page.top.all("h1")) == 1
    # Nothing of a user runs: the page has its own script and no other.
    assert [len(page.top.all(tag)) for tag in ("script", "img", "iframe")] == [1, 0, 0]
    assert not any(name.startswith("on") for one in page.elements for name in one.attributes)
    text = (tmp_path / "all" / "report.md").read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert ("任务" if lang == "zh" else "task") in text
    again = (tmp_path / "all" / "report.json").read_text(encoding="utf-8")
    assert Relatedness.from_json(again).to_json() + "\n" == again


def test_map_has_every_pair_and_the_tree_every_merge(tmp_path):
    page = Page(write_report(result(), tmp_path / "a.html").read_text(encoding="utf-8"))
    gain, lose, lines = cells(page)
    # Two groups of four: half of the cells are alike, half opposite; the scale has 20 of each.
    assert (gain, lose) == (32 + 20, 32 + 20)
    assert lines == 7


def cells(page: Page) -> tuple[int, int, int]:
    """Count the cells that are alike and opposite, and the brackets of the tree."""
    (drawing,) = [one for one in page.all("svg") if one.get("role") == "img"]
    styles = [one.get("style") for one in drawing.all("path")]
    kinds = ("fill: var(--gain)", "fill: var(--lose)", "fill: none; stroke: var(--ink)")
    gain, lose, ink = (sum(style.startswith(kind) for style in styles) for kind in kinds)
    return gain, lose, ink


def test_many_tasks_are_shown_as_runs(tmp_path):
    many = CASES["many"]()
    drawn = drawn_map(many)
    assert drawn.binned
    assert drawn.values.shape == (60, 60)
    matrix = many.matrix
    # The first run has two tasks: its mean is the one correlation between them.
    assert drawn.values[0, 0] == pytest.approx(matrix[0, 1])
    assert drawn.values[0, 1] == pytest.approx(matrix[:2, 2:4].mean())
    page = Page(write_report(many, tmp_path / "a.html").read_text(encoding="utf-8"))
    assert "The 130 tasks are sorted so that similar ones are neighbours" in page.top.text
    assert sum(cells(page)[:2]) == 3600 + 40


def test_brackets_join_what_the_tree_joins():
    found = brackets([(0, 1, 0.2, 2), (2, 3, 0.5, 3)])
    assert found[0] == ((0.0, 0.0), (0.0, 0.2), (1.0, 0.2), (1.0, 0.0))
    assert found[1] == ((0.5, 0.2), (0.5, 0.5), (2.0, 0.5), (2.0, 0.0))


@pytest.mark.parametrize("name", ["yes", "hostile", "many", "two", "model"])
def test_picture_can_be_drawn(name):
    mpl.use("Agg")
    from matplotlib import pyplot

    ax = CASES[name]().plot()
    ax.figure.canvas.draw()
    assert len(ax.collections) == 1
    pyplot.close(ax.figure)


def test_picture_of_nothing_is_refused():
    with pytest.raises(DataError, match="There is no map to draw"):
        nothing().plot()


# Within a comparison.

KIN = RelatednessSummary(12, 0.002, Shares(0.7, 0.1, 0.2), 1.6)


def test_comparison_says_below_its_verdict_whether_tasks_are_related(tmp_path):
    one = examples.change(examples.share(), {"relatedness": KIN})
    said = "The tasks are related (test of no relation between the tasks: p = 0.002): of "
    said += (
        "the variance that the features explain in predictions, 70% is common to all tasks, 10% "
        "to groups of tasks, the rest differs from task to task."
    )
    assert f"\n{said}" in one.summary()
    assert "Effective number" not in one.summary()
    assert "\n各任务相关（“任务之间无关”的检验：p = 0.002）" in one.summary("zh")
    text = write_report(one, tmp_path / "a.md").read_text(encoding="utf-8")
    assert f"\n\n{said}" in text
    page = Page(write_report(one, tmp_path / "a.html").read_text(encoding="utf-8"))
    assert said in page.by_id("verdict").text


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("pool", "That agrees with the recommendation: one model for all tasks learns"),
        ("separate", "each task has rows enough"),
        ("inconclusive", "can be used by one model for all tasks too"),
    ],
)
def test_related_tasks_beside_no_gain_are_explained(case, words):
    one = examples.change(examples.ALL[case](), {"relatedness": KIN})
    assert words in one.summary()


def test_an_open_verdict_agrees_with_no_recommendation():
    pooled = next(row.name for row in examples.share().models if row.kind == "pooled")
    alike = dataclasses.replace(KIN, shares=Shares(0.9, 0.0, 0.1))
    one = examples.change(examples.ALL["inconclusive"](), {"relatedness": alike})
    one = dataclasses.replace(one, recommended=pooled)
    assert "agrees with the recommendation" not in one.summary()
    decided = dataclasses.replace(one, verdict="pool")
    assert "agrees with the recommendation" in decided.summary()


def test_a_p_value_near_the_level_is_borderline():
    near = RelatednessSummary(12, 0.054, Shares(0.7, 0.1, 0.2), 1.6)
    one = examples.change(examples.share(), {"relatedness": near})
    said = one.summary()
    assert "borderline (test of no relation between the tasks: p = 0.054" in said
    assert "Effective number" not in said
    assert "处于临界状态" in one.summary("zh")


def test_comparison_without_it_says_nothing_of_it(tmp_path):
    one = examples.share()
    assert one.relatedness is None
    assert "related" not in one.summary()
    page = write_report(one, tmp_path / "a.html").read_text(encoding="utf-8")
    assert "Effective number" not in page


def test_json_of_a_comparison_keeps_it_and_older_files_can_be_read():
    one = examples.change(examples.share(), {"relatedness": KIN})
    assert Comparison.from_json(one.to_json()).relatedness == KIN
    older = re.sub(r',\s*"relatedness": null', "", examples.share().to_json())
    assert "relatedness" not in older
    assert Comparison.from_json(older).relatedness is None
    content = json.loads(one.to_json())
    for row in content["models"]:
        del row["behind"]
    assert Comparison.from_json(json.dumps(content)).models[1].behind is None
    for row in content["models"]:
        del row["target_errors"]
    del content["split_gains"], content["far_cells"]
    read = Comparison.from_json(json.dumps(content))
    assert (read.split_gains, read.far_cells, read.models[0].target_errors) == ((), False, ())
