"""The learned prior on classification sets: ``python benchmarks/learned_prior_classes.py SETS``.

75/25 splits within tasks, the same for every model. Separate and pooled models are a scaler and
logistic regression with its strength tuned on five folds; "tuned toward_mean" is
MultiTaskClassifierCV with penalties near the mean only. The learned prior has nothing to tune:
"auto" chooses the structure by evidence. The metric is the mean over tasks of the area under the
ROC curve (``--metric accuracy``: mean accuracy). Seconds are CPU time per fit on one thread. The
interval is that of the paired difference from "learned prior (auto)", corrected for overlapping
training parts (Nadeau and Bengio).
"""

from __future__ import annotations

import argparse
import dataclasses
import platform
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import sklearn
from _kept import Kept
from _sets import RealSet, load_set
from _tables import interval, table
from real_data import NOT_CONVERGED, score, splits, take
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import polytask
from polytask import BayesianMultiTaskClassifier, MultiTaskClassifierCV, Pooled, SingleTask
from polytask.baselines import TunedLogistic
from polytask.bayes import LowRank
from polytask.penalties import L2, toward_mean

SETS = ("heart4", "landmine", "bank_conjoint", "hillstrom", "mfeat_pix", "tox21")
AUTO = "learned prior (auto)"
# Above these numbers of features the richer structures are not tried one by one.
DIAGONAL_FEATURES, LOW_RANK_FEATURES, FULL_FEATURES = 1000, 60, 15


def load(name: str, rows: int | None, words: int | None, each: int | None) -> RealSet:
    """Load a set; the third target of hillstrom is a number and left out."""
    data = load_set(name, rows)
    if each is not None and data.task is not None:
        rng = np.random.default_rng(0)
        drawn = [
            rng.permutation(np.flatnonzero(data.task == label))[:each]
            for label in np.unique(data.task)
        ]
        kept = np.sort(np.concatenate(drawn))
        data = dataclasses.replace(data, X=data.X[kept], y=data.y[kept], task=data.task[kept])
    if name == "hillstrom":
        data = dataclasses.replace(data, y=data.y[:, :2], classes=True)
    if words is not None and words < data.X.shape[1]:
        counts = np.asarray((data.X != 0).sum(axis=0)).ravel()
        kept = np.sort(np.argsort(-counts, kind="stable")[:words])
        data = dataclasses.replace(data, X=data.X[:, kept])
    return data


def models(data: RealSet, strengths: int) -> dict[str, Callable[[], Any]]:
    """Return the models by name."""
    sparse = hasattr(data.X, "indptr")
    learner = make_pipeline(StandardScaler(with_mean=not sparse), TunedLogistic())
    near_mean = [toward_mean(1.0) + L2(share) for share in (1e-3, 0.1)]
    rows: dict[str, Callable[[], Any]] = {
        "separate": lambda: SingleTask(learner),
        "pooled": lambda: Pooled(learner, "none"),
        "pooled + intercepts": lambda: Pooled(learner, "intercept"),
        "pooled + category": lambda: Pooled(learner, "category"),
        "tuned toward_mean": lambda: MultiTaskClassifierCV(near_mean, alphas=strengths),
    }
    width = data.X.shape[1]
    plain = ("none", "scalar", "diagonal") if width <= DIAGONAL_FEATURES else ("none", "scalar")
    structures: dict[str, Any] = {name: name for name in plain}
    if width <= LOW_RANK_FEATURES:
        structures |= {"low rank 1": LowRank(1), "low rank 2": LowRank(2)}
    if width <= FULL_FEATURES:
        structures |= {"full": "full"}
    structures |= {"auto": "auto"}
    for name, structure in structures.items():
        rows[f"learned prior ({name})"] = lambda s=structure: BayesianMultiTaskClassifier(s)
    return rows


def accuracy(model: Any, data: RealSet, test: np.ndarray) -> float:
    """Return the mean over tasks of the accuracy."""
    task = None if data.task is None else data.task[test]
    return float(model.score(take(data.X, test), data.y[test], task=task))


def fit_and_score(
    make: Callable[[], Any],
    data: RealSet,
    pair: tuple[np.ndarray, np.ndarray],
    metric: Callable[..., float],
) -> tuple[float, float, bool, str]:
    """Return the held-out score, CPU seconds, whether a fit warned, and the structure."""
    train, test = pair
    task = None if data.task is None else data.task[train]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        started = time.process_time()
        model = make().fit(take(data.X, train), data.y[train], task=task)
        seconds = time.process_time() - started
        value = metric(model, data, test)
    warned = any(issubclass(warning.category, NOT_CONVERGED) for warning in caught)
    return value, seconds, warned, repr(getattr(model, "structure_", ""))


HEAD = ("model", "mean", "sd", "auto minus this", "95% interval", "CPU s", "not converged")


def tables(kept: Kept) -> dict[str, str]:
    """Return the table of every set of which results are kept, and what "auto" chose."""
    return {title: _table(own) for title, own in kept.grouped().items()}


def _table(own: dict[str, dict[int, Any]]) -> str:
    found = {label: list(entries.values()) for label, entries in own.items()}
    auto = np.array([value for value, *_ in found.get(AUTO, [])])
    rows = []
    for label, entries in found.items():
        values = np.array([value for value, *_ in entries])
        gap = ["", ""]
        if len(auto) == len(values) > 1 and label != AUTO:
            low, high = interval(auto - values, 0.25)
            gap = [f"{np.mean(auto - values):+.4f}", f"{low:+.4f} to {high:+.4f}"]
        seconds, warned = np.mean([e[1] for e in entries]), sum(e[2] for e in entries)
        scores = f"{values.mean():.4f}", f"{values.std():.4f}"
        rows.append([label, *scores, *gap, f"{seconds:.1f}", f"{warned}/{len(entries)}"])
    chosen = Counter(entry[3] for entry in found.get(AUTO, []))
    told = ", ".join(f"{name} {n}" for name, n in chosen.items())
    return table(HEAD, rows) + (f"\n\nauto chose: {told}" if told else "")


def run(data: RealSet, options: argparse.Namespace) -> None:
    """Fit the models to one set and print its table."""
    pairs = splits(data, options.splits)
    metric = accuracy if options.metric == "accuracy" else score
    kept = Kept(options.keep, f"{data.name} {data.X.shape} {options.metric}")
    known = models(data, options.strengths)
    skipped = set(filter(None, options.skip.split(",")))
    for label in [label for label in known if options.only in label and label not in skipped]:
        for k, pair in enumerate(pairs):
            kept.get(label, k, partial(fit_and_score, known[label], data, pair, metric))
        print(f"<!-- {data.name} {label} done -->", file=sys.stderr, flush=True)
    title = "accuracy" if options.metric == "accuracy" else "AUC"
    shape = f"{data.X.shape[0]} rows, {data.X.shape[1]} features"
    print(f"\n## {data.name} ({shape}): mean {title} per task, {len(pairs)} splits\n")
    print(tables(kept)[kept.title], flush=True)


def main() -> None:
    """Run the chosen sets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=SETS)
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--rows", type=int, default=None, help="the first so many rows")
    parser.add_argument("--each", type=int, default=None, help="so many rows of every task")
    parser.add_argument("--words", type=int, default=None, help="the commonest so many features")
    parser.add_argument("--strengths", type=int, default=50, help="tried by tuned toward_mean")
    parser.add_argument("--metric", choices=("auc", "accuracy"), default="auc")
    parser.add_argument("--only", default="", help="part of the names of the models to fit")
    parser.add_argument("--skip", default="", help="names of models to leave out, by commas")
    parser.add_argument("--keep", default=None, help="file of results, to continue a run")
    options = parser.parse_args()
    print(
        f"polytask {polytask.__version__}, scikit-learn {sklearn.__version__}, "
        f"numpy {np.__version__}, Python {platform.python_version()}, {platform.machine()}"
    )
    for name in options.sets:
        run(load(name, options.rows, options.words, options.each), options)


if __name__ == "__main__":
    main()
