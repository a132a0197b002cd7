"""The automatic estimators beside all that a user might try: ``python benchmarks/auto.py``.

75/25 splits within tasks, the same for every model, raw features, every model tuned inside the
training part. Numbers: R2 against the grand mean of the test rows (mean over targets in the
targets form); classes: mean over tasks of the area under the ROC curve. The intervals are of the
paired difference "auto minus this", corrected for overlapping training parts (Nadeau and Bengio).
Three tables of all that is kept are at the end: scores, Auto beside the best of each set, ranks
(p is corrected by Holm: of the differences on each set, and of signed ranks over sets).
A set is a name, or NAME:SPLITS, or NAME:SPLITS:SECONDS with a time budget for Auto.
``--keep FILE`` goes on with a run that was stopped; ``--table`` prints what it has so far. The
first split of every set is measured before the second of any, so that such a table is balanced.
Every measurement is a process of its own; ``--limit`` stops it after so many seconds.
``--alone`` has no other model: what Auto scores and takes, as ``school:1 --alone``.
statsmodels, where it is installed, adds a mixed model with an intercept per task.
``--peers`` adds LightGBM and CatBoost (the task as a category, settings by held-out rows), the
linear models and the trees of GPBoost, and AutoGluon without networks, for as many seconds as
Auto has, 60 where it has no limit (LightGBM, CatBoost and the trees of GPBoost try further
settings while half of them is left); each is installed in an environment of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import shlex
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from _auto_peers import peers
from _kept import Kept
from _sets import RealSet, load_table
from _tables import interval, table
from real_data import score, single, splits, take
from scipy import stats
from scipy.linalg import qr
from scipy.stats import rankdata
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import MultiTaskElasticNetCV, MultiTaskLassoCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

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
from polytask.exceptions import TimeBudgetError

SETS = (
    "school", "computer", "exam65", "radon", "sarcos_sub", "mtr_enb", "mtr_scpf", "mtr_wq",
    "mtr_rf1", "mtr_atp1d", "heart4", "landmine", "bank_conjoint", "hillstrom", "adult_mmoe",
    "mfeat_pix", "tox21", "amazon_sentiment",
)  # fmt: skip
AUTO = "auto"
PLAIN = ("separate", "pooled", "pooled + intercepts", "pooled + category")
Make = Callable[[], Any]
Scores = dict[str, np.ndarray]


class MixedModel:
    """A linear mixed model of statsmodels with an intercept per task.

    It gets what it needs to converge: standard units, no columns that others make up, and an
    optimiser without gradients (with them it ends early, or at a variance of zero with an
    infinite likelihood, on radon and exam65).
    """

    def fit(self, X: Any, y: np.ndarray, task: np.ndarray) -> MixedModel:
        """Fit by restricted likelihood; refuse what does not converge."""
        from statsmodels.regression.mixed_linear_model import MixedLM

        rows = np.asarray(X, dtype=float)
        self.scaler = StandardScaler().fit(rows)
        self.own = _independent(self.scaler.transform(rows))
        self.mean, self.unit = y.mean(), y.std()
        model = MixedLM((y - self.mean) / self.unit, self._design(X), groups=task)
        found = model.fit(method="powell")
        if not found.converged:
            raise ValueError("the mixed model did not converge")
        self.coef = np.asarray(found.fe_params)
        self.level = {name: float(np.asarray(v)[0]) for name, v in found.random_effects.items()}
        return self

    def predict(self, X: Any, task: np.ndarray) -> np.ndarray:
        """Return fixed effects and the intercept of the task."""
        levels = np.array([self.level[t] for t in task])
        return np.asarray(self.mean + self.unit * (self._design(X) @ self.coef + levels))

    def _design(self, X: Any) -> np.ndarray:
        scaled = self.scaler.transform(np.asarray(X, dtype=float))[:, self.own]
        return np.column_stack([np.ones(len(scaled)), scaled])


def _independent(X: np.ndarray) -> np.ndarray:
    """Return columns that span all, none made up by the others and the intercept."""
    _, triangle, order = qr(X - X.mean(axis=0), mode="economic", pivoting=True)
    sizes = np.abs(np.diag(triangle))
    return np.sort(order[: len(sizes)][sizes > 1e-8 * sizes[0]])


def models(data: RealSet, budget: float | None) -> dict[str, Make]:
    """Return the models by name; `budget` is the seconds that Auto may take."""
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
        AUTO: partial(auto, time_budget=budget),
    }
    trees = boosting(random_state=0)
    if dense:
        rows["learned prior"] = learned
    else:
        # One fit of the learned prior takes more than seven minutes with 5,000 columns.
        trees = make_pipeline(FunctionTransformer(_dense_rows, accept_sparse=True), trees)
    rows["boosting per task"] = lambda: SingleTask(trees)
    rows["boosting pooled"] = lambda: Pooled(trees, "category")
    rows["random forest"] = partial(_forest, data)
    return rows | (_for_matrix(data) if data.task is None else _for_long(data))


def _dense_rows(X: Any) -> np.ndarray:
    return np.asarray(X.toarray(), dtype=np.float32)


def _forest(data: RealSet) -> Any:
    """Return one forest for all tasks, but where targets have gaps, which it does not take."""
    forest = (RandomForestClassifier if data.classes else RandomForestRegressor)(
        200, random_state=0
    )
    if data.task is not None:
        return Pooled(forest, "category")
    return SingleTask(forest) if np.isnan(data.y).any() else Joint(forest)


def _for_matrix(data: RealSet) -> dict[str, Make]:
    if data.classes or hasattr(data.X, "indptr") or np.isnan(data.y).any():
        return {}
    lassos = {"Lasso": MultiTaskLassoCV, "ElasticNet": MultiTaskElasticNetCV}
    return {
        f"scikit-learn MultiTask{name}CV": lambda lasso=lasso: Joint(
            make_pipeline(StandardScaler(), lasso(cv=5, max_iter=5000))
        )
        for name, lasso in lassos.items()
    }


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
        started = _spent()
        try:
            model = make().fit(take(data.X, train), data.y[train], **labels)
            seconds = _spent() - started
            value = score(model, data, test)
        except (ValueError, TimeBudgetError) as error:
            print(f"<!-- {data.name}: {error} -->", file=sys.stderr)
            return float("nan"), float("nan")
    # Peers in environments of their own fit when they predict.
    return value, getattr(model, "cpu", seconds)


def _spent() -> float:
    """Return the CPU seconds of this process and of those it waited for: Auto's workers."""
    return sum(os.times()[:4])


def within(limit: float | None, measured: Callable[[], tuple[float, float]]) -> Any:
    """Return what a process of its own measures; NaN if it ends without, or after the limit."""
    here, there = multiprocessing.Pipe(duplex=False)

    def send() -> None:
        os.setsid()
        there.send(measured())

    child = multiprocessing.get_context("fork").Process(target=send)
    child.start()
    there.close()
    try:
        if here.poll(limit):
            return here.recv()
    except EOFError:
        pass
    else:
        # What it started, in environments of their own, ends with it.
        os.killpg(child.pid or 0, signal.SIGKILL)
    finally:
        child.join()
        here.close()
    return float("nan"), float("nan")


@dataclass(frozen=True)
class Plan:
    """A set, its splits, and the seconds that Auto may take."""

    name: str
    n_splits: int
    budget: float | None

    @classmethod
    def read(cls, text: str) -> Plan:
        """Read NAME, NAME:SPLITS or NAME:SPLITS:SECONDS."""
        name, *more = text.split(":")
        if name not in SETS or len(more) > 2:
            raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(SETS)}")
        n_splits = int(more[0]) if more else 10
        return cls(name, n_splits, float(more[1]) if len(more) == 2 else None)


@dataclass(frozen=True)
class Contest:
    """The models of one set, and what is kept of their scores."""

    plan: Plan
    keep: str
    more: bool
    limit: float | None
    alone: bool

    def makes(self) -> dict[str, Make]:
        """Return the models by name."""
        data, budget = _loaded(self.plan.name), self.plan.budget
        every = models(data, budget) | (peers(data, budget) if self.more else {})
        return {AUTO: every[AUTO]} if self.alone else every

    def measure(self, split: int) -> None:
        """Measure every model on one split, unless that is kept."""
        data, kept = _loaded(self.plan.name), Kept(self.keep, self.plan.name)
        pair = splits(data, self.plan.n_splits)[split]
        for label, make in self.makes().items():
            kept.get(label, split, partial(within, self.limit, partial(measure, make, data, pair)))

    def found(self) -> dict[str, np.ndarray]:
        """Return scores and CPU seconds, (splits, 2), by model, of the splits that all have."""
        kept = Kept(self.keep).grouped().get(self.plan.name, {})
        return whole({label: kept.get(label, {}) for label in self.makes()})

    def show(self) -> None:
        """Print the table of the set."""
        data, found = _loaded(self.plan.name), self.found()
        n_splits = len(next(iter(found.values())))
        if not n_splits:
            return
        failed = {label: int(np.isnan(own[:, 0]).sum()) for label, own in found.items()}
        found = {label: own for label, own in found.items() if not failed[label]}
        metric = "AUC" if data.classes else "R2"
        shape = f"{data.X.shape[0]:,} rows, {data.X.shape[1]} features"
        limit = "" if self.plan.budget is None else f", Auto given {self.plan.budget:g} s"
        print(f"\n## {self.plan.name} ({shape}): {metric}, {n_splits} splits{limit}\n")
        rows = []
        for label in sorted(found, key=lambda label: -found[label][:, 0].mean()):
            values, seconds = found[label].T
            compared = label != AUTO and AUTO in found
            gap = _gap(found[AUTO][:, 0], values) if compared else ("", "")
            scores = f"{values.mean():.4f}", f"{values.std():.4f}"
            rows.append([label, *scores, *gap, f"{seconds.mean():.1f}"])
        for label in sorted(label for label, times in failed.items() if times):
            rows.append([label, f"failed on {failed[label]} of {n_splits} splits", *[""] * 4])
        head = ("model", "mean", "sd", "auto minus this", "95% interval", "CPU s per fit")
        print(table(head, rows))
        sys.stdout.flush()


@cache
def _loaded(name: str) -> RealSet:
    return load_table(name)


def _gap(auto: np.ndarray, values: np.ndarray) -> tuple[str, str]:
    """Return two cells: the mean of what Auto has more, and its interval."""
    gap = auto - values
    if len(gap) == 1:
        return f"{gap[0]:+.4f}", ""
    low, high = interval(gap, 0.25)
    return f"{gap.mean():+.4f}", f"{low:+.4f} to {high:+.4f}"


def whole(own: dict[str, dict[int, Any]]) -> dict[str, np.ndarray]:
    """Return scores and CPU seconds, (splits, 2), by model, of the splits that all have."""
    every = sorted(set.intersection(*map(set, own.values())))
    return {
        label: np.array([values[k] for k in every]).reshape(-1, 2) for label, values in own.items()
    }


def tables(kept: Kept) -> dict[str, str]:
    """Return the tables of all sets; scores of a model that failed on a set have no rank there."""
    every = {name: whole(own) for name, own in kept.grouped().items()}
    every = {name: own for name, own in every.items() if len(next(iter(own.values())))}
    found = {
        name: {label: values[:, 0] for label, values in own.items() if not np.isnan(values).any()}
        for name, own in every.items()
    }
    found = {name: own for name, own in found.items() if len(own) > 1}
    return {
        "scores": _scores(every),
        "Auto against the best": _bests(found),
        "ranks": _ranks(found),
    }


def _scores(every: dict[str, dict[str, np.ndarray]]) -> str:
    """Return the scores of every model on every set, and its CPU seconds on average."""
    rows = []
    for label in dict.fromkeys(label for own in every.values() for label in own):
        means = [own[label].mean(axis=0) if label in own else None for own in every.values()]
        cells = ["" if own is None else f"{own[0]:.4f}".replace("nan", "-") for own in means]
        seconds = np.nanmean([own[1] for own in means if own is not None])
        rows.append([label, *cells, f"{seconds:.1f}"])
    return table(["model", *every, "CPU s per fit"], rows)


def _p_value(gap: np.ndarray) -> float:
    """Return that of a mean difference over splits, as its interval; NaN of one split."""
    n = len(gap)
    if n == 1 or not gap.any():
        return float("nan") if n == 1 else 1.0
    spread = np.sqrt((1 / n + 1 / 3) * np.var(gap, ddof=1))
    return float(2 * stats.t.sf(abs(gap.mean()) / spread, n - 1))


def _holm(values: list[float]) -> list[float]:
    """Return p-values corrected for their number; NaN are left out."""
    found = np.array(values)
    known = np.flatnonzero(~np.isnan(found))
    order = known[np.argsort(found[known])]
    raised = found[order] * np.arange(len(order), 0, -1)
    found[order] = np.minimum(np.maximum.accumulate(raised), 1.0)
    return list(map(float, found))


def _bests(found: dict[str, Scores]) -> str:
    """Return, for every set, Auto against the best of the others and of those without sharing."""
    against = ("auto minus it", "95% interval", "p")
    head = ("set", "splits", "Auto is", "best of the others", *against)
    head += ("best of separate and pooled", *against)
    rows = [[name, "", "failed", *[""] * 8] for name, own in found.items() if AUTO not in own]
    found = {name: own for name, own in found.items() if AUTO in own}
    chosen = []
    for rivals in (set[str](), set(PLAIN)):
        bests = {
            name: max(sorted((rivals or own.keys()) - {AUTO}), key=lambda label: own[label].mean())
            for name, own in found.items()
        }
        p = _holm([_p_value(found[name][AUTO] - found[name][bests[name]]) for name in found])
        chosen.append((bests, dict(zip(found, p, strict=True))))
    for name, own in found.items():
        place = sorted(-v.mean() for v in own.values()).index(-own[AUTO].mean()) + 1
        cells = [name, str(len(own[AUTO])), f"{place} of {len(own)}"]
        for bests, p in chosen:
            shown = "" if np.isnan(p[name]) else f"{p[name]:.2f}"
            cells += [bests[name], *_gap(own[AUTO], own[bests[name]]), shown]
        rows.append(cells)
    return table(head, rows)


def _ranks(found: dict[str, Scores]) -> str:
    """Return the mean rank of every model over the sets, each among the models that it has."""
    ranks: dict[str, list[float]] = {}
    gaps: dict[str, list[float]] = {}
    for own in found.values():
        if AUTO not in own:
            # Where Auto failed it is the last.
            ranks.setdefault(AUTO, []).append(len(own) + 1.0)
            gaps.setdefault(AUTO, []).append(0.0)
        for label, rank in zip(own, rankdata([-v.mean() for v in own.values()]), strict=True):
            ranks.setdefault(label, []).append(float(rank))
            gaps.setdefault(label, []).append(
                float((own[AUTO] - own[label]).mean()) if AUTO in own else -np.inf
            )
    order = sorted(ranks, key=lambda label: float(np.mean(ranks[label])))
    # A signed-rank test over sets; with fewer than six no difference can be shown.
    tested = {label: gaps[label] for label in order if label != AUTO and len(gaps[label]) > 5}
    raw = [float(stats.wilcoxon(own).pvalue) if any(own) else 1.0 for own in tested.values()]
    p = dict(zip(tested, _holm(raw), strict=True))
    rows = []
    for label in order:
        places, ahead = ranks[label], sum(gap > 0 for gap in gaps[label])
        shown = f"{p[label]:.3f}" if label in p else ""
        cells = [f"{np.mean(places):.2f}", len(places), places.count(1.0)]
        rows.append([label, *cells, "" if label == AUTO else ahead, shown])
    return table(("model", "mean rank", "sets", "first on", "Auto is ahead on", "p"), rows)


def main() -> None:
    """Run the chosen sets."""
    parser = argparse.ArgumentParser(description=__doc__)
    everything = tuple(Plan(name, 10, None) for name in SETS)
    parser.add_argument("sets", nargs="*", type=Plan.read, default=everything)
    parser.add_argument("--keep", default=None, help="file of results, to continue a run")
    parser.add_argument("--table", action="store_true", help="print what is kept, fit nothing")
    parser.add_argument("--limit", type=float, default=None, help="seconds of one measurement")
    parser.add_argument("--alone", action="store_true", help="Auto, no other model")
    parser.add_argument("--peers", action="store_true", help="boosting libraries and AutoGluon")
    chosen = parser.parse_args()
    print(
        f"`python benchmarks/auto.py {shlex.join(sys.argv[1:])}`, "
        f"polytask {polytask.__version__}, "
        f"scikit-learn {sklearn.__version__}, numpy {np.__version__}, "
        f"Python {platform.python_version()}"
    )
    with tempfile.TemporaryDirectory() as folder:
        keep = chosen.keep or str(Path(folder) / "kept.jsonl")
        rules = keep, chosen.peers, chosen.limit, chosen.alone
        contests = [Contest(plan, *rules) for plan in chosen.sets]
        for split in range(0 if chosen.table else max(plan.n_splits for plan in chosen.sets)):
            for contest in contests:
                if split < contest.plan.n_splits:
                    contest.measure(split)
        for contest in contests:
            contest.show()
        if not chosen.alone:
            for name, text in tables(Kept(keep)).items():
                print(f"\n## {name}\n\n{text}")


if __name__ == "__main__":
    main()
