"""Fit a model to a table that is read in parts, once for every step of Newton's method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from sklearn.base import is_classifier

from polytask._estimator import MultiTaskEstimator
from polytask.data import TableEncoder
from polytask.data.labels import refuse_groupings
from polytask.data.readers import Style
from polytask.statistics.columns import Columns
from polytask.statistics.parts import collect_parts, encoder_of
from polytask.statistics.rows_in_parts import RowsInParts
from polytask.statistics.sources import source_of

Model = TypeVar("Model", bound=MultiTaskEstimator)
_OWNER = "fit_parts"
_ROWS = 200_000


def fit_parts(
    model: Model,
    source: Any,  # noqa: ANN401 - also of other libraries
    target: str | Sequence[str],
    *,
    task_column: str | None = None,
    sample_weight: str | None = None,
    drop: Sequence[str] = (),
    encoder: TableEncoder | None = None,
    part_rows: int = _ROWS,
    sep: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    missing_values: Sequence[str] = (),
) -> Model:
    """Fit a linear model to a table in parts, so that only a part is in memory.

    Models that need means and products only, such as those of the squared loss, read the table
    once for these. Others, :class:`polytask.MultiTaskClassifier` and
    :class:`polytask.MultiTaskRegressor` with a smooth loss, read it once for each step of Newton's
    method; usually six to twelve times in all. In each pass the losses, their gradient and their
    curvature are summed up for every task, and the problem that these make with the penalty is
    solved in memory. The objective and the certificate are those of all rows.

    Where the products of d features of T tasks, T d^2 numbers, do not fit into memory, give the
    model ``solver=AcceleratedGradient()``, of :mod:`polytask.solvers`: each pass then sums up
    gradients alone, T d numbers, for the squared loss too. That takes one to three passes for each
    iteration, often hundreds in all, and a penalty with one proximal operator. The answer and its
    certificate are the same.

    :class:`polytask.BayesianMultiTaskClassifier`, and :class:`polytask.BayesianMultiTaskModel` of
    counts or amounts, learn their prior from the same sums: each pass is made where the posterior
    of the best prior so far has its mode, and the next prior is searched for between passes.
    Evidence, prior, dispersions and coefficients are those of all rows; usually that takes 30 to
    60 passes for all structures together, more where tasks have few rows.

    Parameters
    ----------
    model : estimator
        What to fit; it is changed, as by its ``fit``.
    source : path-like, iterable, callable, or object of another library
        As :func:`collect_parts` takes it: a file, a folder, a dataset, or a function without
        parameters that returns the parts. It is read several times, and must have the same rows
        each time.
    target : str, or list of str
        The column of targets; several columns are the targets of one design, and tasks then.
    task_column : str or None, default=None
        The column that holds task labels; None takes that of the model.
    sample_weight : str or None, default=None
        The column of row weights.
    drop : sequence of str, default=()
        Columns to leave out.
    encoder : TableEncoder or None, default=None
        How columns become features; see :func:`collect_parts`. None learns it in a first pass.
    part_rows : int, default=200000
        Rows of a file that are read at a time.
    sep, decimal, encoding, missing_values
        How text files are written, as in :func:`collect_parts`.

    Returns
    -------
    estimator
        The model, fitted as on all rows: ``solution_`` has the status and the certificate. Where
        the table was read for every step, ``n_passes_`` is how often it was.

    Raises
    ------
    DataError
        If there is no such file or column, the data cannot be used, or the source has other rows
        when it is read again.
    IncompatibleError
        If the model, its loss or its penalty needs all rows in memory; the message says what to
        do.

    References
    ----------
    J. Lee, Y. Sun and M. Saunders, "Proximal Newton-type methods for minimizing composite
    functions", SIAM Journal on Optimization 24 (2014), algorithm 1.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from polytask import MultiTaskClassifier
    >>> from polytask.statistics import fit_parts
    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame(rng.normal(size=(300, 2)), columns=["a", "b"])
    >>> table["ward"] = rng.choice(["north", "south"], 300)
    >>> table["ill"] = np.where(table["a"] + rng.normal(size=300) > 0, "yes", "no")
    >>> model = fit_parts(
    ...     MultiTaskClassifier(),
    ...     lambda: (table[k : k + 100] for k in (0, 100, 200)),
    ...     "ill",
    ...     task_column="ward",
    ... )
    >>> model.solution_.status.ok
    True
    """
    column = model.task_column if task_column is None else task_column
    for given in (model.task_column, column):
        refuse_groupings(None, given, _OWNER)
    name = None if column is None else str(column)
    if model._collects():
        found = collect_parts(
            source, target, task_column=name, sample_weight=sample_weight, drop=drop,
            encoder=encoder, part_rows=part_rows, sep=sep, decimal=decimal, encoding=encoding,
            missing_values=missing_values,
        )  # fmt: skip
        return model.fit(found)
    model._refuse_parts()
    columns = Columns.of(_OWNER, target, name, sample_weight, drop)
    style = Style(sep, decimal, encoding)
    rows = source_of(source, part_rows, style=style, missing=missing_values, owner=_OWNER)
    known = encoder_of(rows, columns) if encoder is None else encoder
    # A sample, from which the encoder may be, has other rows.
    n_rows = known.report_.n_rows if encoder is None else None
    read = RowsInParts(rows, columns, known, is_classifier(model), int(encoder is None), n_rows)
    model.fit(read)
    model.n_passes_ = read.passes
    return model
