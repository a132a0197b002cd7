"""Strength, learning curve and terms of a penalty in a report."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from unit.report import examples
from unit.report.pages import Page

from polytask.comparison.document import _FIGURES, figure
from polytask.messages import Translator
from polytask.reporting import markdown as markdown_of
from polytask.reporting import page as page_of

NAN = float("nan")
SECTIONS = ("strength", "learning", "ablation")


def page(result, lang: str = "en") -> str:
    return page_of(result.document(lang))


def markdown(result, lang: str = "en") -> str:
    return markdown_of(result.document(lang))


def titles(text: str) -> list[str]:
    return [one.get("id") for one in Page(text).all("h2")]


def test_sections_are_there_where_there_is_something_to_show():
    assert set(SECTIONS) <= set(titles(page(examples.share())))
    bare = dataclasses.replace(
        examples.share(), path=None, sparsity=(), parameter_importance=(), learning=(), ablation=()
    )
    assert set(SECTIONS).isdisjoint(titles(page(bare)))
    assert "How strong" not in markdown(bare)
    only = titles(page(examples.incomplete()))
    assert "strength" in only
    assert "learning" not in only


def test_models_without_a_penalty_have_no_section_on_its_strength():
    kept = tuple(dataclasses.replace(one, penalty="") for one in examples.share().sparsity)
    free = dataclasses.replace(examples.share(), path=None, parameter_importance=(), sparsity=kept)
    assert "strength" not in titles(page(free))
    assert "strength" in titles(page(dataclasses.replace(free, sparsity=examples.kept())))


def test_a_model_that_was_not_chosen_has_no_section_on_its_strength():
    base = examples.share()
    unused = tuple(
        dataclasses.replace(row, picked=0) if row.name == base.path.model else row
        for row in base.models
    )
    assert base.path.model != base.recommended
    assert "error-chart" in page(base)
    assert "error-chart" not in page(dataclasses.replace(base, models=unused))
    assert "mattered" not in page(dataclasses.replace(base, models=unused))


def test_the_loss_of_numbers_is_half_the_squared_error_that_of_classes_is_not():
    base = examples.share()
    classes = dataclasses.replace(base.setup, problem="classification")
    half = "The loss is half the mean squared error, with targets in standard deviations"
    assert half in page(base)
    assert "Held-out loss (half the squared error)" in page(base)
    assert "half the" not in page(dataclasses.replace(base, setup=classes))


def test_numbers_of_the_tables_are_exact():
    result = examples.share()
    found = Page(page(result))
    path = result.path
    alphas = [float(v) for v in found.column("path", "strength")]
    assert alphas == list(path.alphas)
    errors = [float(v) for v in found.column("path", "path_score")]
    assert errors == [-score for score in path.scores]
    assert [int(v) for v in found.column("path", "rank")] == list(path.ranks)
    shares = [float(v) for v in found.column("kept", "features")]
    # What has no penalty keeps all.
    assert shares == [one.features for one in result.sparsity if one.penalty]
    assert found.column("kept", "rank") == ["", "", "5"]
    rows = [float(v) for v in found.column("learning", "train_rows")]
    assert rows == [point.rows for point in result.learning]
    gains = [float(v) for v in found.column("ablation", "gain")]
    assert gains == [one.gain.mean for one in result.ablation]
    assert found.column("mattered", "parameter") == ["strength", "penalty", "task_weight"]


def test_ranks_are_left_out_where_they_say_nothing_more():
    result = examples.share()
    plain = dataclasses.replace(result.path, ranks=tuple(min(k, 8) for k in result.path.features))
    text = page(dataclasses.replace(result, path=plain))
    assert 'data-column="rank"' not in text.partition('id="table-kept"')[0]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_drawings_speak_the_language_and_have_names_of_their_own(lang):
    text = page(examples.share(), lang)
    drawings = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    named = [re.search(r'aria-labelledby="([\w-]+)-title', drawing) for drawing in drawings]
    keys = [found[1].removesuffix("-chart") for found in named if found]
    charts = [figure(examples.share(), kind, Translator(lang)).key for kind in _FIGURES]
    assert sorted(f"{key}-chart" for key in keys) == sorted(charts)
    words = "".join(
        found for drawing in drawings for found in re.findall(r"<text[^>]*>([^<]*)", drawing)
    )
    assert bool(re.search("[\u4e00-\u9fff]", words)) is (lang == "zh")
    identifiers = re.findall(r' id="([^"]*)"', text)
    assert len(identifiers) == len(set(identifiers))


def test_sentences_say_what_the_intervals_allow():
    text = markdown(examples.share())
    assert "The term toward_mean adds R2 +0.080" in text
    assert "Whether the term L2 adds anything is open" in text
    assert "is better without the term L1" in text
    assert (
        "With 12.5% of the training rows (median 10 per task), joint models gain R2 +0.43" in text
    )
    assert "keeps 12" in text
    chinese = markdown(examples.share(), "zh")
    assert "去掉惩罚项 L1 更好" in chinese
    assert "用 12.5% 的训练行（每个任务行数的中位数为 10）时" in chinese


def test_no_stronger_model_is_near_the_best():
    result = examples.share()
    path = dataclasses.replace(result.path, one_se=7)
    assert "No stronger penalty" in markdown(dataclasses.replace(result, path=path))


@pytest.mark.parametrize(("absent", "words"), [("separate", "pooled"), ("pooled", "separate")])
def test_a_kind_that_was_not_compared_is_not_spoken_of(absent, words):
    nothing = examples.Interval(NAN, NAN, NAN)
    result = examples.share()
    points = tuple(
        dataclasses.replace(point, **{absent: nothing, f"over_{absent}": nothing})
        for point in result.learning
    )
    text = markdown(dataclasses.replace(result, learning=points))
    sentence = re.findall(r"With 12.5% of the training rows \(median 10 per task\).*", text)[-1]
    assert f"over {words}" in sentence
    assert f"over {absent}" not in sentence
    assert "n/a" not in sentence


def test_a_chosen_point_beside_both_marks_is_marked_too():
    result = examples.share()
    path = dataclasses.replace(result.path, chosen=3)
    text = markdown(dataclasses.replace(result, path=path))
    for words in ("| chosen ", "best score", "one standard error"):
        assert words in text


def test_a_path_of_scores_is_not_turned_round():
    path = dataclasses.replace(
        examples.share().path, measure="r2", scores=tuple(np.linspace(0, 0.5, 12).tolist())
    )
    found = Page(page(dataclasses.replace(examples.share(), path=path)))
    assert [float(v) for v in found.column("path", "path_score")] == list(path.scores)
    assert "Held-out R2" in found.top.text
