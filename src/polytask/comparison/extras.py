"""What is asked for beyond the verdict: learning curves, and fits without terms of a penalty."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
from sklearn.base import clone

from polytask._checks import sentence, truth
from polytask.comparison.answer import CompleteSplits, make_boards, preferred
from polytask.comparison.boards import Board, Chosen, choose_all
from polytask.comparison.options import OWNER, Options
from polytask.comparison.plan import Plan
from polytask.comparison.records import Ablated, LearningPoint
from polytask.comparison.work import Record, Unit
from polytask.data import Form, TaskData
from polytask.exceptions import DataWarning, ParameterError
from polytask.messages import LazyMessage
from polytask.penalties import Penalty
from polytask.selection.ablation import ablations
from polytask.selection.base import SearchEstimator
from polytask.selection.held import Rows


def curve_units(plan: Plan, board: Board) -> tuple[Unit, ...]:
    """Return the fits of the chosen models on shares of the training rows."""
    blanks = {unit.split: unit for unit in plan.units}
    chosen = choose_all(board)
    estimators = {entry.name: entry.estimator for entry in plan.running}
    return tuple(
        replace(
            blanks[split],
            model=name,
            estimator=estimators[name],
            train=_share(plan, blanks[split], share),
            inner=(),
            variant=_variant(share),
        )
        for place, split in enumerate(board.splits)
        for share in plan.options.learning_curve or ()
        for name in _roles(chosen, place)
    )


def _roles(chosen: Chosen, place: int) -> list[str]:
    roles = (chosen.shared[place], chosen.pooled[place], chosen.separate[place])
    return list(dict.fromkeys(name for name in roles if name is not None))


def _variant(share: float) -> str:
    return f"{share:.6g} of the rows"


def _share(plan: Plan, unit: Unit, share: float) -> Rows:
    if share == 1.0:
        return unit.train
    return some_rows(plan.study.data, unit.train, share, plan.facts.seed + unit.split)


def some_rows(data: TaskData, train: Rows, share: float, seed: int) -> Rows:
    """Return a share of the training rows of every task; shares are nested."""
    order = np.random.default_rng(seed).permutation(train)
    if data.form is Form.TARGETS:
        return np.sort(order[: max(round(share * len(order)), 1)])
    owners = data.row_tasks()[order]
    counts = np.bincount(owners, minlength=data.n_tasks)
    quota = np.maximum(np.round(share * counts), 1).astype(int)
    # The place of every row among those of its task.
    by_task = np.argsort(owners, kind="stable")
    firsts = np.cumsum(counts) - counts
    places = np.empty(len(order), dtype=int)
    places[by_task] = np.arange(len(order)) - firsts[owners[by_task]]
    return np.sort(order[places < quota[owners]])


def learning_points(
    plan: Plan, records: Mapping[str, Record], more: Mapping[str, Record], metric: str
) -> tuple[LearningPoint, ...]:
    """Return scores and gains against rows, the fewest first."""
    shares = plan.options.learning_curve
    if not shares:
        return ()
    board, _ = make_boards(plan, records, metric)
    chosen = choose_all(board)
    points = [_point(plan, board, chosen, board.records, metric, 1.0)]
    for share in shares:
        found = {
            (split, name): more.get(f"{split}/{name}/{_variant(share)}")
            for place, split in enumerate(board.splits)
            for name in _roles(chosen, place)
        }
        if found and all(record is not None for record in found.values()):
            kept = {key: record for key, record in found.items() if record is not None}
            points.append(_point(plan, board, chosen, kept, metric, share))
    return tuple(sorted(points, key=lambda point: point.share)) if len(points) > 1 else ()


def _point(
    plan: Plan,
    board: Board,
    chosen: Chosen,
    records: Mapping[tuple[int, str], Record],
    metric: str,
    share: float,
) -> LearningPoint:
    judge = CompleteSplits(plan, replace(board, records=records), metric)
    units = {unit.split: unit for unit in plan.units if unit.split in board.splits}
    # By time, the training rows grow from split to split.
    counts = [plan.study.data.rows(_share(plan, unit, share)).task_rows()
              for unit in units.values()]  # fmt: skip
    rows = [float(np.median(count[count > 0])) for count in counts]
    return LearningPoint(
        share=share,
        rows=float(np.median(rows)),
        least_rows=min(rows),
        most_rows=max(rows),
        separate=judge.scores(chosen.separate),
        pooled=judge.scores(chosen.pooled),
        shared=judge.scores(chosen.shared),
        over_separate=judge.gain(chosen.shared, chosen.separate).interval(),
        over_pooled=judge.gain(chosen.shared, chosen.pooled).interval(),
    )


def warn_without_terms(plan: Plan) -> None:
    """Warn where no sharing model has a penalty with a term to leave out."""
    if not _several(plan):
        warnings.warn(DataWarning(LazyMessage("warn.no_ablation")), stacklevel=4)


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
            variant=_variant_ablation(term),
        )
        for split in board.splits
        for term, rest in rests.items()
    )


def _variant_ablation(term: str) -> str:
    return f"without {term}"


def _ablated(plan: Plan, board: Board) -> tuple[str, Any, Mapping[str, list[Penalty]]]:
    """Return a sharing model with its penalties without each term."""
    several = _several(plan)
    name = preferred(board, tuple(several), board.most_chosen(choose_all(board).shared))
    return ("", None, {}) if name is None else (name, *several[name])


def _several(plan: Plan) -> dict[str, tuple[Any, Mapping[str, list[Penalty]]]]:
    """Return the sharing models with several terms, and their penalties without each."""
    return {
        entry.name: (entry.estimator, rests)
        for entry in plan.running
        if entry.kind == "shared"
        and isinstance(entry.estimator, SearchEstimator)
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
        word = _variant_ablation(term)
        fits = {(s, word): more.get(f"{s}/{name}/{word}") for s in board.splits}
        done = {key: record for key, record in fits.items() if record is not None}
        if done and len(done) == len(fits):
            judge = CompleteSplits(plan, replace(board, records={**board.records, **done}), metric)
            rest, whole = judge.always(word), judge.always(name)
            found.append(
                Ablated(name, term, judge.scores(rest), judge.gain(whole, rest).interval())
            )
    return tuple(sorted(found, key=lambda one: -np.nan_to_num(one.gain.mean)))


# Shares of the training rows beside all of them.
_SHARES = (0.125, 0.25, 0.5)


# What becomes of the options of a type, so that True, 1 and their like of NumPy are the same.
_KINDS: dict[Any, Any] = {"bool": bool, "float | None": float}


def checked_extras(options: Options) -> Options:
    """Return options with the shares of a learning curve, and numbers as Python knows them."""
    truth(options.ablation, "ablation", OWNER)
    plain: dict[str, Any] = {"learning_curve": _shares_of(options.learning_curve)}
    for each in fields(options):
        value = getattr(options, each.name)
        if each.type in _KINDS and value is not None:
            plain[each.name] = _KINDS[each.type](value)
        elif isinstance(value, np.generic):
            plain.setdefault(each.name, value.item())
    return replace(options, **plain)


def _shares_of(learning_curve: object) -> list[float] | bool:
    if isinstance(learning_curve, bool | np.bool_):
        return list(_SHARES) if learning_curve else False
    allowed = LazyMessage("allowed.shares")
    refusal = ParameterError(sentence("learning_curve", OWNER, allowed, repr(learning_curve)))
    try:
        given = np.atleast_1d(np.asarray(learning_curve, dtype=float))
    except (TypeError, ValueError):
        raise refusal from None
    if given.ndim != 1 or not given.size or not np.all((given > 0) & (given < 1)):
        raise refusal
    return [float(share) for share in np.unique(given)]


def extra_units(plan: Plan, records: Mapping[str, Record], metric: str) -> tuple[Unit, ...]:
    """Return the work beyond the verdict, once all of the comparison is done."""
    board, _ = make_boards(plan, records, metric)
    units = curve_units(plan, board)
    return (*units, *ablation_units(plan, board)) if plan.options.ablation else units
