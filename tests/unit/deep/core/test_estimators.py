"""The face of the deep estimators: forms, classes, unseen tasks, saving, scikit-learn's tools."""

from __future__ import annotations

import inspect
import pickle
import re

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

torch = pytest.importorskip("torch")

from polytask import (  # noqa: E402
    DataError,
    IncompatibleError,
    TaskData,
    deep,
    load,
    save,
)
from polytask.deep import (  # noqa: E402
    MLP,
    DeepMultiTaskClassifier,
    DeepMultiTaskModel,
    DeepMultiTaskRegressor,
    sharing,
)

QUICK = {"trunk": MLP((8,)), "max_epochs": 4, "random_state": 0}
# One batch of all rows in double precision: what must be equal then is equal to the last digits.
WHOLE = {**QUICK, "batch_size": 1000, "early_stopping": False, "precision": "float64"}
CHECKED = [
    DeepMultiTaskRegressor(**{**WHOLE, "max_epochs": 40, "learning_rate": 0.03}),
    DeepMultiTaskClassifier(**{**WHOLE, "max_epochs": 40, "learning_rate": 0.03}),
    DeepMultiTaskModel(**{**WHOLE, "max_epochs": 20}),
]


# The one check that is skipped needs SCIPY_ARRAY_API=1 in the environment.
@parametrize_with_checks(CHECKED)
def test_scikit_learn(estimator, check):
    check(estimator)


class Problem:
    """Rows of three tasks, with targets of one kind."""

    def __init__(self, kind, n=120):
        rng = np.random.default_rng(0)
        self.X = rng.normal(size=(n, 4)) + 0.5
        self.task = np.sort(rng.choice(["a", "b", "c"], n, p=[0.5, 0.3, 0.2]))
        score = np.abs(self.X[:, 0]) + self.X[:, 1] + (self.task == "b") * self.X[:, 2]
        self.kind = kind
        self.y = {
            "numbers": lambda: score,
            "pairs": lambda: np.where(score > 1, "yes", "no"),
            "classes": lambda: np.array(["p", "q", "r"])[np.digitize(score, [0.5, 1.5])],
        }[kind]()
        if kind == "classes":
            self.y[(self.task == "c") & (self.y == "r")] = "q"
        self.weight = rng.uniform(0.5, 2.0, n)

    def model(self, **settings):
        kind = DeepMultiTaskRegressor if self.kind == "numbers" else DeepMultiTaskClassifier
        return kind(**{**WHOLE, **settings})


def values(model, *args):
    return getattr(model, "predict_proba", model.predict)(*args)


KINDS = ["numbers", "pairs", "classes"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", KINDS)
def test_the_card_gives_the_model_of_the_processor(kind):
    p = Problem(kind)
    settings = {"precision": "float64", "random_state": 0}
    host, card = (
        p.model(device=device, **settings).fit(p.X, p.y, p.task) for device in ("cpu", "cuda")
    )
    assert_allclose(values(card, p.X, p.task), values(host, p.X, p.task), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_three_forms_give_the_same_training(kind):
    p = Problem(kind)
    settings = {"scale_targets": "common"} if kind == "numbers" else {}
    long = p.model(**settings).fit(p.X, p.y, p.task, p.weight)
    own = {t: p.task == t for t in "abc"}
    tasks = {t: (p.X[rows], p.y[rows]) for t, rows in own.items()}
    separate = p.model(**settings).fit(
        tasks, sample_weight={t: p.weight[rows] for t, rows in own.items()}
    )
    wide = np.full((len(p.y), 3), None, dtype=object)
    for t, rows in enumerate(own.values()):
        wide[rows, t] = p.y[rows]
    wide = wide.astype(float) if kind == "numbers" else wide
    targets = p.model(**settings).fit(p.X, wide, sample_weight=p.weight)
    for other in (separate, targets):
        assert_allclose(other.history_.training, long.history_.training, rtol=1e-9)
    found = values(separate, {t: p.X[rows] for t, rows in own.items()})
    expected = values(long, p.X, p.task)
    for t, rows in own.items():
        assert_allclose(found[t], expected[rows], rtol=1e-9)
    every = values(targets, p.X)
    for t, (label, rows) in enumerate(own.items()):
        one = every[:, t] if kind == "numbers" else every[t]
        known = ~(expected[rows] == 0).all(axis=0) if kind == "classes" else slice(None)
        wanted = expected[rows][:, known] if kind == "classes" else expected[rows]
        assert_allclose(one[rows], wanted, rtol=1e-8, err_msg=label)


@pytest.mark.parametrize("kind", KINDS)
def test_order_of_rows_does_not_matter(kind):
    p = Problem(kind)
    order = np.random.default_rng(1).permutation(len(p.y))
    one = p.model().fit(p.X, p.y, p.task, p.weight)
    other = p.model().fit(p.X[order], p.y[order], p.task[order], p.weight[order])
    assert_allclose(values(one, p.X, p.task), values(other, p.X, p.task), rtol=1e-7)
    assert_allclose(
        values(one, p.X[order], p.task[order]), values(one, p.X, p.task)[order], rtol=1e-9
    )


def test_a_sparse_matrix_is_the_dense_one():
    p = Problem("numbers")
    X = np.where(p.X > 0.5, p.X, 0.0)
    dense = p.model().fit(X, p.y, p.task)
    sparse = p.model().fit(sp.csr_matrix(X), p.y, p.task)
    assert_allclose(sparse.predict(sp.csr_matrix(X), p.task), dense.predict(X, p.task), rtol=1e-8)


def test_class_sets_differ_between_tasks():
    p = Problem("classes")
    model = p.model(max_epochs=40, learning_rate=0.02).fit(p.X, p.y, p.task)
    assert model.classes_.tolist() == ["p", "q", "r"]
    assert model.task_classes_["c"].tolist() == ["p", "q"]
    last = p.task == "c"
    assert set(model.predict(p.X[last], p.task[last])) <= {"p", "q"}
    proba = model.predict_proba(p.X, p.task)
    assert_array_equal(proba[last, 2], 0.0)
    assert_allclose(proba.sum(axis=1), 1.0)
    decided = model.decision_function(p.X, p.task)
    assert np.isneginf(decided[last, 2]).all()
    assert_array_equal(model.classes_[decided.argmax(axis=1)], model.predict(p.X, p.task))
    assert model.score(p.X, p.y, p.task) > 0.7


@pytest.mark.parametrize("kind", KINDS)
def test_an_unseen_task_has_the_mean_head(kind):
    p = Problem(kind)
    model = p.model().fit(p.X, p.y, p.task, p.weight)
    with pytest.raises(DataError, match="1 unseen label"):
        model.predict(p.X[:3], ["a", "z", "b"])
    model.set_params(unseen_tasks="shared")
    found = model._tasks.eta(p.X, -1)
    share = model.task_weight_sums_ / model.task_weight_sums_.sum()
    if kind == "classes":
        of_r = model.task_weight_sums_[:2] / model.task_weight_sums_[:2].sum()
        known = [model._tasks.eta(p.X, t) for t in range(3)]
        assert_allclose(
            found[:, 2], sum(w * e[:, 2] for w, e in zip(of_r, known[:2], strict=True))
        )
        expected = sum(w * e[:, 0] for w, e in zip(share, known, strict=True))
        assert_allclose(found[:, 0], expected)
    else:
        mean = sum(w * model._tasks.eta(p.X, t) for t, w in enumerate(share))
        assert_allclose(found, mean, rtol=1e-9)
    assert len(model.predict(p.X[:3], ["a", "z", "b"])) == 3


def test_mixed_losses_have_natural_outputs():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 3))
    table = pd.DataFrame(
        {
            "click": np.where(X[:, 0] > 0, "yes", "no"),
            "spend": np.exp(X[:, 1]),
            "rating": np.array(["bad", "fair", "good"])[np.digitize(X[:, 2], [-0.5, 0.5])],
        }
    )
    table.loc[::3, "rating"] = None
    features = pd.DataFrame(X, columns=["u", "v", "w"])
    loss = {"click": "logistic", "spend": "gamma", "rating": "multinomial"}
    model = DeepMultiTaskModel(
        **{**QUICK, "max_epochs": 60, "learning_rate": 0.02}, loss=loss
    ).fit(features, table)
    found = model.predict_frame(features)
    assert list(found.columns) == ["click", "spend", "rating"]
    assert set(found["rating"]) <= {"bad", "fair", "good"}
    assert (found["spend"] > 0).all()
    click, spend, rating = model.predict_proba(features)
    assert click.shape == (150, 2)
    assert spend is None
    assert rating.shape == (150, 3)
    assert min(model.task_scores(features, table).values) > 0.4


@pytest.mark.parametrize("loss", ["poisson", "gamma"])
def test_counts_start_at_their_mean(loss):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    y = rng.gamma(50.0, np.exp(6 + 0.3 * X[:, 0]) / 50).round() + 1
    model = DeepMultiTaskRegressor(
        **{**QUICK, "max_epochs": 40, "learning_rate": 0.01}, loss=loss
    ).fit(X, y)
    assert model.score(X, y) > 0.5


def test_units_of_features_and_targets_do_not_matter():
    p = Problem("numbers")
    one = p.model().fit(p.X, p.y, p.task)
    scale = np.array([1e3, 1e-3, 1.0, 7.0])
    other = p.model().fit(p.X * scale + 5.0, p.y * 1e4 - 3.0, p.task)
    there = other.predict(p.X * scale + 5.0, p.task)
    assert_allclose(there, one.predict(p.X, p.task) * 1e4 - 3.0, rtol=1e-6)


def test_a_column_that_a_task_lacks_never_touches_it():
    p = Problem("numbers")
    own = {t: p.task == t for t in "abc"}
    names = ["k", "l", "m", "n"]
    tables = {t: pd.DataFrame(p.X[rows], columns=names) for t, rows in own.items()}
    tables["c"] = tables["c"].drop(columns="m")
    model = p.model().fit({t: (table, p.y[own[t]]) for t, table in tables.items()})
    plain = model.predict({"c": tables["c"]})["c"]
    extra = model.predict({"c": tables["c"].assign(m=9.0)})["c"]
    assert_allclose(plain, extra)
    assert np.abs(model.predict({"a": tables["a"].assign(m=9.0)})["a"]).max() > 0


def test_tables_are_encoded_and_come_back_as_tables():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "age": np.where(rng.random(90) < 0.1, np.nan, rng.normal(40, 9, 90)),
            "colour": rng.choice(["red", "green", "blue"], 90),
            "school": np.tile(["x", "y", "z"], 30),
        },
        index=np.arange(100, 190),
    )
    y = table["age"].fillna(40) / 10 + (table["colour"] == "red")
    model = DeepMultiTaskRegressor(**QUICK, task_column="school").fit(table, y)
    found = model.predict_frame(table.iloc[::-1])["prediction"]
    assert found.index.tolist() == table.index[::-1].tolist()
    assert "colour=red" in model.coef_feature_names_
    assert np.isfinite(found).all()


@pytest.mark.parametrize("kind", KINDS)
def test_saving_keeps_every_bit(kind, tmp_path):
    p = Problem(kind)
    trunk = MLP((8, 4), norm="batch", dropout=0.1, activation="gelu")
    model = p.model(trunk=trunk, sharing=sharing.Hard()).fit(p.X, p.y, p.task)
    path = tmp_path / "model.polytask"
    save(model, path)
    again = load(path)
    assert_array_equal(values(again, p.X, p.task), values(model, p.X, p.task))
    assert again.get_params()["trunk__widths"] == (8, 4)
    assert again.solution_ == again.solution_
    assert again.solution_.message == model.solution_.message
    assert_array_equal(again.history_.training, model.history_.training)
    assert "epoch" in again.card().markdown
    copy = pickle.loads(pickle.dumps(model))
    assert_array_equal(values(copy, p.X, p.task), values(model, p.X, p.task))


def module(width=6):
    return torch.nn.Sequential(
        torch.nn.Linear(4, width), torch.nn.BatchNorm1d(width), torch.nn.Tanh()
    )


def test_a_module_of_ones_own_is_trained_as_a_copy_and_given_to_load(tmp_path):
    p = Problem("numbers")
    given = module()
    before = {name: value.clone() for name, value in given.state_dict().items()}
    model = p.model(trunk=given).fit(p.X, p.y, p.task)
    assert all(torch.equal(value, before[name]) for name, value in given.state_dict().items())
    path = tmp_path / "model.polytask"
    save(model, path)
    expected = model.predict(p.X, p.task)
    assert_array_equal(load(path, trunk=module()).predict(p.X, p.task), expected)
    with pytest.raises(DataError, match=r"a Sequential, and a file holds no code: pass"):
        load(path)
    with pytest.raises(DataError, match="trunk of load must be a module of the same layers"):
        load(path, trunk=module(7))
    save(p.model().fit(p.X, p.y, p.task), path)
    with pytest.raises(DataError, match="trunk must be None"):
        load(path, trunk=module())


def test_a_frozen_layer_stays_as_it_is():
    p = Problem("numbers")
    given = module()
    for parameter in given[0].parameters():
        parameter.requires_grad_(False)
    model = p.model(trunk=given).fit(p.X, p.y, p.task)
    assert_allclose(model._tasks.weights["sharing.trunk.0.weight"], given[0].weight.detach())


def test_clone_search_and_pipeline():
    p = Problem("numbers")
    X = np.column_stack([p.X, np.searchsorted(["a", "b", "c"], p.task)])
    first = DeepMultiTaskRegressor(**QUICK, task_column=4)
    second = clone(first)
    assert second.get_params()["trunk__widths"] == (8,)
    second.set_params(trunk__dropout=0.5, learning_rate=0.1)
    assert first.trunk.dropout == 0.0
    folds = KFold(2, shuffle=True, random_state=0)
    grid = {"trunk__widths": [(), (4,)], "learning_rate": [0.01]}
    search = GridSearchCV(first, grid, cv=folds)
    assert search.fit(X, p.y).best_params_["learning_rate"] == 0.01
    assert np.isfinite(cross_val_score(first, X, p.y, cv=folds)).all()
    scaled = make_pipeline(StandardScaler(), DeepMultiTaskRegressor(**QUICK))
    assert scaled.fit(p.X, p.y).predict(p.X).shape == (120,)


def test_all_tasks_of_many_are_predicted_at_once():
    """A target matrix goes through a shared trunk once, not once for each task."""
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(40, 3)), rng.normal(size=(40, 300))
    model = DeepMultiTaskRegressor(**QUICK).fit(X, Y)
    calls = []
    trunk = model._tasks.network.sharing.trunk
    trunk.register_forward_hook(lambda *_: calls.append(1))
    assert model.predict(X).shape == (40, 300)
    assert len(calls) == 1
    X[:, 0] += 1.0
    assert np.abs(model.predict(X) - model.predict(X - [1.0, 0.0, 0.0])).max() > 1e-3


def test_a_data_card_says_what_was_trained():
    p = Problem("numbers")
    model = p.model().fit(TaskData.from_long(p.X, p.y, p.task))
    card = model.card()
    assert card.content["seed"] == {"random_state": 0}
    assert "last epoch" in card.content["result"]["status"]


def test_sampling_by_task_needs_rows_of_one_task():
    p = Problem("numbers")
    assert p.model(task_sampling="uniform").fit(p.X, p.y, p.task).n_iter_ == 4
    with pytest.raises(IncompatibleError, match="rows of a target matrix belong to all tasks"):
        p.model(task_sampling="uniform").fit(p.X, np.column_stack([p.y, p.y]))


@pytest.mark.parametrize("embedding", [None, 2])
def test_categories_get_vectors(embedding, tmp_path):
    rng = np.random.default_rng(0)
    level = rng.integers(0, 6, 400)
    table = pd.DataFrame(
        {
            "town": np.array(list("abcdef"))[level],
            "side": rng.choice(["left", "right"], 400),
            "age": np.where(rng.random(400) < 0.1, np.nan, rng.normal(size=400)),
        }
    )
    y = np.sin(3.0 * level) + 0.1 * rng.normal(size=400)
    trunk = MLP((16,), embedding=embedding)
    settings = {**QUICK, "trunk": trunk, "max_epochs": 40, "learning_rate": 0.02}
    model = DeepMultiTaskRegressor(**settings).fit(table, np.column_stack([y, -y]))
    assert model.score(table, np.column_stack([y, -y])) > 0.8
    wide = model._tasks.weights[
        "sharing.trunk.0.weight" if embedding is None else "sharing.trunk.1.weight"
    ]
    # Age and its flag, left and right, and either six indicators or a vector of two numbers.
    assert wide.shape == (16, 4 + (6 if embedding is None else 2))
    assert_array_equal(model._tasks.feature_scale != 1.0, model.coef_feature_names_ == "age")
    save(model, tmp_path / "m.polytask")
    assert_array_equal(load(tmp_path / "m.polytask").predict(table), model.predict(table))


class Pairs(torch.utils.data.Dataset):
    """Rows one by one, with or without their task."""

    def __init__(self, *parts):
        self.parts = parts

    def __len__(self):
        return len(self.parts[0])

    def __getitem__(self, i):
        return tuple(part[i] for part in self.parts)


def test_datasets_and_loaders_are_arrays():
    p = Problem("numbers")
    X, y = torch.tensor(p.X), torch.tensor(p.y)
    expected = p.model(device="cpu").fit(p.X, p.y, p.task)
    data = Pairs(X, y, p.task)
    for given in (data, torch.utils.data.DataLoader(data, batch_size=7, shuffle=True)):
        found = p.model(device="cpu").fit(given)
        assert_array_equal(found.predict(given), expected.predict(p.X, p.task))
        assert found.score(given) == expected.score(p.X, p.y, p.task)
    wide = torch.utils.data.TensorDataset(X.float(), torch.stack([y, -y], 1))
    targets = p.model().fit(wide)
    assert targets.predict(Pairs(X.float())).shape == (120, 2)
    with pytest.raises(DataError, match=r"The items of X of Deep.* must be pairs \(x, y\)"):
        p.model().fit(Pairs(X))
    with pytest.raises(DataError, match=r"y of .* must be None when X is a dataset of torch"):
        p.model().fit(data, p.y)


@pytest.mark.parametrize(
    "estimator", [DeepMultiTaskRegressor, DeepMultiTaskClassifier, DeepMultiTaskModel]
)
def test_the_documentation_names_every_parameter_in_order(estimator):
    text = inspect.getdoc(estimator)
    told = re.findall(r"^(\w+) : ", text.split("Attributes\n")[0], re.MULTILINE)
    assert told == list(inspect.signature(estimator).parameters)
    for section in ("Parameters", "Attributes", "References", "Examples"):
        assert text.count(f"\n{section}\n---") == 1


def test_names_of_the_first_version_go_on_working():
    assert deep.Except is deep.IgnoreIndex
    assert deep.balancing.Balance is deep.balancing.StatefulBalancer
    assert deep.adapting.Course is deep.adapting.FineTuneResult
