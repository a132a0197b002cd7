"""Estimators of scikit-learn in a graph: each is an affine map, a sum of trees, and a link."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from polytask._estimator import MultiTaskEstimator
from polytask.export.graphs.rows import Answer, Rows, behind_transformers, refused
from polytask.export.graphs.trees import (
    Ensemble,
    Tree,
    forest_trees,
    histogram_trees,
    lightgbm_trees,
)
from polytask.losses import LogLink, Multinomial, SquaredHinge

Array = NDArray[Any]

# What is predicted is affine in the features; looked up by name, so that nothing is imported.
_IDENTITY = frozenset(
    ["LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV",
     "Lars", "LarsCV", "LassoLars", "LassoLarsCV", "LassoLarsIC", "OrthogonalMatchingPursuit",
     "OrthogonalMatchingPursuitCV", "BayesianRidge", "ARDRegression", "HuberRegressor",
     "QuantileRegressor", "SGDRegressor", "TheilSenRegressor", "LinearSVR", "TunedRidge"]
)  # fmt: skip
_EXPONENTIAL = frozenset(["PoissonRegressor", "GammaRegressor", "TunedMeans"])
_SOFTMAX = frozenset(["LogisticRegression", "LogisticRegressionCV", "TunedLogistic"])
_MARGINS = frozenset(["LinearSVC", "RidgeClassifier", "RidgeClassifierCV", "Perceptron"])
FORESTS = frozenset(
    ["RandomForestRegressor", "ExtraTreesRegressor", "RandomForestClassifier",
     "ExtraTreesClassifier"]
)  # fmt: skip
_TREES = frozenset(
    [
        "DecisionTreeRegressor",
        "ExtraTreeRegressor",
        "DecisionTreeClassifier",
        "ExtraTreeClassifier",
    ]
)
_LIGHTGBM = frozenset(["TreeRegressor", "TreeClassifier", "LGBMRegressor", "LGBMClassifier"])
_AFFINE = frozenset(
    ["StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler", "PCA", "TruncatedSVD",
     "SelectKBest", "SelectPercentile", "VarianceThreshold", "SelectFromModel"]
)  # fmt: skip
# What is made of raw outputs.
NUMBERS, EXPONENTIAL, SOFTMAX, SHARES, MARGINS = "numbers", "exp", "softmax", "shares", "margins"


@dataclass(frozen=True, eq=False)
class PlainModel:
    """Raw outputs ``coef x + intercept + trees``, and what they mean."""

    # Shapes: coef (K, d), intercept (K,). Trees have K outputs; with `rounded` they read features
    # in single precision, as forests do. `constant` models have no features.

    kind: str
    coef: Array
    intercept: Array
    classes: tuple[Hashable, ...] | None = None
    trees: tuple[Tree, ...] = ()
    rounded: bool = False
    constant: bool = False

    def behind(self, weight: Array, offset: Array) -> PlainModel:
        """Return the model of what is ``weight x + offset`` of new features."""
        # Shapes: weight (d, d_new), offset (d,).
        if self.trees:
            raise behind_transformers("trees")
        moved = self.intercept + self.coef @ offset
        return replace(self, coef=self.coef @ weight, intercept=moved)

    def with_constants(self, columns: Array) -> PlainModel:
        """Return the model with its last features, which are constants, in the intercept."""
        kept = self.coef.shape[1] - len(columns)
        moved = self.intercept + self.coef[:, kept:] @ columns
        return replace(self, coef=self.coef[:, :kept], intercept=moved)

    def of_features(self, chosen: Array, width: int) -> PlainModel:
        """Return the model of more features, of which it reads some."""
        coef = np.zeros((len(self.coef), width))
        coef[:, chosen] = self.coef
        trees = tuple(
            replace(tree, feature=np.asarray(chosen)[tree.feature]) for tree in self.trees
        )
        return replace(self, coef=coef, trees=trees)


def read_plain(model: Any, d: int) -> PlainModel:  # noqa: ANN401 - a fitted estimator
    """Return what a fitted estimator of d features computes."""
    if isinstance(model, MultiTaskEstimator):
        return _read_linear(model)
    if isinstance(model, Pipeline):
        steps = [step for _, step in model.steps[:-1] if step not in (None, "passthrough")]
        maps = [affine_map(step) for step in steps]
        found = read_plain(model.steps[-1][1], len(maps[-1][1]) if maps else d)
        for weight, offset in reversed(maps):
            found = found.behind(weight, offset)
        return found
    if hasattr(model, "best_estimator_"):
        return read_plain(model.best_estimator_, d)
    kind = type(model).__name__
    for names, read in _READERS:
        if kind in names:
            return read(model, d)
    raise refused(kind)


def affine_map(step: Any) -> tuple[Array, Array]:  # noqa: ANN401 - a fitted transformer
    """Return weight (d_new, d) and offset (d_new,) of a transformer that is an affine map."""
    if type(step).__name__ not in _AFFINE or getattr(step, "clip", False):
        raise refused(type(step).__name__)
    # Asked for what it makes of nothing and of every unit vector.
    asked = np.vstack([np.zeros(step.n_features_in_), np.eye(step.n_features_in_)])
    told = np.asarray(step.transform(asked))
    return (told[1:] - told[0]).T, told[0]


def _labels(model: Any) -> tuple[Hashable, ...]:  # noqa: ANN401
    return tuple(np.asarray(model.classes_).tolist())


def _second_of_two(coef: Array, intercept: Array) -> tuple[Array, Array]:
    """Return outputs of both of two classes, the first of which has 0."""
    if len(coef) > 1:
        return coef, intercept
    return np.vstack([0.0 * coef, coef]), np.concatenate([[0.0], intercept])


def _read_linear(model: Any) -> PlainModel:  # noqa: ANN401 - an estimator of one task
    """Return what a linear estimator of this package says of its one task."""
    linear = getattr(model, "_linear", None)
    if linear is None or hasattr(model, "_tasks") or len(linear.slices) > 1:
        raise refused(type(model).__name__)
    (coef, intercept), loss, classes = linear.parameters(0), linear.losses[0], linear.classes[0]
    if classes is None:
        kind = EXPONENTIAL if isinstance(loss, LogLink) else NUMBERS
        return PlainModel(kind, coef.astype(float), intercept.astype(float))
    if isinstance(loss, SquaredHinge):
        raise refused("SquaredHinge")
    if not isinstance(loss, Multinomial):
        coef, intercept = _second_of_two(coef, intercept)
    return PlainModel(SOFTMAX, coef, intercept, tuple(classes.tolist()))


def _read_coefficients(model: Any, d: int) -> PlainModel:  # noqa: ANN401
    kind = type(model).__name__
    coef = np.atleast_2d(np.asarray(model.coef_, dtype=np.float64))
    intercept = np.zeros(len(coef)) + np.ravel(model.intercept_)
    if kind in _IDENTITY or kind in _EXPONENTIAL:
        return PlainModel(NUMBERS if kind in _IDENTITY else EXPONENTIAL, coef, intercept)
    if getattr(model, "solver", "") == "liblinear" and len(coef) > 1:
        raise refused(kind, "solver='liblinear'")
    coef, intercept = _second_of_two(coef, intercept)
    return PlainModel(SOFTMAX if kind in _SOFTMAX else MARGINS, coef, intercept, _labels(model))


def _read_constant(model: Any, d: int) -> PlainModel:  # noqa: ANN401
    if not hasattr(model, "classes_"):
        value = np.ravel(model.constant_).astype(np.float64)
        return PlainModel(NUMBERS, np.zeros((1, d)), value, constant=True)
    shares = model.predict_proba(np.zeros((1, d)))[0]
    coef, classes = np.zeros((len(shares), d)), _labels(model)
    return PlainModel(SHARES, coef, shares, classes, constant=True)


def _read_histogram(model: Any, d: int) -> PlainModel:  # noqa: ANN401
    trees = list(histogram_trees(model))
    baseline = np.ravel(model._baseline_prediction).astype(np.float64)
    link = type(model._loss.link).__name__
    if hasattr(model, "classes_"):
        return _boosted_classes(trees, baseline, _labels(model), d)
    if link not in ("IdentityLink", "LogLink"):
        raise refused(type(model).__name__, link)
    kind = EXPONENTIAL if link == "LogLink" else NUMBERS
    return PlainModel(kind, np.zeros((1, d)), baseline, trees=tuple(trees))


def _boosted_classes(
    trees: list[Tree], baseline: Array, classes: tuple[Hashable, ...], d: int
) -> PlainModel:
    if len(classes) == 2:
        trees = [t.with_values(np.column_stack([0.0 * t.values, t.values])) for t in trees]
        baseline = np.concatenate([[0.0], baseline])
    return PlainModel(SOFTMAX, np.zeros((len(classes), d)), baseline, classes, tuple(trees))


def _read_forest(model: Any, d: int) -> PlainModel:  # noqa: ANN401
    trees = tuple(forest_trees(getattr(model, "estimators_", None) or [model]))
    K = trees[0].values.shape[1]
    classes = None if not hasattr(model, "classes_") else _labels(model)
    kind = NUMBERS if classes is None else SHARES
    return PlainModel(kind, np.zeros((K, d)), np.zeros(K), classes, trees, rounded=True)


def _read_lightgbm(model: Any, d: int) -> PlainModel:  # noqa: ANN401
    booster = model.trees_._booster if hasattr(model, "trees_") else model.booster_
    objective, *options = str(booster.dump_model(num_iteration=1)["objective"]).split()
    known = dict(option.split(":") for option in options if ":" in option)
    trees = list(lightgbm_trees(booster))
    if objective in ("binary", "multiclass"):
        factor = float(known.get("sigmoid", 1.0))
        trees = [tree.with_values(factor * tree.values) for tree in trees]
        baseline = np.zeros(trees[0].values.shape[1])
        return _boosted_classes(trees, baseline, _labels(model), d)
    if hasattr(model, "classes_") or "sqrt" in options:
        raise refused(type(model).__name__, objective)
    kind = EXPONENTIAL if objective in ("poisson", "gamma", "tweedie") else NUMBERS
    return PlainModel(kind, np.zeros((1, d)), np.zeros(1), trees=tuple(trees))


_READERS = (
    (_IDENTITY | _EXPONENTIAL | _SOFTMAX | _MARGINS, _read_coefficients),
    (frozenset(["DummyRegressor", "DummyClassifier"]), _read_constant),
    (
        frozenset(["HistGradientBoostingRegressor", "HistGradientBoostingClassifier"]),
        _read_histogram,
    ),
    (FORESTS | _TREES, _read_forest),
    (_LIGHTGBM, _read_lightgbm),
)


def plain_answer(models: Sequence[PlainModel], rows: Rows, *, alike: bool) -> Answer:
    """Return what the model of each code says; `alike` ones differ in their intercepts only."""
    kinds = {model.kind for model in models if not model.constant} or {models[0].kind}
    if len(kinds) > 1 or len({model.rounded for model in models if not model.constant}) > 1:
        raise refused(" + ".join(sorted(kinds)))
    kind = kinds.pop()
    absent = -np.inf if kind in (SOFTMAX, MARGINS) else 0.0
    K, d = rows.width, models[0].coef.shape[1]
    coef, intercept = np.zeros((len(models), K, d)), np.full((len(models), K), absent)
    places = []
    for k, model in enumerate(models):
        own = [0] if model.classes is None else rows.places(k, model.classes)
        logs = model.constant and absent < 0
        with np.errstate(divide="ignore"):
            intercept[k, own] = np.log(model.intercept) if logs else model.intercept
        coef[k, own] = model.coef
        places.append(own)
    trees = [
        (tree.with_values(_placed(tree.values, own, K)), None if alike else k)
        for k, (model, own) in enumerate(
            zip(models[:1] if alike else models, places, strict=False)
        )
        for tree in model.trees
    ]
    raw = rows.linear(coef[:1] if alike else coef, intercept)
    if trees:
        ensemble = Ensemble(rows.n_features)
        for tree, code in trees:
            ensemble.add(tree, code)
        X = rows.long().X
        if any(model.rounded for model in models):
            X = X.cast(np.float32).cast(np.float64)
        raw = raw + ensemble.sums(X.beside(rows.code.cast(np.float64).reshaped(-1, 1)))
    if kind in (NUMBERS, EXPONENTIAL):
        numbers = raw.at(np.array(0), axis=1)
        return Answer(numbers.op("Exp") if kind == EXPONENTIAL else numbers)
    if kind == MARGINS:
        return Answer(scores=raw)
    return Answer(scores=raw, probabilities=raw.softmax() if kind == SOFTMAX else raw)


def _placed(values: Array, places: Sequence[int], width: int) -> Array:
    """Return values at their columns among those of all classes."""
    found = np.zeros((len(values), width))
    found[:, list(places)] = values
    return found
