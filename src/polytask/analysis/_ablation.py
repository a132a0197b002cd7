"""What every term of a penalty adds: the same search without it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import clone

from polytask.analysis._answer import Judge, make_boards
from polytask.analysis._choosing import Board, choose_all, most_frequent
from polytask.analysis._extra_parts import Ablated
from polytask.analysis._plan import Plan
from polytask.analysis._strength import preferred
from polytask.analysis._unit import Record, Unit
from polytask.exceptions import DataWarning
from polytask.penalties import Penalty
from polytask.selection.ablation import ablations
from polytask.selection.path import SEARCHES


def warn_without_terms(plan: Plan) -> None:
    """Warn where no sharing model has a penalty with a term to leave out."""
    if not _several(plan):
        warnings.warn(
            "There is no ablation: no sharing model of this comparison has a penalty of several "
            "terms, such as L21() + L2().",
            DataWarning,
            stacklevel=3,
        )


def ablation_units(plan: Plan, board: Board) -> tuple[Unit, ...]:
    """Return the searches without each term of the penalties of a model."""
    blanks = {unit.split: unit for unit in plan.units}
    name, estimator, rests = _ablated(plan, board)
    return tuple(
        replace(
            blanks[split],
            model=name,
            estimator=clone(estimator).set_params(penalty=rest),
            inner=(),
            variant=_variant(term),
        )
        for split in board.splits
        for term, rest in rests.items()
    )


def _variant(term: str) -> str:
    return f"without {term}"


def _ablated(plan: Plan, board: Board) -> tuple[str, Any, Mapping[str, list[Penalty]]]:
    """Return a sharing model with its penalties without each term."""
    several = _several(plan)
    name = preferred(board, tuple(several), most_frequent(choose_all(board).shared))
    return ("", None, {}) if name is None else (name, *several[name])


def _several(plan: Plan) -> dict[str, tuple[Any, Mapping[str, list[Penalty]]]]:
    """Return the sharing models with several terms, and their penalties without each."""
    return {
        entry.name: (entry.estimator, rests)
        for entry in plan.running
        if entry.kind == "shared"
        and isinstance(entry.estimator, SEARCHES)
        and (rests := ablations(entry.estimator.penalty))
    }


def ablated_terms(
    plan: Plan, records: Mapping[str, Record], more: Mapping[str, Record], metric: str
) -> tuple[Ablated, ...]:
    """Return what every term of the penalty adds, the most first."""
    board, _ = make_boards(plan, records, metric)
    name, _, rests = _ablated(plan, board)
    found = []
    for term in rests:
        word = _variant(term)
        fits = {(s, word): more.get(f"{s}/{name}/{word}") for s in board.splits}
        done = {key: record for key, record in fits.items() if record is not None}
        if done and len(done) == len(fits):
            judge = Judge(plan, replace(board, records={**board.records, **done}), metric)
            rest, whole = judge.always(word), judge.always(name)
            found.append(
                Ablated(name, term, judge.scores(rest), judge.gain(whole, rest).interval())
            )
    return tuple(sorted(found, key=lambda one: -np.nan_to_num(one.gain.mean)))
