"""Trees that grow on the Laplace-approximated marginal likelihood of classes, counts, amounts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from polytask.bayes.blocks import Array, Index
from polytask.bayes.choose import Candidate
from polytask.bayes.laplace import (
    LaplaceMarginal,
    LearnedLaplace,
    Problem,
    determinant_pull,
    learn_laplace,
    learn_laplace_priors,
    pulled_point,
)
from polytask.bayes.laplace_mode import Beliefs, Mode, Point
from polytask.bayes.laplace_rows import GramPosterior, Labelled
from polytask.bayes.prior import Prior, Structure
from polytask.boosting.growth import EVALUATIONS, EVERY, Likelihood
from polytask.boosting.trees import BinnedRows, GrowingTrees
from polytask.linear.bayes_laplace_tasks import expected_predictors

# The tolerance of a search between trees; that of the last one, and its evaluations at most.
_ROUGH = 1e-4
LIMITS = (1e-6, 500)


def of_rows(labelled: Labelled, rows: Index) -> tuple[Labelled, Index]:
    """Return the labels of some rows of the design, and the place of each among these."""
    assert labelled.rows is not None
    place = np.full(labelled.Z.shape[0], -1)
    place[rows] = np.arange(len(rows))
    used = np.flatnonzero(place[labelled.rows] >= 0)
    owner = np.repeat(np.arange(labelled.n_tasks), labelled.counts)[used]
    counts = np.bincount(owner, minlength=labelled.n_tasks)
    own = replace(
        labelled,
        y=labelled.y[used],
        weight=labelled.weight[used],
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.intp),
        rows=labelled.rows[used],
        loss=None if labelled.loss is None else labelled.loss[used],
    )
    return own, place[labelled.rows[used]]


def tree_derivatives(
    labelled: Labelled, mode: Mode, beliefs: Beliefs, *, full: bool = True
) -> tuple[Array, Array]:
    """Return the derivative of minus the log evidence by what trees add, and the curvatures."""
    # Shapes: both (m,), by the offset of every label. The mode moves with the offsets, and the
    # log determinant of the curvature changes by these and by the mode (Sigrist 2022, "Latent
    # Gaussian model boosting", section 3.2); without the last two terms if not `full`.
    losses = beliefs.losses
    gradient, curvature = np.empty(len(labelled.y)), np.empty(len(labelled.y))
    parts = list(zip(mode.blocks, mode.etas, strict=True))
    variances = [own.variances(mode.inverse_root) for own, _ in parts]
    pulls = [
        determinant_pull(own.rows, losses, eta, v)
        for (own, eta), v in zip(parts, variances, strict=True)
    ]
    moved = pulled_point(mode, pulls).coefficients(beliefs.spread)
    for (own, eta), v in zip(parts, variances, strict=True):
        rows, places = own.rows, np.arange(eta.shape[1])
        h = losses.curvatures(rows, eta)
        g = -losses.residuals(rows, eta)
        if full:
            g += 0.5 * losses.third_derivatives(rows, eta) * v + h * rows.eta(moved[own.tasks])
        real = places < labelled.counts[own.tasks][:, None]
        at = (labelled.offsets[own.tasks][:, None] + places)[real]
        gradient[at], curvature[at] = g[real], h[real]
    return gradient, curvature


class ProblemBoosting:
    """Trees of one problem as they grow on rows, and the posterior of what varies."""

    def __init__(
        self,
        labelled: Labelled,
        sides: tuple[Index, Index | None],
        growing: GrowingTrees,
        learned: LearnedLaplace,
        learns: bool,
    ) -> None:
        train, held = sides
        self._labelled, self._places = of_rows(labelled, train)
        self._n_rows, self._tests = len(train), held is not None
        if held is not None:
            self.held, self._held_places = of_rows(labelled, held)
        self.growing, self.learned, self._learns = growing, learned, learns
        self._point: Point | None = None
        self.estimate(0)

    @property
    def labelled(self) -> Labelled:
        """The labels, with what the trees add to their predictors."""
        return replace(self._labelled, offset=self.growing.values()[self._places])

    def grow(self) -> None:
        """Add a tree."""
        found = tree_derivatives(self._labelled, self.mode, self.beliefs)
        sums = np.zeros((2, self._n_rows))
        sums[:, self._places] = found
        self.growing.grow(*sums)

    def estimate(self, n_iter: int) -> None:
        """Learn the prior, or the posterior under it alone."""
        problem = Problem(self.labelled)
        if self._learns and n_iter % EVERY == 0:
            # The search starts at the last mode too.
            problem.weights(self.learned.model).point = self._point
            limits = (_ROUGH, EVALUATIONS)
            (self.learned,) = learn_laplace([problem], self.learned.model, limits, [self.learned])
        self.beliefs, self.mode = posterior(problem, self.learned, self._point)
        self._point = self.mode.point

    def expected(self) -> Array:
        """Return the predictors of the expected held-out targets, less what trees add."""
        # Shapes: result (m,).
        held, own = self.held, np.repeat(np.arange(self.held.n_tasks), self.held.counts)
        Z = held.take(np.arange(len(own)))
        offset = self.growing.values(held=True)[self._held_places]
        coefficients = self.mode.point.coefficients(self.beliefs.spread)
        eta = np.einsum("ij,ij->i", Z, coefficients[own]) + offset
        C = covariances(self.mode, self.beliefs)
        variances = np.maximum(np.einsum("ij,ijk,ik->i", Z, C[own], Z), 0.0)
        return expected_predictors(eta, variances, held.losses.kinds[0].loss)


def posterior(
    problem: Problem, learned: LearnedLaplace, start: Point | None = None
) -> tuple[Beliefs, Mode]:
    """Return a learned prior and the posterior of a problem under it."""
    engine = problem.weights(learned.model)
    marginal, params = LaplaceMarginal(problem, learned.model, engine), learned.params
    engine.point = start
    factor = marginal.structure.factor(params[: marginal.size], marginal.q)
    return engine.posterior(factor, marginal.mean_variance(params), marginal.losses(params))


def covariances(mode: Mode, beliefs: Beliefs) -> Array:
    """Return the covariances of the coefficients of all tasks, shape (n_tasks, p, p)."""
    spread = beliefs.spread
    prior = Prior(beliefs.mean, spread.covariance, spread.varying, None, mode.mean_covariance)
    found = np.tile(prior.spread, (len(mode.point.alpha), 1, 1))
    for own, eta in zip(mode.blocks, mode.etas, strict=True):
        gram = own.rows.gram(beliefs.losses.curvatures(own.rows, eta))
        known = GramPosterior(own.tasks, gram, np.zeros(gram.shape[:2]), spread)
        found[own.tasks] = known.covariances(mode.inverse_root)
    return found


class LabelBoosting:
    """Trees of every problem as they grow on rows: one for each class of several, else one."""

    def __init__(self, problems: list[ProblemBoosting]) -> None:
        self.problems, self.n_iter = problems, 0

    def values(self, *, held: bool = False) -> Array:
        """Return the sums of trees in the rows."""
        return np.array([own.growing.values(held=held) for own in self.problems])

    def grow(self) -> None:
        """Add a tree to every sum."""
        self.n_iter += 1
        for own in self.problems:
            own.grow()
            own.estimate(self.n_iter)


class LabelLikelihood(Likelihood[list[LearnedLaplace], LabelBoosting]):
    """The likelihood of labels of tasks: of each class against the others, or of one problem."""

    def __init__(
        self,
        problems: list[Labelled],
        binned: BinnedRows,
        structure: Structure | None,
        gaussian_mean: bool,
    ) -> None:
        self._problems, self._binned = problems, binned
        self._structure, self._gaussian = structure, gaussian_mean
        self.n_rows, self.n_sums = problems[0].Z.shape[0], len(problems)
        self._known: list[LearnedLaplace] | None = None

    def learned(
        self, rows: Index, values: Array
    ) -> tuple[list[LearnedLaplace], tuple[Candidate, ...]]:
        """Learn the priors of what trees leave of rows."""
        labelled = []
        for problem, own in zip(self._problems, values, strict=True):
            chosen, places = of_rows(problem, rows)
            labelled.append(replace(chosen, offset=own[places]))
        varying = tuple(range(labelled[0].width))
        return learn_laplace_priors(labelled, self._structure, varying, self._gaussian, LIMITS)

    def boosting(
        self, train: Index, held: Index | None, learned: list[LearnedLaplace], learns: bool
    ) -> LabelBoosting:
        """Return no trees yet for rows."""
        made = []
        for own, prior in zip(self._problems, learned, strict=True):
            growing = self._binned.growing(train, held)
            made.append(ProblemBoosting(own, (train, held), growing, prior, learns))
        return LabelBoosting(made)

    def loss(self, parts: Sequence[LabelBoosting]) -> float:
        """Return the mean loss of the expected held-out targets, summed over the problems."""
        total = 0.0
        for owns in zip(*(part.problems for part in parts), strict=True):
            losses, weight = 0.0, 0.0
            for own in owns:
                each = own.held.losses.undivided(own.held, own.expected())
                losses, weight = losses + float(each.sum()), weight + float(own.held.weight.sum())
            total += losses / max(weight, np.finfo(float).tiny)
        return total
