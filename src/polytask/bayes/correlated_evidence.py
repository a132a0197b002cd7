"""Do tasks differ, where their noise is correlated: likelihood ratio and bootstrap."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from polytask.bayes.blocks import Array
from polytask.bayes.correlated import JointRows
from polytask.bayes.correlated_fit import JointLearned, Search, Start, learn_joint
from polytask.bayes.prior import NoVariation, Structure, factor_of

_ROUGH = 1e-3
# Data drawn from the smaller model are fitted in no more than so many evaluations each.
_FEW = 60
# Variances of coefficients start at this share of the noise's or above.
_LIFT = 0.05


def joint_likelihood_ratio(
    rows: JointRows,
    learned: JointLearned,
    smaller: Structure | None,
    draws: int,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Return a log ratio of likelihoods and its bootstrap p-value."""
    # The covariance of the noise is held as it was learned, in both models and for all draws.
    test = _Test(learned, smaller)
    ratio, base = test.ratio(rows)
    larger = sum(test.ratio(_drawn(rows, base, rng))[0] >= ratio for _ in range(draws))
    return ratio, (1 + larger) / (1 + draws)


@dataclass(frozen=True, eq=False)
class _Test:
    learned: JointLearned
    smaller: Structure | None

    def ratio(self, rows: JointRows) -> tuple[float, JointLearned]:
        """Return the log ratio, and the smaller model."""
        larger = self._fit(rows, self.learned.model.structure)
        small = self._fit(rows, self.smaller)
        return max(larger.log_likelihood - small.log_likelihood, 0.0), small

    def _fit(self, rows: JointRows, structure: Structure | None) -> JointLearned:
        """Fit one of the models; None for no variation at all."""
        learned = self.learned
        model = replace(learned.model, structure=structure or NoVariation())
        search = Search(_ROUGH, _FEW, without=structure is None, noise_held=True)
        start = Start(np.maximum(learned.covariance, self._least), learned.noise, learned.log_mean)
        return learn_joint(rows, model, learned.pull, start, search)

    @property
    def _least(self) -> Array:
        """Variances to begin with where none were learned."""
        return np.diag(np.full(len(self.learned.covariance), _LIFT * self._unit))

    @property
    def _unit(self) -> float:
        return float(np.mean(self.learned.pull.variances))


def _drawn(rows: JointRows, base: JointLearned, rng: np.random.Generator) -> JointRows:
    """Draw targets for the same rows."""
    # What a pattern's rows leave beside their triangle is the same in both models, so that it
    # need not be drawn.
    varying = np.array(base.model.varying)
    factor = factor_of(base.covariance)
    W = np.repeat(base.mean[:, None], rows.n_tasks, axis=1)
    W[varying] += factor @ rng.standard_normal((factor.shape[1], rows.n_tasks))
    noise: Array = rng.standard_normal(rows.Y.shape) @ np.linalg.cholesky(base.noise).T
    return replace(rows, Y=np.where(rows.labelled[rows.pattern], rows.X @ W + noise, 0.0))
