"""The marginal likelihood in the space of the rows: for more features than rows.

With independent coefficients of one variance the targets of all rows have, relative to the noise
and divided by the roots of their weights, the covariance

    S = I + tau^2 G + blocks(psi_0 1 1' + psi G),    G = X X',

plus a common level. That is one Cholesky factor as large as the number of rows for a value and
its gradient, whatever the number of features.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import scipy.linalg
import scipy.linalg.lapack

from polytask.bayes.blocks import Array, Block, Rows
from polytask.bayes.marginal import Evaluation, Marginal
from polytask.bayes.structures import NoVariation, Scalar
from polytask.exceptions import IncompatibleError


class KernelMarginal:
    """Values and gradients of a :class:`Marginal` whose tasks are kept as rows."""

    def __init__(self, marginal: Marginal) -> None:
        self.marginal = marginal
        X, y = _stacked(marginal.blocks)
        self._ones, features = X[:, 0], X[:, 1:]
        self._y = y
        self._G = features @ features.T
        ends = np.cumsum([0, *_lengths(marginal.blocks)]).tolist()
        self._tasks = [slice(a, b) for a, b in itertools.pairwise(ends)]

    def evaluate(self, params: Array) -> Evaluation:
        """Return the likelihood and its gradient; the mean coefficients are left out."""
        marginal, model = self.marginal, self.marginal.model
        own, _, log_mean = marginal.unpack(params)
        if log_mean is None:
            raise IncompatibleError(
                "KernelMarginal needs mean coefficients with a learned variance; this marginal "
                "likelihood has none."
            )
        factor = model.structure.factor(own, 2)
        psi, tau = np.sum(factor**2, axis=1), float(np.exp(log_mean))
        lower, log_determinant = self._factor(psi, tau)
        level = scipy.linalg.cho_solve((lower, True), self._ones, check_finite=False)
        weighed = scipy.linalg.cho_solve((lower, True), self._y, check_finite=False)
        known = float(self._ones @ level)
        mean = float(self._ones @ weighed) / known
        alpha = weighed - mean * level
        misfit = max(float(alpha @ (self._y - mean * self._ones)), 0.0)
        noise = (misfit + marginal.floor) / marginal.degrees
        if model.restricted:
            log_determinant += float(np.log(known))
        value = -0.5 * (marginal.degrees * (np.log(2.0 * np.pi * noise) + 1.0) + log_determinant)
        P = scipy.linalg.lapack.dpotri(lower, lower=1, overwrite_c=1)[0]
        forms, traces = self._forms(P, alpha, level / np.sqrt(known) if model.restricted else None)
        slopes = 0.5 * (traces - forms / noise)
        return self._evaluation(params, -value, (slopes, traces[1:], tau), (mean, noise))

    def _factor(self, psi: Array, tau: float) -> tuple[Array, float]:
        S = tau * self._G
        for part in self._tasks:
            ones = self._ones[part]
            S[part, part] += psi[1] * self._G[part, part] + psi[0] * np.multiply.outer(ones, ones)
        S[np.diag_indices(len(S))] += 1.0
        lower = scipy.linalg.cholesky(S.T, lower=True, overwrite_a=True, check_finite=False)
        return lower, 2.0 * float(np.log(np.diagonal(lower)).sum())

    def _forms(self, P: Array, alpha: Array, level: Array | None) -> tuple[Array, Array]:
        """Return alpha' M alpha and tr(P M) for M of tau^2, psi_0 and psi."""
        # P has the lower half of S^-1; `level` is what a free level takes from it.
        forms, traces = np.zeros(3), np.zeros(3)
        G = self._G
        forms[0], traces[0] = alpha @ (G @ alpha), _inner(P, G)
        if level is not None:
            traces[0] -= level @ (G @ level)
        for part in self._tasks:
            ones, block, own = self._ones[part], G[part, part], alpha[part]
            forms[1:] += (ones @ own) ** 2, own @ (block @ own)
            unit = np.multiply.outer(ones, ones)
            traces[1:] += _inner(P[part, part], unit), _inner(P[part, part], block)
            if level is not None:
                free = level[part]
                traces[1:] -= (ones @ free) ** 2, free @ (block @ free)
        return forms, traces

    def _evaluation(
        self,
        params: Array,
        value: float,
        slopes: tuple[Array, Array, float],
        found: tuple[float, float],
    ) -> Evaluation:
        """Return what a search needs; entries of features that are alike share their sum."""
        structure, q = self.marginal.model.structure, self.marginal.q
        (by_mean, *by_covariance), weights, tau = slopes
        alike = np.array([1.0, *[1.0 / (q - 1)] * (q - 1)])
        which = np.array([0, *[1] * (q - 1)])
        own = self.marginal.unpack(params)[0]
        gradient = structure.pull_back(own, 2, np.diag(by_covariance))
        return Evaluation(
            value=value,
            gradient=np.append(gradient, tau * by_mean),
            log_likelihood=-value,
            slope=np.diag(np.array(by_covariance)[which] * alike),
            weights=np.maximum(weights[which] * alike, 0.0),
            beta=np.array([found[0]]),
            beta_covariance=np.zeros((1, 1)),
            noise=found[1],
        )


def fits_kernel(marginal: Marginal) -> bool:
    """Say whether the likelihood may be had from the rows, and they are fewer than columns."""
    model, blocks = marginal.model, marginal.blocks
    alike = isinstance(model.structure, NoVariation | Scalar) and marginal.q == marginal.p
    plain = model.gaussian_mean and model.task_noise is None
    kept = all(isinstance(block, Rows) and block.tasks.shape[1] == 1 for block in blocks)
    return bool(alike and plain and kept and sum(_lengths(blocks)) < marginal.p)


def in_full(marginal: Marginal, params: Array, found: Evaluation) -> Evaluation:
    """Return an evaluation with the mean coefficients, and the gradient that was found."""
    full = marginal.evaluate(params)
    return replace(full, value=found.value, gradient=found.gradient)


def _lengths(blocks: Sequence[Block]) -> list[int]:
    """Return the rows of every task, padding left out."""
    return [
        int(n)
        for block in blocks
        if isinstance(block, Rows)
        for n in np.count_nonzero(block.rows[:, :, 0], axis=1)
    ]


def _stacked(blocks: Sequence[Block]) -> tuple[Array, Array]:
    parts = [block for block in blocks if isinstance(block, Rows)]
    real = [block.rows[:, :, 0] != 0.0 for block in parts]
    X = np.concatenate([block.rows[own] for block, own in zip(parts, real, strict=True)])
    y = np.concatenate([block.y[:, :, 0][own] for block, own in zip(parts, real, strict=True)])
    return X, y


def _inner(lower: Array, M: Array) -> float:
    """Return tr(P M) of symmetric matrices, P given by its lower half, zeros above."""
    both = float(np.einsum("ij,ij->", lower, M.T))
    return 2.0 * both - float(np.diagonal(lower) @ np.diagonal(M))
