"""What a comparison was: enough to run it again, and to tell that it is the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from polytask._estimator.card import checksum, versions
from polytask._estimator.training import encode_training
from polytask._identity import steady
from polytask.analysis._extras import Extras
from polytask.analysis._plan import Choices, Plan, scheme_of
from polytask.selection.entries import told
from polytask.selection.held import Study


def make_lock(
    study: Study,
    choices: Choices,
    loss: object,
    metric: str,
    extras: Extras,
    allow_leak: bool = False,
) -> dict[str, Any]:
    """Return seed, data, settings, versions and threads as JSON values."""
    encoded, _ = encode_training(study.data)
    return {
        "call": _call(choices, loss, metric, extras, allow_leak),
        "data": {
            "checksum": checksum(encoded),
            "rows": study.data.n_rows,
            "tasks": study.data.n_tasks,
            "features": study.data.n_features,
        },
        "settings": {
            "loss": _said(loss),
            "metric": metric,
            "splits": scheme_of(choices),
            "cv": _said(choices.cv),
            "quick": choices.quick,
            "margin": choices.margin,
            # What finished fits hold: 2 since every row is held out once, 3 since the losses of
            # inner splits are kept.
            "plan": 3,
            "models": _said(choices.models),
            "groups": _digest(choices.groups),
            "time": _digest(choices.time),
        },
        "seed": choices.seed,
        "versions": versions(),
        "threads": {"processors": os.cpu_count(), "per_fit": 1},
    }


def _call(choices: Choices, loss: object, metric: str, extras: Extras, allow_leak: bool) -> str:
    """Return the call in Python, without what is as by default; data stand as names."""
    given = {
        "loss": (loss, "auto"),
        "models": (choices.models, "default"),
        "cv": (choices.cv, None),
        "metric": (metric, "d2"),
        "margin": (choices.margin, None),
        "unseen": (bool(choices.unseen), False),
        "quick": (bool(choices.quick), False),
        "random_state": (choices.seed, 0),
        "learning_curve": (list(extras.shares) or False, False),
        "ablation": (extras.ablation, False),
        "allow_leak": (bool(allow_leak), False),
    }
    said = [f"{name}={v!r}" for name, (v, usual) in given.items() if repr(v) != repr(usual)]
    said += [name for name in ("groups", "time") if getattr(choices, name) is not None]
    named = [f"{word}={word}" if word in ("groups", "time") else word for word in said]
    return f"polytask.compare({', '.join(['X', 'y', 'task=task', *named])})"


def fingerprint(lock: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """Return what must be the same for a journal to be gone on with."""
    models = {entry.name: told(entry.estimator) for entry in plan.running}
    return {
        "kind": "comparison",
        "data": lock["data"],
        "settings": lock["settings"],
        "seed": lock["seed"],
        "models": models,
        "polytask": lock["versions"]["polytask"],
    }


def _said(value: object) -> Any:  # noqa: ANN401 - a JSON value
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Mapping):
        return {str(key): _said(item) for key, item in value.items()}
    return steady(value)


def _digest(values: object) -> str | None:
    """Tell arrays apart by their content."""
    if values is None:
        return None
    listed = np.asarray(values).tolist()
    return hashlib.sha256(repr(listed).encode("utf-8", "surrogatepass")).hexdigest()
