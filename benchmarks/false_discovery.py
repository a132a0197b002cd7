"""How often the verdicts of `compare` are true: ``python benchmarks/false_discovery.py``.

Collections of tasks are simulated, and judged as `compare` does. The truth is that of the gain as
`compare` states it: the mean paired difference in loss, on new rows of these tasks, of the models
that were fitted in the folds, the best sharing one against the best plain one, in units of the
held-out loss of the training mean. So the models that the rule chose are fitted again on the
training rows of every fold. For numbers what they lose on new rows follows from their
coefficients; for classes it is the mean over new rows, given the true probabilities.

A verdict "share" is false where the true gain is at most 0. One line per collection is written
to the file ``--raw`` as soon as it is known, and what is there already is not done again.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import sklearn
from _tables import table
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.base import clone

import polytask
from polytask._estimator.problem import read_outcomes, read_problem
from polytask.comparison.answer import Answer, CompleteSplits, make_answer, make_boards
from polytask.comparison.boards import Board, Chosen, choose_all
from polytask.comparison.options import Options
from polytask.comparison.plan import Plan, facts_of, make_plan
from polytask.comparison.verdict import VERDICTS
from polytask.comparison.work import Record, run_unit
from polytask.selection.candidates import compared_models
from polytask.selection.entries import with_fewer_folds
from polytask.selection.held import Study

Array = NDArray[np.float64]

METRIC = "d2"
# New rows per task, for classes.
NEW = 1000
LISTS: dict[str, Any] = {
    # Separate, pooled with intercepts, and the learned prior: compare --quick.
    "quick": "default",
    # And separate models with a common strength of their penalties.
    "quick, one strength": [
        "separate",
        "separate, one strength",
        "pooled + intercepts",
        "learned prior",
    ],
    # Of the default those that the verdict is about: trees and models for reference are not.
    "default": [model.name for model in compared_models() if model.family == "linear"],
}


@dataclass(frozen=True)
class Setting:
    """One kind of collection: coefficients ``sqrt(r) * common + sqrt(1 - r) * own``."""

    n_tasks: int
    n_rows: int
    relatedness: float
    n_features: int = 5
    noise: float = 2.0
    level: float = 0.5
    classes: bool = False
    signal: float = 1.0


UNRELATED = Setting(8, 30, 0.0)
SETTINGS = {
    "unrelated": UNRELATED,
    "unrelated, classes": Setting(4, 30, 0.0, classes=True),
    "unrelated, 60 rows": Setting(8, 60, 0.0),
    "identical": Setting(10, 20, 1.0, n_features=6, noise=1.5, level=2.0),
    "noise": Setting(8, 40, 0.0, signal=0.0, level=0.0),
    **{
        f"related {r:g}, {n} rows": Setting(8, n, r)
        for r in (0.25, 0.5, 0.75, 0.9)
        for n in (15, 30, 60)
    },
}


@dataclass(frozen=True)
class Outcome:
    """What was said of one collection, and what is true; intervals are (mean, low, high)."""

    kind: str
    models: str
    seed: int
    verdict: str
    gain: tuple[float, float, float]
    true_gain: float
    pooling: tuple[float, float, float]
    margin: float
    called: int
    wrong: int
    helped: int
    falsely: int
    seconds: float


class Truth(NamedTuple):
    """The tasks of a collection."""

    coef: Array
    level: Array
    noise: float
    classes: bool

    @classmethod
    def drawn(cls, setting: Setting, rng: np.random.Generator) -> Truth:
        """Draw coefficients and levels."""
        r, shape = setting.relatedness, (setting.n_tasks, setting.n_features)
        common = rng.standard_normal(setting.n_features)
        coef = np.sqrt(r) * common + np.sqrt(1 - r) * rng.standard_normal(shape)
        level = setting.level * rng.standard_normal(setting.n_tasks)
        return cls(setting.signal * coef, level, setting.noise, setting.classes)

    def rows(self, n: int, rng: np.random.Generator) -> tuple[Array, Array, NDArray[np.intp]]:
        """Draw so many rows of every task."""
        task = np.repeat(np.arange(len(self.level)), n)
        X = rng.standard_normal((len(task), self.coef.shape[1]))
        eta = self.level[task] + (X * self.coef[task]).sum(axis=1)
        if self.classes:
            return X, (rng.random(len(eta)) < expit(eta)).astype(int), task
        return X, eta + self.noise * rng.standard_normal(len(eta)), task

    def loss(self, model: Any, X: Array) -> Array:
        """Return what a linear model loses on new rows of every task; X are those of a task."""
        n_tasks, n_features = self.coef.shape
        if self.classes:
            task = np.repeat(np.arange(n_tasks), len(X))
            p = expit(self.level[task] + (np.tile(X, (n_tasks, 1)) * self.coef[task]).sum(axis=1))
            q = np.zeros((len(p), 2))
            q[:, model.classes_] = model.predict_proba(np.tile(X, (n_tasks, 1)), task=task)
            q = np.log(np.clip(q, 1e-15, 1.0))
            return -(p * q[:, 1] + (1 - p) * q[:, 0]).reshape(n_tasks, -1).mean(axis=1)
        # The predictions at 0 and at the unit vectors tell the coefficients; features are
        # independent, of mean 0 and variance 1.
        probes = np.vstack([np.zeros(n_features), np.eye(n_features)])
        task = np.repeat(np.arange(n_tasks), len(probes))
        found = model.predict(np.tile(probes, (n_tasks, 1)), task=task).reshape(n_tasks, -1)
        level, coef = found[:, 0], found[:, 1:] - found[:, :1]
        bias = (level - self.level) ** 2 + ((coef - self.coef) ** 2).sum(axis=1)
        return np.asarray(bias + self.noise**2)


@dataclass(frozen=True)
class Judged:
    """A comparison with all that it was made from."""

    plan: Plan
    board: Board
    chosen: Chosen
    judge: CompleteSplits
    answer: Answer


def judged(X: Array, y: Array, task: NDArray[np.intp], models: str) -> Judged:
    """Compare as `compare` does, without what is found beside the verdict."""
    data = read_problem(X, y, task, None, None)
    problem, outcomes, losses = read_outcomes(data, "auto")
    study = Study(data, outcomes)
    choices = Options(models=LISTS[models], quick=models == "quick")
    facts = facts_of(study, problem, losses, choices)
    plan = make_plan(study, facts, choices, METRIC, (METRIC,))
    records: dict[str, Record] = {unit.key: run_unit(study, unit) for unit in plan.units}
    answer = make_answer(plan, records, METRIC)
    board, _ = make_boards(plan, records, METRIC)
    return Judged(plan, board, choose_all(board), CompleteSplits(plan, board, METRIC), answer)


def true_gains(found: Judged, truth: Truth, rng: np.random.Generator) -> tuple[float, Array]:
    """Return the true gain of all tasks, and that of every task."""
    plan, labels = found.plan, found.judge.labels
    assert labels is not None
    X = rng.standard_normal((NEW, truth.coef.shape[1]))
    units = {(unit.split, unit.model): unit for unit in plan.units}
    lost: dict[tuple[int, str], Array] = {}
    gains, counts = [], []
    for split in found.board.splits:
        for name in {found.chosen.shared[split], found.chosen.plain[split]}:
            unit = units[split, str(name)]
            train = plan.study.part(unit.train)
            model = with_fewer_folds(clone(unit.estimator), train).fit(train)
            lost[split, str(name)] = truth.loss(model, X)
        better, plain = (str(names[split]) for names in (found.chosen.shared, found.chosen.plain))
        gains.append(lost[split, plain] - lost[split, better])
        owners = plan.study.data.row_tasks()[units[split, plain].test]
        counts.append(np.bincount(owners, minlength=len(truth.level)))
    table, weights = np.array(gains) / labels.scale[0], np.array(counts)
    return float(np.average(table, weights=weights)), np.average(table, axis=0, weights=weights)


def one(kind: str, models: str, seed: int) -> Outcome:
    """Simulate, compare and judge one collection."""
    rng, started = np.random.default_rng(seed), time.process_time()
    truth = Truth.drawn(SETTINGS[kind], rng)
    # Checks of many tiny fits take longer than the fits.
    quick = sklearn.config_context(assume_finite=True, skip_parameter_validation=True)
    with warnings.catch_warnings(), quick:
        warnings.simplefilter("ignore")
        found = judged(*truth.rows(SETTINGS[kind].n_rows, rng), models)
        seconds = time.process_time() - started
        gain, tasks = true_gains(found, truth, rng)
    answer = found.answer
    calls = [(row.group, tasks[row.task]) for row in answer.tasks if row.group in ("gain", "lose")]
    helped = [value for group, value in calls if group == "gain"]
    return Outcome(
        kind=kind,
        models=models,
        seed=seed,
        verdict=answer.verdict,
        gain=tuple(answer.gain),
        true_gain=gain,
        pooling=tuple(answer.pooling_gain),
        margin=answer.margin,
        called=len(calls),
        wrong=sum(bool((group == "gain") != (value > 0)) for group, value in calls),
        helped=len(helped),
        falsely=sum(bool(value <= 0) for value in helped),
        seconds=seconds,
    )


HEAD = (
    "collection", "models", "collections", "share", "pool", "separate", "no practical difference",
    "inconclusive", "false share", "true gain, median", "true gain > 0", "covered",
    "tasks called (wrongly)", "to gain (wrongly)", "of tasks", "CPU s each",
)  # fmt: skip


def tables(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """Return the table of all kinds of collections."""
    grouped: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        grouped[outcome.models, outcome.kind].append(outcome)
    return {"verdicts": table(HEAD, [cells(grouped[key]) for key in sorted(grouped)])}


def cells(outcomes: Sequence[Outcome]) -> list[object]:
    """Return one row of the table."""
    n, first = len(outcomes), outcomes[0]
    said = Counter(outcome.verdict for outcome in outcomes)
    true = np.array([outcome.true_gain for outcome in outcomes])
    return [
        first.kind,
        first.models,
        n,
        *(said[word] for word in VERDICTS),
        sum(o.verdict == "share" and o.true_gain <= 0 for o in outcomes),
        f"{np.median(true):+.4f}",
        f"{np.mean(true > 0):.2f}",
        f"{np.mean([covered(o) for o in outcomes]):.3f}",
        f"{sum(o.called for o in outcomes)} ({sum(o.wrong for o in outcomes)})",
        f"{sum(o.helped for o in outcomes)} ({sum(o.falsely for o in outcomes)})",
        n * SETTINGS[first.kind].n_tasks,
        f"{np.mean([o.seconds for o in outcomes]):.1f}",
    ]


def covered(outcome: Outcome) -> bool:
    """Say whether the interval of the gain holds the true one."""
    return outcome.gain[1] <= outcome.true_gain <= outcome.gain[2]


def contradictions(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Name the collections of which the two lists of models say opposite things."""
    said = {(o.kind, o.seed, o.models): o.verdict for o in outcomes}
    pairs = [
        (kind, seed, verdict, said[kind, seed, "default"])
        for (kind, seed, models), verdict in said.items()
        if models == "quick" and (kind, seed, "default") in said
    ]
    decided = {"share", "pool", "separate"}
    for kind, seed, quick, full in pairs:
        if quick != full and {quick, full} <= decided:
            yield f"{kind}, seed {seed}: quick {quick}, default {full}"
    same = sum(quick == full for _, _, quick, full in pairs)
    yield f"{len(pairs)} collections judged with both lists, {same} alike"


def read(path: Path) -> list[Outcome]:
    """Return what is finished."""
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return [Outcome(**json.loads(line)) for line in lines]


def main() -> None:
    """Simulate what is asked for, then show all that is finished."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", nargs="*", default=["unrelated"], choices=list(SETTINGS))
    parser.add_argument("--models", default="quick", choices=list(LISTS))
    parser.add_argument("--collections", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--raw", type=Path, default=Path("false_discovery.jsonl"))
    chosen = parser.parse_args()
    print(
        f"polytask {polytask.__version__}, scikit-learn {sklearn.__version__}, "
        f"numpy {np.__version__}, Python {platform.python_version()}, {platform.machine()}"
    )
    done = {(o.kind, o.models, o.seed) for o in read(chosen.raw)}
    # Seeds first: an interrupted run has seen all kinds equally often.
    for seed in range(chosen.first, chosen.first + chosen.collections):
        for kind in chosen.kinds:
            if (kind, chosen.models, seed) not in done:
                line = json.dumps(asdict(one(kind, chosen.models, seed)))
                with chosen.raw.open("a", encoding="utf-8") as file:
                    file.write(line + "\n")
    outcomes = read(chosen.raw)
    print(tables(outcomes)["verdicts"])
    print("\n" + "\n".join(contradictions(outcomes)))


if __name__ == "__main__":
    main()
