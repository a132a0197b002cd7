"""Rows with correlated noise, and the likelihood as it is defined."""

from __future__ import annotations

import itertools

import numpy as np

from polytask.bayes import Diagonal, Full, LowRank, NoVariation, Scalar
from polytask.bayes.correlated import NoisePull, Point
from polytask.bayes.correlated_rows import collect_joint
from polytask.bayes.prior import Model

T, P = 3, 4
PULL = NoisePull(3.0, np.array([1.0, 0.5, 2.0]))
STRUCTURES = [NoVariation(), Scalar(), Diagonal(), LowRank(1), Full(), Full(2.0)]
ALL = tuple(range(P))
MODELS = [
    Model(structure, varying, restricted, gaussian)
    for structure, varying, restricted, gaussian in itertools.product(
        STRUCTURES, [ALL, (0, 2)], [False, True], [False, True]
    )
]


class Problem:
    """Rows with correlated noise; weights are whole numbers."""

    def __init__(self, gaps, n=9, T=T, p=P, seed=0, rho=0.7, weighted=False, spread=1.0):
        rng = np.random.default_rng(seed)
        self.X = np.column_stack([np.ones(n), rng.normal(size=(n, p - 1))])
        self.Sigma = np.diag(rng.uniform(0.5, 2.0, T)) ** 0.5
        self.Sigma = self.Sigma @ (rho + (1 - rho) * np.eye(T)) @ self.Sigma
        W = 1.0 + spread * rng.normal(size=(p, T))
        noise = rng.normal(size=(n, T)) @ np.linalg.cholesky(self.Sigma).T
        self.Y = self.X @ W + noise
        self.seen = rng.random((n, T)) >= gaps
        self.v = rng.integers(1, 4, n).astype(float) if weighted else np.ones(n)

    def rows(self, part=slice(None)):
        X, Y, seen, v = (a[part] for a in (self.X, self.Y, self.seen, self.v))
        return collect_joint(lambda i: X[i], X.shape[1], np.where(seen, Y, 0.0), seen * v[:, None])

    def again(self):
        """Every row as often as its weight says."""
        again = np.repeat(np.arange(len(self.v)), self.v.astype(int))
        new = Problem(0.0)
        new.X, new.Y, new.seen = self.X[again], self.Y[again], self.seen[again]
        new.v = np.ones(len(again))
        return new

    def dense(self, model, point, unit):
        """Return labels, designs and covariance of all of them."""
        index = np.argwhere(self.seen)
        Omega = model.structure.covariance(point.structure, len(model.varying))
        Z = self.X[:, list(model.varying)]
        i, t = index.T
        V = (Z @ Omega @ Z.T)[np.ix_(i, i)] * np.equal.outer(t, t)
        V += point.noise[np.ix_(t, t)] * np.equal.outer(i, i)
        return self.Y[i, t], self.X[i], V

    def log_likelihood(self, model, point, unit):
        """The likelihood as it is defined."""
        y, X, V = self.dense(model, point, unit)
        p = X.shape[1]
        B, b = X.T @ np.linalg.solve(V, X), X.T @ np.linalg.solve(V, y)
        logs, flat = np.linalg.slogdet(V)[1], p if model.restricted else 0
        inside = np.full(p, model.restricted)
        if model.gaussian_mean:
            B[range(1, p), range(1, p)] += np.exp(-point.log_mean) / unit
            logs += (p - 1) * (point.log_mean + np.log(unit))
            flat, inside[1:] = int(model.restricted), True
        if inside.any():
            logs += np.linalg.slogdet(B[np.ix_(inside, inside)])[1]
        square = y @ np.linalg.solve(V, y) - b @ np.linalg.solve(B, b)
        return -0.5 * ((len(y) - flat) * np.log(2 * np.pi) + logs + square)


def point_of(model, seed=1):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(T, T))
    size = model.structure.n_parameters(len(model.varying))
    noise = root @ root.T + 0.5 * np.eye(T)
    return Point(rng.normal(size=size), noise, 0.3 if model.gaussian_mean else None)
