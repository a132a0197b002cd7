"""The models that take part in a comparison or a choice: by name, or given by the user."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sklearn.base import clone

from polytask._checks import nearest, sentence
from polytask._estimator import MultiTaskEstimator
from polytask._messages import Said
from polytask.baselines import Pooled, SingleTask
from polytask.data import Splitter
from polytask.exceptions import ParameterError
from polytask.selection.candidates import MODELS, CandidateModel
from polytask.selection.facts import Facts


@dataclass(frozen=True, eq=False)
class Entry:
    """A model that takes part.

    Attributes
    ----------
    name, kind, family : str
        As in :class:`CandidateModel`.
    estimator : object
        Unfitted; None if it is left out.
    left_out : Said or None
        Why it is left out; None if it is not.
    """

    name: str
    kind: str
    family: str
    estimator: Any
    left_out: Said | None = None


def make_entries(
    models: Any,  # noqa: ANN401
    facts: Facts,
    default: Sequence[CandidateModel],
    owner: str,
) -> tuple[Entry, ...]:
    """Return the models that were asked for.

    Parameters
    ----------
    models : "default", or sequence of names, estimators and (name, estimator)
        "default" in a sequence stands for all of them.
    facts : Facts
        The data.
    default : sequence of CandidateModel
        What "default" means.
    owner : str
        Who asks, for messages.

    Returns
    -------
    tuple of Entry
        Names are unique.

    Raises
    ------
    ParameterError
        If a name is unknown or used twice.
    """
    asked: Iterable[Any] = [models] if isinstance(models, str) else models
    if not isinstance(asked, Iterable):
        allowed = "'default', or a list of names, estimators and (name, estimator)"
        raise ParameterError(sentence("models", owner, allowed, repr(models)))
    entries: list[Entry] = []
    for item in asked:
        entries += _expanded(item, facts, default, owner)
    names = [entry.name for entry in entries]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ParameterError(sentence("models", owner, "of different names", f"two {twice[0]!r}"))
    return tuple(entries)


def _expanded(
    item: Any,  # noqa: ANN401
    facts: Facts,
    default: Sequence[CandidateModel],
    owner: str,
) -> list[Entry]:
    if isinstance(item, str) and item == "default":
        return [_known(model, facts) for model in default]
    if isinstance(item, str):
        if item not in MODELS:
            allowed = "'default' or among " + ", ".join(map(repr, MODELS))
            raise ParameterError(
                sentence("models", owner, allowed, repr(item)) + nearest(item, MODELS)
            )
        return [_known(MODELS[item], facts)]
    name, estimator = item if isinstance(item, tuple) else (type(item).__name__, item)
    if not isinstance(name, str) or not hasattr(estimator, "fit"):
        allowed = "names, estimators and (name, estimator)"
        raise ParameterError(sentence("models", owner, allowed, repr(item)))
    return _added(name, estimator, facts)


def _known(model: CandidateModel, facts: Facts) -> Entry:
    reason = model.unfit(facts)
    made = None if reason else model.make(facts)
    return Entry(model.name, model.kind, model.family, made, reason)


def _added(name: str, estimator: Any, facts: Facts) -> list[Entry]:  # noqa: ANN401
    """Wrap an estimator of the user, once per task and once pooled if it knows no tasks."""
    if isinstance(estimator, MultiTaskEstimator):
        return [_added_face(name, estimator, facts)]
    unseen = "shared" if facts.unseen else "error"
    pooled = Pooled(estimator, "category", unseen_tasks=unseen)
    apart = MODELS["separate, unpenalised"].unfit(facts)
    alone = None if apart else SingleTask(estimator)
    return [
        Entry(f"{name} per task", "separate", "user", alone, apart),
        Entry(f"{name} pooled", "pooled", "user", pooled),
    ]


def _added_face(name: str, estimator: Any, facts: Facts) -> Entry:  # noqa: ANN401
    if isinstance(estimator, SingleTask):
        reason = MODELS["separate"].unfit(facts)
        return Entry(name, "separate", "user", None if reason else estimator, reason)
    kind = "pooled" if isinstance(estimator, Pooled) else "shared"
    if facts.unseen:
        estimator = clone(estimator).set_params(unseen_tasks="shared")
    return Entry(name, kind, "linear" if kind == "shared" else "user", estimator)


def without_splitters(estimator: Any) -> Any:  # noqa: ANN401 - an estimator
    """Take the splitters, which hold groups or times, out of the parameters of an estimator."""
    params = estimator.get_params(deep=True)
    held = [name for name, value in params.items() if isinstance(value, Splitter)]
    return estimator.set_params(**dict.fromkeys(held))
