"""Where training runs: one process, or several that share every batch; full or mixed precision."""

from __future__ import annotations

import atexit
import contextlib
import importlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from polytask._checks import one_of
from polytask.deep.network import device_of

MIXED = (None, "bf16")


@dataclass(frozen=True)
class TrainingProcesses:
    """One process, or those of an ``accelerate.Accelerator``, each with its rows of a batch."""

    # Gradients and label counts are added up here, so that neither network nor optimiser has to
    # be prepared by accelerate.

    device: torch.device
    mixed: bool = False
    accelerator: Any = None

    @property
    def rank(self) -> int:
        """The number of this process."""
        return 0 if self.accelerator is None else int(self.accelerator.process_index)

    @property
    def world(self) -> int:
        """How many processes there are."""
        return 1 if self.accelerator is None else int(self.accelerator.num_processes)

    def autocast(self) -> AbstractContextManager[Any]:
        """Return a context in which products are computed in lower precision, if at all."""
        if not self.mixed:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes."""
        if self.accelerator is None:
            return values
        summed: Tensor = self.accelerator.reduce(values, reduction="sum")
        return summed


def engine_of(
    device: object, mixed_precision: object, distributed: object, owner: str
) -> TrainingProcesses:
    """Return where to train."""
    one_of(mixed_precision, "mixed_precision", owner, MIXED)
    one_of(distributed, "distributed", owner, (True, False))
    chosen = device_of(device, owner)
    mixed = mixed_precision is not None
    if not distributed:
        return TrainingProcesses(chosen, mixed)
    from accelerate import Accelerator

    joined = _is_joined()
    if dist.is_available():
        # Default arguments in there are the group of the moment of its import: imported later, by
        # the first step of an optimiser, it would keep the group, with its threads, to the end.
        importlib.import_module("torch.distributed.nn")

    accelerator = Accelerator(cpu=chosen.type == "cpu")
    if _is_joined() and not joined:
        # A thread of a group that is still there when Python ends aborts the process.
        atexit.register(_leave)
    precision = str(accelerator.mixed_precision)
    one_of(precision, "mixed_precision", "Accelerator", ("no", "bf16"))
    return TrainingProcesses(
        torch.device(accelerator.device), mixed or precision == "bf16", accelerator
    )


def compile_layers(network: nn.Module) -> None:
    """Have torch compile, when it is first called, what comes before the heads; in place."""
    body = getattr(network, "sharing", network)
    body.compile()


def _is_joined() -> bool:
    return dist.is_available() and dist.is_initialized()


def _leave() -> None:
    if _is_joined():
        dist.destroy_process_group()


@torch.no_grad()
def add_up_gradients(parameters: Sequence[nn.Parameter], engine: TrainingProcesses) -> None:
    """Give every process the gradients of all, added up."""
    # A parameter that has a gradient in no process keeps none.
    if engine.world == 1:
        return
    has = torch.tensor([float(p.grad is not None) for p in parameters], device=engine.device)
    used = [p for p, n in zip(parameters, engine.total(has).tolist(), strict=True) if n]
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in used])
    pieces = torch.split(engine.total(flat), [p.numel() for p in used])
    for parameter, piece in zip(used, pieces, strict=True):
        parameter.grad = piece.view_as(parameter)
