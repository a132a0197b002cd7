"""Convex combinations of models, from what they predicted for rows that they had not seen.

All models share weights first; then the tasks may lean to one kind of model or another, as far
as their own held-out rows say so and no further: their sums of squares are added to those of a
number of average rows of all tasks. How many is chosen by leaving out one fold after the other.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, minimize

from polytask.losses import LogLink

Array = NDArray[np.float64]
Index = NDArray[np.intp]

# Weights below it are not worth a fit of the model, and are given to the others.
_LEAST_WEIGHT = 0.01
# A probability of 0 for what happened would decide everything.
LEAST_PROBABILITY = 1e-6
# Rows of the average task that each task's own rows are weighed against. Fewer look better on
# the folds than they are, for what models say of one fold they have learned from the others.
PULLS = (1000.0, 300.0, 100.0, 30.0)
_RIDGE = 1e-9
_TINY = float(np.finfo(float).tiny)


class MixLoss(ABC):
    """A loss of what several models predict, convex in their weights."""

    @abstractmethod
    def losses(self, mixed: Array, y: Array) -> Array:
        """Return the loss of every row, `mixed` being the combined prediction."""

    @abstractmethod
    def slopes(self, mixed: Array, y: Array) -> Array:
        """Return its derivative with respect to the combined prediction."""

    @abstractmethod
    def squares(self, Z: Array, y: Array, mixed: Array) -> tuple[Array, Array]:
        """Return rows and targets of least squares that equal the loss near the weights."""
        # `mixed` is what the weights predict. Twice the loss and the sum of squares have the
        # same first and second derivatives there.

    def rows(self, which: NDArray[np.bool_]) -> MixLoss:
        """Return the loss of some of the rows."""
        return self


@dataclass(frozen=True)
class SquaredMix(MixLoss):
    """Squared error of combined numbers, halved."""

    def losses(self, mixed: Array, y: Array) -> Array:
        """Return the loss of every row."""
        with np.errstate(over="ignore"):
            return np.asarray(0.5 * (mixed - y) ** 2)

    def slopes(self, mixed: Array, y: Array) -> Array:
        """Return its derivative."""
        return mixed - y

    def squares(self, Z: Array, y: Array, mixed: Array) -> tuple[Array, Array]:
        """Return the rows themselves: the loss is a sum of squares."""
        return Z, y


@dataclass(frozen=True)
class LogMix(MixLoss):
    """Log loss of combined probabilities; Z holds those of the class that was seen."""

    def losses(self, mixed: Array, y: Array) -> Array:
        """Return the loss of every row."""
        return np.asarray(-np.log(np.maximum(mixed, LEAST_PROBABILITY)))

    def slopes(self, mixed: Array, y: Array) -> Array:
        """Return its derivative."""
        return np.asarray(-1.0 / np.maximum(mixed, LEAST_PROBABILITY))

    def squares(self, Z: Array, y: Array, mixed: Array) -> tuple[Array, Array]:
        """Return rows over the combined probability, with targets of 2."""
        scaled = Z / np.maximum(mixed, LEAST_PROBABILITY)[:, None]
        return scaled, np.full(len(Z), 2.0)


@dataclass(frozen=True)
class DevianceMix(MixLoss):
    """Half the deviance of combined means, of counts or amounts."""

    loss: LogLink

    def losses(self, mixed: Array, y: Array) -> Array:
        """Return the loss of every row."""
        with np.errstate(over="ignore"):
            return np.asarray(self.loss.value(y, np.log(_positive(mixed, y))))

    def slopes(self, mixed: Array, y: Array) -> Array:
        """Return its derivative."""
        mean = _positive(mixed, y)
        return np.asarray(self.loss.gradient(y, np.log(mean)) / mean)

    def squares(self, Z: Array, y: Array, mixed: Array) -> tuple[Array, Array]:
        """Return rows and targets over the standard deviations; second derivatives expected."""
        mean = _positive(mixed, y)
        root = np.sqrt(self.loss.curvature(mean, np.log(mean))) / mean
        return Z * root[:, None], root * mean - self.slopes(mixed, y) / root


def _positive(mixed: Array, y: Array) -> Array:
    """Return combined means, none of them next to zero beside what was seen."""
    return np.maximum(mixed, np.maximum(LEAST_PROBABILITY * y, _TINY))


@dataclass(frozen=True, eq=False)
class KindsMix(MixLoss):
    """Rows of several kinds, each with a loss of its own. Shapes: kind (N,)."""

    kinds: tuple[MixLoss, ...]
    kind: Index

    def losses(self, mixed: Array, y: Array) -> Array:
        """Return the loss of every row."""
        found = np.zeros(len(y))
        for loss, own in self._parts():
            found[own] = loss.losses(mixed[own], y[own])
        return found

    def slopes(self, mixed: Array, y: Array) -> Array:
        """Return its derivative."""
        found = np.zeros(len(y))
        for loss, own in self._parts():
            found[own] = loss.slopes(mixed[own], y[own])
        return found

    def squares(self, Z: Array, y: Array, mixed: Array) -> tuple[Array, Array]:
        """Return rows and targets as the losses have them."""
        rows, targets = np.zeros(Z.shape), np.zeros(len(y))
        for loss, own in self._parts():
            rows[own], targets[own] = loss.squares(Z[own], y[own], mixed[own])
        return rows, targets

    def rows(self, which: NDArray[np.bool_]) -> KindsMix:
        """Return the loss of some of the rows."""
        return replace(self, kind=self.kind[which])

    def _parts(self) -> Iterator[tuple[MixLoss, NDArray[np.bool_]]]:
        return ((loss, self.kind == k) for k, loss in enumerate(self.kinds))


@dataclass(frozen=True, eq=False)
class HeldRows:
    """What the models predicted for rows that they had not seen."""

    # Shapes: Z (N, M), y (N,), weight (N,), task, fold (N,), unit (N,).

    Z: Array
    y: Array
    weight: Array
    task: Index
    fold: Index
    unit: Index
    n_tasks: int
    loss: MixLoss

    def rows(self, which: NDArray[np.bool_]) -> HeldRows:
        """Return some of the rows."""
        return replace(
            self,
            Z=self.Z[which],
            y=self.y[which],
            weight=self.weight[which],
            task=self.task[which],
            fold=self.fold[which],
            unit=self.unit[which],
            loss=self.loss.rows(which),
        )

    def mean_loss(self, mixed: Array) -> float:
        """Return the weighted mean loss of combined predictions, shape (N,)."""
        return float(np.average(self.loss.losses(mixed, self.y), weights=self.weight))

    def model_losses(self) -> Array:
        """Return the mean loss of every model alone, shape (M,)."""
        return np.array([self.mean_loss(column) for column in self.Z.T])


@dataclass(frozen=True)
class Policy:
    """How weights are learned."""

    mixed: bool
    pull: float = float("inf")
    # Whether the means of the tasks are all that is used.
    means: bool = False

    @property
    def by_task(self) -> bool:
        """Whether tasks have weights of their own."""
        return bool(np.isfinite(self.pull))


# The kind of the means of the tasks.
OF_MEANS = "mean"
# From the simplest to the most flexible.
MEANS, ALONE = Policy(False, means=True), Policy(False)
POLICIES = (MEANS, ALONE, Policy(True), *(Policy(True, pull) for pull in PULLS))


@dataclass(frozen=True, eq=False)
class Mix:
    """The weights of models. Shapes: shared (M,), by_task (n_tasks, M), nested (N,)."""

    # `nested` is what weights learned from the other folds predict for every row.

    shared: Array
    by_task: Array
    policy: Policy
    losses: dict[Policy, float]
    nested: Array


def best_mix(held: HeldRows, kinds: Sequence[str]) -> Mix:
    """Choose how to combine, and the weights."""
    several, tasks = held.Z.shape[1] > 1, len(np.unique(held.task)) > 1
    policies = [p for p in POLICIES if (several or not p.mixed) and (tasks or not p.by_task)]
    if OF_MEANS not in kinds:
        policies.remove(MEANS)
    mixed = {policy: _nested(held, kinds, policy) for policy in policies}
    nested = {policy: held.loss.losses(own, held.y) for policy, own in mixed.items()}
    losses = {
        policy: float(np.average(own, weights=held.weight)) for policy, own in nested.items()
    }
    best = nested[min(losses, key=lambda policy: losses[policy])]
    # The simplest that is as good as the best, within the noise of their difference.
    policy = next(p for p, own in nested.items() if as_good(own - best, held))
    shared, by_task = learn(held, kinds, policy)
    return Mix(shared, by_task, policy, losses, mixed[policy])


class Weighed(Protocol):
    """Rows with weights, and the independent units that they belong to."""

    @property
    def weight(self) -> Array:
        """What every row counts, shape (N,)."""
        ...

    @property
    def unit(self) -> Index:
        """What is independent, shape (N,)."""
        ...


def paired(excess: Array, held: Weighed) -> tuple[float, float, int]:
    """Return the mean of differences, its standard error, and how many units are independent."""
    share = held.weight / held.weight.sum()
    mean = float(share @ excess)
    sums = np.bincount(held.unit, share * (excess - mean))
    count = len(np.unique(held.unit))
    return mean, float(np.sqrt(sums @ sums * count / max(count - 1, 1))), count


def as_good(excess: Array, held: Weighed) -> bool:
    """Say whether the mean excess is within one standard error, of independent units."""
    mean, error, _ = paired(excess, held)
    return mean <= error


def _nested(held: HeldRows, kinds: Sequence[str], policy: Policy) -> Array:
    """Return what weights learned from the other folds predict for every row."""
    found = np.zeros(len(held.y))
    for fold in np.unique(held.fold):
        out = held.fold == fold
        # One fold cannot judge what is learned from itself: the best alone is taken.
        rest = held.rows(~out) if not out.all() else held
        _, by_task = learn(rest, kinds, ALONE if out.all() and policy.mixed else policy)
        test = held.rows(out)
        found[out] = np.einsum("im,im->i", test.Z, by_task[test.task])
    return found


def learn(held: HeldRows, kinds: Sequence[str], policy: Policy) -> tuple[Array, Array]:
    """Return the weights of an average task, shape (M,), and of every task, (n_tasks, M)."""
    losses = held.model_losses()
    if not policy.mixed:
        shared = np.zeros(len(losses))
        shared[kinds.index(OF_MEANS) if policy.means else int(np.argmin(losses))] = 1.0
    else:
        shared = shared_weights(held)
    by_task = np.tile(shared, (held.n_tasks, 1))
    if policy.by_task:
        by_kind: dict[str, list[int]] = {}
        for m, kind in enumerate(kinds):
            by_kind.setdefault(kind, []).append(m)
        leaders = [min(models, key=lambda m: float(losses[m])) for models in by_kind.values()]
        by_task = _task_weights(held, shared, leaders, policy.pull)
    return shared, by_task


def shared_weights(held: HeldRows) -> Array:
    """Return weights of least loss, at least 0 with sum 1, small ones dropped."""
    # Shapes: result (M,).
    losses = held.model_losses()
    start = np.full(len(losses), 0.1 / len(losses))
    start[int(np.argmin(losses))] += 0.9
    weights = _on_simplex(held, start)
    kept = weights >= _LEAST_WEIGHT
    if not kept.all():
        part = replace(held, Z=held.Z[:, kept])
        found = _on_simplex(part, weights[kept] / weights[kept].sum())
        weights = np.zeros(len(losses))
        weights[kept] = found
    return weights


def _on_simplex(held: HeldRows, start: Array) -> Array:
    share = held.weight / held.weight.sum()
    scale = 1.0 / max(held.mean_loss(held.Z @ start), np.finfo(float).tiny)

    def value(w: Array) -> float:
        return scale * float(share @ held.loss.losses(held.Z @ w, held.y))

    def slope(w: Array) -> Array:
        return np.asarray(scale * (held.Z.T @ (share * held.loss.slopes(held.Z @ w, held.y))))

    found = minimize(
        value,
        start,
        jac=slope,
        method="SLSQP",
        bounds=Bounds(0.0, 1.0),
        constraints=LinearConstraint(np.ones((1, len(start))), 1.0, 1.0),
        options={"maxiter": 300, "ftol": 1e-12},
    )
    w = np.maximum(np.asarray(found.x, dtype=float), 0.0)
    w /= w.sum()
    # Rounding may end the search early, never worse than where it began.
    return w if value(w) <= value(start) else start


def _task_weights(held: HeldRows, shared: Array, leaders: Sequence[int], pull: float) -> Array:
    """Return weights by task: of the shared combination and of the best model of each kind."""
    mixed = held.Z @ shared
    columns = np.column_stack([mixed, held.Z[:, list(leaders)]])
    rows, targets = held.loss.squares(columns, held.y, mixed)
    k = rows.shape[1]
    grams, crosses = np.zeros((held.n_tasks, k, k)), np.zeros((held.n_tasks, k))
    weighted = rows * held.weight[:, None]
    for a in range(k):
        np.add.at(crosses[:, a], held.task, weighted[:, a] * targets)
        for b in range(k):
            np.add.at(grams[:, a, b], held.task, weighted[:, a] * rows[:, b])
    # So many average rows say what all tasks say together.
    share = pull * np.mean(held.weight) / held.weight.sum()
    grams, crosses = grams + share * grams.sum(axis=0), crosses + share * crosses.sum(axis=0)
    of_columns = simplex_least_squares(grams, crosses)
    of_columns[of_columns < _LEAST_WEIGHT] = 0.0
    of_columns /= of_columns.sum(axis=1, keepdims=True)
    weights = of_columns[:, :1] * shared
    weights[:, list(leaders)] += of_columns[:, 1:]
    return np.asarray(weights)


def simplex_least_squares(grams: Array, crosses: Array) -> Array:
    """Minimise w'Gw/2 - c'w over w >= 0 with sum 1, for many G and c at once."""
    # Shapes: grams (T, k, k), crosses (T, k), result (T, k).
    # The minimum is that of its support with the inequalities left out, so every support is
    # tried: exact, and fast for a few columns.
    T, k = crosses.shape
    best, lowest = np.zeros((T, k)), np.full(T, np.inf)
    for size in range(1, k + 1):
        for support in itertools.combinations(range(k), size):
            at = list(support)
            own = np.zeros((T, k))
            own[:, at] = _on_plane(grams[:, at][:, :, at], crosses[:, at])
            value = 0.5 * np.einsum("ti,tij,tj->t", own, grams, own)
            value -= np.einsum("ti,ti->t", crosses, own)
            better = (own >= 0.0).all(axis=1) & (value < lowest)
            best[better], lowest[better] = own[better], value[better]
    return best


def _on_plane(grams: Array, crosses: Array) -> Array:
    """Minimise over weights of sum 1 of any sign."""
    T, k = crosses.shape
    size = np.maximum(np.trace(grams, axis1=1, axis2=2) / k, np.finfo(float).tiny)
    system = np.zeros((T, k + 1, k + 1))
    system[:, :k, :k] = grams / size[:, None, None] + _RIDGE * np.eye(k)
    system[:, :k, k] = system[:, k, :k] = 1.0
    right = np.concatenate([crosses / size[:, None], np.ones((T, 1))], axis=1)
    return np.asarray(np.linalg.solve(system, right[:, :, None])[:, :k, 0])
