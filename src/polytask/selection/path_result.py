"""A regularisation path: error and coefficients against strength, as tables and pictures."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from polytask import charts
from polytask._checks import one_of, sentence
from polytask.exceptions import ParameterError
from polytask.io.atomic import write_whole
from polytask.messages import LazyMessage, Translator
from polytask.penalties import Penalty

if TYPE_CHECKING:
    import pandas as pd

    from polytask.charts import Axes

Array = NDArray[np.float64]

_PICTURES = (".png", ".svg")
# Lines of a picture that are coefficients, or rows of them.
_DRAWN = ("features", "entries")


@dataclass(frozen=True)
class Measure:
    """What the strengths of a path are judged by."""

    name: str
    label: LazyMessage
    greater_is_better: bool
    best: LazyMessage


@dataclass(frozen=True, eq=False)
class RegularizationPath:
    """What :func:`regularization_path` returns; the strongest penalty comes first.

    Attributes
    ----------
    penalty : Penalty
        The penalty, with the strength that was chosen.
    alphas : ndarray of shape (n_alphas,)
        The strengths.
    scores : ndarray of shape (n_alphas, n_folds)
        The score of every strength in every fold; greater is better: minus a loss. Of a search
        by a criterion one column, minus the criterion of all rows.
    measure : Measure
        What they are.
    coef : ndarray of shape (n_alphas, n_columns, n_features)
        Coefficients of all rows in original units, as ``coef_``.
    sizes : ndarray of shape (n_alphas, n_features)
        Norm of the coefficients of every feature, in the scaling of the fit: with
        ``standardize``, per standard deviation of the feature.
    entries : ndarray of shape (n_alphas, n_columns * n_features)
        The coefficients in that scaling, feature by feature.
    ranks : ndarray of shape (n_alphas,)
        Rank of the matrix of coefficients.
    features : tuple of str
        Names of the features.
    columns : tuple of (task, class)
        As ``columns_``.
    best, one_se, chosen : int
        Positions of the best mean score, of the strongest within one standard error of it (the
        best itself where there are no folds), and of what the rule of the search chose.
    df : ndarray of shape (n_alphas,) or None, default=None
        Degrees of freedom, of a search by an information criterion.
    """

    penalty: Penalty
    alphas: Array
    scores: Array
    measure: Measure
    coef: Array
    sizes: Array
    entries: Array
    ranks: NDArray[np.intp]
    features: tuple[str, ...]
    columns: tuple[Any, ...]
    best: int
    one_se: int
    chosen: int
    df: Array | None = None

    @property
    def score(self) -> Array:
        """Mean score over the folds, shape (n_alphas,)."""
        return np.asarray(self.scores.mean(axis=1))

    @property
    def value(self) -> Array:
        """What is measured, shape (n_alphas,): :attr:`score`, or minus it where less is better."""
        return self.score if self.measure.greater_is_better else -self.score

    @property
    def standard_error(self) -> Array:
        """Standard error of the mean score, shape (n_alphas,); NaN with one fold."""
        folds = self.scores.shape[1]
        if folds < 2:
            return np.full(len(self.scores), np.nan)
        return np.asarray(self.scores.std(axis=1, ddof=1) / np.sqrt(folds))

    @property
    def kept(self) -> NDArray[np.intp]:
        """Features with a coefficient other than zero, shape (n_alphas,)."""
        return np.asarray(np.count_nonzero(self.sizes, axis=1))

    def frame(self) -> pd.DataFrame:
        """Return one row per strength.

        Returns
        -------
        pandas.DataFrame
            Columns alpha, score (mean over the folds; greater is better, of a loss minus it),
            standard_error, features and coefficients (other than zero), rank, best, one_se,
            chosen (whether it is that strength), held_out_loss (where there is one), df (where
            they are known), and one column ``size of FEATURE`` per feature (see ``sizes``).
        """
        import pandas as pd

        numbers = np.arange(len(self.alphas))
        facts = {
            "alpha": self.alphas,
            "score": self.score,
            "standard_error": self.standard_error,
            "features": self.kept,
            "coefficients": np.count_nonzero(self.entries, axis=1),
            "rank": self.ranks,
            "best": numbers == self.best,
            "one_se": numbers == self.one_se,
            "chosen": numbers == self.chosen,
        }
        if self.measure.name == "loss":
            facts["held_out_loss"] = self.value
        if self.df is not None:
            facts["df"] = self.df
        sizes = pd.DataFrame(self.sizes, columns=[f"size of {name}" for name in self.features])
        return pd.concat([pd.DataFrame(facts), sizes], axis=1)

    def coef_frame(self) -> pd.DataFrame:
        """Return the coefficients in original units as a long table.

        Returns
        -------
        pandas.DataFrame
            Columns alpha, task, class, feature, coef.
        """
        import pandas as pd

        n, columns, d = self.coef.shape
        owners = [self.columns[c] for c in np.tile(np.repeat(np.arange(columns), d), n)]
        return pd.DataFrame(
            {
                "alpha": np.repeat(self.alphas, columns * d),
                "task": [task for task, _ in owners],
                "class": [label for _, label in owners],
                "feature": np.tile(np.array(self.features, dtype=object), n * columns),
                "coef": self.coef.ravel(),
            }
        )

    def marks(self, lang: str = "en") -> dict[str, float]:
        """Return the strengths to mark in a picture, what is used first."""
        say = Translator(lang)
        named = {self.measure.best.text(say): self.best, say("strength.one_se"): self.one_se}
        used = [name for name, place in named.items() if place == self.chosen]
        first = say("strength.chosen_as", {"what": used[0]}) if used else say("strength.chosen")
        marks = {first: float(self.alphas[self.chosen])}
        rest = {name: place for name, place in named.items() if place != self.chosen}
        return marks | {name: float(self.alphas[place]) for name, place in rest.items()}

    def plot(
        self,
        axes: Any = None,  # noqa: ANN401
        kind: str = "features",
        lang: str = "en",
    ) -> list[Axes]:
        """Draw what the strength is judged by above the coefficients, both against strength.

        Parameters
        ----------
        axes : sequence of two Axes or None, default=None
            Where to draw; None: a new figure.
        kind : {"features", "entries"}, default="features"
            The lower lines: the norm of the coefficients of every feature, or every
            coefficient.
        lang : {"en", "zh"}, default="en"
            The language of titles and marks.

        Returns
        -------
        list of two Axes
            What was drawn on.

        Raises
        ------
        ParameterError
            If there is no such kind.
        """
        one_of(kind, "kind", "RegularizationPath.plot", _DRAWN)
        panels = charts.new_panels(7.0, 6.0, 2) if axes is None else list(axes)
        say, marks = Translator(lang), self.marks(lang)
        is_loss = self.measure.name == "loss"
        label = say("strength.error") if is_loss else self.measure.label.text(say)
        charts.figures.error_curve(
            panels[0],
            self.alphas,
            self.value,
            self.standard_error,
            marks,
            labels=("", label[:1].upper() + label[1:]),
            band=say("strength.band"),
            greater_is_better=self.measure.greater_is_better,
        )
        lines, names = self._lines(kind)
        upward = say(f"strength.upward.{kind}")
        if lines.shape[1] > charts.figures.NAMED_LINES:
            upward = say("strength.blue", {"what": upward, "n": charts.figures.NAMED_LINES})
        titles = say("strength.across"), upward
        charts.figures.coefficient_lines(
            panels[1], self.alphas, lines, names, marks, labels=titles
        )
        return panels

    def _lines(self, kind: str) -> tuple[Array, list[str]]:
        if kind == "features":
            return self.sizes, list(self.features)
        owners = [str(t) if label is None else f"{t}: {label}" for t, label in self.columns]
        return self.entries, [f"{name}, {owner}" for name in self.features for owner in owners]

    def write(
        self,
        picture: str | os.PathLike[str],
        table: str | os.PathLike[str] | None = None,
        kind: str = "features",
        lang: str = "en",
    ) -> None:
        """Write the picture, and the table of :meth:`frame` with it: both whole, or neither.

        Parameters
        ----------
        picture : path-like
            A ``.png`` or ``.svg`` file; one that exists is replaced.
        table : path-like or None, default=None
            A file of a table, such as ``.csv``; None writes none.
        kind : {"features", "entries"}, default="features"
            As in :meth:`plot`.
        lang : {"en", "zh"}, default="en"
            As in :meth:`plot`.

        Raises
        ------
        ParameterError
            If the suffix of the picture or the kind is none of these.
        DataError
            If one of the files cannot be written; nothing was changed then.
        """
        from polytask.data.readers import write_table

        suffix = os.path.splitext(os.fspath(picture).lower())[1]
        if suffix not in _PICTURES:
            allowed = LazyMessage("allowed.picture")
            got = repr(os.fspath(picture))
            raise ParameterError(sentence("picture", "RegularizationPath.write", allowed, got))
        draw = partial(self.plot, kind=kind, lang=lang)
        content = charts.image(draw, 7.0, 6.0, 2, suffix.removeprefix("."))

        def put(file: BinaryIO) -> None:
            file.write(content)
            file.flush()
            if table is not None:
                write_table(self.frame(), table)

        write_whole(picture, put)
