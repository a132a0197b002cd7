"""Beyond the verdict: the path, fits on fewer rows, and penalties without a term."""

from __future__ import annotations

import dataclasses
import re

import matplotlib as mpl
import numpy as np
import pytest

from polytask import Comparison, MultiTaskRegressorCV, compare
from polytask.comparison import work as _run
from polytask.comparison.extras import some_rows
from polytask.data import TaskData
from polytask.exceptions import DataError, DataWarning, ParameterError
from polytask.penalties import L2, L21, toward_mean
from polytask.reporting import markdown
from polytask.selection import regularization_path

mpl.use("Agg")
pytestmark = pytest.mark.slow
NEAR = ("near", MultiTaskRegressorCV(toward_mean(1.0) + L2(0.01), alphas=4, cv=3))
SAME = ("same", MultiTaskRegressorCV(L21(), alphas=4, cv=3))
FEW = ["separate", "pooled", NEAR, SAME]
SHARES = (0.25, 0.5)


def related(n_tasks: int = 5, n: int = 32, seed: int = 0):
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(n_tasks), n)
    X = rng.standard_normal((len(task), 4))
    coef = np.array([1.0, -1.0, 0.5, 0.0]) + 0.3 * rng.standard_normal((n_tasks, 4))
    return X, (X * coef[task]).sum(axis=1) + rng.standard_normal(len(task)), task


def compared(**more) -> Comparison:
    # Folds of 40 rows each, so that a mean over rows is the mean over folds.
    X, y, task = related()
    return compare(X, y, task=task, **({"models": FEW, "cv": 4, "metric": "mse"} | more))


@pytest.fixture(scope="module")
def result() -> Comparison:
    return compared(learning_curve=SHARES, ablation=True)


def plain(result: Comparison) -> str:
    """Everything but times and the call."""
    rows = [dataclasses.replace(r, fit_seconds=0.0, predict_seconds=0.0) for r in result.models]
    return repr(dataclasses.replace(result, models=tuple(rows), seconds=0.0, lock={}))


def by_name(result: Comparison) -> dict:
    return {row.name: row for row in result.models}


def test_what_goes_beyond_the_verdict_does_not_touch_it(result):
    bare = compared()
    assert bare.learning == bare.ablation == ()
    setup = dataclasses.replace(result.setup, extras=())
    rest = dataclasses.replace(result, learning=(), ablation=(), setup=setup)
    assert plain(bare) == plain(rest)
    assert "learning_curve=[0.25, 0.5], ablation=True" in result.lock["call"]
    assert "learning" not in bare.lock["call"]


def test_all_rows_are_the_last_point_of_the_curve(result):
    points = result.learning
    assert [point.share for point in points] == [*SHARES, 1.0]
    assert [point.rows for point in points] == [6.0, 12.0, 24.0]
    rows = by_name(result)
    shared = [min(("near", "same"), key=lambda name: rows[name].inner[j]) for j in range(4)]
    chosen = np.array([rows[name].splits[j] for j, name in enumerate(shared)])
    last = points[-1]
    assert last.shared.mean == pytest.approx(chosen.mean())
    gains = np.array(rows["separate"].splits) - chosen
    assert last.over_separate.mean == pytest.approx(gains.mean())
    assert last.over_pooled == pytest.approx(result.gain) or result.plain == "separate"


def test_fewer_rows_are_those_of_a_fit_to_them(result):
    X, y, task = related()
    data = TaskData.from_long(X, y, task)
    from polytask.data import WithinTasks

    scores = []
    for split, (train, test) in enumerate(WithinTasks(4).split(data)):
        rows = some_rows(data, np.sort(train), 0.25, split)
        model = compared_model("pooled").fit(data.rows(rows))
        held = data.rows(np.sort(test))
        scores.append(np.mean((np.asarray(held.y) - model.predict(held)) ** 2))
    assert result.learning[0].pooled.mean == pytest.approx(np.mean(scores), abs=1e-9)


def compared_model(name: str):
    from polytask.baselines import Pooled
    from polytask.selection.learners import tuned_linear

    assert name == "pooled"
    return Pooled(tuned_linear("regression", loss="squared"), "none")


def test_shares_of_the_rows_are_nested_and_even():
    X, y, task = related()
    data = TaskData.from_long(X, y, task)
    train = np.sort(np.random.default_rng(0).choice(160, 100, replace=False))
    owners = data.row_tasks()
    last: set[int] = set()
    for share in (0.01, 0.1, 0.3, 0.7):
        rows = some_rows(data, train, share, 3)
        assert last <= set(rows.tolist()) <= set(train.tolist())
        counts, all_counts = np.bincount(owners[rows]), np.bincount(owners[train])
        np.testing.assert_array_equal(counts, np.maximum(np.round(share * all_counts), 1))
        last = set(rows.tolist())
    wide = TaskData.from_targets(X, np.column_stack([y, y]))
    assert len(some_rows(wide, train, 0.3, 3)) == 30


def test_an_ablation_is_the_same_search_without_a_term(result):
    rest = {"toward_mean": L2(), "L2": toward_mean(1.0)}
    others = [(name, MultiTaskRegressorCV(p, alphas=4, cv=3)) for name, p in rest.items()]
    rows = by_name(compared(models=["separate", NEAR, *others]))
    whole = np.array(rows["near"].splits)
    assert {one.term for one in result.ablation} == set(rest)
    for one in result.ablation:
        assert one.model == "near"
        assert one.gain.mean == pytest.approx(float(np.mean(rows[one.term].splits - whole)))
        assert one.without.mean == pytest.approx(float(np.mean(rows[one.term].splits)))
    means = [one.gain.mean for one in result.ablation]
    assert means == sorted(means, reverse=True)


def test_the_path_is_that_of_all_rows(result):
    X, y, task = related()
    estimator = dict([NEAR, SAME])[result.path.model]
    path = regularization_path(estimator, TaskData.from_long(X, y, task))
    assert result.path.alphas == pytest.approx(path.alphas)
    assert result.path.scores == pytest.approx(path.score)
    assert (result.path.best, result.path.one_se) == (path.best, path.one_se)
    kept = {one.model: one for one in result.sparsity}
    assert set(kept) == {"near", "same"}
    assert kept["near"].features == kept["near"].coefficients == 1.0
    assert result.parameter_importance[0].share >= result.parameter_importance[-1].share
    assert sum(one.share for one in result.parameter_importance) == pytest.approx(1.0)


def test_a_killed_run_goes_on_and_a_finished_one_takes_more(result, tmp_path, monkeypatch):
    place = tmp_path / "journal"
    real, done = _run.run_unit, []

    def dying(study, unit):
        if unit.variant.startswith("without"):
            raise KeyboardInterrupt
        done.append(unit.key)
        return real(study, unit)

    monkeypatch.setattr(_run, "run_unit", dying)
    stopped = compared(learning_curve=SHARES, ablation=True, journal=place)
    assert stopped.stopped == "interrupt"
    assert not stopped.complete
    assert "The verdict, from 4 splits, stands." in stopped.summary()
    assert stopped.ablation == ()
    assert stopped.gain == result.gain
    before = len(done)
    monkeypatch.setattr(_run, "run_unit", real)
    assert plain(compared(learning_curve=SHARES, ablation=True, journal=place)) == plain(result)
    monkeypatch.setattr(_run, "run_unit", dying)
    again = compared(learning_curve=SHARES, ablation=True, journal=place)
    assert len(done) == before
    assert plain(again) == plain(result)
    # The same comparison without them, and with other shares, uses what is there.
    compared(journal=place)
    assert len(done) == before
    more = compared(learning_curve=0.75, journal=place)
    assert [point.share for point in more.learning] == [0.75, 1.0]
    assert all("0.75 of the rows" in key for key in done[before:])


def test_it_can_be_written_and_read(result):
    again = Comparison.from_json(result.to_json())
    for name in ("path", "sparsity", "parameter_importance", "learning", "ablation"):
        assert getattr(again, name) == getattr(result, name)


def test_sentences_are_in_the_summary(result):
    english, chinese = "With 25% of the training rows (median 6 per task)", "用 25% 的训练行"
    for lang, words in (("en", english), ("zh", chinese)):
        assert words in result.summary(lang)
    assert "toward_mean" in result.summary()


@pytest.mark.parametrize("kind", ["strength", "path", "learning", "ablation"])
def test_pictures(result, kind):
    ax = result.plot(kind=kind)
    ax.figure.canvas.draw()
    mpl.pyplot.close(ax.figure)
    empty = dataclasses.replace(result, path=None, learning=(), ablation=())
    with pytest.raises(DataError, match="to draw"):
        empty.plot(kind=kind)


def test_targets_classes_and_one_split_have_them_too():
    X, y, _ = related()
    wide = np.column_stack([y, -y + X[:, 0], X[:, 1] - np.abs(X[:, 0])]) + 0.3
    for target in (wide, (wide > 0).astype(int)):
        found = compare(
            X, target, models=["separate", "pooled", "same features"], quick=True,
            learning_curve=(0.5,),
        )  # fmt: skip
        assert [point.share for point in found.learning] == [0.5, 1.0]
        assert found.learning[0].rows == 64
        assert np.isfinite(found.learning[0].over_separate.low)


def test_rows_of_splits_by_time_are_told_from_the_fewest_to_the_most():
    time = np.tile(np.arange(32), 5)
    models = ["separate", "pooled", SAME]
    found = compared(models=models, time=time, cv=3, learning_curve=0.5)
    half, whole = found.learning
    # Per task, 8, 16 and 24 of 32 times are learned from.
    assert (whole.least_rows, whole.rows, whole.most_rows) == (8, 16, 24)
    assert (half.least_rows, half.rows, half.most_rows) == (4, 8, 12)
    assert found.setup.n_scored == 24 * 5
    said = markdown(found.document("en"))
    assert (
        "120 of 160 rows are scored; the others are only trained on, for they are the earliest"
        in said
    )
    assert re.search(r"\| 50% +\| 4 to 12 ", said)


def test_a_penalty_of_one_term_has_no_ablation():
    with pytest.warns(DataWarning, match="no ablation: .* a penalty of several terms"):
        found = compared(models=["separate", SAME], cv=2, ablation=True)
    assert found.ablation == ()
    assert found.complete


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"learning_curve": 1.5}, "each above 0 and below 1; got 1.5"),
        ({"learning_curve": [0.5, 0.0]}, "each above 0 and below 1"),
        ({"learning_curve": "half"}, "got 'half'"),
        ({"learning_curve": []}, "a list of shares"),
        ({"ablation": "yes"}, "ablation of compare must be True or False; got 'yes'"),
    ],
)
def test_refusals_are_sentences(more, words):
    with pytest.raises(ParameterError, match=words):
        compared(**more)
