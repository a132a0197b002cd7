"""The estimator of meta-learning: fit on many tasks, adapt to a new one with a few rows."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from polytask._checks import below_one, one_of, positive, positive_integer, sentence
from polytask._estimator import Outcomes, Query, mixed, regression
from polytask._estimator.base import label_array
from polytask._estimator.card import checksum, counted_card
from polytask._estimator.classes import ProbabilityMixin, has_classes, keep_classes, probabilities
from polytask._estimator.outcomes import codes_of
from polytask._estimator.predictors import labels_from, probabilities_from
from polytask._estimator.query import read_query
from polytask._estimator.scaling import FeatureScaling, refuse_huge_values
from polytask._estimator.scoring import LossTasks
from polytask._estimator.training import is_task_mapping
from polytask._linalg import is_sparse
from polytask._registry import State, fields_of, saveable
from polytask.data import Form, LabelIndex, TaskData, tables
from polytask.deep.fitting import prepare, seed_of
from polytask.deep.meta import MAML, Episodes, MetaMethod, MetaNetwork, padded
from polytask.deep.network import (
    MLP,
    PRECISIONS,
    Network,
    NetworkPlan,
    category_blocks,
    device_of,
    trunk_of,
)
from polytask.deep.regularise import Penalties, ToStart
from polytask.deep.regularise.matrices import NORMS
from polytask.deep.rows import DEEP_READING, CachedRows, TableRows, design_of, table_rows
from polytask.deep.sharing import Hard
from polytask.deep.training.history import History, TrainingResult
from polytask.deep.training.loop import fit_network
from polytask.deep.training.settings import FUSED, MakeOptimizer, Training, require_by_layer
from polytask.exceptions import DataError, IncompatibleError, ParameterError
from polytask.losses import Loss
from polytask.messages import LazyMessage
from polytask.penalties import Penalty

Array = NDArray[Any]
# Rows that go through the network at a time, and tasks that take their steps together.
_CHUNK, _TOGETHER = 4096, 32
# Steps of training to aim for, and epochs at least.
_STEPS, _EPOCHS = 5_000, 20
_NEW = "new"


@saveable("deep.meta.tasks")
@dataclass(frozen=True, eq=False)
class MetaTasks:
    """Initial weights, and those of every task. Shapes: present (n_tasks, n_features)."""

    # `weights` are those of the module of training, `own` those that adapt, with a first axis of
    # tasks. Targets are in units of `target_scale`, about `target_mean`.

    plan: NetworkPlan
    method: MetaMethod
    steps: int
    weights: Mapping[str, Array]
    own: Mapping[str, Array]
    scaling_mean: NDArray[np.float64]
    scaling_scale: NDArray[np.float64]
    target_mean: float
    target_scale: float
    union: Array | None
    present: NDArray[np.bool_] | None
    device: str

    def to_state(self) -> State:
        """Return the fields by name."""
        return fields_of(self) | {"device": "auto"}

    @classmethod
    def from_state(cls, state: State) -> MetaTasks:
        """Rebuild the object from :meth:`to_state`; a module of other weights is refused."""
        tasks = cls(**state)
        _ = tasks.learner
        return tasks

    @property
    def slices(self) -> tuple[slice, ...]:
        """The columns of each task, all from one head."""
        count = len(next(iter(self.own.values())))
        return (slice(0, self.plan.widths[0]),) * count

    @property
    def losses(self) -> tuple[Loss, ...]:
        """The loss of each task."""
        return self.plan.losses * len(self.slices)

    @cached_property
    def learner(self) -> MetaNetwork:
        """The network with its initial weights."""
        with torch.random.fork_rng(devices=[]):
            network = self.plan.build(device_of(self.device, "load"))
        learner = MetaNetwork(network, self.method, self.plan.losses[0], 1).to(
            next(network.parameters()).device
        )
        weights = {name: torch.from_numpy(np.array(w)) for name, w in self.weights.items()}
        try:
            learner.load_state_dict(weights)
        except RuntimeError as error:
            told = str(error).partition(":")[2].strip().splitlines()[0]
            raise DataError(LazyMessage("deep.refusal.other_trunk", {"reason": told})) from error
        return learner.eval()

    @property
    def scaling(self) -> FeatureScaling:
        """How features are scaled before the network."""
        mean, scale = self.scaling_mean, self.scaling_scale
        return FeatureScaling(mean, scale, active=bool(mean.any() or np.any(scale != 1.0)))

    def loss_of(self, task: int) -> Loss:
        """Return the loss of a task, that of all."""
        return self.plan.losses[0]

    def classes_of(self, task: int) -> Array | None:
        """Return the classes of a task, those of all."""
        return self.union

    @torch.no_grad()
    def eta(self, X: Any, task: int) -> Array:  # noqa: ANN401 - rows of a query
        """Return predictors in original units, (n_rows, K); task -1 has the initial weights."""
        values = X.values if isinstance(X, CachedRows) else X
        place = self.plan.place(next(self.learner.parameters()).device)
        exists = None
        if self.present is not None and task >= 0:
            exists = np.broadcast_to(self.present[task], values.shape)
        design = design_of(self.scaling.features(values, exists), place)
        own: dict[str, Any] = {}
        if task >= 0:
            own = {name: place.numbers(w[task]) for name, w in self.own.items()}
        parts = [np.zeros((0, self.plan.widths[0]))]
        for start in range(0, values.shape[0], _CHUNK):
            x = design.take(np.arange(start, min(start + _CHUNK, values.shape[0])))
            parts.append(torch.func.functional_call(self.learner.network, own, (x,)).cpu().numpy())
        eta = np.concatenate(parts) * self.target_scale + self.target_mean
        if not np.isfinite(eta).all():
            matrix = values.data if is_sparse(values) else np.asarray(values)
            largest = f"{float(np.abs(matrix).max(initial=0.0)):.3g}"
            fields = {"precision": self.plan.precision, "largest": largest}
            raise DataError(LazyMessage("deep.refusal.too_large", fields))
        return eta.astype(values.dtype, copy=False)

    def probabilities(self, X: Any, task: int) -> Array:  # noqa: ANN401 - rows of a query
        """Return class probabilities, (n_rows, n_classes)."""
        return probabilities_from(self.eta(X, task), self.union, self.loss_of(task))

    def learned(self, rows: TableRows, own: Sequence[NDArray[np.intp]]) -> dict[str, Array]:
        """Return the weights of tasks after their steps on the rows of each."""
        order = sorted(range(len(own)), key=lambda t: len(own[t]))
        count = max(1, min(_TOGETHER, 16 * _CHUNK // max(len(own[order[-1]]), 1)))
        found: dict[str, list[Array]] = {name: [] for name in self.learner.adapting}
        for first in range(0, len(order), count):
            part = padded(rows, [own[t] for t in order[first : first + count]])
            for name, values in self.learner.adapted([part], self.steps, False).items():
                found[name].append(values.detach().cpu().numpy())
        back = np.argsort(order)
        return {name: np.concatenate(values)[back] for name, values in found.items()}


@saveable("deep.meta.learner")
@dataclass(eq=False, repr=False)
class MetaLearner(ProbabilityMixin):
    """Meta-learning: initial weights from which a few steps on a few rows learn a task.

    Each step of training draws some tasks, and of each some rows to learn from (the support) and
    others to be judged by (the query). Then a known task is predicted with the weights that the
    steps lead to on all of its rows, and a new one with those that its few rows lead to. All
    tasks have one loss, one unit of the target and one set of classes, each task rows of its own.

    Parameters
    ----------
    trunk : MLP, nn.Module or None, default=None
        What turns features into a representation, below one linear head; None is
        ``MLP((40, 40))``. Batch norm is refused.
    method : MAML, ANIL, Reptile, MetaSGD or None, default=None
        How tasks learn from the initial weights; None is ``MAML()``.
    loss : "auto", str or Loss, default="auto"
        The loss of every row; "auto": text, booleans and whole numbers with two distinct values
        are classes, all other numbers are numbers. "multinomial" for whole numbers that are
        several classes.
    support : int, default=10
        Rows of a task that the steps see in training: about as many as new tasks will have. A
        task with fewer than twice as many is halved; one with a single row is not trained on.
    query : int or None, default=None
        Rows of a task that judge its steps, at most; None is as many as `support`.
    tasks_per_step : int, default=8
        Tasks whose losses make one step of the initial weights.
    adapt_steps : int or None, default=None
        Steps that a task takes in the end and in :meth:`adapt`; None: those of the method.
    penalties : mapping of str to Penalty, or None, default=None
        Penalties of the initial weights by layer, such as ``{"input": L21(1e-3)}``, as for
        :class:`DeepMultiTaskRegressor`; the one head is "heads". How far tasks go from the
        initial weights is penalised by `proximal` of the method.
    balancer : object of :mod:`polytask.deep.balancing` or None, default=None
        Weights of the tasks of a step; those of gradients measure them at the initial weights,
        through the steps. ``AutoLambda`` learns them from the tasks held out, which its `primary`
        must be among. None: the plain sum.
    optimizer : callable or None, default=None
        Takes the parameters and returns an optimiser; None is Adam with `learning_rate`.
    learning_rate : float, default=1e-3
        Of the initial weights.
    max_epochs : int or "auto", default="auto"
        Passes over the tasks at most; "auto" is as many as make 5,000 steps, at least 20.
    validation : float, default=0.1
        The share of the tasks that are held out and judge an epoch, in [0, 1); none where it is
        less than one task: then the last epoch is kept.
    patience : int or None, default=None
        Epochs without improvement after which training stops; None: never.
    standardize : bool, default=True
        Subtract one mean and divide by one standard deviation per feature, over all rows.
    precision : {"float32", "float64"}, default="float32"
        Of weights and computations.
    device : str or torch.device, default="auto"
        Where to train; "auto" is a CUDA card if there is one.
    task_column : str, int or None, default=None
        The column of X that holds the task labels.
    unseen_tasks : {"error", "shared"}, default="error"
        What to do with unknown tasks in ``predict``: refuse, or predict with the initial weights.
    verbose : bool, default=False
        Whether to show progress on the error stream.
    random_state : int, RandomState or None, default=None
        The seed of everything random.
    date_features : bool, default=False
        Whether columns of dates become features.

    Attributes
    ----------
    network_ : nn.Module
        The network with the initial weights, which reads scaled features.
    history_ : History
        Losses of the query rows, after the steps, by epoch and task.
    solution_ : TrainingResult
        How training ended (`status`, a sentence), the epoch kept and its losses.
    n_iter_ : int
        Epochs done.
    tasks_ : ndarray of shape (n_tasks,)
        The tasks.
    classes_ : ndarray of shape (n_classes,)
        The classes, only where there are some.
    n_features_in_ : int
        Columns of X as given.

    References
    ----------
    Hospedales, T., Antoniou, A., Micaelli, P. and Storkey, A. (2022). Meta-learning in neural
    networks: a survey. IEEE TPAMI 44(9), 5149-5169.

    Examples
    --------
    >>> import numpy as np
    >>> from polytask.deep import MLP, MAML, MetaLearner
    >>> rng = np.random.default_rng(0)
    >>> X, school = rng.standard_normal((120, 4)), np.repeat(np.arange(6), 20)
    >>> y = np.abs(X[:, 0]) + school * X[:, 1]
    >>> model = MetaLearner(MLP((16,)), MAML(steps=2), max_epochs=5, random_state=0)
    >>> model = model.fit(X, y, task=school)
    >>> model.adapt(X[:5], y[:5], task="other").predict(X[:3], task=["other"] * 3).shape
    (3,)
    """

    trunk: Any = None  # MLP, nn.Module or None
    method: MetaMethod | None = None
    _: KW_ONLY
    loss: Any = "auto"  # str or Loss
    support: int = 10
    query: int | None = None
    tasks_per_step: int = 8
    adapt_steps: int | None = None
    penalties: Mapping[str, Penalty | ToStart] | None = None
    balancer: Any = None  # two kinds, which are protocols
    optimizer: MakeOptimizer | None = None
    learning_rate: float = 1e-3
    max_epochs: int | str = "auto"
    validation: float = 0.1
    patience: int | None = None
    standardize: bool = True
    precision: str = "float32"
    device: Any = "auto"  # str or torch.device
    task_column: str | int | None = None
    unseen_tasks: str = "error"
    verbose: bool = False
    random_state: Any = None  # int, RandomState or None
    date_features: bool = False

    _reading = DEEP_READING
    _is_network = True
    # A new task has the unit of all others. Without annotation: no parameter.
    scale_targets = "common"

    def _fit_data(self, data: TaskData, raw: TaskData) -> None:
        owner = type(self).__name__
        method, training = self._settings(owner)
        if data.form is Form.TARGETS:
            raise IncompatibleError(LazyMessage("deep.refusal.meta_matrix", {"owner": owner}))
        outcomes = _of_one_loss(mixed(data, self.loss, owner), data, owner)
        prepared = prepare(self, data, outcomes)
        learned, seed = prepared.learned, seed_of(self)
        plan = NetworkPlan(
            trunk=MLP((40, 40)) if self.trunk is None else trunk_of(self.trunk, owner),
            sharing=Hard(),
            n_features=data.n_features,
            losses=outcomes.losses[:1],
            widths=outcomes.n_outputs[:1],
            precision=self.precision,
            blocks=category_blocks(self.encoder_),
        )
        device = device_of(self.device, owner)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = plan.build(device)
        _refuse_batch_norm(network, owner)
        learner = MetaNetwork(network, method, outcomes.losses[0], data.n_tasks).to(device)
        rows = prepared.rows(data, None, plan.place(device))
        own = [np.flatnonzero(prepared.weight[data.task_slice(t)] > 0) + data.task_slice(t).start
               for t in range(data.n_tasks)]  # fmt: skip
        self.history_, self.solution_ = self._trained(learner, rows, own, training, seed)
        self.n_iter_ = self.solution_.n_iter
        self.task_weight_sums_ = learned.counts
        keep_classes(self, outcomes)
        tasks = MetaTasks(
            plan=plan,
            method=method,
            steps=method.steps if self.adapt_steps is None else self.adapt_steps,
            weights={name: w.cpu().numpy() for name, w in learner.state_dict().items()},
            own={},
            scaling_mean=learned.features.mean,
            scaling_scale=learned.features.scale,
            target_mean=float(learned.targets.mean[0]),
            target_scale=float(learned.targets.scale[0]),
            union=outcomes.union,
            present=data.present,
            device=str(device),
        )
        self._tasks = replace(tasks, own=tasks.learned(rows, own))

    def _settings(self, owner: str) -> tuple[MetaMethod, Training]:
        """Check the parameters."""
        for name in ("support", "tasks_per_step"):
            positive_integer(getattr(self, name), name, owner)
        for name in ("query", "adapt_steps"):
            if getattr(self, name) is not None:
                positive_integer(getattr(self, name), name, owner)
        require_by_layer(self.penalties, owner)
        one_of(self.standardize, "standardize", owner, (True, False))
        one_of(self.precision, "precision", owner, PRECISIONS)
        below_one(self.validation, "validation", owner)
        rate = positive(self.learning_rate, "learning_rate", owner)
        method = MAML() if self.method is None else self.method
        if not isinstance(method, MetaMethod):
            fields = {"module": "polytask.deep", "example": "MAML(steps=5)"}
            allowed = LazyMessage("allowed.none_or_object", fields)
            raise ParameterError(sentence("method", owner, allowed, repr(method)))
        epochs: Any = _EPOCHS if self.max_epochs == "auto" else self.max_epochs
        if isinstance(epochs, str):
            allowed = LazyMessage("allowed.auto_or_from_one")
            raise ParameterError(sentence("max_epochs", owner, allowed, repr(self.max_epochs)))
        default = functools.partial(FUSED, lr=rate, weight_decay=0.0)
        training = Training(
            optimizer=default if self.optimizer is None else self.optimizer,
            max_epochs=epochs,
            patience=self.patience,
            verbose=self.verbose,
            owner=owner,
        )
        return method, training

    def _trained(
        self,
        learner: MetaNetwork,
        rows: TableRows,
        own: Sequence[NDArray[np.intp]],
        training: Training,
        seed: int,
    ) -> tuple[History, TrainingResult]:
        """Train the initial weights in place."""
        tasks = self._schema.index.labels
        order = np.random.default_rng(seed).permutation(len(tasks))
        able = order[[len(own[t]) > 1 for t in order.tolist()]]
        held = int(self.validation * len(able))
        sizes = self.support, self.support if self.query is None else self.query
        make = functools.partial(
            Episodes, rows, own, sizes=sizes, tasks_per_step=self.tasks_per_step, seed=seed
        )
        batches = make(np.sort(able[held:]))
        if not len(batches):
            fields = {"owner": type(self).__name__}
            raise DataError(LazyMessage("deep.refusal.meta_rows", fields))
        if self.max_epochs == "auto":
            per_epoch = -(-len(batches) // self.tasks_per_step)
            training = replace(training, max_epochs=max(_EPOCHS, -(-_STEPS // per_epoch)))
        return fit_network(
            learner,
            batches,
            training,
            held_out=make(np.sort(able[:held]), fixed=True) if held else None,
            everything=make(np.sort(able[held:]), fixed=True),
            tasks=tasks,
            balancer=self.balancer,
            penalties=Penalties(learner.network, self.penalties or {}),
            seed=seed,
        )

    def adapt(
        self,
        X_new: Any,  # noqa: ANN401
        y_new: Any = None,  # noqa: ANN401
        task: Any = None,  # noqa: ANN401
        sample_weight: Any = None,  # noqa: ANN401
    ) -> Self:
        """Return a copy of the model that knows new tasks too, each learned from its few rows.

        Parameters
        ----------
        X_new : array, sparse matrix or table of shape (k, d), TaskData, or mapping
            The rows of one or several new tasks, as in :meth:`fit`.
        y_new : array of shape (k,) or None, default=None
            Their targets.
        task : label, array of shape (k,) or None, default=None
            The task of all rows, or of each; None is the task column of the model, or without
            one a task that is called "new".
        sample_weight : array of shape (k,) or None, default=None
            Weights of the rows.

        Returns
        -------
        MetaLearner
            The model itself is not changed; its tasks are predicted as before.

        Raises
        ------
        DataError
            If a task is known already, a class is not, or the rows cannot be used.
        """
        check_is_fitted(self)
        owner, schema, tasks = type(self).__name__, self._schema, self._tasks
        column = schema.task_column
        named = isinstance(X_new, TaskData) or is_task_mapping(X_new)
        if not named and (
            (task is None and column is None) or isinstance(task, str | int | np.generic)
        ):
            in_table = isinstance(task, str) and tables.is_table(X_new)
            if not (in_table and task in tables.column_names(X_new)):
                label = _NEW if task is None else task
                count = X_new.shape[0] if hasattr(X_new, "shape") else len(X_new)
                task = np.array([label] * count, dtype=object)
        used = None if named or task is not None else column
        raw = self._reading.training(X_new, y_new, task, sample_weight, used, owner)
        if raw.form is Form.TARGETS:
            raise IncompatibleError(LazyMessage("deep.refusal.meta_matrix", {"owner": owner}))
        known = [label for label in raw.tasks if label in set(schema.index.labels)]
        if known:
            fields = {"task": repr(known[0])}
            raise DataError(LazyMessage("transfer.refusal.known_task", fields))
        data = read_query(schema, raw, None, "shared").data
        X = data.X
        refuse_huge_values(X, "X", owner)
        if tasks.union is None:
            y = regression(raw, tasks.loss_of(-1), owner).y
        else:
            y = codes_of(np.asarray(raw.y), tasks.union, owner)
        weight = np.ones(len(y)) if raw.sample_weight is None else raw.sample_weight
        place = tasks.plan.place(next(tasks.learner.parameters()).device)
        scaled = (y - tasks.target_mean) / tasks.target_scale
        features = tasks.scaling.features(X, None)
        rows = table_rows(features, scaled, weight, raw.row_tasks(), raw.n_tasks, place)
        own = [
            np.arange(part.start, part.stop) for part in map(raw.task_slice, range(raw.n_tasks))
        ]
        return self._with_tasks(data, tasks.learned(rows, own), weight)

    def _with_tasks(self, data: TaskData, learned: Mapping[str, Array], weight: Array) -> Self:
        """Return a copy that knows the tasks of some rows too."""
        new, old, schema = copy.copy(self), self._tasks, self._schema
        new._forget_held_out()
        present = schema.present
        if present is not None:
            present = np.vstack([present, np.ones((data.n_tasks, present.shape[1]), dtype=bool)])
        own = {name: np.concatenate([w, learned[name]]) for name, w in old.own.items()}
        new._tasks = replace(old, own=own, present=present)
        labels = (*schema.index.labels, *data.tasks)
        new._schema = replace(schema, index=LabelIndex(labels), present=present)
        new.tasks_ = label_array(labels)
        if old.union is not None:
            new.task_classes_ = dict.fromkeys(labels, old.union)
        sums = [weight[data.task_slice(t)].sum() for t in range(data.n_tasks)]
        new.task_weight_sums_ = np.append(self.task_weight_sums_, sums)
        counts = dict(zip(data.tasks, data.task_rows().tolist(), strict=True))
        new.data_card_ = counted_card(self.data_card_, counts, data.n_rows, checksum(data))
        return new

    @property
    def network_(self) -> Network:
        """The network with the initial weights, in evaluation mode."""
        check_is_fitted(self)
        return self._tasks.learner.network

    def _predict_task(self, X: Any, task: int) -> Array:  # noqa: ANN401 - rows of a query
        eta = self._tasks.eta(X, task)
        return labels_from(eta, self._tasks.union, self._tasks.loss_of(task))

    def _by_loss(self) -> LossTasks:
        return self._tasks

    def _has_probabilities(self) -> bool:
        return has_classes(self)

    def _class_probabilities(self, query: Query) -> Any:  # noqa: ANN401
        return probabilities(self._tasks, query)

    def __sklearn_tags__(self) -> Tags:
        """Say that y has one column."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = False
        return tags


def _of_one_loss(outcomes: Outcomes, data: TaskData, owner: str) -> Outcomes:
    """Return targets as codes of the classes of all tasks; refuse several losses."""
    names = sorted({loss.name for loss in outcomes.losses})
    if len(names) > 1:
        fields = {"owner": owner, "names": names}
        raise IncompatibleError(LazyMessage("deep.refusal.meta_losses", fields))
    union = outcomes.union
    if union is None:
        return outcomes
    if len(union) < 2:
        fields = {"owner": owner, "got": str(union.tolist())}
        raise DataError(LazyMessage("estimator.refusal.one_class", fields))
    place = {label: float(k) for k, label in enumerate(union.tolist())}
    y = outcomes.y.copy()
    for t, classes in enumerate(outcomes.classes):
        own = data.task_slice(t)
        codes = np.array([place[label] for label in np.asarray(classes).tolist()])
        y[own] = codes[y[own].astype(np.intp)]
    return replace(outcomes, y=y, classes=(union,) * data.n_tasks)


def _refuse_batch_norm(network: Network, owner: str) -> None:
    """Refuse norms whose statistics are of the rows of one task, or change while it learns."""
    batch, instance = NORMS[:2]
    for name, module in network.named_modules():
        if isinstance(module, batch | instance):
            fields = {"owner": owner, "kind": type(module).__name__, "name": repr(name)}
            raise IncompatibleError(LazyMessage("deep.refusal.meta_norm", fields))
