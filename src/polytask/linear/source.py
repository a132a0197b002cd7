"""The coefficients of a fitted model as the point that another problem is pulled to."""

from __future__ import annotations

import warnings
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._checks import sentence
from polytask._estimator import MultiTaskEstimator, Outcomes
from polytask.data import LabelIndex, TaskData
from polytask.exceptions import DataError, DataWarning, IncompatibleError, ParameterError
from polytask.linear.prediction import LinearTasks
from polytask.losses import LogLink, Multinomial
from polytask.messages import LazyMessage

Array = NDArray[np.float64]
# Coefficients and intercept of one class of one task; the class of numbers is None.
Line = tuple[Array, float]
_SHOWN = 5


@dataclass(frozen=True, eq=False)
class Source:
    """What a fitted linear model knows, in original units."""

    name: str
    linear: LinearTasks
    index: LabelIndex
    features: tuple[str, ...] | None

    def point(self, data: TaskData, outcomes: Outcomes, owner: str) -> tuple[Array, Array]:
        """Return the coefficients that the tasks of some data are pulled to."""
        # Shapes: coef (n_columns, n_features), intercept (n_columns,).
        # A task that the source knows has its own, any other task the mean of the source's
        # tasks, weighted by their rows. A feature that the source does not know has 0, and so
        # has a class.
        take = self._columns(data, owner)
        codes = self.index.encode(list(data.tasks), "shared")
        self._refuse_strangers(outcomes, owner)
        coefs: list[Array] = []
        intercepts: list[float] = []
        for t, code in enumerate(codes):
            lines = self._lines(int(code), outcomes.classes[t] is not None)
            for coef, intercept in _as_columns(lines, outcomes, t):
                coefs.append(take(coef))
                intercepts.append(intercept)
        if not coefs:
            return np.zeros((0, data.n_features)), np.zeros(0)
        return np.stack(coefs), np.array(intercepts)

    def _columns(self, data: TaskData, owner: str) -> Any:  # noqa: ANN401 - a function of arrays
        """Return the function that puts the features of the source in the order of the data."""
        have = self.linear.coef.shape[1]
        if (self.features is None) != (data.feature_names is None):
            key = "source_of_array" if self.features is None else "source_of_table"
            raise DataError(LazyMessage(f"linear.refusal.{key}", {"owner": owner}))
        if self.features is None:
            if have != data.n_features:
                allowed = LazyMessage("allowed.features_of_x", {"n": data.n_features})
                got = LazyMessage("got.one_with", {"n": have})
                raise DataError(sentence("transfer_from", owner, allowed, got))
            return lambda row: row
        return self._by_name(data.feature_names or (), owner)

    def _by_name(self, names: tuple[str, ...], owner: str) -> Any:  # noqa: ANN401 - a function
        place = {name: j for j, name in enumerate(self.features or ())}
        at = np.array([place.get(name, -1) for name in names], dtype=np.intp)
        if (at < 0).all():
            fields = {"owner": owner, "names": ", ".join(map(repr, names[:_SHOWN]))}
            raise DataError(LazyMessage("linear.refusal.no_column_known", fields))
        lost = [name for name in _origins(self.features or ()) if name not in _origins(names)]
        if lost:
            shown = [repr(name) for name in lost[:_SHOWN]]
            message = LazyMessage("warn.lost", {"owner": owner, "n": len(lost), "names": shown})
            warnings.warn(DataWarning(message), stacklevel=2)
        return lambda row: np.where(at >= 0, row[np.maximum(at, 0)], 0.0)

    def _refuse_strangers(self, outcomes: Outcomes, owner: str) -> None:
        own = {classes is not None for classes in self.linear.classes}
        asked = {classes is not None for classes in outcomes.classes}
        if asked - own:
            learns = "classes" if True in asked - own else "numbers"
            fields = {"owner": owner, "kind": self.name}
            raise IncompatibleError(LazyMessage(f"linear.refusal.source_lacks_{learns}", fields))
        self._refuse_other_scale(outcomes, owner)
        if outcomes.union is None or self.linear.union is None:
            return
        known = set(np.asarray(self.linear.union).tolist())
        if known.isdisjoint(np.asarray(outcomes.union).tolist()):
            got = str(np.asarray(outcomes.union).tolist()[:_SHOWN])
            names = {"names": str(sorted(map(str, known))[:_SHOWN])}
            allowed = LazyMessage("allowed.classes_of_source", names)
            raise DataError(sentence("y", owner, allowed, got))

    def _refuse_other_scale(self, outcomes: Outcomes, owner: str) -> None:
        """Refuse effects on a mean where those on its logarithm are wanted, and the reverse."""
        known, wanted = (
            {isinstance(loss, LogLink) for loss, own in zip(*pair, strict=True) if own is None}
            for pair in (
                (self.linear.losses, self.linear.classes),
                (outcomes.losses, outcomes.classes),
            )
        )
        if wanted - known:
            scale = "logarithm" if True in wanted - known else "mean"
            fields = {"owner": owner, "kind": self.name}
            raise IncompatibleError(LazyMessage(f"linear.refusal.source_{scale}", fields))

    def _lines(self, task: int, classes: bool) -> dict[Hashable, Line]:
        """Return what is known of a task by class, with the mean where it says nothing."""
        own = self._own_lines(task) if task >= 0 else {}
        own = own if classes == any(label is not None for label in own) else {}
        return {**self._mean_lines(classes), **own} if classes else own or self._mean_lines(False)

    def _own_lines(self, task: int) -> dict[Hashable, Line]:
        part, classes = self.linear.slices[task], self.linear.classes[task]
        coef, intercept = self.linear.coef[part].astype(float), self.linear.intercept[part]
        if not len(coef):
            return {}
        if classes is None:
            return {None: (coef[0], float(intercept[0]))}
        labels = np.asarray(classes).tolist()
        if isinstance(self.linear.losses[task], Multinomial):
            pairs = zip(labels, coef, intercept, strict=True)
            return {label: (row, float(b)) for label, row, b in pairs}
        if len(labels) < 2:
            return {}
        # Half to each of two classes: what counts is their difference.
        half, level = coef[0] / 2, float(intercept[0]) / 2
        return {labels[0]: (-half, -level), labels[1]: (half, level)}

    def _mean_lines(self, classes: bool) -> dict[Hashable, Line]:
        """Return the mean over tasks by class, weighted by the rows of the tasks."""
        found: dict[Hashable, list[tuple[Line, float]]] = {}
        for task, count in enumerate(self.linear.counts):
            for label, line in self._own_lines(task).items():
                if (label is not None) == classes:
                    found.setdefault(label, []).append((line, float(count)))
        means: dict[Hashable, Line] = {}
        for label, entries in found.items():
            weights = [weight for _, weight in entries]
            used = weights if any(weights) else None
            coef = np.average([line[0] for line, _ in entries], axis=0, weights=used)
            level = np.average([line[1] for line, _ in entries], weights=used)
            means[label] = (coef, float(level))
        return means


def _as_columns(lines: dict[Hashable, Line], outcomes: Outcomes, task: int) -> list[Line]:
    """Return one line per column that the new task has."""
    nothing = (np.zeros_like(next(iter(lines.values()))[0]), 0.0)
    classes = outcomes.classes[task]
    if classes is None:
        return [lines[None]]
    labels = np.asarray(classes).tolist()
    if isinstance(outcomes.losses[task], Multinomial):
        return [lines.get(label, nothing) for label in labels]
    if len(labels) < 2 or not all(label in lines for label in labels):
        return [nothing]
    (low, low_level), (high, high_level) = (lines[label] for label in labels)
    return [(high - low, high_level - low_level)]


def _origins(features: tuple[str, ...]) -> dict[str, None]:
    """Return the columns of a table that encoded features come from."""
    return dict.fromkeys(name.partition("=")[0] for name in features)


def source_of(estimator: Any, owner: str) -> Source:  # noqa: ANN401 - what users give
    """Return what a fitted linear estimator knows."""
    name, linear = type(estimator).__name__, linear_of(estimator)
    if linear is None:
        own = isinstance(estimator, MultiTaskEstimator)
        key = "unfitted" if own and not hasattr(estimator, "data_card_") else "kind"
        got = LazyMessage(f"got.{key}", {"kind": name})
        allowed = LazyMessage("allowed.none_or", {"allowed": LazyMessage("allowed.fitted_linear")})
        raise ParameterError(sentence("transfer_from", owner, allowed, got))
    schema = estimator._schema
    names = None if schema.encoder is None else tuple(estimator.coef_feature_names_.tolist())
    return Source(name, linear, schema.index, names)


def linear_of(estimator: object) -> LinearTasks | None:
    """Return the coefficients of a fitted linear estimator, None of any other."""
    if not isinstance(estimator, MultiTaskEstimator):
        return None
    held = getattr(estimator, "_linear", None)
    if held is None:
        held = getattr(getattr(estimator, "_tasks", None), "linear", None)
    return held if isinstance(held, LinearTasks) else None
