"""Graphs of ONNX say what `predict` and `predict_proba` say, for every model and form of data."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import polytask as pt
from polytask.baselines import Joint
from polytask.exceptions import DataWarning, IncompatibleError, ParameterError
from polytask.export import onnx_inputs, to_onnx
from polytask.penalties import L2, TraceNorm, toward_mean
from polytask.selection.shared_base import SharedBase

pytest.importorskip("onnx", reason='exports need onnx: pip install "polytask[onnx]"')
ort = pytest.importorskip("onnxruntime", reason="graphs are run by onnxruntime")

CLOSE = 1e-5
N = 240


def run(model, X, task=None, **options):
    graph = to_onnx(model, **options)
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, onnx_inputs(model, X, task)), strict=True))


def said(model, X, task):
    """Return predictions and probabilities, the parts of a mapping below each other."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        found = [model.predict(X, task=task)]
        if hasattr(model, "predict_proba"):
            found.append(model.predict_proba(X, task=task))
    return [np.concatenate([*f.values()]) if isinstance(f, dict) else f for f in found]


def agree(model, X, task=None):
    """Check a graph against the model itself, and return what it says."""
    prediction, *rest = said(model, X, task)
    found = run(model, X, task)
    if "prediction" in found:
        same(found["prediction"], prediction)
    else:
        for t, label in enumerate(model.tasks_.tolist()):
            same(found[f"prediction_{label}"], prediction[:, t])
    for values in rest:
        if not isinstance(values, list):
            np.testing.assert_allclose(found["probabilities"], values, rtol=0, atol=CLOSE)
            continue
        for label, own in zip(model.tasks_.tolist(), values, strict=True):
            if own is not None:
                same(found[f"probabilities_{label}"], own)
    return found


def same(got, wanted):
    wanted = np.asarray(wanted)
    if wanted.dtype.kind == "O" and not isinstance(wanted.ravel()[0], str):
        wanted = wanted.astype(got.dtype)
    assert got.shape == wanted.shape
    if wanted.dtype.kind in "OUSb":
        assert (got == wanted).all()
    else:
        np.testing.assert_allclose(got, wanted, rtol=CLOSE, atol=CLOSE)


@pytest.fixture(scope="module")
def made():
    """Return rows of three unequal tasks: features, task, and targets of several kinds."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, 4))
    task = np.array(["north", "süd", "west"])[np.minimum(rng.integers(0, 5, N), 2)]
    shift = pd.Series({"north": 2.0, "süd": -1.0, "west": 0.0})[task].to_numpy()
    y = X @ [1.0, -2.0, 0.5, 0.0] + X[:, 0] * X[:, 1] + shift + 0.5 * rng.standard_normal(N)
    kind = np.array(["calm", "ill", "well"])[np.digitize(y + rng.standard_normal(N), [-1, 1])]
    return {
        "X": X,
        "task": task,
        "number": y,
        "count": rng.poisson(np.exp(0.3 * y)).astype(float),
        "pair": np.where(y + rng.standard_normal(N) > 0, "yes", "no"),
        "class": kind,
    }


@pytest.fixture(scope="module")
def table(made):
    """Return the same rows as a table with gaps, levels and flags."""
    rng = np.random.default_rng(1)
    # Older versions of pandas would write the gaps into the array.
    frame = pd.DataFrame(made["X"].copy(), columns=["age", "height", "dose", "v1"])
    frame.loc[::9, "age"] = np.nan
    frame["colour"] = rng.choice(["red", "blue", "grün", None], N, p=[0.4, 0.3, 0.2, 0.1])
    frame["flag"] = rng.random(N) > 0.4
    frame["place"] = rng.choice([f"town {k}" for k in range(40)], N)
    frame["region"] = made["task"]
    return frame


def new_rows(table):
    """Return rows with what was not in training: levels, gaps, blanks."""
    rows = table.head(60).copy()
    rows.loc[3, "colour"], rows.loc[4, "colour"], rows.loc[5, "place"] = "violet", "  ", "?"
    rows.loc[6, "height"], rows.loc[7, "place"] = np.nan, None
    rows["flag"] = rows["flag"].astype(object)
    rows.loc[8, "flag"] = None
    return rows


NUMBERS = {
    "penalised": lambda: pt.MultiTaskRegressor(TraceNorm(0.01)),
    "searched": lambda: pt.MultiTaskRegressorCV(alphas=5, cv=2),
    "huber": lambda: pt.MultiTaskRegressor(loss="huber"),
    "learned": pt.BayesianMultiTaskRegressor,
    "pooled": lambda: pt.Pooled(make_pipeline(StandardScaler(), Ridge()), "none"),
    "centred": lambda: pt.Pooled(make_pipeline(StandardScaler(), Ridge()), "intercept"),
    "indicators": lambda: pt.Pooled(Ridge(), "category"),
    "separate": lambda: pt.SingleTask(make_pipeline(StandardScaler(), Ridge())),
    "boosted": lambda: pt.Pooled(HistGradientBoostingRegressor(max_iter=20), "category"),
    "boosted apart": lambda: pt.SingleTask(HistGradientBoostingRegressor(max_iter=9)),
    "forest": lambda: pt.Pooled(RandomForestRegressor(9, random_state=0), "category"),
    "forests": lambda: pt.SingleTask(RandomForestRegressor(7, random_state=0)),
    "corrected": lambda: SharedBase(HistGradientBoostingRegressor(max_iter=9), cv=2),
}
CLASSES = {
    "penalised": lambda: pt.MultiTaskClassifier(toward_mean(0.1) + L2(0.01)),
    "learned": lambda: pt.BayesianMultiTaskClassifier("scalar"),
    "pooled": lambda: pt.Pooled(make_pipeline(StandardScaler(), LogisticRegression()), "category"),
    "intercepts": lambda: pt.Pooled(LogisticRegression(), "intercept"),
    "separate": lambda: pt.SingleTask(LogisticRegression()),
    "boosted": lambda: pt.Pooled(HistGradientBoostingClassifier(max_iter=9), "category"),
    "boosted apart": lambda: pt.SingleTask(HistGradientBoostingClassifier(max_iter=5)),
    "forest": lambda: pt.Pooled(RandomForestClassifier(9, random_state=0), "category"),
    "trees apart": lambda: pt.SingleTask(ExtraTreesClassifier(5, random_state=0)),
    "corrected": lambda: SharedBase(HistGradientBoostingClassifier(max_iter=5), cv=2),
}


def fitted(model, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(*args, **kwargs)


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_of_tasks_and_of_a_target_matrix(name, made):
    X, y, task = made["X"], made["number"], made["task"]
    agree(fitted(NUMBERS[name](), X, y, task=task), X, task)
    Y = np.column_stack([y, 3 * y[::-1], made["count"]])
    Y[::5, 1] = np.nan
    agree(fitted(NUMBERS[name](), X, Y), X[:50])


@pytest.mark.parametrize("target", ["pair", "class"])
@pytest.mark.parametrize("name", CLASSES)
def test_classes_of_tasks_and_of_a_target_matrix(name, target, made):
    X, y, task = made["X"], made[target], made["task"]
    agree(fitted(CLASSES[name](), X, y, task=task), X, task)
    Y = np.column_stack([y, y[::-1]])
    agree(fitted(CLASSES[name](), X, Y), X[:50])


@pytest.mark.parametrize("name", ["penalised", "learned", "centred", "boosted", "forests"])
def test_tables_with_gaps_new_levels_and_frames_of_tasks(name, made, table):
    model = NUMBERS[name]().set_params(task_column="region")
    model = fitted(model, table, made["number"])
    agree(model, new_rows(table))
    frames = {t: own.drop(columns="region") for t, own in table.groupby("region")}
    frames["west"] = frames["west"].drop(columns="dose")
    parts = {t: (own, made["number"][own.index]) for t, own in frames.items()}
    agree(fitted(NUMBERS[name](), parts), {t: own.head(9) for t, own in frames.items()})


@pytest.mark.parametrize("target", ["number", "pair", "class"])
def test_combinations(target, made):
    names = ["pooled + intercepts", "separate", "boosting pooled"]
    names += ["learned prior", "near the mean"] if target == "number" else []
    X, y, task = made["X"], made[target], made["task"]
    Auto = pt.AutoMultiTaskRegressor if target == "number" else pt.AutoMultiTaskClassifier
    model = fitted(Auto(names, cv=2, unseen_tasks="error"), X, y, task=task)
    # Every member has a say, more for some tasks than for others.
    rng = np.random.default_rng(0)
    for name in ("task_weights_", "shared_weights_"):
        draws = rng.random(np.shape(getattr(model, name)))
        setattr(model, name, draws / draws.sum(axis=-1, keepdims=True))
    agree(model, X, task)


def test_calibrated_probabilities_and_members_without_weight(made):
    from polytask.selection.auto.calibration import Calibration

    X, y, task = made["X"], made["class"], made["task"]
    model = fitted(pt.AutoMultiTaskClassifier(["pooled"], cv=2), X, y, task=task)
    model.calibrations_ = dict.fromkeys(model.members_, Calibration(1.7, 0.4))
    agree(model, X, task)
    Y = np.column_stack([y, made["pair"]])
    model = fitted(pt.AutoMultiTaskClassifier(["separate"], cv=2), X, Y)
    model.calibrations_ = dict.fromkeys(model.members_, Calibration(0.6, -0.3))
    agree(model, X)


@pytest.mark.slow
def test_trees_with_a_learned_prior(made):
    pytest.importorskip("lightgbm")
    from polytask.boosting import MixedBoostingClassifier, MixedBoostingRegressor

    X, task = made["X"], made["task"]
    settings = {"learning_rate": 0.3, "cv": None, "max_iter": 6, "varying": [0, 1]}
    for given, target in (
        (MixedBoostingRegressor(**settings), "number"),
        (MixedBoostingRegressor(loss="poisson", **settings), "count"),
        (MixedBoostingClassifier(**settings), "pair"),
        (MixedBoostingClassifier(**settings), "class"),
    ):
        model = fitted(given, X, made[target], task=task)
        assert model.n_iter_ > 0
        mixed_tasks = np.where(np.arange(N) % 11 == 0, "new", task)
        agree(model.set_params(unseen_tasks="shared"), X, mixed_tasks)


def test_lightgbm_with_gaps_and_many_tasks_as_categories(made):
    pytest.importorskip("lightgbm")
    from polytask.boosting.plain import TreeClassifier, TreeRegressor

    X, rng = made["X"].copy(), np.random.default_rng(0)
    task = rng.integers(0, 40, N)
    y = made["number"] + np.sin(7.0 * task)
    for learner in (TreeRegressor(), HistGradientBoostingRegressor(min_samples_leaf=2)):
        model = pt.Pooled(learner, "category", unseen_tasks="shared").fit(X, y, task=task)
        # A category that is not known, and one that is missing.
        agree(model, X, np.where(task == 3, 99, task))
    agree(
        pt.Pooled(TreeRegressor("poisson"), "category").fit(X, made["count"], task=task), X, task
    )
    for labels in (y > np.median(y), np.digitize(y, np.quantile(y, [0.3, 0.6]))):
        agree(pt.Pooled(TreeClassifier(), "category").fit(X, labels, task=task), X, task)


def test_a_forest_of_all_targets(made):
    X = made["X"]
    Y = np.column_stack([made["number"], made["count"]])
    agree(Joint(RandomForestRegressor(5, random_state=0)).fit(X, Y), X)
    Y = np.column_stack([made["pair"], made["class"]])
    agree(Joint(RandomForestClassifier(5, random_state=0)).fit(X, Y), X)


def test_tasks_that_were_not_seen(made):
    X, y, task = made["X"], made["number"], made["task"]
    strange = np.where(np.arange(N) % 7 == 0, "east", task)
    for model in (
        pt.MultiTaskRegressor(unseen_tasks="shared"),
        pt.BayesianMultiTaskRegressor(),
        pt.Pooled(Ridge(), "intercept", unseen_tasks="shared"),
        pt.Pooled(HistGradientBoostingRegressor(max_iter=5), "category", unseen_tasks="shared"),
    ):
        agree(fitted(model, X, y, task=task), X, strange)
    agree(fitted(pt.BayesianMultiTaskClassifier(), X, made["class"], task=task), X, strange)
    model = fitted(pt.MultiTaskRegressor(), X, y, task=task)
    with pytest.raises(Exception, match="not seen in training, and unseen_tasks of MultiTaskReg"):
        run(model, X, strange)


def test_tasks_without_rows_end_the_run_and_others_do_not(made):
    X, y, task = made["X"], made["number"], made["task"]
    weight = (task != "west").astype(float)
    model = fitted(pt.SingleTask(Ridge()), X, y, task=task, sample_weight=weight)
    agree(model, X[task != "west"], task[task != "west"])
    with pytest.raises(Exception, match="had no rows in training"):
        run(model, X, task)


@pytest.mark.parametrize("labels", [[3, 1, 12], [True, False], [1.5, 2.0, -1.0]])
def test_labels_of_tasks_of_any_type(labels, made):
    task = np.array(labels)[np.arange(N) % len(labels)]
    model = fitted(pt.MultiTaskRegressor(), made["X"], made["number"], task=task)
    agree(model, made["X"], task)


def test_intervals_are_those_of_the_learned_prior(made, table):
    X, y, task = made["X"], made["number"], made["task"]
    wide = np.random.default_rng(2).standard_normal((N, 300))
    strange = np.where(np.arange(N) % 7 == 0, "east", task)
    for rows in (X, wide):
        model = fitted(pt.BayesianMultiTaskRegressor(noise="task"), rows, y, task=task)
        found = run(model, rows, strange, interval=0.8)
        for name, bound in zip(
            ("lower", "upper"), model.predict_interval(rows, strange, level=0.8), strict=True
        ):
            same(found[name], bound)
    frames = {t: own.drop(columns="region") for t, own in table.groupby("region")}
    frames["west"] = frames["west"].drop(columns="dose")
    model = pt.BayesianMultiTaskRegressor()
    model = fitted(model, {t: (own, y[own.index]) for t, own in frames.items()})
    lower = model.predict_interval(frames, level=0.9)[0]
    same(run(model, frames, interval=0.9)["lower"], np.concatenate([*lower.values()]))


@pytest.mark.parametrize("form", ["rows of tasks", "targets"])
def test_intervals_of_searches_are_those_of_what_they_held_out(form, made):
    X, y, task = made["X"], made["number"], made["task"]
    if form == "targets":
        given, rows = (X, np.column_stack([y, 50 * y**2])), (X,)
    else:
        given, rows = (X, y, task), (X, np.where(np.arange(N) % 7 == 0, "east", task))
    model = pt.MultiTaskRegressorCV(alphas=3, cv=3)
    model = fitted(model.set_params(unseen_tasks="error" if len(rows) == 1 else "shared"), *given)
    assert np.isfinite(same_ends(model, *rows, level=0.5)).all()


def same_ends(model, *rows, level):
    found = run(model, *rows, interval=level)
    bounds = model.predict_interval(*rows, level=level)
    for name, bound in zip(("lower", "upper"), bounds, strict=True):
        same(found[name], bound)
    return bounds


def test_intervals_of_calibrate_hold_the_models_of_all_folds(made, table):
    X, y, task = made["X"], made["number"], made["task"]
    few = (task != "west") | (np.arange(N) == np.flatnonzero(task == "west")[0])
    weight = np.random.default_rng(4).exponential(size=N)

    def calibrated(model, *given, **named):
        return pt.calibrate(fitted(model, *given, **named), *given, **named)

    # A task that is not among the training rows of a fold, one that no model has seen.
    model = calibrated(pt.MultiTaskRegressor(), X[few], y[few], task=task[few])
    assert np.isfinite(same_ends(model, X[few], task[few], level=0.8)).all()
    assert np.isinf(same_ends(model, X[few], task[few], level=0.999)).all()
    model = calibrated(pt.BayesianMultiTaskRegressor(), X, y, task=task, sample_weight=weight)
    same_ends(model, X, np.where(np.arange(N) % 7 == 0, "east", task), level=0.6)
    trees = pt.Pooled(HistGradientBoostingRegressor(max_iter=5), "category")
    table = table.drop(columns="place")
    same_ends(calibrated(trees.set_params(task_column="region"), table, y), table, level=0.9)
    for counts in (pt.MultiTaskRegressor(loss="poisson"), pt.Pooled(PoissonRegressor())):
        same_ends(calibrated(counts, X, made["count"], task=task), X, task, level=0.9)
    Y = pd.DataFrame({name: made[name] for name in ("number", "count", "pair")})
    losses = {"number": "squared", "count": "poisson", "pair": "logistic"}
    same_ends(calibrated(pt.MultiTaskModel(loss=losses), X, Y), X, level=0.9)


def test_several_groupings_have_an_input_each(made, table):
    X, week = made["X"], np.tile([7, 3, 11, 2], N // 4)
    y, week[0] = made["number"] + week, 99
    levels = pd.DataFrame({"region": made["task"], "week": week})
    strange = levels.copy()
    strange.loc[3:5, "week"], strange.loc[5, "region"] = 1234, "east"
    model = fitted(pt.BayesianMultiTaskRegressor("scalar"), X, y, task=levels)
    agree(model, X, strange)
    # The only row of a week is held out by a fold, which does not know that week.
    same_ends(pt.calibrate(model, X, y, task=levels), X, strange, level=0.5)
    rows = table.drop(columns="place").assign(week=week)
    model = pt.BayesianMultiTaskRegressor("scalar", task_column=["region", "week"])
    agree(fitted(model, rows, y), rows.assign(height=rows["height"].where(week > 3)))
    inside = np.column_stack([week, X, np.arange(N) % 3])
    model = pt.BayesianMultiTaskRegressor("scalar", task_column=[-1, 0])
    agree(fitted(model, inside, y), inside)


@pytest.mark.slow
def test_trees_of_several_groupings(made):
    pytest.importorskip("lightgbm")
    from polytask.boosting import MixedBoostingRegressor

    levels = np.column_stack([np.arange(N) % 5, np.arange(N) // 30])
    model = MixedBoostingRegressor(cv=None, max_iter=5, learning_rate=0.3, varying=[1])
    agree(fitted(model, made["X"], made["number"], task=levels), made["X"], levels)


def test_counts_and_tasks_of_several_kinds(made):
    X, task = made["X"], made["task"]
    agree(fitted(pt.MultiTaskRegressor(loss="poisson"), X, made["count"], task=task), X, task)
    agree(pt.Pooled(PoissonRegressor(), "intercept").fit(X, made["count"], task=task), X, task)
    agree(pt.MultiTaskClassifier(loss="squared_hinge").fit(X, made["pair"], task=task), X, task)
    Y = pd.DataFrame({name: made[name] for name in ("number", "count", "pair", "class")})
    losses = {"number": "squared", "count": "poisson", "pair": "logistic", "class": "multinomial"}
    for given in (
        pt.MultiTaskModel(loss=losses),
        pt.BayesianMultiTaskModel(loss={**losses, "class": "logistic"}),
    ):
        chosen = Y if isinstance(given, pt.MultiTaskModel) else Y.assign(**{"class": Y["pair"]})
        model = fitted(given, pd.DataFrame(X, columns=list("abcd")), chosen)
        agree(model, pd.DataFrame(X, columns=list("abcd")))


NETWORKS = {
    "hard": lambda d: {"trunk": d.MLP((8, 6), norm="batch", dropout=0.1)},
    "task norm": lambda d: {"trunk": d.MLP((8,), norm="task_batch", activation="silu")},
    "embedding": lambda d: {"trunk": d.MLP((8,), norm="layer", activation="gelu", embedding=3)},
    "soft": lambda d: {"trunk": d.MLP((6,), norm="batch"), "sharing": d.sharing.Soft()},
    "experts": lambda d: {"trunk": d.MLP((6,)), "sharing": d.sharing.MMoE(3)},
    "selected": lambda d: {"trunk": d.MLP((6,)), "sharing": d.sharing.DSelectK(3, 2)},
    "own experts": lambda d: {"trunk": d.MLP((6,)), "sharing": d.sharing.CGC(2, 2)},
    "levels": lambda d: {"trunk": d.MLP((6, 5), norm="batch"), "sharing": d.sharing.PLE(2, 2)},
    "own layers": lambda d: {"trunk": d.MLP((6,)), "heads": d.MLP((4,), norm="layer")},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name, made, table):
    pytest.importorskip("torch")
    from polytask import deep

    settings = NETWORKS[name](deep) | {"max_epochs": 3, "random_state": 0}
    model = deep.DeepMultiTaskRegressor(**settings, task_column="region", unseen_tasks="shared")
    rows = new_rows(fitted(model, table, made["number"]) and table)
    rows.loc[2, "region"] = "east"
    agree(model, rows)
    Y = np.column_stack([made["class"], made["pair"]])
    agree(fitted(deep.DeepMultiTaskClassifier(**settings), made["X"], Y), made["X"])


def test_what_cannot_be_exported_is_refused_with_what_can(made):
    X, y, task = made["X"], made["number"], made["task"]
    several = np.column_stack([task, np.arange(N) % 3])
    grouped = fitted(pt.BayesianMultiTaskClassifier(), X, made["pair"], task=several)
    with pytest.raises(IncompatibleError, match=r"several groupings cannot .* takes penalised"):
        to_onnx(grouped)
    from sklearn.neighbors import KNeighborsRegressor

    with pytest.raises(IncompatibleError, match=r"^KNeighborsRegressor cannot be exported"):
        to_onnx(pt.Pooled(KNeighborsRegressor()).fit(X, y, task=task))
    grouped = fitted(pt.BayesianMultiTaskRegressor("scalar"), X, y, task=several)
    with pytest.raises(IncompatibleError, match="no interval that can be exported"):
        to_onnx(grouped, interval=0.9)
    with pytest.raises(IncompatibleError, match="no interval that can be exported"):
        to_onnx(pt.MultiTaskRegressor().fit(X, y, task=task), interval=0.9)
    classes = pt.MultiTaskClassifier().fit(X, made["pair"], task=task)
    with pytest.raises(IncompatibleError, match="no interval that can be exported"):
        to_onnx(pt.calibrate(classes, X, made["pair"], task=task), interval=0.9)
    with pytest.raises(ParameterError, match="model of to_onnx must be a fitted estimator"):
        to_onnx(Ridge())


def test_the_file_says_what_it_is(made):
    model = pt.MultiTaskClassifier().fit(made["X"], made["class"], task=made["task"])
    facts = {entry.key: entry.value for entry in to_onnx(model).metadata_props}
    assert facts["model"] == "MultiTaskClassifier"
    assert facts["tasks"] == '["north", "süd", "west"]'
    assert facts["classes"] == '["calm", "ill", "well"]'


def test_tasks_with_unequal_classes_and_one_class(made):
    X, task = made["X"], made["task"]
    unequal = np.where((task == "west") & (made["class"] == "calm"), "ill", made["class"])
    single = np.where(task == "süd", "yes", made["pair"])
    for model in (pt.MultiTaskClassifier(), pt.BayesianMultiTaskClassifier("none")):
        agree(fitted(model, X, unequal, task=task), X, task)
        agree(fitted(model, X, single, task=task), X, task)
    agree(pt.SingleTask(LogisticRegression()).fit(X, single, task=task), X, task)
    agree(pt.SingleTask(RandomForestClassifier(3)).fit(X, single, task=task), X, task)


def test_flags_that_are_true_in_half_of_the_rows(made):
    kind = np.repeat(["a", "b"], N // 2)
    table = pd.DataFrame({"flag": np.arange(N) % 2 == 0, "kind": kind, "task": made["task"]})
    agree(fitted(pt.MultiTaskRegressor(task_column="task"), table, made["number"]), table)


def test_dates_far_means_and_single_precision(made):
    X, y, task = made["X"], made["number"], made["task"]
    table = pd.DataFrame({"x": X[:, 0], "day": pd.date_range("2024-01-01", periods=N)})
    table = table.assign(kind=pd.Categorical(np.arange(N) % 3), task=task)
    model = pt.MultiTaskRegressor(task_column="task", date_features=True)
    agree(fitted(model, table, y), table)
    scaled = make_pipeline(StandardScaler(), Ridge())
    agree(pt.Pooled(scaled).fit(X + 1e5, y, task=task), X + 1e5, task)
    single = X.astype(np.float32)
    agree(fitted(pt.MultiTaskRegressor(), single, y, task=task), single, task)
