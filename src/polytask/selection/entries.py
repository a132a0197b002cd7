"""The models that take part in a comparison or a choice: by name, or given by the user."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sklearn.base import clone

from polytask._checks import nearest, sentence
from polytask._estimator import MultiTaskEstimator
from polytask.baselines import Pooled, SingleTask
from polytask.data import Splitter, TaskData
from polytask.exceptions import DataError, ParameterError
from polytask.io.fingerprint import fingerprint
from polytask.messages import LazyMessage, Translator
from polytask.selection.candidates import DEEP, DEFAULT, GROUPED, MODELS, CandidateModel
from polytask.selection.facts import DataFacts
from polytask.selection.learners import has_lightgbm
from polytask.selection.networks import HELD_OUT

# What stands for a splitter that is taken out; for searches it is None.
_USUAL = {"validation": HELD_OUT}


@dataclass(frozen=True, eq=False)
class Entry:
    """A model that takes part."""

    name: str
    kind: str
    family: str
    estimator: Any
    left_out: LazyMessage | None = None
    cost: int = 0

    @property
    def is_plain(self) -> bool:
        """Whether it is one of those that sharing is compared with."""
        return self.family == "linear" and self.kind in ("separate", "pooled")


def make_entries(
    models: Any,  # noqa: ANN401
    facts: DataFacts,
    groups: Mapping[str, Sequence[CandidateModel]],
    owner: str,
) -> tuple[Entry, ...]:
    """Return the models that were asked for."""
    if not isinstance(models, Iterable):
        allowed = LazyMessage("allowed.models")
        raise ParameterError(sentence("models", owner, allowed, repr(models)))
    asked: list[Any] = [models] if isinstance(models, str) else list(models)
    if len(asked) == 1 and isinstance(asked[0], str) and asked[0] == DEEP:
        asked = [DEFAULT, DEEP]
    entries: list[Entry] = []
    for item in asked:
        entries += _expanded(item, facts, groups, owner)
    names = [entry.name for entry in entries]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        got = LazyMessage("got.twice", {"name": repr(twice[0])})
        raise ParameterError(
            sentence("models", owner, LazyMessage("allowed.different_names"), got)
        )
    return tuple(entries)


def _expanded(
    item: Any,  # noqa: ANN401
    facts: DataFacts,
    groups: Mapping[str, Sequence[CandidateModel]],
    owner: str,
) -> list[Entry]:
    if isinstance(item, str) and item in groups:
        meant = [one for one in groups[item] if facts.groupings or not one.of_groupings]
        return [_known(model, facts) for model in meant]
    if isinstance(item, str):
        if item not in MODELS:
            known = (*groups, *MODELS)
            allowed = LazyMessage("allowed.among", {"names": ", ".join(map(repr, known))})
            raise ParameterError(
                sentence("models", owner, allowed, repr(item)) + nearest(item, known)
            )
        return [_known(MODELS[item], facts)]
    name, estimator = item if isinstance(item, tuple) else (type(item).__name__, item)
    if not isinstance(name, str) or not hasattr(estimator, "fit"):
        allowed = LazyMessage("allowed.model_entries")
        raise ParameterError(sentence("models", owner, allowed, repr(item)))
    return _added(name, estimator, facts)


def _known(model: CandidateModel, facts: DataFacts) -> Entry:
    reason = model.unfit(facts)
    made = None if reason else model.make(facts)
    if made is not None and (reason := _needs_rows(made, facts)):
        made = None
    name = model.name
    if model.of_groupings and facts.groupings:
        name = of_groupings(facts.groupings)
    return Entry(name, model.kind, model.family, made, reason, model.cost)


def of_groupings(names: Iterable[object]) -> str:
    """Return the name of the learned prior of several groupings."""
    return f"learned prior of {' and '.join(map(str, names))}"


def what_is(name: str, kind: str, groupings: Iterable[object], say: Translator) -> str:
    """Explain a model in half a sentence."""
    if name == of_groupings(groupings):
        name = GROUPED
    known, by_lightgbm = f"model_is.{name}", f"model_of_lightgbm.{name}"
    if has_lightgbm() and say.has(by_lightgbm):
        known = by_lightgbm
    return say(known if say.has(known) else f"model_kind.{kind}")


def _needs_rows(estimator: Any, facts: DataFacts) -> LazyMessage | None:  # noqa: ANN401
    """Say that an estimator cannot be fitted on statistics, where there are no rows."""
    able = isinstance(estimator, MultiTaskEstimator) and estimator._fits_moments()
    return LazyMessage("left_out.statistics") if facts.statistics and not able else None


def _added(name: str, estimator: Any, facts: DataFacts) -> list[Entry]:  # noqa: ANN401
    """Wrap an estimator of the user, once per task and once pooled if it knows no tasks."""
    if isinstance(estimator, MultiTaskEstimator):
        return [_added_multitask(name, estimator, facts)]
    unseen = "shared" if facts.unseen else "error"
    pooled = Pooled(estimator, "category", unseen_tasks=unseen)
    apart = MODELS["separate, unpenalised"].unfit(facts)
    alone = SingleTask(estimator)
    apart = apart or _needs_rows(alone, facts)
    joint = _needs_rows(pooled, facts)
    return [
        Entry(f"{name} per task", "separate", "user", None if apart else alone, apart),
        Entry(f"{name} pooled", "pooled", "user", None if joint else pooled, joint),
    ]


def _added_multitask(name: str, estimator: Any, facts: DataFacts) -> Entry:  # noqa: ANN401
    wrapped = getattr(estimator, "estimator", estimator)
    network = isinstance(wrapped, MultiTaskEstimator) and wrapped._is_network
    if isinstance(estimator, SingleTask):
        reason = MODELS["separate"].unfit(facts) or _needs_rows(estimator, facts)
        family = "deep" if network else "user"
        return Entry(name, "separate", family, None if reason else estimator, reason)
    kind = "pooled" if isinstance(estimator, Pooled) else "shared"
    if facts.unseen:
        estimator = clone(estimator).set_params(unseen_tasks="shared")
    family = "linear" if kind == "shared" else "user"
    reason = _needs_rows(estimator, facts)
    made = None if reason else estimator
    return Entry(name, kind, "deep" if network else family, made, reason)


def without_splitters(estimator: Any) -> Any:  # noqa: ANN401 - an estimator
    """Take the splitters, which hold groups or times, out of the parameters of an estimator."""
    params = estimator.get_params(deep=True)
    held = [name for name, value in params.items() if isinstance(value, Splitter)]
    return estimator.set_params(**{name: _USUAL.get(_last(name)) for name in held})


def with_fewer_folds(estimator: Any, data: TaskData) -> Any:  # noqa: ANN401 - an estimator
    """Give the splitters of an estimator no more folds than a part of the rows allows."""
    params = estimator.get_params(deep=True)
    held = {name: value for name, value in params.items() if isinstance(value, Splitter)}
    fewer = {name: value.reduced(data) for name, value in held.items()}
    lacking = [name for name, value in fewer.items() if value is None]
    if lacking:
        fields = {"owner": type(estimator).__name__, "data": str(data)}
        fields["splitter"] = type(held[lacking[0]]).__name__
        raise DataError(LazyMessage("selection.refusal.few_units", fields))
    return estimator.set_params(**fewer)


def told(estimator: Any) -> str:  # noqa: ANN401 - an unfitted estimator
    """Return the parameters of an estimator as text that is the same in another process."""
    return fingerprint(clone(estimator).get_params())


def _last(name: str) -> str:
    return name.rpartition("__")[2]
