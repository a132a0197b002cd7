"""Errors of groups of rows, with intervals, and how they differ from those of all others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike, NDArray

from polytask._checks import sentence
from polytask.data import tables
from polytask.data.outcomes import check_target, check_weights
from polytask.exceptions import DataError, ParameterError
from polytask.messages import LazyMessage

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
RowLoss = Callable[[NDArray[Any], NDArray[Any]], ArrayLike]


def errors_by_group(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    group: Any,  # noqa: ANN401 - a column, or a table of columns
    *,
    loss: RowLoss | None = None,
    sample_weight: ArrayLike | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return the error of every group of rows, and its difference from that of all other rows.

    A group is a value of any column, such as sex or the task, or a combination of values of
    several. The errors are those of ``MetricFrame(...).by_group`` of fairlearn.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,)
        Targets and predictions, numbers or classes, of rows that the model has not seen.
    group : array-like of shape (n,), or table of shape (n, k)
        What the rows are grouped by.
    loss : callable or None, default=None
        Takes `y_true` and `y_pred` and returns the loss of every row, finite, shape (n,). None is
        the absolute error of numbers, and of classes 1 where they differ, so that the error is
        the share of wrong rows.
    sample_weight : array-like of shape (n,) or None, default=None
        Weights of the rows in means.
    level : float, default=0.95
        Of the intervals, between 0 and 1.

    Returns
    -------
    pandas.DataFrame
        By group, in the order in which they occur: ``rows``, ``error`` with its interval from
        ``low`` to ``high``, ``difference`` from the error of all other rows with
        ``difference_low`` and ``difference_high``, and ``p_value`` of no difference, by Holm's
        method for the number of groups.

    Raises
    ------
    DataError
        If the lengths differ, cells are missing or infinite, or weights are below 0 or all 0.
    ParameterError
        If `level` is not between 0 and 1.

    Notes
    -----
    Means have Student's interval, differences Welch's. Where every loss is 0 or 1, shares have
    Wilson's and differences Newcombe's. They are NaN for groups of a single row of other losses,
    and take the rows for independent: rows of the same person are not.

    References
    ----------
    Newcombe, "Interval estimation for the difference between independent proportions",
    Statistics in Medicine 17, 1998 (methods 3 and 10). Holm, "A simple sequentially rejective
    multiple test procedure", Scandinavian Journal of Statistics 6, 1979.

    Examples
    --------
    >>> from polytask.metrics import errors_by_group
    >>> sex = ["f", "f", "f", "m", "m", "m"]
    >>> found = errors_by_group([1, 2, 3, 4, 5, 6], [1, 2, 4, 4, 7, 9], sex)
    >>> found["error"].round(2).to_dict()
    {'f': 0.33, 'm': 1.67}
    """
    import pandas as pd

    if not 0 < level < 1:
        allowed = LazyMessage("allowed.between_0_and_1")
        raise ParameterError(sentence("level", "errors_by_group", allowed, repr(level)))
    labels, n = _labels(group), len(np.asarray(y_true))
    lengths = {"y_pred": len(np.asarray(y_pred)), "group": len(labels)}
    if sample_weight is not None:
        lengths["sample_weight"] = len(np.asarray(sample_weight))
    for name, length in lengths.items():
        if length != n:
            allowed, got = LazyMessage("allowed.of_rows", {"count": n}), str(length)
            raise DataError(sentence(name, "errors_by_group", allowed, got))
    y, prediction = (
        check_target(values, n, name, "errors_by_group")
        for name, values in (("y_true", y_true), ("y_pred", y_pred))
    )
    losses = np.asarray((loss or _usual_loss)(y, prediction), dtype=np.float64)
    if losses.shape != (n,) or not np.isfinite(losses).all():
        allowed, got = LazyMessage("allowed.loss_per_row", {"count": n}), repr(losses)
        raise DataError(sentence("loss", "errors_by_group", allowed, got))
    checked = check_weights(sample_weight, n, "errors_by_group")
    weight = np.ones(n) if checked is None else checked
    found, index = [], labels.drop_duplicates()
    codes = index.get_indexer(labels)
    shares = bool(np.isin(losses, (0.0, 1.0)).all())
    for k in range(len(index)):
        mine = codes == k
        own = _Mean.of(losses[mine], weight[mine], shares)
        rest = _Mean.of(losses[~mine], weight[~mine], shares)
        low, high = own.interval(level)
        apart = own.less(rest, level)
        found.append((int(mine.sum()), own.value, low, high, *apart))
    columns = ["rows", "error", "low", "high", "difference", "difference_low", "difference_high"]
    table = pd.DataFrame(found, index=index, columns=[*columns, "p_value"])
    return table.assign(p_value=holm(table["p_value"].to_numpy(float)))


def _usual_loss(y: NDArray[Any], prediction: NDArray[Any]) -> Array:
    numbers = y.dtype.kind in "iuf" and prediction.dtype.kind in "iuf"
    return np.abs(y - prediction) if numbers else np.asarray(y != prediction, dtype=float)


def _labels(group: Any) -> pd.Index[Any]:  # noqa: ANN401
    """Return the group of every row; one of several columns is a combination of their values."""
    import pandas as pd

    if tables.is_table(group):
        names = tables.column_names(group)
        columns = [tables.get_column(group, name) for name in names]
        if len(columns) > 1:
            several: pd.Index[Any] = pd.MultiIndex.from_arrays(columns, names=names)
            return several
        group, name = columns[0], names[0]
    else:
        name = getattr(group, "name", None)
    found: pd.Index[Any] = pd.Index(np.asarray(group), name=name)
    return found


@dataclass(frozen=True)
class _Mean:
    """A weighted mean of losses, with what is known of it."""

    value: float
    error: float
    # Rows of equal weight that are worth as much.
    n: float
    is_share: bool

    @classmethod
    def of(cls, losses: Array, weight: Array, is_share: bool) -> _Mean:
        total = weight.sum()
        if not total > 0:
            return cls(float("nan"), float("nan"), 0.0, is_share)
        mean, n = float(weight @ losses / total), float(total**2 / (weight @ weight))
        # Of one row nothing is known.
        scale = n / (n - 1) if n > 1 else float("nan")
        error = np.sqrt(scale * (weight**2 @ (losses - mean) ** 2)) / total
        return cls(mean, float(error), n, is_share)

    def interval(self, level: float) -> tuple[float, float]:
        """Return the interval of the mean."""
        if not self.is_share:
            away = float(scipy.stats.t.ppf((1 + level) / 2, self.n - 1)) * self.error
            return self.value - away, self.value + away
        z = float(scipy.stats.norm.ppf((1 + level) / 2))
        if self.n == 0:
            return float("nan"), float("nan")
        middle = (self.value + z**2 / (2 * self.n)) / (1 + z**2 / self.n)
        spread = self.value * (1 - self.value) / self.n + z**2 / (4 * self.n**2)
        away = z * float(np.sqrt(spread)) / (1 + z**2 / self.n)
        return max(middle - away, 0.0), min(middle + away, 1.0)

    def less(self, other: _Mean, level: float) -> tuple[float, float, float, float]:
        """Return the difference of two means, its interval, and the p-value of none."""
        apart, n, m = self.value - other.value, np.float64(self.n), np.float64(other.n)
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.is_share:
                (a, b), (c, d) = self.interval(level), other.interval(level)
                low = apart - np.hypot(self.value - a, d - other.value)
                high = apart + np.hypot(b - self.value, other.value - c)
                joint = (n * self.value + m * other.value) / (n + m)
                error = np.sqrt(joint * (1 - joint) * (1 / n + 1 / m))
                p = 1.0 if error == 0 else 2 * scipy.stats.norm.sf(abs(apart) / error)
                return apart, float(low), float(high), float(p)
            one, two = self.error**2, other.error**2
            free = (one + two) ** 2 / (one**2 / (n - 1) + two**2 / (m - 1))
            error = np.sqrt(one + two)
            away = scipy.stats.t.ppf((1 + level) / 2, free) * error
            p = 2 * scipy.stats.t.sf(abs(apart) / error, free)
        return apart, float(apart - away), float(apart + away), float(p)


def holm(p: Array) -> Array:
    """Return p-values that hold for all of them together."""
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known])]
    steps = p[order] * np.arange(len(order), 0, -1)
    found = np.full(len(p), np.nan)
    found[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return found
