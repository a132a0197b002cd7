"""What the data of a fitted model say about how its tasks are related."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._checks import positive_integer, sentence
from polytask._estimator.scaling import FeatureScaling
from polytask._estimator.training import cell_mask
from polytask._registry import saveable
from polytask.bayes.blocks import Block
from polytask.bayes.correlated import JointLearned
from polytask.bayes.evidence import Evidence, likelihood_ratios, log_densities, verdict
from polytask.bayes.normal import Learned, learn
from polytask.bayes.posterior import JointTasks, line_of, log_densities_joint, noise_of
from polytask.bayes.prior import Model, NoVariation, Prior, Scalar
from polytask.data import Form, TaskData
from polytask.exceptions import IncompatibleError, ParameterError
from polytask.linear._bayes_rows import PriorRows, ScaledRows
from polytask.linear.bayes_tasks import BayesTasks
from polytask.messages import LazyMessage

Array = NDArray[np.float64]
Index = NDArray[np.intp]


# Densities are taken of so many tasks, and of so many rows of each, evenly spread.
_TASKS, _ROWS = 500, 200
# The p-value of n draws is at least 1 / (n + 1).
_FEWEST_DRAWS = 19


@saveable("linear.bayes_densities")
@dataclass(frozen=True, eq=False)
class Densities:
    """Log densities of rows given all other rows of their tasks."""

    # Shapes: related, separate (n,).

    related: Array
    separate: Array

    @property
    def gain(self) -> tuple[float, float]:
        """Mean difference over the tasks and its standard error."""
        difference = self.related - self.separate
        if len(difference) < 2:
            return float(difference.sum()), float("inf")
        error = np.std(difference, ddof=1) / np.sqrt(len(difference))
        return float(difference.mean()), float(error)


def densities_of(
    data: TaskData,
    scaled: tuple[Array, Array],
    rows: PriorRows,
    blocks: tuple[Block, ...],
    learned: tuple[Model, Prior],
    joint: JointTasks | None = None,
) -> Densities:
    """Return the densities under the learned prior and under one that shares no mean."""
    model, prior = learned
    alone = _apart(blocks, model, data.n_tasks)
    if joint is not None:
        return Densities(*_joint_densities(data, scaled, rows.rows.scaling, joint, (prior, alone)))
    noise = [noise_of(p, data.n_tasks) for p in (prior, alone)]
    means: list[list[float]] = [[], []]
    for task in _spread(np.flatnonzero(data.task_rows() > 1), _TASKS):
        part, y, weight = _rows_of(data, scaled, int(task))
        line = line_of(blocks, int(task))
        chosen = (rows(part), y, weight)
        for k, own in enumerate((prior, alone)):
            values = log_densities(line, own, float(noise[k][task]), chosen)
            means[k].append(float(values.mean()))
    return Densities(np.array(means[0]), np.array(means[1]))


def _apart(blocks: tuple[Block, ...], model: Model, n_tasks: int) -> Prior:
    """Return what is learned if tasks share no mean but that of the intercepts."""
    structure = Scalar() if len(model.varying) > 1 else NoVariation()
    own = replace(model, structure=structure, gaussian_mean=True, task_noise=None)
    found = learn(blocks, own, n_tasks, tol=1e-3, apart=True)
    varying = np.array(model.varying, dtype=np.intp)
    return Prior(found.mean, found.covariance, varying, found.noise)


def _rows_of(data: TaskData, scaled: tuple[Array, Array], task: int) -> tuple[Index, Array, Array]:
    y, weight = scaled
    if data.form is Form.TARGETS:
        part = _spread(np.flatnonzero(weight[:, task] > 0), _ROWS)
        return part, y[part, task], weight[part, task]
    own = data.task_slice(task)
    part = _spread(np.arange(own.start, own.stop), _ROWS)
    return part, y[part], weight[part]


def _spread(numbers: Index, most: int) -> Index:
    """Return no more than so many of the numbers, evenly spread."""
    if len(numbers) <= most:
        return numbers
    return numbers[np.linspace(0, len(numbers) - 1, most).astype(np.intp)]


def evidence_of(
    tasks: BayesTasks,
    learned: Learned | JointLearned | None,
    densities: Densities | None,
    draws: Any,  # noqa: ANN401 - checked here
    random_state: Any,  # noqa: ANN401
    owner: str,
) -> Evidence:
    """Return the evidence of a fitted model."""
    if learned is None or densities is None:
        raise IncompatibleError(LazyMessage("linear.refusal.given_prior", {"owner": owner}))
    count = positive_integer(draws, "n_bootstrap", f"{owner}.evidence")
    if count < _FEWEST_DRAWS:
        what, allowed = f"{owner}.evidence", LazyMessage("allowed.draws", {"least": _FEWEST_DRAWS})
        raise ParameterError(sentence("n_bootstrap", what, allowed, str(count)))
    rng = np.random.default_rng(random_state)
    joint = tasks.joint
    data = tasks.blocks if joint is None else joint.rows.of(joint.rows.active)
    slopes, levels = likelihood_ratios(data, learned, count, rng)
    gain, error = densities.gain
    return Evidence(
        verdict=verdict(slopes[1], gain, error),
        log_ratio=slopes[0],
        p_value=slopes[1],
        intercept_log_ratio=levels[0],
        intercept_p_value=levels[1],
        related_density=float(densities.related.mean()) if len(densities.related) else 0.0,
        separate_density=float(densities.separate.mean()) if len(densities.separate) else 0.0,
        density_error=error,
        n_bootstrap=count,
    )


def _joint_densities(
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
    used = _spread(np.flatnonzero(weight.any(axis=1)), _ROWS)
    rows = ScaledRows(data.X, scaling, cell_mask(data))
    Y = np.where(weight[used] > 0, y[used], np.nan)
    chosen = (rows(used), Y, weight[used].max(axis=1))
    related, separate = (
        np.nanmean(log_densities_joint(joint, prior, chosen), axis=1) for prior in priors
    )
    return related, separate
