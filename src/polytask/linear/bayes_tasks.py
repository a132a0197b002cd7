"""Numbers predicted with the posterior of every task, how uncertain they are, and further rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator import Query, regression
from polytask._estimator.query import InputSchema, read_query
from polytask._estimator.scaling import FeatureScaling, TargetScaling, refuse_huge
from polytask._estimator.scored import scored_data
from polytask._estimator.scoring import LabelledTask, labelled_rows
from polytask._estimator.weights import label_weights, sum_by_task
from polytask._registry import saveable
from polytask.bayes.blocks import (
    Block,
    collect_shared,
    collect_stacked,
    merged,
    opened_block,
    renumbered,
)
from polytask.bayes.correlated_rows import JointRows, collect_joint
from polytask.bayes.posterior import (
    JointPosterior,
    JointTasks,
    joint_posterior,
    line_of,
    noise_of,
    posterior_covariance,
    posterior_means,
)
from polytask.bayes.prior import Prior
from polytask.data import Form, LabelIndex, TaskData
from polytask.linear._bayes_rows import (
    PriorRows,
    ScaledRows,
    column_presence,
    dense,
    numbers_of,
    presence,
    with_rows,
)
from polytask.linear.heavy_weights import refuse_heavy
from polytask.linear.interval_noise import interval_noise
from polytask.linear.prediction import LinearTasks
from polytask.losses import Squared

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Mask = NDArray[np.bool_]


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

    def weighted(self, factor: float) -> BayesTasks:
        """Return the same with the weights of all rows times a factor."""
        blocks, joint = tuple(block.weighted(factor) for block in self.blocks), self.joint
        if joint is not None:
            joint = replace(joint, rows=joint.rows.weighted(factor))
        return replace(self, blocks=blocks, counts=factor * self.counts, joint=joint)

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

    @cached_property
    def _interval_noise(self) -> Array:
        return interval_noise(self.blocks, self.prior, self.n_tasks)

    def noise_beyond(self, task: int) -> float:
        """Return the variance of noise that intervals of a task have beyond the common one."""
        own, common = self._interval_noise, noise_of(self.prior, self.n_tasks)
        return float(own[task] - common[task] if task >= 0 else own.mean() - common.mean())

    def interval_deviation(self, deviation: Array, task: int) -> Array:
        """Return standard deviations with the noise of the task in the place of the common one."""
        # Shapes: deviation and result (n_rows,), in original units.
        return np.asarray(
            np.sqrt(deviation**2 + self.noise_beyond(task) * self.units(task)[1] ** 2)
        )

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


# So many tasks are worked out one by one; more at once.
_FEW = 20


def updated(
    schema: InputSchema, tasks: BayesTasks, given: tuple[Any, Any, Any, Any]
) -> tuple[InputSchema, BayesTasks, list[LabelledTask]]:
    """Return what a fitted model knows after further rows, and these."""
    raw = scored_data(schema, *given)
    query = read_query(schema, raw, None, "shared")
    numbers, labels = numbers_of(schema, raw, query)
    present = presence(tasks.present, query, numbers, (tasks.n_tasks, len(labels)))
    wide = _opened(_widened(tasks, present, len(labels)), raw, query, numbers)
    y = regression(raw, "squared", schema.owner)
    refuse_huge(query.data, y, schema.owner)
    weight = label_weights(raw, y, None, schema.owner)
    refuse_heavy(weight, schema.owner)
    own = slice(None) if raw.form is Form.TARGETS else numbers[raw.row_tasks()]
    scaled = np.nan_to_num((y.y - wide.target_mean[own]) / wide.target_scale[own])
    np.add.at(wide.counts, numbers, sum_by_task(weight, raw))
    joint = wide.joint
    if joint is not None:
        rows, weight = _joint_rows(joint.n_tasks, wide, (raw, query), (scaled, weight), numbers)
        joint = with_rows(joint, rows, len(wide.prior.varying), schema.owner)
    blocks = _blocks(wide, raw, query, (scaled, weight), numbers)
    new = replace(
        schema,
        index=LabelIndex(labels),
        present=column_presence(schema, raw, numbers, len(labels)),
    )
    if joint is not None:
        blocks = tuple(_beyond(blocks, joint.n_tasks))
    known = replace(wide, blocks=merged(wide.blocks, blocks), joint=joint)
    return new, known, labelled_rows(raw, numbers)


def updated_linear(linear: LinearTasks, known: BayesTasks, tasks: BayesTasks) -> LinearTasks:
    """Return the posterior means after further rows; tasks without new rows keep theirs."""
    n = tasks.n_tasks
    before = np.append(known.counts, np.full(n - known.n_tasks, np.nan))
    changed = np.flatnonzero(tasks.counts != before)
    jointly = tasks.joint is not None and bool(np.any(changed < tasks.joint.n_tasks))
    if len(changed) > _FEW or jointly:
        return tasks.linear()
    noise = noise_of(tasks.prior, n)
    means = np.stack([_mean_of(tasks, t, float(noise[t])) for t in changed.tolist()])
    W = tasks.prior.lifted(means).T
    present = None if tasks.present is None else tasks.present[changed]
    coef, intercept = tasks.features.restore(W[1:], W[0], present)
    scale, mean = tasks.target_scale[changed], tasks.target_mean[changed]
    coefs = np.zeros((n, len(coef)), dtype=linear.coef.dtype)
    intercepts = np.zeros(n, dtype=linear.intercept.dtype)
    coefs[: known.n_tasks], intercepts[: known.n_tasks] = linear.coef, linear.intercept
    coefs[changed], intercepts[changed] = coef.T * scale[:, None], intercept * scale + mean
    return replace(
        linear,
        coef=coefs,
        intercept=intercepts,
        slices=tuple(slice(t, t + 1) for t in range(n)),
        losses=(linear.losses[0],) * n,
        classes=(None,) * n,
        labels=(None,) * n,
        counts=tasks.counts,
    )


def _mean_of(tasks: BayesTasks, task: int, noise: float) -> Array:
    """Return the posterior mean of one task in scaled units."""
    line = line_of(tasks.blocks, task)
    if line is None:
        return tasks.prior.mean
    alone = renumbered(line, np.zeros((1, 1), dtype=np.intp))
    prior = replace(tasks.prior, noise=noise)
    return np.asarray(posterior_means([alone], prior, 1)[0])


def _widened(tasks: BayesTasks, present: Mask | None, n_tasks: int) -> BayesTasks:
    """Return the same with room for new tasks, in the units that the known ones have."""
    mean, scale = tasks.units(-1)
    more = n_tasks - tasks.n_tasks
    return replace(
        tasks,
        target_mean=np.append(tasks.target_mean, np.full(more, mean)),
        target_scale=np.append(tasks.target_scale, np.full(more, scale)),
        counts=np.append(tasks.counts, np.zeros(more)),
        present=present,
    )


def _opened(tasks: BayesTasks, raw: TaskData, query: Query, numbers: Index) -> BayesTasks:
    """Return the same in coordinates that hold the new rows."""
    if tasks.prior.space is None:
        return tasks
    rows = _scaled_rows(tasks, raw, query, numbers)
    prior = tasks.prior.opened(rows(np.arange(raw.n_rows)))
    more = len(prior.mean) - len(tasks.prior.mean)
    blocks = tuple(opened_block(block, more) for block in tasks.blocks)
    return replace(tasks, prior=prior, blocks=blocks)


def _scaled_rows(tasks: BayesTasks, raw: TaskData, query: Query, numbers: Index) -> ScaledRows:
    exists = None
    if raw.form is not Form.TARGETS and tasks.present is not None:
        exists = tasks.present[numbers[raw.row_tasks()]]
    return ScaledRows(query.data.X, tasks.features, exists)


def _blocks(
    tasks: BayesTasks,
    raw: TaskData,
    query: Query,
    labels: tuple[Array, Array],
    numbers: Index,
) -> tuple[Block, ...]:
    y, weight = labels
    rows = PriorRows(_scaled_rows(tasks, raw, query, numbers), tasks.prior.space)
    if raw.form is Form.TARGETS:
        return collect_shared(rows, rows.width, y, weight)
    blocks = collect_stacked(rows, rows.width, y, weight, np.asarray(raw.offsets))
    return tuple(renumbered(block, numbers[block.tasks]) for block in blocks)


def _joint_rows(
    n_joint: int,
    tasks: BayesTasks,
    given: tuple[TaskData, Query],
    labels: tuple[Array, Array],
    numbers: Index,
) -> tuple[JointRows, Array]:
    """Return the rows of the tasks whose noise is correlated, and the weights of the others."""
    # A row with the label of one task has no label of the others.
    (raw, query), (y, weight) = given, labels
    if raw.form is Form.TARGETS:
        Y, own = y[:, :n_joint], weight[:, :n_joint]
        rest = np.where(np.arange(y.shape[1]) < n_joint, 0.0, weight)
    else:
        task = numbers[raw.row_tasks()]
        Y, own = np.zeros((len(y), n_joint)), np.zeros((len(y), n_joint))
        inside = np.flatnonzero(task < n_joint)
        Y[inside, task[inside]], own[inside, task[inside]] = y[inside], weight[inside]
        rest = np.where(task < n_joint, 0.0, weight)
    rows = ScaledRows(query.data.X, tasks.features, None)
    return collect_joint(rows, 1 + query.data.n_features, Y, own), rest


def _beyond(blocks: tuple[Block, ...], n_joint: int) -> Iterator[Block]:
    """Yield the lines of the tasks that are not among the first ones."""
    for block in blocks:
        inside = np.flatnonzero((block.tasks >= n_joint).any(axis=1))
        if len(inside):
            yield block.lines(inside)
