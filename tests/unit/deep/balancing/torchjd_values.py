"""Weights that TorchJD gives to matrices with a formula; run it to write them again.

    python tests/unit/deep/balancing/torchjd_values.py

writes ``torchjd_values.json`` beside itself. Only methods that TorchJD runs without the GPL
solver quadprog are called (UPGrad and DualProj are not), and none that needs ECOS (Nash-MTL).
"""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import numpy as np
import torch

FILE = Path(__file__).with_suffix(".json")
# Number of tasks, of parameters, and the offset of the formula.
PROBLEMS = {"two": (2, 4, 0.0), "three": (3, 5, 0.4), "seven": (7, 12, 1.1), "many": (20, 25, 2.0)}
C = 0.5
MU = 0.7
TEMPERATURE = 2.0


def gradients(name: str) -> np.ndarray:
    """Return ``sin(1.3 (i+1)(j+1) + 0.7 i + offset) * (1 + (i mod 3))``, (tasks, parameters)."""
    k, m, offset = PROBLEMS[name]
    i, j = np.arange(k)[:, None], np.arange(m)[None]
    return np.sin(1.3 * (i + 1) * (j + 1) + 0.7 * i + offset) * (1 + i % 3)


def losses(name: str, step: int) -> np.ndarray:
    """Return ``(1 + sin(i + offset)^2) * 0.9^(step (i + 1) / k)``, (tasks,)."""
    k, _, offset = PROBLEMS[name]
    i = np.arange(k)
    return (1 + np.sin(i + offset) ** 2) * 0.9 ** (step * (i + 1) / k)


def order(name: str) -> np.ndarray:
    """Return the order in which PCGrad projects: every task's own is the same."""
    k = PROBLEMS[name][0]
    return np.argsort(np.sin(3.0 * np.arange(k)))


def weights(name: str) -> dict[str, list[float]]:
    """Return the weights of TorchJD, on its own scale, by method."""
    import torchjd.aggregation as aggregation

    J = torch.tensor(gradients(name))
    gramian = J @ J.T
    methods = {
        "MGDA": aggregation.MGDAWeighting(epsilon=1e-13, max_iters=100_000),
        "CAGrad": aggregation.CAGradWeighting(c=C, norm_eps=1e-12),
        "IMTLG": aggregation.IMTLGWeighting(),
        "Aligned": aggregation.AlignedMTLWeighting(),
    }
    found = {method: weigh(gramian).tolist() for method, weigh in methods.items()}
    with mock.patch("torch.randperm", return_value=torch.tensor(order(name))):
        found["PCGrad"] = aggregation.PCGradWeighting()(gramian).tolist()
    return found | _of_losses(name)


def _of_losses(name: str) -> dict[str, list[float]]:
    """Return derivatives of the scalar objectives of TorchJD in the losses."""
    import torchjd.scalarization as scalarization

    k = PROBLEMS[name][0]
    found = {
        "GeometricMean": _slopes(scalarization.GeometricMean(), losses(name, 0)),
        "STCH": _slopes(scalarization.STCH(mu=MU), losses(name, 0)),
        "UW": _slopes(scalarization.UW(k), losses(name, 0)),
        "IMTLL": _slopes(scalarization.IMTLL(k), losses(name, 0)),
    }
    dwa = scalarization.DWA(temperature=TEMPERATURE)
    for step in range(4):
        dwa(torch.tensor(losses(name, step)))
        if step % 2:
            dwa.step()
    found["DWA"] = _slopes(dwa, losses(name, 4))
    famo = scalarization.FAMO(k).double()
    for step in range(3):
        famo(torch.tensor(losses(name, step)))
        famo.update(torch.tensor(losses(name, step + 1)))
    found["FAMO"] = _slopes(famo, losses(name, 3))
    return found


def _slopes(scalarize: torch.nn.Module, values: np.ndarray) -> list[float]:
    """Return the derivatives of a scalar objective in the losses."""
    given = torch.tensor(values, requires_grad=True)
    (slopes,) = torch.autograd.grad(scalarize(given), given)
    return slopes.tolist()


if __name__ == "__main__":
    import torchjd  # noqa: F401 - said early where it is missing

    table = {name: weights(name) for name in PROBLEMS}
    FILE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
