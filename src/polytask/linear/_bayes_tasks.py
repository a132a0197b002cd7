"""Numbers predicted with the posterior of every task, and how uncertain they are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator.scaling import FeatureScaling, TargetScaling
from polytask._registry import saveable
from polytask.bayes.blocks import Block
from polytask.bayes.correlated_posterior import JointPosterior, JointTasks, joint_posterior
from polytask.bayes.prior import Prior, line_of, noise_of, posterior_covariance, posterior_means
from polytask.linear._bayes_rows import dense
from polytask.linear.prediction import LinearTasks
from polytask.losses import Squared

Array = NDArray[np.float64]

# Rows whose variances are worked out at a time.
_PIECE = 4096


@saveable("linear.bayes_tasks")
@dataclass(frozen=True, eq=False)
class BayesTasks:
    """What a learned prior and the rows of every task say, with the scaling."""

    # Shapes: mean, scale (n_features,), target_mean, target_scale (n_tasks,), counts (n_tasks,),
    # present (n_tasks, n_features).

    prior: Prior
    blocks: tuple[Block, ...]
    mean: Array
    scale: Array
    target_mean: Array
    target_scale: Array
    counts: Array
    present: NDArray[np.bool_] | None
    precision: str
    joint: JointTasks | None = None

    @property
    def n_tasks(self) -> int:
        """Number of tasks."""
        return len(self.counts)

    @property
    def features(self) -> FeatureScaling:
        """Scaling of the features."""
        return FeatureScaling(self.mean, self.scale, active=True)

    @property
    def targets(self) -> TargetScaling:
        """Scaling of the targets."""
        return TargetScaling(self.target_mean, self.target_scale)

    def units(self, task: int) -> tuple[float, float]:
        """Return mean and scale of the targets of a task; of an unseen one the mean of all."""
        if task >= 0:
            return float(self.target_mean[task]), float(self.target_scale[task])
        weights = self.counts if self.counts.any() else None
        return (
            float(np.average(self.target_mean, weights=weights)),
            float(np.average(self.target_scale, weights=weights)),
        )

    def linear(self) -> LinearTasks:
        """Return the posterior means of all tasks in original units."""
        W = posterior_means(self.blocks, self.prior, self.n_tasks)
        if self.joint_posterior is not None:
            W[: len(self.joint_posterior.means)] = self.joint_posterior.means
        W = self.prior.lifted(W)
        present = self.present
        coef, intercept = self.features.restore(W[:, 1:].T, W[:, 0], present)
        n = self.n_tasks
        dtype = np.dtype(self.precision)
        return LinearTasks(
            coef=(coef.T * self.target_scale[:, None]).astype(dtype),
            intercept=(intercept * self.target_scale + self.target_mean).astype(dtype),
            slices=tuple(slice(t, t + 1) for t in range(n)),
            losses=(Squared(),) * n,
            classes=(None,) * n,
            labels=(None,) * n,
            counts=self.counts,
            union=None,
        )

    def typical(self) -> tuple[Array, float]:
        """Return coefficients and intercept of an unseen task, the prior mean."""
        mean, scale = self.units(-1)
        known = self.prior.lifted(self.prior.mean[None])[0]
        coef = known[1:] / self.scale
        return coef * scale, float((known[0] - self.mean @ coef) * scale + mean)

    def noise(self) -> Array:
        """Return the standard deviation of the noise of every task in original units."""
        return np.asarray(np.sqrt(noise_of(self.prior, self.n_tasks)) * self.target_scale)

    def noise_covariance(self) -> Array | None:
        """Return the covariance of the noise of the tasks in original units; None if none."""
        if self.joint is None:
            return None
        covariance = np.diag(self.noise() ** 2)
        scale = self.target_scale[: self.joint.n_tasks]
        own = self.joint.noise * np.multiply.outer(scale, scale)
        covariance[: len(own), : len(own)] = own
        return covariance

    @cached_property
    def joint_posterior(self) -> JointPosterior | None:
        """The coefficients of the tasks whose noise is correlated."""
        return None if self.joint is None else joint_posterior(self.joint, self.prior)

    def covariance(self, task: int, noise: float) -> Array:
        """Return the covariance of the coefficients of a task in the columns of the prior."""
        known = self.joint_posterior
        if known is not None and 0 <= task < len(known.means):
            return known.covariance(task)
        line = line_of(self.blocks, task) if task >= 0 else None
        return posterior_covariance(line, self.prior, noise)

    def deviation(self, X: Any, task: int) -> Array:  # noqa: ANN401 - dense or sparse
        """Return the standard deviation of new targets, shape (n_rows,), in original units."""
        # Shapes: X (n_rows, n_features).
        variances = noise_of(self.prior, self.n_tasks)
        noise = float(variances[task] if task >= 0 else variances.mean())
        covariance = self.covariance(task, noise)
        exists = None if self.present is None or task < 0 else self.present[task]
        out = np.empty(X.shape[0])
        for start in range(0, len(out), _PIECE):
            Z = (dense(X[start : start + _PIECE]) - self.mean) / self.scale
            Z = np.column_stack([np.ones(len(Z)), Z if exists is None else Z * exists])
            Z = self.prior.coordinates(Z)
            spread = np.einsum("ij,ij->i", Z @ covariance, Z)
            out[start : start + _PIECE] = np.sqrt(np.maximum(spread, 0.0) + noise)
        return out * self.units(task)[1]
