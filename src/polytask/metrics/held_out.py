"""Held-out rows of one task: the truth beside what one model and a constant predicted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask._checks import got_shape, sentence
from polytask.exceptions import DataError
from polytask.losses import LogLink, Loss
from polytask.messages import LazyMessage

Array = NDArray[np.float64]
OWNER = "HeldOut"
# Predicted means are at least this share of the constant's, as probabilities are kept from 0.
_LEAST = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False, kw_only=True)
class HeldOut:
    """Held-out rows of one task, predicted by one model.

    Parameters
    ----------
    y : array of shape (n,)
        The truth: numbers, or codes of `classes` as whole numbers.
    prediction : array of shape (n,)
        Numbers, or codes of `classes`, -1 for a class that is none of them (only other tasks
        have it), which is always wrong. Predicted numbers may be NaN or infinite: the scores
        then show it.
    baseline : float or array of shape (K,)
        What a constant model learned on the training rows predicts: their mean (the best
        constant of a piecewise-linear loss), or the share of each class among them.
    probabilities : array of shape (n, K) or None, default=None
        Of the classes; None for numbers, and for a model that has none.
    classes : array of shape (K,) or None, default=None
        The labels, in sorted order; the second of two is the positive class. They include
        those that only held-out rows have, with probability 0. None for numbers.
    loss : Loss or None, default=None
        The loss of numbers that are counts or amounts, such as ``Poisson()``: predictions are
        means, and their deviance is scored. Or that of quantiles, such as ``Quantile(0.9)``,
        which is scored itself. None: the squared error of numbers.
    weight : array of shape (n,) or None, default=None
        Row weights >= 0. A row of weight 2 counts as the row twice, of weight 0 not at all.

    Raises
    ------
    DataError
        If shapes differ, the truth has a gap, or a code or weight is out of range.
    """

    y: NDArray[Any]
    prediction: NDArray[Any]
    baseline: float | Array
    probabilities: NDArray[Any] | None = None
    classes: NDArray[Any] | None = None
    weight: Array | None = None
    loss: Loss | None = None

    def __post_init__(self) -> None:
        """Convert to arrays and check them."""
        if self.classes is None:
            values: dict[str, Any] = {
                "y": _numbers(self.y, "y"),
                "prediction": _numbers(self.prediction, "prediction"),
                "baseline": float(_shaped(_numbers(self.baseline, "baseline"), "baseline", ())),
            }
            _finite(values["y"], "y")
            if self.loss is not None:
                wrong = ~np.asarray(self.loss.allows(values["y"]), dtype=bool)
                if wrong.any():
                    fields = {"allowed": self.loss.allowed, "loss": repr(self.loss.name)}
                    allowed = LazyMessage("allowed.for_loss", fields)
                    first = float(values["y"][wrong][0])
                    raise DataError(sentence("y", OWNER, allowed, repr(first)))
        else:
            values = self._of_classes(len(self.classes))
        shape = (np.size(values["y"]),)
        _shaped(values["y"], "y", shape)
        _shaped(values["prediction"], "prediction", shape)
        if self.weight is not None:
            weight = _numbers(self.weight, "weight")
            _finite(weight, "weight")
            if (weight < 0).any():
                allowed = LazyMessage("allowed.weights")
                raise DataError(sentence("weight", OWNER, allowed, repr(float(weight.min()))))
            values["weight"] = _shaped(weight, "weight", shape)
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _of_classes(self, k: int) -> dict[str, Any]:
        y = _codes(self.y, "y", k)
        values: dict[str, Any] = {
            "y": y,
            "prediction": _codes(self.prediction, "prediction", k, -1),
            "baseline": _shaped(_numbers(self.baseline, "baseline"), "baseline", (k,)),
            "classes": np.asarray(self.classes),
        }
        if self.probabilities is not None:
            given = np.asarray(self.probabilities)
            # float32 stays: where probabilities are clipped depends on their precision.
            given = given if given.dtype.kind == "f" else _numbers(given, "probabilities")
            values["probabilities"] = _shaped(given, "probabilities", (y.size, k))
        return values

    @property
    def kind(self) -> str:
        """The kind of the outcome, "numbers" or "classes"."""
        return "numbers" if self.classes is None else "classes"

    @property
    def unit(self) -> tuple[str, Loss | None]:
        """What tells losses apart that cannot be added up."""
        return self.kind, self.loss

    @property
    def total(self) -> float:
        """The sum of the weights; the number of rows if there are none."""
        return float(len(self.y) if self.weight is None else self.weight.sum())

    @property
    def precision(self) -> float:
        """The distance from 0 and 1 to which probabilities are clipped."""
        kept = np.float64 if self.probabilities is None else self.probabilities.dtype
        return float(np.finfo(kept).eps)

    def losses(self) -> Array:
        """Return the loss of every row.

        Returns
        -------
        ndarray of shape (n,)
            The squared error of numbers, or their deviance or loss if there is a loss of them;
            the log loss of classes, NaN without probabilities. A predicted mean counts as at
            least 2e-16 of the baseline, just as probabilities are kept away from 0.
        """
        if self.loss is not None:
            return self._by_loss(self.loss, self.prediction)
        if self.classes is None:
            return squares(self.y - self.prediction)
        if self.probabilities is None:
            return np.full(len(self.y), np.nan)
        return _log_losses(self.probabilities[np.arange(len(self.y)), self.y], self.precision)

    def baseline_losses(self) -> Array:
        """Return the loss of the constant model in every row.

        Returns
        -------
        ndarray of shape (n,)
            The squared error of numbers, their deviance or loss, the log loss of classes.
        """
        if self.loss is not None:
            return self._by_loss(self.loss, np.full(len(self.y), self.baseline))
        if self.classes is None:
            return squares(self.y - self.baseline)
        by_class = _log_losses(np.asarray(self.baseline), self.precision)
        losses: Array = by_class[self.y]
        return losses

    def _by_loss(self, loss: Loss, means: NDArray[Any]) -> Array:
        """Return the loss of every row; of a mean on the scale of logarithms the deviance."""
        if not isinstance(loss, LogLink):
            return np.asarray(loss.value(self.y, means))
        least = max(_LEAST * float(self.baseline), float(np.finfo(np.float64).tiny))
        # Not np.maximum alone: a mean of NaN stays one.
        kept = np.where(means < least, least, means)
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(2.0 * loss.value(self.y, np.log(kept)))


def squares(values: NDArray[Any]) -> Array:
    """Return the squares; those of a model that diverged are infinite."""
    with np.errstate(over="ignore"):
        return np.asarray(np.square(values), dtype=np.float64)


def _log_losses(probability: NDArray[Any], width: float) -> Array:
    """Return -log p, with p moved into [width, 1 - width] as scikit-learn's log_loss does."""
    p = probability.astype(np.float64)
    return -np.log(np.minimum(np.maximum(p, width), 1.0 - width))


def _numbers(values: object, parameter: str) -> Array:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        got = LazyMessage("got.values_of_type", {"type": str(np.asarray(values).dtype)})
        raise DataError(sentence(parameter, OWNER, LazyMessage("allowed.numbers"), got)) from None


def _finite(values: Array, parameter: str) -> None:
    if not np.isfinite(values).all():
        got = repr(float(values[~np.isfinite(values)][0]))
        raise DataError(sentence(parameter, OWNER, LazyMessage("allowed.all_finite"), got))


def _codes(values: object, parameter: str, n_classes: int, least: int = 0) -> NDArray[np.intp]:
    given = np.asarray(values)
    if given.dtype.kind not in "biuf":
        given = _numbers(given, parameter)
    with np.errstate(invalid="ignore"):
        codes = given.astype(np.intp)
    wrong = (codes != given) | (codes < least) | (codes >= n_classes)
    if wrong.any():
        fields = {"n": n_classes, "least": least, "last": n_classes - 1}
        allowed = LazyMessage("allowed.class_codes", fields)
        raise DataError(sentence(parameter, OWNER, allowed, repr(given[wrong][0].item())))
    return codes


def _shaped(values: NDArray[Any], parameter: str, shape: tuple[int, ...]) -> NDArray[Any]:
    if values.shape != shape:
        allowed = LazyMessage("allowed.of_shape", {"shape": shape})
        raise DataError(sentence(parameter, OWNER, allowed, got_shape(values.shape)))
    return values
