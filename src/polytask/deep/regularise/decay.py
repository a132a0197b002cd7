"""Which parameters decay: weights do, biases and norms do not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from polytask._checks import nonnegative
from polytask.deep.regularise.names import is_weight, resolve


def weight_decay_groups(
    network: nn.Module, weight_decay: float, *, without: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Return parameter groups for an optimiser in which only weights decay.

    With AdamW the decay is decoupled from the gradient [1]_: ``AdamW(weight_decay_groups(net,
    0.01))``. Biases, gains and shifts of norms, and other parameters that are no matrices of
    weights stay out; so do frozen parameters altogether. For a ridge that is part of the
    objective, the same for every optimiser, use the penalty L2 instead, by name.

    Parameters
    ----------
    network : nn.Module
        The network.
    weight_decay : float
        The decay of weights, >= 0, in units of the inverse learning rate.
    without : sequence of str, default=()
        Names or patterns, as in :class:`~polytask.deep.regularise.Penalties`, of weights that do
        not decay, such as ``"heads"``.

    Returns
    -------
    list of dict
        Two groups, those that decay and those that do not; a group without parameters is left
        out. Every trainable parameter is in exactly one.

    Raises
    ------
    ParameterError
        If the decay is not a number >= 0, or a name matches nothing.

    References
    ----------
    .. [1] Loshchilov, I. and Hutter, F. (2019). Decoupled weight decay regularization. ICLR,
       Algorithm 2.
    """
    amount = nonnegative(weight_decay, "weight_decay", "weight_decay_groups")
    spared = {
        id(parameter)
        for name in without
        for matrix in resolve(network, name)
        for parameter in matrix.parameters
    }
    decaying: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    seen: set[int] = set()
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                decays = is_weight(module, name, parameter) and id(parameter) not in spared
                (decaying if decays else others).append(parameter)
    groups = [(decaying, amount), (others, 0.0)]
    return [{"params": group, "weight_decay": decay} for group, decay in groups if group]
