"""Which parameters of a network a name stands for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from torch import nn

from polytask._checks import nearest, sentence
from polytask.deep.regularise.matrices import Matrix, layout_of
from polytask.exceptions import IncompatibleError, ParameterError

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
        raise IncompatibleError(
            "The name 'heads' in penalties needs a network with an attribute heads that has "
            f"weights; {type(network).__name__} has none."
        )
    return [whole]


def _first_layer(module: nn.Module) -> list[nn.Module]:
    """Return the first submodule with a weight of its own, as a list of one or none."""
    for inner in module.modules():
        if any(is_weight(inner, name, p) for name, p in inner.named_parameters(recurse=False)):
            return [inner]
    return []


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
    return _first_layer(module)


def _input(network: nn.Module) -> list[Matrix]:
    """Return the layers that read the features as one matrix with a row for each feature."""
    bodies = (getattr(network, name, None) for name in ("sharing", "trunk"))
    body = next((found for found in bodies if isinstance(found, nn.Module)), network)
    # Without a layer below them, the heads read the features.
    layers = input_layers(body) or [getattr(network, HEADS, network)]
    whole = side_by_side(INPUT, layers)
    if whole is None:
        raise IncompatibleError(
            "The name 'input' in penalties needs a trunk or heads with weights; "
            f"{type(network).__name__} has none."
        )
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
    if not isinstance(pattern, str):
        allowed = "the name of a layer or a pattern, as text"
        raise ParameterError(sentence("A key", "penalties", allowed, repr(pattern)))
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
        allowed = "a name of a layer or a pattern such as 'trunk.*', 'heads' or 'input'"
        message = sentence("A key", "penalties", allowed, repr(pattern))
        raise ParameterError(message + nearest(pattern, known))
    return matrices
