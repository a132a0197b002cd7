"""Learn the prior and the posteriors of a collection of classification tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._checks import one_of, positive, positive_integer, sentence
from polytask._estimator import Outcomes
from polytask._estimator.scaling import FeatureScaling, feature_scaling, refuse_huge
from polytask._estimator.weights import label_weights
from polytask.bayes.blocks import RowSpace
from polytask.bayes.fit import Candidate
from polytask.bayes.laplace_fit import ClassPriors, learn_class_priors
from polytask.bayes.laplace_posterior import (
    ClassPosterior,
    class_posterior,
    posterior_under,
    spanned,
)
from polytask.bayes.laplace_rows import Labelled
from polytask.bayes.prior import Prior, Structure
from polytask.data import TaskData
from polytask.exceptions import IncompatibleError
from polytask.linear._bayes_class_rows import class_labels
from polytask.linear._bayes_structures import STRUCTURES, is_wide, varying_columns
from polytask.linear._heavy_weights import weights_within_reach
from polytask.losses import Multinomial

Array = NDArray[np.float64]
Index = NDArray[np.intp]

# From so many features on their mean coefficients are shrunk by a learned normal prior.
_MANY_FEATURES = 5


@dataclass(frozen=True)
class BayesSettings:
    """What the user chose; see `BayesianMultiTaskClassifier`."""

    structure: Any
    varying: Any
    mean_prior: Any
    standardize: Any
    tol: Any
    max_iter: Any

    def check(self, owner: str) -> None:
        """Raise ParameterError unless every choice exists."""
        if not isinstance(self.structure, Structure):
            one_of(self.structure, "structure", owner, tuple(STRUCTURES))
        one_of(self.mean_prior, "mean_prior", owner, ("auto", "flat", "gaussian"))
        one_of(self.standardize, "standardize", owner, (True, False))
        positive(self.tol, "tol", owner)
        positive_integer(self.max_iter, "max_iter", owner)

    @property
    def chosen_structure(self) -> Structure | None:
        """The structure, None for "auto"."""
        if isinstance(self.structure, Structure):
            return self.structure
        return STRUCTURES[self.structure]

    def gaussian_mean(self, n_features: int) -> bool:
        """Say whether the mean coefficients have a prior that is learned."""
        many = n_features >= _MANY_FEATURES
        return {"auto": many, "flat": False, "gaussian": True}[self.mean_prior]


@dataclass(frozen=True, eq=False)
class ClassFit:
    """What was learned."""

    posteriors: list[ClassPosterior]
    scaling: FeatureScaling
    structure: Structure | None
    log_likelihood: float
    candidates: tuple[Candidate, ...]
    residual: float
    converged: bool
    n_iter: int
    seconds: float


@dataclass(frozen=True, eq=False)
class GivenPriors:
    """Priors from elsewhere, one for two classes, else one per class of the union."""

    priors: tuple[Prior, ...]
    scaling: FeatureScaling | None = None
    names: tuple[str, ...] | None = None
    union: NDArray[Any] | None = None

    def check(self, data: TaskData, outcomes: Outcomes, owner: str) -> None:
        """Raise IncompatibleError if they belong to other features or classes."""
        needed = 1 if outcomes.union is None or not _several(outcomes) else len(outcomes.union)
        if len(self.priors) != needed:
            raise IncompatibleError(
                f"prior of {owner} holds {len(self.priors)} prior(s); the data need {needed}: "
                "one for two classes, otherwise one for each class."
            )
        for prior in self.priors:
            if prior.n_features != data.n_features or prior.noise is not None:
                kind = "classes" if prior.noise is None else "numbers"
                got = f"a prior of {kind} with {prior.n_features} features"
                allowed = f"a prior of classes with {data.n_features} features, as X"
                raise IncompatibleError(sentence("prior", owner, allowed, got))
        if self.names is not None and data.feature_names not in (None, self.names):
            got = f"a prior of {', '.join(self.names[:5])}"
            allowed = f"of the features {', '.join((data.feature_names or ())[:5])}"
            raise IncompatibleError(sentence("prior", owner, allowed, got))
        if needed > 1 and self.union is not None:
            ours, theirs = np.asarray(outcomes.union).tolist(), self.union.tolist()
            if ours != theirs:
                raise IncompatibleError(sentence("prior", owner, f"of {ours}", f"of {theirs}"))

    @property
    def own_scaling(self) -> FeatureScaling | None:
        """The scaling that the data must have; None if the priors can be moved to another."""
        fixed = any(prior.space is not None for prior in self.priors)
        return self.scaling if fixed else None

    def moved_to(self, scaling: FeatureScaling) -> list[Prior]:
        """Return the priors of the same coefficients in another scaling."""
        if self.scaling is None or self.own_scaling is not None:
            return list(self.priors)
        return [_moved(prior, self.scaling, scaling) for prior in self.priors]


def fit_classes(
    data: TaskData,
    outcomes: Outcomes,
    settings: BayesSettings,
    given: GivenPriors | None,
    owner: str,
) -> ClassFit:
    """Learn from encoded data."""
    refuse_huge(data, outcomes, owner)
    if given is not None:
        given.check(data, outcomes, owner)
    weight = label_weights(data, outcomes, None, owner)
    scaling = feature_scaling(data, weight, bool(settings.standardize), centre=True)
    if given is not None:
        scaling = given.own_scaling or scaling
    labels = class_labels(data, outcomes, scaling, owner)
    problems = [labels.against_rest(codes) for codes in positive_codes(outcomes)]
    if given is not None:
        with weights_within_reach(weight, owner):
            return _under_given(problems, given, scaling)
    varying = varying_columns(settings.varying, data, owner)
    space, n_features = None, None
    extent = data.n_features, labels.n_rows, float(labels.weight.sum())
    if is_wide(*extent, varying, settings.chosen_structure):
        space, problems = spanned(problems)
        varying, n_features = tuple(range(space.width)), space.n_features
    with weights_within_reach(weight, owner):
        found = learn_class_priors(
            problems,
            settings.chosen_structure,
            varying,
            settings.gaussian_mean(data.n_features),
            (float(settings.tol), int(settings.max_iter)),
            n_features,
        )
    return ClassFit(
        posteriors=_posteriors(found, problems, space),
        scaling=scaling,
        structure=found.structure,
        log_likelihood=found.log_likelihood,
        candidates=found.candidates,
        residual=max(learned.residual for learned in found.learned),
        converged=all(learned.converged for learned in found.learned),
        n_iter=max(learned.n_iter for learned in found.learned),
        seconds=sum(learned.seconds for learned in found.learned),
    )


def _posteriors(
    found: ClassPriors, problems: list[Labelled], space: RowSpace | None
) -> list[ClassPosterior]:
    posteriors = []
    for problem, learned in zip(problems, found.learned, strict=True):
        prior = Prior(
            mean=learned.mode.point.mean,
            covariance=learned.covariance,
            varying=np.array(learned.model.varying, dtype=np.intp),
            noise=None,
            mean_covariance=learned.mode.mean_covariance,
            space=space,
        )
        posteriors.append(class_posterior(learned.mode, learned.beliefs, prior, problem))
    return posteriors


def positive_codes(outcomes: Outcomes) -> list[Index]:
    """Return for every problem the code of its class in each task, -1 where it has no say."""
    # Two classes at most: one problem. Otherwise a task takes part in the problem of a class if
    # it has that class and another one.
    if not _several(outcomes):
        return [np.ones(len(outcomes.classes), dtype=np.intp)]
    assert outcomes.union is not None
    return [
        np.array([_code_of(label, classes) for classes in outcomes.classes], dtype=np.intp)
        for label in outcomes.union.tolist()
    ]


def _several(outcomes: Outcomes) -> bool:
    return isinstance(outcomes.losses[0], Multinomial)


def _code_of(label: Any, classes: NDArray[Any] | None) -> int:  # noqa: ANN401 - a class
    known = [] if classes is None else classes.tolist()
    return known.index(label) if len(known) > 1 and label in known else -1


def _under_given(
    problems: list[Labelled], given: GivenPriors, scaling: FeatureScaling
) -> ClassFit:
    priors = given.moved_to(scaling)
    pairs = [
        posterior_under(prior, problem) for prior, problem in zip(priors, problems, strict=True)
    ]
    return ClassFit(
        posteriors=[posterior for posterior, _ in pairs],
        scaling=scaling,
        structure=None,
        log_likelihood=sum(value for _, value in pairs),
        candidates=(),
        residual=0.0,
        converged=True,
        n_iter=1,
        seconds=0.0,
    )


def _moved(prior: Prior, old: FeatureScaling, new: FeatureScaling) -> Prior:
    """Express a prior of coefficients of one scaling in another."""
    turn = np.diag(np.concatenate([[1.0], new.scale / old.scale]))
    turn[0, 1:] = (new.mean - old.mean) / old.scale
    V = prior.varying
    own = turn[np.ix_(V, V)]
    S = prior.mean_covariance
    return Prior(
        mean=turn @ prior.mean,
        covariance=own @ prior.covariance @ own.T,
        varying=V,
        noise=None,
        mean_covariance=None if S is None else turn @ S @ turn.T,
    )
