"""The one registry of candidates: penalties of the search, and models of a comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from polytask._messages import Said
from polytask.penalties import L2, L21, Penalty, TraceNorm, toward_mean
from polytask.selection.losses import boosting_loss, is_unusual, name_of, of_means

# The pull of every coefficient to zero, relative to the pull to the tasks' mean: a trace
# only (the mean is as good as free), and a share that matters when features are many.
_RIDGE_SHARES = (1e-3, 0.1)


# Strengths that ridge regression tries on scaled features.
_RIDGE = tuple(10.0 ** (k / 3) for k in range(-9, 16))
# Beyond it one fit of the learned prior takes minutes.
_MOST_LEARNED = 300
# A pull of intercepts as weak as a hundredth of a row: finite for a task of one class.
_HARDLY = 0.01
# Boosting one model per task needs leaves of 20 rows on both sides of a few cuts.
_ROWS_FOR_BOOSTING = 100
# Of the mean curvature of the logistic loss on scaled features, 1/4: all but unpenalised,
# and finite where the classes can be separated.
_NEARLY_NONE = 1e-4 * 0.25
# The same share of the curvature of a loss with a logarithmic link.
_NEARLY_NONE_OF_MEANS = 1e-4
# Strengths of a search inside a comparison, which repeats it for every split.
_ALPHAS = 20


def _near_mean() -> tuple[Penalty, ...]:
    return tuple(toward_mean(1.0) + L2(share) for share in _RIDGE_SHARES)


def default_penalties() -> tuple[Penalty, ...]:
    """Return the default candidates: near the mean, the same features, a common subspace."""
    return (*_near_mean(), L21(), TraceNorm())


@dataclass(frozen=True)
class Facts:
    """What decides which models can be tried on some data.

    Attributes
    ----------
    problem : {"regression", "classification", "mixed"}
        What the targets are.
    losses : str or dict
        The loss, or for a mixed problem that of each task.
    n_rows, n_features, n_tasks : int
        Their size.
    median_rows : float
        Labelled rows of the median task.
    targets : bool
        Whether the tasks are columns of a target matrix.
    sparse : bool
        Whether X is sparse.
    unseen : bool
        Whether the models have to predict tasks that they were not fitted on.
    seed : int
        For models that draw at random.
    cv : object
        The folds of a search inside the training part: a number, or a splitter that keeps
        groups together or time in order.
    """

    problem: str
    losses: Any
    n_rows: int
    n_features: int
    n_tasks: int
    median_rows: float
    targets: bool
    sparse: bool
    unseen: bool
    seed: int
    cv: Any = 5


@dataclass(frozen=True)
class CandidateModel:
    """A model that :func:`polytask.compare` and the command line know by name.

    Attributes
    ----------
    name : str
        Unique name.
    kind : {"separate", "pooled", "shared", "other"}
        What it does with the tasks.
    family : {"linear", "trees", "reference", "user"}
        What it is made of. "reference" models have no penalty to speak of: they show what
        shrinkage alone does and are never recommended.
    make : callable
        From facts to an unfitted estimator.
    unfit : callable
        From facts to the reason why it cannot be tried, None if it can.
    quick : bool
        Whether a quick comparison has it; of each kind it has the first that can be tried.
    compared : bool
        Whether a comparison has it unless it is asked for other models.
    """

    name: str
    kind: str
    family: str
    make: Callable[[Facts], Any]
    unfit: Callable[[Facts], Said | None]
    quick: bool = False
    compared: bool = True


def tuned_linear(
    problem: str,
    *,
    sparse: bool = False,
    cv: Any = 5,  # noqa: ANN401
    loss: Any = "auto",  # noqa: ANN401
) -> Any:  # noqa: ANN401
    """Return the linear model of one task, its strength found by cross-validation.

    Parameters
    ----------
    problem : {"regression", "classification"}
        What the target is.
    sparse : bool, default=False
        Whether X is sparse; then its columns are scaled but not centred.
    cv : int or Splitter, default=5
        The folds of the search: a number, which ridge regression replaces by leaving every
        row out once, or a splitter that keeps groups together or time in order.
    loss : str or Loss, default="auto"
        "auto": squared for numbers, logistic or multinomial for classes.

    Returns
    -------
    Pipeline
        Scaling, then ridge, logistic, Poisson or gamma regression, or the same with another
        loss.
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from polytask.baselines import TunedLogistic, TunedMeans

    scaler = StandardScaler(with_mean=not sparse)
    if of_means(loss):
        return make_pipeline(scaler, TunedMeans(name_of(loss), cv))
    if is_unusual(loss):
        searched = _class_of(problem, searched=True)
        return make_pipeline(scaler, searched(L2(), loss=loss, alphas=_ALPHAS, cv=cv))
    if problem == "regression":
        return make_pipeline(scaler, _ridge(sparse, cv))
    return make_pipeline(scaler, TunedLogistic(cv))


def _class_of(problem: str, *, searched: bool) -> Any:  # noqa: ANN401 - a class
    """Return the penalised estimator of a problem."""
    from polytask import linear, selection

    names = {"regression": "Regressor", "classification": "Classifier", "mixed": "Model"}
    module: Any = selection if searched else linear
    return getattr(module, f"MultiTask{names[problem]}{'CV' if searched else ''}")


def _ridge(sparse: bool, cv: Any) -> Any:  # noqa: ANN401 - an estimator
    from sklearn.linear_model import RidgeCV

    from polytask.baselines import TunedRidge

    if isinstance(cv, int):
        return RidgeCV(alphas=_RIDGE)
    if sparse:
        return RidgeCV(alphas=_RIDGE, cv=cv, scoring="neg_mean_squared_error")
    return TunedRidge(_RIDGE, cv)


def _linear(facts: Facts) -> Any:  # noqa: ANN401 - an estimator of scikit-learn
    return tuned_linear(facts.problem, sparse=facts.sparse, cv=facts.cv, loss=facts.losses)


def _unpenalised(facts: Facts, rows: float) -> Any:  # noqa: ANN401 - an estimator
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler(with_mean=not facts.sparse)
    if of_means(facts.losses):
        from polytask.baselines import TunedMeans

        strengths = (_NEARLY_NONE_OF_MEANS,)
        return make_pipeline(scaler, TunedMeans(name_of(facts.losses), strengths=strengths))
    if is_unusual(facts.losses):
        plain = _class_of(facts.problem, searched=False)
        return make_pipeline(scaler, plain(L2(_NEARLY_NONE), loss=facts.losses))
    if facts.problem == "regression":
        return make_pipeline(scaler, LinearRegression())
    inverse = LogisticRegression(C=1.0 / (_NEARLY_NONE * max(rows, 1.0)), max_iter=5000)
    return make_pipeline(scaler, inverse)


def _unpenalised_alone(facts: Facts) -> Any:  # noqa: ANN401 - an estimator
    return _unpenalised(facts, facts.median_rows)


def _unpenalised_together(facts: Facts) -> Any:  # noqa: ANN401 - an estimator
    return _unpenalised(facts, facts.n_rows)


def _boosting(facts: Facts) -> Any:  # noqa: ANN401 - an estimator of scikit-learn
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    if facts.problem == "regression":
        chosen = boosting_loss(facts.losses)
        return HistGradientBoostingRegressor(random_state=facts.seed, **chosen)
    return HistGradientBoostingClassifier(random_state=facts.seed)


def _separate(learner: Callable[[Facts], Any]) -> Callable[[Facts], Any]:
    def make(facts: Facts) -> Any:  # noqa: ANN401
        from polytask.baselines import SingleTask

        return SingleTask(learner(facts))

    return make


def _pooled(learner: Callable[[Facts], Any], effect: str) -> Callable[[Facts], Any]:
    def make(facts: Facts) -> Any:  # noqa: ANN401
        from polytask.baselines import Pooled

        unseen = "shared" if facts.unseen else "error"
        return Pooled(learner(facts), effect, unseen_tasks=unseen)

    return make


def _searched(penalties: Callable[[], Any]) -> Callable[[Facts], Any]:
    def make(facts: Facts) -> Any:  # noqa: ANN401
        return _class_of(facts.problem, searched=True)(
            penalties(),
            loss=facts.losses,
            alphas=_ALPHAS,
            cv=facts.cv,
            random_state=facts.seed,
            unseen_tasks="shared" if facts.unseen else "error",
        )

    return make


def _learned(facts: Facts) -> Any:  # noqa: ANN401 - an estimator
    from polytask.linear import BayesianMultiTaskClassifier, BayesianMultiTaskRegressor

    classes: dict[str, Any] = {
        "regression": BayesianMultiTaskRegressor,
        "classification": BayesianMultiTaskClassifier,
    }
    return classes[facts.problem](unseen_tasks="shared" if facts.unseen else "error")


def _alone(facts: Facts) -> Any:  # noqa: ANN401 - an estimator
    # Ridge ties no task to another; one estimator cannot be for numbers and for classes.
    apart = _searched(L2) if facts.problem == "mixed" else _separate(_linear)
    return apart(facts)


def _one_strength(facts: Facts) -> Any:  # noqa: ANN401 - an estimator
    """Tune the separate models together: what a common strength does is not sharing."""
    # A task of one class, or of zeros, has no finite intercept that is free.
    unbounded = facts.problem == "classification" or of_means(facts.losses)
    held = ("toward_mean", _HARDLY) if unbounded else ("task", 1.0)
    return _searched(L2)(facts).set_params(intercept=held[0], intercept_strength=held[1])


def _always(facts: Facts) -> Said | None:
    return None


def _needs_seen_tasks(facts: Facts) -> Said | None:
    return Said("left_out.unseen") if facts.unseen else None


def _needs_own_rows(facts: Facts) -> Said | None:
    if facts.problem == "mixed":
        return Said("left_out.one_estimator")
    return _needs_seen_tasks(facts)


def _needs_one_kind(facts: Facts) -> Said | None:
    return Said("left_out.pooled_kinds") if facts.problem == "mixed" else None


def _needs_few_features(facts: Facts) -> Said | None:
    if facts.problem == "mixed":
        return Said("left_out.learned_kinds")
    if is_unusual(facts.losses):
        return Said("left_out.learned_loss")
    if facts.n_features > _MOST_LEARNED:
        sizes = {"most": _MOST_LEARNED, "features": facts.n_features}
        return Said("left_out.learned_wide", sizes)
    return None


def _needs_many_rows(facts: Facts) -> Said | None:
    if facts.sparse:
        return Said("left_out.boosting_sparse")
    if facts.median_rows < _ROWS_FOR_BOOSTING:
        sizes = {"least": _ROWS_FOR_BOOSTING, "rows": int(facts.median_rows)}
        return Said("left_out.boosting_rows", sizes)
    return _needs_own_rows(facts)


def _needs_dense(facts: Facts) -> Said | None:
    return Said("left_out.boosting_sparse") if facts.sparse else _needs_one_kind(facts)


_CANDIDATES = (
    CandidateModel("separate", "separate", "linear", _alone, _needs_seen_tasks, True),
    CandidateModel("separate, one strength", "separate", "linear", _one_strength, _needs_own_rows),
    CandidateModel("pooled", "pooled", "linear", _pooled(_linear, "none"), _needs_one_kind),
    CandidateModel(
        "pooled + intercepts",
        "pooled",
        "linear",
        _pooled(_linear, "intercept"),
        _needs_one_kind,
        True,
    ),
    CandidateModel(
        "pooled + category", "pooled", "linear", _pooled(_linear, "category"), _needs_one_kind
    ),
    CandidateModel("learned prior", "shared", "linear", _learned, _needs_few_features, True),
    CandidateModel("near the mean", "shared", "linear", _searched(_near_mean), _always, True),
    CandidateModel("same features", "shared", "linear", _searched(L21), _always),
    CandidateModel("common subspace", "shared", "linear", _searched(TraceNorm), _always),
    CandidateModel(
        "boosting per task", "separate", "trees", _separate(_boosting), _needs_many_rows
    ),
    CandidateModel(
        "boosting pooled", "pooled", "trees", _pooled(_boosting, "category"), _needs_dense
    ),
    CandidateModel(
        "separate, unpenalised",
        "separate",
        "reference",
        _separate(_unpenalised_alone),
        _needs_own_rows,
    ),
    CandidateModel(
        "pooled + intercepts, unpenalised",
        "pooled",
        "reference",
        _pooled(_unpenalised_together, "intercept"),
        _needs_one_kind,
    ),
)

MODELS: Mapping[str, CandidateModel] = {model.name: model for model in _CANDIDATES}
"""The models of a comparison by name, in the order in which they are fitted."""


def compared_models() -> tuple[CandidateModel, ...]:
    """Return the models that a comparison has unless it is asked for others."""
    return tuple(model for model in _CANDIDATES if model.compared)


def quick_models(facts: Facts) -> tuple[CandidateModel, ...]:
    """Return the models of a quick comparison.

    Parameters
    ----------
    facts : Facts
        What the data are.

    Returns
    -------
    tuple of CandidateModel
        Of each kind the first that can be tried, and those before it that cannot.
    """
    found: list[CandidateModel] = []
    tried: set[str] = set()
    for model in _CANDIDATES:
        if model.quick and model.kind not in tried:
            found.append(model)
            tried |= set() if model.unfit(facts) else {model.kind}
    return tuple(found)
