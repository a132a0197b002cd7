"""Where training runs: one process, or several that share every batch; full or mixed precision."""

from __future__ import annotations

import atexit
import contextlib
import importlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from polytask._checks import one_of
from polytask.deep.network import device_of

MIXED = (None, "bf16")


class Engine(Protocol):
    """Processes that train together, each with its own rows of every batch."""

    @property
    def device(self) -> torch.device:
        """Where the network of this process lives."""
        ...

    @property
    def rank(self) -> int:
        """The number of this process."""
        ...

    @property
    def world(self) -> int:
        """How many processes there are."""
        ...

    def autocast(self) -> AbstractContextManager[Any]:
        """Return a context in which products are computed in lower precision, if at all."""
        ...

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes."""
        ...


class Alone:
    """One process."""

    rank, world = 0, 1

    def __init__(self, device: torch.device, mixed: bool = False) -> None:
        self.device = device
        self._mixed = mixed

    def autocast(self) -> AbstractContextManager[Any]:
        """Return a context of lower precision, or one that does nothing."""
        return _lower(self.device) if self._mixed else contextlib.nullcontext()

    def total(self, values: Tensor) -> Tensor:
        """Return the tensor itself."""
        return values


class Accelerated:
    """Processes and precision of an ``accelerate.Accelerator``."""

    # Gradients and label counts are added up here, so that neither network nor optimiser has to
    # be prepared by it.

    def __init__(self, accelerator: Any, mixed: bool = False) -> None:  # noqa: ANN401 - untyped
        precision = str(accelerator.mixed_precision)
        one_of(precision, "mixed_precision", "Accelerator", ("no", "bf16"))
        self._accelerator = accelerator
        self._mixed = mixed or precision == "bf16"

    @property
    def device(self) -> torch.device:
        """Where the network of this process lives."""
        return torch.device(self._accelerator.device)

    @property
    def rank(self) -> int:
        """The number of this process."""
        return int(self._accelerator.process_index)

    @property
    def world(self) -> int:
        """How many processes there are."""
        return int(self._accelerator.num_processes)

    def autocast(self) -> AbstractContextManager[Any]:
        """Return a context of lower precision, or one that does nothing."""
        return _lower(self.device) if self._mixed else contextlib.nullcontext()

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes."""
        summed: Tensor = self._accelerator.reduce(values, reduction="sum")
        return summed


def engine_of(device: object, mixed_precision: object, distributed: object, owner: str) -> Engine:
    """Return where to train."""
    one_of(mixed_precision, "mixed_precision", owner, MIXED)
    one_of(distributed, "distributed", owner, (True, False))
    chosen = device_of(device, owner)
    mixed = mixed_precision is not None
    if not distributed:
        return Alone(chosen, mixed)
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
    return Accelerated(accelerator, mixed)


def compile_layers(network: nn.Module) -> None:
    """Have torch compile, when it is first called, what comes before the heads; in place."""
    body = getattr(network, "sharing", network)
    body.compile()


def _is_joined() -> bool:
    return dist.is_available() and dist.is_initialized()


def _leave() -> None:
    if _is_joined():
        dist.destroy_process_group()


def _lower(device: torch.device) -> AbstractContextManager[Any]:
    return torch.autocast(device.type, torch.bfloat16)


@torch.no_grad()
def add_up_gradients(parameters: Sequence[nn.Parameter], engine: Engine) -> None:
    """Give every process the gradients of all, added up."""
    # A parameter that has a gradient in no process keeps none.
    if engine.world == 1:
        return
    has = torch.tensor([float(p.grad is not None) for p in parameters], device=engine.device)
    used = [p for p, n in zip(parameters, engine.total(has).tolist(), strict=True) if n]
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in used])
    for parameter, gradient in zip(used, _parts(engine.total(flat), used), strict=True):
        parameter.grad = gradient


def _parts(flat: Tensor, like: Sequence[Tensor]) -> Iterator[Tensor]:
    for part, tensor in zip(torch.split(flat, [t.numel() for t in like]), like, strict=True):
        yield part.view_as(tensor)
