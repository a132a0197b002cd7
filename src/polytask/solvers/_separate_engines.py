"""The state of a descent over rows: on samples or on statistics, for tasks of their own.

An engine holds a local quadratic of the data term, with every task's own intercept minimised
out for the group means as they are; those move between sweeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from polytask.datafits import Evaluation, Samples, ScalarBlock, SquaredStatistics, Stacked
from polytask.datafits.base import Array
from polytask.datafits.designs import Index
from polytask.solvers import _gram_kernels as gram_kernels
from polytask.solvers import _separate_kernels as kernels
from polytask.solvers._separate_terms import LimitedTerms

# Curvatures below this share of the largest possible one are raised to it.
_FLOOR = 1e-6
# Curvatures of rows are computed anew once those of predictions have changed by this share.
_STALE = 0.05
_HALVINGS = 20
_SWEEPS_PER_MODEL = 2
# Sweeps over statistics in one go: so many products, and no more sweeps than these.
_SMALL, _MOST_TIMES = 200_000, 5
# Features that are brought into memory at a time.
_CHUNK = 64

Point = tuple[Array, ...]


class Engine(Protocol):
    """What the descent asks of the data."""

    def begin(self, W: Array, at: Evaluation, active: Index) -> None:
        """Start from W, evaluated at `at`, with the rows that may move."""

    def advance(self, aim: float, most: int) -> tuple[float, int]:
        """Sweep up to `most` times over the active rows, until the violation is below `aim`."""

    def value(self) -> float:
        """Return the objective."""

    def point(self) -> Point:
        """Return copies of all that is linear in the coefficients, those first."""

    def jump(self, point: Point) -> None:
        """Go to a point."""

    def coefficients(self) -> Array:
        """Return a copy of W."""

    @property
    def intercept(self) -> Array:
        """The intercepts as they are, a guess for the next evaluation."""


@dataclass(eq=False)
class RowsEngine:
    """A descent on samples: one block of tasks with rows of their own."""

    datafit: Samples
    block: ScalarBlock
    design: Stacked
    terms: LimitedTerms
    dtype: type[np.floating[Any]]

    def __post_init__(self) -> None:
        """Allocate nothing but the bookkeeping: features are gathered as they are needed."""
        d, columns = self.datafit.shape
        self.offsets = np.ascontiguousarray(self.design.offsets, dtype=np.intp)
        self.pull = float(self.datafit.intercepts.own_curvature)
        self.spectral_bound = self.terms.spectral_bound(columns)
        self.place = np.full(d, -1, dtype=np.intp)
        self.owners = np.zeros(0, dtype=np.intp)
        self.X = np.zeros((0, int(self.offsets[-1])), dtype=self.dtype)
        self.W = np.zeros((0, columns))
        self.mean, self.curvature = np.zeros((0, columns)), np.zeros((0, columns))
        self.used = 0
        self.reference = np.zeros(0)

    @cached_property
    def _floor(self) -> Array:
        return np.asarray(_FLOOR * np.broadcast_to(self.block.bound(), self.block.y.shape))

    def begin(self, W: Array, at: Evaluation, active: Index) -> None:
        """Start from W, evaluated at `at`, with the rows that may move."""
        self.whole = W
        self.b = at.intercept.copy()
        self.eta = self.design.forward(W) + self.design.spread(self.b)
        if at.predictions is not None:
            self.eta = at.predictions[0].copy()
        self._gather(active[self.place[active] < 0])
        self.features = active
        self.active = self.place[active]
        self.W[self.active] = W[active]
        self.norms = np.sqrt(np.einsum("ij,ij->i", self.W, self.W))

    def _gather(self, new: Index) -> None:
        """Put features into memory, contiguous along the rows of the data."""
        needed = self.used + len(new)
        if needed > len(self.X):
            room = min(max(needed, 2 * len(self.X)), len(self.place))
            self.X, self.W, self.mean, self.curvature = (
                np.concatenate([a, np.zeros((room - len(a), *a.shape[1:]), a.dtype)])
                for a in (self.X, self.W, self.mean, self.curvature)
            )
        part = slice(self.used, needed)
        rows = np.empty((min(len(new), _CHUNK), self.X.shape[1]))
        for first in range(0, len(new), _CHUNK):
            some = new[first : first + _CHUNK]
            place = slice(self.used + first, self.used + first + len(some))
            self._fill(some, rows[: len(some)])
            self.X[place] = rows[: len(some)]
        self.place[new] = np.arange(self.used, needed)
        self.owners = np.concatenate([self.owners, new])
        self.used = needed
        if self.reference.size:
            self._moments(part)

    def _fill(self, features: Index, rows: Array) -> None:
        self.design.features.gather(features, rows, kernels.gather)
        if self.pull == 0.0:
            # A free intercept makes up for any shift of a feature within a task.
            kernels.centre(rows, self.offsets, self.block.weight)
        if self.plain:
            rows *= self.root

    @cached_property
    def plain(self) -> bool:
        """Whether scaled rows make every curvature 1 and every mean 0."""
        return self.datafit.is_quadratic and self.pull in (0.0, np.inf)

    @cached_property
    def root(self) -> Array:
        """What rows are scaled by: 1 unless they are plain."""
        return np.sqrt(self.block.weight) if self.plain else np.ones(1)

    def _moments(self, part: slice) -> None:
        h = self.reference
        total = self.design.collect(h)
        kernels.moments(
            self.X[part], self.offsets, h, total, self.pull, self.mean[part], self.curvature[part]
        )
        self.curvature[part] += self.terms.of(self.owners[part], 2)[:, None]

    def _model(self) -> tuple[Array, Array]:
        """Return minus the slopes and the curvatures at the predictions."""
        u = -self.block.slope(self.eta)
        if self.plain:
            u = np.divide(u, self.root, out=np.zeros_like(u), where=self.root > 0)
        h = self._bends()
        if not self.reference.size or _distance(h, self.reference) > _STALE:
            self.reference = h
            self._moments(slice(0, self.used))
        return u, h

    def _bends(self) -> Array:
        if self.plain:
            return np.ones_like(self.eta)
        h = self.block.column_curvature(self.eta)
        return h if self.datafit.is_quadratic else np.maximum(h, self._floor)

    def advance(self, aim: float, most: int) -> tuple[float, int]:
        """Take one step: a local quadratic, sweeps over it, and a line search."""
        u, h = self._model()
        before, start, old = u.copy(), self.W[self.active], self.norms[self.active]
        b = self.b.copy()
        violation = 0.0
        for k in range(1 if self.datafit.is_quadratic else _SWEEPS_PER_MODEL):
            self._move_intercepts(u, h)
            seen = kernels.sweep_rows(
                self.active,
                self.features,
                self.X,
                self.offsets,
                h,
                self.mean,
                self.curvature,
                self.terms.strengths,
                *self.terms.limits.arrays[1:],
                self.terms.coupling,
                self.spectral_bound,
                self.W,
                self.norms,
                self.b,
                u,
                self.plain,
            )
            violation = seen if k == 0 else violation
        scale = self.root if self.plain else h
        change = np.divide(before - u, scale, out=np.zeros_like(u), where=scale > 0)
        if self.datafit.is_quadratic:
            self.eta += change
        elif not self._search(start, old, b, change):
            return 0.0, 1
        return violation, 1

    def _move_intercepts(self, u: Array, h: Array) -> None:
        if self.plain:
            return
        intercepts = self.datafit.intercepts
        right = self.design.collect(u) - intercepts.gradient(self.b)
        step = intercepts.solve(self.design.collect(h), right)
        self.b += step
        u -= h * self.design.spread(step)

    def _search(self, start: Array, old: Array, b: Array, change: Array) -> bool:
        """Shorten the step until the objective does not rise; say whether it moved."""
        data = self.block.value(self.eta) + self.datafit.intercepts.penalty(b)
        first = data + self.terms.value(start, old, self.features)
        target, goal, eta = self.W[self.active], self.b.copy(), self.eta
        length = 1.0
        for _ in range(_HALVINGS):
            self.eta = eta + length * change
            if self.value() <= first + 1e-14 * abs(first):
                return True
            length /= 2
            self._place(start + length * (target - start), b + length * (goal - b))
        self.eta = eta
        self._place(start, b)
        return False

    def _place(self, rows: Array, b: Array) -> None:
        self.W[self.active], self.b = rows, b
        self.norms[self.active] = np.sqrt(np.einsum("ij,ij->i", rows, rows))

    def value(self) -> float:
        """Return the objective."""
        data = self.block.value(self.eta) + self.datafit.intercepts.penalty(self.b)
        rows, norms = self.W[self.active], self.norms[self.active]
        return data + self.terms.value(rows, norms, self.features)

    def point(self) -> Point:
        """Return copies of all that is linear in the coefficients, those first."""
        return self.W[self.active], self.b.copy(), self.eta.copy()

    def jump(self, point: Point) -> None:
        """Go to a point."""
        rows, b, self.eta = point
        self._place(rows, b)

    def coefficients(self) -> Array:
        """Return a copy of W."""
        W = np.zeros_like(self.whole)
        W[self.features] = self.W[self.active]
        return W

    @property
    def intercept(self) -> Array:
        """The intercepts as they are."""
        return self.b


@dataclass(eq=False)
class GramEngine:
    """A descent on statistics: every task has its own second moments."""

    datafit: SquaredStatistics
    terms: LimitedTerms

    def __post_init__(self) -> None:
        """Bring the statistics into the order of the kernels, without copying the matrices."""
        s = self.datafit.statistics
        self.second = np.ascontiguousarray(s.second)
        self.mean = np.ascontiguousarray(s.x_mean.T)
        self.mean_weight = np.ascontiguousarray(s.scale * self.datafit.mean_share)
        ridge = self.terms.strengths[:, 2:]
        self.curvature = np.ascontiguousarray(self.datafit.diagonal + ridge)
        self.spectral_bound = self.terms.spectral_bound(self.datafit.shape[1])
        # How far a task's own intercept follows its misfit.
        self.follow = 1.0 - self.datafit.mean_share

    def begin(self, W: Array, at: Evaluation, active: Index) -> None:
        """Start from W, evaluated at `at`, with the rows that may move."""
        s = self.datafit.statistics
        self.W = np.array(W, order="C")
        self.norms = np.sqrt(np.einsum("ij,ij->i", W, W))
        self.b = at.intercept.copy()
        self.misfit = s.y_mean - np.einsum("ij,ij->j", s.x_mean, W)
        self.u = np.ascontiguousarray((self.terms.coupled(W) - at.gradient).T)
        self.active = np.ascontiguousarray(active)
        products = len(active) * self.second[:, 0].size
        self.times = max(min(_SMALL // max(products, 1), _MOST_TIMES), 1)

    def advance(self, aim: float, most: int) -> tuple[float, int]:
        """Sweep over the active rows, and move the intercepts, until a call is worth its cost."""
        violation, sweeps = gram_kernels.sweep_gram_often(
            min(self.times, most),
            aim,
            self.active,
            self.second,
            self.mean,
            self.datafit.statistics.scale,
            self.mean_weight,
            self.curvature,
            self.terms.strengths,
            *self.terms.limits.arrays[1:],
            self.terms.coupling,
            self.spectral_bound,
            self.W,
            self.norms,
            self.misfit,
            self.u,
            self.b,
            self.follow,
            tuple(self.datafit.level_arrays),
        )
        return float(violation), int(sweeps)

    def value(self) -> float:
        """Return the objective."""
        s = self.datafit.statistics
        left = s.scale * (self.misfit - self.b)
        W = self.W
        about = np.einsum("ij,ji->i", self.u, W) + s.scale * np.einsum("ij,ij->j", s.cross, W)
        toward = left * np.einsum("ij,ij->j", s.x_mean, W)
        squares = s.scale * (s.spread + (self.misfit - self.b) ** 2)
        data = 0.5 * float(np.sum(squares - about + toward))
        every = np.arange(len(W))
        penalty = self.terms.value(W, self.norms, every)
        return data + self.datafit.intercepts.penalty(self.b) + penalty

    def point(self) -> Point:
        """Return copies of all that is linear in the coefficients, those first."""
        return self.W.copy(), self.b.copy(), self.misfit.copy(), self.u.copy()

    def jump(self, point: Point) -> None:
        """Go to a point."""
        self.W, self.b, self.misfit, self.u = point
        self.norms = np.sqrt(np.einsum("ij,ij->i", self.W, self.W))

    def coefficients(self) -> Array:
        """Return a copy of W."""
        return self.W.copy()

    @property
    def intercept(self) -> Array:
        """The intercepts as they are."""
        return self.b


def _distance(h: Array, reference: Array) -> float:
    size = float(np.abs(reference).sum())
    return float(np.abs(h - reference).sum()) / size if size > 0 else 0.0
