"""What both estimators with a learned prior share: what users choose, and how a fit ended."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from polytask._checks import nearest, one_of, positive, positive_integer, sentence
from polytask._estimator.scaling import FeatureScaling, TargetScaling
from polytask.bayes.blocks import Array
from polytask.bayes.correlated import JointLearned
from polytask.bayes.normal import Learned
from polytask.bayes.prior import (
    Diagonal,
    Full,
    LowRank,
    NoVariation,
    Scalar,
    Structure,
)
from polytask.data import TaskData
from polytask.exceptions import ParameterError
from polytask.linear.prediction import LinearTasks
from polytask.messages import LazyMessage
from polytask.solvers import Solution
from polytask.solvers.base import Certificate, Status

# With fewer features nothing is gained by working in the space of the rows.
_WIDE = 256

STRUCTURES: dict[str, Structure | None] = {
    "auto": None,
    "none": NoVariation(),
    "scalar": Scalar(),
    "diagonal": Diagonal(),
    "low_rank": LowRank(),
    "full": Full(),
}


@dataclass(frozen=True)
class BayesSettings:
    """What the user chose; see `BayesianMultiTaskRegressor`. Classes have no noise."""

    structure: Any
    varying: Any
    mean_prior: Any
    standardize: Any
    tol: Any
    max_iter: Any
    method: Any = "ml"
    noise: Any = "common"
    scale_targets: Any = None

    @classmethod
    def of(cls, estimator: object) -> BayesSettings:
        """Return the choices that an estimator holds as its parameters, checked."""
        names = [field.name for field in fields(cls) if hasattr(estimator, field.name)]
        found = cls(**{name: getattr(estimator, name) for name in names})
        found.check(type(estimator).__name__)
        return found

    def check(self, owner: str) -> None:
        """Raise ParameterError unless every choice exists."""
        if not isinstance(self.structure, Structure):
            one_of(self.structure, "structure", owner, tuple(STRUCTURES))
        one_of(self.mean_prior, "mean_prior", owner, ("auto", "flat", "gaussian"))
        one_of(self.method, "method", owner, ("reml", "ml"))
        one_of(self.noise, "noise", owner, ("common", "task", "correlated"))
        one_of(self.standardize, "standardize", owner, (True, False))
        one_of(self.scale_targets, "scale_targets", owner, ("task", "common", "auto", None))
        positive(self.tol, "tol", owner)
        positive_integer(self.max_iter, "max_iter", owner)

    @property
    def fixed_structure(self) -> Structure | None:
        """The structure, None for "auto"."""
        if isinstance(self.structure, Structure):
            return self.structure
        return STRUCTURES[self.structure]

    @property
    def limits(self) -> tuple[float, int]:
        """Tolerance and number of evaluations."""
        return float(self.tol), int(self.max_iter)

    def gaussian_mean(self, auto: bool) -> bool:
        """Say whether the mean coefficients have a prior that is learned, `auto` if left open."""
        return {"auto": auto, "flat": False, "gaussian": True}[self.mean_prior]


@dataclass(frozen=True, eq=False)
class Ended:
    """How a search ended."""

    log_likelihood: float
    residual: float = 0.0
    converged: bool = True
    n_iter: int = 0
    seconds: float = 0.0

    def solution(self, linear: LinearTasks, max_iter: int) -> Solution:
        """Return coefficients in original units, certificate and status."""
        status = Status.MAX_ITER if self.n_iter >= max_iter else Status.STALLED
        return Solution(
            W=np.asarray(linear.coef.T, dtype=np.float64),
            intercept=np.asarray(linear.intercept, dtype=np.float64),
            objective=-self.log_likelihood,
            certificate=Certificate(gap=None, residual=self.residual, reference=0.0),
            status=Status.CONVERGED if self.converged else status,
            n_iter=self.n_iter,
            seconds=self.seconds,
        )


def varying_columns(varying: Any, data: TaskData, owner: str) -> tuple[int, ...]:  # noqa: ANN401
    """Return the columns that vary, 0 for the intercept in front."""
    d = data.n_features
    if isinstance(varying, str):
        one_of(varying, "varying", owner, ("all",))
        return tuple(range(d + 1))
    names = {name: j for j, name in enumerate(data.feature_names or ())}
    try:
        entries = list(varying)
    except TypeError:
        allowed = LazyMessage("allowed.varying")
        raise ParameterError(sentence("varying", owner, allowed, repr(varying))) from None
    found = {0}
    for entry in entries:
        position = names.get(entry, -1) if isinstance(entry, str) else _position(entry, d)
        if position < 0:
            allowed = LazyMessage("allowed.varying_of", {"n": d})
            hint = nearest(entry, names) if isinstance(entry, str) else ""
            raise ParameterError(sentence("varying", owner, allowed, repr(entry)) + hint)
        found.add(position + 1)
    return tuple(sorted(found))


def is_wide(
    n_features: int,
    n_rows: int,
    n_labels: float,
    varying: tuple[int, ...],
    structure: Structure | None,
) -> bool:
    """Say whether a prior is to be learned in the space of the rows."""
    # That is exact where all features vary alike. Where the structure is to be chosen, one with a
    # parameter for each feature must be out of the question: fewer labels than features.
    if structure is None:
        alike = n_labels < n_features
    else:
        alike = isinstance(structure, NoVariation | Scalar)
    every = len(varying) == n_features + 1
    return alike and every and n_rows < n_features and n_features >= _WIDE


def _position(entry: Any, d: int) -> int:  # noqa: ANN401
    whole = isinstance(entry, int | np.integer) and not isinstance(entry, bool)
    return int(entry) % d if whole and -d <= entry < d else -1


def original_units(
    learned: Learned | JointLearned,
    features: FeatureScaling,
    targets: TargetScaling,
    counts: Array,
) -> float:
    """Return the log-likelihood of the targets before scaling."""
    # The restricted likelihood is that of contrasts of the targets; its level depends on the
    # units of the features whose coefficients are integrated out without a prior.
    model = learned.model
    logs = np.log(targets.scale)
    value = learned.log_likelihood - float(counts @ logs)
    if model.restricted:
        flat = 1 if model.gaussian_mean else 1 + len(features.scale)
        mean_log = float(np.average(logs, weights=counts)) if counts.any() else 0.0
        value += flat * mean_log
        if not model.gaussian_mean:
            value -= float(np.log(features.scale).sum())
    return value
