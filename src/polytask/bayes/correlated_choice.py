"""Learn a prior together with correlated noise: how far it is pulled, and which structure."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from polytask.bayes.blocks import Array
from polytask.bayes.choose import (
    Candidate,
    correlated_structures,
    is_informed,
    score_gains,
)
from polytask.bayes.correlated import JointRows
from polytask.bayes.correlated_fit import JointLearned, Search, Start, learn_joint, start_of
from polytask.bayes.correlated_marginal import JointMarginal, NoisePull, Point
from polytask.bayes.correlated_noise import first_pull, noise_pull, refined_pull
from polytask.bayes.marginal import Model
from polytask.bayes.structures import Diagonal, NoVariation, Scalar, Structure

# Candidates are compared at this tolerance; what is chosen is then learned at the user's. The
# noise of separate regressions may stop a little above, far below what chance leaves of a
# deviation.
_ROUGH = 1e-3
_ROUGH_NOISE = 3e-3
# Of coefficients that nothing is said about: their variance over that of the targets.
_FLAT = 1e3
# Variances of coefficients start at this share of the noise's or above.
_LIFT = 0.05
_ZERO = 1e-12


def learn_correlated(
    rows: JointRows, model: Model, start: Start, search: Search, chosen: bool
) -> tuple[JointLearned, tuple[Candidate, ...]]:
    """Learn prior and noise."""
    # Maximised together with the prior, a large noise covariance has room for what coefficients
    # differ by: with few rows the differences vanish into it. The correlations of the noise are
    # therefore those of separate regressions (their restricted likelihood, with the pull; no
    # prior of the coefficients takes part), and the prior maximises the marginal likelihood under
    # that noise. Only where features leave separate regressions no freedom are both learned
    # together.
    base = _begin(rows, model, start, search, chosen)
    search = replace(search, noise_held=base.held is not None)
    if chosen:
        return base.finished(learn_joint(rows, model, base.pull, base.start, search)), ()
    trial = _Trial(rows, model, base.pull, replace(search, tol=_ROUGH))
    best = max(trial.run(base.start), key=lambda pair: pair[1].score)[0]
    learned = learn_joint(rows, best.model, base.pull, start_of(best, same=True), search)
    return base.finished(learned), tuple(candidate for _, candidate in trial.tried)


@dataclass(frozen=True, eq=False)
class _Base:
    """The pull, where to begin, and the fit that the noise was taken from, if it is held."""

    pull: NoisePull
    start: Start
    held: JointLearned | None

    def finished(self, learned: JointLearned) -> JointLearned:
        """Return what was learned with the evaluations of both fits; both must have ended."""
        if self.held is None:
            return learned
        rough = self.held.residual > _ROUGH_NOISE
        return replace(
            learned,
            residual=max(learned.residual, self.held.residual) if rough else learned.residual,
            converged=learned.converged and not rough,
            n_iter=learned.n_iter + self.held.n_iter,
            seconds=learned.seconds + self.held.seconds,
        )


def _begin(rows: JointRows, model: Model, start: Start, search: Search, chosen: bool) -> _Base:
    """Learn the noise from separate regressions if they leave freedom, else a first guess."""
    variances = np.diagonal(start.noise).copy()
    pull = noise_pull(rows, variances)
    if pull is None:
        pull = first_pull(rows, variances)
        found = learn_joint(rows, model, pull, start, replace(search, tol=_ROUGH))
        pull = refined_pull(JointMarginal(rows, model, pull), point_of(found))
        return _Base(pull, start_of(found), None)
    varying = np.array(model.varying)
    squares = np.sum(rows.X[:, varying] ** 2, axis=0)
    # A feature of zeros says nothing in whatever units.
    share = rows.count.sum() / np.where(squares > _ZERO * squares.max(), squares, squares.max())
    if chosen and isinstance(model.structure, NoVariation):
        # Only the intercept was said to vary.
        share[1:] = 0.0
    wide = np.sqrt(_FLAT * np.sum(rows.Y**2) / rows.together.trace() * share)
    flat = Start(np.diag(wide**2), start.noise, params=wide)
    separate = replace(model, structure=Diagonal())
    held = learn_joint(rows, separate, pull, flat, replace(search, structure_held=True))
    own = np.sqrt(variances / np.diagonal(held.noise))
    lifted = np.maximum(start.covariance, np.diag(_LIFT * np.mean(variances) * share))
    return _Base(pull, Start(lifted, held.noise * np.multiply.outer(own, own)), held)


def point_of(learned: JointLearned) -> Point:
    """Return the point that was found."""
    return Point(learned.params, learned.noise, learned.log_mean)


class _Trial:
    def __init__(self, rows: JointRows, model: Model, pull: NoisePull, search: Search) -> None:
        self.rows, self.model, self.pull, self.search = rows, model, pull, search
        self.q, self.tasks = len(model.varying), rows.n_tasks
        self.n_labels = float(rows.count @ rows.labelled.sum(axis=1))
        self.tried: list[tuple[JointLearned, Candidate]] = []

    def run(self, start: Start) -> list[tuple[JointLearned, Candidate]]:
        found = self._try(NoVariation(), start)
        if self.q > 1 and self.tasks > 1:
            begin = Start(start.covariance, found.noise, found.log_mean)
            base = self._try(Scalar(), begin)
            if self.q > 2 and is_informed(Diagonal(), self.q, self.tasks, self.n_labels):
                base = self._try(Diagonal(), start_of(base))
            if self.q == 2 or is_informed(Diagonal(), self.q, self.tasks, self.n_labels):
                self._beyond(base)
        return self.tried

    def _beyond(self, base: JointLearned) -> None:
        """Try correlated coefficients if a score test says that they may be worth it."""
        promise = promised_gains(JointMarginal(self.rows, base.model, self.pull), point_of(base))
        own = base.model.structure.price(self.q, self.n_labels)
        for candidates, gain in zip(correlated_structures(self.q), promise, strict=True):
            last, begin = -np.inf, base
            for structure in candidates:
                cost = structure.price(self.q, self.n_labels) - own
                hopeless = begin is base and gain < cost
                if hopeless or not is_informed(structure, self.q, self.tasks, self.n_labels):
                    break
                begin = self._try(structure, start_of(begin))
                score = self.tried[-1][1].score
                if score < last:
                    break
                last = score

    def _try(self, structure: Structure, start: Start) -> JointLearned:
        model = replace(self.model, structure=structure)
        found = learn_joint(self.rows, model, self.pull, start, self.search)
        candidate = Candidate(
            structure=structure,
            log_likelihood=found.score,
            n_parameters=structure.n_parameters(self.q),
            price=structure.price(self.q, self.n_labels),
            n_tasks=self.tasks,
        )
        self.tried.append((found, candidate))
        return found


def promised_gains(marginal: JointMarginal, point: Point) -> tuple[float, float, float]:
    """Estimate by Rao's score test what correlations would add to the log-likelihood."""
    slope = marginal.evaluate(point).covariance_slope
    information = marginal.information(point)
    own: Array = np.diagonal(marginal.covariance(point))
    return score_gains(slope, information, own, marginal.n_tasks)
