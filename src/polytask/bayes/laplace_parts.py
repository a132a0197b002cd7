"""The learned prior of labels whose rows are read in parts: its evidence, from few passes.

A pass gives the losses of every task, their gradient and their curvature at some coefficients, and
how the log determinant of the curvature changes with these. Between passes the evidence is that of
losses of second order whose log determinant is of first order: its value and its gradient are
exact where the coefficients are the mode of the prior at hand. A prior that is best for it is
evaluated anew, until it stays the best.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from polytask.bayes.label_losses import LabelLosses
from polytask.bayes.laplace import (
    Found,
    LaplaceMarginal,
    LearnedLaplace,
    Problem,
    Start,
    beliefs_of,
    determinant_pull,
    found_at,
    learned_at,
)
from polytask.bayes.laplace_mode import Array, Beliefs, JointQuadratic, LineLosses, Mode, Point
from polytask.bayes.laplace_rows import GramPosterior, Index, Labelled, Spread, row_blocks
from polytask.bayes.prior import Model, NoVariation
from polytask.bayes.search import Evaluation, maximise
from polytask.bayes.search import Found as Search

# Numbers of the matrices of tasks that are worked on at a time.
_BLOCK_ENTRIES = 2**21
# Coefficients are the mode where a step promises to lower the objective by less than the square of
# the tolerance, within these shares of it; the last is rounding.
_FARTHEST, _NEAREST = 1e-11, 1e-15
_MOST_STEPS, _MOST_ROUNDS, _MOST_HALVINGS = 50, 50, 12
_ARMIJO = 1e-4
# Where a round leaves more than this share of the residual, rounds are extrapolated from so many.
_SLOW, _MEMORY = 0.05, 6
# A search between passes goes on to this share of the tolerance.
_SHARE = 0.1
# A value that is higher by less than this share is rounding.
_ROUNDING = 1e-9
# Up to so many features the diagonal of a derivative is not told apart from the whole.
_WIDE = 100


@dataclass(frozen=True, eq=False)
class TaskSums:
    """What the losses of the rows of tasks sum to at coefficients."""

    # Shapes: undivided (n_tasks,), gradient, pull (n_tasks, p), curvature (n_tasks, p, p).

    undivided: Array
    gradient: Array
    curvature: Array
    pull: Array

    def __add__(self, other: TaskSums) -> TaskSums:
        """Return the sums over these rows and others."""
        return TaskSums(
            self.undivided + other.undivided,
            self.gradient + other.gradient,
            self.curvature + other.curvature,
            self.pull + other.pull,
        )


@dataclass(frozen=True, eq=False)
class Request:
    """Where losses are wanted, and covariances of the coefficients for the pulls, if known."""

    # Shapes: W (n_tasks, p), covariances (n_tasks, p, p). The losses have their dispersions.

    W: Array
    covariances: Array | None
    losses: LabelLosses


# Sums over all rows for every problem that asks for some.
Run = Callable[[Sequence[Request | None]], Sequence[TaskSums | None]]
Steps = Generator[Request, TaskSums, LearnedLaplace]


@np.errstate(over="ignore", invalid="ignore")
def task_sums(labelled: Labelled, asked: Request) -> TaskSums:
    """Return the sums of the losses of some rows."""
    W, losses = asked.W, asked.losses
    undivided, gradient, pull = np.zeros(len(W)), np.zeros_like(W), np.zeros_like(W)
    curvature = np.zeros((*W.shape, W.shape[1]))
    for rows in row_blocks(labelled):
        eta, own = rows.eta(W[rows.tasks]), rows.tasks
        undivided[own] = losses.undivided(rows, eta).sum(axis=1)
        gradient[own] = -rows.project(losses.residuals(rows, eta))
        curvature[own] = rows.gram(losses.curvatures(rows, eta))
        if asked.covariances is not None:
            variances = rows.forms(asked.covariances[own])
            pull[own] = determinant_pull(rows, losses, eta, variances)
    return TaskSums(undivided, gradient, curvature, pull)


@dataclass(frozen=True, eq=False)
class Expansion:
    """The losses of all tasks about coefficients, as an engine of the evidence."""

    # Shapes: W (n_tasks, p), tasks (n_active,), those that have labels, kind, weight (n_tasks,):
    # the position of the loss of their labels, and the weight of these. The sums are those of
    # `losses`; at other dispersions gradient and curvature are multiples of them.

    W: Array
    sums: TaskSums
    losses: LabelLosses
    tasks: Index
    kind: Index
    weight: Array

    def by_kind(self, values: Array) -> Array:
        """Return sums over the tasks of each kind. Shapes: values (n_tasks,)."""
        found = np.bincount(self.kind, values, len(self.losses.kinds))
        return found.astype(np.float64, copy=False)

    def value(self, losses: LabelLosses) -> float:
        """Return the sum of the losses."""
        return losses.total(self.by_kind(self.sums.undivided), self.by_kind(self.weight))

    @np.errstate(over="ignore", invalid="ignore")
    def mode(self, beliefs: Beliefs) -> Mode:
        """Return the posterior mode."""
        W, sums, spread, losses = self.W, self.sums, beliefs.spread, beliefs.losses
        gradient, curvature = sums.gradient, sums.curvature
        if losses.dispersed:
            ratio = self.losses.dispersions_by_kind / losses.dispersions_by_kind
            gradient = ratio[self.kind, None] * gradient
            curvature = ratio[self.kind, None, None] * curvature
        right = (curvature @ W[:, :, None])[:, :, 0] - gradient
        step = max(1, _BLOCK_ENTRIES // W.shape[1] ** 2)
        own = [self.tasks[k : k + step] for k in range(0, len(self.tasks), step)]
        posteriors = [GramPosterior(t, curvature[t], right[t], spread) for t in own]
        joint = JointQuadratic.of(posteriors, beliefs)
        point = joint.minimum([posterior.right for posterior in posteriors], beliefs, len(W))
        away = point.coefficients(spread) - W
        bent = 0.5 * (curvature @ away[:, :, None])[:, :, 0]
        change = np.sum((gradient + bent) * away, axis=1)
        lines = None
        if losses.dispersed:
            raised = sums.undivided + losses.dispersions_by_kind[self.kind] * change
            lines = LineLosses(self.kind, self.weight, raised, gradient + 2.0 * bent, curvature)
        return Mode(
            point=point,
            objective=self.value(losses) + float(change.sum()) + beliefs.cost(point),
            etas=[],
            posteriors=posteriors,
            inverse_root=joint.root,
            log_determinant=joint.log_determinant - 2.0 * float(np.sum(sums.pull * away)),
            converged=True,
            pulls=[sums.pull[t] for t in own],
            lines=lines,
        )


class ExpandedEngine:
    """The evidence of losses that are expanded. Shapes: every (p,)."""

    def __init__(self, expansion: Expansion, problem: Problem, model: Model) -> None:
        self.expansion, self._every = expansion, problem.copies
        alone = isinstance(model.structure, NoVariation)
        self.varying = np.array(model.varying[:1] if alone else model.varying, dtype=np.intp)
        self.copies = problem.copies[self.varying]
        self._independent = model.structure.independent and len(self.varying) > _WIDE

    @np.errstate(over="ignore", invalid="ignore")
    def beliefs(self, factor: Array, mean_variance: float | None, losses: LabelLosses) -> Beliefs:
        """Return a prior."""
        spread = Spread.of(factor, self.varying)
        return beliefs_of(self.expansion.W.shape[1], spread, mean_variance, losses)

    def at(self, factor: Array, mean_variance: float | None, losses: LabelLosses) -> Found:
        """Evaluate a prior."""
        beliefs = self.beliefs(factor, mean_variance, losses)
        mode = self.expansion.mode(beliefs)
        return found_at(mode, beliefs, mean_variance, self._every, self._independent)


class _Path:
    """Priors and those that were best for the losses known there, and where they lead to."""

    def __init__(self) -> None:
        self._moves: list[Array] = []
        self._goals: list[Array] = []

    def extrapolated(self, params: Array, goal: Array) -> Array:
        """Return the combination of the last goals whose moves cancel (Anderson's mixing)."""
        self._moves.append(goal - params)
        self._goals.append(goal)
        del self._moves[:-_MEMORY], self._goals[:-_MEMORY]
        if len(self._moves) < 2:
            return goal
        changes = np.diff(np.array(self._moves), axis=0)
        share = np.linalg.lstsq(changes.T, self._moves[-1], rcond=1e-8)[0]
        return np.asarray(goal - share @ np.diff(np.array(self._goals), axis=0))


class _Learning:
    """What is known of one problem, from structure to structure."""

    def __init__(self, problem: Problem) -> None:
        # Losses are known about zero, and about the mode of the last prior.
        self.problem, self.last = problem, cast(Expansion | None, None)
        labelled = problem.labelled
        self.tasks, first = np.flatnonzero(labelled.counts), labelled.offsets[:-1]
        self.kind = np.zeros(labelled.n_tasks, dtype=np.intp)
        if labelled.loss is not None:
            self.kind[self.tasks] = labelled.loss[first[self.tasks]]
        owner = np.repeat(np.arange(labelled.n_tasks), labelled.counts)
        weight = np.bincount(owner, labelled.weight, labelled.n_tasks)
        self.weight = weight.astype(np.float64, copy=False)

    def steps(self, model: Model, limits: tuple[float, int], start: Start) -> Steps:
        """Learn one prior; what is yielded is answered by a pass."""
        began, (tol, max_iter) = time.perf_counter(), limits
        self._near = min(max(tol**2, _NEAREST), _FARTHEST)
        if self.last is None:
            labelled, losses = self.problem.labelled, self.problem.losses
            nothing = np.zeros((labelled.n_tasks, labelled.width))
            asked = Request(nothing, None, losses)
            self.last = self.origin = self._expanded(asked, (yield asked))
            total, weight = map(self.origin.by_kind, (self.last.sums.undivided, self.weight))
            means = np.divide(total, weight, out=np.full(len(total), np.nan), where=weight > 0)
            # What stands for the labels does not tell what these vary by.
            self.problem.losses = losses.estimated(0.5 * means)
        marginal = self._marginal(model, self.last)
        if isinstance(start, LearnedLaplace):
            n_iter, expect, first = start.n_iter, False, start.params
        else:
            n_iter, expect, first = 0, True, marginal.start(start)
        marginal, best = yield from self._evaluated(marginal, first)
        path, before = _Path(), np.inf
        for _ in range(_MOST_ROUNDS):
            if best.residual <= tol:
                break
            found = maximise(marginal, best.params, _SHARE * tol, max_iter, expect=expect)
            n_iter, expect = n_iter + found.n_iter, False
            goal = path.extrapolated(best.params, found.at.params)
            goal = np.clip(goal, *marginal.bounds())
            better = None
            if best.residual > _SLOW * before:
                # Where tasks have few rows, steps are short: where they lead to is tried first.
                better = yield from self._ahead(marginal, goal, best, 1)
            if better is None:
                better = yield from self._ahead(marginal, found.at.params, best, _MOST_HALVINGS)
            if better is None:
                break
            before = best.residual
            marginal, best = better
        ended = Search(best, best.residual <= tol, n_iter, time.perf_counter() - began)
        return learned_at(marginal, ended)

    def _expanded(self, asked: Request, sums: TaskSums) -> Expansion:
        return Expansion(asked.W, sums, asked.losses, self.tasks, self.kind, self.weight)

    def _marginal(self, model: Model, expansion: Expansion) -> LaplaceMarginal:
        return LaplaceMarginal(self.problem, model, ExpandedEngine(expansion, self.problem, model))

    def _ahead(
        self, marginal: LaplaceMarginal, target: Array, best: Evaluation[Found], attempts: int
    ) -> Generator[Request, TaskSums, tuple[LaplaceMarginal, Evaluation[Found]] | None]:
        """Go from the best prior towards another as far as that is better; None if it is not."""
        params = target
        for _ in range(attempts):
            # A prior may be so far away that no digits are left of its evidence.
            with contextlib.suppress(np.linalg.LinAlgError):
                found, at = yield from self._evaluated(marginal, params)
                slack = _ROUNDING * (1.0 + abs(best.value))
                if at.value <= best.value + slack * (at.residual < best.residual):
                    return found, at
            params = best.params + 0.5 * (params - best.params)
        return None

    def _evaluated(
        self, marginal: LaplaceMarginal, params: Array
    ) -> Generator[Request, TaskSums, tuple[LaplaceMarginal, Evaluation[Found]]]:
        """Find the mode of a prior, and evaluate its evidence there."""
        engine = cast(ExpandedEngine, marginal.engine)
        factor = marginal.structure.factor(params[: marginal.size], marginal.q)
        beliefs = engine.beliefs(factor, marginal.mean_variance(params), marginal.losses(params))
        self.last = yield from self._at_mode(engine.expansion, beliefs)
        moved = self._marginal(marginal.model, self.last)
        with np.errstate(all="ignore"):
            return moved, moved.evaluate(params)

    def _at_mode(
        self, last: Expansion, beliefs: Beliefs
    ) -> Generator[Request, TaskSums, Expansion]:
        """Return the expansion about the posterior mode, by Newton's method."""
        mode, q, n_tasks = last.mode(beliefs), len(beliefs.spread.varying), len(last.W)
        if not np.isfinite(mode.objective):
            raise np.linalg.LinAlgError
        # Whatever the prior is, the objective is known at zero.
        here = Point(np.zeros(last.W.shape[1]), np.zeros((n_tasks, q)))
        value, slope, share, known = self.origin.value(beliefs.losses), 0.0, 1.0, self.origin
        for _ in range(_MOST_STEPS):
            point = here.towards(mode.point, share)
            W = point.coefficients(beliefs.spread)
            asked = Request(W, _covariances(mode, n_tasks), beliefs.losses)
            found = self._expanded(asked, (yield asked))
            reached = found.value(beliefs.losses) + beliefs.cost(point)
            if reached <= value - _ARMIJO * share * slope:
                here, value, known, share = point, reached, found, 1.0
                mode = found.mode(beliefs)
            elif known is self.origin and slope == 0.0:
                mode = self.origin.mode(beliefs)
            else:
                share *= 0.5
            slope = 2.0 * (value - mode.objective)
            if slope <= self._near * (1.0 + abs(value)):
                break
        return known


@np.errstate(over="ignore", invalid="ignore")
def _covariances(mode: Mode, n_tasks: int) -> Array:
    """Return the posterior covariances of the coefficients of all tasks, (n_tasks, p, p)."""
    p = len(mode.point.mean)
    out = np.zeros((n_tasks, p, p))
    for posterior in mode.posteriors:
        assert isinstance(posterior, GramPosterior)
        out[posterior.tasks] = posterior.covariances(mode.inverse_root)
    return out


class PartsLearner:
    """Learns the priors of all problems side by side, so that a pass serves all of them."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._known: dict[int, _Learning] = {}

    def __call__(
        self,
        problems: Sequence[Problem],
        model: Model,
        limits: tuple[float, int],
        starts: Sequence[Start],
    ) -> list[LearnedLaplace]:
        """Learn a prior of one structure for every problem."""
        known = [self._known.setdefault(k, _Learning(own)) for k, own in enumerate(problems)]
        pairs = zip(known, starts, strict=True)
        running = [own.steps(model, limits, start) for own, start in pairs]
        asked: list[Request | None] = [next(own) for own in running]
        learned: dict[int, LearnedLaplace] = {}
        while len(learned) < len(running):
            for k, sums in enumerate(self.run(asked)):
                if sums is None:
                    continue
                try:
                    asked[k] = running[k].send(sums)
                except StopIteration as end:
                    asked[k], learned[k] = None, end.value
        return [learned[k] for k in range(len(running))]
