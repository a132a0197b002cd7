"""The learners that candidates are made of: what is tuned, boosted or left without a penalty."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from polytask._checks import is_whole
from polytask.penalties import L2
from polytask.selection.facts import DataFacts
from polytask.selection.losses import boosting_loss, is_unusual, name_of, of_means

# Strengths that ridge regression tries on scaled features.
_RIDGE = tuple(10.0 ** (k / 3) for k in range(-9, 16))
# Of the mean curvature of the logistic loss on scaled features, 1/4: all but unpenalised,
# and finite where the classes can be separated.
_NEARLY_NONE = 1e-4 * 0.25
# The same share of the curvature of a loss with a logarithmic link.
_NEARLY_NONE_OF_MEANS = 1e-4
# Trees of a forest.
_TREES = 200
# Strengths of a search inside a comparison, which repeats it for every split.
ALPHAS = 20


def tuned_linear(
    problem: str,
    *,
    sparse: bool = False,
    cv: Any = 5,  # noqa: ANN401
    loss: Any = "auto",  # noqa: ANN401
) -> Any:  # noqa: ANN401
    """Return the linear model of one task, its strength found by cross-validation."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from polytask.baselines import TunedLogistic, TunedMeans, TunedRidge

    scaler = StandardScaler(with_mean=not sparse)
    if of_means(loss):
        return make_pipeline(scaler, TunedMeans(name_of(loss), cv))
    if is_unusual(loss):
        searched = class_of(problem, searched=True)
        return make_pipeline(scaler, searched(L2(), loss=loss, alphas=ALPHAS, cv=cv))
    if problem == "regression":
        return make_pipeline(scaler, TunedRidge(_RIDGE, None if is_whole(cv) else cv))
    return make_pipeline(scaler, TunedLogistic(cv))


def class_of(problem: str, *, searched: bool) -> Any:  # noqa: ANN401 - a class
    """Return the penalised estimator of a problem."""
    from polytask import linear, selection

    names = {"regression": "Regressor", "classification": "Classifier", "mixed": "Model"}
    module: Any = selection if searched else linear
    return getattr(module, f"MultiTask{names[problem]}{'CV' if searched else ''}")


def linear(facts: DataFacts) -> Any:  # noqa: ANN401 - an estimator of scikit-learn
    """Return the tuned linear model of one task, or of all as one."""
    return tuned_linear(facts.problem, sparse=facts.sparse, cv=facts.cv, loss=facts.losses)


def mean(facts: DataFacts) -> Any:  # noqa: ANN401 - an estimator of scikit-learn
    """Return what predicts the mean of its training rows, or their shares of the classes."""
    from sklearn.dummy import DummyClassifier, DummyRegressor

    return DummyClassifier() if facts.problem == "classification" else DummyRegressor()


def _unpenalised(facts: DataFacts, rows: float) -> Any:  # noqa: ANN401 - an estimator
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler(with_mean=not facts.sparse)
    if of_means(facts.losses):
        from polytask.baselines import TunedMeans

        strengths = (_NEARLY_NONE_OF_MEANS,)
        return make_pipeline(scaler, TunedMeans(name_of(facts.losses), strengths=strengths))
    if is_unusual(facts.losses):
        plain = class_of(facts.problem, searched=False)
        return make_pipeline(scaler, plain(L2(_NEARLY_NONE), loss=facts.losses))
    if facts.problem == "regression":
        return make_pipeline(scaler, LinearRegression())
    inverse = LogisticRegression(C=1.0 / (_NEARLY_NONE * max(rows, 1.0)), max_iter=5000)
    return make_pipeline(scaler, inverse)


def unpenalised_alone(facts: DataFacts) -> Any:  # noqa: ANN401 - an estimator
    """Return the linear model of one task, all but without a penalty."""
    return _unpenalised(facts, facts.median_rows)


def unpenalised_together(facts: DataFacts) -> Any:  # noqa: ANN401 - an estimator
    """Return the linear model of all rows, all but without a penalty."""
    return _unpenalised(facts, facts.n_rows)


def has_lightgbm() -> bool:
    """Say whether LightGBM is installed."""
    return find_spec("lightgbm") is not None


def boosting(facts: DataFacts) -> Any:  # noqa: ANN401 - an estimator
    """Return boosted trees of LightGBM where it is installed, else of scikit-learn."""
    if not has_lightgbm():
        return histogram_boosting(facts)
    from polytask.boosting.plain import TreeClassifier, TreeRegressor

    if facts.problem == "regression":
        return TreeRegressor(cv=facts.cv, random_state=facts.seed, **boosting_loss(facts.losses))
    return TreeClassifier(cv=facts.cv, random_state=facts.seed)


def histogram_boosting(facts: DataFacts) -> Any:  # noqa: ANN401 - an estimator of scikit-learn
    """Return histogram gradient boosting with scikit-learn's defaults."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    if facts.problem == "regression":
        chosen = boosting_loss(facts.losses)
        return HistGradientBoostingRegressor(random_state=facts.seed, **chosen)
    return HistGradientBoostingClassifier(random_state=facts.seed)


def forest(facts: DataFacts) -> Any:  # noqa: ANN401 - an estimator
    """Return a random forest, of one target or of several."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    if facts.problem == "classification":
        return RandomForestClassifier(_TREES, random_state=facts.seed)
    # A third of the features at every cut: as good as all on most data, in a third of the time.
    return RandomForestRegressor(_TREES, max_features=1 / 3, random_state=facts.seed)


def extra_trees(facts: DataFacts) -> Any:  # noqa: ANN401 - an estimator
    """Return extremely randomised trees, whose cuts are drawn at random."""
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    if facts.problem == "classification":
        return ExtraTreesClassifier(_TREES, random_state=facts.seed)
    return ExtraTreesRegressor(_TREES, max_features=1 / 3, random_state=facts.seed)
