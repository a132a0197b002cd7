"""Bad input ends in a sentence that says what to do; odd but valid input works."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from polytask import (
    DataError,
    DataWarning,
    IncompatibleError,
    MultiTaskClassifier,
    MultiTaskModel,
    MultiTaskRegressor,
    ParameterError,
    TaskData,
)
from polytask.penalties import L1, L2, L21

N = 60
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 3))
Y = X @ [1.0, -1.0, 0.5] + 0.3 * RNG.normal(size=N)
TASK = np.repeat(["a", "b", "c"], 20)
LABELS = np.where(Y > 0, "p", "q")
TABLE = pd.DataFrame(X, columns=["age", "size", "dose"]).assign(school=TASK)
FEATURES = TABLE.drop(columns="school")
NUMBERED = np.repeat([7, 8, 9], 20)

SCHOOL = {"task_column": "school"}


def put(array, value, *place):
    changed = array.copy()
    changed[place] = value
    return changed


regressor = MultiTaskRegressor
# What is called, and what must stand in the sentence of the DataError.
FIT = {
    "no rows": (lambda: regressor(**SCHOOL).fit(TABLE[:0], Y[:0]), r"0 sample\(s\)"),
    "no columns": (lambda: regressor().fit(TABLE[[]], Y), r"0 feature\(s\)"),
    "only the task": (lambda: regressor(**SCHOOL).fit(TABLE[["school"]], Y), r"0 feature\(s\)"),
    "no such column": (
        lambda: regressor(task_column="scool").fit(TABLE, Y),
        "no column 'scool'. Did you mean 'school'?",
    ),
    "no such position": (lambda: regressor(task_column=7).fit(X, Y), "got 7, .* 3 usable columns"),
    "a name for an array": (lambda: regressor(**SCHOOL).fit(X, Y), "'school', but X is ndarray"),
    "NaN in an array": (
        lambda: regressor().fit(put(X, np.nan, 3, 1), Y, TASK),
        r"NaN \(row 3, column 1; .*TableEncoder",
    ),
    "inf in an array": (
        lambda: regressor().fit(put(X, np.inf, 3, 1), Y, TASK),
        r"infinity \(inf\) \(row 3, column 1",
    ),
    "inf in a sparse X": (
        lambda: regressor().fit(sp.csr_array(put(X, np.inf, 3, 1)), Y, TASK),
        r"infinity \(inf\) \(row 3, column 1",
    ),
    "inf in a table": (
        lambda: regressor().fit(FEATURES.replace(X[3, 1], -np.inf), Y, TASK),
        r"infinity \(inf\) in column 'size', 1 row \(3\)",
    ),
    "NaN in y": (
        lambda: regressor().fit(X, put(Y, np.nan, 5), TASK),
        r"NaN or None in 1 row \(5\)",
    ),
    "inf in y": (lambda: regressor().fit(X, put(Y, np.inf, 5), TASK), r"infinity in 1 row \(5\)"),
    "NaN in one task": (
        lambda: regressor().fit({"a": (X, Y), "b": (X, put(Y, np.nan, 5))}),
        r"y of task 'b' .* NaN or None in 1 row \(5\)",
    ),
    "a gap in labels": (
        lambda: MultiTaskClassifier().fit(X, np.where(Y > 1, None, LABELS), TASK),
        "NaN or None in",
    ),
    "a target without labels": (
        lambda: regressor().fit(X, np.column_stack([Y, np.full(N, np.nan)])),
        "no label at all in target 1",
    ),
    "text for numbers": (
        lambda: regressor().fit(X, LABELS, TASK),
        r"numbers; got 'p' \(row 0, counting from 0\). For labels use MultiTaskClassifier",
    ),
    "numbers as text": (lambda: regressor().fit(X, Y.astype(str), TASK), "must be numbers; got '"),
    "text in a target": (
        lambda: regressor().fit(X, pd.DataFrame({"a": Y, "b": LABELS})),
        "must be numbers; got 'p'",
    ),
    "numbers for classes": (
        lambda: MultiTaskClassifier().fit(X, Y, TASK),
        "continuous.*Use a regressor",
    ),
    "one class": (
        lambda: MultiTaskClassifier().fit(X, ["a"] * N, TASK),
        r"one class only: \['a'\]",
    ),
    "y too short": (lambda: regressor().fit(X, Y[1:], TASK), r"60 rows\); got 59 rows"),
    "task too short": (lambda: regressor().fit(X, Y, TASK[1:]), "task .* got 59 rows"),
    "weights too short": (lambda: regressor().fit(X, Y, TASK, [1.0, 2.0]), "weight .* got 2 rows"),
    "negative weights": (lambda: regressor().fit(X, Y, TASK, -np.ones(N)), "got -1.0 in 60 rows"),
    "no weight": (lambda: regressor().fit(X, Y, TASK, np.zeros(N)), "zero for every row"),
    "2-D y and tasks": (
        lambda: regressor().fit(X, np.column_stack([Y, Y]), TASK),
        "must be 1-D when tasks are given by task;",
    ),
    "2-D y and a task column": (
        lambda: regressor(task_column=0).fit(X, np.column_stack([Y, Y])),
        "must be 1-D when tasks are given by task_column;",
    ),
    "tasks twice": (
        lambda: regressor(**SCHOOL).fit(TABLE, Y, TASK),
        "twice: task_column='school'",
    ),
    "a mapping and y": (lambda: regressor().fit({"a": (X, Y)}, Y), "None when X is a mapping"),
    "a mapping without y": (
        lambda: regressor().fit({"a": X}),
        r"mapping of each task to \(X, y\)",
    ),
    "an empty mapping": (lambda: regressor().fit({}), "one entry per task; got an empty one"),
    "tables that share nothing": (
        lambda: regressor().fit({"a": (TABLE[["age"]], Y), "b": (TABLE[["size"]], Y)}),
        "no shared column among 'age', 'size'",
    ),
    "dates": (
        lambda: regressor(**SCHOOL).fit(TABLE.assign(day=pd.Timestamp("2020-01-01")), Y),
        "'day' holds dates .*date_features=True.*X.drop\\(columns=\\['day'\\]\\)",
    ),
    "labels with gaps": (
        lambda: regressor().fit(X, Y, np.where(Y > 1, np.nan, NUMBERED)),
        "a label in every row; got no label in",
    ),
    "huge X": (
        lambda: regressor().fit(put(X, 1e300, 3, 1), Y, TASK),
        "of size up to .* got 1e\\+300",
    ),
    "huge negative X": (lambda: regressor().fit(put(X, -1e300, 3, 1), Y, TASK), "got 1e\\+300"),
    "huge sparse X": (
        lambda: MultiTaskClassifier().fit(sp.csr_array(put(X, 1e300, 3, 1)), LABELS, TASK),
        "got 1e\\+300",
    ),
    "huge y": (lambda: regressor().fit(X, put(Y, 1e300, 3), TASK), "y of .* of size up to"),
    "huge float32": (
        lambda: regressor().fit(put(X, 1e30, 3, 1).astype(np.float32), Y, TASK),
        "in float32.* got 1e\\+30",
    ),
    "a ragged X": (
        lambda: regressor().fit([[1, 2], [3]], [1, 2]),
        "rows that do not form a matrix",
    ),
    "a ragged y": (lambda: regressor().fit(X[:2], [[1, 2], [3]]), "must be an array"),
    "columns of one name": (
        lambda: regressor().fit(pd.DataFrame(X, columns=["a", "a", "b"]), Y),
        "columns of different names",
    ),
}


@pytest.mark.parametrize("case", FIT)
def test_fit_refuses(case):
    call, words = FIT[case]
    with pytest.raises(DataError, match=words):
        call()


@pytest.fixture(scope="module")
def long():
    return MultiTaskRegressor().fit(X, Y, TASK)


@pytest.fixture(scope="module")
def by_name():
    return MultiTaskRegressor(task_column="school").fit(TABLE, Y)


def test_predict_needs_the_tasks(long):
    for X_new in (X, X[:1]):
        with pytest.raises(DataError, match=r"fitted on 3 tasks and needs .* task of every row"):
            long.predict(X_new)
    with pytest.raises(DataError, match="needs to know the task of every row"):
        long.score(X, Y)


def test_predict_refuses_another_number_of_columns(long):
    for X_new in (X[:, :2], sp.csr_array(X[:, :2]), FEATURES[["age", "size"]]):
        with pytest.raises(DataError, match=r"X has 2 features, but .* expecting 3 features"):
            long.predict(X_new, TASK)
        with pytest.raises(DataError, match="X has 2 features"):
            long.score(X_new, Y, TASK)
    with pytest.raises(DataError, match="X has 2 features"):
        long.predict({"a": X[:, :2]})
    with pytest.raises(DataError, match="X has 2 features"):
        long.predict(TaskData.from_long(X[:, :2], None, TASK))


def test_columns_are_matched_by_name(by_name):
    expected = by_name.predict(TABLE)
    turned = TABLE[["school", "dose", "size", "age"]].assign(more=1)
    assert_array_equal(by_name.predict(turned), expected)
    assert by_name.score(turned, Y) == by_name.score(TABLE, Y)
    with pytest.raises(DataError, match=r"lacks 1 column.*'size'. Did you mean 'sizes'?"):
        by_name.predict(TABLE.rename(columns={"size": "sizes"}))
    with pytest.raises(DataError, match=r"lacks 1 column.*'school'"):
        by_name.predict(FEATURES)


def test_arrays_and_tables_are_not_confused(long):
    named = MultiTaskRegressor().fit(FEATURES, Y, TASK)
    assert_array_equal(named.predict(X, TASK), named.predict(FEATURES, TASK))
    assert named.score(X, Y, TASK) == named.score(FEATURES, Y, TASK)
    with pytest.raises(DataError, match=r"a table with 3 columns \(.*an array must have as many"):
        named.predict(X[:, :2], TASK)
    with pytest.raises(DataError, match=r"was fitted on a table: .*dense array"):
        named.predict(sp.csr_array(X), TASK)
    with pytest.raises(DataError, match=r"fitted on an array; .* numeric columns only"):
        long.predict(TABLE.drop(columns="dose"), TASK)
    assert_allclose(long.predict(FEATURES, TASK), long.predict(X, TASK))


def test_an_unseen_task_is_named(long):
    with pytest.raises(DataError, match=r"1 unseen label \('d'\) in 2 rows \(1, 4\)"):
        long.predict(X[:5], ["a", "d", "b", "c", "d"])
    with pytest.raises(DataError, match="unseen label"):
        long.predict({"d": X})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("7", r"'7' \(str\): the model knows 7 \(int\)"),
        ("07", r"'07' \(str\): the model knows 7 \(int\)"),
        (" 7", r"' 7' \(str\): the model knows 7 \(int\)"),
        (np.nan, "no label in 60 rows"),
        (None, "no label in 60 rows"),
    ],
)
def test_labels_that_look_alike(given, words):
    model = MultiTaskRegressor().fit(X, Y, NUMBERED)
    with pytest.raises(DataError, match=words):
        model.predict(X, [given] * N)
    with pytest.raises(DataError, match=r"7 \(int\): the model knows '7' \(str\)"):
        MultiTaskRegressor().fit(X, Y, NUMBERED.astype(str)).predict(X, [7] * N)


def test_a_whole_float_is_its_integer():
    model = MultiTaskRegressor().fit(X, Y, NUMBERED)
    assert_array_equal(model.predict(X, NUMBERED.astype(float)), model.predict(X, NUMBERED))
    assert model.tasks_.dtype.kind == "i"


def test_labels_that_look_alike_in_fit_are_kept_apart():
    with pytest.warns(DataWarning, match=r"look alike .* 7 \(int\) and '7' \(str\)"):
        model = MultiTaskRegressor().fit(X, Y, [7] * 30 + ["7"] * 30)
    assert model.tasks_.tolist() == [7, "7"]


def test_a_text_column_that_looks_like_the_task():
    with pytest.warns(
        DataWarning, match=r"Column 'school' has 3 distinct .* task_column='school'"
    ):
        MultiTaskRegressor().fit(TABLE, Y)


def test_ten_thousand_levels():
    many = pd.concat([TABLE] * 200).assign(id=[f"u{i % 10_000}" for i in range(12_000)])
    model = MultiTaskRegressor(task_column="school")
    with pytest.warns(DataWarning, match="'id' has 10,000 different values"):
        model.fit(many, np.tile(Y, 200))
    assert model.coef_.shape[1] < 50


# Parameters: what is refused for every one of them.
NONSENSE = [object(), "nonsense", -1, np.nan, [1, 2], np.array([1, 2]), {"q": 1}, (), np.inf]
# But -1 means all cores and the last column, and a mapping may weigh one class.
SENSE = {("n_jobs", 2), ("task_column", 2), ("class_weight", 6)}


@pytest.mark.parametrize("kind", [MultiTaskRegressor, MultiTaskClassifier, MultiTaskModel])
@pytest.mark.parametrize("which", range(len(NONSENSE)))
def test_parameters_of_a_wrong_kind(kind, which):
    y = Y if kind is MultiTaskRegressor else LABELS
    for name in kind().get_params(deep=False):
        if (name, which) in SENSE:
            continue
        with pytest.raises((ParameterError, DataError), match=name.split("_")[0]):
            kind(**{name: NONSENSE[which]}).fit(X, y, None if name == "task_column" else TASK)


@pytest.mark.parametrize("alpha", [-1, np.nan, np.inf, "1", None])
def test_a_strength_of_a_wrong_kind(alpha):
    if alpha is None:
        assert L21(None).get_params() == {"alpha": None, "fraction": None, "radius": None}
        return
    with pytest.raises(ParameterError, match="alpha of L21 must be a finite number >= 0; got"):
        L21(alpha)
    with pytest.raises(ParameterError, match="alpha of L21 must be a finite number >= 0; got"):
        MultiTaskRegressor(L21(1.0)).set_params(penalty__alpha=alpha)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: MultiTaskRegressor(loss="sqared").fit(X, Y), "Did you mean 'squared'?"),
        (lambda: MultiTaskModel(loss={"x": "squared"}).fit(X, Y, TASK), "('a', 'b', 'c'.*got 'x'"),
        (lambda: MultiTaskModel(loss={"a": "squared"}).fit(X, Y, TASK), "none for 'b'"),
        (
            lambda: MultiTaskRegressor(task_weight={"a": 1, "b": 1}).fit(X, Y, TASK),
            "given for every task; got none for 'c'",
        ),
        (
            lambda: MultiTaskRegressor(task_weight={"a": 1, "b": 1, "c": 1, "d": 1}).fit(
                X, Y, TASK
            ),
            r"a mapping of the tasks .*; got 'd'",
        ),
        (lambda: MultiTaskRegressor(task_weight=[0, 0, 0]).fit(X, Y, TASK), "not all zero"),
        (lambda: MultiTaskClassifier(class_weight={"r": 1}).fit(X, LABELS, TASK), "got 'r'"),
        (
            lambda: MultiTaskClassifier(class_weight={"p": 0, "q": 0}).fit(X, LABELS, TASK),
            "above zero for a class",
        ),
        (lambda: MultiTaskClassifier(class_weight="even").fit(X, LABELS, TASK), "'balanced'"),
    ],
)
def test_parameters_that_do_not_fit_the_data(call, words):
    with pytest.raises(ParameterError, match=words.replace("('a'", r"\('a'")):
        call()


def test_a_loss_of_the_wrong_kind():
    with pytest.raises(IncompatibleError, match="for classes: use MultiTaskClassifier"):
        MultiTaskRegressor(loss="logistic").fit(X, Y)
    with pytest.raises(IncompatibleError, match="for numbers: use MultiTaskRegressor"):
        MultiTaskClassifier(loss="squared").fit(X, LABELS)
    several = np.digitize(Y, [-1, 0, 1])
    with pytest.raises(IncompatibleError, match=r"y has 4. Use loss='multinomial' or 'auto'"):
        MultiTaskClassifier(loss="logistic").fit(X, several, TASK)
    with pytest.raises(IncompatibleError, match="task 'a' is for two classes"):
        MultiTaskModel(loss="logistic").fit(X, several, TASK)


def test_scores_refuse_targets_that_are_not_the_models(long):
    wide = MultiTaskRegressor().fit(X, np.column_stack([Y, -Y]))
    with pytest.raises(DataError, match="must be 2-D with a column for each of the 2 tasks"):
        wide.score(X, Y)
    with pytest.raises(DataError, match=r"for each of the 2 tasks; got shape \(60, 3\)"):
        wide.score(X, np.column_stack([Y, Y, Y]))
    with pytest.raises(DataError, match="a column for each task of the model; got 0"):
        long.score(X, np.column_stack([Y, Y]))
    model = MultiTaskModel().fit(X, LABELS, TASK)
    with pytest.raises(DataError, match=r"must hold classes seen in fit .* got 'z'"):
        model.score(X, np.where(Y > 1, "z", LABELS), TASK)


def test_a_target_without_labels_is_left_out_of_the_score():
    names = pd.DataFrame({"up": Y, "down": -Y})
    model = MultiTaskRegressor().fit(X, names)
    assert model.task_scores(X, names.assign(down=np.nan)).undefined == 1
    assert model.score(X, names[["down"]]) == pytest.approx(model.task_scores(X, names).values[1])
    assert model.score(X, names[["down", "up"]]) == model.score(X, names)
    plain = MultiTaskRegressor().fit(X, names.to_numpy())
    gap = names.assign(up=np.nan).to_numpy()
    assert plain.score(X, gap) == pytest.approx(plain.task_scores(X, names.to_numpy()).values[1])


@pytest.mark.parametrize("settings", [{}, {"standardize": True, "scale_targets": "task"}])
def test_tasks_of_one_row(settings):
    model = MultiTaskRegressor(L2(0.1), **settings).fit(X, Y, np.arange(N))
    assert np.isfinite(model.predict(X, np.arange(N))).all()
    assert np.isfinite(MultiTaskRegressor().fit(X[:1], Y[:1]).coef_).all()
    one = MultiTaskClassifier().fit(X, LABELS, np.arange(N))
    assert np.isfinite(one.coef_).all()


def test_more_features_than_rows():
    wide = np.random.default_rng(1).normal(size=(6, 40))
    for penalty in (None, L2(0.1), L1(0.01)):
        model = MultiTaskRegressor(penalty).fit(wide, Y[:6], ["a", "a", "a", "b", "b", "b"])
        assert model.coef_.shape == (2, 40)
        assert np.isfinite(model.coef_).all()


def test_targets_without_noise_or_without_spread():
    exact = X @ [1.0, 2.0, 3.0]
    model = MultiTaskRegressor(L2(1e-10)).fit(X, exact, TASK)
    assert_allclose(model.coef_, np.tile([1.0, 2.0, 3.0], (3, 1)), atol=1e-6)
    for constant in (0.0, 5.0):
        flat = MultiTaskRegressor().fit(X, np.full(N, constant), TASK)
        assert not flat.coef_.any()
        assert_allclose(flat.intercept_, constant)
    assert MultiTaskRegressor().fit(0 * X, Y, TASK).solution_.status.ok


def test_large_and_small_units():
    plain = MultiTaskRegressor(tol=1e-10).fit(X, Y, TASK)
    large = MultiTaskRegressor(tol=1e-10).fit(X, 1e60 * Y, TASK)
    assert_allclose(large.coef_ / 1e60, plain.coef_, atol=1e-6)
    small = MultiTaskRegressor(tol=1e-10, standardize=True).fit(X * 1e-60, Y, TASK)
    assert np.isfinite(small.coef_).all()
