"""The first question: whether tasks are related at all, and which of them."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from polytask._checks import sentence
from polytask._estimator.training import training_data
from polytask.analysis import _related_model
from polytask.analysis._problem import read_outcomes
from polytask.analysis._related_data import (
    binary_at_most,
    features_of_data,
    judged,
    map_of_data,
)
from polytask.analysis._related_map import kin_of, pairs_of
from polytask.analysis._related_parts import FeatureEffect, Kinship, Pair, Shares, TaskKin
from polytask.exceptions import DataError, ParameterError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

OWNER = "relatedness"


@dataclass(frozen=True)
class Relatedness:
    """The answer of :func:`polytask.relatedness`.

    Attributes
    ----------
    source : {"data", "model"}
        What was looked at.
    n_telling : int
        Tasks that say anything: their rows differ, in features and target; in a model, their
        coefficients are not all 0.
    n_features : int
        Features after encoding.
    units : {"standardised", "given"}
        Whether coefficients are of features of equal spread, or of features as given (a model
        that was fitted without ``standardize=True``).
    p_value : float
        That the tasks have nothing to do with each other; NaN for a model, and where fewer
        than two tasks say anything.
    p_values : dict
        The p-value of each aspect alone: "direction", "structure", "features".
    n_permutations : int
        Random choices of signs behind them; 0 for a model.
    shares : Shares
        What is common to all tasks, to clear groups of them, and their own.
    effective_tasks : float
        The number of unrelated tasks that they are worth: 1 if all are the same up to size and
        sign, their number if they are unrelated.
    level_share : float
        Share of the variance of the target that lies between the tasks' means. It is no part of
        the relatedness, which is about effects of features. NaN where tasks have no target in
        common, and for a model.
    tasks : tuple of TaskKin
        Every task, as in the data.
    order : tuple of int
        The tasks on the map, as positions in `tasks`, neighbours being alike. Of more than
        1,000 those with the most rows; without those that say nothing.
    similarity : tuple of tuple of float
        The map: correlations of their effects, -1 to 1, in that order.
    tree : tuple of (int, int, float, int)
        The dendrogram: average linkage of 1 - correlation, in the form of SciPy, whose leaf i
        is the i-th task of `order`.
    most_alike, least_alike : tuple of Pair
        The extreme pairs.
    features : tuple of FeatureEffect
        Those with the largest effects, the largest first.
    seed : int
        Of the test.
    """

    source: str
    n_telling: int
    n_features: int
    units: str
    p_value: float
    p_values: dict[str, float]
    n_permutations: int
    shares: Shares
    effective_tasks: float
    level_share: float
    tasks: tuple[TaskKin, ...]
    order: tuple[int, ...]
    similarity: tuple[tuple[float, ...], ...]
    tree: tuple[tuple[int, int, float, int], ...]
    most_alike: tuple[Pair, ...]
    least_alike: tuple[Pair, ...]
    features: tuple[FeatureEffect, ...]
    seed: int

    @property
    def sentence(self) -> str:
        """The answer in one or two English sentences."""
        from polytask.analysis import _related_presenting

        return _related_presenting.opening(self)

    @property
    def kinship(self) -> Kinship:
        """What a comparison keeps of it."""
        return Kinship(self.n_telling, self.p_value, self.shares, self.effective_tasks)

    @property
    def groups(self) -> tuple[tuple[Hashable, ...], ...]:
        """The suggested groups of tasks, largest first; empty if there are no clear ones."""
        found: dict[int, list[Hashable]] = {}
        for place in self.order:
            line = self.tasks[place]
            if line.group is not None:
                found.setdefault(line.group, []).append(line.task)
        return tuple(tuple(group) for group in sorted(found.values(), key=len, reverse=True))

    @property
    def most_related(self) -> tuple[Hashable, ...]:
        """The tasks on the map by their mean correlation with the others, closest first."""
        lines = [self.tasks[place] for place in self.order]
        return tuple(line.task for line in sorted(lines, key=lambda line: -line.closeness))

    @property
    def least_related(self) -> tuple[Hashable, ...]:
        """The same, farthest first."""
        return self.most_related[::-1]

    @property
    def features_shared(self) -> tuple[str, ...]:
        """Features that work alike in the tasks, largest effect first."""
        return tuple(one.feature for one in self.features if one.shared)

    @property
    def features_varying(self) -> tuple[str, ...]:
        """Features whose effect differs more between tasks than it is common to them."""
        return tuple(one.feature for one in self.features if not one.shared)

    @property
    def matrix(self) -> NDArray[np.float64]:
        """`similarity` as an array of shape (k, k)."""
        k = len(self.order)
        return np.array(self.similarity, dtype=np.float64).reshape(k, k)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per task: rows, closeness, nearest, similarity, group."""
        from polytask.analysis import _related_presenting

        return _related_presenting.task_table(self)

    def summary(self, lang: str = "en") -> str:
        """Return what was found, in sentences.

        Parameters
        ----------
        lang : {"en", "zh"}, default="en"
            English or Chinese.

        Returns
        -------
        str
            One line for each.
        """
        from polytask.analysis import _related_presenting

        return _related_presenting.summary(self, lang)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the map of the tasks with its tree above it.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        Axes

        Raises
        ------
        DataError
            If no task says anything about its coefficients.
        """
        from polytask.analysis import _related_presenting

        return _related_presenting.plot(self, ax)

    def to_json(self) -> str:
        """Return everything as JSON text."""
        from polytask.analysis import _plain

        return _plain.to_json(self)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Rebuild from :meth:`to_json`.

        Raises
        ------
        DataError
            If the text is something else, or of a newer version.
        """
        from polytask.analysis import _plain

        rebuilt: Self = _plain.from_json(text, cls)
        return rebuilt

    def _repr_html_(self) -> str:
        """Return the tasks as a plain table, for notebooks."""
        from polytask.analysis import _related_presenting

        return _related_presenting.html_table(self)


def relatedness(
    data_or_model: Any,  # noqa: ANN401 - as in fit, or an estimator
    y: Any = None,  # noqa: ANN401
    *,
    task: Any = None,  # noqa: ANN401
    sample_weight: Any = None,  # noqa: ANN401
    task_column: str | int | None = None,
    loss: Any = "auto",  # noqa: ANN401
    n_permutations: int = 999,
    random_state: int = 0,
) -> Relatedness:
    """Say whether tasks are related, how much they share, and which of them are alike.

    Before learning, from data; or after learning, from the coefficients of a fitted model.

    **The test.** Rows are centred within their task and every feature is divided by its spread
    within tasks; a task is then its coefficients, in whatever units the features came. The null
    hypothesis: each task draws its coefficients independently of the other tasks, and without
    a preference for a sign along any of the axes along which its least-squares coefficients are
    uncorrelated (such as: normal, of mean zero and the same variance on all features; the
    variance may differ between tasks). Under it, and with symmetric noise, every choice of signs
    of the estimates along these axes is as likely as the one seen, whatever the correlations of
    features, the numbers of rows and the sizes of the noise: the p-value is uniform, but for its
    steps and the estimated shape of noise that depends on the features. For classes it is so
    approximately. Three statistics are judged by the same random signs, and the smallest of
    their p-values by its own distribution: coefficients alike on average ("direction"), along
    the same directions with either sign, as in groups or a common subspace ("structure"), and
    large for the same features ("features"). Levels of tasks (intercepts) play no role.

    Tasks whose coefficients have mean zero but a common covariance are therefore *related*: a
    feature that matters in all tasks with any sign is something to learn from the others. So is
    a feature that matters more everywhere only because it varies more than the others count
    for: equal coefficients on features of unequal spread are unequal effects.

    Parameters
    ----------
    data_or_model : array, sparse matrix or table of shape (n, d), TaskData, mapping, or model
        The features; in the separate form ``{task: (X_t, y_t)}`` with ``y=None``. Or a fitted
        model with ``coef_`` per task, and nothing else.
    y : array of shape (n,) or (n, T), or None
        The targets: numbers or at most two classes per task; NaN where a label of a target
        matrix is missing.
    task : array of shape (n,) or None
        The task of each row.
    sample_weight : array of shape (n,), mapping or None
        Row weights.
    task_column : str, int or None, default=None
        The column that holds the task labels, instead of `task`.
    loss : "auto", name, Loss or mapping, default="auto"
        As in :func:`polytask.compare`: what the targets are.
    n_permutations : int, default=999
        Random choices of signs. The p-value is a multiple of ``1 / (n_permutations + 1)``.
    random_state : int, default=0
        Seed; the same seed gives the same answer.

    Returns
    -------
    Relatedness

    Raises
    ------
    DataError
        If the data cannot be read, or a task has more than two classes.
    IncompatibleError
        If the model has no coefficients per task.
    ParameterError
        If a choice does not exist.

    Notes
    -----
    Of more than 100 features the leading 100 principal axes are used (fewer of more than 2,000
    tasks). Shares are moments of products of two tasks, in which noise has mean zero, and what
    shrinkage takes away is put back; "clustered" counts clear groups only (silhouette above
    .25), beyond what groups by chance explain. Groups are suggested where the test finds the
    tasks related and the share is .05 or more.

    Where one row has several targets, noise that these have in common looks like effects in
    common; with many rows per feature it is small.

    References
    ----------
    Fisher, "The Design of Experiments", 1935, section 21 (randomisation of signs).
    Westfall and Young, "Resampling-Based Multiple Testing", 1993, section 2.3.

    Examples
    --------
    >>> import numpy as np
    >>> from polytask import relatedness
    >>> rng = np.random.default_rng(0)
    >>> X, school = rng.standard_normal((200, 5)), np.repeat(np.arange(10), 20)
    >>> coef = 1 + 0.1 * rng.standard_normal((10, 5))
    >>> y = (X * coef[school]).sum(axis=1) + rng.standard_normal(200)
    >>> result = relatedness(X, y, task=school)
    >>> result.p_value
    0.001
    >>> result.shares.common > 0.9
    True
    """
    _check(n_permutations, random_state)
    if _related_model.is_model(data_or_model):
        _refuse_data(y=y, task=task, sample_weight=sample_weight, task_column=task_column)
        return _of_model(data_or_model, int(random_state))
    data = training_data(data_or_model, y, task, sample_weight, task_column, OWNER)
    _, outcomes, _ = read_outcomes(data, loss, OWNER)
    if not binary_at_most(outcomes):
        raise DataError(
            f"y of {OWNER} must be numbers, or two classes per task; got more classes. Give one "
            "target per class, or fit a classifier and give it to relatedness."
        )
    found = judged(data, outcomes, int(n_permutations), int(random_state))
    chart = map_of_data(found)
    most, least = pairs_of(data.tasks, chart)
    return Relatedness(
        source="data",
        n_telling=len(found.slopes.tasks),
        n_features=len(found.slopes.features),
        units="standardised",
        p_value=found.p_value,
        p_values=found.parts,
        n_permutations=int(n_permutations),
        shares=found.shares,
        effective_tasks=found.shared.effective,
        level_share=found.slopes.level_share,
        tasks=kin_of(data.tasks, data.task_rows(), chart),
        order=tuple(chart.order.tolist()),
        similarity=tuple(map(tuple, chart.similarity.tolist())),
        tree=chart.tree,
        most_alike=most,
        least_alike=least,
        features=features_of_data(found),
        seed=int(random_state),
    )


def _of_model(model: Any, seed: int) -> Relatedness:  # noqa: ANN401 - any estimator
    found = _related_model.learned(model)
    chart = _related_model.map_of_model(found)
    shares, effective = _related_model.shares_of_model(found, chart)
    most, least = pairs_of(found.tasks, chart)
    return Relatedness(
        source="model",
        n_telling=found.n_telling,
        n_features=len(found.features),
        units=found.units,
        p_value=float("nan"),
        p_values={},
        n_permutations=0,
        shares=shares,
        effective_tasks=effective,
        level_share=float("nan"),
        tasks=kin_of(found.tasks, found.rows, chart),
        order=tuple(chart.order.tolist()),
        similarity=tuple(map(tuple, chart.similarity.tolist())),
        tree=chart.tree,
        most_alike=most,
        least_alike=least,
        features=_related_model.features_of_model(model, found),
        seed=seed,
    )


def _check(n_permutations: object, random_state: object) -> None:
    for name, value, least in (
        ("n_permutations", n_permutations, 1),
        ("random_state", random_state, 0),
    ):
        number = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not number or int(value) < least:  # type: ignore[call-overload]
            allowed = f"an integer >= {least}"
            raise ParameterError(sentence(name, OWNER, allowed, repr(value)))


def _refuse_data(**given: object) -> None:
    for name, value in given.items():
        if value is not None:
            raise DataError(sentence(name, OWNER, "None beside a fitted model", "a value"))
