"""Alignment of domains: penalties on how the representations of the rows of tasks differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, final, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polytask._checks import positive, positive_integer, sentence
from polytask._estimator.training import is_task_mapping
from polytask._registry import saveable
from polytask.data import TaskData, tables
from polytask.data.missing import missing_mask
from polytask.exceptions import DataError, ParameterError
from polytask.messages import LazyMessage

__all__ = ["CORAL", "MMD", "Adversarial", "Alignment", "reverse_gradient"]

# Of the mean squared distance of two rows: squared bandwidths of kernels, where none are given.
_SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)


@runtime_checkable
class Alignment(Protocol):
    """A description of a penalty on a representation."""

    def build(self, width: int, n_tasks: int) -> nn.Module:
        """Return a module that takes features (n, width) and the task of each row, (n,).

        It returns the penalty, a tensor of shape (), 0 for rows of one task.
        """
        ...


@final
@saveable("deep.align.coral")
@dataclass(frozen=True)
class CORAL:
    """Correlation alignment: the covariances of the representation are alike [1]_.

    The mean, over pairs of tasks with at least two rows in the batch, of the squared Frobenius
    distance of their covariances over 4 width^2. Means may differ.

    Parameters
    ----------
    strength : float, default=1.0
        What multiplies it, > 0.

    References
    ----------
    .. [1] Sun, B. and Saenko, K. (2016). Deep CORAL: correlation alignment for deep domain
       adaptation. ECCV workshops, 443-450, Equation 1.

    Examples
    --------
    >>> import torch
    >>> from polytask.deep.align import CORAL
    >>> alignment = CORAL(0.5).build(width=2, n_tasks=2)
    >>> features, task = torch.eye(4)[:, :2], torch.tensor([0, 0, 1, 1])
    >>> float(alignment(features, task))
    0.03125
    """

    strength: float = 1.0

    def __post_init__(self) -> None:
        positive(self.strength, "strength", "CORAL")

    def build(self, width: int, n_tasks: int) -> nn.Module:
        """Return the module; see :class:`Alignment`."""

        def term(features: Tensor, task: Tensor) -> Tensor:
            own = [features[task == t] for t in torch.unique(task)]
            covariances = [
                torch.cov(rows.T).reshape(width, width) for rows in own if len(rows) > 1
            ]
            if len(covariances) < 2:
                return features.new_zeros(())
            # The mean over pairs, from the distances to the mean covariance.
            C, m = torch.stack(covariances), len(covariances)
            return 2 / (m - 1) * (C - C.mean(0)).square().sum() / (4 * width**2)

        return _Term(self.strength, term)


@final
@saveable("deep.align.mmd")
@dataclass(frozen=True)
class MMD:
    """Maximum mean discrepancy: the distributions of the representation are alike [1]_.

    The mean, over pairs of tasks in the batch, of the squared distance of their mean embeddings,
    in the mean of Gaussian kernels exp(-distance^2 / (2 bandwidth^2)).

    Parameters
    ----------
    strength : float, default=1.0
        What multiplies it, > 0.
    bandwidths : tuple of float or None, default=None
        Bandwidths of the kernels, in units of the representation; None: five whose squares are
        1/4 to 4 times half the mean squared distance of two rows of the batch.

    References
    ----------
    .. [1] Long, M., Cao, Y., Wang, J. and Jordan, M. (2015). Learning transferable features with
       deep adaptation networks. ICML, 97-105, Equations 2 and 3.
    """

    strength: float = 1.0
    bandwidths: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        positive(self.strength, "strength", "MMD")
        for bandwidth in self.bandwidths or ():
            positive(bandwidth, "bandwidths", "MMD")

    def build(self, width: int, n_tasks: int) -> nn.Module:
        """Return the module; see :class:`Alignment`."""

        def term(features: Tensor, task: Tensor) -> Tensor:
            present = torch.unique(task)
            if len(present) < 2:
                return features.new_zeros(())
            squares = (features[:, None] - features[None]).square().sum(-1)
            if self.bandwidths is None:
                mean = float(squares.detach().mean()) or 1.0
                doubled = [scale * mean for scale in _SCALES]
            else:
                doubled = [2 * bandwidth**2 for bandwidth in self.bandwidths]
            K = torch.stack([torch.exp(-squares / two) for two in doubled]).mean(0)
            shares = (task == present[:, None]).to(K)
            shares = shares / shares.sum(1, keepdim=True)
            M, m = shares @ K @ shares.T, len(present)
            # The mean over pairs of M_ss + M_tt - 2 M_st.
            apart: Tensor = m * M.trace() - M.sum()
            return 2 / (m * (m - 1)) * apart

        return _Term(self.strength, term)


@final
@saveable("deep.align.adversarial")
@dataclass(frozen=True)
class Adversarial:
    """A discriminator learns to tell the tasks of rows apart; the layers learn to prevent it [1]_.

    The loss of the discriminator, a network with one hidden layer, is added to the objective;
    what flows back to the representation is reversed, and multiplied by the strength.

    Parameters
    ----------
    strength : float, default=0.1
        What the reversed gradient is multiplied by, > 0.
    hidden : int, default=32
        Units of the discriminator.

    References
    ----------
    .. [1] Ganin, Y. et al. (2016). Domain-adversarial training of neural networks. Journal of
       Machine Learning Research 17(59), 1-35, Equations 9 and 18.
    """

    strength: float = 0.1
    hidden: int = 32

    def __post_init__(self) -> None:
        positive(self.strength, "strength", "Adversarial")
        positive_integer(self.hidden, "hidden", "Adversarial")

    def build(self, width: int, n_tasks: int) -> nn.Module:
        """Return the module, whose weights are to be trained; see :class:`Alignment`."""
        layers = nn.Linear(width, self.hidden), nn.ReLU(), nn.Linear(self.hidden, n_tasks)
        discriminator = nn.Sequential(*layers)

        def term(features: Tensor, task: Tensor) -> Tensor:
            told = discriminator(reverse_gradient(features, self.strength))
            return nn.functional.cross_entropy(told, task)

        module = _Term(1.0, term)
        module.add_module("discriminator", discriminator)
        return module


class _Term(nn.Module):
    """A strength times a term of features and tasks."""

    def __init__(self, strength: float, term: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self._strength, self._term = strength, term

    def forward(self, features: Tensor, task: Tensor) -> Tensor:
        """Return the term."""
        return self._strength * self._term(features, task)


class _Reversed(torch.autograd.Function):
    """The identity, whose gradient is taken the other way."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, strength: float) -> Tensor:  # noqa: ANN401
        ctx.strength = strength
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        return -ctx.strength * grads[0], None


def reverse_gradient(values: Tensor, strength: float = 1.0) -> Tensor:
    """Return the values themselves; their gradient is multiplied by minus the strength.

    Parameters
    ----------
    values : Tensor
        Any values.
    strength : float, default=1.0
        The factor.
    """
    found: Tensor = _Reversed.apply(values, strength)  # type: ignore[no-untyped-call]
    return found


def alignment_of(alignment: object, owner: str) -> Alignment | None:
    """Return an alignment, or None; refuse what is something else."""
    if alignment is None:
        return None
    if isinstance(alignment, type) or not isinstance(alignment, Alignment):
        fields = {"module": "polytask.deep.align", "example": "CORAL(1.0)"}
        allowed = LazyMessage("allowed.none_or_object", fields)
        raise ParameterError(sentence("alignment", owner, allowed, repr(alignment)))
    return alignment


def filled_targets(X: Any, y: Any, owner: str) -> tuple[Any, Any, NDArray[np.bool_]]:  # noqa: ANN401
    """Return X and y with some label in each row without one, and which rows these are."""
    if is_task_mapping(X):
        pairs = {t: (v if isinstance(v, tuple) else (v, None)) for t, v in X.items()}
        own = [_targets(y_t, len(tables.open_frame(X_t)) if tables.is_table(X_t) else X_t.shape[0])
               for X_t, y_t in pairs.values()]  # fmt: skip
        y, missing = _filled(np.concatenate(own), owner)
        parts = np.split(y, np.cumsum([len(part) for part in own])[:-1])
        joined = zip(pairs.items(), parts, strict=True)
        return {t: (X_t, part) for (t, (X_t, _)), part in joined}, None, missing
    if isinstance(X, TaskData) or y is None or isinstance(y, str):
        return X, y, np.zeros(0, dtype=bool)
    y, missing = _filled(np.asarray(y), owner)
    return X, y, missing


def _targets(y: Any, n: int) -> NDArray[Any]:  # noqa: ANN401
    return np.full(n, None) if y is None else np.asarray(y).astype(object)


def _filled(y: NDArray[Any], owner: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    missing = missing_mask(y) if y.ndim == 1 else np.zeros(0, dtype=bool)
    if not missing.any():
        return y, np.zeros(0, dtype=bool)
    if missing.all():
        allowed = LazyMessage("allowed.some_labels")
        raise DataError(sentence("y", owner, allowed, LazyMessage("got.none")))
    seen = y[~missing]
    y = np.where(missing, seen[0], y)
    # Whole numbers and text that had to make room for gaps are again what they were.
    return np.array(y.tolist()) if y.dtype == object else y, missing


def without_weight(data: TaskData, missing: NDArray[np.bool_]) -> TaskData:
    """Return rows of which those without a label have weight 0, and stay."""
    weight = np.ones(data.n_rows) if data.sample_weight is None else data.sample_weight
    return replace(data, sample_weight=np.where(missing[data.order], 0.0, weight))
