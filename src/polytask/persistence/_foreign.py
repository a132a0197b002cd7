"""Wrapped estimators of scikit-learn: linear models as coefficients, others through skops."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from polytask import _registry
from polytask.exceptions import DataError
from polytask.persistence._steady import steady

LINEAR = frozenset(
    {
        "ElasticNet",
        "ElasticNetCV",
        "HuberRegressor",
        "Lasso",
        "LassoCV",
        "LinearRegression",
        "LogisticRegression",
        "LogisticRegressionCV",
        "MultiTaskElasticNet",
        "MultiTaskElasticNetCV",
        "MultiTaskLasso",
        "MultiTaskLassoCV",
        "Ridge",
        "RidgeCV",
    }
)
"""Classes of sklearn.linear_model that coefficients alone make able to predict."""

_LEARNED = (
    "coef_",
    "intercept_",
    "classes_",
    "n_features_in_",
    "feature_names_in_",
    "n_iter_",
    "alpha_",
    "l1_ratio_",
    "C_",
    "scale_",
)

TRUSTED = frozenset(
    {
        "functools.partial",
        "numpy.dtype",
        "sklearn._loss.link.HalfLogitLink",
        "sklearn._loss.link.IdentityLink",
        "sklearn._loss.link.Interval",
        "sklearn._loss.link.LogLink",
        "sklearn._loss.link.LogitLink",
        "sklearn._loss.link.MultinomialLogit",
        "sklearn._loss.loss.AbsoluteError",
        "sklearn._loss.loss.HalfBinomialLoss",
        "sklearn._loss.loss.HalfGammaLoss",
        "sklearn._loss.loss.HalfMultinomialLoss",
        "sklearn._loss.loss.HalfPoissonLoss",
        "sklearn._loss.loss.HalfSquaredError",
        "sklearn._loss.loss.PinballLoss",
        "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.metrics._dist_metrics.EuclideanDistance32",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.model_selection._split.GroupKFold",
        "sklearn.model_selection._split.GroupShuffleSplit",
        "sklearn.model_selection._split.KFold",
        "sklearn.model_selection._split.ShuffleSplit",
        "sklearn.model_selection._split.StratifiedGroupKFold",
        "sklearn.model_selection._split.StratifiedKFold",
        "sklearn.model_selection._split.StratifiedShuffleSplit",
        "sklearn.model_selection._split.TimeSeriesSplit",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.tree._tree.Tree",
        "sklearn.utils.validation.check_array",
    }
)
"""Types beyond those that skops trusts by itself: arrays with a meaning (trees, neighbours),
plain settings (splitters, dtypes; losses and bins, which older versions of skops do not
know), and what histogram boosting needs for categories. What a
``functools.partial`` would call is on a list too."""


def is_scikit_learn(value: object) -> bool:
    """Say whether a value is an estimator, or another object of scikit-learn."""
    ours = type(value).__module__.startswith("polytask.")
    return not ours and (
        isinstance(value, BaseEstimator) or type(value).__module__.startswith("sklearn.")
    )


def is_pipeline_of_ours(value: object) -> bool:
    """Say whether a value is a pipeline with a step that only this package can store."""
    plain = type(value).__name__ == "Pipeline" and is_scikit_learn(value)
    return plain and any(_registry.name_of(step) is not None for _, step in steps_of(value))


def steps_of(value: Any) -> list[tuple[str, Any]]:  # noqa: ANN401 - untyped package
    """Return the named steps of a pipeline."""
    return list(value.steps)


def pipeline(steps: list[tuple[str, Any]]) -> Any:  # noqa: ANN401 - untyped package
    """Rebuild a pipeline from its steps."""
    from sklearn.pipeline import Pipeline

    return Pipeline(steps)


def is_module(value: object) -> bool:
    """Say whether a value is a module of torch, without importing it."""
    bases = type(value).__mro__
    return any(c.__module__ == "torch.nn.modules.module" and c.__name__ == "Module" for c in bases)


def is_linear(value: object) -> bool:
    """Say whether a value is one of the linear models that are stored as coefficients."""
    kind = type(value)
    return kind.__module__.startswith("sklearn.linear_model.") and kind.__name__ in LINEAR


def linear_state(model: Any) -> dict[str, Any]:  # noqa: ANN401 - untyped package
    """Return the parameters of a linear model, and its coefficients if it is fitted."""
    held = vars(model)
    return {
        "params": model.get_params(deep=False),
        "fitted": {name: held[name] for name in _LEARNED if name in held},
    }


def linear_model(name: str, state: dict[str, Any]) -> Any:  # noqa: ANN401 - untyped package
    """Rebuild a linear model from :func:`linear_state`."""
    fitted: dict[str, Any] = state["fitted"]
    if name not in LINEAR or not set(fitted) <= set(_LEARNED):
        raise DataError(f"The file names a linear model {name!r} that cannot be loaded.")
    cls = getattr(importlib.import_module("sklearn.linear_model"), name)
    # A parameter of fitting that this version of scikit-learn lacks does not matter any more.
    known = cls().get_params(deep=False)
    model = cls(**{key: value for key, value in state["params"].items() if key in known})
    for attribute, value in fitted.items():
        setattr(model, attribute, value)
    return model


def _skops() -> Any:  # noqa: ANN401 - an untyped module
    """Import skops, whose list of trusted types loads what scikit-learn may work with."""
    # PyTorch takes a second and 100 MB, and no program can fork after it.
    absent = [name for name in ("torch", "dask", "cupy") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]
    try:
        return importlib.import_module("skops.io")
    finally:
        for name in absent:
            del sys.modules[name]


def skops_content(value: object, owner: str, where: str) -> NDArray[np.uint8]:
    """Return what skops writes for an estimator, as bytes that depend on nothing else."""
    io = _skops()

    try:
        content = steady(io.dumps(value))
        strange = _untrusted(content)
    except Exception as error:  # skops raises what its parts raise
        raise DataError(
            f"{owner} cannot be saved: {where} holds a {type(value).__name__} that skops cannot "
            f"write ({error})."
        ) from error
    if strange:
        raise DataError(
            f"{owner} cannot be saved: {where} holds objects of type {', '.join(strange)}, which "
            "are not on the list of types that load trusts."
        )
    return np.frombuffer(content, dtype=np.uint8)


def from_skops(content: NDArray[np.uint8]) -> Any:  # noqa: ANN401 - any estimator
    """Rebuild an estimator from :func:`skops_content`."""
    io = _skops()

    data = content.tobytes()
    strange = _untrusted(data)
    if strange:
        raise DataError(
            f"The file holds objects of type {', '.join(strange)}, which are not on the list of "
            "types that load trusts."
        )
    return io.loads(data, trusted=sorted(TRUSTED))


def _untrusted(content: bytes) -> list[str]:
    io = _skops()

    return sorted(set(io.get_untrusted_types(data=content)) - TRUSTED)
