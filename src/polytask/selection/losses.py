"""What a loss means for the models of scikit-learn beside which sharing is judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polytask._estimator.outcomes import loss_object
from polytask.losses import LogLink, Loss

# The losses of scikit-learn's ridge and logistic regression.
_USUAL = frozenset({"auto", "squared", "logistic", "multinomial"})


def name_of(loss: Any) -> Any:  # noqa: ANN401 - a name; a mapping stays one
    """Return the name of a loss; a name and a mapping of task to loss stay what they are."""
    return loss.name if isinstance(loss, Loss) else loss


def is_unusual(loss: object) -> bool:
    """Say whether scikit-learn's searches of ridge and logistic regression lack a loss."""
    if isinstance(loss, Mapping):
        return any(map(is_unusual, loss.values()))
    return name_of(loss) not in _USUAL


def has_learned_prior(loss: object) -> bool:
    """Say whether a prior of coefficients can be learned for a loss, or for all of several."""
    if isinstance(loss, Mapping):
        return all(map(has_learned_prior, loss.values()))
    return name_of(loss) in _USUAL or of_means(loss)


def of_means(loss: object) -> bool:
    """Say whether a loss has a logarithmic link, for which scikit-learn has models."""
    if isinstance(loss, Mapping) or not is_unusual(loss):
        return False
    return isinstance(loss_object(loss, "compare"), LogLink)


def boosting_loss(loss: object) -> dict[str, Any]:
    """Return the parameters that give histogram gradient boosting for numbers a loss."""
    if isinstance(loss, Mapping):
        return {}
    return dict(loss_object(loss, "compare").boosting)
