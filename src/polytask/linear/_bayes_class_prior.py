"""Read the priors that a classifier is given instead of learning one."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator

from polytask._checks import sentence
from polytask._estimator.scaling import FeatureScaling
from polytask.bayes.prior import Prior
from polytask.exceptions import ParameterError
from polytask.linear._bayes_class_fit import GivenPriors
from polytask.linear._bayes_class_tasks import BayesClassTasks


def given_priors(prior: Any, owner: str) -> GivenPriors | None:  # noqa: ANN401
    """Return the priors of what the user gave."""
    if prior is None:
        return None
    if isinstance(prior, Prior):
        return GivenPriors((prior,))
    tasks = getattr(prior, "_tasks", None) if isinstance(prior, BaseEstimator) else None
    if isinstance(tasks, BayesClassTasks):
        scaling = FeatureScaling(tasks.mean, tasks.scale, active=True)
        encoded = prior._schema.encoder is not None
        names = tuple(str(name) for name in prior.coef_feature_names_) if encoded else None
        priors = tuple(posterior.prior for posterior in tasks.posteriors)
        return GivenPriors(priors, scaling, names, tasks.union)
    if isinstance(prior, list | tuple) and prior and all(isinstance(p, Prior) for p in prior):
        return GivenPriors(tuple(prior))
    allowed = f"None, a fitted {owner}, a Prior or a sequence of Prior"
    raise ParameterError(sentence("prior", owner, allowed, type(prior).__name__))
