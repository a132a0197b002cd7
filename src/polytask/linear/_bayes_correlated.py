"""A learned prior for targets of one design whose noise is correlated."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from polytask._checks import sentence
from polytask._estimator.scaling import FeatureScaling
from polytask._estimator.training import cell_mask
from polytask.bayes.correlated import JointRows, collect_joint, joined
from polytask.bayes.correlated_fit import JointLearned, Search, Start, learn_correlated
from polytask.bayes.correlated_posterior import JointTasks
from polytask.bayes.fit import Candidate, Learned
from polytask.bayes.prior import Prior, Structure
from polytask.data import Form, TaskData
from polytask.exceptions import DataError, IncompatibleError
from polytask.linear._bayes_rows import ScaledRows

Array = NDArray[np.float64]

# With gaps the coefficients of all tasks are one system, which is solved densely.
LARGEST_SYSTEM = 2000
# Every set of targets that a row may have labels of has a matrix of all targets of its own.
LARGEST_PATTERNS = 20_000_000


@dataclass(frozen=True, eq=False)
class CorrelatedFit:
    """What was learned."""

    learned: JointLearned
    candidates: tuple[Candidate, ...]
    prior: Prior
    joint: JointTasks


def refuse_rows(data: TaskData, owner: str) -> None:
    """Refuse rows that have the label of one task each."""
    if data.form is Form.TARGETS or data.n_tasks == 1:
        return
    raise IncompatibleError(
        f"noise='correlated' of {owner} needs the targets form, X and a matrix y with one column "
        "for each task, so that it is known which labels belong to the same row; got rows of "
        f"one task each ({data.n_tasks} tasks). Give y as a matrix with NaN for missing labels, "
        "or use noise='task'."
    )


def joint_rows(
    data: TaskData, y: Array, weight: Array, scaling: FeatureScaling, owner: str
) -> JointRows:
    """Collect the rows of all tasks."""
    refuse_rows(data, owner)
    rows = ScaledRows(data.X, scaling, cell_mask(data))
    Y, own = (y, weight) if y.ndim == 2 else (y[:, None], weight[:, None])
    return collect_joint(rows, 1 + data.n_features, Y, own)


def fit_correlated(
    rows: JointRows,
    apart: Learned,
    structure: Structure | None,
    limits: tuple[float, int],
) -> CorrelatedFit:
    """Learn prior and noise of rows of all tasks."""
    active, model = rows.active, apart.model
    known = rows.of(active)
    variances = _variances(apart, rows.n_tasks)
    start = Start(apart.covariance, np.diag(variances[active]))
    learned, candidates = learn_correlated(
        known, model, start, Search(*limits), structure is not None
    )
    noise = np.diag(np.full(rows.n_tasks, float(np.diagonal(learned.noise).mean())))
    noise[np.ix_(active, active)] = learned.noise
    prior = Prior(
        mean=learned.mean,
        covariance=learned.covariance,
        varying=np.array(model.varying, dtype=np.intp),
        noise=np.diagonal(noise).copy(),
        mean_covariance=learned.mean_covariance,
    )
    return CorrelatedFit(learned, candidates, prior, JointTasks(rows, noise))


def refuse_large(rows: JointRows, varying: int, owner: str) -> None:
    """Refuse rows with gaps of too many coefficients or patterns."""
    rows = rows.of(rows.active)
    size = rows.n_tasks * varying
    if len(rows.count) > 1 and size > LARGEST_SYSTEM:
        allowed = (
            f"without gaps for noise='correlated', or of {LARGEST_SYSTEM} coefficients that vary "
            "at most (tasks times varying features and intercept; see varying=)"
        )
        got = f"gaps and {rows.n_tasks} x {varying} = {size}"
        raise DataError(sentence("y", owner, allowed, got))
    entries = len(rows.count) * rows.n_tasks**2
    if len(rows.count) > 1 and entries > LARGEST_PATTERNS:
        allowed = (
            f"with fewer gaps for noise='correlated': sets of labels that some row has, times "
            f"targets squared, up to {LARGEST_PATTERNS}"
        )
        got = f"{len(rows.count)} sets x {rows.n_tasks} x {rows.n_tasks} = {entries}"
        raise DataError(sentence("y", owner, allowed, got))


def given_joint(rows: JointRows, known: JointTasks | None, varying: int, owner: str) -> JointTasks:
    """Return rows with the noise of the model that the prior comes from."""
    if known is None or known.n_tasks != rows.n_tasks:
        got = "one without" if known is None else f"one of {known.n_tasks}"
        raise IncompatibleError(
            f"noise='correlated' of {owner} with prior= needs the prior of a fitted model with "
            f"correlated noise of as many targets as y has, {rows.n_tasks}; got {got}. "
            "Use another noise=, or no prior."
        )
    refuse_large(rows, varying, owner)
    return JointTasks(rows, known.noise)


def _variances(apart: Learned, n_tasks: int) -> Array:
    own = apart.task_noise
    return np.full(n_tasks, apart.noise) if own is None else own


def with_rows(joint: JointTasks, rows: JointRows, varying: int, owner: str) -> JointTasks:
    """Return tasks with further rows."""
    if not len(rows.count):
        return joint
    both = joined(joint.rows, rows)
    refuse_large(both, varying, owner)
    return replace(joint, rows=both)
