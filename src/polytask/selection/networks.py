"""The networks of a comparison; the one place from which others reach the deep half."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np

from polytask.data import GroupedRows, TimeOrdered
from polytask.exceptions import IncompatibleError
from polytask.messages import message_of
from polytask.selection.facts import DataFacts

HELD_OUT = 0.1
"""The share of the training rows by which a network of a comparison stops."""

_EPOCHS: int | str = "auto"
_EXPERTS = 4


def load_deep() -> ModuleType:
    """Return :mod:`polytask.deep`."""
    try:
        from polytask import deep
        from polytask.deep import estimators  # noqa: F401 - names are imported at first use
    except ImportError as error:
        raise IncompatibleError(message_of(error)) from error
    return deep


def network(problem: str, loss: Any, seed: int, validation: Any = HELD_OUT) -> Any:  # noqa: ANN401
    """Return a network with the settings that comparisons and the command line give it."""
    # Those of the estimators: two hidden layers of 128 units with a little dropout; a tenth of the
    # training rows say when to stop.
    deep = load_deep()
    names = {"regression": "Regressor", "classification": "Classifier", "mixed": "Model"}
    made = getattr(deep, f"DeepMultiTask{names[problem]}")
    from polytask.deep.network import trunk_of

    # The usual one, written out so that it can be read off the estimator.
    trunk = trunk_of(None, "a network")
    return made(trunk, loss=loss, max_epochs=_EPOCHS, validation=validation, random_state=seed)


def alone(facts: DataFacts) -> Any:  # noqa: ANN401 - an estimator
    """Return the network of one task, or of all as one."""
    return network(facts.problem, facts.losses, facts.seed, _held_out(facts))


def one_trunk(facts: DataFacts) -> Any:  # noqa: ANN401 - an estimator
    """Return the network whose hidden layers are shared by all tasks."""
    unseen = "shared" if facts.unseen else "error"
    return alone(facts).set_params(unseen_tasks=unseen)


def experts(facts: DataFacts) -> Any:  # noqa: ANN401 - an estimator
    """Return the network with several trunks, which every task mixes in its own way."""
    return one_trunk(facts).set_params(sharing=load_deep().sharing.MMoE(_EXPERTS))


def apart(facts: DataFacts) -> Any:  # noqa: ANN401 - an estimator
    """Return networks that share nothing."""
    from polytask.baselines import SingleTask

    if facts.problem != "mixed":
        return SingleTask(alone(facts))
    from polytask.penalties import L2

    # One estimator cannot be for numbers and for classes: trunks that no penalty ties.
    return one_trunk(facts).set_params(sharing=load_deep().sharing.Soft(L2(0.0)))


def _of_groups(cv: GroupedRows) -> GroupedRows:
    # A training part of a training part has about half of the groups.
    count = len(np.unique(np.asarray(cv.groups))) // 2
    return replace(cv, n_splits=min(max(count, 2), round(1 / HELD_OUT)))


def _of_time(cv: TimeOrdered) -> TimeOrdered:
    return replace(cv, n_splits=1, test_size=HELD_OUT)


_SPLITTERS: Mapping[type, Callable[[Any], Any]] = {GroupedRows: _of_groups, TimeOrdered: _of_time}


def _held_out(facts: DataFacts) -> Any:  # noqa: ANN401 - a share or a splitter
    """Return what early stopping holds out: groups or the latest rows where folds do so."""
    make = _SPLITTERS.get(type(facts.cv))
    return HELD_OUT if make is None else make(facts.cv)
