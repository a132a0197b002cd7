"""Problems that break programs, and every estimator on them: a right answer, or one sentence.

``python tests/laws/nasty.py --stop 2000`` prints how many tries ended how. What a fit says of
itself is compared with the objective of docs/objective.md, computed here in long double.
"""

from __future__ import annotations

import argparse
import faulthandler
import platform
import signal
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn import exceptions
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge

import polytask as pt
from polytask import ConvergenceWarning, DataWarning, PolytaskError
from polytask.penalties import (
    L1,
    L2,
    L21,
    Clustered,
    OutlierTasks,
    TraceNorm,
    toward_mean,
)

FORMS = ["long", "targets", "separate", "table"]
FEATURES = {
    "as drawn": lambda X, rng: X,
    "collinear": lambda X, rng: X[:, :1] * rng.normal(size=X.shape[1]),
    "constant": lambda X, rng: np.broadcast_to(rng.normal(size=X.shape[1]), X.shape),
    "zero": lambda X, rng: 0 * X,
    "tiny": lambda X, rng: X * 10.0 ** -rng.uniform(100, 300),
    "huge": lambda X, rng: X * 10.0 ** rng.uniform(100, 300),
    "scales": lambda X, rng: X * 10.0 ** rng.uniform(-300, 300, X.shape[1]),
    "some scales": lambda X, rng: X * 10.0 ** rng.uniform(-12, 12, X.shape[1]),
    "cells": lambda X, rng: X * 10.0 ** rng.uniform(-300, 300, X.shape),
    "offset": lambda X, rng: X + 1e9,
    "binary": lambda X, rng: (X > 0.8).astype(float),
    "one row": lambda X, rng: np.repeat(X[:1], len(X), axis=0),
}
NUMBERS = {
    "as drawn": lambda y, rng: y,
    "linear": lambda y, rng: np.round(y),
    "constant": lambda y, rng: np.full(len(y), rng.normal()),
    "zero": lambda y, rng: 0 * y,
    "tiny": lambda y, rng: y * 10.0 ** -rng.uniform(100, 300),
    "huge": lambda y, rng: y * 10.0 ** rng.uniform(100, 300),
    "cells": lambda y, rng: y * 10.0 ** rng.uniform(-300, 300, len(y)),
    "one huge": lambda y, rng: np.where(np.arange(len(y)) == 0, 1e300, y),
    "offset": lambda y, rng: y + 1e12,
    "counts": lambda y, rng: rng.poisson(np.exp(np.clip(y, -3, 3))).astype(float),
}
LABELS = {
    "two": lambda score, rng: np.where(score > 0, "p", "q"),
    "three": lambda score, rng: np.digitize(score, [-0.5, 0.5]),
    "one": lambda score, rng: np.full(len(score), "p"),
    "one of each": lambda score, rng: np.arange(len(score)),
    "rare": lambda score, rng: np.arange(len(score)) == 0,
    "floats": lambda score, rng: np.where(score > 0, 0.0, 1e300),
}
# Without scaling, some problems take all iterations that they may.
_STEPS = 200
MISSING = ["none", "some", "all but one each", "all but one", "a task"]


def pick(rng: np.random.Generator, options: Any) -> Any:
    """Choose one of them; the first in a third of the cases."""
    options = list(options)
    return options[0] if rng.random() < 0.33 else options[rng.integers(len(options))]


@dataclass
class Nasty:
    """A problem: what fit and predict are called with, and what it is made of."""

    seed: int

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self.kind = ["numbers", "classes"][rng.integers(2)]
        self.form = FORMS[rng.integers(4)]
        large = rng.random() < 0.3
        sizes = rng.integers(rng.random() < 0.9, 12 if large else 4, rng.integers(1, 5))
        d = int(rng.integers(rng.random() < 0.97, 7))
        self.task = np.repeat(np.arange(len(sizes)), sizes)
        self.sizes = sizes.tolist()
        n = len(self.task)
        X = rng.normal(size=(n, d))
        X[rng.random(X.shape) < 0.2] = 0.0
        features = pick(rng, FEATURES) if n and d else "as drawn"
        score = X @ rng.normal(size=d) + 0.3 * rng.normal(size=n)
        targets = NUMBERS if self.kind == "numbers" else LABELS
        target = pick(rng, targets)
        self.missing, self.twins = pick(rng, MISSING), rng.random() < 0.15
        self.made_of = (self.kind, self.form, self.sizes, d, features, target)
        with np.errstate(all="ignore"):
            self.X = np.ascontiguousarray(FEATURES[features](X, rng))
            self.y = targets[target](score, rng)
        weight = rng.random()
        self.weight = None
        if weight < 0.1 and self.form in ("long", "table"):
            self.weight = 10.0 ** rng.uniform(-300, 300, n) if weight < 0.05 else (score > 0) * 1.0
        getattr(self, f"_as_{self.form}")(rng)

    def _as_long(self, rng: np.random.Generator) -> None:
        if self.twins:
            self.X, self.y = np.concatenate([self.X] * 2), np.concatenate([self.y] * 2)
            self.task = np.concatenate([self.task, self.task + 100])
            self.weight = None if self.weight is None else np.tile(self.weight, 2)
        self.fit, self.query = (self.X, self.y, self.task, self.weight), (self.X, self.task)

    def _as_table(self, rng: np.random.Generator) -> None:
        self._as_long(rng)
        table = pd.DataFrame(self.X, columns=[f"x{j}" for j in range(self.X.shape[1])])
        table = table.mask(rng.random(table.shape) < rng.choice([0.0, 0.3, 0.9]))
        if rng.random() < 0.5:
            table["word"] = rng.choice(["a", "b", "", "长"], len(table))
        self.fit, self.query = (table, *self.fit[1:]), (table, self.task)

    def _as_targets(self, rng: np.random.Generator) -> None:
        columns = max(len(self.sizes), 1)
        Y = np.stack([self.y if self.twins else rng.permutation(self.y)] * columns, axis=1)
        Y = Y.astype(float if self.kind == "numbers" else object)
        gap = np.zeros(Y.shape, dtype=bool)
        if self.missing == "some":
            gap = rng.random(Y.shape) < 0.4
        elif self.missing == "all but one each":
            gap[1:] = True
        elif self.missing == "all but one":
            gap[:] = True
            gap[:1, 0] = False
        elif self.missing == "a task":
            gap[:, -1] = True
        Y[gap] = np.nan if self.kind == "numbers" else None
        self.y, self.fit, self.query = Y, (self.X, Y), (self.X,)

    def _as_separate(self, rng: np.random.Generator) -> None:
        own = {t: self.task == t for t in range(len(self.sizes))}
        self.fit = ({t: (self.X[rows], self.y[rows]) for t, rows in own.items()},)
        self.query = ({t: self.X[rows] for t, rows in own.items()},)


def estimators(kind: str) -> dict[str, Any]:
    """Return every estimator that is fast, by name."""
    from polytask.boosting import MixedBoostingClassifier, MixedBoostingRegressor

    level = "task" if kind == "numbers" else "auto"
    main, cv, ic, bayes, plain, boosting = {
        "numbers": (
            *(pt.MultiTaskRegressor, pt.MultiTaskRegressorCV, pt.MultiTaskRegressorIC),
            *(pt.BayesianMultiTaskRegressor, Ridge(), MixedBoostingRegressor),
        ),
        "classes": (
            *(pt.MultiTaskClassifier, pt.MultiTaskClassifierCV, pt.MultiTaskClassifierIC),
            *(pt.BayesianMultiTaskClassifier, LogisticRegression(), MixedBoostingClassifier),
        ),
    }[kind]
    models = [
        *(main(p, intercept=level) for p in (L1(0.1), L2(0.1), L21(0.1), TraceNorm(0.1))),
        *(main(), main(L2(0.1), standardize=True), main(toward_mean(0.5) + L2(0.1))),
        *(main(OutlierTasks(0.1) + toward_mean(0.2)), main(Clustered(0.1, 0.5, 2))),
        main(L21(0.1) + L1(0.1), standardize=True),
        *(cv(L21(), alphas=3, cv=2), cv(L2(), alphas=3, cv=2, rule="one_se")),
        *(cv(L2(), alphas=2, criterion="bic"), ic(L21(), alphas=2), bayes()),
        *(bayes("scalar"), pt.SingleTask(plain), pt.Pooled(plain), pt.Pooled(plain, "category")),
        *(pt.MissingBlocks(pt.SingleTask(plain)), boosting(max_iter=10, cv=2)),
        *(pt.MultiTaskModel(L21(0.1)), pt.MultiTaskModelCV(L21(), alphas=4, cv=2)),
        *(pt.MultiTaskModelIC(L21(), alphas=2), pt.BayesianMultiTaskModel()),
    ]
    if kind == "numbers":
        losses = ["huber", "quantile", "square_root", "poisson", "gamma"]
        models += [main(L21(0.1), loss=loss) for loss in losses]
        models += [bayes(noise="task"), bayes(method="ml", standardize=False)]
    else:
        models += [main(L2(0.1), loss=loss) for loss in ("squared_hinge", "multinomial")]
    named = {repr(model): model for model in models}
    for model in models:
        if model.get_params().get("max_iter", 0) == 10_000:
            model.set_params(max_iter=_STEPS)
    return named


def slow_estimators(kind: str) -> dict[str, Any]:
    """Return Auto with short searches and networks with few epochs."""
    regression = kind == "numbers"
    auto = pt.AutoMultiTaskRegressor if regression else pt.AutoMultiTaskClassifier
    models = [auto(["separate", "same features"], cv=2)]
    try:
        from polytask.deep import (
            DeepMultiTaskClassifier,
            DeepMultiTaskModel,
            DeepMultiTaskRegressor,
        )
    except ImportError:
        return {repr(model): model for model in models}
    deep = DeepMultiTaskRegressor if regression else DeepMultiTaskClassifier
    models += [kind(max_epochs=2, random_state=0) for kind in (deep, DeepMultiTaskModel)]
    return {repr(model): model for model in models}


class HungError(Exception):
    """A try took longer than it may."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise HungError after some seconds of processor time, or end a process that is deaf."""

    def stop(*_: object) -> None:
        raise HungError

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    faulthandler.dump_traceback_later(10 * seconds, exit=True)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGPROF, before)


def tried(problem: Nasty, estimator: Any, seconds: float = 30.0) -> str:
    """Fit and predict; return fit, warned, refused, hung, or "wrong: " and what is."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with within(seconds):
                model = clone(estimator).fit(*problem.fit)
                wrong = _predicted(problem, model) or _certified(problem, model)
        except PolytaskError as error:
            return _spoken(str(error))
        except HungError:
            return "hung"
        except Exception as error:  # this is what is looked for
            return f"wrong: {type(error).__name__}: {error}"
    own = (ConvergenceWarning, DataWarning)
    strange = [w for w in caught if not issubclass(w.category, own) and not _of_wrapped(w)]
    if strange:
        first = strange[0]
        wrong = (
            wrong or f"{first.category.__name__} {first.message} {first.filename}:{first.lineno}"
        )
    unsure = any(issubclass(w.category, ConvergenceWarning) for w in caught)
    return f"wrong: {wrong}" if wrong else "warned" if unsure else "fit"


def _of_wrapped(warning: warnings.WarningMessage) -> bool:
    """Tell what scikit-learn says of an estimator of its own, which is passed on."""
    own = issubclass(warning.category, exceptions.ConvergenceWarning)
    return own or "sklearn/linear_model" in warning.filename


def _spoken(sentence: str) -> str:
    return (
        "refused"
        if 20 < len(sentence) < 1500 and "\n" not in sentence
        else f"wrong: no sentence: {sentence!r}"
    )


def _predicted(problem: Nasty, model: Any) -> str:
    """Return what is wrong with the predictions on the rows of training."""
    found = model.predict(*problem.query)
    parts, rows = [found], [len(problem.X)]
    if isinstance(found, dict):
        parts, rows = list(found.values()), problem.sizes
    for part, n in zip(parts, rows, strict=True):
        width = problem.y.shape[1:] if problem.form == "targets" else ()
        if part.shape != (n, *width):
            return f"predictions of shape {part.shape}"
        if problem.kind == "numbers" and not np.isfinite(part.astype(float)).all():
            return "predictions that are not finite"
    if problem.kind == "classes" and hasattr(model, "predict_proba"):
        return _probable(model.predict_proba(*problem.query))
    return ""


def _probable(shares: Any) -> str:
    parts = shares.values() if isinstance(shares, dict) else shares
    for part in parts if isinstance(parts, list) or isinstance(shares, dict) else [parts]:
        if part is not None and not (part >= 0).all():
            return "a probability below 0 or NaN"
        if part is not None and not np.allclose(part.sum(axis=-1), 1):
            return "probabilities that do not sum to 1"
    return ""


_NORMS = {
    L1: lambda W: np.abs(W).sum(),
    L2: lambda W: (W**2).sum() / 2,
    L21: lambda W: np.sqrt((W**2).sum(axis=0)).sum(),
}


def _certified(problem: Nasty, model: Any) -> str:
    """Compare what a solver says of itself with the objective, for what is minimised as given."""
    solution = getattr(model, "solution_", None)
    if not hasattr(model, "coef_") or not getattr(solution.status, "ok", False):
        return ""
    if not np.isfinite(model.coef_).all() or not np.isfinite(model.intercept_).all():
        return "coefficients that are not finite"
    if solution.certificate.relative > 1.001 * model.tol:
        return f"certificate {solution.certificate.relative:.1e} above the tolerance"
    plain = problem.form in ("long", "separate") and problem.kind == "numbers"
    norm = _NORMS.get(type(getattr(model, "penalty", None)))
    if not plain or norm is None or model.loss != "squared" or model.get_params().get("cv"):
        return ""
    if model.intercept != "task" or model.standardize or type(model) is not pt.MultiTaskRegressor:
        return ""
    return _bounded(problem, model, norm)


def _bounded(problem: Nasty, model: Any, norm: Callable[[Any], Any]) -> str:
    """Return what is wrong with the objective that is told, or with its gap."""
    task, weight = problem.task, problem.weight
    weight = np.ones(len(task), np.longdouble) if weight is None else weight.astype(np.longdouble)
    kept = weight > 0
    X, y = problem.X[kept].astype(np.longdouble), problem.y[kept].astype(np.longdouble)
    task, weight = np.searchsorted(model.tasks_, task[kept]), weight[kept]
    totals = np.zeros(len(model.tasks_), np.longdouble)
    np.add.at(totals, task, weight)
    scale = totals[totals > 0].mean() if (totals > 0).any() else 1.0

    def at(W: Any, b: Any) -> Any:
        residual = y - (X * W[task]).sum(axis=1) - b[task]
        return (weight * residual**2).sum() / (2 * scale) + model.penalty.alpha * norm(W)

    W, b = model.coef_.astype(np.longdouble), model.intercept_.astype(np.longdouble)
    told, found = np.longdouble(model.solution_.objective), at(W, b)
    # What rounding of coefficients in double precision can do to the objective.
    size = (weight * (np.abs(y) + np.abs(X * W[task]).sum(axis=1) + np.abs(b[task])) ** 2).sum()
    slack = 1e-9 * found + 1e-14 * size / scale + 1e-290
    if abs(told - found) > slack:
        return f"objective {told:.6e} where it is {found:.6e}"
    mean = np.zeros(len(totals), np.longdouble)
    np.add.at(mean, task, weight * y)
    mean[totals > 0] /= totals[totals > 0]
    rng = np.random.default_rng(0)
    others = [(0 * W, mean)] + [(W * (1 + rng.normal(size=W.shape) * s), b) for s in (1e-3, 1e-6)]
    best = min(at(*other) for other in others)
    gap = model.solution_.gap or 0.0
    if model.solution_.gap is not None and found - gap > best + slack:
        return f"a gap of {gap:.1e}, but {found - best:.1e} is gained elsewhere"
    return ""


def main() -> None:
    """Run a range of problems and print a table of how they ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--stop", type=int, default=2000)
    parser.add_argument("--slow", action="store_true", help="Auto and networks")
    parser.add_argument("--only", default="", help="estimators whose text contains this")
    asked = parser.parse_args()
    counts: dict[str, Counter[str]] = {}
    seconds: Counter[str] = Counter()
    for seed in range(asked.start, asked.stop):
        problem = Nasty(seed)
        kinds = slow_estimators if asked.slow else estimators
        for name, estimator in kinds(problem.kind).items():
            if asked.only not in name:
                continue
            begin = time.process_time()
            end = tried(problem, estimator)
            seconds[name] += (took := time.process_time() - begin)
            counts.setdefault(name.split("(")[0], Counter())[end.split(":")[0]] += 1
            if took > 3 or end.startswith(("wrong", "hung")):
                print(
                    seed,
                    f"{took:.1f} s",
                    name,
                    end[:300],
                    problem.made_of,
                    problem.missing,
                    sep=" | ",
                    flush=True,
                )
    ends = ["fit", "warned", "refused", "wrong", "hung"]
    print(f"\n{asked.start} to {asked.stop}; Python {platform.python_version()}\n")
    print("| estimator | tries | " + " | ".join(ends) + " |\n" + "|---" * 7 + "|")
    for name, found in sorted(counts.items()):
        print(f"| {name} | {found.total()} | " + " | ".join(str(found[e]) for e in ends) + " |")
    for name, took in seconds.most_common(5):
        print(f"{took:.1f} s {name}")


if __name__ == "__main__":
    main()
