"""The one registry of candidates: penalties of the search, and models of a comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from polytask._checks import is_whole
from polytask.messages import LazyMessage
from polytask.penalties import L2, L21, Penalty, TraceNorm, toward_mean
from polytask.selection import learners, networks
from polytask.selection.facts import DataFacts
from polytask.selection.learners import (
    boosting,
    class_of,
    extra_trees,
    forest,
    has_lightgbm,
    histogram_boosting,
    linear,
    mean,
    unpenalised_alone,
    unpenalised_together,
)
from polytask.selection.losses import has_learned_prior, is_unusual, of_means

# The pull of every coefficient to zero, relative to the pull to the tasks' mean: a trace
# only (the mean is as good as free), and a share that matters when features are many.
_RIDGE_SHARES = (1e-3, 0.1)
# Beyond it one fit of the learned prior takes minutes.
_MOST_LEARNED = 300
# A pull of intercepts as weak as a hundredth of a row: finite for a task of one class.
_HARDLY = 0.01
# Boosting one model per task needs leaves of 20 rows on both sides of a few cuts.
_ROWS_FOR_BOOSTING = 100
# Trees with a learned prior have something to learn of so many rows, and slopes of their own
# of no more features than this.
_ROWS_FOR_MIXED, _MOST_SLOPES = 500, 30
# A penalty in units of the mean curvature under which no coefficient is left.
_NOTHING_LEFT = 1e8
# Folds for the number of trees, inside those of a comparison.
_FOLDS_OF_TREES = 3
# Rows of which half make a base for a correction: of linear models, and of trees, which are
# corrected as well where they learned from half of the rows.
_MANY_ROWS, _MANY_FOR_TREES = 100_000, 500


def _near_mean() -> tuple[Penalty, ...]:
    return tuple(toward_mean(1.0) + L2(share) for share in _RIDGE_SHARES)


def default_penalties() -> tuple[Penalty, ...]:
    """Return the default candidates: near the mean, the same features, a common subspace."""
    return (*_near_mean(), L21(), TraceNorm())


def quadratic_penalties() -> tuple[Penalty, ...]:
    """Return the default candidates that are normal priors: near the mean, and near zero."""
    return (*_near_mean(), L2())


@dataclass(frozen=True)
class CandidateModel:
    """A model that :func:`polytask.compare` and the command line know by name."""

    name: str
    kind: str
    family: str
    make: Callable[[DataFacts], Any]
    unfit: Callable[[DataFacts], LazyMessage | None]
    quick: bool = False
    compared: bool = True
    cost: int = 0
    # Whether it is for rows of several groupings alone.
    of_groupings: bool = False


def _corrected(base: Callable[[DataFacts], Any], halves: int) -> Callable[[DataFacts], Any]:
    """Make a corrected base that learns from halves of so many rows."""

    def make(facts: DataFacts) -> Any:  # noqa: ANN401
        from polytask.selection.shared_base import SharedBase

        unseen = "shared" if facts.unseen else "error"
        # Half of many rows are as good a base as four fifths, at half of the time.
        many = is_whole(facts.cv) and facts.n_rows >= halves
        return SharedBase(base(facts), cv=2 if many else facts.cv, unseen_tasks=unseen)

    return make


def _separate(learner: Callable[[DataFacts], Any]) -> Callable[[DataFacts], Any]:
    def make(facts: DataFacts) -> Any:  # noqa: ANN401
        from polytask.baselines import SingleTask

        return SingleTask(learner(facts))

    return make


def _pooled(learner: Callable[[DataFacts], Any], effect: str) -> Callable[[DataFacts], Any]:
    def make(facts: DataFacts) -> Any:  # noqa: ANN401
        from polytask.baselines import Pooled

        unseen = "shared" if facts.unseen else "error"
        return Pooled(learner(facts), effect, unseen_tasks=unseen)

    return make


def _joint(learner: Callable[[DataFacts], Any]) -> Callable[[DataFacts], Any]:
    def make(facts: DataFacts) -> Any:  # noqa: ANN401
        from polytask.baselines import Joint

        return Joint(learner(facts))

    return make


def _searched(penalties: Callable[[], Any]) -> Callable[[DataFacts], Any]:
    def make(facts: DataFacts) -> Any:  # noqa: ANN401
        return class_of(facts.problem, searched=True)(
            penalties(),
            loss=facts.losses,
            alphas=learners.ALPHAS,
            cv=facts.cv,
            random_state=facts.seed,
            unseen_tasks="shared" if facts.unseen else "error",
        )

    return make


def _learned(facts: DataFacts) -> Any:  # noqa: ANN401 - an estimator
    from polytask import linear

    unseen = "shared" if facts.unseen else "error"
    if facts.problem == "mixed" or is_unusual(facts.losses):
        return linear.BayesianMultiTaskModel(loss=facts.losses, unseen_tasks=unseen)
    numbers = facts.problem == "regression"
    made = linear.BayesianMultiTaskRegressor if numbers else linear.BayesianMultiTaskClassifier
    return made(unseen_tasks=unseen)


def _mixed_boosting(facts: DataFacts) -> Any:  # noqa: ANN401 - an estimator
    from polytask.boosting import MixedBoostingClassifier, MixedBoostingRegressor

    params: dict[str, Any] = {
        "varying": "all" if facts.n_features <= _MOST_SLOPES else (),
        "cv": _FOLDS_OF_TREES if is_whole(facts.cv) else facts.cv,
        "unseen_tasks": "shared" if facts.unseen else "error",
        "random_state": facts.seed,
    }
    if facts.problem == "classification":
        return MixedBoostingClassifier(**params)
    counts = of_means(facts.losses)
    if facts.groupings and not counts:
        # A level that was in no training row has the mean of its grouping.
        params |= {"task_column": list(facts.groupings), "unseen_tasks": "shared"}
    return MixedBoostingRegressor(loss=facts.losses if counts else "squared", **params)


def _learned_of_all(facts: DataFacts) -> Any:  # noqa: ANN401 - an estimator
    # A level that was in no training row has the mean of its grouping.
    return _learned(facts).set_params(task_column=list(facts.groupings), unseen_tasks="shared")


def _alone(facts: DataFacts) -> Any:  # noqa: ANN401 - an estimator
    # Ridge ties no task to another; one estimator cannot be for numbers and for classes.
    apart = _searched(L2) if facts.problem == "mixed" else _separate(linear)
    return apart(facts)


def _means(facts: DataFacts) -> Any:  # noqa: ANN401 - an estimator
    if facts.problem == "mixed":
        made = class_of(facts.problem, searched=False)
        return made(L2(_NOTHING_LEFT), loss=facts.losses)
    return _separate(mean)(facts)


def _one_strength(facts: DataFacts) -> Any:  # noqa: ANN401 - an estimator
    """Tune the separate models together: what a common strength does is not sharing."""
    # A task of one class, or of zeros, has no finite intercept that is free.
    unbounded = facts.problem == "classification" or of_means(facts.losses)
    held = ("toward_mean", _HARDLY) if unbounded else ("task", 1.0)
    return _searched(L2)(facts).set_params(intercept=held[0], intercept_strength=held[1])


def _always(facts: DataFacts) -> LazyMessage | None:
    return None


def _needs_seen_tasks(facts: DataFacts) -> LazyMessage | None:
    return LazyMessage("left_out.unseen") if facts.unseen else None


def _needs_own_rows(facts: DataFacts) -> LazyMessage | None:
    if facts.problem == "mixed":
        return LazyMessage("left_out.one_estimator")
    return _needs_seen_tasks(facts)


def _needs_one_kind(facts: DataFacts) -> LazyMessage | None:
    return LazyMessage("left_out.pooled_kinds") if facts.problem == "mixed" else None


def _needs_one_unit(facts: DataFacts) -> LazyMessage | None:
    """Say that one line cannot be for targets in other units; trees tell the targets apart."""
    if facts.target_spread >= _OTHER_UNITS:
        return LazyMessage("left_out.pooled_units", {"times": f"{facts.target_spread:,.0f}"})
    return _needs_one_kind(facts)


def _needs_few_features(facts: DataFacts) -> LazyMessage | None:
    if not has_learned_prior(facts.losses):
        return LazyMessage("left_out.learned_loss")
    if facts.n_features > _MOST_LEARNED:
        sizes = {"most": _MOST_LEARNED, "features": facts.n_features}
        return LazyMessage("left_out.learned_wide", sizes)
    return None


def _needs_groupings(facts: DataFacts) -> LazyMessage | None:
    if not facts.groupings:
        return LazyMessage("left_out.one_grouping")
    if facts.problem == "mixed" or isinstance(facts.losses, Mapping):
        return LazyMessage("left_out.groupings_loss")
    return _needs_few_features(facts)


def _needs_many_rows(facts: DataFacts) -> LazyMessage | None:
    if facts.sparse:
        return LazyMessage("left_out.boosting_sparse")
    if facts.median_rows < _ROWS_FOR_BOOSTING:
        sizes = {"least": _ROWS_FOR_BOOSTING, "rows": f"{facts.median_rows:,.6g}"}
        return LazyMessage("left_out.boosting_rows", sizes)
    return _needs_own_rows(facts)


def _needs_matrix(facts: DataFacts) -> LazyMessage | None:
    if not facts.targets or facts.unseen:
        return LazyMessage("left_out.forest_form")
    if facts.gaps:
        return LazyMessage("left_out.forest_gaps")
    return _needs_dense(facts)


def _needs_gaps(facts: DataFacts) -> LazyMessage | None:
    """Leave it to the joint forest, which shares, wherever that can be fitted."""
    if not facts.targets or facts.unseen:
        return LazyMessage("left_out.forest_form")
    if facts.problem == "mixed":
        return LazyMessage("left_out.one_estimator")
    return _needs_dense(facts) if facts.gaps else LazyMessage("left_out.forest_whole")


def _needs_long_rows(facts: DataFacts) -> LazyMessage | None:
    """Leave targets of the same rows to the forests above, and few rows to models that shrink."""
    if facts.targets:
        return LazyMessage("left_out.forest_matrix")
    if facts.median_rows < _ROWS_FOR_BOOSTING:
        sizes = {"least": _ROWS_FOR_BOOSTING, "rows": f"{facts.median_rows:,.6g}"}
        return LazyMessage("left_out.forest_rows", sizes)
    if is_unusual(facts.losses):
        return LazyMessage("left_out.forest_loss")
    return _needs_dense(facts)


def _needs_rows_of_one_kind(facts: DataFacts) -> LazyMessage | None:
    if not has_lightgbm():
        return LazyMessage("left_out.no_lightgbm")
    unusual = is_unusual(facts.losses) and not of_means(facts.losses)
    if facts.targets or facts.problem == "mixed" or unusual:
        return LazyMessage("left_out.mixed_boosting")
    if facts.n_rows < _ROWS_FOR_MIXED:
        sizes = {"least": _ROWS_FOR_MIXED, "rows": f"{facts.n_rows:,.6g}"}
        return LazyMessage("left_out.mixed_boosting_rows", sizes)
    return None


def _needs_learnable(facts: DataFacts) -> LazyMessage | None:
    """Say why no learned prior can correct a base; it is given few columns where X is wide."""
    if facts.problem == "mixed":
        return LazyMessage("left_out.corrected_kinds")
    return LazyMessage("left_out.corrected_loss") if is_unusual(facts.losses) else None


def _needs_dense_learnable(facts: DataFacts) -> LazyMessage | None:
    return _needs_dense(facts) or _needs_learnable(facts)


def _needs_dense(facts: DataFacts) -> LazyMessage | None:
    return LazyMessage("left_out.boosting_sparse") if facts.sparse else _needs_one_kind(facts)


# Targets are in other units if their scales differ so many times: no one equation fits all.
_OTHER_UNITS = 10.0

MEANS = "task means"
"""What is left of a choice where nothing can be predicted."""

GROUPED = "learned prior of all groupings"
"""The linear model that reads several groupings."""

_CANDIDATES = (
    CandidateModel("separate", "separate", "linear", _alone, _needs_seen_tasks, True),
    # A strength learned from all tasks is no sharing of coefficients, so every verdict has it.
    CandidateModel(
        "separate, one strength",
        "separate",
        "linear",
        _one_strength,
        _needs_own_rows,
        quick=True,
        cost=2,
    ),
    CandidateModel("pooled", "pooled", "linear", _pooled(linear, "none"), _needs_one_unit, True),
    CandidateModel(
        "pooled + intercepts",
        "pooled",
        "linear",
        _pooled(linear, "intercept"),
        _needs_one_unit,
        True,
    ),
    CandidateModel(
        "pooled + category", "pooled", "linear", _pooled(linear, "category"), _needs_one_unit
    ),
    CandidateModel(MEANS, "separate", "mean", _means, _needs_seen_tasks, True),
    CandidateModel(
        "learned prior", "shared", "linear", _learned, _needs_few_features, True, cost=1
    ),
    CandidateModel(
        GROUPED,
        "shared",
        "linear",
        _learned_of_all,
        _needs_groupings,
        cost=1,
        of_groupings=True,
    ),
    CandidateModel(
        "near the mean", "shared", "linear", _searched(_near_mean), _always, True, cost=2
    ),
    CandidateModel("same features", "shared", "linear", _searched(L21), _always, cost=3),
    CandidateModel("common subspace", "shared", "linear", _searched(TraceNorm), _always, cost=3),
    CandidateModel(
        "boosting per task", "separate", "trees", _separate(boosting), _needs_many_rows, cost=1
    ),
    CandidateModel(
        "boosting pooled", "pooled", "trees", _pooled(boosting, "category"), _needs_dense, cost=1
    ),
    CandidateModel(
        "boosting, learned prior",
        "shared",
        "trees",
        _mixed_boosting,
        _needs_rows_of_one_kind,
        compared=False,
        cost=3,
    ),
    CandidateModel(
        "joint forest", "shared", "trees", _joint(forest), _needs_matrix, compared=False, cost=1
    ),
    CandidateModel(
        "joint extra trees",
        "shared",
        "trees",
        _joint(extra_trees),
        _needs_matrix,
        compared=False,
        cost=1,
    ),
    CandidateModel(
        "forest per task",
        "separate",
        "trees",
        _separate(forest),
        _needs_gaps,
        compared=False,
        cost=1,
    ),
    CandidateModel(
        "forest pooled",
        "pooled",
        "trees",
        _pooled(forest, "category"),
        _needs_long_rows,
        compared=False,
        cost=2,
    ),
    CandidateModel(
        "extra trees pooled",
        "pooled",
        "trees",
        _pooled(extra_trees, "category"),
        _needs_long_rows,
        compared=False,
        cost=2,
    ),
    CandidateModel(
        "pooled, corrected",
        "shared",
        "linear",
        _corrected(linear, _MANY_ROWS),
        _needs_learnable,
        compared=False,
        cost=2,
    ),
    CandidateModel(
        "boosting, corrected",
        "shared",
        "trees",
        # LightGBM is no better as a base (docs/results/boosting.md).
        _corrected(histogram_boosting, _MANY_FOR_TREES),
        _needs_dense_learnable,
        compared=False,
        cost=2,
    ),
    CandidateModel(
        "network per task",
        "separate",
        "deep",
        networks.apart,
        _needs_seen_tasks,
        quick=True,
        compared=False,
        cost=3,
    ),
    CandidateModel(
        "network pooled",
        "pooled",
        "deep",
        _pooled(networks.alone, "category"),
        _needs_one_kind,
        compared=False,
        cost=3,
    ),
    CandidateModel(
        "network, shared trunk",
        "shared",
        "deep",
        networks.one_trunk,
        _always,
        quick=True,
        compared=False,
        cost=3,
    ),
    CandidateModel(
        "network, experts", "shared", "deep", networks.experts, _always, compared=False, cost=3
    ),
    CandidateModel(
        "separate, unpenalised",
        "separate",
        "reference",
        _separate(unpenalised_alone),
        _needs_own_rows,
    ),
    CandidateModel(
        "pooled + intercepts, unpenalised",
        "pooled",
        "reference",
        _pooled(unpenalised_together, "intercept"),
        _needs_one_unit,
    ),
)

MODELS: Mapping[str, CandidateModel] = {model.name: model for model in _CANDIDATES}
"""The models of a comparison by name, in the order in which they are fitted."""

DEFAULT, DEEP = "default", "deep"
"""What stands for several models: those that are tried unless others are named, and networks."""


def compared_models() -> tuple[CandidateModel, ...]:
    """Return the models that a comparison has unless it is asked for others."""
    return tuple(model for model in _CANDIDATES if model.compared)


def auto_models() -> tuple[CandidateModel, ...]:
    """Return the candidates of an automatic choice: all but networks and what is for reference."""
    return tuple(model for model in _CANDIDATES if model.family not in ("reference", DEEP))


def deep_models() -> tuple[CandidateModel, ...]:
    """Return the networks: one per task, one for all, and those that share."""
    return tuple(model for model in _CANDIDATES if model.family == DEEP)


def quick_models(facts: DataFacts, *, deep: bool = False) -> tuple[CandidateModel, ...]:
    """Return the models of a quick comparison."""
    found: list[CandidateModel] = []
    shares = False
    for model in _CANDIDATES:
        if model.of_groupings and facts.groupings and not deep:
            found.append(model)
        meant = model.quick and (model.family == DEEP) is deep
        if meant and not (shares and model.kind == "shared"):
            found.append(model)
            shares |= model.kind == "shared" and not model.unfit(facts)
    return tuple(found)
