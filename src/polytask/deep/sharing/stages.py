"""Trunks as stages one after the other."""

from __future__ import annotations

from torch import nn

from polytask.deep.sharing.stacked import is_stackable, layers_of


def stages_of(trunk: nn.Module) -> list[nn.Module]:
    """Return the stages of a trunk."""
    stages: list[list[nn.Module]] = [[]]
    heavy = False
    for layer in layers_of(trunk):
        begins = any(parameter.ndim >= 2 for parameter in layer.parameters())
        if begins and heavy:
            stages.append([])
        heavy = heavy or begins
        stages[-1].append(layer)
    found: list[nn.Module] = [nn.Sequential(*stage) for stage in stages]
    return found if type(trunk) is nn.Sequential else [trunk]


def first_width(trunk: nn.Module) -> int | None:
    """Return the width of the rows that a trunk reads, None where it cannot be seen."""
    # It can be in an nn.Sequential whose first layer with an attribute `in_features` has nothing
    # before it but norms, activations and dropout.
    if type(trunk) is not nn.Sequential:
        return None
    for layer in layers_of(trunk):
        width = getattr(layer, "in_features", None)
        if isinstance(width, int):
            return width
        if not is_stackable(layer):
            return None
    return None
