"""Mixup of rows within tasks and across them, and smoothed labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from polytask._checks import below_one, positive, sentence
from polytask._linalg import Array, counting, namespace
from polytask._registry import State, saveable
from polytask.exceptions import DataError, IncompatibleError
from polytask.losses import Logistic, Loss, Multinomial
from polytask.messages import LazyMessage


@final
@saveable("loss.smoothed_labels")
@dataclass(frozen=True)
class SmoothedLabels(Loss):
    """Label smoothing: the label counts 1 - amount, and all classes together the amount.

    The loss of a sample becomes (1 - amount) loss(y) + amount times the mean of loss(k) over the
    K classes of the task [1]_. It keeps probabilities away from 0 and 1, where training would
    otherwise push them for ever; probabilities are then shrunk, so not for models whose
    probabilities are used as they are.

    Logistic and multinomial losses are linear in the target, so the smoothed loss is the loss
    plus amount * <onehot(y) - 1 / K, eta>: value, gradient and conjugate are exact. It works for
    NumPy arrays and torch tensors.

    Parameters
    ----------
    loss : Logistic or Multinomial
        The loss of the classes.
    amount : float, default=0.1
        What is taken from the label, in [0, 1).

    Raises
    ------
    IncompatibleError
        If the loss is another one.
    ParameterError
        If the amount is outside [0, 1).

    References
    ----------
    .. [1] Szegedy, C., Vanhoucke, V., Ioffe, S., Shlens, J. and Wojna, Z. (2016). Rethinking the
       Inception architecture for computer vision. CVPR, 2818-2826, Section 7.

    Examples
    --------
    >>> import torch
    >>> from polytask.losses import Logistic
    >>> from polytask.deep.regularise import SmoothedLabels
    >>> loss = SmoothedLabels(Logistic(), 0.2)
    >>> loss.gradient(torch.tensor([0.0, 1.0]), torch.zeros(2))
    tensor([ 0.4000, -0.4000])
    """

    loss: Loss
    amount: float = 0.1

    name = "smoothed labels"
    is_classifier = True

    def __post_init__(self) -> None:
        if not isinstance(self.loss, Logistic | Multinomial):
            allowed = LazyMessage("allowed.smoothable")
            raise IncompatibleError(sentence("loss", "SmoothedLabels", allowed, repr(self.loss)))
        below_one(self.amount, "amount", "SmoothedLabels")

    @property
    def curvature_bound(self) -> float:
        """That of the loss."""
        return self.loss.curvature_bound

    def _tilt(self, y: Array, eta: Array) -> Array:
        """Return what smoothing adds to the gradient, of the shape of eta."""
        xp = namespace(eta)
        y = xp.astype(y, eta.dtype, copy=False)
        if isinstance(self.loss, Logistic):
            return self.amount * (y - 0.5)
        # A column that a task lacks is padded with a huge negative number; it is no class.
        exists = xp.astype(eta > xp.finfo(eta.dtype).min / 8, eta.dtype)
        own = xp.astype(y[..., None] == counting(eta.shape[-1], eta), eta.dtype)
        return self.amount * (own - exists / xp.sum(exists, axis=-1, keepdims=True))

    def value(self, y: Array, eta: Array) -> Array:
        """Return the smoothed loss of each sample."""
        slope: Any = self._tilt(y, eta) * eta
        if not isinstance(self.loss, Logistic):
            slope = namespace(eta).sum(slope, axis=-1)
        return self.loss.value(y, eta) + slope

    def gradient(self, y: Array, eta: Array) -> Array:
        """Return the derivative in eta, of the shape of eta."""
        return self.loss.gradient(y, eta) + self._tilt(y, eta)

    def curvature(self, y: Array, eta: Array) -> Array:
        """Return the second derivative in eta, that of the loss."""
        return self.loss.curvature(y, eta)

    def conjugate(self, y: Array, u: Array) -> Array:
        """Return the Fenchel conjugate: that of the loss at u less what smoothing adds."""
        return self.loss.conjugate(y, u - self._tilt(y, u))

    def n_outputs(self, n_classes: int) -> int:
        """Return the number of columns of a task, that of the loss."""
        return self.loss.n_outputs(n_classes)

    def inverse_link(self, eta: Array) -> Array:
        """Return the probabilities."""
        return self.loss.inverse_link(eta)

    def to_state(self) -> State:
        """Return the loss and the amount."""
        return {"loss": self.loss, "amount": self.amount}


@final
@dataclass(frozen=True)
class MixedRows:
    """Twice as many rows: each mixed input with the labels of the one row, then of the other.

    Attributes
    ----------
    x : Tensor, or dictionary, list or tuple of inputs
        2 n inputs; row i and row n + i are the same.
    y : Tensor of shape (2 n,) or (2 n, n_tasks)
        The labels as they were.
    weight : Tensor, of the shape of y
        Weights of the labels: those given times the share of the row that a label came from.
    task : LongTensor of shape (2 n,) or None
        The task that each label belongs to.
    """

    x: Any
    y: Tensor
    weight: Tensor
    task: Tensor | None


def _partners(task: np.ndarray | None, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return a random partner for each row, in the same task if tasks are given."""
    first, second = rng.permutation(n), rng.permutation(n)
    if task is not None:
        # Both orders list the rows of task 0, then of task 1, ..., each in a random order.
        first = first[np.argsort(task[first], kind="stable")]
        second = second[np.argsort(task[second], kind="stable")]
    partner = np.empty(n, dtype=np.int64)
    partner[first] = second
    return partner


def _mixed(x: Any, partner: Tensor, share: Tensor) -> Any:  # noqa: ANN401 - inputs, as they came
    """Return inputs mixed with those of the partners, twice."""
    if x is None:
        return None
    if isinstance(x, dict):
        return {name: _mixed(part, partner, share) for name, part in x.items()}
    if isinstance(x, list | tuple):
        return type(x)(_mixed(part, partner, share) for part in x)
    if not isinstance(x, Tensor) or not x.is_floating_point():
        got = str(x.dtype) if isinstance(x, Tensor) else type(x).__name__
        raise DataError(LazyMessage("deep.refusal.mixup", {"got": got}))
    across = share.to(x.dtype).reshape(-1, *[1] * (x.ndim - 1))
    whole = across * x + (1.0 - across) * x[partner]
    return torch.cat([whole, whole])


def mixup(
    x: Any,  # noqa: ANN401 - a tensor, or a dictionary, list or tuple of tensors
    y: Tensor,
    task: Tensor | None = None,
    weight: Tensor | None = None,
    *,
    alpha: float = 0.2,
    across_tasks: bool = False,
    random_state: np.random.Generator | int | None = None,
) -> MixedRows:
    """Mix the rows of a batch in pairs.

    The input becomes s x_i + (1 - s) x_j with a share s drawn from Beta(alpha, alpha) for each
    row [1]_. Labels are never mixed: the mixed row counts with weight s for label i and with
    weight 1 - s for label j, which is the mixed label for every loss that is linear in it and
    has a meaning for every other, at the price of twice as many rows.

    Within tasks j is a row of the task of i. Across tasks j is any row: the prediction for the
    task of i is compared with label i, that for the task of j with label j. In the targets form,
    where every row belongs to all tasks (`task` is None), both are the same.

    Not for inputs where a point between two is no possible input (one-hot categories).

    Parameters
    ----------
    x : Tensor of shape (n, ...), or dictionary, list or tuple of such
        Inputs, real numbers; what is None stays None.
    y : Tensor of shape (n,) or (n, n_tasks)
        Labels.
    task : LongTensor of shape (n,) or None, default=None
        The task of each row; None: each row belongs to all.
    weight : Tensor of the shape of y, default=None
        Weights of the labels, 0 where one is missing; None: 1.
    alpha : float, default=0.2
        Small: nearly only one of the two rows; 1: uniform shares.
    across_tasks : bool, default=False
        Whether partners may be of another task.
    random_state : numpy Generator or int, default=None
        The draws; None: others each time.

    Returns
    -------
    MixedRows

    Raises
    ------
    DataError
        If an input is not of real numbers.

    References
    ----------
    .. [1] Zhang, H., Cisse, M., Dauphin, Y. N. and Lopez-Paz, D. (2018). mixup: beyond
       empirical risk minimization. ICLR, Equation 1.
    """
    alpha = positive(alpha, "alpha", "mixup")
    rng, n = np.random.default_rng(random_state), len(y)
    bound = None if task is None or across_tasks else task.cpu().numpy()
    partner = torch.from_numpy(_partners(bound, n, rng)).to(y.device)
    drawn = torch.from_numpy(rng.beta(alpha, alpha, size=n)).to(y.device)
    dtype = y.dtype if y.is_floating_point() else torch.get_default_dtype()
    known = torch.ones_like(y, dtype=dtype) if weight is None else weight
    share = drawn.to(known.dtype).reshape(-1, *[1] * (known.ndim - 1))
    return MixedRows(
        x=_mixed(x, partner, drawn),
        y=torch.cat([y, y[partner]]),
        weight=torch.cat([share * known, (1.0 - share) * known[partner]]),
        task=None if task is None else torch.cat([task, task[partner]]),
    )
