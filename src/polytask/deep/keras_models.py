"""Keras 3 models on the torch backend, as trunks that behave as modules of torch do."""

from __future__ import annotations

import copy
import re
import sys
from typing import Any, final

from torch import Tensor, nn

from polytask.deep.regularise.matrices import MatrixView
from polytask.exceptions import ParameterError
from polytask.messages import LazyMessage

_BACKEND = "torch"


def as_module(trunk: nn.Module) -> nn.Module:
    """Return a module as it is, a Keras model as one that trains and predicts as others do."""
    keras = sys.modules.get("keras")
    if keras is None:
        return trunk
    if isinstance(trunk, keras.layers.Layer):
        return KerasTrunk(trunk)
    inside = [
        type(part).__name__ for part in trunk.modules() if isinstance(part, keras.layers.Layer)
    ]
    if inside:
        fields = {"part": inside[0], "whole": type(trunk).__name__}
        raise ParameterError(LazyMessage("deep.refusal.keras_within", fields))
    return trunk


def precision_of(trunk: nn.Module) -> str | None:
    """Return the precision that a trunk computes in whatever it is moved to; None if in any."""
    return str(trunk.model.compute_dtype) if isinstance(trunk, KerasTrunk) else None


class _Variables(nn.Module):
    """The variables of one layer, under the names that they have there."""

    def __init__(self, convolves: bool) -> None:
        super().__init__()
        self.layouts: dict[str, MatrixView] = {}
        self.not_weights: set[str] = set()
        self._convolves = convolves

    def hold(self, name: str, value: Any) -> None:  # noqa: ANN401 - Parameter or Tensor
        """Hold a variable: Keras changes its values in place, and so does torch."""
        if not isinstance(value, nn.Parameter):
            self.register_buffer(name, value)
            return
        self.register_parameter(name, value)
        # A kernel is (..., in, out); torch has (out, in, ...).
        self.layouts[name] = MatrixView(value.ndim - 2 if self._convolves else 0)
        if not value.requires_grad:
            self.not_weights.add(name)


@final
class KerasTrunk(nn.Module):
    """A Keras 3 model on the torch backend."""

    # Keras calls a model for prediction unless it is told otherwise, whatever ``train()`` and
    # ``eval()`` say, and counts through the names of its variables; here dropout and batch norm
    # follow torch, and names are those of the layers in their order: ``layer0.kernel``.

    def __init__(self, model: Any) -> None:  # noqa: ANN401 - keras comes without types
        super().__init__()
        _refuse_unfit(model)
        # Within a list: a module by itself would be registered with Keras' own names.
        self._held = [model]
        convolving = _convolving(model)
        by_layer: dict[str, list[Any]] = {}
        for variable in model.variables:
            layer_path = variable.path.rpartition("/")[0] or variable.path
            by_layer.setdefault(layer_path, []).append(variable)
        for place, variables in enumerate(by_layer.values()):
            layer = _Variables(any(id(v) in convolving for v in variables))
            for variable in variables:
                layer.hold(variable.name, variable.value)
            self.add_module(f"layer{place}", layer)

    @property
    def model(self) -> Any:  # noqa: ANN401 - keras comes without types
        """The Keras model."""
        return self._held[0]

    def forward(self, x: Any) -> Tensor:  # noqa: ANN401 - as the model takes
        """Return the output of the model."""
        output: Tensor = self.model(x, training=self.training)
        return output

    def __deepcopy__(self, memo: dict[int, Any]) -> KerasTrunk:
        """Return a copy whose variables are its own."""
        twin = KerasTrunk(copy.deepcopy(self.model, memo))
        return twin.train(self.training)


def _refuse_unfit(model: Any) -> None:  # noqa: ANN401 - keras comes without types
    backend = sys.modules["keras"].backend.backend()
    if backend != _BACKEND:
        raise ParameterError(LazyMessage("deep.refusal.keras_backend", {"backend": backend}))
    if not model.built:
        raise ParameterError(LazyMessage("deep.refusal.keras_unbuilt"))
    if model.losses:
        fields = {"count": len(model.losses)}
        raise ParameterError(LazyMessage("deep.refusal.keras_regularised", fields))


def _convolving(model: Any) -> set[int]:  # noqa: ANN401 - keras comes without types
    """Return the variables of convolutions, whose kernels begin with the axes of space."""
    found: set[int] = set()
    for layer in getattr(model, "layers", ()):
        if re.fullmatch(r"(Depthwise|Separable)?Conv[123]D", type(layer).__name__):
            found |= {id(variable) for variable in layer.variables}
        found |= _convolving(layer)
    return found
