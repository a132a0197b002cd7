"""One piece of work of a comparison: one model in one split."""

from __future__ import annotations

import copy
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from polytask.analysis._describe import described
from polytask.analysis._final import coefficients
from polytask.exceptions import ConvergenceWarning, PolytaskError
from polytask.metrics import METRICS, HeldOut, Metric
from polytask.metrics.summaries import Explained
from polytask.persistence import save
from polytask.selection.entries import with_fewer_folds
from polytask.selection.held import Rows, Study, held_out

Array = NDArray[np.float64]
Record = dict[str, Any]

# Rows that the time of a prediction is stated for.
_ROWS = 1000
ALL_ROWS = "all rows"
"""The variant of a unit that describes a model of all rows, and scores nothing."""


def whole_key(name: str | None) -> str:
    """Return the key of the record that describes a model of all rows."""
    return f"0/{name}/{ALL_ROWS}"


@dataclass(frozen=True, eq=False)
class Unit:
    """One model in one outer split."""

    model: str
    split: int
    estimator: Any
    train: Rows
    test: Rows
    inner: tuple[tuple[Rows, Rows], ...]
    metric: str
    shown: tuple[str, ...]
    by_task: bool
    variant: str = ""

    @property
    def key(self) -> str:
        """The name of its record in the journal."""
        return f"{self.split}/{self.model}{self.variant and f'/{self.variant}'}"

    @property
    def label(self) -> str:
        """What progress shows."""
        where = [] if self.variant == ALL_ROWS else [f"split {self.split + 1}"]
        return ", ".join([self.model, *([self.variant] if self.variant else []), *where])


def run_unit(study: Study, unit: Unit) -> Record:
    """Fit and score one model in one split."""
    try:
        return _run(study, unit) if len(unit.test) else _described(study, unit)
    except (PolytaskError, ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
        # A model that cannot be fitted is a row with a note, not the end of the comparison.
        return {"failed": f"{type(error).__name__}: {error}"}


def _run(study: Study, unit: Unit) -> Record:
    inner = [_score(unit, _fitted(study, unit, a)[0], study, a, b)[:2] for a, b in unit.inner]
    again = [part for _, parts in inner for _, part in parts]
    model, cost, notes = _fitted(study, unit, unit.train)
    value, parts, seconds = _score(unit, model, study, unit.train, unit.test)
    return {
        "inner": [score for score, _ in inner],
        "score": value,
        "fit_seconds": cost,
        "predict_seconds": seconds,
        "nonzero": nonzero(model),
        "file_bytes": file_bytes(model) if unit.split == 0 and not unit.variant else None,
        "notes": notes,
        **_scores(unit, parts),
        **_losses(METRICS[unit.metric], parts),
        **_inner_losses(METRICS[unit.metric], again),
    }


def _described(study: Study, unit: Unit) -> Record:
    """Say what a model makes of its rows: coefficients, path, zeros."""
    data = study.part(unit.train)
    model, _, _ = _fitted(study, unit, unit.train)
    found = coefficients(data, model)
    return {
        "coefficients": None if found is None else asdict(found),
        **described(data, model),
    }


def _fitted(study: Study, unit: Unit, rows: Rows) -> tuple[Any, float, list[str]]:
    data = study.part(rows)
    model = with_fewer_folds(clone(unit.estimator), data)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        started = time.process_time()
        model.fit(data)
        cost = time.process_time() - started
    return model, cost, _notes(caught)


def _notes(caught: Sequence[warnings.WarningMessage]) -> list[str]:
    """Keep what a reader should know of a fit, each sentence once."""
    from sklearn.exceptions import ConvergenceWarning as TheirConvergenceWarning

    kept = (ConvergenceWarning, TheirConvergenceWarning)
    return list(dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, kept)))


def _score(
    unit: Unit,
    model: Any,  # noqa: ANN401 - a fitted estimator
    study: Study,
    train: Rows,
    test: Rows,
) -> tuple[float, list[tuple[int, HeldOut]], float]:
    started = time.perf_counter()
    parts = held_out(study, model, train, test)
    seconds = (time.perf_counter() - started) * _ROWS / max(len(test), 1)
    return (
        split_score(METRICS[unit.metric], [part for _, part in parts], unit.by_task),
        parts,
        seconds,
    )


def split_score(metric: Metric, parts: Sequence[HeldOut], by_task: bool) -> float:
    """Return the verdict's metric of one split."""
    if not by_task:
        return float(metric.overall(parts))
    values = np.array([metric.by_task(part) for part in parts])
    return float(np.mean(values[~np.isnan(values)])) if np.any(~np.isnan(values)) else float("nan")


def _scores(unit: Unit, parts: Sequence[tuple[int, HeldOut]]) -> Record:
    """Return every metric by task and for the split, and how many could not be defined."""
    overall: dict[str, float] = {}
    tables: dict[str, Array] = {}
    undefined: dict[str, int] = {}
    for name in unit.shown:
        metric = METRICS[name]
        mine = [part for _, part in parts if metric.fits(part)]
        tables[name] = np.array([metric.by_task(part) for _, part in parts])
        overall[name] = split_score(metric, mine, unit.by_task) if mine else float("nan")
        undefined[name] = int(np.isnan(tables[name]).sum()) - (len(parts) - len(mine))
    tasks = np.array([t for t, _ in parts], dtype=np.int64)
    return {"tasks": tasks, "by_task": tables, "overall": overall, "undefined": undefined}


def _losses(metric: Metric, parts: Sequence[tuple[int, HeldOut]]) -> Record:
    """Return what every held-out label loses, if losses add up, and what the constant does."""
    rows = row_losses(metric)
    if rows is None:
        return {}
    held = [part for _, part in parts]
    plain = all(part.weight is None for part in held)
    weights = [np.ones(len(p.y)) if p.weight is None else p.weight for p in held]
    return {
        "losses": np.concatenate([rows(part) for part in held]),
        "null": np.array([_null(metric, part) for part in held]),
        "counts": np.array([len(part.y) for part in held], dtype=np.int64),
        "row_weights": None if plain else np.concatenate(weights),
    }


def _inner_losses(metric: Metric, held: Sequence[HeldOut]) -> Record:
    """Return what every label held out by an inner split loses, in the order of the splits."""
    rows = row_losses(metric)
    return {"inner_losses": np.concatenate([rows(part) for part in held])} if rows and held else {}


def _null(metric: Metric, part: HeldOut) -> float:
    """Return the mean loss of the constant; 0 where it is that but for rounding."""
    losses = part.losses()
    without = is_relative(metric) and np.isfinite(losses).any() and np.isnan(metric.by_task(part))
    return (
        0.0
        if without or not part.total
        else float(np.average(part.baseline_losses(), weights=part.weight))
    )


def row_losses(metric: Metric) -> Callable[[HeldOut], Array] | None:
    """Return the loss of every row, less is better; None if the metric is no mean over rows."""
    if is_relative(metric):
        return HeldOut.losses
    rows = metric.rows
    if rows is None or not metric.greater_is_better:
        return rows
    return lambda held: -rows(held)


def is_relative(metric: Metric) -> bool:
    """Say whether the metric is 1 - loss / loss of the constant."""
    return isinstance(metric.summary, Explained)


def nonzero(model: Any) -> int | None:  # noqa: ANN401 - a fitted estimator
    """Return how many coefficients are not zero, None where a model has none."""
    if hasattr(model, "coef_"):
        return int(np.count_nonzero(model.coef_))
    inner: Mapping[Any, Any] = getattr(model, "estimators_", None) or {}
    held = list(inner.values()) if inner else [getattr(model, "estimator_", None)]
    counts = [_coefficients(estimator) for estimator in held]
    return None if any(c is None for c in counts) else int(sum(c for c in counts if c is not None))


def _coefficients(estimator: Any) -> int | None:  # noqa: ANN401 - any estimator
    last = estimator[-1] if hasattr(estimator, "steps") else estimator
    if type(last).__name__.startswith("Dummy"):
        return 0
    return int(np.count_nonzero(last.coef_)) if hasattr(last, "coef_") else None


def file_bytes(model: Any) -> int | None:  # noqa: ANN401 - a fitted estimator
    """Return the size of the saved model, None if it cannot be saved."""
    model = _timeless(model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.polytask"
        try:
            save(model, path)
        except PolytaskError:
            return None
        return path.stat().st_size


def _timeless(model: Any) -> Any:  # noqa: ANN401 - a fitted estimator
    """Return a model without the seconds of its fits, which have more digits in some runs."""
    changed: dict[str, Any] = {}
    solution: Any = getattr(model, "solution_", None)
    if hasattr(solution, "seconds"):
        changed["solution_"] = replace(solution, seconds=0.0)
    # Those of a network that a baseline holds.
    inner = getattr(model, "estimators_", None)
    if isinstance(inner, Mapping):
        changed["estimators_"] = {task: _timeless(one) for task, one in inner.items()}
    if hasattr(model, "estimator_"):
        changed["estimator_"] = _timeless(model.estimator_)
    if not changed:
        return model
    plain = copy.copy(model)
    vars(plain).update(changed)
    return plain
