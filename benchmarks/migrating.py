"""How far numbers are from those of GPBoost, TorchJD and LibMTL, for `docs/migrating.md`.

GPBoost runs in an environment of its own, made if need be; TorchJD and LibMTL are compared where
they are installed beside this package.

Run: python benchmarks/migrating.py
"""

from __future__ import annotations

import importlib
import json
import random
import subprocess
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _auto_peers import _CACHE, _GPBOOST, Peer, python_of
from _balancing_peers import _libmtl, versions

from polytask import BayesianMultiTaskRegressor
from polytask.boosting import MixedBoostingRegressor
from polytask.datasets import load_wages
from polytask.deep import balancing
from polytask.deep.balancing import StatefulBalancer

# Three gradients of which two pairs are in conflict (LibMTL's CAGrad is for three tasks only).
torch.set_default_dtype(torch.float64)
JACOBIAN = torch.tensor([[1.0, 2.0, -1.0, 0.5], [-2.0, 1.0, 1.0, 1.0], [0.5, -1.5, 2.0, 0.2]])
LOSSES, BEFORE = torch.tensor([1.0, 0.5, 2.0]), torch.tensor([1.5, 0.6, 2.1])
# Of TorchJD's aggregators, and the balancer, and how many times as long its step is.
AGGREGATORS: dict[str, tuple[dict[str, Any], Any, float]] = {
    "MGDA": ({"epsilon": 1e-13, "max_iters": 100_000}, balancing.MGDA(), 3),
    "UPGrad": ({}, balancing.UPGrad(), 3),
    "CAGrad": ({"c": 0.5}, balancing.CAGrad(0.5), 3),
    "IMTLG": ({}, balancing.IMTLG(), 3),
    "AlignedMTL": ({}, balancing.Aligned(), 3),
    "NashMTL": ({"n_tasks": 3, "max_norm": 0.0}, balancing.Nash(), 1),
    "PCGrad": ({}, balancing.PCGrad(), 1),
}
WEIGHTINGS: dict[str, tuple[dict[str, Any], Any, float]] = {
    "EW": ({}, balancing.Equal(), 1),
    "UW": ({}, balancing.Uncertainty(squared_error=True), np.exp(-0.5)),
    "GLS": ({}, balancing.GeometricMean(), 3),
    "DWA": ({"T": 2.0}, balancing.DWA(2.0, period=1), 1),
    "MGDA": ({"mgda_gn": "none"}, balancing.MGDA(), 3),
    "CAGrad": ({"calpha": 0.5, "rescale": 0}, balancing.CAGrad(0.5), 3),
    "IMTL": ({}, balancing.IMTLG(), 3),
    "PCGrad": ({}, balancing.PCGrad(), 1),
}


def gpboost() -> None:
    """Print how far variances and coefficients are from those of GPBoost."""
    python = python_of(_GPBOOST, _CACHE)
    if python is None:
        raise SystemExit("pip could not make an environment for GPBoost")
    wages = load_wages()
    x, y = wages.X[["experience"]].to_numpy(), np.asarray(wages.y)
    group = np.unique(wages.task, return_inverse=True)[1]
    # Centred and scaled as the estimator does it, so that independent slopes mean the same.
    x = (x - x.mean()) / x.std()
    with tempfile.TemporaryDirectory() as folder:
        rows, worker = Path(folder) / "rows.npz", Path(__file__).with_name("_migrating_gpboost.py")
        np.savez(rows, x=x, y=y, group=group)
        command = [str(python), str(worker), str(rows)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    # Its C++ code writes warnings to the same stream, before the answer.
    theirs = json.loads(done.stdout.splitlines()[-1])
    print("GPBoost", theirs.pop("version"))
    for name, found in theirs.items():
        chosen = {"varying": []} if name == "intercepts" else {"structure": "diagonal"}
        model = BayesianMultiTaskRegressor(mean_prior="flat", method="ml", **chosen)
        prior = model.fit(x, y, task=group).prior_
        unit = float(model.noise_[0] ** 2 / prior.noise)
        variances = unit * np.array([prior.noise, *np.diag(prior.covariance)])
        coefficients = np.sqrt(unit) * prior.mean + [y.mean(), 0.0]
        for what, ours in (("variances", variances), ("coefficients", coefficients)):
            apart = np.abs(np.array(found[what]) / ours - 1).max()
            print(f"  {name}: {what} {ours.round(5).tolist()}, apart {apart:.0e}")
    later = np.arange(len(y)) % 4 == 0
    both = {"MixedBoostingRegressor": MixedBoostingRegressor(random_state=0)}
    for name, trees in (both | {"GPBoost's": Peer("GPBoost trees", False, 20.0)}).items():
        found = trees.fit(x[~later], y[~later], task=group[~later])
        error = np.mean((y[later] - found.predict(x[later], task=group[later])) ** 2)
        print(f"  trees, {name}: squared error of rows left out {error:.4f}")


def ours(balancer: Any, tasks: int) -> torch.Tensor:
    """Return our step on the gradients of the first tasks."""
    J, balance = JACOBIAN[:tasks], StatefulBalancer(balancer, tasks)
    if isinstance(balancer, balancing.DWA):
        balance.weigh(BEFORE[:tasks])
        balance.weigh(LOSSES[:tasks])
    gramian = J @ J.T if balance.needs_gramian else None
    return balance.weigh(LOSSES[:tasks], gramian=gramian) @ J


def torchjd(name: str, settings: dict[str, Any], tasks: int) -> torch.Tensor:
    """Return the step of an aggregator."""
    kind = getattr(importlib.import_module("torchjd.aggregation"), name)
    return kind(**settings)(JACOBIAN[:tasks])


def loop() -> None:
    """Print how far gradients of shared layers are from those of TorchJD's `mtl_backward`."""
    autojac = importlib.import_module("torchjd.autojac")
    trunk, heads = torch.nn.Linear(6, 5), torch.nn.ModuleList(torch.nn.Linear(5, 1) for _ in "abc")
    X, Y, layers = torch.randn(30, 6), torch.randn(30, 3), tuple(trunk.parameters())
    found = []
    for ours in (False, True):
        shared = torch.tanh(trunk(X))
        losses = [(h(shared)[:, 0] - y).square().mean() for h, y in zip(heads, Y.T, strict=True)]
        trunk.zero_grad()
        if ours:
            at = balancing.Parameters(layers, through=shared)
            balancing.backward(torch.stack(losses), shared=at, balancer=balancing.UPGrad())
        else:
            autojac.mtl_backward(losses, features=shared)
            kind = importlib.import_module("torchjd.aggregation").UPGrad
            autojac.jac_to_grad(trunk.parameters(), kind())
        found.append(torch.cat([p.grad.ravel() for p in layers]))
    apart = (3 * found[0] - found[1]).norm() / found[1].norm()
    print(f"  TorchJD mtl_backward with UPGrad, backward / 3: apart {apart:.0e}")


def libmtl(name: str, settings: dict[str, Any], tasks: int) -> torch.Tensor:
    """Return the step of a weighting: no network is needed, for the losses are linear."""
    weighting, shared = _libmtl(name)(), torch.zeros(4, requires_grad=True)
    state = {"task_num": tasks, "device": "cpu", "rep_grad": False, "epoch": 2}
    vars(weighting).update(state, train_loss_buffer=torch.stack([BEFORE, LOSSES], 1).numpy())
    weighting.get_share_params = lambda: [shared]
    shared.grad = torch.zeros(4)
    weighting.zero_grad_share_params = shared.grad.zero_
    weighting.init_param()
    weighting.backward(LOSSES[:tasks] + JACOBIAN[:tasks] @ shared, **settings)
    return shared.grad


def steps(title: str, table: dict[str, Any], step: Callable[..., torch.Tensor]) -> None:
    """Print how far our steps are from those of a package."""
    for name, (settings, balancer, factor) in table.items():
        # The order in which PCGrad projects is drawn; with two tasks it does not matter.
        tasks = 2 if name == "PCGrad" else 3
        mine = ours(balancer, tasks)
        apart = (factor * step(name, settings, tasks) - mine).norm() / mine.norm()
        print(f"  {title} {name}, {type(balancer).__name__} / {factor:.4g}: apart {apart:.0e}")


if __name__ == "__main__":
    random.seed(0)
    torch.manual_seed(0)
    gpboost()
    print(versions())
    if find_spec("torchjd"):
        steps("TorchJD", AGGREGATORS, torchjd)
        loop()
    if find_spec("LibMTL"):
        steps("LibMTL", WEIGHTINGS, libmtl)
