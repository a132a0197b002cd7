"""What is noted of a fitted model beside its scores: its path, its zeros, what mattered in it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from polytask.data import TaskData
from polytask.selection.importance import search_shares
from polytask.selection.path import SEARCHES, fitted_path
from polytask.selection.path_result import RegularizationPath

# Lines that a picture can name.
_LINES = 8
# Above as many numbers, a path of matrices is not worth its memory.
_MOST = 2e7
_NUMBER = re.compile(r"\d+\.\d+(?:e[+-]?\d+)?")


def described(data: TaskData, model: Any) -> dict[str, Any]:  # noqa: ANN401 - fitted
    """Return JSON values about a fitted model."""
    searched = isinstance(model, SEARCHES)
    path = fitted_path(model, data, exact=False) if searched and _small(model) else None
    shares = search_shares(model) if searched else []
    return {
        "path": None if path is None else _path(path),
        "kept": _kept(model, path) if hasattr(model, "coef_") else None,
        "mattered": [list(row) for row in shares] or None,
    }


def _small(model: Any) -> bool:  # noqa: ANN401 - a fitted search
    return bool(model.coef_.size * len(model.alphas_) <= _MOST)


def _path(path: RegularizationPath) -> dict[str, Any]:
    reach = path.sizes.max(axis=0)
    top = np.argsort(-reach, kind="stable")[:_LINES]
    top = top[reach[top] > 0]
    return {
        "penalty": _short(path.penalty),
        "measure": path.measure.name,
        "alphas": path.alphas.tolist(),
        "scores": path.score.tolist(),
        "standard_errors": path.standard_error.tolist(),
        "features": path.kept.tolist(),
        "ranks": path.ranks.tolist(),
        "names": [path.features[j] for j in top],
        "sizes": path.sizes[:, top].T.tolist(),
        "n_features": len(path.features),
        "best": path.best,
        "one_se": path.one_se,
        "chosen": path.chosen,
    }


def _kept(model: Any, path: RegularizationPath | None) -> dict[str, Any]:  # noqa: ANN401
    left = model.coef_ != 0
    possible = min(int(left.any(axis=0).sum()), int(left.any(axis=1).sum()))
    rank = possible if path is None else int(path.ranks[path.chosen])
    penalty = getattr(model, "best_penalty_", None)
    return {
        "penalty": "" if penalty is None else _short(penalty),
        "features": float(left.any(axis=0).mean()),
        "coefficients": float(left.mean()),
        "rank": rank if rank < possible else None,
    }


def _short(penalty: object) -> str:
    """Return a penalty with three digits per number."""
    return _NUMBER.sub(lambda m: f"{float(m[0]):.3g}", repr(penalty))
