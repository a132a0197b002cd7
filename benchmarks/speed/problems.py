"""The problems of the speed benchmark: exact generators, and how they are kept on disk.

Worker programs in other environments read them too, so this file needs NumPy and SciPy only.

Shared designs minimise 1/(2n) ||Y - X W||^2 + strength * penalty(W), without intercepts;
separate designs the sum over tasks of 1/(2 n_t) ||y_t - X_t w_t - b_t||^2, or of the mean
logistic loss, plus the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from scipy.signal import lfilter


@dataclass(frozen=True)
class Card:
    """What there is to say of a problem besides its arrays."""

    name: str
    design: str  # shared or separate
    loss: str  # squared or logistic
    penalty: str  # l21, trace or mean
    intercept: bool = False
    strengths: list[float] = field(default_factory=list)
    folds: int = 0  # a strength is chosen on so many, then all rows are fitted; 0: all strengths


@dataclass(frozen=True, eq=False)
class Problem:
    """A problem: X of all rows, Y (n, T) if shared, else y (n,) with rows sorted by task."""

    card: Card
    X: np.ndarray | sp.csr_matrix
    Y: np.ndarray
    offsets: np.ndarray

    @property
    def n_tasks(self) -> int:
        """Number of tasks."""
        return self.Y.shape[1] if self.Y.ndim == 2 else len(self.offsets) - 1

    def cube(self) -> np.ndarray:
        """Return the separate designs as (tasks, rows, features): they are of equal size."""
        return self.X.reshape(self.n_tasks, -1, self.X.shape[1])

    def splits(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return training and held-out rows of every fold, which all programs are given."""
        fold = np.arange(len(self.Y)) % self.card.folds
        return [
            (np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(fold.max() + 1)
        ]

    def save(self, folder: Path) -> None:
        """Write the problem to a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "card.json").write_text(json.dumps(asdict(self.card)), encoding="utf-8")
        np.save(folder / "Y.npy", self.Y)
        np.save(folder / "offsets.npy", self.offsets)
        if sp.issparse(self.X):
            sp.save_npz(folder / "X.npz", self.X)
        else:
            np.save(folder / "X.npy", self.X)


def load(folder: Path) -> Problem:
    """Read a problem from a folder."""
    card = Card(**json.loads((folder / "card.json").read_text(encoding="utf-8")))
    sparse = (folder / "X.npz").exists()
    X = sp.load_npz(folder / "X.npz") if sparse else np.load(folder / "X.npy")
    return Problem(card, X, np.load(folder / "Y.npy"), np.load(folder / "offsets.npy"))


def correlated(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Draw rows whose neighbouring features have correlation 0.5 (AR(1)), unit variance."""
    X = lfilter([np.sqrt(0.75)], [1.0, -0.5], rng.standard_normal((n, d)), axis=1)
    return np.ascontiguousarray(X)


def true_rows(rng: np.random.Generator, d: int, n_tasks: int, rows: int) -> np.ndarray:
    """Draw coefficients with a given number of rows that are not zero."""
    W = np.zeros((d, n_tasks))
    chosen = rng.choice(d, min(rows, d), replace=False)
    W[chosen] = rng.standard_normal((len(chosen), n_tasks))
    return W


def noisy(rng: np.random.Generator, eta: np.ndarray) -> np.ndarray:
    """Add noise such that ||signal|| is 3 times ||noise||."""
    noise = rng.standard_normal(eta.shape)
    return eta + noise * (np.linalg.norm(eta) / (3.0 * np.linalg.norm(noise)))


def shared(
    name: str, n: int, d: int, n_tasks: int, fractions: list[float], seed: int, folds: int = 0
) -> Problem:
    """Draw a dense shared design with 50 true rows."""
    rng = np.random.default_rng(seed)
    X = correlated(rng, n, d)
    Y = noisy(rng, X @ true_rows(rng, d, n_tasks, 50))
    card = Card(name, "shared", "squared", "l21", folds=folds)
    return _finish(card, X, Y, np.array([0, n]), fractions)


def sparse(name: str, n: int, d: int, n_tasks: int, fractions: list[float], seed: int) -> Problem:
    """Draw a sparse shared design, 0.107 per cent filled, with 50 true rows."""
    rng = np.random.default_rng(seed)
    X = sp.random(n, d, density=0.00107, format="csr", random_state=rng, data_rvs=rng.random)
    Y = noisy(rng, X @ true_rows(rng, d, n_tasks, 50))
    return _finish(Card(name, "shared", "squared", "l21"), X, Y, np.array([0, n]), fractions)


def separate(
    name: str,
    n_tasks: int,
    n: int,
    d: int,
    seed: int,
    *,
    loss: str = "squared",
    penalty: str = "l21",
    fraction: float = 0.1,
) -> Problem:
    """Draw tasks with rows of their own: 50 true rows, or rank 5 for the trace norm."""
    rng = np.random.default_rng(seed)
    X = correlated(rng, n_tasks * n, d)
    W = true_rows(rng, d, n_tasks, 50)
    if penalty == "trace":
        W = rng.standard_normal((d, 5)) @ rng.standard_normal((5, n_tasks)) / np.sqrt(5)
    eta = np.einsum("tnd,dt->tn", X.reshape(n_tasks, n, d), W)
    y = noisy(rng, eta).ravel()
    if loss == "logistic":
        y = (y > 0).astype(float)
    offsets = np.arange(n_tasks + 1) * n
    card = Card(name, "separate", loss, penalty, intercept=loss == "logistic")
    return _finish(card, X, y, offsets, [fraction])


def _finish(
    card: Card, X: np.ndarray, Y: np.ndarray, offsets: np.ndarray, fractions: list[float]
) -> Problem:
    """Turn fractions of the null strength into strengths."""
    plain = Problem(card, X, Y, offsets)
    G = gradient_at_zero(plain)
    size = np.linalg.norm(G, 2) if card.penalty == "trace" else np.linalg.norm(G, axis=1).max()
    strengths = [float(f * size) for f in fractions]
    return Problem(Card(**asdict(card) | {"strengths": strengths}), X, Y, offsets)


def gradient_at_zero(problem: Problem) -> np.ndarray:
    """Return the gradient of the data term at W = 0 with the best intercepts."""
    if problem.card.design == "shared":
        return problem.X.T @ problem.Y / -len(problem.Y)
    y = problem.Y.reshape(problem.n_tasks, -1)
    slopes = (y.mean(axis=1, keepdims=True) if problem.card.intercept else 0.0) - y
    return np.einsum("tnd,tn->dt", problem.cube(), slopes) / y.shape[1]


def grid(lowest: float, count: int) -> list[float]:
    """Return fractions from 1 down to `lowest`, evenly spaced in logarithm."""
    return [float(f) for f in np.geomspace(1.0, lowest, count)]


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "P1": lambda: shared("P1", 1000, 20000, 20, grid(0.1, 50), 1),
    "P1L": lambda: shared("P1L", 1000, 20000, 20, grid(0.01, 100), 1),
    "P2": lambda: shared("P2", 200, 100000, 10, [0.05], 2),
    "P3": lambda: shared("P3", 200000, 200, 50, [0.05], 3),
    "P3CV": lambda: shared("P3CV", 200000, 200, 50, grid(0.01, 50), 3, folds=5),
    "P4": lambda: separate("P4", 100, 100, 500, 4),
    "P5": lambda: separate("P5", 50, 200, 300, 5, loss="logistic"),
    "P6": lambda: separate("P6", 100, 50, 200, 6, penalty="trace"),
    "P7": lambda: sparse("P7", 20000, 100000, 20, [0.1], 7),
}

# Small problems of the same kinds: programs compile on them before they are timed.
WARM: dict[str, Callable[[], Problem]] = {
    "P1": lambda: shared("P1", 100, 12000, 20, [0.7, 0.5], 11),
    "P1L": lambda: shared("P1L", 100, 12000, 20, [0.7, 0.5], 11),
    "P2": lambda: shared("P2", 100, 12000, 10, [0.5], 12),
    "P3": lambda: shared("P3", 20000, 100, 50, [0.5], 13),
    "P3CV": lambda: shared("P3CV", 20000, 100, 50, [0.5, 0.3], 13, folds=3),
    "P4": lambda: separate("P4", 25, 100, 500, 14, fraction=0.5),
    "P5": lambda: separate("P5", 25, 200, 300, 15, loss="logistic", fraction=0.5),
    "P6": lambda: separate("P6", 20, 50, 200, 16, penalty="trace", fraction=0.5),
    "P7": lambda: sparse("P7", 2000, 20000, 20, [0.5], 17),
}
