"""Rows of a graph with the task of each, and what a model says of them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.exceptions import IncompatibleError
from polytask.export.graphs.graph import Tensor
from polytask.messages import LazyMessage

Array = NDArray[Any]
Classes = tuple[Hashable, ...] | None

# Numbers of a table with a square matrix for every task: 160 MB.
_MOST_NUMBERS = 20_000_000


@dataclass(frozen=True, eq=False)
class Rows:
    """Encoded rows and their tasks: of a target matrix all tasks, else one for each row."""

    # Shapes: X (n, d), code (N,). With `wide` N is n times the tasks, those of a row together.
    # `tasks` are the positions for which there are codes, -1 last where unseen ones are let in;
    # `classes` those of each of them, None for numbers, by the columns of an answer.

    X: Tensor
    code: Tensor
    n_features: int
    tasks: tuple[int, ...]
    classes: tuple[Classes, ...]
    wide: bool = False
    # Of several groupings the codes in each, an unknown level being last.
    levels: tuple[Tensor, ...] = ()

    @property
    def width(self) -> int:
        """Columns of an answer: the most classes that a task has, 1 for numbers."""
        return max(1 if own is None else len(own) for own in self.classes)

    def places(self, k: int, labels: Sequence[Hashable]) -> list[int]:
        """Return the columns of some classes of the k-th task."""
        position = {label: place for place, label in enumerate(self.classes[k] or ())}
        return [position[label] for label in labels]

    def pick(self, table: Array) -> Tensor:
        """Return the line of each row's task. Shapes: table (n_codes, ...), result (N, ...)."""
        return self.X.graph.constant(table).at(self.code)

    def long(self) -> Rows:
        """Return the same rows, each as often as it has tasks."""
        if not self.wide:
            return self
        some = self.X.op("Unsqueeze", [np.array([1], dtype=np.int64)])
        shape = np.array([1, len(self.tasks), self.n_features], dtype=np.int64)
        X = some.op("Expand", [shape]).reshaped(-1, self.n_features)
        return replace(self, X=X, wide=False)

    def with_features(self, X: Tensor, n_features: int) -> Rows:
        """Return rows with other features."""
        return replace(self, X=X, n_features=n_features)

    def columns(self, chosen: Array) -> Rows:
        """Return rows with some of the features."""
        X = self.X.at(np.asarray(chosen, dtype=np.int64), axis=1)
        return self.with_features(X, len(chosen))

    def beside(self, table: Array) -> Rows:
        """Return rows with numbers of their tasks behind the features."""
        long = self.long()
        return long.with_features(long.X.beside(self.pick(table)), self.n_features + len(table[0]))

    def linear(self, coef: Array, intercept: Array) -> Tensor:
        """Return linear predictors (N, K), with coefficients of each code, or of all codes."""
        # Shapes: coef (n_codes or 1, K, d), intercept (n_codes, K).
        count, K, d = coef.shape
        if not np.any(coef):
            return self.pick(intercept)
        if count == 1 or self.wide:
            flat = coef.reshape(count * K, d).T.astype(np.float64)
            product = self.X @ flat
            if self.wide and count == 1:
                shape = np.array([1, len(self.tasks), K], dtype=np.int64)
                product = product.reshaped(-1, 1, K).op("Expand", [shape])
            return product.reshaped(-1, K) + self.pick(intercept.astype(np.float64))
        own = self.pick(coef.swapaxes(1, 2).astype(np.float64))
        product = (self.X.reshaped(-1, 1, d) @ own).reshaped(-1, K)
        return product + self.pick(intercept.astype(np.float64))

    def forms(self, width: int, p: int) -> Array:
        """Return zeros for the quadratic forms of every code, (n_codes, width, p, p)."""
        shape = (len(self.tasks), width, p, p)
        if np.prod(shape) > _MOST_NUMBERS:
            raise IncompatibleError(
                LazyMessage("export.refusal.covariances", {"n": shape[0] * width, "p": p})
            )
        return np.zeros(shape)

    def quadratic(self, Z: Tensor, forms: Array) -> Tensor:
        """Return the quadratic forms (N, K) of rows, not below 0."""
        # Shapes: Z (N, p), forms (n_codes, K, p, p).
        side = Z.reshaped(-1, 1, 1, forms.shape[-1])
        found = ((side @ self.pick(forms)) * side).summed()
        return found.reshaped(-1, forms.shape[1]).op("Max", [0.0])

    def ones(self) -> Tensor:
        """Return a column of ones, (N, 1)."""
        return self.pick(np.ones((len(self.tasks), 1)))


@dataclass(frozen=True, eq=False)
class Answer:
    """What a model says of rows: numbers, or what decides between classes."""

    # Shapes: numbers, deviation (N,), scores, probabilities (N, K). Numbers of tasks of classes,
    # and probabilities of tasks of numbers, mean nothing.

    numbers: Tensor | None = None
    scores: Tensor | None = None
    probabilities: Tensor | None = None
    deviation: Tensor | None = None

    @property
    def given_numbers(self) -> Tensor:
        """The numbers, of a model that has some."""
        assert self.numbers is not None
        return self.numbers

    @property
    def given_probabilities(self) -> Tensor:
        """The probabilities, of a model that has some."""
        assert self.probabilities is not None
        return self.probabilities


def refused(kind: str, what: LazyMessage | str = "") -> IncompatibleError:
    """Return the refusal of a kind of model that cannot be exported, which names what can."""
    named: LazyMessage | str = what if isinstance(what, LazyMessage) else kind
    if isinstance(what, str) and what:
        named = LazyMessage("export.refusal.with", {"kind": kind, "what": what})
    return IncompatibleError(LazyMessage("export.refusal.kind", {"kind": named}))


def no_interval(kind: str) -> IncompatibleError:
    """Return the refusal of an interval that a model does not have."""
    return IncompatibleError(LazyMessage("export.refusal.interval", {"kind": kind}))


def behind_transformers(kind: str) -> IncompatibleError:
    """Return the refusal of what would have to read transformed features."""
    return refused(kind, LazyMessage("export.refusal.transformers", {"kind": kind}))
