"""Which parameters a name stands for, and layers seen as a matrix W of (n_features, n_columns)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, final

import torch
from torch import Tensor, nn

from polytask._checks import nearest, nonnegative, sentence
from polytask.exceptions import IncompatibleError, ParameterError
from polytask.messages import LazyMessage


@final
@dataclass(frozen=True)
class MatrixView:
    """How a tensor is seen as a matrix: one axis counts the features, all others the columns."""

    # `whole` puts an axis of length 1 first; `transposed` takes that axis for the columns.

    axis: int = 0
    whole: bool = False
    transposed: bool = False

    def matrix(self, values: Tensor) -> Tensor:
        """Return the tensor as a matrix of shape (n_features, n_columns)."""
        moved = (values[None] if self.whole else values).movedim(self.axis, 0)
        W = moved.flatten(1) if moved.ndim > 1 else moved[:, None]
        return W.T if self.transposed else W

    def tensor(self, W: Tensor, shape: Sequence[int]) -> Tensor:
        """Return a matrix as a tensor of the given shape."""
        W = W.T if self.transposed else W
        if self.whole:
            return W.reshape(*shape)
        others = [n for axis, n in enumerate(shape) if axis != self.axis]
        return W.reshape(shape[self.axis], *others).movedim(0, self.axis)


# A bias: the coefficients of a feature that is 1.
ONE_ROW = MatrixView(whole=True)
# One of several copies that are tensors of their own, and copies along the first axis.
ONE_COLUMN = MatrixView(whole=True, transposed=True)
COLUMN_PER_COPY = MatrixView(transposed=True)

_INPUT_FIRST = (
    nn.Embedding,
    nn.EmbeddingBag,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


def layout_of(module: nn.Module, name: str, values: Tensor) -> MatrixView:
    """Return how a parameter of a module is seen as a matrix."""
    # A module that stacks copies says so in its attribute `layouts`, a mapping from the names of
    # its parameters to their layouts. Otherwise an embedding and a transposed convolution have
    # their inputs along the first axis, every other layer along the second; a vector is one row.
    own: dict[str, MatrixView] = getattr(module, "layouts", {})
    if name in own:
        return own[name]
    if values.ndim < 2:
        return ONE_ROW
    return MatrixView(0 if isinstance(module, _INPUT_FIRST) else 1)


@final
@dataclass(frozen=True, eq=False)
class Matrix:
    """One or several parameters as one matrix W; several have their columns side by side."""

    name: str
    blocks: tuple[tuple[nn.Parameter, MatrixView], ...]

    def __post_init__(self) -> None:
        widths = [len(layout.matrix(parameter.detach())) for parameter, layout in self.blocks]
        if len(set(widths)) > 1:
            fields = {"name": repr(self.name), "widths": list(map(str, widths))}
            raise IncompatibleError(LazyMessage("deep.refusal.unlike_layers", fields))

    @property
    def parameters(self) -> tuple[nn.Parameter, ...]:
        """The parameters."""
        return tuple(parameter for parameter, _ in self.blocks)

    @property
    def frozen(self) -> bool:
        """Whether no parameter is to be trained."""
        return not any(parameter.requires_grad for parameter in self.parameters)

    def require_free(self) -> None:
        """Refuse parameters of which some are to be trained and some are not."""
        kinds = {parameter.requires_grad for parameter in self.parameters}
        if len(kinds) > 1:
            fields = {"name": repr(self.name)}
            raise IncompatibleError(LazyMessage("deep.refusal.partly_frozen", fields))

    @property
    def shape(self) -> tuple[int, int]:
        """The number of features and of columns."""
        n_features = len(self.blocks[0][1].matrix(self.blocks[0][0].detach()))
        return n_features, sum(p.numel() for p in self.parameters) // max(n_features, 1)

    def joined(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return tensors, of the shapes of the parameters, as one matrix."""
        found = [layout.matrix(t) for t, (_, layout) in zip(tensors, self.blocks, strict=True)]
        return found[0] if len(found) == 1 else torch.cat(found, dim=1)

    def value(self) -> Tensor:
        """Return W, of shape (n_features, n_columns); gradients flow through it."""
        return self.joined(self.parameters)

    def gradient(self) -> Tensor | None:
        """Return the gradient in W from ``.grad``, zero where there is none; None if nowhere."""
        found = [parameter.grad for parameter in self.parameters]
        if all(gradient is None for gradient in found):
            return None
        known = zip(found, self.parameters, strict=True)
        return self.joined([torch.zeros_like(p) if g is None else g for g, p in known])

    def split(self, W: Tensor) -> list[Tensor]:
        """Return a matrix as tensors of the shapes of the parameters."""
        n_features = max(len(W), 1)
        widths = [math.prod(p.shape) // n_features for p in self.parameters]
        pieces = torch.split(W, widths, dim=1)
        pairs = zip(pieces, self.blocks, strict=True)
        return [layout.tensor(piece, p.shape) for piece, (p, layout) in pairs]

    @torch.no_grad()
    def write(self, W: Tensor) -> None:
        """Put the entries of a matrix into the parameters."""
        for parameter, values in zip(self.parameters, self.split(W), strict=True):
            parameter.copy_(values)


HEADS = "heads"
INPUT = "input"
_INSIDE = "sharing."

# Layers whose gains are no coefficients of features.
NORMS: tuple[type[nn.Module], ...] = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.LocalResponseNorm,
    nn.RMSNorm,
)


def is_weight(module: nn.Module, name: str, parameter: nn.Parameter) -> bool:
    """Tell whether a parameter of a module is a matrix of weights: no bias, gain or scalar."""
    # A module that holds other things says so in its attribute `not_weights`, a collection of
    # names of its parameters.
    if isinstance(module, NORMS) or name in getattr(module, "not_weights", ()):
        return False
    return parameter.ndim >= 2 and "bias" not in name


def weights_of(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, Matrix]]:
    """Yield the name and the matrix of every weight in a module."""
    # A module that holds copies one after the other has a method ``joined_weights(prefix)`` that
    # yields them side by side, as they are in one that holds them stacked.
    joined = getattr(module, "joined_weights", None)
    if callable(joined):
        yield from joined(prefix)
        return
    for name, parameter in module.named_parameters(recurse=False):
        if is_weight(module, name, parameter):
            full = _dotted(prefix, name)
            yield full, Matrix(full, ((parameter, layout_of(module, name, parameter)),))
    for name, inner in module.named_children():
        yield from weights_of(inner, _dotted(prefix, name))


def _dotted(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _once(matrices: Iterable[Matrix]) -> list[Matrix]:
    """Return matrices without those that share a parameter with an earlier one."""
    seen: set[int] = set()
    kept = []
    for matrix in matrices:
        own = {id(parameter) for parameter in matrix.parameters}
        if not own & seen:
            kept.append(matrix)
        seen |= own
    return kept


def side_by_side(name: str, modules: Iterable[nn.Module]) -> Matrix | None:
    """Return the weights of several modules with their columns side by side, None without any."""
    found = _once(matrix for module in modules for _, matrix in weights_of(module))
    blocks = tuple(block for matrix in found for block in matrix.blocks)
    return Matrix(name, blocks) if blocks else None


def _heads(network: nn.Module) -> list[Matrix]:
    """Return the weights of the heads as one matrix with a column for each output."""
    heads = getattr(network, HEADS, None)
    whole = side_by_side(HEADS, [heads]) if isinstance(heads, nn.Module) else None
    if whole is None:
        fields = {"kind": type(network).__name__}
        raise IncompatibleError(LazyMessage("deep.refusal.no_heads", fields))
    return [whole]


def input_layers(module: nn.Module) -> list[nn.Module]:
    """Return the layers that read the input: those that a module names, or the first one."""
    # A module names them with a method ``input_layers()`` that returns a list of modules; it is
    # asked for wherever it stands in the network.
    own = getattr(module, "input_layers", None)
    if callable(own):
        return list(own())
    for inner in module.children():
        found = input_layers(inner)
        if found:
            return found
    for inner in module.modules():
        if any(is_weight(inner, name, p) for name, p in inner.named_parameters(recurse=False)):
            return [inner]
    return []


def _input(network: nn.Module) -> list[Matrix]:
    """Return the layers that read the features as one matrix with a row for each feature."""
    bodies = (getattr(network, name, None) for name in ("sharing", "trunk"))
    body = next((found for found in bodies if isinstance(found, nn.Module)), network)
    # Without a layer below them, the heads read the features.
    layers = input_layers(body) or [getattr(network, HEADS, network)]
    whole = side_by_side(INPUT, layers)
    if whole is None:
        fields = {"kind": type(network).__name__}
        raise IncompatibleError(LazyMessage("deep.refusal.no_input_layer", fields))
    return [whole]


_SPECIAL = {HEADS: _heads, INPUT: _input}


def _matches(full: str, pattern: str) -> bool:
    """Compare a name with a pattern; what holds the trunk need not be written."""
    return any(fnmatchcase(name, pattern) for name in (full, full.removeprefix(_INSIDE)))


def _parameters(network: nn.Module, pattern: str) -> list[Matrix]:
    """Return the parameters whose own names match, each as a matrix."""
    found = []
    for prefix, owner in network.named_modules():
        for name, parameter in owner.named_parameters(recurse=False):
            full = _dotted(prefix, name)
            if _matches(full, pattern):
                layout = layout_of(owner, name, parameter)
                found.append(Matrix(full, ((parameter, layout),)))
    return _once(found)


def resolve(network: nn.Module, pattern: str) -> list[Matrix]:
    """Return the matrices that a name or pattern stands for."""
    what, allowed = LazyMessage("what.key"), LazyMessage("allowed.layer_name")
    if not isinstance(pattern, str):
        raise ParameterError(sentence(what, "penalties", allowed, repr(pattern)))
    if pattern in _SPECIAL:
        return _SPECIAL[pattern](network)
    # A module stands for all that is in it, so "trunk.*" is "trunk".
    whole = pattern.removesuffix(".*")
    names = [
        name
        for name, _ in network.named_modules()
        if name and (_matches(name, pattern) or _matches(name, whole))
    ]
    found = [m for name in names for _, m in weights_of(network.get_submodule(name), name)]
    matrices = _once(found) or _parameters(network, pattern)
    if not matrices:
        known = [HEADS, INPUT, *(name for name, _ in weights_of(network))]
        message = sentence(what, "penalties", allowed, repr(pattern))
        raise ParameterError(message + nearest(pattern, known))
    return matrices


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
