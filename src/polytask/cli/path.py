"""``polytask path``: error and coefficients of a penalty against its strength."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import typer

from polytask.cli import fit as report
from polytask.cli import options
from polytask.cli.columns import Wanted, check_one_way, folds_of
from polytask.cli.console import note, say, say_pair, say_table, working
from polytask.cli.files import Output, Source, Style
from polytask.cli.fit import Choice
from polytask.cli.models import check_choice, model_named
from polytask.cli.training_data import Training, read_training
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


HELP = """Draw error and coefficients of a penalty against its strength.

Writes a picture, held-out error above the coefficients, with the chosen strength and that of one \
standard error marked, and a table with the same numbers beside it. With --criterion it is the \
criterion of all rows in the place of the error. Tables come in the three forms of polytask fit.
"""

EPILOG = """[bold]Examples[/bold]

The path of the penalty that a search chooses; writes exams.png and exams.csv:

  polytask path exams.csv --task school --target score --out exams.png

Of one penalty, every coefficient on its own, the simplest model within one standard error:

  polytask path plant.csv --targets 'y_*' --penalty L21 --lines entries --rule one_se --out p.svg

Without folds, by a criterion that finds the few columns that matter:

  polytask path plant.csv --targets 'y_*' --penalty L21 --criterion ebic --out p.png
"""


def path(
    data: options.Data = None,
    task: options.Task = None,
    target: options.Target = None,
    targets: options.Targets = None,
    features: options.Features = None,
    drop: options.Drop = None,
    ids: options.Ids = None,
    weight: options.Weight = None,
    drop_missing_target: options.DropMissing = False,
    allow_leak: options.AllowLeak = False,
    file_per_task: options.FilePerTask = None,
    sep: options.Sep = None,
    decimal: options.Decimal = None,
    encoding: options.Encoding = None,
    missing_values: options.MissingValues = None,
    loss: options.Loss = "auto",
    penalty: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            rich_help_panel=options.LEARNING,
            help="What the tasks share, such as 'L21 + L2(0.1)' (default: the best of the usual "
            "ones).",
        ),
    ] = None,
    criterion: options.Criterion = None,
    rule: Annotated[
        Literal["min", "one_se", "pareto"] | None,
        typer.Option(
            rich_help_panel=options.LEARNING,
            show_default="min",
            help="Which strength: of the smallest error, the strongest within one standard error "
            "of it, or the knee between few coefficients and a small error.",
        ),
    ] = None,
    strengths: Annotated[
        int,
        typer.Option(
            metavar="N", min=2, rich_help_panel=options.LEARNING, help="Strengths to try."
        ),
    ] = 50,
    time: options.Time = None,
    group: options.Group = None,
    folds: options.Folds = None,
    lines: Annotated[
        Literal["features", "entries"],
        typer.Option(
            rich_help_panel=options.RUNNING,
            help="One line for all coefficients of a feature, or one for each coefficient.",
        ),
    ] = "features",
    out: Annotated[
        str | None,
        typer.Option(
            metavar="PICTURE",
            rich_help_panel=options.RUNNING,
            help="The picture to write, .png or .svg; the table has the same name with .csv.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, rich_help_panel=options.RUNNING, help="Seed of the splits.")
    ] = 0,
    jobs: Annotated[
        int | None,
        typer.Option(metavar="N", rich_help_panel=options.RUNNING, help="Processes to use."),
    ] = None,
    config: options.Config = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            rich_help_panel=options.RUNNING,
            help="Replace the files that --out names.",
        ),
    ] = False,
) -> None:
    """Draw error and coefficients of a penalty against its strength."""
    from polytask.cli.fit import Choice, refuse_folds

    wanted = Wanted(
        task=task,
        weight=weight,
        group=group,
        time=time,
        targets=tuple(target or ()),
        target_patterns=tuple(targets or ()),
        features=tuple(features or ()),
        drop=tuple(drop or ()),
        ids=tuple(ids or ()),
        allow_leak=allow_leak,
    )
    source = Source(
        data, file_per_task, Style(sep, decimal, encoding, tuple(missing_values or ()))
    )
    refuse_folds(criterion, folds=folds, rule=rule, group=group, time=time)
    n_folds = options.FOLDS if folds is None else folds
    choice = Choice(loss, "search", penalty, "error", n_folds, seed, jobs, criterion)
    drawing = Drawing(rule or "min", strengths, lines)
    run_path(source, wanted, choice, drawing, Output(out, force), drop_missing_target)
