"""The automatic estimators beside all that a user might try: ``python benchmarks/auto.py``.

75/25 splits within tasks, the same for every model, raw features, every model tuned inside the
training part. Numbers: R2 against the grand mean of the test rows (mean over targets in the
targets form); classes: mean over tasks of the area under the ROC curve. The intervals are of the
paired difference "auto minus this", corrected for overlapping training parts (Nadeau and Bengio).
A second table has the ranks over the sets. ``--keep FILE`` goes on with a run that was stopped.
statsmodels, where it is installed, adds a mixed model with an intercept per task.
"""

from __future__ import annotations

import argparse
import platform
import shlex
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import sklearn
from _kept import Kept
from _sets import RealSet, load_set
from learned_prior_classes import interval
from real_data import score, single, splits, take
from scipy.stats import rankdata
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import MultiTaskElasticNetCV, MultiTaskLassoCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import polytask
from polytask import (
    AutoMultiTaskClassifier,
    AutoMultiTaskRegressor,
    BayesianMultiTaskClassifier,
    BayesianMultiTaskRegressor,
    Pooled,
    SingleTask,
)
from polytask.baselines import Joint, TunedLogistic

SETS = (
    "school", "computer", "exam65", "radon", "sarcos_sub", "mtr_enb", "mtr_scpf", "mtr_wq",
    "mtr_rf1", "mtr_atp1d", "heart4", "landmine", "bank_conjoint",
)  # fmt: skip
AUTO = "auto"
PLAIN = ("separate", "pooled", "pooled + intercepts", "pooled + category")
Make = Callable[[], Any]


class MixedModel:
    """A linear mixed model of statsmodels with an intercept per task."""

    def fit(self, X: Any, y: np.ndarray, task: np.ndarray) -> MixedModel:
        """Fit by restricted likelihood; refuse what does not converge."""
        from statsmodels.regression.mixed_linear_model import MixedLM

        found = MixedLM(y, self._design(X), groups=task).fit()
        if not found.converged:
            raise ValueError("the mixed model did not converge")
        self.coef = np.asarray(found.fe_params)
        self.level = {name: float(np.asarray(v)[0]) for name, v in found.random_effects.items()}
        return self

    def predict(self, X: Any, task: np.ndarray) -> np.ndarray:
        """Return fixed effects and the intercept of the task."""
        return np.asarray(self._design(X) @ self.coef + [self.level[t] for t in task])

    @staticmethod
    def _design(X: Any) -> np.ndarray:
        X = np.asarray(X, dtype=float)
        return np.column_stack([np.ones(len(X)), X])


def models(data: RealSet) -> dict[str, Make]:
    """Return the models by name."""
    dense = not hasattr(data.X, "indptr")
    if data.classes:
        learner = make_pipeline(StandardScaler(with_mean=dense), TunedLogistic())
        boosting, learned, auto = (
            HistGradientBoostingClassifier,
            BayesianMultiTaskClassifier,
            AutoMultiTaskClassifier,
        )
    else:
        learner = single(classes=False, sparse=not dense)
        boosting, learned, auto = (
            HistGradientBoostingRegressor,
            BayesianMultiTaskRegressor,
            AutoMultiTaskRegressor,
        )
    rows: dict[str, Make] = {
        "separate": lambda: SingleTask(learner),
        "pooled": lambda: Pooled(learner, "none"),
        "pooled + intercepts": lambda: Pooled(learner, "intercept"),
        "pooled + category": lambda: Pooled(learner, "category"),
        "learned prior": learned,
        AUTO: auto,
    }
    if dense:
        rows["boosting per task"] = lambda: SingleTask(boosting(random_state=0))
        rows["boosting pooled"] = lambda: Pooled(boosting(random_state=0), "category")
    return rows | (_for_matrix(data) if data.task is None else _for_long(data))


def _for_matrix(data: RealSet) -> dict[str, Make]:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    if hasattr(data.X, "indptr") or np.isnan(data.y).any():
        return {}
    forest = RandomForestClassifier if data.classes else RandomForestRegressor
    rows: dict[str, Make] = {"random forest": lambda: Joint(forest(200, random_state=0))}
    if not data.classes:
        for name, lasso in (("Lasso", MultiTaskLassoCV), ("ElasticNet", MultiTaskElasticNetCV)):
            made = make_pipeline(StandardScaler(), lasso(cv=5, max_iter=5000))
            rows[f"scikit-learn MultiTask{name}CV"] = lambda made=made: Joint(made)
    return rows


def _for_long(data: RealSet) -> dict[str, Make]:
    try:
        import statsmodels  # noqa: F401 - whether it is there
    except ImportError:
        return {}
    return {} if data.classes else {"mixed model (statsmodels)": MixedModel}


def measure(make: Make, data: RealSet, pair: tuple[np.ndarray, np.ndarray]) -> tuple[float, float]:
    """Return the held-out score and CPU seconds of the fit; NaN if it fails."""
    train, test = pair
    labels = {} if data.task is None else {"task": data.task[train]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        started = time.process_time()
        try:
            model = make().fit(take(data.X, train), data.y[train], **labels)
        except ValueError as error:
            print(f"<!-- {data.name}: {error} -->", file=sys.stderr)
            return float("nan"), float("nan")
        seconds = time.process_time() - started
        return score(model, data, test), seconds


def run(name: str, count: int, keep: str | None) -> dict[str, float]:
    """Print the table of one set; return the means."""
    data = load_set(name)
    pairs = splits(data, count)
    kept = Kept(keep, name)
    found = {
        label: np.array(
            [kept.get(label, k, partial(measure, make, data, p)) for k, p in enumerate(pairs)]
        )
        for label, make in models(data).items()
    }
    metric = "AUC" if data.classes else "R2"
    shape = f"{data.X.shape[0]:,} rows, {data.X.shape[1]} features"
    print(f"\n## {name} ({shape}): {metric}, {count} splits\n")
    print("| model | mean | sd | auto minus this | 95% interval | CPU s per fit |")
    print("|---|---|---|---|---|---|")
    order = sorted(found, key=lambda label: -np.nan_to_num(found[label][:, 0].mean(), nan=-9.0))
    for label in order:
        values = found[label][:, 0]
        gap = found[AUTO][:, 0] - values
        shown = "|  |  |"
        if label != AUTO and count > 1:
            low, high = interval(gap, 0.25)
            shown = f"| {gap.mean():+.4f} | {low:+.4f} to {high:+.4f} |"
        seconds = found[label][:, 1].mean()
        print(f"| {label} | {values.mean():.4f} | {values.std():.4f} {shown} {seconds:.1f} |")
    sys.stdout.flush()
    return {label: float(values[:, 0].mean()) for label, values in found.items()}


def print_ranks(means: dict[str, dict[str, float]]) -> None:
    """Print the mean rank of every model over the sets, the worst rank where it is missing."""
    labels = sorted({label for own in means.values() for label in own})
    table = np.array(
        [
            [np.nan_to_num(own.get(label, -9.0), nan=-9.0) for label in labels]
            for own in means.values()
        ]
    )
    ranks = rankdata(-table, axis=1)
    print(f"\n## Ranks over {len(means)} sets\n\n| model | mean rank | first on |\n|---|---|---|")
    for k in np.argsort(ranks.mean(axis=0)):
        print(f"| {labels[k]} | {ranks[:, k].mean():.2f} | {int((ranks[:, k] == 1).sum())} |")


def main() -> None:
    """Run the chosen sets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=SETS)
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--keep", default=None, help="file of results, to continue a run")
    chosen = parser.parse_args()
    print(
        f"`python benchmarks/auto.py {shlex.join(sys.argv[1:])}`, "
        f"polytask {polytask.__version__}, "
        f"scikit-learn {sklearn.__version__}, numpy {np.__version__}, "
        f"Python {platform.python_version()}"
    )
    print_ranks({name: run(name, chosen.splits, chosen.keep) for name in chosen.sets})


if __name__ == "__main__":
    main()
