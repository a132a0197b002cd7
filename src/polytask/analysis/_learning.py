"""The learning curve: separate, pooled and sharing models on fewer and fewer rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from polytask.analysis._answer import Judge, make_boards
from polytask.analysis._choosing import Board, Chosen, choose_all
from polytask.analysis._extra_parts import LearningPoint
from polytask.analysis._plan import Plan
from polytask.analysis._unit import Record, Unit
from polytask.data import Form, TaskData
from polytask.selection.held import Rows


def curve_units(plan: Plan, board: Board, shares: Sequence[float]) -> tuple[Unit, ...]:
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
        for share in shares
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
    plan: Plan,
    records: Mapping[str, Record],
    more: Mapping[str, Record],
    metric: str,
    shares: Sequence[float],
) -> tuple[LearningPoint, ...]:
    """Return scores and gains against rows, the fewest first."""
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
    judge = Judge(plan, replace(board, records=records), metric)
    return LearningPoint(
        share=share,
        rows=_median_rows(plan, share),
        separate=judge.scores(chosen.separate),
        pooled=judge.scores(chosen.pooled),
        shared=judge.scores(chosen.shared),
        over_separate=judge.gain(chosen.shared, chosen.separate).interval(),
        over_pooled=judge.gain(chosen.shared, chosen.pooled).interval(),
    )


def _median_rows(plan: Plan, share: float) -> float:
    counts = plan.study.data.rows(_share(plan, plan.units[0], share)).task_rows()
    return float(np.median(counts[counts > 0]))
