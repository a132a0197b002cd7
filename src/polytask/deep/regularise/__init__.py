"""Regularisation of networks: penalties by name, norms of tasks, mixing and smoothing.

Clipping needs nothing of its own: ``torch.nn.utils.clip_grad_norm_`` before the optimiser's step
leaves what a proximal step does after it as it is.
"""

from __future__ import annotations

from polytask.deep.regularise.final import FinalPhase, final_phase
from polytask.deep.regularise.matrices import weight_decay_groups
from polytask.deep.regularise.mixing import MixedRows, SmoothedLabels, mixup
from polytask.deep.regularise.penalties import Penalties, PenaltyTerm, ToStart, proximal_step
from polytask.deep.regularise.task_norm import TaskBatchNorm1d, TaskSequential

__all__ = [
    "FinalPhase",
    "MixedRows",
    "Penalties",
    "PenaltyTerm",
    "SmoothedLabels",
    "TaskBatchNorm1d",
    "TaskSequential",
    "ToStart",
    "final_phase",
    "mixup",
    "proximal_step",
    "weight_decay_groups",
]
