"""Steps of other packages on the networks of `balancing_steps.py`, where they are installed."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor


def versions() -> str:
    """Return which peers are there, in words."""
    told = []
    for name in ("torchjd", "LibMTL"):
        try:
            told.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            told.append(f"{name} not installed")
    return ", ".join(told)


class TorchjdJacobian:
    """TorchJD's `mtl_backward` and `jac_to_grad`: the Jacobian of the shared parameters."""

    title = "TorchJD mtl_backward"
    methods = ("MGDA", "PCGrad", "IMTLG")

    @staticmethod
    def found() -> bool:
        """Say whether the package is there."""
        return find_spec("torchjd") is not None

    def step(self, net: Any, method: str) -> Callable[[], None]:
        """Return the step."""
        from torchjd.autojac import jac_to_grad, mtl_backward

        aggregator = getattr(importlib.import_module("torchjd.aggregation"), method)()

        def step() -> None:
            net.optimizer.zero_grad()
            shared = net.trunk(net.X)
            mtl_backward(net.apiece(shared), features=shared)
            jac_to_grad(net.trunk.parameters(), aggregator)
            net.optimizer.step()

        return step


class TorchjdEngine:
    """TorchJD's `autogram`: the Gramian of the shared parameters without their Jacobian."""

    title = "TorchJD autogram"
    methods = ("MGDA", "PCGrad", "IMTLG")

    @staticmethod
    def found() -> bool:
        """Say whether the package is there."""
        return find_spec("torchjd") is not None

    def step(self, net: Any, method: str) -> Callable[[], None]:
        """Return the step."""
        from torchjd.autogram import Engine

        weighting = getattr(importlib.import_module("torchjd.aggregation"), f"{method}Weighting")()
        # Its hooks stay on the trunk, so it gets a network of its own.
        own = type(net)(net.heads, net.Y.shape[1])
        engine = Engine(own.trunk, batch_dim=None)

        def pull(losses: Tensor, shared: Tensor, route: object) -> None:
            losses.backward(weighting(engine.compute_gramian(losses)))

        return lambda: own.step(pull)


class Libmtl:
    """LibMTL's weightings at the representation (``rep_grad=True``)."""

    title = "LibMTL"
    methods = ("MGDA", "PCGrad", "IMTL")

    @staticmethod
    def found() -> bool:
        """Say whether the package is there."""
        return find_spec("LibMTL") is not None

    def step(self, net: Any, method: str) -> Callable[[], None]:
        """Return the step."""
        weighting = _libmtl(method)()
        n_tasks = len(net.apart)
        weighting.task_num, weighting.device, weighting.rep_grad = (
            n_tasks,
            "cpu",
            method != "PCGrad",
        )
        weighting.task_name = list(range(n_tasks))
        weighting.init_param()
        weighting.get_share_params = net.trunk.parameters
        weighting.zero_grad_share_params = lambda: net.trunk.zero_grad(set_to_none=False)

        def step() -> None:
            net.optimizer.zero_grad()
            shared = net.trunk(net.X)
            copies = [shared.detach().requires_grad_() for _ in range(n_tasks)]
            inputs = copies if weighting.rep_grad else [shared] * n_tasks
            weighting.rep, weighting.rep_tasks = shared, dict(enumerate(copies))
            parts = zip(net.apart, inputs, net.Y.T, strict=True)
            losses = torch.stack([(head(z)[:, 0] - y).square().mean() for head, z, y in parts])
            weighting.backward(losses, mgda_gn="none")
            net.optimizer.step()

        return step


def _libmtl(method: str) -> Any:
    """Import a weighting; its package wants a module that torchvision no longer has."""
    for name in ("torchvision", "torchvision.models", "torchvision.models.utils"):
        sys.modules.setdefault(name, types.ModuleType(name))
    for name, member in (("models.utils", "load_state_dict_from_url"), ("", "transforms")):
        setattr(sys.modules[f"torchvision.{name}".rstrip(".")], member, None)
    module = importlib.import_module(f"LibMTL.weighting.{method}")
    return getattr(module, method)
