"""Label smoothing for the losses of classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from polytask._checks import number, sentence
from polytask._linalg import Array, counting, namespace
from polytask._registry import State, saveable
from polytask.exceptions import IncompatibleError, ParameterError
from polytask.losses import Logistic, Loss, Multinomial


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
        """Check the loss and the amount."""
        if not isinstance(self.loss, Logistic | Multinomial):
            allowed = "Logistic() or Multinomial(), whose labels can be smoothed"
            raise IncompatibleError(sentence("loss", "SmoothedLabels", allowed, repr(self.loss)))
        allowed = "a number in [0, 1)"
        if not 0 <= number(self.amount, "amount", "SmoothedLabels", allowed) < 1:
            raise ParameterError(sentence("amount", "SmoothedLabels", allowed, repr(self.amount)))

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
