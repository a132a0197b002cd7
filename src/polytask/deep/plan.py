"""What a network is made of: enough to build it again."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from polytask._checks import sentence
from polytask._registry import saveable
from polytask.deep.categories import Block
from polytask.deep.heads import ColumnHeads
from polytask.deep.keras_models import as_module, precision_of
from polytask.deep.network import Network, width_of
from polytask.deep.own_layers import OwnLayers
from polytask.deep.regularise import SmoothedLabels
from polytask.deep.rows import Place
from polytask.deep.sharing import Hard, Sharing
from polytask.deep.terms import TaskLosses
from polytask.deep.trunk import MLP
from polytask.exceptions import DataError, ParameterError, PolytaskError
from polytask.losses import Logistic, Loss, Multinomial

# Of the trunk that None stands for; see docs/results/deep_accuracy.md.
_DROPPED = 0.1
PRECISIONS = {"float32": torch.float32, "float64": torch.float64}
# Rows with which the width of a representation is found.
_TRIED = 2


@saveable("deep.plan")
@dataclass(frozen=True, eq=False)
class Plan:
    """The parts of a network for tables."""

    trunk: Any
    sharing: Any
    n_features: int
    losses: tuple[Loss, ...]
    widths: tuple[int, ...]
    precision: str
    blocks: tuple[Block, ...] = ()
    smoothing: float = 0.0
    heads: MLP | None = None

    def place(self, device: torch.device) -> Place:
        """Return dtype and device of tensors."""
        return Place(PRECISIONS[self.precision], device)

    def build(self, device: torch.device) -> Network:
        """Return the network, its weights drawn from torch's own generator."""
        dtype, n_tasks = PRECISIONS[self.precision], len(self.losses)
        if isinstance(self.trunk, MLP):
            trunk = self.trunk.build(self.n_features, self.blocks, n_tasks).to(dtype)
        else:
            trunk = self._copied().to(dtype)
        sharing = self.sharing.build(trunk, n_tasks).to(dtype)
        width = self._width(sharing, dtype)
        own = None
        if self.heads is not None:
            own = OwnLayers(self.heads.build(width).to(dtype), n_tasks).to(dtype)
            width = int(own(torch.zeros(1, width, dtype=dtype), None).shape[-1])
        owners = np.repeat(np.arange(n_tasks), self.widths)
        heads = ColumnHeads(owners.tolist(), width).to(dtype)
        losses = TaskLosses([self._trained(loss) for loss in self.losses], self.widths)
        network = Network(sharing, heads, losses, own).to(device)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.register_forward_pre_hook(_refuse_one_row)
        return network

    def _copied(self) -> nn.Module:
        """Return a copy of a trunk that is a module."""
        trunk = copy.deepcopy(as_module(self.trunk))
        own = precision_of(trunk)
        if own not in (None, self.precision):
            allowed = f"that of the Keras model, {own!r}"
            raise ParameterError(sentence("precision", "the network", allowed, self.precision))
        return trunk

    def _width(self, sharing: nn.Module, dtype: torch.dtype) -> int:
        """Return the width of the representation, or refuse a trunk of other rows."""
        try:
            return width_of(sharing, torch.zeros(_TRIED, self.n_features, dtype=dtype))
        except (RuntimeError, ValueError, TypeError) as error:
            if isinstance(error, PolytaskError):
                raise
            told = (str(error).splitlines() or [type(error).__name__])[0]
            allowed = f"a module that takes rows of {self.n_features} features"
            raise ParameterError(sentence("trunk", "the network", allowed, f"{told!r}")) from error

    def _trained(self, loss: Loss) -> Loss:
        """Return the loss that training uses."""
        smooths = self.smoothing > 0 and isinstance(loss, Logistic | Multinomial)
        return SmoothedLabels(loss, self.smoothing) if smooths else loss


def _refuse_one_row(norm: nn.Module, inputs: tuple[Any, ...]) -> None:
    """Refuse a batch of one row, which has no variance, while training."""
    x = inputs[0]
    if norm.training and x.numel() == x.shape[1]:
        allowed = "of 2 rows or more in every batch where there is a batch norm"
        advice = ' Choose another batch_size, or norm="layer".'
        raise DataError(sentence("A batch", "training", allowed, "1 row") + advice)


def trunk_of(trunk: object, owner: str) -> Any:  # noqa: ANN401 - MLP or nn.Module
    """Return a trunk, the default for None."""
    if trunk is None:
        return MLP(dropout=_DROPPED)
    if not isinstance(trunk, MLP | nn.Module):
        allowed = "None, an MLP of polytask.deep, or an nn.Module"
        raise ParameterError(sentence("trunk", owner, allowed, repr(trunk)))
    return trunk


def heads_of(heads: object, owner: str) -> MLP | None:
    """Return the layers that each task has of its own, None for linear heads."""
    if heads is None or (isinstance(heads, MLP) and heads.norm in (None, "layer")):
        return heads
    allowed = 'None, or an MLP whose norm is None or "layer"'
    raise ParameterError(sentence("heads", owner, allowed, repr(heads)))


def sharing_of(sharing: object, owner: str) -> Sharing:
    """Return a way of sharing, hard sharing for None."""
    if sharing is None:
        return Hard()
    if isinstance(sharing, type) or not isinstance(sharing, Sharing):
        allowed = "None or a description of polytask.deep.sharing, such as MMoE(4)"
        raise ParameterError(sentence("sharing", owner, allowed, repr(sharing)))
    return sharing


def device_of(device: object, owner: str) -> torch.device:
    """Return a device; "auto" is the first CUDA card, or the processor."""
    if isinstance(device, str) and device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found: torch.device = torch.device(device)  # type: ignore[call-overload]
        # A name that torch knows may be that of a card which is not there.
        torch.zeros(1, device=found)
    except (RuntimeError, TypeError, AssertionError) as error:
        allowed = '"auto" or a device that torch has here, such as "cpu" or "cuda:0"'
        raise ParameterError(sentence("device", owner, allowed, repr(device))) from error
    return found
