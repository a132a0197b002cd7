"""Other rows, the same relation: the source weighted until it looks like the new rows."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._estimator import MultiTaskEstimator
from polytask._estimator.query import read_query
from polytask._linalg import is_sparse
from polytask.data import TaskData
from polytask.exceptions import ConvergenceWarning, DataError
from polytask.messages import LazyMessage
from polytask.transfer._refit import natural_losses, refitted
from polytask.transfer._report import CandidateLosses
from polytask.transfer._rows import NewRows, losses_of

Array = NDArray[np.float64]

_FOLDS = 5
# The share of the source in the density that weights are relative to: they are below 1 / share.
_SHARE = 0.1
_FEWEST = 5


def shift_weights(model: MultiTaskEstimator, source: TaskData, new: TaskData) -> Array:
    """Return weights under which the rows of the source are distributed as the new rows."""
    # Shapes: result (n_rows of the source,).
    # The ratio of the densities is the odds of a logistic classifier that tells new rows from
    # old ones [1]_, each row judged by a classifier that has not seen it; relative to a mixture
    # of both densities, so that no row counts more than ten times [2]_.
    from scipy.sparse import vstack
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if new.n_rows < _FEWEST:
        fields = {"least": _FEWEST, "n": new.n_rows}
        raise DataError(LazyMessage("transfer.refusal.few_rows", fields))
    designs = [read_query(model._schema, data, None, "shared").data.X for data in (source, new)]
    sparse = any(is_sparse(X) for X in designs)
    X = vstack(designs, format="csr") if sparse else np.vstack(designs)
    is_new = np.repeat([0, 1], [source.n_rows, new.n_rows])
    classifier = make_pipeline(
        StandardScaler(with_mean=not sparse),
        LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000),
    )
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    chance = cross_val_predict(classifier, X, is_new, cv=folds, method="predict_proba")[:, 1]
    odds = chance[: source.n_rows] / np.maximum(1.0 - chance[: source.n_rows], 1e-12)
    ratio = odds / (_SHARE * odds + 1.0 - _SHARE)
    return np.asarray(ratio / ratio.mean())


def effective_rows(weight: Array) -> float:
    """Return how many rows of equal weight say as much (Kish 1965, section 11.7)."""
    return float(weight.sum() ** 2 / (weight**2).sum())


@dataclass(frozen=True, eq=False)
class Shift:
    """A model, its rows with weights, and new rows, with targets or without."""

    # Shapes: weight (n_rows of the source,).

    model: MultiTaskEstimator
    source: TaskData
    weight: Array
    given: NewRows
    new: TaskData

    def trial(self) -> CandidateLosses:
        """Try the candidates: on new rows if they have targets, else on weighted old ones."""
        return self._on_new() if self.given.n_rows else self._on_old()

    def fitted(self, chosen: str) -> Any:  # noqa: ANN401 - an estimator
        """Return the model of a candidate."""
        return self._learned(chosen, self.source, self.weight, self.new)

    def _learned(self, name: str, source: TaskData, weight: Array, new: TaskData) -> Any:  # noqa: ANN401
        labelled = [new] if self.given.n_rows else []
        ones = [np.ones(part.n_rows) for part in labelled]
        if name == "adapted":
            return refitted(self.model, [source, *labelled], [weight, *ones])
        if name == "pooled":
            return refitted(self.model, [source, *labelled])
        return self.model if name == "source" else refitted(self.model, labelled)

    def _on_new(self) -> CandidateLosses:
        """Hold new rows out in turn; the model as it was has seen none of them."""
        losses = {"source": natural_losses(self.model, self.new, self.given.losses)}
        untried: dict[str, str] = {}
        for name in ("adapted", "target", "pooled"):
            try:
                losses[name] = self._held_out(name)
            except DataError as error:
                # Old rows carry what new ones lack; the new ones alone may be of one class.
                if name != "target":
                    raise
                untried[name] = str(error)
        given = self.new.sample_weight
        return CandidateLosses(
            losses, np.ones(self.new.n_rows) if given is None else given, untried
        )

    def _held_out(self, name: str) -> Array:
        own = np.full(self.new.n_rows, np.nan)
        for train, test in _folds(self.new):
            with warnings.catch_warnings():
                # A candidate that does not settle on a few rows is judged by what it predicts.
                warnings.simplefilter("ignore", ConvergenceWarning)
                model = self._learned(name, self.source, self.weight, self.new.rows(train))
            own[test] = natural_losses(model, self.new.rows(test), self.given.losses)
        return own

    def _on_old(self) -> CandidateLosses:
        """Hold old rows out, each counting with its weight (Sugiyama et al. 2007)."""
        losses = {name: np.full(self.source.n_rows, np.nan) for name in ("adapted", "source")}
        of_task = losses_of(self.model, self.source.tasks)
        for train, test in _folds(self.source):
            rows, held = self.source.rows(train), self.source.rows(test)
            for name, weight in (("adapted", self.weight[train]), ("source", None)):
                model = refitted(self.model, [rows], None if weight is None else [weight])
                losses[name][test] = natural_losses(model, held, of_task)
        return CandidateLosses(losses, self.weight)


def _folds(data: TaskData) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Split the rows of every task into folds, as row numbers of the data."""
    task = data.row_tasks()
    place = np.empty(data.n_rows, dtype=np.intp)
    for t in range(data.n_tasks):
        own = np.flatnonzero(task == t)
        place[np.random.default_rng(t).permutation(own)] = np.arange(len(own)) % _FOLDS
    alone = np.bincount(task, minlength=data.n_tasks)[task] < 2
    splits = []
    for k in range(_FOLDS):
        test = np.flatnonzero((place == k) & ~alone)
        if len(test):
            splits.append((np.setdiff1d(np.arange(data.n_rows), test), test))
    return splits
