"""``polytask fit``: learn all tasks of a table and write the model."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from polytask.cli import options
from polytask.cli.columns import Wanted
from polytask.cli.console import say, say_pair, say_whole, working
from polytask.cli.files import MODEL_SUFFIX, Output, Source, Style
from polytask.cli.models import Plan, check_choice, model_named
from polytask.cli.training_data import Demand, Problem, Training, problem_of, read_training
from polytask.exceptions import IncompatibleError
from polytask.penalties.parse import parse

if TYPE_CHECKING:
    from polytask.cli.columns import Wanted
    from polytask.cli.files import Source
    from polytask.cli.training_data import TargetKind, Training


SHOWN = 8


def say_data(training: Training, *, error: bool = False) -> None:
    """Say what was understood of the data."""
    sizes = np.array(list(training.sizes.values()))
    spread = f"{sizes.min():,} to {sizes.max():,} rows each, median {np.median(sizes):,.0f}"
    spread = f"{sizes[0]:,} rows each" if sizes.min() == sizes.max() else spread
    say_pair("Rows", f"{training.n_rows:,}", error=error)
    say_pair("Tasks", f"{len(sizes):,} ({spread}){_singles(training)}", error=error)
    say_pair("Columns", f"{training.n_columns:,} to learn from", error=error)
    for sentence in _kind_sentences(training.kinds):
        say_pair("Target", sentence, error=error)


def _singles(training: Training) -> str:
    singles = [label for label, n in training.sizes.items() if n == 1]
    if not singles:
        return ""
    verb = "has" if len(singles) == 1 else "have"
    return f"; {len(singles):,} {verb} one row only, such as {singles[0]!r}"


def _kind_sentences(kinds: tuple[TargetKind, ...]) -> list[str]:
    if len(kinds) <= SHOWN:
        return [kind.sentence for kind in kinds]
    classes = sum(kind.is_class for kind in kinds)
    read = [kind for kind in kinds if kind.written]
    more = [f"{len(read) - SHOWN:,} more are read in such a way."] if len(read) > SHOWN else []
    first = f"{classes:,} classification, {len(kinds) - classes:,} regression."
    return [first, *(kind.sentence for kind in read[:SHOWN]), *more]


def say_model(estimator: Any, training: Training) -> None:  # noqa: ANN401 - any estimator
    """Say what was chosen, how good it is and how sure."""
    say_pair("Model", describe(estimator))
    for sentence in (*searched(estimator), *_certified(estimator)):
        say_pair(*sentence)
    say_pair("Features", _features(estimator))


def describe(estimator: Any) -> str:  # noqa: ANN401 - any estimator
    """Return the class of an estimator, with what it wraps, combines or its penalty."""
    name = type(estimator).__name__
    if hasattr(estimator, "penalty"):
        penalty = getattr(estimator, "best_penalty_", None) or estimator.penalty
        return f"{name} with {'L21(fraction=0.1)' if penalty is None else short(penalty)}"
    if hasattr(estimator, "trunk"):
        return f"{name} with {_network(estimator)}"
    if hasattr(estimator, "members_"):
        shares = zip(estimator.members_, estimator.task_weights_.mean(axis=0), strict=True)
        return f"{name} with {', '.join(f'{label} {share:.0%}' for label, share in shares)}"
    inner = getattr(estimator, "estimator", None)
    effect = getattr(estimator, "task_effect_", None)
    tail = "" if effect is None else f"; {effect}"
    return name if inner is None else f"{name} with {_steps(inner)}{tail}"


def _network(estimator: Any) -> str:  # noqa: ANN401 - a deep estimator
    from polytask.deep.network import trunk_of

    trunk, sharing = trunk_of(estimator.trunk, type(estimator).__name__), estimator.sharing
    # A module of the user's own shows itself on many lines.
    shown = short(trunk) if hasattr(trunk, "get_params") else type(trunk).__name__
    parts = [" ".join(shown.split())]
    return ", ".join(parts if sharing is None else [*parts, repr(sharing)])


def _steps(inner: Any) -> str:  # noqa: ANN401 - any scikit-learn estimator
    steps = [step for _, step in getattr(inner, "steps", [("", inner)])]
    return ", ".join(type(step).__name__ for step in steps)


def short(penalty: object) -> str:
    """Return a penalty with four digits per number."""
    return re.sub(r"\d+\.\d+(e[+-]?\d+)?", lambda m: f"{float(m[0]):.4g}", repr(penalty))


def searched(estimator: Any) -> list[tuple[str, str]]:  # noqa: ANN401 - any estimator
    """Return what a search chose, and its score on the rows that it held out."""
    scores = getattr(estimator, "scores_", None)
    if scores is None:
        return _judged(estimator)
    means = np.nan_to_num(scores.mean(axis=1), nan=-np.inf)
    best = scores[int(np.argmin(np.abs(means - estimator.best_score_)))]
    n, folds = scores.shape
    error = float(np.std(best, ddof=1) / np.sqrt(folds)) if folds > 1 else math.nan
    held = getattr(estimator, "held_out_score_", None)
    if held is None:
        value, spoken = -float(estimator.best_score_), "log loss"
    else:
        value, error, spoken = held, estimator.held_out_error_, score_name(estimator)
    known = "" if math.isnan(error) else f" (standard error {error:.2g})"
    return [
        ("Alpha", f"{estimator.alpha_:.4g}, task_weight={estimator.task_weight_!r}"),
        (
            "Held out",
            f"{spoken} {value:.4g}{known}, the best of {n:,} candidates in {folds} "
            f"{'folds' if folds > 1 else 'fold'}",
        ),
    ]


def _judged(estimator: Any) -> list[tuple[str, str]]:  # noqa: ANN401 - any estimator
    values = getattr(estimator, "criterion_", None)
    if values is None:
        return []
    name, best = estimator.criterion, float(estimator.best_criterion_)
    return [
        ("Alpha", f"{estimator.alpha_:.4g}, task_weight={estimator.task_weight_!r}"),
        ("Criterion", f"{name} {best:.6g}, the smallest of {len(values):,} candidates; no folds"),
    ]


def score_name(estimator: Any) -> str:  # noqa: ANN401 - a fitted estimator
    """Return what ``estimator.score`` is, and what numbers are compared with."""
    from sklearn.base import is_classifier

    from polytask._estimator.outcomes import loss_object
    from polytask._estimator.scoring import judged_by
    from polytask.losses import LogLink

    several = estimator.data_card_.form == "targets" and len(estimator.tasks_) > 1
    if is_classifier(estimator):
        return "mean accuracy of the targets" if several else "accuracy"
    loss = getattr(estimator, "loss", "squared")
    if isinstance(loss, Mapping) or loss == "auto":
        return "mean over tasks of the share of the loss explained"
    judged = judged_by(loss_object(loss, type(estimator).__name__))
    if judged is None:
        one = "R2 against the training mean"
        return "mean R2 of the targets, each against its training mean" if several else one
    what = "deviance" if isinstance(judged, LogLink) else f"{judged.name} loss"
    return f"{'mean over targets of the ' if several else ''}share of the {what} explained"


def _certified(estimator: Any) -> list[tuple[str, str]]:  # noqa: ANN401 - any estimator
    solution = getattr(estimator, "solution_", None)
    return [] if solution is None else [(proof_of(solution), certificate(solution))]


def proof_of(solution: Any) -> str:  # noqa: ANN401 - a Solution or a TrainingResult
    """Return what to call what is known of an answer: a network has no certificate."""
    return "Certificate" if hasattr(solution, "certificate") else "Training"


def certificate(solution: Any) -> str:  # noqa: ANN401 - a Solution
    """Return how far from the optimum an answer can be, in words."""
    known = getattr(solution, "certificate", None)
    value = math.nan if known is None else known.relative
    if not math.isfinite(value):
        return str(solution.message)
    what = (
        f"the objective is within {value:.1e} of its minimum (relative duality gap)"
        if solution.gap is not None
        else f"relative optimality residual {value:.1e}"
    )
    if solution.status.name == "CONVERGED":
        return f"{what}; converged in {solution.n_iter:,} iterations."
    return f"{what}. {solution.message}"


def _features(estimator: Any) -> str:  # noqa: ANN401 - any estimator
    text = f"{len(estimator.coef_feature_names_):,}"
    encoder = getattr(estimator, "encoder_", None)
    if encoder is None:
        return text
    columns = encoder.report_.columns
    parts = {
        "categories in": [c.name for c in columns if c.levels],
        "rare levels joined in": [c.name for c in columns if c.joined],
        "missing cells filled in": [c.name for c in columns if c.missing],
        "constant": list(encoder.report_.constant),
        "left out as empty": list(encoder.report_.dropped),
    }
    said = [f"{what} {named(names)}" for what, names in parts.items() if names]
    return "; ".join([text, *said])


def named(names: list[str]) -> str:
    """Return some names, cut after the first few."""
    more = f", ... ({len(names):,} in all)" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def say_next(path: str, source: Source, wanted: Wanted) -> None:
    """Print the command that predicts with the model."""
    words = ["polytask", "predict", path]
    words += [source.data] if source.data is not None else ["--file-per-task", source.name]
    words += ["--out", "predictions.csv"]
    for name in wanted.ids:
        words += ["--id", name]
    say(f"Wrote {path}. To predict (put a table of new rows in its place):")
    say_whole(f"  {shlex.join([*words, *source.style.arguments()])}")


@dataclass(frozen=True)
class Choice:
    """What the user said about learning."""

    loss: str
    model: str
    penalty: str | None
    unseen_tasks: str
    folds: int
    seed: int
    jobs: int | None
    criterion: str | None = None

    def demand(self) -> Demand:
        """Return what the targets are to be: by ``--loss``, else by ``--model``."""
        problem = model_named(self.model).problem
        if self.loss != "auto" or problem in (None, Problem.MIXED):
            return Demand(self.loss, f"--loss {self.loss}")
        loss = "squared" if problem is Problem.REGRESSION else "classes"
        return Demand(loss, f"--model {self.model}")

    def plan(self, training: Training) -> Plan:
        """Return what the estimator is built from."""
        problem = problem_of(training.kinds)
        losses = {kind.name: kind.loss for kind in training.kinds}
        numbers = "squared" if self.loss == "auto" else self.loss
        loss = {Problem.REGRESSION: numbers, Problem.CLASSIFICATION: self.loss}.get(problem)
        return Plan(
            problem=problem,
            loss=losses if loss is None else loss,
            task_column=training.task_column,
            unseen_tasks=self.unseen_tasks,
            penalty=None if self.penalty is None else parse(self.penalty),
            folds=self.folds,
            seed=self.seed,
            jobs=self.jobs,
            criterion=self.criterion,
        )


def refuse_folds(
    criterion: str | None,
    *,
    folds: int | None = None,
    rule: str | None = None,
    group: str | None = None,
    time: str | None = None,
) -> None:
    """Refuse what only folds can answer where a criterion replaces them."""
    given = {"folds": folds, "rule": rule, "group": group, "time": time}
    for name, value in given.items():
        if value is not None and criterion is not None:
            raise IncompatibleError(
                f"--criterion {criterion} holds no rows out, so that --{name} {value} has no "
                "meaning: drop one of the two."
            )


def run_fit(
    source: Source, wanted: Wanted, choice: Choice, output: Output, drop_missing: bool
) -> None:
    """Read, fit, write the model and say what was done."""
    from polytask import save

    source.check("polytask fit")
    path = output.check(f"model{MODEL_SUFFIX}", source.data)
    training = read_training(source, wanted, choice.demand(), drop_missing)
    plan = choice.plan(training)
    check_choice(choice.model, plan)
    say_data(training)
    estimator = _fitted(model_named(choice.model).build(plan), training)
    save(estimator, path)
    say_model(estimator, training)
    say()
    say_next(path, source, wanted)


def _fitted(estimator: Any, training: Training) -> Any:  # noqa: ANN401 - any estimator
    with working(f"Fitting {type(estimator).__name__} ..."):
        return estimator.fit(training.X, training.y, sample_weight=training.weight)


HELP = """Learn all tasks of a table and write the model.

Tables come in three forms: one row per observation (--task and one --target), one column per \
task (several --target), or one file per task (--file-per-task).
"""

EPILOG = """[bold]Examples[/bold]

One row per observation, with a column that names its task:

  polytask fit exams.csv --task school --target score --out exams.polytask

One column per task:

  polytask fit plant.csv --targets 'y_*' --id batch --out plant.polytask

One file per task:

  polytask fit --file-per-task 'wards/*.csv' --target ill --out wards.polytask
"""


def fit(
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
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            rich_help_panel=options.LEARNING,
            help="search (penalty and strength by cross-validation), multitask (one penalty), "
            "learned (a prior learned from the tasks), single (each task alone), "
            "pooled, pooled-intercept, pooled-category, deep (a network that all tasks share; "
            "needs polytask\\[deep]).",
        ),
    ] = "search",
    penalty: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            rich_help_panel=options.LEARNING,
            help="What the tasks share, such as 'L21(0.5) + L2'; a search finds its strength.",
        ),
    ] = None,
    criterion: options.Criterion = None,
    unseen_tasks: options.Unseen = None,
    folds: options.Folds = None,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", rich_help_panel=options.RUNNING, help="The model file to write."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(rich_help_panel=options.RUNNING, help="Seed of the splits.")
    ] = 0,
    jobs: Annotated[
        int | None,
        typer.Option(metavar="N", rich_help_panel=options.RUNNING, help="Processes to use."),
    ] = None,
    config: options.Config = None,
    force: options.Force = False,
) -> None:
    """Learn all tasks of a table and write the model."""
    wanted = Wanted(
        task=task,
        weight=weight,
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
    unseen = unseen_tasks or "error"
    refuse_folds(criterion, folds=folds)
    n_folds = options.FOLDS if folds is None else folds
    choice = Choice(loss, model, penalty, unseen, n_folds, seed, jobs, criterion)
    run_fit(source, wanted, choice, Output(out, force), drop_missing_target)
