"""The web page: every number exact, every string of the user text, usable by everybody."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections import Counter

import numpy as np
import pytest
from unit.report import examples
from unit.report.pages import Page

from polytask.comparison import frames
from polytask.comparison.tables import task_names
from polytask.messages import clean
from polytask.reporting import page

CASES = sorted(examples.ALL)
NAN = float("nan")


@pytest.fixture(scope="module")
def pages():
    """Return pages by case and language, each made once."""
    made: dict[tuple[str, str], tuple[object, Page, str]] = {}

    def get(name: str, lang: str = "en"):
        if (name, lang) not in made:
            result = examples.ALL[name]()
            text = page(result.document(lang))
            made[name, lang] = result, Page(text), text
        return made[name, lang]

    return get


def numbers(values: list[str]) -> np.ndarray:
    return np.array([NAN if value == "" else float(value) for value in values])


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_numbers_of_models_are_those_of_the_frame(pages, name):
    result, found, _ = pages(name)
    frame = frames.leaderboard(result)
    if frame.empty:
        assert not [one for one in found.all("table") if one.get("id") == "table-scores"]
        return
    assert found.column("scores", "model") == [clean(model) for model in frame["model"]]
    tables = {
        "scores": ("score", "low", "high", "picked"),
        "metrics": frames.further_metrics(result),
        "costs": ("fit_seconds", "predict_seconds", "nonzero", "file_bytes"),
    }
    for table, columns in tables.items():
        for column in columns:
            expected = frame[column].to_numpy(dtype=float, na_value=NAN)
            np.testing.assert_array_equal(numbers(found.column(table, column)), expected)


@pytest.mark.parametrize("name", CASES)
def test_numbers_of_tasks_are_those_of_the_frame(pages, name):
    result, found, _ = pages(name)
    frame = frames.task_frame(result)
    if frame.empty:
        assert "No task could be judged." in found.top.text
        return
    assert found.column("tasks", "task") == task_names(result)
    for column in ("rows", "gain", "low", "high", "raw", "more_rows"):
        expected = frame[column].to_numpy(dtype=float, na_value=NAN)
        np.testing.assert_array_equal(numbers(found.column("tasks", column)), expected)
    assert found.column("tasks", "action") == frame["action"].tolist()


def test_differences_and_coefficients_are_exact(pages):
    result, found, _ = pages("share")
    expected = [result.gain.mean, result.pooling_gain.mean, result.trees_gain.mean]
    np.testing.assert_array_equal(numbers(found.column("differences", "gain")), expected)
    third = [row[2] for row in result.coefficients.values]
    np.testing.assert_array_equal(numbers(found.column("coefficients", "column2")), third)
    two = result.two_by_two
    cells = (two.separate_none, two.separate_tuned, two.joint_none, two.joint_tuned)
    np.testing.assert_array_equal(numbers(found.column("two", "score")), [c.mean for c in cells])
    assert found.column("two", "models") == ["separate", "separate", "pooled", "joint"]


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("name", CASES)
def test_nothing_of_the_user_becomes_markup(pages, name, lang):
    _, found, text = pages(name, lang)
    counts = Counter(element.tag for element in found.elements)
    assert counts["script"] == 1
    assert counts["img"] == counts["b"] == 0
    assert not counts.keys() & {"iframe", "object", "embed", "link", "form", "base"}
    named = [attribute for element in found.elements for attribute in element.attributes]
    assert not [attribute for attribute in named if attribute.startswith("on")]
    assert "\x02" not in text
    assert "\x03" not in text
    assert "\x1b" not in text


@pytest.mark.parametrize("name", CASES)
def test_page_needs_nothing_from_outside(pages, name):
    _, found, text = pages(name)
    for element in found.elements:
        assert not element.get("src")
        assert (element.get("href") or "#").startswith("#")
    assert "url(" not in re.sub(r"url\(#[\w-]+\)", "", text)
    assert "@import" not in text
    assert "http://" not in text
    assert "https://" not in text
    assert len(text.encode()) < 2e6


def test_only_the_script_of_the_page_may_run(pages):
    _, found, _ = pages("hostile")
    (policy,) = [one for one in found.all("meta") if one.get("http-equiv")]
    content = policy.get("content")
    assert "default-src 'none'" in content
    assert re.search(r"script-src 'sha256-[\w+/]{43}='(;|$)", content)


@pytest.mark.parametrize("name", CASES)
def test_headings_follow_one_another(pages, name):
    _, found, _ = pages(name)
    levels = [int(e.tag[1]) for e in found.elements if re.fullmatch("h[1-6]", e.tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(element.text for element in found.elements if re.fullmatch("h[1-6]", element.tag))


@pytest.mark.parametrize("name", CASES)
def test_ids_are_unique_and_references_lead_somewhere(pages, name):
    _, found, text = pages(name)
    ids = Counter(element.get("id") for element in found.elements if element.get("id"))
    assert set(ids.values()) <= {1}
    links = [e.get("href")[1:] for e in found.elements if e.get("href").startswith("#")]
    labels = [label for e in found.elements for label in e.get("aria-labelledby").split()]
    clips = re.findall(r"url\(#([\w-]+)\)", text)
    assert {*links, *labels, *clips} <= ids.keys()


@pytest.mark.parametrize("name", CASES)
def test_every_picture_and_region_has_a_name(pages, name):
    _, found, _ = pages(name)
    for element in found.elements:
        if element.get("role") in ("img", "region") or element.tag in ("svg", "nav"):
            assert element.get("aria-label") or element.get("aria-labelledby")
    for drawing in found.all("svg"):
        assert [one.tag for one in drawing.children[:2]] == ["title", "desc"]
        assert all(one.text for one in drawing.children[:2])


@pytest.mark.parametrize("name", CASES)
def test_every_table_has_a_caption_and_scopes(pages, name):
    _, found, _ = pages(name)
    for table in found.all("table"):
        assert table.all("caption")[0].text
        heads, *rows = table.all("tr")
        assert all(cell.get("scope") == "col" for cell in heads.children)
        for row in rows:
            assert row.children[0].tag == "th"
            assert row.children[0].get("scope") == "row"
            assert len(row.children) == len(heads.children)


def test_names_keep_their_own_direction(pages):
    _, found, _ = pages("hostile")
    name = "مدرسة النور للبنات"
    places = [one for one in found.elements if one.text == name and not one.children]
    assert len(places) > 3
    assert all(one.tag in ("bdi", "text") or one.get("dir") == "auto" for one in places)


@pytest.mark.parametrize(("lang", "said"), [("en", "Models"), ("zh", "模型")])
def test_page_is_in_its_language(pages, lang, said):
    _, found, _ = pages("share", lang)
    (html,) = found.all("html")
    assert html.get("lang") == {"en": "en", "zh": "zh-Hans"}[lang]
    assert said in [heading.text for heading in found.all("h2")]
    assert (re.search("[\u4e00-\u9fff]", found.top.text) is not None) is (lang == "zh")


def test_page_begins_with_the_verdict_and_what_to_do(pages):
    _, found, _ = pages("share")
    assert (
        found.all("h1")[0].text
        == "Fit the tasks jointly: one model per task, each learning from the others too"
    )
    header = found.by_id("verdict").text
    steps = (
        "139 tasks",
        "polytask compare school.csv --target score --task school --out answer",
        "Use “near the mean, shrunk intercepts”: one model per task, each learning from the ",
        "Its R2 is 0.412; that of the best separate model (one per task, each on its own), "
        "“separate”, is 0.301: a difference of +0.111",
        "Its R2 is 0.412; that of the best pooled model (one for all tasks), ",
        "separate or pooled model that the training rows chose: R2 +0.031 (95% ",
        "task by task: 74 tasks gain, 12 lose, 53 are undecided.",
    )
    places = [header.index(step) for step in steps]
    assert places == sorted(places)


def test_warnings_stand_before_the_sections():
    text = Page(page(examples.quick().document("en"))).top.text
    assert text.index("One task dominates: north") < text.index("What the verdict rests on")
    assert text.index("A quick comparison tries few") < text.index("What the verdict rests on")


def test_the_model_of_the_coefficients_is_named(pages):
    said = "Coefficients of “near the mean, shrunk intercepts”, fitted to all rows"
    assert said in pages("share")[1].top.text
    # An older file does not say of which model they are.
    shown = dataclasses.replace(examples.share().coefficients, model="")
    result = examples.change(examples.share(), {"coefficients": shown})
    text = Page(page(result.document())).top.text
    assert "Coefficients of" not in text


def test_coefficients_of_two_classes_name_the_class_that_they_raise(pages):
    base = examples.share()
    classes = dataclasses.replace(base.setup, problem="classification")
    shown = dataclasses.replace(base.coefficients, positive="yes")

    def text(coefficients, lang: str = "en") -> str:
        fields = {"setup": classes, "coefficients": coefficients}
        return Page(page(examples.change(base, fields).document(lang))).top.text

    assert "Above 0: raises the probability of “yes”; below 0: lowers it." in text(shown)
    assert "大于 0 提高“yes”的概率" in text(shown, "zh")
    assert "the class in the name of its column" in text(base.coefficients)
    assert "Above 0" not in pages("share")[1].top.text


def test_coefficients_that_came_out_equal_are_called_so(pages):
    words = "The model gives all tasks equal coefficients and lets only the intercepts differ"
    assert words not in pages("share")[1].top.text
    base = examples.share()
    values = tuple((row[0],) * len(row) for row in base.coefficients.values)
    same = dataclasses.replace(base.coefficients, values=values)
    assert words in Page(page(examples.change(base, {"coefficients": same}).document())).top.text


def test_tasks_are_counted_only_where_one_can_be_told(pages):
    tasks = [dataclasses.replace(one, group="unclear") for one in examples.share().tasks]
    result = examples.change(examples.share(), {"tasks": tuple(tasks)})
    found = Page(page(result.document()))
    assert "task by task:" not in found.by_id("verdict").text
    assert "task by task:" in pages("share")[1].by_id("verdict").text


def drawing(found: Page, key: str):
    (one,) = [e for e in found.all("svg") if e.get("aria-labelledby").startswith(f"{key}-title")]
    return one


def test_chart_of_many_tasks_shows_both_ends_and_says_so(pages):
    result, found, _ = pages("many")
    names = [one.text for one in drawing(found, "tasks-chart").all("text")]
    shown = [one.task for one in (*result.tasks[:30], *result.tasks[-30:])]
    assert [name for name in names if name.startswith("school")] == shown
    assert "Shown: the 30 largest and the 30 smallest of 1,000 gains." in found.top.text
    assert "940 tasks in between" in found.top.text
    assert len(found.by_id("table-tasks").all("tr")) == 1001


def test_recommended_model_is_filled(pages):
    _, found, _ = pages("share")
    models = drawing(found, "models-chart")
    filled = [one for one in models.all("use") if "fill: var(--gain)" in one.get("style")]
    assert len(filled) == 1


def test_notes_of_models_are_said_once(pages):
    _, found, _ = pages("share")
    assert found.top.text.count("ended at max_iter=10000 before its tolerance") == 1
    _, found, _ = pages("incomplete")
    assert "Left out: “pooled + intercepts” (left out: needs 100 rows per task)." in found.top.text


def test_call_and_lock_are_shown(pages):
    _, found, _ = pages("share")
    blocks = [block.text for block in found.all("pre")]
    assert blocks[0] == examples.LOCK["command"]["line"]
    assert examples.LOCK["data"]["checksum"] in blocks[1]


def test_same_comparison_gives_the_same_bytes(pages):
    assert page(examples.share().document()) == pages("share")[2]


def test_coefficients_that_are_missing_or_zero_have_a_place():
    found = dataclasses.replace(
        examples.coefficients(["a", "b"], 5), values=((0.0, 0.0),) * 4 + ((NAN, 0.0),)
    )
    result = examples.change(examples.share(), {"coefficients": found})
    shown = drawing(Page(page(result.document())), "features-chart")
    texts = [one.text for one in shown.all("text")]
    assert texts.count("×") == 1
    assert {"a", "b"} <= set(texts)
