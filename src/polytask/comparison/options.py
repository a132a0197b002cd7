"""The options of a comparison: one record, for the library, the command line and the journal."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar

from polytask._checks import nonnegative, sentence
from polytask._options import option
from polytask.exceptions import ParameterError
from polytask.messages import LazyMessage, Translator

OWNER = "compare"


def models_help() -> LazyMessage:
    """Return the help of options that name models."""
    return LazyMessage("help.models_tried")


def _metric_help() -> LazyMessage:
    return LazyMessage("help.metric", {"names": list(Translator().words("short"))})


@dataclass(frozen=True, kw_only=True, eq=False)
class Options:
    """The arguments of :func:`polytask.compare` beside X and y.

    What is an `option` is one of the command line, too. The call in the report and what must be
    the same for a journal to be gone on with follow from the fields.

    Parameters
    ----------
    task : array of shape (n,), table or 2-D array, or None
        The task of each row; a column for each of several groupings.
    sample_weight : array of shape (n,), mapping or None
        Row weights, in fits and scores.
    task_column : str, int, list of these, or None, default=None
        The column of X that holds the task labels, instead of `task`, or those of several
        groupings, such as store and product. The first is then the task, of which the verdict
        and the separate models are; all models but "learned prior of all groupings", which is
        for the squared loss, read the levels of the others as categories.
    loss : name of a loss, Loss, or mapping of task to these, default="auto"
        "auto": text, booleans and whole numbers with exactly two distinct values are classes; text
        that is numbers but for a few cells is refused, and so are more than 20 classes with
        fewer than ten rows each on average unless "multinomial" asks for them.
        A mapping gives each task its own.
    models : "default", "deep", or sequence, default="default"
        Names that ``polytask models`` lists, such as "near the mean", estimators, or pairs
        ``(name, estimator)``; "default" in a sequence stands for all but networks, "deep" for
        networks, which need PyTorch; "deep" alone is both. An estimator of scikit-learn is tried
        per task and pooled with the task as a category.
    cv : int, splitter, pairs of rows or None, default=None
        The outer splits. None: 5 folds of the rows of every task; a number: as many. With
        `groups`, `time` and `unseen` the folds are of groups, stretches of time and tasks, fewer
        of them where there are too few groups, times (at least 5) or tasks.
    metric : str or None, default=None
        The verdict's metric, a name of ``polytask.metrics.METRICS``. None: "d2", the share
        of the loss of the training mean that the model explains (squared loss: R2 against
        the grand mean; Poisson and gamma: explained deviance), over rows in the long and
        separate forms, mean over tasks for target matrices and mixed losses.
    margin : float or None, default=None
        A difference in the metric that is too small to matter, 0 or more. None: a tenth of the
        score of the separate or pooled model that the training rows chose, but 0.001 at least
        and 0.01 at most; for a loss, a hundredth of it.
    groups : array of shape (n,) or None
        Rows of one group (a patient, a day) are never on both sides of a split.
    time : array of shape (n,) or None
        Train on the past, test on what comes next.
    unseen : bool, default=False
        Hold out whole tasks: how well is a new task served?
    quick : bool, default=False
        Few models instead of all: separate, pooled, and one that learns the tasks together.
    time_budget : float or None, default=None
        Seconds after which no new fit is started; one that has begun is ended when a quarter
        more is over. What is finished is judged.
    n_jobs : int or None, default=None
        Fits at the same time, as in joblib.
    random_state : int, default=0
        Seed; the same seed gives the same tables.
    journal : path or None, default=None
        A file that keeps finished fits. A comparison that was killed goes on from it, with
        the same result.
    verbose : bool, default=False
        Print the plan with an estimate of the time, and show progress, on stderr.
    learning_curve : bool or sequence of float, default=False
        Fit the chosen separate, pooled and sharing models on shares of the training rows as
        well, to see how the gain depends on rows per task; True: 1/8, 1/4 and 1/2. Smaller
        shares are part of larger ones, and the same rows are held out.
    ablation : bool, default=False
        Search the penalty of the chosen sharing model (or of the best one whose penalty has
        several terms) without each of its terms as well, to see what every term adds. A
        :class:`DataWarning` says so where there is none.
    allow_leak : bool, default=False
        Whether a feature may equal the target up to a factor and a constant, over all rows or
        within every task, which otherwise is refused: no score of such data says anything,
        unless the feature is known before the target.
    """

    PANEL: ClassVar[str] = "help.panel.comparing"

    task: Any = None
    sample_weight: Any = None
    task_column: str | int | Sequence[str | int] | None = None
    loss: Any = "auto"
    models: Any = option(models_help, default="default", kind=tuple[str, ...], metavar="NAME")
    cv: Any = option("help.splits", name="splits", kind=int | None, least=1, metavar="N")
    metric: str | None = option(_metric_help, metavar="NAME")
    margin: float | None = option("help.margin")
    groups: Any = None
    time: Any = None
    unseen: bool = option(
        "help.unseen",
        default=False,
    )
    quick: bool = option(
        "help.quick",
        default=False,
    )
    time_budget: float | None = None
    n_jobs: int | None = None
    random_state: int = 0
    journal: str | os.PathLike[str] | None = None
    verbose: bool = False
    learning_curve: Any = option(
        "help.learning_curve",
        kind=bool,
        default=False,
    )
    ablation: bool = option(
        "help.ablation",
        default=False,
    )
    allow_leak: bool = False

    def __post_init__(self) -> None:
        """Refuse what needs no data to be refused."""
        seed, jobs = self.random_state, self.n_jobs
        if not isinstance(seed, Integral) or isinstance(seed, bool):
            raise ParameterError(
                sentence("random_state", OWNER, LazyMessage("allowed.seed"), repr(seed))
            )
        nonnegative(seed, "random_state", OWNER)
        if jobs is not None and (not isinstance(jobs, Integral) or jobs == 0):
            raise ParameterError(
                sentence("n_jobs", OWNER, LazyMessage("allowed.jobs"), repr(jobs))
            )
        for name in ("groups", "time"):
            value = getattr(self, name)
            one = isinstance(value, str | bytes) or not hasattr(value, "__len__")
            if value is not None and (one or getattr(value, "ndim", 1) == 0):
                column = value if isinstance(value, str) else name
                allowed = LazyMessage("allowed.array_of_rows", {"name": repr(column)})
                raise ParameterError(sentence(name, OWNER, allowed, repr(value)))
        for name in ("time_budget", "margin"):
            if getattr(self, name) is not None:
                nonnegative(getattr(self, name), name, OWNER)


USUAL = Options()
# Options that are data, beside X and y.
DATA = frozenset({"task", "sample_weight", "task_column", "groups", "time"})
# Options that change no finished fit, so that a comparison goes on with other values of them.
MAY_CHANGE = frozenset({"learning_curve", "ablation", "allow_leak"})
# Options that no number depends on.
HOW_IT_RUNS = frozenset({"time_budget", "n_jobs", "journal", "verbose"})
