"""What data with correlated noise say about how their tasks are related."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from polytask._estimator.scaling import FeatureScaling
from polytask._estimator.training import cell_mask
from polytask.bayes.correlated_evidence import joint_likelihood_ratio
from polytask.bayes.correlated_fit import JointLearned
from polytask.bayes.correlated_posterior import JointTasks, log_densities_joint
from polytask.bayes.prior import NoVariation, Prior, Scalar
from polytask.data import TaskData
from polytask.linear._bayes_rows import ScaledRows

Array = NDArray[np.float64]
Index = NDArray[np.intp]

# Densities are taken of so many rows, evenly spread.
_ROWS = 200


def joint_densities(
    data: TaskData,
    scaled: tuple[Array, Array],
    scaling: FeatureScaling,
    joint: JointTasks,
    priors: tuple[Prior, Prior],
) -> tuple[Array, Array]:
    """Return mean log densities of the labels of rows, each row left out as a whole."""
    # The noise is the same under both priors. Rows are independent here and tasks are not, so
    # that the rows are what a standard error is taken over.
    y, weight = (part if part.ndim == 2 else part[:, None] for part in scaled)
    used = np.flatnonzero(weight.any(axis=1))
    if len(used) > _ROWS:
        used = used[np.linspace(0, len(used) - 1, _ROWS).astype(np.intp)]
    rows = ScaledRows(data.X, scaling, cell_mask(data))
    Y = np.where(weight[used] > 0, y[used], np.nan)
    chosen = (rows(used), Y, weight[used].max(axis=1))
    related, separate = (
        np.nanmean(log_densities_joint(joint, prior, chosen), axis=1) for prior in priors
    )
    return related, separate


def joint_ratios(
    joint: JointTasks, learned: JointLearned, draws: int, rng: np.random.Generator
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return log ratio and p-value for coefficients that vary, and for intercepts that do."""
    rows, model = joint.rows.of(joint.rows.active), learned.model
    larger = learned
    if isinstance(model.structure, NoVariation) and len(model.varying) > 1:
        # The alternative to no variation is some.
        larger = replace(learned, model=replace(model, structure=Scalar()))
    slopes = joint_likelihood_ratio(rows, larger, NoVariation(), draws, rng)
    flat = replace(learned, model=replace(model, structure=NoVariation()))
    return slopes, joint_likelihood_ratio(rows, flat, None, draws, rng)
