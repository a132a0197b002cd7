"""What is learned: the options about it, the estimator that they mean, and ``polytask models``."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

from polytask._options import option
from polytask.cli.columns import AUTO, FOLDS, NO_SPLITTING, TargetTypeOverride
from polytask.cli.console import note, one_of_names, say, say_table
from polytask.cli.options import Running, Vary
from polytask.exceptions import IncompatibleError, ParameterError
from polytask.messages import LazyMessage, Translator

if TYPE_CHECKING:
    from polytask.cli.files import Tables
    from polytask.cli.training_data import TrainingData
    from polytask.statistics import TaskStatistics

# Beside the models that a comparison knows by name: the penalties themselves.
SEARCH, FIXED = "search", "multitask"
# Names of 0.1.
_RENAMED = {
    "learned": "learned prior",
    "single": "separate",
    "pooled-intercept": "pooled + intercepts",
    "deep": "network, shared trunk",
}


EXAMPLES = """\
  polytask models
"""


def models(
    running: Annotated[
        Running,
        Vary(("out", "force", "json", "resume", "time_budget", "jobs", "seed", "quiet", "config")),
    ],
) -> None:
    """Say what each model and each metric is."""
    speech = running.speech
    for kind, group in {"models": "model_is", "metrics": "metric_is"}.items():
        header = (speech("cli.models.name"), speech("column.what"))
        say_table(speech(f"cli.models.{kind}"), header, [*speech.words(group).items()])
        say()


CRITERIA = ("aic", "aicc", "bic", "ebic", "gcv", "evidence")


def _loss_help() -> LazyMessage:
    # The catalogue names them: to import losses takes long.
    named = {
        kind: [
            LazyMessage(f"loss_is.{kind}.{name}") for name in Translator().words(f"loss_is.{kind}")
        ]
        for kind in ("numbers", "classes")
    }
    return LazyMessage("help.loss", named)


def _model_help() -> LazyMessage:
    return LazyMessage("help.model", {"search": SEARCH, "fixed": FIXED})


def _criterion_help() -> LazyMessage:
    return LazyMessage("help.criterion", {"names": list(CRITERIA)})


# What learns from rows of several groupings.
GROUPED = "learned prior of all groupings"


@dataclass(frozen=True)
class Learning:
    """What the user said about learning."""

    PANEL = "help.panel.learning"

    model: str = option(_model_help, default=SEARCH, metavar="NAME")
    penalty: str | None = option(
        "help.penalty",
        metavar="TEXT",
    )
    loss: str = option(_loss_help, default=AUTO, metavar="NAME")
    criterion: str | None = option(
        _criterion_help,
        metavar="NAME",
    )
    folds: int | None = option("help.folds", least=2, metavar="N")
    unseen_tasks: Literal["error", "shared"] | None = option(
        "help.unseen_tasks",
        metavar="error|shared",
    )

    @property
    def override(self) -> TargetTypeOverride:
        """What the targets are to be."""
        return TargetTypeOverride.of_loss(self.loss)

    @property
    def n_folds(self) -> int:
        """The number of folds."""
        return FOLDS if self.folds is None else self.folds

    @cached_property
    def name(self) -> str:
        """The model, by its name of today."""
        from polytask.selection.candidates import MODELS

        if self.model not in _RENAMED:
            return known_name("--model", self.model, (SEARCH, FIXED, *MODELS))
        if self.model != "deep":
            names = {"old": self.model, "new": _RENAMED[self.model]}
            note(LazyMessage("cli.note.renamed", names))
        return _RENAMED[self.model]

    @property
    def _is_network(self) -> bool:
        from polytask.selection.candidates import DEEP, MODELS

        return self.name in MODELS and MODELS[self.name].family == DEEP

    def check_search(self, tables: Tables, rule: str | None = None) -> Tables:
        """Refuse what only folds can answer where there are none; return what can be held out."""
        splitting = tables.splitting
        given = {
            "folds": self.folds,
            "rule": rule,
            "group": splitting.group,
            "time": splitting.time,
        }
        for name, value in given.items():
            if value is not None and self.criterion is not None:
                raise IncompatibleError(
                    LazyMessage(
                        "cli.refusal.criterion_and_folds",
                        {"criterion": self.criterion, "option": name, "value": value},
                    )
                )
            if name in ("group", "time") and value is not None and self._is_network:
                raise IncompatibleError(
                    LazyMessage(
                        "cli.refusal.network_scores",
                        {"option": name, "model": repr(self.name), "value": value},
                    )
                )
        without = self.criterion is not None or self._is_network
        return replace(tables, splitting=NO_SPLITTING) if without else tables

    def for_statistics(self, found: TaskStatistics) -> Learning:
        """Return what to learn where nothing was said and the statistics have no folds."""
        return self if len(found.folds) > 1 else self.without_folds()

    def without_folds(self) -> Learning:
        """Return what to learn from statistics that have no folds."""
        if self.model != SEARCH or self.penalty is not None or self.criterion is not None:
            return self
        note(LazyMessage("cli.note.no_folds"))
        return replace(self, model="learned prior")

    def for_groupings(self, training: TrainingData) -> Learning:
        """Return what to learn where rows belong to several groupings."""
        if not training.groupings or self.name == GROUPED:
            return self
        told = {"model": self.model, "penalty": self.penalty, "criterion": self.criterion}
        for name, value in told.items():
            if value not in (None, SEARCH):
                fields = {"option": name, "value": value, "model": GROUPED}
                raise IncompatibleError(LazyMessage("cli.refusal.one_grouping", fields))
        note(LazyMessage("cli.note.groupings", {"model": GROUPED}))
        return replace(self, model=GROUPED)

    def estimator(self, training: TrainingData, running: Running) -> Any:  # noqa: ANN401
        """Return what is fitted."""
        name = self.name
        loss = self.loss if training.problem == "classification" else training.losses(self.loss)
        made = (
            self._penalised(name, training, loss, running.seed)
            if name in (SEARCH, FIXED)
            else self._candidate(name, training, loss, running.seed)
        )
        common = {
            "task_column": training.task_column,
            "unseen_tasks": self.unseen_tasks or "error",
            "n_jobs": running.jobs,
        }
        known = made.get_params(deep=False)
        return made.set_params(**{key: v for key, v in common.items() if key in known})

    def _penalised(self, name: str, training: TrainingData, loss: Any, seed: int) -> Any:  # noqa: ANN401
        """Return the estimator of a penalty: fixed, or chosen by folds or a criterion."""
        import polytask
        from polytask.penalties import parse

        settings: dict[str, Any] = {"loss": loss, "standardize": True}
        if training.problem != "classification":
            settings["scale_targets"] = "auto"
        if self.penalty is not None:
            settings["penalty"] = parse(self.penalty)
        kind = ""
        if self.criterion is not None:
            self._check_criterion(name)
            kind, settings["criterion"] = "IC", self.criterion
        elif name == SEARCH:
            kind, settings["random_state"] = "CV", seed
            settings["cv"] = training.folds(self.folds, seed)
        classes = {"regression": "Regressor", "classification": "Classifier", "mixed": "Model"}
        return getattr(polytask, f"MultiTask{classes[training.problem]}{kind}")(**settings)

    def _check_criterion(self, name: str) -> None:
        if name != SEARCH:
            raise IncompatibleError(LazyMessage("cli.refusal.no_strengths", {"model": repr(name)}))
        if self.criterion not in CRITERIA:
            raise ParameterError(one_of_names("--criterion", str(self.criterion), CRITERIA))

    def _candidate(self, name: str, training: TrainingData, loss: Any, seed: int) -> Any:  # noqa: ANN401
        """Return a model of the comparison by its name."""
        from polytask.selection.candidates import MODELS

        if self.criterion is not None:
            self._check_criterion(name)
        if self.penalty is not None:
            raise IncompatibleError(
                LazyMessage("cli.refusal.no_penalty", {"model": repr(self.model)})
            )
        facts = training.facts(loss, seed, unseen=self.unseen_tasks == "shared")
        reason = MODELS[name].unfit(facts)
        if reason is not None:
            raise IncompatibleError(
                LazyMessage(
                    "cli.refusal.not_for_data",
                    {"model": repr(self.model), "reason": reason, "search": SEARCH},
                )
            )
        return MODELS[name].make(facts)


def known_models(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return names of models, refused before anything is read; networks need PyTorch."""
    from polytask.selection.candidates import DEEP, DEFAULT, MODELS
    from polytask.selection.networks import load_deep

    found = tuple(known_name("--models", name, (DEFAULT, DEEP, *MODELS)) for name in names)
    if any(name == DEEP or (name != DEFAULT and MODELS[name].family == DEEP) for name in found):
        load_deep()
    return found


def known_name(flag: str, name: str, known: tuple[str, ...]) -> str:
    """Return a name as it is known: spaces and signs may be written as hyphens."""
    spelled = {re.sub("[^a-z0-9]+", "-", each): each for each in known}
    found = name if name in known else spelled.get(re.sub("[^a-z0-9]+", "-", name))
    if found is None:
        raise ParameterError(one_of_names(flag, name, known))
    return found
