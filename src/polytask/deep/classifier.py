"""Classification of many tasks with one network."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from sklearn.utils import ClassifierTags, Tags

from polytask._estimator import Outcomes, classification
from polytask._estimator.classes import decisions, probabilities
from polytask._registry import saveable
from polytask.data import TaskData
from polytask.deep.base import DeepEstimator
from polytask.deep.sampling import Sampling
from polytask.deep.sharing import Sharing
from polytask.deep.training import MakeOptimizer, MakeSchedule
from polytask.deep.trunk import MLP
from polytask.penalties import Penalty


@saveable("deep.classifier")
class DeepMultiTaskClassifier(DeepEstimator):
    """Classification of many tasks with one network.

    Two classes at most over all tasks (per target in a target matrix): logistic loss, one column
    per task, the second class in sorted order is the positive one. Otherwise the multinomial
    loss, one column per class that a task has.

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
    loss : {"auto", "logistic", "multinomial", "squared_hinge"} or Loss, default="auto"
        The loss of every row.
    penalties : mapping of str to Penalty, or None, default=None
        Penalties of layers by name, such as ``{"heads": L21(1e-3), "input": L1(1e-3)}``; see
        :class:`polytask.deep.Penalties`.
    balancer : object of :mod:`polytask.deep.balancing` or None, default=None
        Weights of the tasks while training, which multiply s_t; None: none, the plain sum.
    balance_at : {"representation", "parameters"}, default="representation"
        Where balancers of gradients measure those of the tasks; "parameters" costs several
        times more. Where each row belongs to one task, gradients at the representation are
        orthogonal, and balancers that only resolve conflicts (PCGrad, UPGrad) do nothing there.
        MMoE on a target matrix forms no representation; its parameters are used then.
    task_weight : {"equal", "size"}, mapping or array of shape (n_tasks,), default="equal"
        The weights s_t. "equal": 1; "size": n_t over the mean n.
    class_weight : "balanced", mapping of class to weight, or None, default=None
        Multiplies the sample weights; "balanced" within each task.
    label_smoothing : float, default=0.0
        What training takes from the label of a class and spreads over all classes of the task.
    task_sampling : {"proportional", "uniform", "temperature", "in_step"} or Sampling, \
            default="proportional"
        Which rows a batch holds where each belongs to one task; see
        :mod:`polytask.deep.sampling`.
    mixup : float, default=0.0
        Above 0: rows of a batch are mixed in pairs of one task, with shares drawn from
        Beta(mixup, mixup).
    mixup_across_tasks : bool, default=False
        Whether pairs may be of two tasks; the mixed row then counts for both.
    optimizer : callable or None, default=None
        Takes the parameters and returns an optimiser, such as
        ``functools.partial(torch.optim.SGD, lr=0.1)``; None is AdamW with the next two.
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
        Where to train; "auto" is a CUDA card if there is one.
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
    classes_ : ndarray of shape (n_classes,), or list of ndarray
        The sorted union of the classes; for a target matrix a list with one array each.
    task_classes_ : dict of task to ndarray
        The classes of each task.
    n_features_in_ : int
        Columns of X as given.

    References
    ----------
    Caruana, R. (1997). Multitask learning. Machine Learning 28, 41-75.

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

    def __init__(
        self,
        trunk: Any = None,  # noqa: ANN401 - MLP, nn.Module or None
        *,
        sharing: Sharing | None = None,
        heads: MLP | None = None,
        loss: Any = "auto",  # noqa: ANN401 - str, Loss
        penalties: Mapping[str, Penalty] | None = None,
        balancer: Any = None,  # noqa: ANN401 - two kinds, which are protocols
        balance_at: str = "representation",
        task_weight: Any = "equal",  # noqa: ANN401
        class_weight: Any = None,  # noqa: ANN401
        label_smoothing: float = 0.0,
        task_sampling: str | Sampling = "proportional",
        mixup: float = 0.0,
        mixup_across_tasks: bool = False,
        optimizer: MakeOptimizer | None = None,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        final_phase: int = 0,
        schedule: MakeSchedule | None = None,
        batch_size: int | str = "auto",
        accumulate: int = 1,
        clip_norm: float | None = None,
        max_epochs: int | str = "auto",
        early_stopping: bool = True,
        validation: Any = 0.1,  # noqa: ANN401 - float, splitter or pairs
        patience: int | str | None = "auto",
        standardize: bool = True,
        precision: str = "float32",
        device: Any = "auto",  # noqa: ANN401 - str or torch.device
        mixed_precision: str | None = None,
        compile: bool = False,
        distributed: bool = False,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int = 1,
        record: Any = None,  # noqa: ANN401 - Recording, or several
        task_column: str | int | None = None,
        unseen_tasks: str = "error",
        verbose: bool = False,
        random_state: Any = None,  # noqa: ANN401 - int, RandomState or None
    ) -> None:
        self.trunk = trunk
        self.sharing = sharing
        self.heads = heads
        self.loss = loss
        self.penalties = penalties
        self.balancer = balancer
        self.balance_at = balance_at
        self.task_weight = task_weight
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing
        self.task_sampling = task_sampling
        self.mixup = mixup
        self.mixup_across_tasks = mixup_across_tasks
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.final_phase = final_phase
        self.schedule = schedule
        self.batch_size = batch_size
        self.accumulate = accumulate
        self.clip_norm = clip_norm
        self.max_epochs = max_epochs
        self.early_stopping = early_stopping
        self.validation = validation
        self.patience = patience
        self.standardize = standardize
        self.precision = precision
        self.device = device
        self.mixed_precision = mixed_precision
        self.compile = compile
        self.distributed = distributed
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.record = record
        self.task_column = task_column
        self.unseen_tasks = unseen_tasks
        self.verbose = verbose
        self.random_state = random_state

    def _outcomes(self, data: TaskData) -> Outcomes:
        return classification(data, self.loss, type(self).__name__)

    def predict_proba(self, X: Any, task: Any = None) -> Any:  # noqa: ANN401
        """Return class probabilities.

        Parameters
        ----------
        X, task
            As in :meth:`predict`.

        Returns
        -------
        ndarray of shape (n, n_classes), list of ndarray, or mapping
            In the order of ``classes_``, 0 for classes that a task lacks; for a target
            matrix a list with one array per target; for a mapping a mapping.
        """
        return probabilities(self._fitted_tasks(), self._read(X, task))

    def decision_function(self, X: Any, task: Any = None) -> Any:  # noqa: ANN401
        """Return predictors: what the heads give before they become probabilities.

        Parameters
        ----------
        X, task
            As in :meth:`predict`.

        Returns
        -------
        ndarray of shape (n,) or (n, n_classes), or mapping
            -inf for classes that a task lacks. For a target matrix of shape (n, columns): one
            column per target of two classes, and one per class of a target of several.
        """
        return decisions(self._fitted_tasks(), self._read(X, task))

    def __sklearn_tags__(self) -> Tags:
        """Say that this is a classifier."""
        tags = super().__sklearn_tags__()
        tags.estimator_type = "classifier"
        tags.classifier_tags = ClassifierTags(multi_class=True, multi_label=False)
        return tags
