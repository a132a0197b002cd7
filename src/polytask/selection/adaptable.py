"""Which fitted models :func:`polytask.adapt` can extend, for whoever proposes it."""

from __future__ import annotations

from typing import Any

from polytask._checks import sentence
from polytask._estimator.groupings import has_levels
from polytask.baselines import Pooled, SingleTask
from polytask.linear import (
    BayesianMultiTaskClassifier,
    BayesianMultiTaskModel,
    BayesianMultiTaskRegressor,
)
from polytask.linear.base import LinearEstimator
from polytask.messages import LazyMessage, Text
from polytask.selection.auto import AutoEstimator
from polytask.selection.shared_base import SharedBase

OWNER = "adapt"


def obstacle(model: Any) -> Text | None:  # noqa: ANN401 - a fitted estimator
    """Return why `adapt` cannot add a task to a model, or None if it can."""
    fields = {"owner": OWNER, "kind": type(model).__name__}
    if isinstance(model, AutoEstimator):
        return _of_several(model)
    if has_levels(model):
        key = "" if isinstance(model, BayesianMultiTaskRegressor) else "levels_labels"
    elif isinstance(model, SingleTask):
        key = "single_task"
    elif isinstance(model, Pooled | SharedBase):
        key = "pooled"
    elif isinstance(model, BayesianMultiTaskModel):
        key = "mixed_prior"
    elif not _is_able(model):
        got = LazyMessage("got.kind", fields)
        return sentence("model", OWNER, LazyMessage("allowed.linear_or_network"), got)
    else:
        key = ""
    return LazyMessage(f"transfer.refusal.{key}", fields) if key else None


def _of_several(model: Any) -> Text:  # noqa: ANN401 - an AutoEstimator
    """Return which of the models that are combined can be extended instead."""
    able = [label for label, member in model.members_.items() if _is_able(member)]
    fields = {"kind": type(model).__name__, "n": len(model.members_)}
    fields |= {"names": ", ".join(map(repr, model.members_)), "able": repr(able[:1])}
    key = "member_levels" if has_levels(model) else "member" if able else "no_member"
    return LazyMessage(f"transfer.refusal.{key}", fields)


def _is_able(model: Any) -> bool:  # noqa: ANN401
    if isinstance(model, BayesianMultiTaskModel):
        return False
    kinds = (LinearEstimator, BayesianMultiTaskRegressor, BayesianMultiTaskClassifier)
    return isinstance(model, kinds) or bool(getattr(model, "_is_network", False))
