"""From task data to scaled rows and what they say, a few rows at a time."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from polytask._checks import sentence
from polytask._estimator import Query
from polytask._estimator.query import InputSchema
from polytask._estimator.scaling import FeatureScaling
from polytask._estimator.training import cell_mask
from polytask._linalg import is_sparse
from polytask.bayes.blocks import Block, RowSpace, collect_shared, collect_stacked
from polytask.bayes.correlated_rows import JointRows, collect_joint, joined
from polytask.bayes.posterior import JointTasks
from polytask.data import Form, TaskData, tables
from polytask.datafits import Features
from polytask.exceptions import DataError, IncompatibleError
from polytask.messages import LazyMessage

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ScaledRows:
    """Scaled rows with ones in front, made when they are asked for."""

    # Shapes: X (n, n_features), exists (n, n_features).

    X: Any
    scaling: FeatureScaling
    exists: NDArray[np.bool_] | None

    def __call__(self, numbers: Index) -> Array:
        """Return some rows, shape (len(numbers), 1 + n_features)."""
        rows = np.ones((len(numbers), 1 + self.X.shape[1]))
        rows[:, 1:] = dense(self.X[numbers])
        if self.scaling.active:
            rows[:, 1:] -= self.scaling.mean
            rows[:, 1:] /= self.scaling.scale
        if self.exists is not None:
            rows[:, 1:] *= self.exists[numbers]
        return rows


@dataclass(frozen=True, eq=False)
class PriorRows:
    """Scaled rows in the columns of a prior."""

    rows: ScaledRows
    space: RowSpace | None

    def __call__(self, numbers: Index) -> Array:
        """Return some rows, shape (len(numbers), p)."""
        Z = self.rows(numbers)
        return Z if self.space is None else self.space.coordinates(Z)

    @property
    def width(self) -> int:
        """Number of columns, p."""
        return 1 + self.rows.X.shape[1] if self.space is None else self.space.width


def dense(X: Any) -> NDArray[Any]:  # noqa: ANN401 - ndarray or CSR
    """Return an array of a few rows."""
    return np.asarray(X.toarray() if is_sparse(X) else X)


def blocks_of(data: TaskData, y: Array, weight: Array, rows: PriorRows) -> tuple[Block, ...]:
    """Collect what the rows of every task say. Shapes: y (n,)."""
    p = rows.width
    if data.form is Form.TARGETS:
        return collect_shared(rows, p, y, weight)
    return collect_stacked(rows, p, y, weight, np.asarray(data.offsets))


# With gaps the coefficients of all tasks are one system, which is solved densely.
LARGEST_SYSTEM = 2000
# Every set of targets that a row may have labels of has a matrix of all targets of its own.
LARGEST_PATTERNS = 20_000_000


def refuse_rows(data: TaskData, owner: str) -> None:
    """Refuse rows that have the label of one task each."""
    if data.form is Form.TARGETS or data.n_tasks == 1:
        return
    fields = {"owner": owner, "n": data.n_tasks}
    raise IncompatibleError(LazyMessage("linear.refusal.no_matrix", fields))


def joint_rows(
    data: TaskData, y: Array, weight: Array, scaling: FeatureScaling, owner: str
) -> JointRows:
    """Collect the rows of all tasks."""
    refuse_rows(data, owner)
    rows = ScaledRows(data.X, scaling, cell_mask(data))
    Y, own = (y, weight) if y.ndim == 2 else (y[:, None], weight[:, None])
    return collect_joint(rows, 1 + data.n_features, Y, own)


def refuse_large(rows: JointRows, varying: int, owner: str) -> None:
    """Refuse rows with gaps of too many coefficients or patterns."""
    rows = rows.of(rows.active)
    size = rows.n_tasks * varying
    if len(rows.count) > 1 and size > LARGEST_SYSTEM:
        allowed = LazyMessage("allowed.no_gaps", {"most": str(LARGEST_SYSTEM)})
        got = LazyMessage("got.gaps_and", {"size": f"{rows.n_tasks} x {varying} = {size}"})
        raise DataError(sentence("y", owner, allowed, got))
    entries = len(rows.count) * rows.n_tasks**2
    if len(rows.count) > 1 and entries > LARGEST_PATTERNS:
        allowed = LazyMessage("allowed.fewer_gaps", {"most": str(LARGEST_PATTERNS)})
        product = f"{rows.n_tasks} x {rows.n_tasks} = {entries}"
        got = LazyMessage("got.sets", {"sets": str(len(rows.count)), "size": product})
        raise DataError(sentence("y", owner, allowed, got))


def given_joint(rows: JointRows, known: JointTasks | None, varying: int, owner: str) -> JointTasks:
    """Return rows with the noise of the model that the prior comes from."""
    if known is None or known.n_tasks != rows.n_tasks:
        other = "" if known is None else str(known.n_tasks)
        got = LazyMessage("got.one_of" if other else "got.one_without", {"value": other})
        fields = {"owner": owner, "n": rows.n_tasks, "got": got}
        raise IncompatibleError(LazyMessage("linear.refusal.correlated_prior", fields))
    refuse_large(rows, varying, owner)
    return JointTasks(rows, known.noise)


def with_rows(joint: JointTasks, rows: JointRows, varying: int, owner: str) -> JointTasks:
    """Return tasks with further rows."""
    if not len(rows.count):
        return joint
    both = joined(joint.rows, rows)
    refuse_large(both, varying, owner)
    return replace(joint, rows=both)


def with_ones(features: Features) -> tuple[Any, Array | None]:
    """Return rows with a column of ones in front, and what to subtract from each."""
    X = features.matrix
    ones = np.ones((X.shape[0], 1), dtype=X.dtype)
    shift = None if features.offset is None else np.concatenate([[0.0], features.offset])
    if is_sparse(X):
        return sp.csr_array(sp.hstack([sp.csr_array(ones), X], format="csr")), shift
    return np.hstack([ones, X]), shift


def numbers_of(
    schema: InputSchema, raw: TaskData, query: Query
) -> tuple[Index, tuple[Hashable, ...]]:
    """Return the number of every task of the rows, and all labels, new ones last."""
    known = len(schema.index.labels)
    if query.codes is None:
        return np.arange(known), schema.index.labels
    codes = np.array(query.codes, dtype=np.intp)
    new = np.flatnonzero(codes < 0)
    codes[new] = known + np.arange(len(new))
    return codes, schema.index.labels + tuple(raw.tasks[k] for k in new.tolist())


def presence(
    known: Mask | None, query: Query, numbers: Index, sizes: tuple[int, int]
) -> Mask | None:
    """Return which features every task has, of so many known and all; known tasks keep theirs."""
    own = None if query.codes is None else query.data.present
    if known is None and own is None:
        return None
    present = np.ones((sizes[1], query.data.n_features), dtype=bool)
    if own is not None:
        present[numbers] = own
    present[: sizes[0]] = True if known is None else known
    return present


def column_presence(
    schema: InputSchema, raw: TaskData, numbers: Index, n_tasks: int
) -> Mask | None:
    """Return which columns of the table every task has; known tasks keep theirs."""
    if schema.present is None or schema.encoder is None:
        return schema.present
    names = [str(name) for name in schema.encoder.feature_names_in_]
    given = {name: j for j, name in enumerate(tables.column_names(raw.X))}
    own = np.ones((raw.n_tasks, len(names)), dtype=bool)
    for j, name in enumerate(names):
        if name not in given:
            own[:, j] = False
        elif raw.present is not None:
            own[:, j] = raw.present[:, given[name]]
    present = np.ones((n_tasks, len(names)), dtype=bool)
    if raw.form is not Form.TARGETS:
        present[numbers] = own
    present[: len(schema.present)] = schema.present
    return present
