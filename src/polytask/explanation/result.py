"""What :func:`polytask.explain` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polytask import charts
from polytask._checks import truth
from polytask.messages import Translator

if TYPE_CHECKING:
    import pandas as pd

    from polytask.charts import Axes

# Columns up to which a chart is read.
_DRAWN = 30


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """Predictions taken apart into contributions of the columns that the user gave.

    In every row ``baseline + contributions.sum(axis=1)`` is ``value``.

    Attributes
    ----------
    common, own : pandas.DataFrame of shape (n_rows, n_columns)
        The contributions of each column to the prediction for a task that the model does not
        know, and what the task of the row adds to them. The columns are those of the rows given,
        in their order, a category and a date being one column each; the last is the task (of
        several groupings one column each), with what is the same for all rows of a task. The
        index is that of the rows; of several tables and of several targets the task, too.
    baseline : ndarray of shape (n_rows,)
        What is predicted for an unknown task where all columns have their reference values.
    task : ndarray of shape (n_rows,)
        The task of each row.
    label : ndarray of shape (n_rows,) or None
        The class that is explained in each row; None for numbers.
    output : ndarray of shape (n_rows,)
        What the contributions of each row sum up to. "prediction", "log_mean", "decision" or
        "probability": what ``predict`` returns; the logarithm of the mean of
        counts and amounts; the value of ``decision_function`` (log odds), with a learned prior
        that of the most probable coefficients; or the probability of the class.
    methods : tuple of {"exact", "tree_shap", "sampling"}
        How they were found.
    standard_error : pandas.DataFrame of shape (n_rows, n_columns) or None
        Of contributions that were sampled, None if none was.
    """

    common: pd.DataFrame
    own: pd.DataFrame
    baseline: NDArray[np.float64]
    task: NDArray[Any]
    label: NDArray[Any] | None
    output: NDArray[np.str_]
    methods: tuple[str, ...]
    standard_error: pd.DataFrame | None = None

    @property
    def contributions(self) -> pd.DataFrame:
        """Common and own contributions together, shape (n_rows, n_columns)."""
        return self.common + self.own

    @property
    def value(self) -> NDArray[np.float64]:
        """What the contributions sum up to, with the baseline, shape (n_rows,)."""
        return np.asarray(self.baseline + self.contributions.sum(axis=1, skipna=False))

    def frame(self) -> pd.DataFrame:
        """Return all of it in one table.

        Returns
        -------
        pandas.DataFrame
            A row per row: ``task``, ``class`` of models of classes, ``value``, ``baseline``, and
            for every column ``contribution of COLUMN``, its parts ``common of COLUMN`` and
            ``own of COLUMN``, and where it was sampled ``standard error of COLUMN``.
        """
        import pandas as pd

        facts: dict[str, Any] = {"task": list(self.task)}
        if self.label is not None:
            facts["class"] = list(self.label)
        facts |= {"value": self.value, "baseline": self.baseline}
        parts = {"contribution": self.contributions, "common": self.common, "own": self.own}
        if self.standard_error is not None:
            parts["standard error"] = self.standard_error
        for k, name in enumerate(self.common.columns):
            facts |= {f"{part} of {name}": table.iloc[:, k] for part, table in parts.items()}
        return pd.DataFrame(facts, index=self.common.index)

    def summary(self, by_task: bool = False) -> pd.DataFrame:
        """Return how much every column matters: in common, and to the tasks apart.

        Parameters
        ----------
        by_task : bool, default=False
            Whether to return a row for each task and column rather than for each column.

        Returns
        -------
        pandas.DataFrame
            Mean absolute values over the rows, the largest ``contribution`` first:
            ``contribution``, and its parts ``common`` and ``own``, which may have opposite
            signs and then exceed it together.
        """
        import pandas as pd

        sizes = {
            "contribution": self.contributions.abs(),
            "common": self.common.abs(),
            "own": self.own.abs(),
        }
        if truth(by_task, "by_task", "Explanation.summary"):
            names = pd.Index(self.task, name="task", tupleize_cols=False)
            tables = {
                name: table.set_axis(names, axis=0).groupby(level=0, sort=False).mean().stack()
                for name, table in sizes.items()
            }
            found = pd.DataFrame(tables).rename_axis(["task", "column"])
        else:
            found = pd.DataFrame({name: table.mean() for name, table in sizes.items()})
            found = found.rename_axis("column").sort_values("contribution", ascending=False)
        return found

    def plot(self, ax: Axes | None = None, row: int | None = None, lang: str = "en") -> Axes:
        """Draw what all tasks share of every column beside what the tasks add of their own.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.
        row : int or None, default=None
            The position of a row whose contributions are drawn, with their signs; None draws
            the mean absolute ones of all rows.
        lang : {"en", "zh"}, default="en"
            The language of the words.

        Returns
        -------
        Axes
            With at most 30 columns, those of the largest contributions.
        """
        import pandas as pd

        say = Translator(lang)
        if row is None:
            table, label = self.summary(), say("explanation.plot.mean")
        else:
            parts = {"contribution": self.contributions, "common": self.common, "own": self.own}
            table = pd.DataFrame({name: part.iloc[row] for name, part in parts.items()})
            table = table.sort_values("contribution", key=abs, ascending=False)
            label = say("explanation.plot.row", {"value": f"{self.value[row]:.4g}"})
        table = table.head(_DRAWN)
        ax = charts.new_axes(6.5, 1.2 + 0.32 * len(table)) if ax is None else ax
        return charts.figures.paired_bars(
            ax,
            [str(name) for name in table.index],
            table["common"],
            table["own"],
            words=(say("explanation.plot.common"), say("explanation.plot.own")),
            label=label,
        )

    def __repr__(self) -> str:
        """Return the sizes, and how contributions were found."""
        n, width = self.common.shape
        methods = "+".join(self.methods)
        return f"Explanation({n} rows, {width} columns, {methods})"
