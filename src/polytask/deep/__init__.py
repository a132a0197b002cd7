"""Networks that learn many tasks: the estimators, and pieces for loops of one's own.

Needs PyTorch: ``pip install "polytask[deep]"``. Names are imported when they are first used.
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from polytask.messages import LazyMessage

if find_spec("torch") is None:
    raise ImportError(LazyMessage("deep.refusal.no_torch"))

if TYPE_CHECKING:
    from polytask.deep import adapting, align, balancing, pretrained, recording, sampling, sharing
    from polytask.deep.balancing import backward
    from polytask.deep.estimators import (
        DeepMultiTaskClassifier,
        DeepMultiTaskModel,
        DeepMultiTaskRegressor,
    )
    from polytask.deep.meta import ANIL, MAML, MetaSGD, Reptile
    from polytask.deep.meta_learner import MetaLearner
    from polytask.deep.modalities import Modalities
    from polytask.deep.network import MLP
    from polytask.deep.regularise import Penalties, final_phase, proximal_step
    from polytask.deep.tasks import IgnoreIndex, Task, TaskNetwork, evaluate, labelled
    from polytask.deep.trainable import Sums, Trainable
    from polytask.deep.training.history import History, TrainingResult
    from polytask.deep.training.loop import fit_network
    from polytask.deep.training.settings import Training

_NAMES = {
    "balancing": ("backward",),
    "estimators": ("DeepMultiTaskClassifier", "DeepMultiTaskModel", "DeepMultiTaskRegressor"),
    "meta": ("ANIL", "MAML", "MetaSGD", "Reptile"),
    "meta_learner": ("MetaLearner",),
    "modalities": ("Modalities",),
    "network": ("MLP",),
    "regularise": ("Penalties", "final_phase", "proximal_step"),
    "tasks": ("IgnoreIndex", "Task", "TaskNetwork", "evaluate", "labelled"),
    "trainable": ("Sums", "Trainable"),
    "training.history": ("History", "TrainingResult"),
    "training.loop": ("fit_network",),
    "training.settings": ("Training",),
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names}
# What names of 0.1 are called now.
_RENAMED = {"Except": "IgnoreIndex"}
_PACKAGES = ("adapting", "align", "balancing", "pretrained", "recording", "sampling", "sharing")

__all__ = [
    "ANIL",
    "MAML",
    "MLP",
    "DeepMultiTaskClassifier",
    "DeepMultiTaskModel",
    "DeepMultiTaskRegressor",
    "IgnoreIndex",
    "History",
    "MetaLearner",
    "MetaSGD",
    "Modalities",
    "Penalties",
    "Reptile",
    "Sums",
    "Task",
    "TaskNetwork",
    "Trainable",
    "Training",
    "TrainingResult",
    "adapting",
    "align",
    "backward",
    "balancing",
    "evaluate",
    "final_phase",
    "fit_network",
    "labelled",
    "pretrained",
    "proximal_step",
    "recording",
    "sampling",
    "sharing",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any public name
    if name in _PACKAGES:
        return importlib.import_module(f"polytask.deep.{name}")
    name = _RENAMED.get(name, name)
    if name not in _HOMES:
        raise AttributeError(f"module 'polytask.deep' has no attribute {name!r}")
    return getattr(importlib.import_module(f"polytask.deep.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_PACKAGES})
