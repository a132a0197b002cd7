"""Coefficients that are sums over several groupings: the fit, and what it predicts."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from polytask._checks import one_of, sentence
from polytask._estimator import Outcomes
from polytask._estimator.groupings import GroupedRows
from polytask._estimator.scaling import (
    TARGET_SCALES,
    FeatureScaling,
    feature_scaling,
    refuse_huge,
    unscaled_targets,
)
from polytask._estimator.weights import label_weights, sum_by_task
from polytask._registry import saveable
from polytask.bayes.choose import Candidate
from polytask.bayes.crossed import CrossedSums, MixedEquations
from polytask.bayes.crossed_prior import (
    ByGrouping,
    CrossedLearned,
    choose_crossed,
    learn_crossed,
    variance_shares,
)
from polytask.bayes.prior import NoVariation, Prior
from polytask.data import TaskData
from polytask.exceptions import DataError
from polytask.linear._bayes_rows import ScaledRows
from polytask.linear.bayes_settings import BayesSettings, Ended, varying_columns
from polytask.linear.heavy_weights import weights_within_reach
from polytask.linear.prediction import LinearTasks
from polytask.losses import Squared
from polytask.messages import LazyMessage

Array = NDArray[np.float64]
Index = NDArray[np.intp]

# Rows whose variances are worked out at a time.
_PIECE = 2048


@saveable("linear.grouped_tasks")
@dataclass(frozen=True, eq=False)
class GroupedTasks:
    """What the learned priors of several groupings and their rows say, with the scaling."""

    # In scaled units. Shapes: covariances (q, q) each, effects (K,), beta (p,), varying (q,),
    # mean, scale (n_features,), counts (n_tasks,), mean_precision (p,), that of the prior of beta,
    # None: flat.

    names: tuple[Hashable, ...]
    sums: CrossedSums
    covariances: tuple[Array, ...]
    noise: float
    effects: Array
    beta: Array
    varying: Index
    mean: Array
    scale: Array
    target_mean: float
    target_scale: float
    counts: Array
    precision: str
    mean_precision: Array | None = None

    @property
    def _features(self) -> FeatureScaling:
        return FeatureScaling(self.mean, self.scale, active=True)

    def deviations(self) -> list[Array]:
        """Return the deviations of the levels of every grouping, shape (levels, p) each."""
        found = []
        for part, n in zip(self.sums.slices, self.sums.levels, strict=True):
            wide = np.zeros((n, len(self.beta)))
            wide[:, self.varying] = self.effects[part].reshape(n, -1)
            found.append(wide)
        return found

    def in_units(self, W: Array, level: float) -> tuple[Array, Array]:
        """Return coefficients and intercepts of rows of W in original units."""
        coef, intercept = self._features.restore(W[:, 1:].T, W[:, 0], None)
        return coef.T * self.target_scale, intercept * self.target_scale + level

    def effects_by_name(self) -> dict[Hashable, Array]:
        """Return the deviations in original units, the intercept first, (levels, p) each."""
        found = {}
        for name, W in zip(self.names, self.deviations(), strict=True):
            coef, intercept = self.in_units(W, 0.0)
            found[name] = np.column_stack([intercept, coef]).astype(self.precision)
        return found

    def linear(self) -> LinearTasks:
        """Return the coefficients of the levels of the first grouping, in original units."""
        coef, intercept = self.in_units(self.beta + self.deviations()[0], self.target_mean)
        n = len(coef)
        return LinearTasks(
            coef=coef.astype(self.precision),
            intercept=intercept.astype(self.precision),
            slices=tuple(slice(t, t + 1) for t in range(n)),
            losses=(Squared(),) * n,
            classes=(None,) * n,
            labels=(None,) * n,
            counts=self.counts,
            union=None,
        )

    def priors(self) -> dict[Hashable, Prior]:
        """Return the prior of the levels of every grouping."""
        return {
            name: Prior(self.beta, covariance, self.varying, self.noise)
            for name, covariance in zip(self.names, self.covariances, strict=True)
        }

    def predict(self, rows: GroupedRows) -> NDArray[np.floating]:
        """Return the posterior means of rows in original units, shape (n,)."""
        return self.predictors(rows).astype(self.precision)

    def predictors(self, rows: GroupedRows) -> Array:
        """Return :meth:`predict` in double precision, shape (n,)."""
        out = np.empty(rows.shape[0])
        for part, Z in self._pieces(rows):
            out[part] = Z @ self.beta
            for codes, own, n in self._levels(rows.codes[part]):
                effects = self.effects[own].reshape(n, -1)[codes]
                out[part] += np.sum(Z[:, self.varying] * effects, axis=1) * (codes >= 0)
        return np.asarray(out * self.target_scale + self.target_mean)

    def deviation(self, rows: GroupedRows) -> Array:
        """Return the standard deviation of new targets in original units, shape (n,)."""
        noise = self.noise * self.target_scale**2
        return np.asarray(np.sqrt(noise + self.variances(rows)))

    def variances(self, rows: GroupedRows) -> Array:
        """Return the variances of :meth:`predict` in original units, shape (n,)."""
        out = np.empty(rows.shape[0])
        for part, Z in self._pieces(rows):
            codes, columns = rows.codes[part], Z[:, self.varying]
            out[part] = self.noise * self._equations.variances(Z, self.varying, codes)
            for g, covariance in enumerate(self.covariances):
                prior = np.einsum("ni,ij,nj->n", columns, covariance, columns)
                out[part] += np.where(codes[:, g] < 0, prior, 0.0)
        return out * self.target_scale**2

    def with_levels(self, g: int, rows: GroupedRows, labels: tuple[Array, Array], own: Index,
                    n: int) -> GroupedTasks:  # fmt: skip
        """Return what is known after rows of n new levels of a grouping, others as they are."""
        # Shapes: labels (m,) each, targets and weights; own (m,), the new level of a row.
        # The effects of a new level have their posterior given all rows: what is not known of
        # the other levels of its rows and of the mean, with its covariances, is noise of theirs.
        sums, q, (y, weight) = self.sums, self.sums.q, labels
        blocks, cross, effects = np.zeros((n, q, q)), np.zeros((n, q)), np.zeros((n, q))
        left = (y - self.predictors(rows)) / self.target_scale
        for k in range(n):
            part = np.flatnonzero(own == k)
            Z = ScaledRows(rows.values, self._features, None)(part)
            V = np.diag(1.0 / weight[part]) + self._equations.covariance(
                Z, self.varying, rows.codes[part]
            )
            turned = scipy.linalg.solve(V, np.column_stack([Z[:, self.varying], left[part]]),
                                        assume_a="pos")  # fmt: skip
            products = Z[:, self.varying].T @ turned
            blocks[k], cross[k] = 0.5 * (products[:, :q] + products[:, :q].T), products[:, q]
            ratio = self.covariances[g] / self.noise
            effects[k] = np.linalg.solve(np.eye(q) + ratio @ blocks[k], ratio @ cross[k])
        counts = self.counts
        if g == 0:
            counts = np.append(counts, np.bincount(own, weight, minlength=n))
        place = sums.slices[g].stop
        return replace(
            self,
            sums=sums.with_levels(g, blocks, cross),
            effects=np.insert(self.effects, place, effects.ravel()),
            counts=counts,
        )

    def _pieces(self, rows: GroupedRows) -> Iterator[tuple[slice, Array]]:
        scaled = ScaledRows(rows.values, self._features, None)
        every = np.arange(rows.shape[0])
        for k in range(0, len(every), _PIECE):
            yield slice(k, k + _PIECE), scaled(every[k : k + _PIECE])

    def _levels(self, codes: Index) -> list[tuple[Index, slice, int]]:
        return list(zip(codes.T, self.sums.slices, self.sums.levels, strict=True))

    @cached_property
    def _equations(self) -> MixedEquations:
        ratios = [own / self.noise for own in self.covariances]
        return MixedEquations(self.sums, ratios, self.mean_precision)


@dataclass(frozen=True, eq=False)
class GroupedFit:
    """What was learned."""

    tasks: GroupedTasks
    structure: ByGrouping
    candidates: tuple[Candidate, ...]
    ended: Ended
    error: float
    shares: dict[Hashable, tuple[float, ...]]


def fit_groupings(
    data: TaskData, outcomes: Outcomes, settings: BayesSettings, prior: object, owner: str
) -> GroupedFit:
    """Learn the prior of every grouping."""
    assert data.groupings is not None
    _refuse_settings(settings, prior, owner)
    refuse_huge(data, outcomes, owner)
    weight = label_weights(data, outcomes, None, owner)
    features = feature_scaling(data, weight, settings.standardize, centre=True)
    targets = unscaled_targets(data.n_tasks)
    if settings.scale_targets is not None:
        targets = TARGET_SCALES["common"](outcomes.y, weight, data, centre=True)
    if (total := float(weight.sum())) <= data.n_features + 1:
        allowed = LazyMessage("allowed.rows_for_mean", {"n": data.n_features + 2})
        got = LazyMessage("got.rows", {"n": f"{total:g}"})
        raise DataError(sentence("X", owner, allowed, got))
    held, fixed = data.groupings, settings.fixed_structure
    varying = np.array(varying_columns(settings.varying, data, owner), dtype=np.intp)
    if isinstance(fixed, NoVariation):
        varying = varying[:1]
    levels = tuple(map(len, held.labels))
    with weights_within_reach(weight, owner):
        y = targets.apply(outcomes.y, data)
        rows = ScaledRows(data.X, features, None)
        sums = CrossedSums.of(rows, (y, weight), held.codes, levels, varying)
        learned, candidates = _learned(sums, settings)
    tasks = GroupedTasks(
        names=held.names,
        sums=learned.sums,
        covariances=learned.covariances,
        noise=learned.noise,
        effects=learned.effects,
        beta=learned.mean,
        varying=varying[: learned.sums.q],
        mean=features.mean,
        scale=features.scale,
        target_mean=float(targets.mean[0]),
        target_scale=float(targets.scale[0]),
        counts=sum_by_task(weight, data),
        precision="float32" if data.X.dtype == np.float32 else "float64",
    )
    value = likelihood_in_units(learned, tasks, settings.method == "reml")
    ended = Ended(value, learned.residual, learned.converged, learned.n_iter, learned.seconds)
    shares = variance_shares(learned, settings.method == "reml").tolist()
    named = {name: tuple(own) for name, own in zip(held.names, shares, strict=True)}
    return GroupedFit(tasks, learned.structure, candidates, ended, learned.error, named)


def _learned(
    sums: CrossedSums, settings: BayesSettings
) -> tuple[CrossedLearned, tuple[Candidate, ...]]:
    tol, max_iter = settings.limits
    restricted, fixed = settings.method == "reml", settings.fixed_structure
    if fixed is None:
        return choose_crossed(sums, restricted=restricted, tol=tol, max_iter=max_iter)
    structure = ByGrouping((fixed,) * len(sums.levels))
    found = learn_crossed(sums, structure, restricted=restricted, tol=tol, max_iter=max_iter)
    return found, ()


def likelihood_in_units(learned: CrossedLearned, tasks: GroupedTasks, restricted: bool) -> float:
    """Return the log-likelihood of the targets before scaling."""
    # The restricted likelihood is that of contrasts, whose level depends on the features' units.
    log_scale = float(np.log(tasks.target_scale))
    value = learned.log_likelihood - tasks.sums.count * log_scale
    if restricted:
        value += len(tasks.beta) * log_scale - float(np.log(tasks.scale).sum())
    return value


def _refuse_settings(settings: BayesSettings, prior: object, owner: str) -> None:
    """Refuse what is for tasks of one grouping."""
    key = "allowed.with_groupings"
    one_of(settings.noise, "noise", owner, ("common",), key)
    one_of(settings.mean_prior, "mean_prior", owner, ("auto", "flat"), key)
    one_of(settings.scale_targets, "scale_targets", owner, ("auto", "common", None), key)
    one_of(prior, "prior", owner, (None,), key)
