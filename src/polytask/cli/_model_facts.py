"""What a saved model is."""

from __future__ import annotations

from typing import Any

import numpy as np

from polytask.cli._console import say, say_pair, say_table
from polytask.cli._fit_report import certificate, describe, named, proof_of

Facts = dict[str, Any]
SHOWN = 20


def model_facts(path: str) -> Facts:
    """Return what a saved model is, as JSON values."""
    from polytask import load

    model: Any = load(path)
    solution = getattr(model, "solution_", None)
    card = model.data_card_
    return {
        "path": path,
        "class": type(model).__name__,
        "description": describe(model),
        "tasks": [_plain(label) for label in np.asarray(model.tasks_).tolist()],
        "rows": card.n_rows,
        "rows_per_task": [int(n) for n in card.rows_per_task],
        "form": card.form,
        "versions": dict(card.versions),
        "task_column": model.task_column,
        "unseen_tasks": model.unseen_tasks,
        "classes": _classes(model),
        "columns": [str(name) for name in getattr(model, "feature_names_in_", [])],
        "features": [str(name) for name in model.coef_feature_names_],
        "nonzero": _nonzero(model),
        "penalty": repr(_penalty(model)) if _penalty(model) is not None else None,
        "alpha": getattr(model, "alpha_", None),
        "status": None if solution is None else solution.status.name,
        "certificate": None if solution is None else certificate(solution),
        "proof": None if solution is None else proof_of(solution),
        "objective": None if solution is None else float(solution.objective),
    }


def _plain(label: object) -> object:
    return label if isinstance(label, str | int | float | bool) else str(label)


def _penalty(model: Any) -> Any:  # noqa: ANN401 - any estimator
    return getattr(model, "best_penalty_", None) or getattr(model, "penalty", None)


def _classes(model: Any) -> list[object] | None:  # noqa: ANN401
    classes = getattr(model, "classes_", None)
    if classes is None:
        return None
    if isinstance(classes, list):
        return [None if c is None else [_plain(label) for label in c.tolist()] for c in classes]
    return [_plain(label) for label in classes.tolist()]


def _nonzero(model: Any) -> int | None:  # noqa: ANN401
    """Return the number of features that some task uses."""
    coef = getattr(model, "coef_", None)
    return None if coef is None else int(np.any(np.asarray(coef) != 0, axis=0).sum())


def say_model_facts(facts: Facts) -> None:
    """Print what a saved model is."""
    say_pair("File", facts["path"])
    say_pair("Model", facts["description"])
    column = facts["task_column"]
    by = "" if column is None else f" by {column!r}"
    say_pair("Rows", f"{facts['rows']:,} in training, {facts['form']} form")
    say_pair("Tasks", f"{len(facts['tasks']):,}{by}; unseen ones: {facts['unseen_tasks']}")
    say_pair("Columns", named(facts["columns"]))
    used = "" if facts["nonzero"] is None else f", {facts['nonzero']:,} of them used"
    say_pair("Features", f"{len(facts['features']):,}{used}")
    if facts["classes"] is not None:
        say_pair("Classes", named([str(label) for label in facts["classes"]]))
    if facts["certificate"] is not None:
        say_pair(facts["proof"], facts["certificate"])
    say_pair("Versions", ", ".join(f"{name} {v}" for name, v in facts["versions"].items()))
    _say_tasks(facts)


def _say_tasks(facts: Facts) -> None:
    pairs = list(zip(facts["tasks"], facts["rows_per_task"], strict=True))
    rows = [(str(label), f"{count:,}") for label, count in pairs[:SHOWN]]
    say()
    say_table("Rows in training", ("task", "rows"), rows, right=(1,))
    if len(pairs) > SHOWN:
        say(f"... and {len(pairs) - SHOWN:,} more tasks (all with --json).")
