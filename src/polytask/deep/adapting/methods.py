"""What may change for another task: its head alone, or layers too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final, runtime_checkable

from polytask._checks import nonnegative, positive, positive_integer, sentence
from polytask.deep.adapting.changes import Change, all_layers, last_layers, low_rank
from polytask.deep.network import Network
from polytask.exceptions import IncompatibleError, ParameterError


@runtime_checkable
class ChangesLayers(Protocol):
    """A method that changes layers for the new task, by descent from what they are."""

    @property
    def steps(self) -> int:
        """Steps of each stage, at most."""
        ...

    @property
    def learning_rate(self) -> float:
        """The learning rate of Adam."""
        ...

    def change(self, network: Network) -> Change:
        """Return what changes, at the weights of the network."""
        ...


@final
@dataclass(frozen=True)
class NewHead:
    """A head of its own on the layers as they are: the default.

    On layers that do not change, a linear head is a linear model of the representation, a
    convex problem that is solved exactly by what adapts linear models. The head is held at the
    mean head of the tasks; how strongly, and in which directions least, is what the heads of the
    tasks say: their covariance is the covariance of its prior. Another strength is taken if it
    predicts rows left out better, beyond doubt.
    """


@final
@dataclass(frozen=True)
class Unfreeze:
    """Gradual unfreezing: the last layer learns first, then one more at a time [1]_.

    The layers of the new task are copies; the other tasks keep theirs. Starts at the head of
    :class:`NewHead`, which goes on learning. How many steps are taken is chosen by
    cross-validation on the new rows; none, unless they predict rows left out better beyond noise.

    Parameters
    ----------
    layers : int, default=2
        How many layers are unfrozen in the end, counted from the last one below the heads; all
        if there are fewer.
    steps : int, default=100
        Steps with each number of layers, at most; each on all new rows.
    learning_rate : float, default=5e-3
        Of Adam.

    References
    ----------
    .. [1] Howard, J. and Ruder, S. (2018). Universal language model fine-tuning for text
       classification. ACL, 328-339, section 3.3.
    """

    layers: int = 2
    steps: int = 100
    learning_rate: float = 5e-3

    def __post_init__(self) -> None:
        """Refuse settings outside their sets."""
        positive_integer(self.layers, "layers", "Unfreeze")
        _check(self, "Unfreeze")

    def change(self, network: Network) -> Change:
        """Return the change of the last layers."""
        return _changing(last_layers(network, self.layers), self)


@final
@dataclass(frozen=True)
class NearSource:
    """All layers learn, held near what they were: L2-to-source, L2-SP [1]_.

    As :class:`Unfreeze`, with all layers at once and a penalty on their distance.

    Parameters
    ----------
    strength : float, default=0.1
        Half of it times the squared distance of all weights from those of the network is added
        to the mean loss.
    steps : int, default=200
        Steps at most; each on all new rows.
    learning_rate : float, default=5e-3
        Of Adam.

    References
    ----------
    .. [1] Li, X., Grandvalet, Y. and Davoine, F. (2018). Explicit inductive bias for transfer
       learning with convolutional networks. ICML, 2825-2834, Equation 2.
    """

    strength: float = 0.1
    steps: int = 200
    learning_rate: float = 5e-3

    def __post_init__(self) -> None:
        """Refuse settings outside their sets."""
        nonnegative(self.strength, "strength", "NearSource")
        _check(self, "NearSource")

    def change(self, network: Network) -> Change:
        """Return the change of all layers."""
        return _changing(all_layers(network, self.strength), self)


@final
@dataclass(frozen=True)
class Adapters:
    """Additions of low rank to all linear layers, which themselves stay as they are [1]_.

    As :class:`Unfreeze`, but a layer of m outputs and d inputs learns ``rank (m + d)`` numbers
    instead of ``m d``: they make the saved model little larger.

    Parameters
    ----------
    rank : int, default=4
        Of each addition.
    steps : int, default=200
        Steps at most; each on all new rows.
    learning_rate : float, default=5e-3
        Of Adam.

    References
    ----------
    .. [1] Hu, E. et al. (2022). LoRA: low-rank adaptation of large language models. ICLR,
       section 4.1.
    """

    rank: int = 4
    steps: int = 200
    learning_rate: float = 5e-3

    def __post_init__(self) -> None:
        """Refuse settings outside their sets."""
        positive_integer(self.rank, "rank", "Adapters")
        _check(self, "Adapters")

    def change(self, network: Network) -> Change:
        """Return the additions."""
        change = low_rank(network, self.rank)
        if not change.additions:
            raise IncompatibleError(
                "Adapters needs linear layers (nn.Linear) below the heads; this network has none: "
                "use NearSource or Unfreeze, or method=None."
            )
        return change


Method = NewHead | ChangesLayers


def method_of(method: object, owner: str) -> Method:
    """Return how to adapt, :class:`NewHead` for None.

    Raises
    ------
    ParameterError
        If it is something else.
    """
    if method is None:
        return NewHead()
    known = isinstance(method, NewHead | ChangesLayers) and not isinstance(method, type)
    if not known:
        allowed = "None or an object of polytask.deep.adapting, such as Unfreeze(2)"
        raise ParameterError(sentence("method", owner, allowed, repr(method)))
    return method  # type: ignore[return-value]


def _check(method: ChangesLayers, owner: str) -> None:
    positive_integer(method.steps, "steps", owner)
    positive(method.learning_rate, "learning_rate", owner)


def _changing(change: Change, method: ChangesLayers) -> Change:
    """Return a change of something, or refuse a network without layers."""
    if change.stages:
        return change
    raise IncompatibleError(
        f"{type(method).__name__} changes layers below the heads; this network has none: its "
        "heads are linear models of the features. Leave method=None."
    )
