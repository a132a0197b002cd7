"""``polytask path``: picture and table of the path that Python finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from polytask import MultiTaskRegressorCV, MultiTaskRegressorIC
from polytask.penalties import L21
from polytask.selection import regularization_path

WORDS = ("path", "a.csv", "--task", "g", "--target", "y", "--penalty", "L21", "--strengths", "6")


def names() -> set[str]:
    return {path.name for path in Path().iterdir()}


def test_it_writes_what_python_finds(run, plain):
    plain.to_csv("a.csv", index=False)
    done = run(*WORDS, "--out", "p.png")
    assert done.status == 0, done.err
    assert names() == {"a.csv", "p.png", "p.csv"}
    model = MultiTaskRegressorCV(L21(), alphas=6, task_column="g")
    path = regularization_path(model, plain[["g", "x", "z"]], plain["y"])
    found = pd.read_csv("p.csv")
    # Some readers of numbers are off by their last digit.
    np.testing.assert_allclose(found["alpha"], path.alphas, rtol=1e-12)
    np.testing.assert_allclose(found["size of x"], path.sizes[:, 0], rtol=1e-12)
    assert found["chosen"].tolist() == (np.arange(6) == path.chosen).tolist()
    assert "Wrote p.png and p.csv." in done.out
    for words in (
        "best, chosen",
        "strongest within one standard error of the best",
        f"L21(alpha={path.penalty.alpha:.4g})",
    ):
        assert words in done.out
    assert "task_weight='size' (every row counts the same)" in done.out
    assert "were chosen on the same rows" in done.out
    model.fit(plain[["g", "x", "z"]], plain["y"])
    assert f"R2 (against the training mean) {model.held_out_score_:.4g} (standard" in done.out


@pytest.mark.slow
def test_rule_lines_groups_and_classes(run, plain):
    plain = plain.assign(pair=np.arange(120) // 2, passed=np.where(plain["y"] > 0, "yes", "no"))
    plain.to_csv("a.csv", index=False)
    words = ("path", "a.csv", "--task", "g", "--strengths", "4", "--folds", "3")
    done = run(*words, "--target", "y", "--drop", "passed", "--group", "pair", "--rule", "one_se",
               "--lines", "entries", "--out", "p.svg")  # fmt: skip
    assert done.status == 0, done.err
    found = pd.read_csv("p.csv")
    assert found["chosen"].tolist() == found["one_se"].tolist()
    text = Path("p.svg").read_text(encoding="utf-8")
    assert "x, a" in text
    done = run(*words, "--target", "passed", "--features", "x,z", "--out", "c.png")
    assert done.status == 0, done.err


def test_a_search_from_coarse_to_fine_says_how_many_strengths_it_tried(run, plain):
    plain.assign(passed=np.where(plain["y"] > 0, "yes", "no")).to_csv("a.csv", index=False)
    words = ("--task", "g", "--target", "passed", "--features", "x,z", "--penalty", "L21")
    done = run("path", "a.csv", *words, "--strengths", "24", "--folds", "3", "--out", "p.png")
    assert done.status == 0, done.err
    n = len(pd.read_csv("p.csv"))
    assert n < 24
    assert f"Strengths    {n} of 24 tried" in done.out
    assert "Held-out loss: log loss on held-out rows." in done.out


def test_a_criterion_replaces_the_folds(run, plain):
    plain.to_csv("a.csv", index=False)
    done = run(*WORDS, "--criterion", "bic", "--out", "p.png")
    assert done.status == 0, done.err
    assert "BIC of all rows" in done.out
    assert "degrees of freedom" in done.out
    assert "standard error" not in done.out
    model = MultiTaskRegressorIC(L21(), criterion="bic", alphas=6, task_column="g")
    path = regularization_path(model, plain[["g", "x", "z"]], plain["y"])
    found = pd.read_csv("p.csv")
    np.testing.assert_allclose(found["df"], path.df, rtol=1e-12)
    assert found["chosen"].tolist() == (np.arange(6) == path.chosen).tolist()


@pytest.mark.slow
def test_an_infinite_criterion_is_said(run, plain):
    rng = np.random.default_rng(0)
    wide = pd.DataFrame(rng.normal(size=(24, 25))).add_prefix("x")
    wide["g"], wide["y"] = np.tile(["p", "q"], 12), wide["x0"] + 0.3 * rng.normal(size=24)
    wide.to_csv("a.csv", index=False)
    words = ("path", "a.csv", "--task", "g", "--target", "y", "--penalty", "L21")
    done = run(*words, "--criterion", "aicc", "--strengths", "8", "--out", "p.svg")
    assert done.status == 0, done.err
    count = int(np.isinf(pd.read_csv("p.csv")["score"]).sum())
    assert 0 < count < 8
    assert f"AICC of all rows is infinite at {count} of the 8 strengths: too few rows" in done.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "penalty", "strengths", "said"),
    [
        ("exact", "L21", "3", "is the weakest tried: a weaker penalty, or none, may be better."),
        (
            "noise",
            "L21",
            "3",
            "leaves no feature: the features do not improve on the intercepts",
        ),
        ("alike", "toward_mean", "3", "is the strongest tried: a stronger penalty may be better."),
        ("alike", "L21", "9", None),
    ],
)
def test_a_best_strength_at_an_end_is_noted(run, plain, target, penalty, strengths, said):
    rng, noise = np.random.default_rng(5), np.random.default_rng(1)
    plain["x"], plain["z"] = rng.normal(size=(2, 120))
    plain["exact"], plain["noise"] = plain["x"] + plain["z"], rng.normal(size=120)
    plain["alike"] = plain["exact"] + noise.normal(size=120)
    plain[["g", "x", "z", target]].to_csv("a.csv", index=False)
    words = ("path", "a.csv", "--task", "g", "--target", target, "--penalty", penalty)
    done = run(*words, "--strengths", strengths, "--out", "p.png")
    assert done.status == 0, done.err
    assert ("The best strength" in done.err) == (said is not None)
    assert said is None or said in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--out", "p.pdf"), "must end in .png, .svg; got 'p.pdf'"),
        ((), "--out"),
        (("--out", "a.png"), "Cannot write a.csv: it is a file that is read."),
        (("--out", "there.png"), "there.csv exists already"),
        (("--out", "p.png", "--penalty", "L22"), "L22"),
        (
            ("--out", "p.png", "--group", "x", "--time", "z"),
            "--group and --time hold out different",
        ),
        (("--out", "p.png", "--criterion", "bicc"), "Did you mean 'bic'?"),
        (
            ("--out", "p.png", "--criterion", "bic", "--rule", "one_se"),
            "so that --rule one_se has",
        ),
        (("--out", "p.png", "--criterion", "bic", "--group", "x"), "so that --group x has no"),
        (("--out", "p.png", "--criterion", "bic", "--folds", "5"), "so that --folds 5 has no"),
    ],
)
def test_refusals_are_one_sentence_and_write_nothing(run, plain, words, said):
    plain.to_csv("a.csv", index=False)
    Path("there.csv").write_text("mine", encoding="utf-8")
    before = names()
    done = run(*WORDS, *words)
    assert done.status == 2
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert names() == before
    assert Path("there.csv").read_text(encoding="utf-8") == "mine"
