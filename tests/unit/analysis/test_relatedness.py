"""Are the tasks related at all, how much do they share, and which are alike."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import polytask
from polytask import MultiTaskRegressor, Pooled, Relatedness, TaskData, relatedness
from polytask.exceptions import DataError, DataWarning, IncompatibleError, ParameterError
from polytask.task_relations.slopes import slopes_of
from polytask.task_relations.statistics import sign_flip_test

# Targets without noise, or copies of tasks, which are warned of.
MISLEADING = pytest.mark.filterwarnings("ignore::polytask.exceptions.DataWarning")


def collection(
    rng,
    W,
    rows=30,
    noise=1.0,
    root=None,
    scale=1.0,
    uneven=False,
    by_feature=False,
    classes=False,
    level=1.0,
):
    """Return one task per row of W, standard normal features."""
    d, found = W.shape[1], {}
    root = np.eye(d) if root is None else root
    for t, w in enumerate(W):
        n = int(rng.integers(2, 2 * rows)) if uneven else rows
        X = rng.standard_normal((n, d)) @ root.T
        e = noise * rng.standard_normal(n) * (np.abs(X[:, 0]) if by_feature else 1.0)
        eta = X @ w + level * rng.standard_normal()
        y = (rng.random(n) < 1 / (1 + np.exp(-eta))).astype(float) if classes else eta + e
        found[f"task {t}"] = (X * scale, y)
    return TaskData.from_tasks(found)


def p_values(make, count, n_flips=99):
    """Return the p-values of simulated collections."""
    found = []
    for seed in range(count):
        data = make(np.random.default_rng([7, seed]))
        names = tuple(map(str, range(data.n_features)))
        slopes = slopes_of(data, np.asarray(data.y, dtype=float), names, seed)
        found.append(sign_flip_test(slopes.of(slopes.informative), n_flips, seed + 1)[0])
    return np.array(found)


def decaying(d, r):
    return np.linalg.cholesky(r ** np.abs(np.subtract.outer(np.arange(d), np.arange(d))))


UNRELATED = {
    "plain": lambda r: collection(r, r.standard_normal((10, 6))),
    "correlated features": lambda r: collection(
        r, r.standard_normal((10, 6)), root=decaying(6, 0.8)
    ),
    "much noise, correlated": lambda r: collection(
        r, 0.2 * r.standard_normal((10, 6)), root=decaying(6, 0.8)
    ),
    "unequal rows": lambda r: collection(r, r.standard_normal((12, 5)), uneven=True),
    "noise by a feature": lambda r: collection(
        r, 0.1 * r.standard_normal((20, 5)), rows=40, by_feature=True
    ),
    "four tasks": lambda r: collection(r, r.standard_normal((4, 6))),
    "classes": lambda r: collection(r, r.standard_normal((12, 5)), rows=60, classes=True),
    "wider than long": lambda r: collection(r, r.standard_normal((6, 20)), rows=12),
    "units": lambda r: collection(
        r, r.standard_normal((10, 6)), scale=10.0 ** r.uniform(-3, 3, 6)
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", UNRELATED)
def test_p_values_of_unrelated_tasks_are_uniform(name):
    p = p_values(UNRELATED[name], 100)
    # The steps of 1 / 100 are in the middle of their cells.
    assert stats.kstest(p - 0.005, "uniform").pvalue > 0.005
    assert (p <= 0.05).mean() < 0.13


def same_features(r):
    return r.standard_normal((10, 8)) * (np.arange(8) < 2)


RELATED = {
    "direction": lambda r: collection(
        r, 0.35 * r.standard_normal(6) + 0.3 * r.standard_normal((10, 6))
    ),
    "the same features": lambda r: collection(r, same_features(r)),
    "a plane": lambda r: collection(
        r, 0.6 * r.standard_normal((12, 2)) @ r.standard_normal((2, 8))
    ),
    "opposite groups": lambda r: collection(
        r, 0.5 * np.outer(np.resize([1, -1], 10), r.standard_normal(6))
    ),
    "opposite groups of classes": lambda r: collection(
        r, np.outer(np.resize([1, -1], 10), r.standard_normal(5)), rows=80, classes=True
    ),
    "many tiny tasks": lambda r: collection(
        r, np.tile(0.25 * r.standard_normal(4), (60, 1)), rows=8
    ),
}


@pytest.mark.parametrize("name", RELATED)
def test_related_tasks_are_found(name):
    assert (p_values(RELATED[name], 20) <= 0.05).mean() > 0.7


@pytest.mark.parametrize("rows", [30, 12])
def test_same_features_are_found_on_an_orthogonal_design(rows):
    # Software says that its axes are the features themselves; flips along these see nothing.
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.standard_normal((rows, 9)))[0]
    Q = np.linalg.qr(Q - Q.mean(axis=0))[0][:, :8] * np.sqrt(rows)
    W = 3 * same_features(rng)
    Y = Q @ W.T + 0.5 * rng.standard_normal((rows, 10))
    assert relatedness(Q, Y, n_permutations=199).p_value < 0.03


def shares(make, count=4):
    found = [relatedness(make(np.random.default_rng(s)), n_permutations=9) for s in range(count)]
    parts = [(r.shares.common, r.shares.clustered, r.shares.own) for r in found]
    effective = np.mean([r.effective_tasks for r in found])
    return np.mean(parts, axis=0), effective


@pytest.mark.slow
def test_shares_of_unrelated_identical_half_and_opposite_tasks():
    own, n = shares(lambda r: collection(r, r.standard_normal((16, 6)), rows=40))
    assert own[2] > 0.8
    assert n > 9
    same, n = shares(lambda r: collection(r, np.tile(r.standard_normal(6), (16, 1))))
    assert same[0] > 0.93
    assert n < 1.2
    half, n = shares(
        lambda r: collection(r, r.standard_normal(6) + r.standard_normal((40, 6)), noise=2.0), 8
    )
    assert half == pytest.approx((0.5, 0.0, 0.5), abs=0.15)
    two, n = shares(
        lambda r: collection(r, np.outer(np.resize([1, -1], 16), r.standard_normal(6)))
    )
    assert two[1] > 0.9
    assert n < 1.3


def test_groups_of_classes_are_found_with_few_features():
    # The rows of a task then vary least along its own effect: signs alone cannot tell groups.
    W = np.outer(np.repeat([1.0, -1.0], 4), [1.0, 1.0, -1.0, 1.0])
    for seed in range(3):
        found = collection(np.random.default_rng(seed), W, rows=300, classes=True)
        of = relatedness(found).shares
        assert of.clustered > 0.85
        assert of.common < 0.05


def groups_example(**given):
    rng = np.random.default_rng(3)
    centres = rng.standard_normal((2, 6))
    W = centres[np.resize([0, 0, 1], 12)] + 0.1 * rng.standard_normal((12, 6))
    return collection(rng, W, rows=40, noise=0.5, **given)


def test_groups_order_and_pairs_of_two_groups():
    result = relatedness(groups_example())
    second = {f"task {t}" for t in (2, 5, 8, 11)}
    assert [set(group) for group in result.groups] == [
        {f"task {t}" for t in range(12)} - second,
        second,
    ]
    assert result.shares.clustered > 0.2
    matrix, order = result.matrix, [result.tasks[k].task in second for k in result.order]
    # Neighbours are alike: the groups are two runs.
    assert np.abs(np.diff(order)).sum() == 1
    alike = np.equal.outer(order, order)
    assert matrix[alike].min() > matrix[~alike].max()
    for pair in result.most_alike:
        assert (pair.first in second) == (pair.second in second)
    for pair in result.least_alike:
        assert (pair.first in second) != (pair.second in second)
    assert {result.to_frame().set_index("task").group[t] for t in second} in ({0}, {1})


def test_a_task_unlike_all_the_others_is_named():
    W = np.outer([1, 1, 1, 1, 1, 1, 1, -1], [0.8, -0.6, 0.5, 0.0, 0.3])
    apart = relatedness(collection(np.random.default_rng(0), W, rows=400))
    assert re.search(r"least like the others is “task 7”: the mean .* is -0.9", apart.summary())
    assert "least like the others" not in relatedness(groups_example()).summary()


def rare_features(spread, seed=0, tasks=300, rows=9):
    """Return data with four features that vary in every task and four that do in 15%."""
    rng = np.random.default_rng(seed)
    task, X = np.repeat(np.arange(tasks), rows), rng.standard_normal((tasks * rows, 8))
    varies = rng.random((tasks, 4)) < 0.15
    X[:, 4:] = varies[task] * (rng.random((tasks * rows, 4)) < 0.4)
    W = np.repeat([1.0, 2.0], 4) + spread * rng.standard_normal((tasks, 8))
    return X, (X * W[task]).sum(axis=1) + rng.standard_normal(tasks * rows), task


def test_features_that_are_constant_in_most_tasks_do_not_look_different_from_task_to_task():
    X, y, task = rare_features(0.0)
    result = relatedness(X, y, task=task, n_permutations=9)
    assert set(result.features_shared) > {"x0", "x1", "x2", "x3"}
    assert len(result.features_shared) > 5
    assert result.features_varying == ()
    # Effects of 1, by a target of a spread of about 2.3.
    means = {one.feature: one.mean for one in result.features}
    assert means["x0"] == pytest.approx(1 / 2.3, abs=0.06)
    X, y, task = rare_features(2.0)
    result = relatedness(X, y, task=task, n_permutations=9)
    assert result.features_shared == ()
    assert set(result.features_varying) > {"x0", "x1", "x2", "x3"}


def test_no_pair_or_group_is_named_of_tasks_with_fewer_rows_than_features():
    rng = np.random.default_rng(3)
    W = rng.standard_normal(20) + 0.3 * rng.standard_normal((60, 20))
    few = relatedness(collection(rng, W, rows=5), n_permutations=99)
    assert few.p_value <= 0.05
    assert (few.most_alike, few.least_alike, few.groups) == ((), (), ())
    assert "No groups and no pairs of similar tasks are named" in few.summary()
    many = relatedness(collection(rng, W, rows=200), n_permutations=99)
    assert len(many.most_alike) == 5


@MISLEADING
def test_matrix_is_that_of_the_predictions_where_there_is_no_noise():
    rng = np.random.default_rng(0)
    W, X = rng.standard_normal((5, 3)), rng.standard_normal((200, 3))
    result = relatedness(X, X @ W.T + 1.0)
    wanted = np.corrcoef((X @ W.T).T)
    order = np.array(result.order)
    assert np.allclose(result.matrix, wanted[np.ix_(order, order)], atol=2e-3)


def test_levels_are_reported_and_change_nothing_else():
    rng = np.random.default_rng(1)
    near = collection(rng, np.full((8, 3), 0.5), level=0.0)
    far = {
        t: (near.X[near.task_slice(k)], near.y[near.task_slice(k)] + 10.0 * k)
        for k, t in enumerate(near.tasks)
    }
    first, second = relatedness(near), relatedness(far)
    assert first.level_share < 0.2
    assert second.level_share > 0.9
    assert second.p_values == first.p_values
    assert second.similarity == first.similarity


def test_what_misleads_is_said():
    data = collection(np.random.default_rng(0), np.ones((5, 3)))
    leak = np.column_stack([data.X, 2 * data.y + 1])
    with pytest.warns(DataWarning, match="equals the target up to a factor"):
        relatedness(leak, data.y, task=data.row_tasks(), n_permutations=19)
    far = np.where(np.arange(len(data.y)) == 7, 1e6, data.y)
    with pytest.warns(DataWarning, match="The target holds 1000000 in row 7"):
        relatedness(data.X, far, task=data.row_tasks(), n_permutations=19)


def test_units_of_features_and_target_change_nothing():
    data = groups_example()
    first = relatedness(data, random_state=4)
    factors = np.array([1e-4, 3.0, -1e5, 1.0, 0.1, 7.0])
    other = relatedness(
        data.with_X(data.X * factors + 5.0).with_y(np.asarray(data.y) * 1e3), random_state=4
    )
    assert other.p_value == first.p_value
    assert np.allclose(other.matrix, first.matrix, atol=2e-4)


def test_forms_and_tables_agree():
    data = groups_example()
    labels = [data.tasks[t] for t in data.row_tasks()]
    first = relatedness(data)
    assert relatedness(np.asarray(data.X), np.asarray(data.y), task=labels) == first
    table = pd.DataFrame(data.X, columns=list("abcdef")).assign(school=labels)
    named = relatedness(table, np.asarray(data.y), task_column="school")
    assert named.p_value == first.p_value
    assert set(named.features_shared) | set(named.features_varying) <= set("abcdef")
    weighted = relatedness(
        np.asarray(data.X), np.asarray(data.y), task=labels, sample_weight=np.full(len(labels), 3)
    )
    assert weighted.p_value == first.p_value


def test_classes_of_any_name_and_gaps_in_targets():
    data = groups_example(classes=True)
    words = np.where(np.asarray(data.y) > 0, "yes", "no")
    assert relatedness(data.with_y(words)).p_value == relatedness(data).p_value
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 4))
    Y = X @ np.ones((4, 5)) + 0.5 * rng.standard_normal((60, 5))
    Y[rng.random((60, 5)) < 0.3] = np.nan
    result = relatedness(X, Y)
    assert result.p_value < 0.01
    assert np.isnan(result.level_share)


def test_features_shared_and_varying():
    rng = np.random.default_rng(0)
    W = np.zeros((12, 5))
    W[:, 0], W[:, 3] = 1.0, rng.standard_normal(12)
    data = collection(rng, W, rows=60)
    frame = {
        t: (pd.DataFrame(data.X[data.task_slice(k)], columns=list("abcde")),
            np.asarray(data.y[data.task_slice(k)]))
        for k, t in enumerate(data.tasks)
    }  # fmt: skip
    result = relatedness(frame)
    assert result.features_shared == ("a",)
    assert result.features_varying == ("d",)
    effect = {one.feature: one for one in result.features}
    assert effect["d"].spread > 3 * effect["a"].spread


def test_the_same_seed_gives_the_same_answer_and_another_another():
    data = collection(np.random.default_rng(0), np.random.default_rng(1).standard_normal((6, 4)))
    assert relatedness(data) == relatedness(data)
    assert relatedness(data, random_state=1) != relatedness(data)


def test_an_answer_is_a_line_where_it_is_shown_and_sentences_where_it_is_printed():
    data = collection(np.random.default_rng(0), np.random.default_rng(1).standard_normal((6, 4)))
    result = relatedness(data)
    assert repr(result).startswith("Relatedness(source='data', p_value=")
    assert repr(result).endswith(f"{len(result.tasks)} tasks)")
    assert str(result) == result.summary()


# Nasty data.


def nothing_said(result):
    assert np.isnan(result.p_value)
    assert result.n_informative < 2
    assert "Relatedness cannot be judged" in result.sentence
    assert Relatedness.from_json(result.to_json()).to_json() == result.to_json()
    assert "无法判断" in result.summary("zh")
    result._repr_html_()


def test_one_task_says_nothing():
    rng = np.random.default_rng(0)
    nothing_said(relatedness(rng.standard_normal((30, 3)), rng.standard_normal(30)))


@MISLEADING
def test_constant_features_targets_and_tasks_of_one_row_say_nothing():
    rng = np.random.default_rng(0)
    X, task = rng.standard_normal((30, 2)), np.repeat(range(3), 10)
    nothing_said(relatedness(np.ones((30, 2)), rng.standard_normal(30), task=task))
    nothing_said(relatedness(X, np.repeat([1.0, 2.0, 5.0], 10), task=task))
    nothing_said(relatedness(X, rng.standard_normal(30), task=np.arange(30)))
    # One class per task, two in all.
    nothing_said(relatedness(X, np.repeat([0, 1, 1], 10), task=task))


@pytest.mark.filterwarnings("ignore:The target has one value in all rows of 1 task")
def test_silent_tasks_are_left_out_and_counted():
    rng = np.random.default_rng(0)
    parts = {t: (rng.standard_normal((20, 3)), None) for t in range(4)}
    parts = {t: (X, X @ np.ones(3) + rng.standard_normal(20)) for t, (X, _) in parts.items()}
    parts["one row"] = (np.ones((1, 3)), np.ones(1))
    parts["constant"] = (rng.standard_normal((9, 3)), np.full(9, 0.1))
    result = relatedness(parts)
    assert result.n_informative == 4
    assert len(result.order) == 4
    assert result.p_value < 0.05
    assert "2 tasks carry no information" in result.summary()
    frame = result.to_frame().set_index("task")
    assert frame.closeness.isna().tolist() == [False] * 4 + [True] * 2
    assert frame.nearest["one row"] is None


@MISLEADING
def test_two_tasks_and_identical_tasks():
    rng = np.random.default_rng(0)
    two = relatedness(collection(rng, np.tile(rng.standard_normal(8), (2, 1)), rows=60))
    assert two.p_value < 0.05
    assert two.groups == ()
    X = rng.standard_normal((40, 4))
    y = X @ rng.standard_normal(4)
    same = relatedness({t: (X, y) for t in range(6)})
    assert same.p_value < 0.05
    assert same.shares.common == pytest.approx(1.0, abs=1e-6)
    assert same.effective_tasks == pytest.approx(1.0, abs=1e-6)
    assert np.allclose(same.matrix, 1.0)


def test_missing_and_many_classes_are_refused():
    rng = np.random.default_rng(0)
    X, task = rng.standard_normal((30, 2)), np.repeat(range(3), 10)
    holed = X.copy()
    holed[3, 1] = np.nan
    with pytest.raises(DataError, match="NaN"):
        relatedness(holed, rng.standard_normal(30), task=task)
    with pytest.raises(DataError, match="y of relatedness must be numbers, or two classes"):
        relatedness(X, np.resize(["a", "b", "c"], 30), task=task)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"n_permutations": 0}, "n_permutations of relatedness must be an integer >= 1"),
        ({"n_permutations": 9.5}, "n_permutations"),
        ({"random_state": -1}, "random_state of relatedness must be an integer >= 0"),
        ({"random_state": True}, "random_state"),
    ],
)
def test_choices_that_do_not_exist_are_refused(given, said):
    with pytest.raises(ParameterError, match=said):
        relatedness(groups_example(), **given)


def test_wide_sparse_and_dense_data_agree():
    import scipy.sparse as sp

    rng = np.random.default_rng(0)
    X = rng.standard_normal((240, 150)) * (rng.random((240, 150)) < 0.2)
    w = np.zeros(150)
    w[:5] = 2.0
    y, task = X @ w + 0.3 * rng.standard_normal(240), np.repeat(range(4), 60)
    dense = relatedness(X, y, task=task, n_permutations=199)
    sparse = relatedness(sp.csr_array(X), y, task=task, n_permutations=199)
    assert dense.p_value == sparse.p_value < 0.05
    assert np.allclose(dense.matrix, sparse.matrix, atol=1e-3)


@pytest.mark.slow
def test_a_thousand_tasks():
    rng = np.random.default_rng(0)
    n, d = 1010, 3
    task = np.repeat(np.arange(n), np.where(np.arange(n) < 10, 2, 6))
    X = rng.standard_normal((len(task), d))
    y = X @ np.ones(d) + rng.standard_normal(len(task))
    result = relatedness(X, y, task=task, n_permutations=49)
    assert result.p_value <= 0.04
    assert len(result.order) == 1000
    # Those with the fewest rows are not on the map.
    assert min(result.tasks[k].rows for k in result.order) == 6
    assert len(result.tasks) == 1010


# Results as text.


def test_json_goes_there_and_back():
    result = relatedness(groups_example(), n_permutations=99)
    text = result.to_json()
    assert Relatedness.from_json(text) == result
    content = json.loads(text)
    assert content["format"] == "polytask.relatedness"
    with pytest.raises(DataError, match="This is no relatedness"):
        Relatedness.from_json('{"format": "polytask.comparison"}')
    with pytest.raises(DataError, match="damaged"):
        Relatedness.from_json('{"format": "polytask.relatedness", "version": 1}')


def test_sentences_follow_the_p_value():
    result = relatedness(groups_example())
    assert result.sentence.startswith(
        "The tasks are related (test of no relation between the tasks: p ≤ 0.001)"
    )
    assert "2 groups" in result.summary()
    unrelated = dataclasses.replace(result, p_value=0.2)
    assert unrelated.sentence == (
        "The tasks could not be shown to be related "
        "(test of no relation between the tasks: p = 0.20)."
    )
    assert "groups" not in unrelated.summary()
    assert "未能证明" in unrelated.summary("zh")
    unknown = dataclasses.replace(
        result, shares=dataclasses.replace(result.shares, common=float("nan"))
    )
    assert (
        unknown.sentence
        == "The tasks are related (test of no relation between the tasks: p ≤ 0.001)."
    )


def test_table_in_notebooks_escapes_names():
    data = groups_example()
    hostile = {
        f"<b>{t}</b>": (data.X[data.task_slice(k)], data.y[data.task_slice(k)])
        for k, t in enumerate(data.tasks)
    }
    text = relatedness(hostile, n_permutations=9)._repr_html_()
    assert "<b>" not in text
    assert "&lt;b&gt;task 0" in text


# Models.


def fitted(standardize=True, **given):
    data = groups_example(**given)
    return MultiTaskRegressor(polytask.penalties.L2(alpha=0.1), standardize=standardize).fit(data)


def test_model_gives_groups_without_a_test():
    result = relatedness(fitted())
    assert result.source == "model"
    assert np.isnan(result.p_value)
    assert [len(group) for group in result.groups] == [8, 4]
    parts = dataclasses.astuple(result.shares)
    assert sum(parts) == pytest.approx(1.0)
    assert result.sentence.startswith("In this model, ")
    assert result.tasks[0].rows == 40
    assert "p =" not in result.summary()


def test_similarity_of_a_model_is_that_of_standardised_coefficients():
    scale = np.array([1e-3, 1.0, 10.0, 1.0, 1e4, 1.0])
    model = fitted(scale=scale)
    spread = model.feature_scale_
    W = model.coef_ * spread
    W /= np.linalg.norm(W, axis=1, keepdims=True)
    order = np.array(relatedness(model).order)
    assert np.allclose(relatedness(model).matrix, (W @ W.T)[np.ix_(order, order)], atol=1e-4)
    assert np.allclose(spread / scale, 1.0, atol=0.2)


def test_model_without_known_units_says_so(tmp_path):
    model = fitted(standardize=False)
    result = relatedness(model)
    assert result.units == "given"
    assert "without standardize=True" in result.summary()
    polytask.save(model, tmp_path / "m")
    assert relatedness(polytask.load(tmp_path / "m")).to_json() == result.to_json()
    polytask.save(fitted(), tmp_path / "s")
    loaded = relatedness(polytask.load(tmp_path / "s"))
    assert loaded.to_json() == relatedness(fitted()).to_json()


def test_model_of_zeros_and_of_several_classes():
    data = groups_example()
    empty = MultiTaskRegressor(polytask.penalties.L21(alpha=1e6), standardize=True)
    result = relatedness(empty.fit(data))
    assert "other than 0" in result.sentence
    rng = np.random.default_rng(0)
    X, task = rng.standard_normal((240, 3)), np.repeat(range(4), 60)
    y = np.argmax(X + 0.3 * rng.standard_normal((240, 3)), axis=1)
    model = polytask.MultiTaskClassifier(standardize=True).fit(X, y, task=task)
    result = relatedness(model)
    assert result.matrix.min() > 0.8
    assert result.shares.common > 0.8


def test_models_without_coefficients_and_data_beside_a_model_are_refused():
    from sklearn.linear_model import Ridge

    data = groups_example()
    model = Pooled(Ridge()).fit(data)
    with pytest.raises(IncompatibleError, match="Pooled has none"):
        relatedness(model)
    with pytest.raises(DataError, match="y of relatedness must be None beside a fitted model"):
        relatedness(fitted(), y=[1.0])


def test_prior_of_a_bayesian_model_names_features():
    from polytask.bayes.prior import Prior

    model = fitted()
    model.prior_ = Prior(
        mean=np.array([0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
        covariance=np.diag([1.0, 2.0]),
        varying=np.array([0, 4]),
        noise=1.0,
    )
    result = relatedness(model)
    assert result.features_shared == ("x0",)
    assert result.features_varying == ("x3",)
    assert result.features[0].spread == pytest.approx(np.sqrt(2))


# Within a comparison.


@pytest.mark.slow
def test_comparison_keeps_the_facts():
    from polytask import Comparison, compare

    data = groups_example()
    result = compare(data, models=["separate", "pooled", "near the mean"], quick=True)
    alone = relatedness(data)
    assert result.relatedness.p_value == pytest.approx(alone.p_value)
    assert result.relatedness.shares == alone.shares
    assert "\nThe tasks are related" in result.summary()
    assert Comparison.from_json(result.to_json()).relatedness == result.relatedness


def test_comparison_skips_it_where_it_makes_no_sense_or_time_is_short():
    import time

    from polytask._estimator.problem import read_outcomes
    from polytask.comparison.api import _related
    from polytask.selection.held import Study
    from polytask.task_relations import summary_of_data

    data = groups_example()
    study = Study(data, read_outcomes(data, "auto")[1])
    assert _related(study, 0, None) is not None
    assert _related(study, 0, time.monotonic() + 1e-6) is None
    words = data.with_y(np.resize(["a", "b", "c"], data.n_rows))
    assert summary_of_data(words, read_outcomes(words, "auto")[1], 0) is None


def test_a_learned_prior_of_several_classes_has_one_of_each():
    rng = np.random.default_rng(0)
    X, task = rng.standard_normal((120, 3)), np.repeat(list("abcd"), 30)
    y = np.argmax(X + rng.standard_normal((120, 3)), axis=1)
    model = polytask.BayesianMultiTaskClassifier("scalar").fit(X, y, task=task)
    found = relatedness(model)
    assert len(found.features) == 3
    assert "of the squared coefficients, " in found.summary()
    assert "is common to all tasks" in found.summary()


def test_a_feature_whose_effects_differ_most_is_listed_though_their_mean_is_0():
    rng = np.random.default_rng(3)
    effects = np.array([2.0, -1.5, 0.0]) + 0.7 * rng.standard_normal((12, 3))
    X, task = rng.standard_normal((720, 3)), np.repeat(np.arange(12), 60)
    y = (X * effects[task]).sum(axis=1) + 2 * rng.standard_normal(720)
    found = relatedness(X, y, task=task)
    assert set(found.features_shared) == {"x0", "x1"}
    assert found.features_varying == ("x2",)
    assert "more feature" not in found.summary()
    # What is not listed is counted, with the reason.
    noise = rng.standard_normal((720, 2))
    more = relatedness(np.hstack([X, noise]), y, task=task)
    rest = more.n_features - len(more.features)
    assert rest > 0
    said = "not listed: their effects are smaller or cannot be told from noise."
    assert said in more.summary().replace("its effects are", "their effects are")
