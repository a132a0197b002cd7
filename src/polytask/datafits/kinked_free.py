"""Dual points orthogonal to features that nothing penalises, for losses with kinks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from polytask.datafits.base import Array, Evaluation
from polytask.datafits.intercepts import AnchoredIntercepts, PulledIntercepts
from polytask.datafits.kinked import KinkedSamples
from polytask.datafits.kinked_levels import Rows, best_levels, zero_sum_groups

Index = NDArray[np.intp]

_STEPS = 60
_HALVINGS = 40
_ARMIJO = 1e-4
# Sums of derivatives below this share of what they are sums of are rounding.
_ROUNDING = 1e-13
# What is left of a gradient that should vanish is rounding below this share of that at W = 0.
_FITTED = 1e-9
# A system of so many equations is the largest that is solved.
_MOST = 400
# Labels that a linear program is solved for.
_MOST_LABELS = 50_000
# Added to the matrix of a system where too few derivatives are within their bounds.
_RIDGE = 1e-10


@dataclass(frozen=True, eq=False)
class _System:
    """The sums that have to vanish, of the labels of tasks that share an intercept, or of one."""

    # Shapes: labels (n,), factors (n, n_equations).

    labels: Index
    factors: Array
    columns: Index

    @property
    def too_large(self) -> bool:
        """Whether its matrix costs too much."""
        return bool(self.factors.shape[1] > _MOST)


@dataclass(frozen=True, eq=False)
class FreeFeatures:
    """Rows of W that no kinked term of a penalty acts on.

    The dual point of a penalty has to be orthogonal to such features. Derivatives near a given
    point that are so, and within their bounds, are found by Newton's method on the dual of the
    projection, whose gradient is piecewise linear.

    Parameters
    ----------
    datafit : KinkedSamples
        The data term.
    index : ndarray of int
        The rows of W.

    References
    ----------
    R. Koenker, "Quantile Regression" (2005), section 6.2, for the dual program.
    """

    datafit: KinkedSamples
    index: Index

    @cached_property
    def _features(self) -> Array:
        """The free features of every label, of shape (n_labels, n_free)."""
        found = np.empty((len(self.datafit.rows.y), len(self.index)))
        for k, j in enumerate(self.index):
            unit = np.zeros(self.datafit.shape)
            unit[j] = 1.0
            found[:, k] = self.datafit.forward(unit)
        return found

    @cached_property
    def _systems(self) -> list[_System] | None:
        """The systems to solve; None if one is too large."""
        if len(self.index) > _MOST:
            return None
        found: list[_System] = []
        for system in self._made():
            if system.too_large:
                return None
            found.append(system)
        return found

    def _made(self) -> Iterator[_System]:
        rows = self.datafit.rows
        owner = zero_sum_groups(rows, self.datafit.intercepts)
        level = owner is not None
        group = rows.column if owner is None else owner
        order = np.argsort(group, kind="stable")
        order = order[rows.weight[order] > 0]
        for labels in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
            columns = np.unique(rows.column[labels])
            parts = [np.ones((len(labels), 1))] if level else []
            if len(columns) * len(self.index) <= _MOST:
                own = rows.column[labels][:, None] == columns
                spread = self._features[labels][:, :, None] * own[:, None, :]
                parts.append(spread.reshape(len(labels), -1))
            else:
                parts.append(np.empty((len(labels), _MOST + 1)))
            factors = np.concatenate(parts, axis=1) * rows.weight[labels][:, None]
            yield _System(labels, factors, columns)

    def evaluate(
        self, W: Array, u: Array, goal: Array, rest: Evaluation | None = None
    ) -> Evaluation | None:
        """Evaluate at W with the gradient that derivatives near u give.

        Parameters
        ----------
        W : ndarray of shape (n_features, n_columns)
            Coefficients.
        u : ndarray of shape (n_labels,)
            Derivatives of the losses, within their bounds.
        goal : ndarray of shape (n_free, n_columns)
            What the gradient has to be in these rows: minus that of smooth terms.
        rest : Evaluation or None, default=None
            Of the losses without kinks, with these rows fitted: its dual point counts.

        Returns
        -------
        Evaluation or None
            The gradient is `goal` there exactly: what rounding leaves counts in the conjugate.
            None where no such derivatives were found.
        """
        near = self.orthogonal(u, goal)
        if near is None:
            return None
        datafit = self.datafit
        plain = datafit.forward(W)
        b = best_levels(datafit.rows, plain, datafit.intercepts)
        at = datafit.evaluation(W, plain, b, near)
        if datafit.rest is not None and rest is not None:
            at = _exchanged(at, datafit.rest.evaluate(W), rest)
        gradient = at.gradient.copy()
        lack = float(np.linalg.norm(gradient[self.index] - goal))
        if lack > _FITTED * float(np.linalg.norm(datafit.origin.gradient)):
            return None
        slack = lack * float(np.linalg.norm(W[self.index]))
        gradient[self.index] = goal
        whole = at.conjugate
        return replace(at, gradient=gradient, conjugate=lambda c: whole(c) + slack)

    def orthogonal(self, u: Array, goal: Array) -> Array | None:
        """Return derivatives near u whose sums with the free features are given.

        Parameters
        ----------
        u : ndarray of shape (n_labels,)
            Derivatives within their bounds.
        goal : ndarray of shape (n_free, n_columns)
            The sums.
        """
        if self._systems is None:
            return None
        found, rows = u.copy(), self.datafit.rows
        for system in self._systems:
            wanted = goal[:, system.columns].ravel()
            first = np.zeros(system.factors.shape[1] - len(wanted))
            part = _solved(system, rows, u, np.concatenate([first, wanted]))
            if part is None:
                return None
            found[system.labels] = part
        return found

    def null_gradient(self) -> Array | None:
        """Return the gradient where these features alone are fitted, zero in their rows.

        The derivatives are the answer of the dual linear program of every system. They are
        unique unless targets are tied, so that a null strength is then exact.

        Returns
        -------
        ndarray of shape (n_features, n_columns) or None
            None where intercepts are pulled or other losses are beside, which no linear program
            knows, or the program is too large.
        """
        pulled = isinstance(self.datafit.intercepts, PulledIntercepts | AnchoredIntercepts)
        if pulled or self.datafit.rest is not None:
            return None
        rows = self.datafit.rows
        if self._systems is None or len(rows.y) > _MOST_LABELS:
            return None
        u = np.zeros(len(rows.y))
        for system in self._systems:
            found = _program(system, rows)
            if found is None:
                return None
            u[system.labels] = found
        gradient = self.datafit.adjoint(u)
        gradient[self.index] = 0.0
        return gradient


def _exchanged(at: Evaluation, old: Evaluation, new: Evaluation) -> Evaluation:
    """Return an evaluation with the dual point of another one in place of a part of it."""

    def conjugate(c: float) -> float:
        return at.conjugate(c) - old.conjugate(c) + new.conjugate(c)

    return replace(at, gradient=at.gradient - old.gradient + new.gradient, conjugate=conjugate)


def _program(system: _System, rows: Rows) -> Array | None:
    """Return the derivatives of the dual program of one system, None if it was not solved."""
    from scipy.optimize import linprog

    own = system.labels
    found = linprog(
        rows.weight[own] * rows.y[own],
        A_eq=system.factors.T,
        b_eq=np.zeros(system.factors.shape[1]),
        bounds=list(zip(rows.lower[own].tolist(), rows.upper[own].tolist(), strict=True)),
        method="highs",
    )
    return np.asarray(found.x) if found.status == 0 else None


def _solved(system: _System, rows: Rows, u: Array, goal: Array) -> Array | None:
    """Return derivatives near u within their bounds with given sums, None if none were found."""
    own = system.labels
    point, low, high = u[own], rows.lower[own], rows.upper[own]
    weight = rows.weight[own]
    size = np.linalg.norm(system.factors / np.sqrt(weight)[:, None], axis=0)
    size = np.where(size > 0, size, 1.0)
    factors, goal = system.factors / size, goal / size
    most = _ROUNDING * (np.abs(factors).sum(axis=0) + np.abs(goal))
    away = np.zeros(len(goal))
    moved, held, value = _moved(factors, weight, point, low, high, goal, away)
    for _ in range(_STEPS):
        lack = factors.T @ held - goal
        if np.all(np.abs(lack) <= most):
            return held
        inside = (moved > low) & (moved < high)
        active = factors[inside]
        matrix = active.T @ (active / weight[inside][:, None])
        step = np.linalg.solve(matrix + _RIDGE * np.eye(len(goal)), lack)
        descent, length = float(lack @ step), 1.0
        for _ in range(_HALVINGS):
            trial = away + length * step
            found = _moved(factors, weight, point, low, high, goal, trial)
            rounding = 1e-15 * abs(value)
            if found[2] <= value - _ARMIJO * length * descent + rounding:
                break
            length /= 2
        away, (moved, held, value) = trial, found
    return None


def _moved(
    factors: Array,
    weight: Array,
    point: Array,
    low: Array,
    high: Array,
    goal: Array,
    away: Array,
) -> tuple[Array, Array, float]:
    """Return the point moved along the sums, within its bounds, and what is minimised."""
    moved = point - factors @ away / weight
    held = np.clip(moved, low, high)
    value = float(weight @ (held * (moved - 0.5 * held))) + float(goal @ away)
    return moved, held, value
