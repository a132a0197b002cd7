"""The error of a gain counts what losses in different folds have in common."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from polytask._estimator.problem import read_outcomes, read_problem
from polytask.comparison import answer
from polytask.comparison.answer import CompleteSplits, make_boards
from polytask.comparison.boards import choose_all
from polytask.comparison.options import Options
from polytask.comparison.plan import facts_of, make_plan
from polytask.comparison.statistics import mutual_covariance
from polytask.comparison.work import run_unit
from polytask.selection.held import Study

MODELS = ["separate", "pooled + intercepts", "learned prior"]


def finished(X, y, task, models=MODELS, **choices):
    data = read_problem(X, y, task, None, None)
    problem, outcomes, losses = read_outcomes(data, "auto")
    study = Study(data, outcomes)
    asked = {"cv": None, "groups": None, "time": None, "unseen": False, **choices}
    chosen = Options(models=models, quick=False, random_state=0, **asked)
    plan = make_plan(study, facts_of(study, problem, losses, chosen), chosen, "d2", ("d2",))
    return plan, {unit.key: run_unit(study, unit) for unit in plan.units}


def judge_of(X, y, task, **choices):
    plan, records = finished(X, y, task, **choices)
    board, _ = make_boards(plan, records, "d2")
    return CompleteSplits(plan, board, "d2")


def identical(rng, n_tasks=6, n_rows=15, n_features=4, noise=1.5):
    coef, task = rng.standard_normal(n_features), np.repeat(np.arange(n_tasks), n_rows)
    X = rng.standard_normal((len(task), n_features))
    return X, X @ coef + noise * rng.standard_normal(len(task)), task


def losses_by_hand(judge, name, fold, rows, train):
    plan = judge.plan
    unit = next(u for u in plan.units if u.split == fold and u.model == name)
    model = unit.estimator.fit(plan.study.data.rows(train))
    held = plan.study.data.rows(rows)
    return (plan.study.outcomes.y[rows] - model.predict(held)) ** 2


def covariance_by_hand(changes, fold, groups):
    overall, sums = np.mean(list(changes.values())), {}
    for t in np.unique(groups):
        for k in np.unique(fold):
            rows = np.flatnonzero((groups == t) & (fold == k))
            for other in np.unique(fold):
                found = [changes[i, other] for i in rows if (i, other) in changes]
                sums[t, k, other] = len(rows) * (np.mean(found) - overall) if found else 0.0
    return sum(value * sums[t, other, k] for (t, k, other), value in sums.items()) / len(fold)


def test_a_gain_over_models_that_rows_chose_is_no_gain_over_one_that_is_as_good(monkeypatch):
    joint, better, worse = names = ["learned prior", "pooled", "separate"]
    plan, records = finished(*identical(np.random.default_rng(5), n_tasks=16), names)
    picked = {"shared": (joint,) * 5, "separate": (worse,) * 5, "pooled": (better,) * 5}

    def verdict_of(*plain):
        chosen = replace(choose_all(make_boards(plan, records, "d2")[0]), **picked, plain=plain)
        monkeypatch.setattr(answer, "choose_all", lambda board: chosen)
        return answer.make_answer(plan, records, "d2")

    never = verdict_of(*(worse,) * 5)
    assert (never.verdict, never.recommended) == ("share", joint)
    once = verdict_of(*(worse,) * 4, better)
    assert once.gain.above
    assert (once.verdict, once.recommended, once.times_more) == ("pool", better, None)


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "across", "beyond"), [(1, True, False), (5, False, True)])
def test_the_error_has_the_covariance_of_folds_that_fit_each_others_models(seed, across, beyond):
    judge = judge_of(*identical(np.random.default_rng(seed)))
    plan, chosen = judge.plan, choose_all(judge.board)
    data, scale = plan.study.data, judge.labels.scale[0]
    n, owners = data.n_rows, data.row_tasks()
    outer = {u.split: u for u in plan.units}
    gains, fold = np.empty(n), np.empty(n, int)

    def gain(k, rows, train):
        first, second = chosen.shared[k], chosen.plain[k]
        lost = [losses_by_hand(judge, name, k, rows, train) for name in (second, first)]
        return (lost[0] - lost[1]) / scale

    for k, unit in outer.items():
        gains[unit.test], fold[unit.test] = gain(k, unit.test, unit.train), k
    changes = {}
    for other, unit in outer.items():
        for train, test in unit.inner:
            for k in np.unique(fold[test]):
                rows = test[fold[test] == k]
                for row, change in zip(rows, gains[rows] - gain(k, rows, train), strict=True):
                    changes[row, other] = change
    values = np.array(list(changes.values()))
    # The rows of a task, or all rows together.
    within, whole = (covariance_by_hand(changes, fold, groups) for groups in (owners, 0 * owners))
    assert (whole > within) == across
    common = max(within, whole)
    # Each of the other folds changes the losses as much.
    common = min(max(common, 0.0), (len(outer) - 1) * values.var(ddof=1))
    assert (common > values.var(ddof=1)) == beyond
    found = judge.gain(chosen.shared, chosen.plain)
    assert found.mean == pytest.approx(gains.mean())
    assert common > 0
    assert found.error**2 == pytest.approx((gains.var(ddof=1) + common) / n)


@pytest.mark.parametrize("told", [4, 3, 2])
def test_products_tell_the_covariance_of_quadratic_forms(told):
    # What row i gains is the sum over the rows j of other folds of u_ij = u_ji, no more. Where
    # whole folds are held out again, as of statistics, some of them are left out.
    rng, n_folds, size = np.random.default_rng(0), 5, 12
    folds = np.repeat(np.arange(n_folds), size)
    n = len(folds)
    others = np.arange(n_folds)
    at, other = (a.ravel() for a in np.meshgrid(np.arange(n), others, indexing="ij"))
    at, other = at[folds[at] != other], other[folds[at] != other]
    kept = (other - folds[at]) % n_folds <= told // 2
    kept |= (folds[at] - other) % n_folds <= told - told // 2
    at, other = at[kept], other[kept]
    means, stated, found = [], [], []
    for _ in range(400):
        z = rng.standard_normal((n, 3))
        u = z @ z.T * (folds[:, None] != folds)
        gains = u.sum(axis=1)
        changes = np.array([u[i, folds == k].sum() for i, k in zip(at, other, strict=True)])
        shares = np.full(n, 1 / n)
        means.append(gains.mean())
        stated.append(gains.var(ddof=1) / n)
        found.append(
            mutual_covariance(changes, at, other, folds, np.zeros(n, dtype=np.intp), shares)
        )
    assert np.var(means) == pytest.approx(2 * np.mean(stated), rel=0.25)
    assert np.mean(stated) + np.mean(found) == pytest.approx(np.var(means), rel=0.25)


def test_folds_by_time_have_no_covariance():
    rng = np.random.default_rng(0)
    X, y, task = identical(rng, n_tasks=3, n_rows=30)
    time = np.tile(np.arange(30), 3)
    judge = judge_of(X, y, task, time=time)
    names = choose_all(judge.board)
    gains = judge._gains(names.shared, names.plain, judge.labels)
    alone = judge._mean(gains, judge.labels)
    assert judge.gain(names.shared, names.plain) == alone
