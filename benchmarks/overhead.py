"""What comparisons and choices cost beside their fits: ``python benchmarks/overhead.py``.

CPU seconds of the whole call, of all that happens inside ``fit`` of a model that it tries, of its
predictions for held-out rows, and what is left as a share of the fits: splits, probabilities,
scores, intervals, sentences, weights of a combination. Everything was run once before on a few
rows, so that nothing is compiled while the clock runs. Three sets are drawn, others are those of
POLYTASK_DATA.
"""

from __future__ import annotations

import argparse
import platform
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any
from unittest.mock import patch

import numpy as np
import sklearn
from _kill import table
from _sets import RealSet, load_set
from real_data import take
from threadpoolctl import threadpool_limits

import polytask
from polytask import AutoMultiTaskClassifier, AutoMultiTaskRegressor, compare
from polytask._estimator import MultiTaskEstimator

_AUTO = (AutoMultiTaskClassifier, AutoMultiTaskRegressor)
# Rows of the run before the clock is started.
_FEW = 60


@dataclass
class Clock:
    """CPU seconds inside the outermost of some calls.

    Attributes
    ----------
    seconds : dict of str to float
        By name of the method.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    inside: bool = False

    def timed(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        """Return the method with a clock around it, unless it runs within another such call."""

        @wraps(method)
        def call(model: Any, *args: Any, **kwargs: Any) -> Any:
            if self.inside or isinstance(model, _AUTO):
                return method(model, *args, **kwargs)
            self.inside, began = True, time.process_time()
            try:
                return method(model, *args, **kwargs)
            finally:
                spent = time.process_time() - began
                self.inside = False
                self.seconds[name] = self.seconds.get(name, 0.0) + spent

        return call


@contextmanager
def watched(clock: Clock) -> Iterator[None]:
    """Measure the fits and predictions of all models."""
    with patch.multiple(
        MultiTaskEstimator,
        fit=clock.timed("fit", MultiTaskEstimator.fit),
        predict=clock.timed("predict", MultiTaskEstimator.predict),
    ):
        yield


def numbers() -> RealSet:
    """Draw eight related tasks of 40 rows."""
    frame = table(8, 40)
    X, y, school = frame[list("abcd")].to_numpy(), frame["y"].to_numpy(), frame["school"]
    return RealSet("drawn", X, y, school.to_numpy(), False)


def classes() -> RealSet:
    """Draw the same with two classes."""
    drawn = numbers()
    return RealSet("drawn classes", drawn.X, (drawn.y > 0).astype(int), drawn.task, True)


def targets() -> RealSet:
    """Draw a matrix of five related targets."""
    rng = np.random.default_rng(0)
    X, shared = rng.standard_normal((200, 6)), rng.standard_normal((6, 1))
    W = shared + 0.3 * rng.standard_normal((6, 5))
    return RealSet("drawn targets", X, X @ W + rng.standard_normal((200, 5)), None, False)


DRAWN: dict[str, Callable[[], RealSet]] = {
    "drawn": numbers,
    "drawn classes": classes,
    "drawn targets": targets,
}
SETS = (*DRAWN, "radon")


def data_of(name: str) -> RealSet:
    """Return a set of the folder, or draw one."""
    return DRAWN[name]() if name in DRAWN else load_set(name)


def rows_of(data: RealSet, rows: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray | None]:
    """Return features, targets and tasks of some rows."""
    return take(data.X, rows), data.y[rows], None if data.task is None else data.task[rows]


def compared(data: RealSet, X: Any, y: np.ndarray, task: np.ndarray | None) -> None:
    """Run a whole comparison."""
    compare(X, y, task=task)


def chosen(data: RealSet, X: Any, y: np.ndarray, task: np.ndarray | None) -> None:
    """Run a whole automatic choice."""
    auto: Any = _AUTO[0] if data.classes else _AUTO[1]
    auto().fit(X, y, task=task)


RUNS: dict[str, Callable[..., None]] = {"compare": compared, "auto": chosen}


def measure(run: Callable[..., None], data: RealSet, rows: np.ndarray) -> tuple[float, Clock]:
    """Return the CPU seconds of a run, and those of its parts."""
    clock = Clock()
    with warnings.catch_warnings(), threadpool_limits(1), watched(clock):
        warnings.simplefilter("ignore")
        began = time.process_time()
        run(data, *rows_of(data, rows))
        return time.process_time() - began, clock


def main() -> None:
    """Run the chosen sets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=SETS)
    parser.add_argument("--runs", nargs="*", choices=RUNS, default=list(RUNS))
    chosen = parser.parse_args()
    print(
        f"`python benchmarks/overhead.py {shlex.join(sys.argv[1:])}`, "
        f"polytask {polytask.__version__}, scikit-learn {sklearn.__version__}, "
        f"numpy {np.__version__}, Python {platform.python_version()}\n"
    )
    print("| set | rows | run | CPU s | inside fits | predictions | the rest, of the fits |")
    print("|---|---|---|---|---|---|---|")
    for name in chosen.sets:
        data = data_of(name)
        rows = np.random.default_rng(0).permutation(len(data.y))
        for label in chosen.runs:
            measure(RUNS[label], data, np.sort(rows[:_FEW]))
            total, clock = measure(RUNS[label], data, np.sort(rows))
            fits, predictions = clock.seconds["fit"], clock.seconds.get("predict", 0.0)
            rest = (total - fits - predictions) / fits
            print(
                f"| {name} | {len(rows):,} | {label} | {total:.1f} | {fits:.1f} | "
                f"{predictions:.1f} | {100 * rest:.1f}% |",
                flush=True,
            )


if __name__ == "__main__":
    main()
