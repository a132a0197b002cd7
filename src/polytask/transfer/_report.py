"""What an adaptation found: the scores of what was tried, and what was used."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from polytask._estimator.training import Collected
from polytask._registry import saveable
from polytask.losses import Logistic, Multinomial, Squared, SquareRoot
from polytask.messages import Translator
from polytask.transfer._chance import beats, beyond_chance, difference
from polytask.transfer._pulled import FEW
from polytask.transfer._rows import NewRows

Array = NDArray[np.float64]

# The order in which candidates are shown.
CANDIDATES = ("adapted", "source", "target", "pooled")
_NAMED = 3
_PLACES = 3


@saveable("transfer.adaptation")
@dataclass(frozen=True)
class Adaptation:
    """What :func:`polytask.adapt` did, in ``model.adaptation_``.

    Attributes
    ----------
    domain : {"shift", "new"} or None
        As asked for.
    tasks : tuple
        The tasks that were adapted to.
    rows : tuple of int
        The labelled rows of each.
    metric : {"rmse", "deviance", "log_loss"}
        What `scores` are; "deviance" is the mean loss, of all but the squared loss and losses
        that are likelihoods of classes.
    scores : dict of str to float
        Of "adapted", "source" (the model as it was), "target" (the new rows alone) and
        "pooled" (source and new rows as one), as far as they were tried: on new rows that the
        candidate has not seen; smaller is better.
    differences : dict of str to (float, float)
        Mean loss of "adapted" less that of the candidate, on the same rows, and its standard
        error; half the squared error for the squared loss.
    chosen : str
        The candidate that the model is.
    strengths : tuple of float
        How strongly each task was held to what was known, relative to the model; inf where
        nothing else was used.
    effective_rows : float or None
        What the weights of ``domain="shift"`` leave of the rows of the source.
    untried : dict of str to str
        Candidates that could not be fitted to the rows, and why; the new rows alone if all
        are of one class. "strengths" where statistics do not tell whether a penalised model
        should hold the tasks more or less than it holds its own.
    steps : tuple of int
        Steps that the layers of a network have learned for each task, 0 where they are as they
        were; empty unless a method that changes layers was asked for.
    fixed : bool
        Whether the rows could change nothing, because a learned prior says that tasks are alike.
    mean_rmse : float or None
        What the mean of the other new rows of a task reaches on the rows of `scores`; None
        where `metric` is no "rmse".
    worse_than_mean : tuple of str
        Candidates that this mean predicts significantly better than (95% level).
    grouping : str
        Of a model of several groupings, that of which `tasks` are new levels.
    """

    domain: str | None
    tasks: tuple[Hashable, ...]
    rows: tuple[int, ...]
    metric: str
    scores: Mapping[str, float] = field(default_factory=dict)
    differences: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    chosen: str = "adapted"
    strengths: tuple[float, ...] = ()
    effective_rows: float | None = None
    untried: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[int, ...] = ()
    fixed: bool = False
    mean_rmse: float | None = None
    worse_than_mean: tuple[str, ...] = ()
    grouping: str = ""

    def summary(self, lang: str = "en") -> str:
        """Say in a few sentences what was done.

        Parameters
        ----------
        lang : {"en", "zh"}, default="en"
            English or Chinese.

        Returns
        -------
        str
        """
        say = Translator(lang)
        parts = (
            self._what, self._weights, self._scores, self._lacking, self._use, self._beaten,
            self._layers,
        )  # fmt: skip
        return say.joined([part(say) for part in parts])

    def _what(self, say: Translator) -> str:
        names = say.listed(say.task(task) for task in self.tasks[:_NAMED])
        more = len(self.tasks) - _NAMED
        if more > 0:
            names = say("list.more", {"names": names, "n": more})
        rows = say("adapt.rows", {"n": sum(self.rows)})
        if self.grouping:
            fields = {"grouping": self.grouping, "names": names, "rows": rows}
            return say("adapt.levels", {**fields, "n": len(self.tasks)})
        return say("adapt.tasks", {"n": len(self.tasks), "names": names, "rows": rows})

    def _weights(self, say: Translator) -> str:
        if self.effective_rows is None:
            return ""
        return say("adapt.weights", {"n": round(self.effective_rows)})

    def _scores(self, say: Translator) -> str:
        shown = [
            say("adapt.score", {"name": say(f"adapt.{name}"), "value": self._number(say, name)})
            for name in CANDIDATES
            if name in self.scores
        ]
        if not shown:
            return ""
        metric = say(f"metric.{self.metric}")
        return say("adapt.scores", {"metric": metric, "scores": say.listed(shown)})

    def _lacking(self, say: Translator) -> str:
        names = [say(f"adapt.{name}") for name in CANDIDATES if name in self.untried]
        if "strengths" in self.untried:
            return say("adapt.strengths")
        return say("adapt.untried", {"names": say.listed(names)}) if names else ""

    def _number(self, say: Translator, name: str) -> str:
        return say.number(self.scores[name], _PLACES)

    def _layers(self, say: Translator) -> str:
        if not self.steps or self.chosen != "adapted":
            return ""
        changed = sum(steps > 0 for steps in self.steps)
        return say("adapt.layers.change", {"n": changed}) if changed else say("adapt.layers.stay")

    def _use(self, say: Translator) -> str:
        if not sum(self.rows) and self.domain is None:
            return say("adapt.use.shared")
        if self.fixed:
            return say("adapt.use.fixed")
        return say(f"adapt.use.{self._why() if self.chosen == 'adapted' else self.chosen}")

    def _beaten(self, say: Translator) -> str:
        if self.mean_rmse is None or self.chosen not in self.worse_than_mean:
            return ""
        return say("adapt.beaten", {"value": say.number(self.mean_rmse, _PLACES)})

    def _why(self) -> str:
        """Return the sentence for the adapted model, which needs no reason where it is best."""
        if not self.scores:
            return "unjudged" if sum(self.rows) else "adapted"
        best = min(self.scores, key=lambda name: self.scores[name])
        if best == "adapted":
            return best
        mean, error = self.differences[best]
        # In a new domain the better one would have been chosen.
        enough = self.domain is None and sum(self.rows) >= FEW
        clear = enough and beyond_chance(mean, error, sum(self.rows))
        return "behind" if clear else "close"


@dataclass(frozen=True, eq=False)
class CandidateLosses:
    """Losses of every candidate on the same rows, none of which it has learned from."""

    # Shapes: losses (n_rows,), weight (n_rows,).

    losses: Mapping[str, Array]
    weight: Array
    untried: Mapping[str, str] = field(default_factory=dict)

    def judged(self) -> CandidateLosses:
        """Return the rows that all candidates were tried on."""
        seen = np.all([np.isfinite(values) for values in self.losses.values()], axis=0)
        kept = {name: values[seen] for name, values in self.losses.items()}
        return CandidateLosses(kept, self.weight[seen], self.untried)

    def scores(self, squared: bool) -> dict[str, float]:
        """Return the score of each candidate: the root mean squared error, or the mean loss."""
        if len(self.weight) < 2:
            return {}
        share = self.weight / self.weight.sum()
        means = {name: float(values @ share) for name, values in self.losses.items()}
        return {name: float(np.sqrt(2.0 * v)) if squared else v for name, v in means.items()}

    def differences(self) -> dict[str, tuple[float, float]]:
        """Return the loss of "adapted" less that of each other, with its standard error."""
        if len(self.weight) < 2:
            return {}
        adapted = self.losses["adapted"]
        return {
            name: difference(adapted, values, self.weight)
            for name, values in self.losses.items()
            if name != "adapted"
        }

    def choice(self) -> str:
        """Return the best candidate if it beats "adapted" beyond chance, else "adapted"."""
        if len(self.weight) < FEW:
            return "adapted"
        best = min(self.losses, key=lambda name: float(self.losses[name] @ self.weight))
        clear = beats(self.losses[best], self.losses["adapted"], self.weight)
        return best if clear else "adapted"


def report_of_statistics(
    found: Collected,
    strengths: tuple[float, ...],
    *,
    fixed: bool = False,
    untried: Mapping[str, str] | None = None,
) -> Adaptation:
    """Return what was done with statistics, which leave no row out."""
    return Adaptation(
        None, found.tasks, found.rows_per_task, "rmse", strengths=strengths, fixed=fixed,
        untried={} if untried is None else untried,
    )  # fmt: skip


def report_of(given: NewRows, trial: CandidateLosses | None, domain: str | None) -> Adaptation:
    """Return what was tried, before anything is chosen."""
    losses = [entry.rows.loss for entry in given.tasks]
    squared = all(isinstance(loss, Squared | SquareRoot) for loss in losses)
    likely = all(isinstance(loss, Logistic | Multinomial) for loss in losses)
    judged = None if trial is None else trial.judged()
    mean, beaten = None, list[str]()
    # A shift without targets is judged on rows of the source.
    own_rows = trial is not None and len(trial.weight) == given.n_rows
    if own_rows and trial and judged and squared and len(judged.weight) >= FEW:
        seen = np.all([np.isfinite(values) for values in trial.losses.values()], axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            # A row's distance from the mean of the others, by that from the mean of all.
            apart = [
                (r.y - r.weight @ r.y / r.weight.sum()) / (1.0 - r.weight / r.weight.sum())
                for r in (entry.rows for entry in given.tasks)
            ]
        alone = 0.5 * np.concatenate(apart)[seen] ** 2
        mean = float(np.sqrt(2.0 * np.average(alone, weights=judged.weight)))
        beaten = [c for c, own in judged.losses.items() if beats(alone, own, judged.weight)]
    return Adaptation(
        domain=domain,
        tasks=tuple(entry.label for entry in given.tasks),
        rows=tuple(len(entry.rows.y) for entry in given.tasks),
        metric="rmse" if squared else "log_loss" if likely else "deviance",
        scores={} if judged is None else judged.scores(squared),
        differences={} if judged is None else judged.differences(),
        untried={} if judged is None else dict(judged.untried),
        mean_rmse=mean,
        worse_than_mean=tuple(beaten),
    )
