"""Small problems on which datafits and solvers are tried."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from polytask.datafits import (
    AnchoredIntercepts,
    ClassesBlock,
    Datafit,
    Features,
    Intercepts,
    MomentSquares,
    NoIntercepts,
    PulledIntercepts,
    Samples,
    ScalarBlock,
    Shared,
    SquaredStatistics,
    SquareRootDatafit,
    Stacked,
    TiedIntercepts,
    collect_shared,
    collect_stacked,
    on_rows,
)
from polytask.losses import (
    Gamma,
    Logistic,
    LogLink,
    Loss,
    Multinomial,
    Poisson,
    Quantile,
    Squared,
    SquareRoot,
)

N_TASKS = 4
N_FEATURES = 6


def intercept_modes(n_columns: int = N_TASKS) -> dict[str, Intercepts]:
    """Return every kind of intercepts, for columns that count as one class."""
    alone, together = np.arange(n_columns), np.zeros(n_columns, dtype=np.intp)
    return {
        "none": NoIntercepts(),
        "free": TiedIntercepts(alone),
        "tied": TiedIntercepts(together),
        "pulled": PulledIntercepts(together, 0.05),
        "anchored": AnchoredIntercepts(np.linspace(-1.0, 1.0, n_columns), 0.05),
    }


def stacked_rows(rng: np.random.Generator) -> tuple[Stacked, np.ndarray, np.ndarray]:
    """Return a design with rows per task, one task without rows, predictors and weights."""
    offsets = np.array([0, 15, 15, 40, 60])
    X = rng.normal(size=(60, N_FEATURES)) * np.geomspace(0.3, 3.0, N_FEATURES) + 0.5
    design = Stacked(Features(X), offsets, np.arange(N_TASKS))
    eta = design.forward(rng.normal(size=(N_FEATURES, N_TASKS)) / 3.0)
    return design, eta, rng.uniform(0.2, 1.0, size=60) / 20.0


def outcomes(loss: Loss, eta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return noisy targets that suit a loss of one prediction."""
    if isinstance(loss, LogLink):
        mean = np.exp(0.5 * np.clip(eta, -4.0, 4.0))
        if loss.allows(np.zeros(1)).all():
            return np.asarray(rng.poisson(mean), dtype=float)
        return np.asarray(rng.gamma(2.0, 0.5 * mean))
    noisy = eta + rng.logistic(size=eta.shape)
    return (noisy > 0).astype(float) if loss.is_classifier else noisy


def two_values(loss: Loss) -> list[float]:
    """Return two targets that a loss allows, the two classes for one of classes."""
    return [0.0, 1.0] if loss.allows(np.zeros(1)).all() else [1.0, 2.0]


def stacked_samples(loss: Loss, intercepts: Intercepts, seed: int) -> Samples:
    """Return a datafit on rows per task; one task has no rows, which free intercepts allow."""
    rng = np.random.default_rng(seed)
    design, eta, weight = stacked_rows(rng)
    y = outcomes(loss, eta, rng)
    y[[0, 1, 15, 16, 40, 41]] = np.tile(two_values(loss), 3)
    block = ScalarBlock(design, loss, y, weight)
    return Samples((block,), intercepts, N_FEATURES, N_TASKS)


def stacked_statistics(intercepts: Intercepts, seed: int) -> SquaredStatistics:
    """Return the statistics of :func:`stacked_samples` with the squared loss."""
    block = stacked_samples(Squared(), intercepts, seed).blocks[0]
    design = block.design
    if not isinstance(design, Stacked):
        raise TypeError("the design has rows per task")
    scale = design.collect(block.weight)
    statistics = collect_stacked(design, block.y, block.weight, scale)
    return SquaredStatistics(statistics, intercepts)


def shared_samples(
    loss: Loss, intercepts: Intercepts, seed: int, *, missing: bool = True
) -> Samples:
    """Return a datafit on one sparse design with an offset and, if `missing`, lacking labels."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(30, N_FEATURES)) * (rng.random((30, N_FEATURES)) < 0.6)
    features = Features(sp.csr_array(X), X.mean(axis=0) + 0.1)
    design = Shared(features, np.arange(N_TASKS))
    eta = design.forward(rng.normal(size=(N_FEATURES, N_TASKS)))
    y = outcomes(loss, eta, rng)
    seen = rng.random(y.shape) < 0.7
    first = two_values(loss)
    y[:2], seen[:2] = np.array(first)[:, None], True
    seen |= not missing
    weight = seen * rng.uniform(0.2, 1.0, (30, 1)) / 20.0
    block = ScalarBlock(design, loss, np.where(seen, y, first[0]), weight)
    return Samples((block,), intercepts, N_FEATURES, N_TASKS)


def shared_statistics(intercepts: Intercepts, seed: int, *, missing: bool) -> SquaredStatistics:
    """Return the statistics of :func:`shared_samples` with the squared loss."""
    block = shared_samples(Squared(), intercepts, seed, missing=missing).blocks[0]
    design = block.design
    if not isinstance(design, Shared):
        raise TypeError("the design is shared")
    scale = block.weight.sum(axis=0)
    statistics = collect_shared(design, block.y, block.weight, scale)
    return SquaredStatistics(statistics, intercepts)


def class_samples(intercepts: Intercepts | None, seed: int) -> Samples:
    """Return a multinomial datafit of two tasks with three and two classes (five columns)."""
    rng = np.random.default_rng(seed)
    blocks = []
    for start, stop, n in ((0, 3, 40), (3, 5, 25)):
        design = Shared(Features(rng.normal(size=(n, N_FEATURES)) + 0.3), np.arange(start, stop))
        y = rng.integers(stop - start, size=n).astype(float)
        y[: stop - start] = np.arange(stop - start)
        blocks.append(ClassesBlock(design, Multinomial(), y, rng.uniform(0.2, 1.0, n) / n))
    held = PulledIntercepts(np.array([0, 1, 2, 0, 2]), 0.05) if intercepts is None else intercepts
    return Samples(tuple(blocks), held, N_FEATURES, 5)


def mixed_samples(seed: int) -> Samples:
    """Return a datafit with a squared and a logistic block over one design."""
    rng = np.random.default_rng(seed)
    features = Features(rng.normal(size=(40, N_FEATURES)) + 0.3)
    blocks = []
    for loss, columns in ((Squared(), [0, 2]), (Logistic(), [1, 3])):
        design = Shared(features, np.array(columns))
        eta = design.forward(rng.normal(size=(N_FEATURES, N_TASKS)))
        y = outcomes(loss, eta, rng)
        y[:2] = [[0.0], [1.0]]
        blocks.append(ScalarBlock(design, loss, y, np.full(y.shape, 1.0 / 40.0)))
    groups = np.array([0, 1, 0, 1])
    return Samples(tuple(blocks), PulledIntercepts(groups, 0.05), N_FEATURES, N_TASKS)


def small_problems(seed: int) -> dict[str, Datafit]:
    """Return a small problem of every loss and kind of design."""
    modes = intercept_modes()
    return {
        "squared, statistics": stacked_statistics(modes["pulled"], seed),
        "squared, shared statistics": shared_statistics(modes["free"], seed, missing=False),
        "squared, shared samples": shared_samples(Squared(), modes["pulled"], seed, missing=False),
        "squared, missing labels": shared_samples(Squared(), modes["tied"], seed),
        "logistic": stacked_samples(Logistic(), modes["pulled"], seed),
        "logistic, sparse": shared_samples(Logistic(), modes["free"], seed),
        "multinomial": class_samples(None, seed),
        "mixed": mixed_samples(seed),
        "poisson": stacked_samples(Poisson(), modes["free"], seed),
        "gamma, sparse": shared_samples(Gamma(), modes["pulled"], seed),
    }


def _with_losses(
    seed: int, kinds: Mapping[str, tuple[Callable[..., Samples], Loss, str]], beside: Loss
) -> dict[str, Datafit]:
    """Return small problems of losses, and one of a loss beside the logistic one."""
    modes, shape = intercept_modes(), (N_FEATURES, N_TASKS)
    found: dict[str, Datafit] = {}
    for name, (make, loss, mode) in kinds.items():
        samples = make(loss, modes[mode], seed)
        found[name] = on_rows(samples.blocks, samples.intercepts, *shape)
    mixed = mixed_samples(seed)
    first = mixed.blocks[0]
    if isinstance(first, ScalarBlock):
        blocks = (replace(first, loss=beside), *mixed.blocks[1:])
        found[f"{beside.name.replace('_', ' ')} beside logistic"] = on_rows(
            blocks, mixed.intercepts, *shape
        )
    return found


def piecewise_linear_problems(seed: int) -> dict[str, Datafit]:
    """Return small problems of losses with kinks, which have no gradient everywhere."""
    kinds = {
        "quantile": (stacked_samples, Quantile(0.5), "free"),
        "quantile, pulled and sparse": (shared_samples, Quantile(0.8), "pulled"),
    }
    return _with_losses(seed, kinds, Quantile(0.3))


def square_root_problems(seed: int) -> dict[str, Datafit]:
    """Return small problems in which tasks count by roots of mean squares."""
    kinds = {
        "square root": (stacked_samples, SquareRoot(), "pulled"),
        "square root, sparse": (shared_samples, SquareRoot(), "tied"),
    }
    known = stacked_statistics(intercept_modes()["free"], seed)
    squares = MomentSquares(known.statistics)
    statistics = {"square root, statistics": SquareRootDatafit(squares, None, known.intercepts)}
    return _with_losses(seed, kinds, SquareRoot()) | statistics
