"""The work of ``polytask path``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from polytask.cli import _fit_report as report
from polytask.cli._console import note, say, say_pair, say_table, working
from polytask.cli._fit_data import Training, read_training
from polytask.cli._fit_run import Choice
from polytask.cli._models import check_choice, model_named
from polytask.cli._roles import Wanted
from polytask.cli._sources import Output, Source
from polytask.cli._splitting import check_one_way, folds_of
from polytask.exceptions import ParameterError

if TYPE_CHECKING:
    from polytask.selection import RegularizationPath

_PICTURES = (".png", ".svg")
_TABLE = ".csv"
# Lines of the table that is printed, the strengths that are marked among them.
_SHOWN = 10


@dataclass(frozen=True)
class Drawing:
    """What the user said about the path."""

    rule: str
    strengths: int
    lines: str


def run_path(
    source: Source,
    wanted: Wanted,
    choice: Choice,
    drawing: Drawing,
    output: Output,
    drop_missing: bool,
) -> None:
    """Read, search, draw, write picture and table, and say what was chosen."""
    source.check("polytask path")
    check_one_way(wanted)
    picture, table = _files(output, source)
    training = read_training(source, wanted, choice.demand(), drop_missing)
    plan = choice.plan(training)
    check_choice(choice.model, plan)
    report.say_data(training)
    estimator = model_named(choice.model).build(plan)
    estimator.set_params(alphas=drawing.strengths)
    if choice.criterion is None:
        folds = folds_of(training, choice.folds, choice.seed)
        estimator.set_params(rule=drawing.rule, cv=folds)
    path = _path(estimator, training)
    path.write(picture, table, kind=drawing.lines)
    _say_path(path)
    for pair in report.searched(estimator):
        say_pair(*pair)
    say()
    say(f"Wrote {picture} and {table}.")


def _files(output: Output, source: Source) -> tuple[str, str]:
    """Return picture and table, both of which can be written."""
    picture = output.check("path.png", source.data)
    stem, suffix = os.path.splitext(picture)
    if suffix.lower() not in _PICTURES:
        raise ParameterError(
            f"--out of polytask path must end in {' or '.join(_PICTURES)}; got {picture!r}."
        )
    return picture, Output(stem + _TABLE, output.force).check("path.png", source.data)


def _path(estimator: Any, training: Training) -> RegularizationPath:  # noqa: ANN401 - a search
    from polytask.selection import regularization_path

    with working(f"Fitting {type(estimator).__name__} ..."):
        estimator.fit(training.X, training.y, sample_weight=training.weight)
        return regularization_path(
            estimator, training.X, training.y, sample_weight=training.weight
        )


def _say_path(path: RegularizationPath) -> None:
    say_pair("Penalty", report.short(path.penalty))
    with_folds = path.scores.shape[1] > 1
    places = {"best": path.best, "one standard error": path.one_se, "chosen": path.chosen}
    names: dict[int, list[str]] = {}
    for name, place in places.items():
        if with_folds or name != "one standard error":
            names.setdefault(place, []).append(name)
    n = len(path.alphas)
    shown = sorted({*names, *range(0, n, max(n // _SHOWN, 1)), n - 1})
    columns = {
        "strength": [f"{path.alphas[k]:.4g}" for k in shown],
        path.measure.label: [f"{path.value[k]:.4g}" for k in shown],
        **_beside(path, shown),
        "features": [f"{path.kept[k]:,}" for k in shown],
        "rank": [f"{path.ranks[k]:,}" for k in shown],
        "": [", ".join(names.get(k, [])) for k in shown],
    }
    rows = list(zip(*columns.values(), strict=True))
    say()
    say_table("From strong to weak", tuple(columns), rows, tuple(range(len(columns) - 1)))
    if end := _at_an_end(path):
        note(end)
    if infinite := int(np.isinf(path.value).sum()):
        note(
            f"{path.measure.label[:1].upper() + path.measure.label[1:]} is infinite at {infinite} "
            f"of the {n} strengths: too few rows for that many degrees of freedom."
        )


def _at_an_end(path: RegularizationPath) -> str:
    """Say so where the best strength has no neighbour on one side, which may be better."""
    if len(path.alphas) < 2 or path.best not in (0, len(path.alphas) - 1):
        return ""
    if path.best:
        return "The best strength is the weakest tried: a weaker penalty, or none, may be better."
    if not path.kept[0]:
        return "The best strength leaves no feature: they tell nothing that the intercepts do not."
    return "The best strength is the strongest tried: a stronger penalty may be better."


def _beside(path: RegularizationPath, shown: list[int]) -> dict[str, list[str]]:
    """Return the column beside what is measured: its error with folds, degrees of freedom."""
    if path.df is not None:
        return {"degrees of freedom": [f"{path.df[k]:.1f}" for k in shown]}
    if path.scores.shape[1] < 2:
        return {}
    return {"standard error": [f"{path.standard_error[k]:.2g}" for k in shown]}
