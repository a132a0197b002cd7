"""What the data of a fitted model say about how its tasks are related."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._checks import positive_integer, sentence
from polytask._registry import saveable
from polytask.bayes.blocks import Block
from polytask.bayes.correlated_fit import JointLearned
from polytask.bayes.correlated_posterior import JointTasks
from polytask.bayes.evidence import Evidence, likelihood_ratio, log_densities, verdict
from polytask.bayes.fit import Learned, learn
from polytask.bayes.marginal import Model
from polytask.bayes.prior import NoVariation, Prior, Scalar, line_of, noise_of
from polytask.data import Form, TaskData
from polytask.exceptions import IncompatibleError, ParameterError
from polytask.linear._bayes_correlated_evidence import joint_densities, joint_ratios
from polytask.linear._bayes_rows import PriorRows
from polytask.linear._bayes_tasks import BayesTasks

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
        return Densities(*joint_densities(data, scaled, rows.rows.scaling, joint, (prior, alone)))
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
        raise IncompatibleError(
            f"{owner}.evidence needs a prior that was learned from the data; this one was given."
        )
    count = positive_integer(draws, "n_bootstrap", f"{owner}.evidence")
    if count < _FEWEST_DRAWS:
        allowed = f"{_FEWEST_DRAWS} or more, so that a p-value can be as small as .05"
        raise ParameterError(sentence("n_bootstrap", f"{owner}.evidence", allowed, str(count)))
    rng = np.random.default_rng(random_state)
    slopes, levels = _ratios(tasks, learned, count, rng)
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


def _ratios(
    tasks: BayesTasks, learned: Learned | JointLearned, count: int, rng: np.random.Generator
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return log ratio and p-value for coefficients that vary, and for intercepts that do."""
    if isinstance(learned, JointLearned):
        if tasks.joint is None:
            raise TypeError(type(learned).__name__)
        return joint_ratios(tasks.joint, learned, count, rng)
    blocks = tasks.blocks
    n_tasks = 1 + max(int(block.tasks.max()) for block in blocks)
    common = replace(learned, model=replace(learned.model, task_noise=None))
    if isinstance(common.model.structure, NoVariation) and len(common.model.varying) > 1:
        # The alternative to no variation is some.
        common = replace(common, model=replace(common.model, structure=Scalar()))
    slopes = likelihood_ratio(blocks, common, NoVariation(), n_tasks, count, rng)
    flat = replace(common, model=replace(common.model, structure=NoVariation()))
    return slopes, likelihood_ratio(blocks, flat, None, n_tasks, count, rng)
