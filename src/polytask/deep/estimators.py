"""The deep estimators: regression, classification, and tasks that have losses of their own."""

from __future__ import annotations

import itertools
import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Self

from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted

from polytask._estimator import (
    MultiTaskEstimator,
    Outcomes,
    Query,
    classification,
    mixed,
    regression,
)
from polytask._estimator.base import Given
from polytask._estimator.classes import (
    ClassifierMixin,
    DecisionMixin,
    ProbabilityMixin,
    RegressorMixin,
    decisions,
    has_classes,
    keep_classes,
    probabilities,
)
from polytask._estimator.documentation import documented
from polytask._estimator.nested import strengths
from polytask._estimator.outcomes import make_layout
from polytask._estimator.ranges import Between
from polytask._estimator.scoring import LossTasks
from polytask._registry import saveable
from polytask.data import TableEncoder, TaskData
from polytask.deep.align import Alignment, alignment_of, filled_targets, without_weight
from polytask.deep.balancing import IMTLG, AutoLambda
from polytask.deep.fitting import fit_tables
from polytask.deep.network import MLP, Network
from polytask.deep.prediction import DeepTasks
from polytask.deep.regularise import ToStart
from polytask.deep.rows import DEEP_READING
from polytask.deep.sampling import Sampling
from polytask.deep.sharing import CGC, MTAN, PLE, DSelectK, Hard, MMoE, Sharing
from polytask.deep.training.history import History, TrainingResult
from polytask.deep.training.settings import MakeOptimizer, MakeSchedule, OfNetwork
from polytask.penalties import L2, L21, Penalty

_RATES = (3e-4, 1e-2)
# Times the learning rate: what every weight loses in a step.
_DECAYS = (1e-3, 3.0)
_DROPPED = (0.0, 0.5)
_DEPTHS, _WIDTHS = (1, 2, 3), (64, 128, 256)
_EXPERTS = 4
_MOST_EXPERTS = 8
# Strengths that are given are searched over this factor on both sides.
_FACTOR = 100.0

Labels = NDArray[Any]
Space = dict[str, Between | Sequence[Any]]


@dataclass(eq=False, repr=False)
class DeepEstimator(MultiTaskEstimator):
    """Base of the deep estimators; its sections, without parameters that they lack, are theirs.

    Parameters
    ----------
    trunk : MLP, nn.Module or None, default=None
        What turns features into a representation: a description, or any module that maps
        (n, n_features) to (n, width), copied with its weights. None is
        ``MLP((128, 128), dropout=0.1)``.
    sharing : description of :mod:`polytask.deep.sharing` or None, default=None
        How tasks share the trunk; None is hard sharing: one trunk for all.
    heads : MLP or None, default=None
        Hidden layers that each task has of its own before its linear head, such as
        ``MLP((16,))``; None: linear heads.
    penalties : mapping of str to Penalty, or None, default=None
        Penalties of layers by name, such as ``{"heads": L21(1e-3), "input": L1(1e-3)}``; see
        :class:`polytask.deep.Penalties`. ``ToStart(L2(0.01))`` of
        :mod:`polytask.deep.regularise` penalises the change of a layer.
    alignment : object of :mod:`polytask.deep.align` or None, default=None
        A penalty on how the representations of the rows of tasks differ, for tasks that are
        domains: ``CORAL(1.0)``, ``MMD(1.0)`` or ``Adversarial(0.1)``. Rows whose target is
        missing (NaN or None; y_t None in the separate form) take part in it alone; a task
        without any target is predicted with the mean head of the others. It acts in training
        and is no part of the objectives that are told. Not for a target matrix.
    balancer : object of :mod:`polytask.deep.balancing` or None, default=None
        Weights of the tasks while training, which multiply s_t; None: none, the plain sum.
    balance_at : {"representation", "parameters"}, default="representation"
        Where balancers of gradients measure those of the tasks: at what the trunk makes of each
        row, or at the weights of the trunk, which costs several times more. Where each row
        belongs to one task, no two tasks have a gradient at the same row, and balancers that only
        resolve conflicts (PCGrad, UPGrad) do nothing at the representation. MMoE makes another
        representation for each task of a target matrix, so the weights are used then.
    class_weight : "balanced", mapping of class to weight, or None, default=None
        Multiplies the sample weights; "balanced" within each task.
    label_smoothing : float, default=0.0
        What training takes from the label of a class and spreads over all classes of the task.
    scale_targets : {"task", "common", "auto", None}, default="auto"
        Scale the targets of each task, or of all in common; "auto": "task" for a target matrix
        and for several losses, else "common". Predictions are in original units.
    task_weight : {"equal", "size"}, mapping or array of shape (n_tasks,), default="equal"
        The weights s_t. "equal": 1; "size": n_t over the mean n.
    task_sampling : {"proportional", "uniform", "temperature", "in_step"} or Sampling, \
            default="proportional"
        Which rows a batch holds where each belongs to one task; see
        :mod:`polytask.deep.sampling`.
    mixup : float, default=0.0
        Above 0: rows of a batch are mixed in pairs of one task, with shares drawn from
        Beta(mixup, mixup).
    mixup_across_tasks : bool, default=False
        Whether pairs may be of two tasks; the mixed row then counts for both.
    optimizer : callable, LayerwiseDecay or None, default=None
        Takes the parameters and returns an optimiser, such as
        ``functools.partial(torch.optim.SGD, lr=0.1)``;
        :class:`polytask.deep.pretrained.LayerwiseDecay` has a rate for each layer; None is AdamW
        with the next two.
    learning_rate : float, default=1e-3
        Of AdamW; another one than the default is refused beside `optimizer`.
    weight_decay : float, default=0.0
        Decoupled weight decay of AdamW, of weights only: biases and norms do not decay;
        refused beside `optimizer`.
    final_phase : int, default=0
        The most steps of proximal gradient that end the training, on the layers with penalties,
        with their biases, and on all rows trained on. Penalties that the optimiser cannot apply,
        such as a trace norm under Adam, then act there. 0: none.
    schedule : callable or None, default=None
        Takes the optimiser and returns a schedule of the learning rate, stepped every epoch.
    batch_size : int or "auto", default="auto"
        Rows in a batch; "auto" is a twentieth of the training rows, at least 32 and at most 256.
    accumulate : int, default=1
        Batches whose gradients make one step, the same step as of one batch with all their rows.
    clip_norm : float or None, default=None
        The largest norm that the gradient of all parameters may have.
    max_epochs : int or "auto", default="auto"
        Passes over the rows at most; "auto" is 200, and with early stopping as many more as make
        10,000 steps.
    early_stopping : bool, default=True
        Whether to hold out rows of every task, stop when their loss has stopped improving, and
        keep the best epoch.
    validation : float, splitter, or iterable of pairs, default=0.1
        What is held out: a share of the rows of every task (a task with fewer than its inverse
        may have none there); or the first split of a splitter of :mod:`polytask.data` or
        scikit-learn, or of pairs of rows to train on and to hold out, numbered as in the input.
        ``GroupedRows(patients)`` holds out whole patients.
    patience : int, "auto" or None, default="auto"
        Epochs without improvement, by a thousandth of the first loss or more, after which
        training stops; "auto" is 20, or as many more as make 1,000 steps: with few rows an epoch
        is few steps. None never stops.
    standardize : bool, default=True
        Subtract one mean and divide by one standard deviation per feature, over all rows. The
        indicators of a table's categories stay 0 and 1.
    precision : {"float32", "float64"}, default="float32"
        Of weights and computations.
    device : str or torch.device, default="auto"
        Where to train; "auto" is a CUDA card if there is one. A loaded model takes "auto".
    mixed_precision : {"bf16", None}, default=None
        "bf16" computes products in bfloat16, losses and weights in float32.
    compile : bool, default=False
        Whether ``torch.compile`` makes the trunk, under its way of sharing, into kernels of its
        own, which takes some ten seconds at the start. For large trunks on a card: small ones
        on the processor, where it needs a compiler for C++, do not gain.
    distributed : bool, default=False
        Whether this process is one of several started by ``accelerate launch`` or ``torchrun``
        with the same data: each takes its share of every batch, and all end with the same model.
    checkpoint : path-like or None, default=None
        A file to which the state of training is written, and from which `fit` goes on if it is
        there: on the processor with the same result, bit for bit. With `random_state` None the
        seed is taken from it.
    checkpoint_every : int, default=1
        Epochs between two writes.
    record : object of :mod:`polytask.deep.recording`, list of them, or None, default=None
        What to measure of pairs of tasks while training, for ``history_`` and
        :func:`polytask.relatedness`: ``GradientSimilarity()`` or ``TaskAffinity()``.
    task_column : str, int or None, default=None
        The column of X that holds the task labels.
    unseen_tasks : {"error", "shared"}, default="error"
        What to do with unknown tasks in ``predict``: refuse, or predict with the mean head of
        all tasks. May be changed after fit.
    verbose : bool, default=False
        Whether to show progress on the error stream.
    random_state : int, RandomState or None, default=None
        The seed of everything random; on the processor the same seed gives the same model, bit
        for bit.
    date_features : bool, default=False
        Whether columns of dates become features: year, month, week, weekday and elapsed days.

    Attributes
    ----------
    network_ : nn.Module
        The trained network, which reads scaled features.
    history_ : History
        Losses by epoch and task; ``history_.frame()`` is a table.
    solution_ : TrainingResult
        How training ended (`status`, a sentence), the epoch kept and its losses.
    n_iter_ : int
        Epochs done.
    tasks_ : ndarray of shape (n_tasks,)
        The tasks.
    columns_ : tuple of (task, class)
        The owner of each column of the heads.
    n_features_in_ : int
        Columns of X as given.

    References
    ----------
    Caruana, R. (1997). Multitask learning. Machine Learning 28, 41-75.
    """

    trunk: Any = None  # MLP, nn.Module or None
    _: KW_ONLY
    sharing: Sharing | None = None
    heads: MLP | None = None
    loss: Any = "auto"
    penalties: Mapping[str, Penalty | ToStart] | None = None
    alignment: Alignment | None = None
    balancer: Any = None  # two kinds, which are protocols
    balance_at: str = "representation"
    task_weight: Any = "equal"
    task_sampling: str | Sampling = "proportional"
    mixup: float = 0.0
    mixup_across_tasks: bool = False
    optimizer: MakeOptimizer | OfNetwork | None = None
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    final_phase: int = 0
    schedule: MakeSchedule | None = None
    batch_size: int | str = "auto"
    accumulate: int = 1
    clip_norm: float | None = None
    max_epochs: int | str = "auto"
    early_stopping: bool = True
    validation: Any = 0.1  # float, splitter or pairs
    patience: int | str | None = "auto"
    standardize: bool = True
    precision: str = "float32"
    device: Any = "auto"  # str or torch.device
    mixed_precision: str | None = None
    compile: bool = False
    distributed: bool = False
    checkpoint: str | os.PathLike[str] | None = None
    checkpoint_every: int = 1
    record: Any = None  # Recording, or several
    task_column: str | int | None = None
    unseen_tasks: str = "error"
    verbose: bool = False
    random_state: Any = None  # int, RandomState or None
    date_features: bool = False

    _reading = DEEP_READING
    _is_network = True

    @abstractmethod
    def _outcomes(self, data: TaskData) -> Outcomes:
        """Return the targets as numbers."""

    def _read_rows(self, X: Any, y: Any, task: Any, sample_weight: Any) -> Given:  # noqa: ANN401
        """Read rows; those without a target, which are for the alignment, have weight 0."""
        owner = type(self).__name__
        if alignment_of(self.alignment, owner) is None:
            return super()._read_rows(X, y, task, sample_weight)
        X, y, missing = filled_targets(X, y, owner)
        read = super()._read_rows(X, y, task, sample_weight)
        if not len(missing):
            return read
        data, raw = (without_weight(part, missing) for part in (read.data, read.raw))
        return replace(read, data=data, raw=raw)

    def _fit_data(self, data: TaskData, raw: TaskData) -> None:
        outcomes = self._outcomes(data)
        self._keep(data, outcomes, *fit_tables(self, data, outcomes))

    def fit_parts(
        self,
        source: Any,  # noqa: ANN401 - also of other libraries
        target: str | Sequence[str],
        *,
        task_column: str | None = None,
        sample_weight: str | None = None,
        drop: Sequence[str] = (),
        encoder: TableEncoder | None = None,
        buffer_rows: int = 100_000,
        sep: str | None = None,
        decimal: str | None = None,
        encoding: str | None = None,
        missing_values: Sequence[str] = (),
    ) -> Self:
        """Learn all tasks from a table that is read in parts, because it is larger than memory.

        The source is read twice to learn tasks, classes, features and their scaling, and then in
        every epoch, once for the batches and once for the rows held out. Rows wait in a buffer
        from which batches are drawn at random; when it is full, half of them are used. So it is
        the model of :meth:`fit` where the buffer holds all rows; with a smaller one rows that are
        far apart in the source are not in one batch, so that a source that is sorted by target or
        task should be shuffled first.

        Parameters
        ----------
        source : path-like, iterable, callable, or object of another library
            As in :func:`polytask.statistics.collect_parts`; the partitions of a dask DataFrame
            are brought to this process one after another. It must have the same rows in the same
            order each time.
        target : str, or list of str
            The column of targets; several columns are the targets of one design, and tasks then.
            Empty cells of several columns are labels that are missing.
        task_column, sample_weight : str or None, default=None
            The columns that hold task labels and row weights; None for tasks is the parameter
            ``task_column`` of the estimator.
        drop : sequence of str, default=()
            Columns to leave out.
        encoder : TableEncoder or None, default=None
            How columns become features. None learns it: missing numbers are filled by the mean of
            the medians of the parts, and more than 30 levels of a category are refused.
        buffer_rows : int, default=100000
            The most rows that wait to be drawn, and rows of a file that are read at a time.
        sep, decimal, encoding, missing_values
            How text files are written, as in :func:`polytask.statistics.collect_parts`.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        DataError
            If there is no such file or column, the data cannot be used, or the source has other
            rows when it is read again.
        IncompatibleError
            If a parameter needs all rows in memory: `task_sampling`, a splitter as `validation`,
            `final_phase`, `date_features`; or if the buffer holds less than two batches.

        Notes
        -----
        A row is held out if a hash of its number and of the seed is below the share `validation`,
        in every epoch the same; the first row of each task, and of each class of it, never is.
        Means and variances are those of all rows, up to rounding; medians and quantiles, which
        robust losses scale their targets by, are means of those of the parts.

        Examples
        --------
        >>> import numpy as np, pandas as pd
        >>> from polytask.deep import MLP, DeepMultiTaskRegressor
        >>> rng = np.random.default_rng(0)
        >>> table = pd.DataFrame(rng.normal(size=(300, 2)), columns=["a", "b"])
        >>> table["ward"] = rng.choice(["north", "south"], 300)
        >>> table["cost"] = np.abs(table["a"]) + table["b"]
        >>> parts = [table[:100], table[100:]]
        >>> model = DeepMultiTaskRegressor(MLP((16,)), max_epochs=5, random_state=0)
        >>> model.fit_parts(parts, "cost", task_column="ward").predict(table).shape
        (300,)
        """
        from polytask.data.readers import Style
        from polytask.deep.fitting_parts import fit_to_parts, open_parts

        self._check_reading()
        opened = open_parts(
            self, source, target, task_column, sample_weight, drop, encoder, buffer_rows,
            Style(sep, decimal, encoding), missing_values,
        )  # fmt: skip
        read = opened.given()
        outcomes = self._outcomes(read.data)
        self._keep_columns(read)
        found = fit_to_parts(self, opened, outcomes)
        self._keep(read.data, outcomes, found.tasks, found.history, found.result)
        if not is_classifier(self):
            self._baseline = self._scoring().baseline(found.labels)
        self.data_card_ = found.card
        return self

    def _keep(
        self,
        data: TaskData,
        outcomes: Outcomes,
        tasks: DeepTasks,
        history: History,
        result: TrainingResult,
    ) -> None:
        """Keep a fitted network and its training."""
        self._tasks, self.history_, self.solution_ = tasks, history, result
        columns = make_layout(data.tasks, outcomes).columns
        self.columns_ = tuple(zip(columns.tasks, columns.classes, strict=True))
        self.task_weight_sums_ = self._tasks.counts
        self.n_iter_ = self.solution_.n_iter
        keep_classes(self, outcomes)

    def search_space(self) -> Space:
        """Return what is worth searching, for :func:`polytask.selection.tune`.

        Learning rate and weight decay unless an optimiser is given; depth, width and dropout of
        an :class:`MLP`; ways of sharing, or the number of experts if that is how tasks share;
        balancers, unless one is given; penalties of inputs or heads, or the strengths of those
        that are given, a hundred times down and up.

        Returns
        -------
        dict of str to Between or list
            By names of parameters as in ``set_params``. To search less, delete from it.

        Examples
        --------
        >>> from polytask.deep import MLP, DeepMultiTaskRegressor
        >>> from polytask.penalties import L21
        >>> model = DeepMultiTaskRegressor(MLP((64,)), penalties={"input": L21(0.01)})
        >>> sorted(model.search_space())  # doctest: +NORMALIZE_WHITESPACE
        ['balancer', 'learning_rate', 'penalties__input__alpha', 'sharing',
         'trunk__dropout', 'trunk__widths', 'weight_decay']
        """
        space: Space = {}
        if self.optimizer is None:
            space |= {"learning_rate": Between(*_RATES), "weight_decay": Between(*_DECAYS)}
        space |= _trunk_space(self.trunk) | _sharing_space(self.sharing, self.trunk)
        whole_batches = self.accumulate == 1 and not self.distributed
        if self.balancer is None and whole_batches:
            held = self.early_stopping and self.validation is not None and not self.compile
            space["balancer"] = [None, IMTLG(), *([AutoLambda()] if held else [])]
        if not self.penalties and isinstance(self.trunk, MLP | None):
            space["penalties"] = [None, {"input": L21(0.003)}, {"heads": L2(0.01)}]
        given = strengths(self.penalties, "penalties") | strengths(self.sharing, "sharing")
        return space | {name: Between(a / _FACTOR, a * _FACTOR) for name, a in given.items()}

    @property
    def network_(self) -> Network:
        """The trained module, in evaluation mode; it reads scaled features.

        Tasks that :func:`polytask.adapt` has added have no head in it.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the model is not fitted.
        """
        check_is_fitted(self)
        return self._tasks.network

    def _predict_task(self, X: Any, task: int) -> Labels:  # noqa: ANN401 - rows of a query
        return self._tasks.labels_of(X, task)

    def _class_probabilities(self, query: Query) -> Any:  # noqa: ANN401
        return probabilities(self._tasks, query)


def _trunk_space(trunk: Any) -> Space:  # noqa: ANN401 - MLP, nn.Module or None
    if trunk is None:
        kinds = itertools.product(_DEPTHS, _WIDTHS, (0.0, 0.1, 0.3))
        return {"trunk": [MLP((w,) * depth, dropout=p) for depth, w, p in kinds]}
    if not isinstance(trunk, MLP) or not len(trunk.widths):
        return {}
    widths = [tuple(max(round(w * f), 1) for w in trunk.widths) for f in (0.5, 1, 2)]
    widths += [tuple(trunk.widths[:-1])] if len(trunk.widths) > 1 else []
    widths.append((*trunk.widths, trunk.widths[-1]))
    return {"trunk__widths": widths, "trunk__dropout": Between(*_DROPPED, log=False)}


def _sharing_space(sharing: Sharing | None, trunk: Any) -> Space:  # noqa: ANN401 - as above
    """Return ways of sharing where none is given, else how many experts there may be."""
    if sharing is not None:
        counts = {MMoE: "n_experts", CGC: "n_shared", PLE: "n_shared", DSelectK: "n_experts"}
        name = counts.get(type(sharing))
        least = sharing.k if isinstance(sharing, DSelectK) else 1
        most = Between(least, max(_MOST_EXPERTS, least + 1), log=False, integer=True)
        return {f"sharing__{name}": most} if name else {}
    # Gates must be able to read the input of the trunk, and copies of it be drawn.
    plain = isinstance(trunk, MLP) and trunk.embedding is None and trunk.norm != "task_batch"
    experts = trunk is None or (plain and len(trunk.widths) > 0)
    return {"sharing": [Hard(), MMoE(_EXPERTS), DSelectK(_EXPERTS), MTAN()]} if experts else {}


@saveable("deep.regressor")
@documented(DeepEstimator)
@dataclass(eq=False, repr=False, kw_only=True)
class DeepMultiTaskRegressor(DeepEstimator, RegressorMixin):
    """Regression of many tasks with one network.

    Minimises, over batches, the sum over tasks of s_t times the mean loss of the labels of task
    t in the batch; missing labels and absent tasks add nothing. Features and targets are
    standardised inside.

    Parameters
    ----------
    loss : {"squared", "huber", "poisson", "gamma", "quantile", "square_root"} or Loss, \
            default="squared"
        The loss of every row; see :class:`polytask.MultiTaskRegressor`.

    Examples
    --------
    >>> import numpy as np
    >>> from polytask.deep import MLP, DeepMultiTaskRegressor
    >>> rng = np.random.default_rng(0)
    >>> X, school = rng.standard_normal((120, 4)), np.repeat(["a", "b", "c"], 40)
    >>> y = np.abs(X[:, 0]) + X[:, 1]
    >>> model = DeepMultiTaskRegressor(MLP((16,)), max_epochs=5, random_state=0)
    >>> model.fit(X, y, task=school).predict(X, task=school).shape
    (120,)
    """

    loss: Any = "squared"  # str or Loss
    scale_targets: str | None = "auto"

    def _outcomes(self, data: TaskData) -> Outcomes:
        return regression(data, self.loss, type(self).__name__)

    def _by_loss(self) -> LossTasks:
        return self._tasks


@saveable("deep.classifier")
@documented(DeepEstimator)
@dataclass(eq=False, repr=False, kw_only=True)
class DeepMultiTaskClassifier(DeepEstimator, DecisionMixin, ClassifierMixin):
    """Classification of many tasks with one network.

    Two classes at most over all tasks (per target in a target matrix): logistic loss, one column
    per task, the second class in sorted order is the positive one. Otherwise the multinomial
    loss, one column per class that a task has.

    Parameters
    ----------
    loss : {"auto", "logistic", "multinomial", "squared_hinge"} or Loss, default="auto"
        The loss of every row.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,), or list of ndarray
        The sorted union of the classes; for a target matrix a list with one array each.
    task_classes_ : dict of task to ndarray
        The classes of each task.

    Examples
    --------
    >>> import numpy as np
    >>> from polytask.deep import MLP, DeepMultiTaskClassifier
    >>> rng = np.random.default_rng(0)
    >>> X, ward = rng.standard_normal((90, 4)), np.repeat(["north", "south", "west"], 30)
    >>> y = np.where(X[:, 0] * X[:, 1] > 0, "ill", "well")
    >>> model = DeepMultiTaskClassifier(MLP((16,)), max_epochs=5, random_state=0)
    >>> model.fit(X, y, task=ward).classes_.tolist()
    ['ill', 'well']
    """

    class_weight: Any = None
    label_smoothing: float = 0.0

    def _outcomes(self, data: TaskData) -> Outcomes:
        return classification(data, self.loss, type(self).__name__)

    def _class_decisions(self, query: Query) -> Any:  # noqa: ANN401
        return decisions(self._tasks, query)


@saveable("deep.model")
@documented(DeepEstimator)
@dataclass(eq=False, repr=False, kw_only=True)
class DeepMultiTaskModel(DeepEstimator, ProbabilityMixin):
    """One network for tasks with a loss each.

    A click (two classes), a purchase amount (a number) and a rating (several classes) of one
    visit are learned together. In a target matrix NaN is a label that is missing.

    Parameters
    ----------
    loss : "auto", str, Loss, or mapping of task to these, default="auto"
        The loss of each task. "auto": text, booleans and whole numbers with two distinct values
        are classes, all other numbers are numbers.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,), or list of ndarray
        The sorted union of the classes; for a target matrix a list with one array each.
    task_classes_ : dict of task to ndarray
        The classes of each task, None for numbers. Both only where some task has classes.

    Examples
    --------
    >>> import numpy as np
    >>> from polytask.deep import MLP, DeepMultiTaskModel
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((80, 3))
    >>> Y = np.column_stack([X[:, 0] > 0, X[:, 0] + X[:, 1]])
    >>> model = DeepMultiTaskModel(MLP((16,)), max_epochs=5, random_state=0)
    >>> model.fit(X, Y).predict(X).shape
    (80, 2)
    """

    class_weight: Any = None
    label_smoothing: float = 0.0
    scale_targets: str | None = "auto"

    def _outcomes(self, data: TaskData) -> Outcomes:
        return mixed(data, self.loss, type(self).__name__)

    def _by_loss(self) -> LossTasks:
        return self._tasks

    def _has_probabilities(self) -> bool:
        return has_classes(self)
