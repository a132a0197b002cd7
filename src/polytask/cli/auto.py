"""``polytask auto``: learn all tasks of a table without a choice of model."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from polytask._options import option
from polytask._progress import duration
from polytask.cli.columns import AUTO, CLASSES, FOLDS, TargetTypeOverride
from polytask.cli.console import digits, one_of_names, say, say_pair, say_table
from polytask.cli.files import MODEL_SUFFIX, Tables, cleanup_on_error, writable
from polytask.cli.models import known_models
from polytask.cli.options import Running, Vary
from polytask.comparison.options import models_help
from polytask.exceptions import IncompatibleError, ParameterError, TimeBudgetError
from polytask.messages import LazyMessage

if TYPE_CHECKING:
    from polytask.cli.training_data import TrainingData
    from polytask.messages import Translator

_OF_NUMBERS, _OF_CLASSES = ("squared", "poisson", "gamma"), ("logistic", "multinomial")
# Where an interrupted run left off, beside the model that it was to write.
_JOURNAL = ".journal"


@dataclass(frozen=True)
class Automatic:
    """What the user said about learning."""

    PANEL = "help.panel.learning"

    models: tuple[str, ...] = option(models_help, metavar="NAME", default=())
    classes: bool | None = option(
        "help.classes",
        "--classes/--numbers",
    )
    loss: tuple[str, ...] = option(
        "help.auto.loss",
        metavar="LOSS",
        default=(),
    )
    folds: int = option(
        "help.auto.folds",
        default=FOLDS,
        least=2,
        metavar="N",
    )
    unseen_tasks: Literal["error", "shared"] = option(
        "help.unseen_tasks",
        default="error",
        metavar="error|shared",
    )

    @property
    def override(self) -> TargetTypeOverride:
        """What the targets are to be."""
        each = _losses(self.loss)
        if "" in each:
            if self.classes:
                raise IncompatibleError(
                    LazyMessage("cli.refusal.loss_of_numbers", {"loss": each[""]})
                )
            return TargetTypeOverride.of_loss(each[""])
        loss = AUTO if self.classes is None else CLASSES if self.classes else "squared"
        flag = "--classes" if self.classes else "--numbers"
        return TargetTypeOverride(loss, flag, for_classes="--classes", each=each)

    def estimator(self, training: TrainingData, running: Running, journal: Path) -> Any:  # noqa: ANN401
        """Return what is fitted."""
        import polytask

        kinds = {"regression": "Regressor", "classification": "Classifier", "mixed": "Model"}
        own: dict[str, Any] = {"unseen_tasks": self.unseen_tasks}
        if training.problem == "mixed":
            if self.unseen_tasks == "shared":
                raise IncompatibleError(LazyMessage("cli.refusal.shared_mixed"))
            own = {}
        if training.problem != "classification":
            own["loss"] = training.losses(AUTO)
        return getattr(polytask, f"AutoMultiTask{kinds[training.problem]}")(
            list(self.models) or "default",
            **own,
            cv=training.folds(self.folds, running.seed),
            time_budget=running.seconds,
            journal=journal,
            task_column=training.task_column,
            n_jobs=running.processes,
            random_state=running.seed,
            verbose=not running.quiet,
        )


def _losses(given: Sequence[str]) -> dict[str, str]:
    """Return the loss by target, of all targets under an empty name."""
    each = {}
    for text in given:
        name, _, loss = text.rpartition("=")
        known = (*_OF_NUMBERS, *_OF_CLASSES) if name else _OF_NUMBERS
        if loss not in known:
            raise ParameterError(one_of_names("--loss", text, known))
        each[name] = loss
    if "" in each and len(given) > 1:
        allowed = LazyMessage("allowed.losses_of_targets")
        fields = {"parameter": "--loss", "allowed": allowed, "got": " ".join(given)}
        raise ParameterError(LazyMessage("refusal.option", fields))
    return each


EXAMPLES = """\
  polytask auto exams.csv --task school --target score --time-budget 10m --out exams.polytask

  polytask auto visits.csv --task ward --target ill --group patient --out visits.polytask
"""


def auto(
    tables: Tables, learning: Automatic, running: Annotated[Running, Vary(("json", "resume"))]
) -> None:
    """Read, choose, write the model and say what was chosen."""
    from polytask import save
    from polytask.cli.describe import coverage_words, say_data, say_next
    from polytask.cli.training_data import read_training
    from polytask.selection.auto.explaining import is_of_no_use

    started = time.monotonic()
    speech, budget = running.speech, running.seconds
    tables.check("auto", running.out, f"model{MODEL_SUFFIX}")
    learning = replace(learning, models=known_models(learning.models))
    path = writable(
        running.out,
        force=running.force,
        example=f"model{MODEL_SUFFIX}",
        inputs=(tables.source.data,),
    )
    training = read_training(tables, learning.override)
    training.refuse_constant(tables.source.name)
    say_data(training, speech)
    journal = Path(f"{path}{_JOURNAL}")
    estimator = learning.estimator(training, running, journal)
    if budget is not None:
        left = budget - (time.monotonic() - started)
        if left <= 0:
            raise TimeBudgetError(
                LazyMessage(
                    "cli.refusal.reading_took_all",
                    {"source": tables.source.name, "duration": duration(budget)},
                )
            )
        estimator.set_params(time_budget=left)
    with cleanup_on_error(journal):
        estimator.fit(training.X, training.y, sample_weight=training.weight)
    # The journal, and groups or times in the splitter, are nothing that the model has to know.
    save(estimator.set_params(journal=None, cv=learning.folds, time_budget=budget), path)
    if not estimator.stopped_:
        journal.unlink(missing_ok=True)
    _say_choice(estimator, speech)
    if covered := coverage_words(estimator, speech):
        say_pair(speech("cli.label.intervals"), covered)
    say()
    if estimator.stopped_:
        say(speech("cli.auto.stopped"))
    say(speech("cli.auto.answers"))
    if is_of_no_use(estimator._rows):
        say(speech("cli.auto.nothing", {"path": path}))
    else:
        say_next(path, tables, speech)


def _say_choice(estimator: Any, speech: Translator) -> None:  # noqa: ANN401 - an automatic estimator
    from sklearn.base import is_classifier

    from polytask.cli.describe import score_name
    from polytask.selection.auto.explaining import reasons

    say()
    say(estimator.explain(speech.lang))
    say()
    board = estimator.leaderboard()
    rows = [
        (row.model, digits(row.score), str(row.folds), f"{row.weight:.0%}", f"{row.seconds:.1f}")
        for row in board.itertuples()
        if not math.isnan(row.score)
    ]
    # The candidates are compared by their losses, also where the score is the accuracy.
    of_classes = is_classifier(estimator)
    score = speech("cli.score.log_loss_share") if of_classes else score_name(estimator, speech)
    names = [speech(f"cli.auto.{name}") for name in ("folds", "weight", "seconds")]
    header = (speech("column.model"), score, *names)
    say_table(speech("cli.auto.title", {"measure": score}), header, rows, (1, 2, 3, 4))
    for model, stopped, note in reasons(estimator, speech):
        label = speech("cli.label.stopped" if stopped else "cli.label.left_out")
        say_pair(label, speech("models.note_of", {"model": model, "note": note}))
