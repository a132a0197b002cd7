"""How often the interval of the gain covers it: ``python benchmarks/gain_coverage.py``.

The folds, the choice of models and the interval are those of `compare`, and the collections those
of ``false_discovery.py``. The models are few and of closed form, so that thousands of collections
take seconds: separate ridge regressions with a strength of 1 or of 10, one regression of all
tasks with intercepts (strength 1), and this one corrected for every task by a ridge regression of
what it leaves, with a strength of 3, 10 or 30. The table has the interval from the variance of
rows alone beside that of `compare`, which counts the covariance between folds too.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from false_discovery import SETTINGS, Setting, Truth
from numpy.typing import NDArray

from polytask.comparison.statistics import (
    Estimate,
    clustered_mean,
    mean_of_tasks,
    mutual_covariance,
)
from polytask.comparison.verdict import margin_of, verdict

Array = NDArray[np.float64]
Name = tuple[str, float]
Models = dict[Name, tuple[Array, Array]]

FOLDS, INNER, HELD = 5, 4, 3


class Run(NamedTuple):
    """The true gain of one collection, its interval without and with the covariance of folds."""

    true: float
    alone: Estimate
    whole: Estimate
    verdicts: tuple[str, str]


def dealt(rng: np.random.Generator, able: NDArray[np.bool_], folds: int) -> NDArray[np.intp]:
    """Deal the rows of every task that are able to folds, -1 for the others; (T, n)."""
    out = np.full(able.shape, -1)
    for row, mask in zip(out, able, strict=True):
        at = np.flatnonzero(mask)
        row[at] = rng.permutation(len(at)) % folds
    return out


def fitted(X: Array, y: Array, rows: NDArray[np.bool_]) -> Models:
    """Fit all models to some rows; X is (T, n, d), coefficients are (T, d)."""
    weight = rows / rows.sum(axis=1, keepdims=True)
    x_mean, y_mean = (weight[:, :, None] * X).sum(axis=1), (weight * y).sum(axis=1)
    Xc = (X - x_mean[:, None]) * rows[:, :, None]
    A = Xc.transpose(0, 2, 1) @ Xc
    b = (Xc.transpose(0, 2, 1) @ ((y - y_mean[:, None]) * rows)[:, :, None])[:, :, 0]
    eye = np.eye(A.shape[-1])

    def ridge(strength: float, target: Array) -> Array:
        return np.asarray(np.linalg.solve(A + strength * eye, target[:, :, None])[:, :, 0])

    common = np.linalg.solve(A.sum(axis=0) + eye, b.sum(axis=0))
    coefs: dict[Name, Array] = {("separate", s): ridge(s, b) for s in (1.0, 10.0)}
    coefs["pooled", 1.0] = np.tile(common, (len(A), 1))
    for strength in (3.0, 10.0, 30.0):
        coefs["shared", strength] = common + ridge(strength, b - A @ common)
    return {name: (coef, y_mean - (x_mean * coef).sum(axis=1)) for name, coef in coefs.items()}


def again_by_fold(rng: np.random.Generator, fold: NDArray[np.intp], k: int) -> NDArray[np.intp]:
    """Return folds that statistics hold out again in place of rows, in random order; (T, n)."""
    order = np.full(FOLDS, -1)
    order[np.setdiff1d(np.arange(FOLDS), k)] = rng.permutation(INNER)
    return order[fold]


def targets_of_rows(truth: Truth, n: int, common: float, rng: np.random.Generator) -> list[Array]:
    """Draw rows with a target of every task, that have some of their noise in common."""
    n_tasks, d = truth.coef.shape
    X = rng.standard_normal((n, d))
    noise = np.sqrt(common) * rng.standard_normal(n)
    noise = noise + np.sqrt(1 - common) * rng.standard_normal((n_tasks, n))
    y = truth.level[:, None] + truth.coef @ X.T + truth.noise * noise
    return [np.broadcast_to(X, (n_tasks, n, d)), y]


def run(
    setting: Setting,
    rng: np.random.Generator,
    collected: bool = False,
    common: float | None = None,
) -> Run:
    """Simulate one collection and judge it, by its rows or by statistics of its folds.

    Tasks are targets of the same rows if `common` is given, the share of the variance of the noise
    that targets of a row have in common.
    """
    truth, shape = Truth.drawn(setting, rng), (setting.n_tasks, setting.n_rows)
    if common is None:
        X, y, _ = truth.rows(setting.n_rows, rng)
        X, y = X.reshape(*shape, -1), y.reshape(shape)
    else:
        X, y = targets_of_rows(truth, setting.n_rows, common, rng)

    def dealt_rows(able: NDArray[np.bool_], folds: int) -> NDArray[np.intp]:
        # Rows are held out with all their targets.
        one = able if common is None else able[:1]
        return np.array(np.broadcast_to(dealt(rng, one, folds), shape))

    def losses(model: tuple[Array, Array]) -> Array:
        return np.asarray((y - model[1][:, None] - np.einsum("tnd,td->tn", X, model[0])) ** 2)

    def excess(model: tuple[Array, Array]) -> Array:
        return np.asarray(
            (model[1] - truth.level) ** 2 + ((model[0] - truth.coef) ** 2).sum(axis=1)
        )

    fold = dealt_rows(np.ones(shape, dtype=bool), FOLDS)
    gain, pooling, null, plain = (np.empty(shape) for _ in range(4))
    true, again, chosen = np.zeros((FOLDS, setting.n_tasks)), [], []
    for k in range(FOLDS):
        train, test = fold != k, fold == k
        inner = again_by_fold(rng, fold, k) if collected else dealt_rows(train, INNER)
        held: dict[Name, Array] = {}
        for j in range(HELD):
            for name, model in fitted(X, y, train & (inner != j)).items():
                lost = held.setdefault(name, np.full(shape, np.nan))
                lost[inner == j] = losses(model)[inner == j]
        models = fitted(X, y, train)

        def best(*kinds: str, held: dict[Name, Array] = held) -> Name:
            return min((n for n in held if n[0] in kinds), key=lambda n: np.nanmean(held[n]))

        ours, theirs = best("shared"), best("pooled", "separate")
        lost = {name: losses(model) for name, model in models.items()}
        gain[test] = (lost[theirs] - lost[ours])[test]
        pooling[test] = (lost[best("separate")] - lost[best("pooled")])[test]
        level = y[train].mean() if common is None else y.mean(axis=1, where=train)[:, None]
        null[test], plain[test] = ((y - level) ** 2)[test], lost[theirs][test]
        true[k] = (excess(models[theirs]) - excess(models[ours])) * test.sum(axis=1)
        again.append(held)
        chosen.append((ours, theirs, best("pooled"), best("separate")))
    scale = np.full((setting.n_tasks, 1), null.mean())
    # Statistics tell the sum of a cell of task and fold; of targets of one design, that of a fold.
    cells = np.arange(setting.n_tasks)[:, None] * FOLDS + fold
    clusters = cells if collected else np.arange(gain.size).reshape(shape)
    if common is not None:
        scale = null.mean(axis=1, keepdims=True)
        clusters = fold if collected else np.broadcast_to(np.arange(setting.n_rows), shape)
    pairs = {0: (gain, 0, 1), 1: (pooling, 2, 3)}
    folds = fold, clusters.ravel()
    found = [estimates(values / scale, *folds, again, chosen, *at, scale, common is not None)
             for values, *at in pairs.values()]  # fmt: skip
    margin = margin_of(1 - float((plain / scale).mean()), share=True)
    said = tuple(verdict(found[0][i], found[1][i], margin, "separate") for i in (0, 1))
    return Run(float((true / scale.T).sum()) / gain.size, *found[0], (said[0], said[1]))


def estimates(
    gain: Array,
    fold: NDArray[np.intp],
    clusters: NDArray[np.intp],
    again: list[dict[Name, Array]],
    chosen: list[tuple[Name, ...]],
    ours: int,
    theirs: int,
    scale: Array,
    by_task: bool,
) -> tuple[Estimate, Estimate]:
    """Return the mean without and with the covariance of folds, as `compare` estimates them."""
    n, tasks = gain.size, np.repeat(np.arange(len(gain)), gain.shape[1])
    ones, flat = np.ones(n), fold.ravel()

    def mean_of(values: Array, clusters: NDArray[np.intp], owners: NDArray[np.intp]) -> Estimate:
        equal = np.ones(len(values))
        if by_task:
            return mean_of_tasks(values, equal, clusters, owners)
        return clustered_mean(values, equal, clusters)

    alone = mean_of(gain.ravel(), clusters, tasks)
    at, others, changes = [], [], []
    for other, held in enumerate(again):
        for k in set(range(FOLDS)) - {other}:
            lost = ((held[chosen[k][theirs]] - held[chosen[k][ours]]) / scale).ravel()
            rows = np.flatnonzero((flat == k) & ~np.isnan(lost))
            at.append(rows)
            others.append(np.full(len(rows), other))
            changes.append(gain.ravel()[rows] - lost[rows])
    change = np.concatenate(changes)
    rows, without = np.concatenate(at), np.concatenate(others)
    most = mean_of(change, clusters[rows] * FOLDS + without, tasks[rows])
    centred = change - most.mean
    common = (
        mutual_covariance(centred, rows, without, flat, groups, ones / n)
        for groups in (tasks, np.zeros_like(tasks))
    )
    bound = (FOLDS - 1) * most.error**2 * (most.freedom + 1) / (alone.freedom + 1)
    whole = min(max(0.0, *common), bound)
    return alone, alone._replace(error=float(np.sqrt(alone.error**2 + whole)))


def cells(runs: list[Run], at: int) -> Iterable[str]:
    """Return what is shown of one of the two intervals."""
    true = np.array([one.true for one in runs])
    found = [one[1 + at] for one in runs]
    ends = np.array([estimate.interval()[1:] for estimate in found])
    yield f"{np.mean((ends[:, 0] <= true) & (true <= ends[:, 1])):.3f}"
    yield f"{np.sqrt(np.mean([estimate.error**2 for estimate in found])):.4f}"
    shared = np.array([one.verdicts[at] == "share" for one in runs])
    yield f"{shared.sum()} ({(shared & (true <= 0)).sum()})"


HEAD = (
    "| collection | runs | true gain, median | error, root mean square | covered: rows alone "
    "| stated error | share (false) | covered: with folds | stated error | share (false) |"
)


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--kinds", nargs="*", default=list(SETTINGS))
    chosen, started = parser.parse_args(), time.process_time()
    print(HEAD + "\n|" + "---|" * (HEAD.count("|") - 1))
    for kind in chosen.kinds:
        if SETTINGS[kind].classes:
            continue
        rng = np.random.default_rng(0)
        runs = [run(SETTINGS[kind], rng) for _ in range(chosen.runs)]
        true = np.array([one.true for one in runs])
        error = np.sqrt(np.mean([(one.alone.mean - one.true) ** 2 for one in runs]))
        row = [kind, str(len(runs)), f"{np.median(true):+.4f}", f"{error:.4f}"]
        print("| " + " | ".join([*row, *cells(runs, 0), *cells(runs, 1)]) + " |", flush=True)
    print(f"\n{time.process_time() - started:.0f} s of processor time")


if __name__ == "__main__":
    main()
