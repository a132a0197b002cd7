"""Pre-trained models as trunks: what they are given and give, what learns, and how fast."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeVar, final

import torch
from torch import Tensor, nn

from polytask._checks import nearest, nonnegative, positive, unit_interval
from polytask._registry import saveable
from polytask.deep.regularise.matrices import weight_decay_groups
from polytask.exceptions import DataError, IncompatibleError, ParameterError
from polytask.messages import LazyMessage

__all__ = [
    "LayerwiseDecay",
    "Pixels",
    "Pretrained",
    "Tokens",
    "first_token",
    "freeze",
    "mean_of_tokens",
    "pooler_output",
]

# From the output of a model and the attention mask to (n, width).
Pooling = Callable[[Any, Tensor | None], Tensor]
# From rows of numbers (n, n_features) to what a model is called with.
Arguments = Callable[[Tensor], Tensor | dict[str, Tensor]]
Module = TypeVar("Module", bound=nn.Module)


@final
@dataclass(frozen=True)
class Tokens:
    """Rows are token ids: (n, length) whole numbers, with padding at the end.

    The attention mask is 1 where the id is not `pad`, and at the first place. An estimator
    needs ``standardize=False`` to leave ids as they are.

    Parameters
    ----------
    pad : int, default=0
        The id of padding, ``tokenizer.pad_token_id``.
    """

    pad: int = 0

    def __call__(self, x: Tensor) -> dict[str, Tensor]:
        """Return ``input_ids`` and ``attention_mask``; DataError if rows are no ids."""
        ids = x.long()
        if not bool(((ids == x) & (ids >= 0)).all()):
            got = f"{float(x[(ids != x) | (ids < 0)][0]):g}"
            raise DataError(LazyMessage("deep.refusal.token_ids", {"got": got}))
        mask = (ids != self.pad).long()
        mask[:, 0] = 1
        return {"input_ids": ids, "attention_mask": mask}


@final
@dataclass(frozen=True)
class Pixels:
    """Rows are images laid out in one line.

    Parameters
    ----------
    shape : tuple of int
        Channels, height, width.
    name : str or None, default="pixel_values"
        The argument of the model; None for a model that takes images without a name, as those
        of timm do.
    """

    shape: tuple[int, ...]
    name: str | None = "pixel_values"

    def __call__(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """Return images of shape (n, *shape)."""
        images = x.reshape(-1, *self.shape)
        return images if self.name is None else {self.name: images}


def mean_of_tokens(output: object, mask: Tensor | None) -> Tensor:
    """Return the mean of the last hidden states over tokens that are no padding, (n, width)."""
    states = _part(output, "last_hidden_state")
    if mask is None:
        return states.mean(1)
    weight = mask.to(states)[..., None]
    return (states * weight).sum(1) / weight.sum(1).clamp_min(1.0)


def first_token(output: object, mask: Tensor | None) -> Tensor:
    """Return the last hidden state of the first token, as of BERT and ViT, (n, width)."""
    return _part(output, "last_hidden_state")[:, 0]


def pooler_output(output: object, mask: Tensor | None) -> Tensor:
    """Return what the model itself makes of its last hidden states, (n, width)."""
    return _part(output, "pooler_output").flatten(1)


def _part(output: object, name: str) -> Tensor:
    found = output if isinstance(output, Tensor) else getattr(output, name, None)
    if isinstance(found, Tensor):
        return found
    fields = {"name": name, "got": type(output).__name__}
    raise IncompatibleError(LazyMessage("deep.refusal.model_output", fields))


@final
class Pretrained(nn.Module):
    """A pre-trained model as a trunk, of Hugging Face or any other that gives hidden states.

    Whatever ``requires_grad`` says learns (see :func:`freeze`), so that a model of peft is taken
    as it is. A model of which nothing learns stays in evaluation mode: no dropout, and the
    statistics of its norms do not move.

    Parameters
    ----------
    model : nn.Module
        Returns an object with ``last_hidden_state`` (n, length, width) or ``pooler_output``, or
        hidden states as a tensor, or a representation, (n, width), which is taken as it is.
    arguments : callable
        Makes what the model is called with of rows (n, n_features): :class:`Tokens`,
        :class:`Pixels`, or a function that returns a tensor or a dictionary. A mapping of names
        to tensors, as tokenizers return and :class:`~polytask.deep.TaskNetwork` may be given, is
        passed on as it is.
    pooling : callable, default=mean_of_tokens
        Makes one vector for each row of the output and the attention mask:
        :func:`mean_of_tokens`, :func:`first_token`, :func:`pooler_output` or a function.

    Raises
    ------
    IncompatibleError
        If an output has no such part.

    Examples
    --------
    >>> import torch
    >>> from polytask.deep.pretrained import Pixels, Pretrained
    >>> convolution = torch.nn.Sequential(torch.nn.Conv2d(1, 5, 8), torch.nn.Flatten())
    >>> Pretrained(convolution, Pixels((1, 8, 8), name=None))(torch.zeros(3, 64)).shape
    torch.Size([3, 5])
    """

    def __init__(
        self, model: nn.Module, arguments: Arguments, pooling: Pooling = mean_of_tokens
    ) -> None:
        super().__init__()
        self.model = model
        self.arguments = arguments
        self.pooling = pooling
        self.train(self.training)

    def train(self, mode: bool = True) -> Pretrained:
        """Switch to training or evaluation; a model that does not learn stays in evaluation."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.model.parameters()):
            self.model.eval()
        return self

    def forward(self, x: Tensor | Mapping[str, Tensor]) -> Tensor:
        """Return the representation of rows, (n, width)."""
        given = x if isinstance(x, Mapping) else self.arguments(x)
        if isinstance(given, Tensor):
            output, mask = self.model(given), None
        else:
            output, mask = self.model(**given), given.get("attention_mask")
        if isinstance(output, Tensor) and output.ndim == 2:
            return output
        return self.pooling(output, mask)


def freeze(model: Module, *, but: Sequence[str] = ()) -> Module:
    """Let no parameter of a model learn but some, in place.

    Parameters
    ----------
    model : nn.Module
        The model.
    but : sequence of str, default=()
        Names or patterns of parameters that learn, such as ``"encoder.layer.11.*"``.

    Returns
    -------
    nn.Module
        The model itself.

    Raises
    ------
    ParameterError
        If a pattern matches no parameter.
    """
    named = dict(model.named_parameters())
    for pattern in but:
        if not any(fnmatchcase(name, pattern) for name in named):
            fields = {"model": type(model).__name__, "got": repr(pattern)}
            told = LazyMessage("deep.refusal.no_such_parameter", fields)
            raise ParameterError(told + nearest(pattern, named))
    for name, parameter in named.items():
        parameter.requires_grad_(any(fnmatchcase(name, pattern) for pattern in but))
    return model


@saveable("deep.layerwise_decay")
@final
@dataclass(frozen=True)
class LayerwiseDecay:
    """AdamW whose learning rate falls from layer to layer, down to the input [1]_.

    The layers are those of the longest nn.ModuleList or nn.Sequential of the trunk, such as
    ``encoder.layer`` of BERT. The last of them learns with `learning_rate` times `decay`, the
    one before with times `decay` squared, and so on; what was made before the first, such as
    embeddings, with once more. What was made behind the last, heads and sharing learn with
    `learning_rate`. Given to an estimator or to :class:`~polytask.deep.Training` as `optimizer`.

    Parameters
    ----------
    learning_rate : float, default=1e-3
        The rate of the heads, > 0.
    decay : float, default=0.8
        The factor from one layer to the one below, in [0, 1].
    weight_decay : float, default=0.0
        Decoupled decay of weights, as of AdamW.

    References
    ----------
    .. [1] Clark, K., Luong, M.-T., Le, Q. V. and Manning, C. D. (2020). ELECTRA: pre-training text
       encoders as discriminators rather than generators. ICLR, appendix B.
    """

    learning_rate: float = 1e-3
    decay: float = 0.8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        positive(self.learning_rate, "learning_rate", "LayerwiseDecay")
        unit_interval(self.decay, "decay", "LayerwiseDecay")
        nonnegative(self.weight_decay, "weight_decay", "LayerwiseDecay")

    def of_network(self, network: nn.Module) -> torch.optim.Optimizer:
        """Return the optimiser of a network; IncompatibleError without such a list of layers."""
        bodies = (getattr(network, name, None) for name in ("sharing", "trunk"))
        body = next((found for found in bodies if isinstance(found, nn.Module)), network)
        lists = [
            part for part in body.modules() if isinstance(part, nn.ModuleList | nn.Sequential)
        ]
        holding = [[p for p in part if next(p.parameters(), None) is not None] for part in lists]
        layers = max(holding, key=len, default=[])
        if len(layers) < 2:
            raise IncompatibleError(LazyMessage("deep.refusal.no_list_of_layers"))
        # How many factors each parameter has: none behind the layers, one more in each below.
        below = {
            id(p): len(layers) - k for k, layer in enumerate(layers) for p in layer.parameters()
        }
        for parameter in body.parameters():
            if id(parameter) in below:
                break
            below[id(parameter)] = len(layers) + 1
        groups: dict[tuple[int, float], list[nn.Parameter]] = {}
        for group in weight_decay_groups(network, self.weight_decay):
            for parameter in group["params"]:
                key = below.get(id(parameter), 0), group["weight_decay"]
                groups.setdefault(key, []).append(parameter)
        rate = self.learning_rate
        told = [
            {"params": own, "lr": rate * self.decay**k, "weight_decay": decayed}
            for (k, decayed), own in sorted(groups.items(), key=lambda item: item[0][0])
        ]
        return torch.optim.AdamW(told, lr=rate, fused=True)
