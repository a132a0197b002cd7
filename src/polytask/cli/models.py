"""The models that commands know by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from polytask._checks import nearest
from polytask.cli.training_data import UNUSUAL, Problem, name_of
from polytask.exceptions import IncompatibleError, ParameterError

if TYPE_CHECKING:
    from polytask.penalties import Penalty


def check_models(names: Sequence[str]) -> None:
    """Refuse, before anything is read, names that there are not and networks without PyTorch."""
    from polytask.selection.candidates import DEEP, DEFAULT, MODELS
    from polytask.selection.networks import load_deep

    known = (DEFAULT, DEEP, *MODELS)
    for name in names:
        require("--models", name, known)
    if any(name == DEEP or (name != DEFAULT and MODELS[name].family == DEEP) for name in names):
        load_deep()


def require(option: str, name: str, known: Sequence[str]) -> None:
    """Refuse a value of an option that is not among those known."""
    if name not in known:
        shown = ", ".join(map(repr, known))
        raise ParameterError(
            f"{option} must be one of {shown}; got {name!r}.{nearest(name, known)}"
        )


@dataclass(frozen=True)
class Plan:
    """What a model is built from."""

    problem: Problem
    loss: str | dict[str, str]
    task_column: str | None
    unseen_tasks: str
    penalty: Penalty | None
    folds: int
    seed: int
    jobs: int | None
    criterion: str | None = None


Build = Callable[[Plan], Any]


@dataclass(frozen=True)
class Model:
    """One choice of ``--model``."""

    help: str
    build: Build
    problem: Problem | None = None
    penalised: bool = True
    usual_loss: bool = False
    several_kinds: bool = True


def _shared(plan: Plan) -> dict[str, Any]:
    """Return the parameters that all linear models have."""
    scaled = {"scale_targets": "auto"} if plan.problem is not Problem.CLASSIFICATION else {}
    return scaled | {
        "penalty": plan.penalty,
        "loss": plan.loss,
        "standardize": True,
        "task_column": plan.task_column,
        "unseen_tasks": plan.unseen_tasks,
        "n_jobs": plan.jobs,
    }


def _plain(plan: Plan) -> Any:  # noqa: ANN401 - any estimator
    from polytask import MultiTaskClassifier, MultiTaskModel, MultiTaskRegressor

    classes: dict[Problem, Any] = {
        Problem.REGRESSION: MultiTaskRegressor,
        Problem.CLASSIFICATION: MultiTaskClassifier,
        Problem.MIXED: MultiTaskModel,
    }
    return classes[plan.problem](**_shared(plan))


def _searched(plan: Plan) -> Any:  # noqa: ANN401
    if plan.criterion is not None:
        return _judged(plan)
    from polytask import MultiTaskClassifierCV, MultiTaskModelCV, MultiTaskRegressorCV

    classes: dict[Problem, Any] = {
        Problem.REGRESSION: MultiTaskRegressorCV,
        Problem.CLASSIFICATION: MultiTaskClassifierCV,
        Problem.MIXED: MultiTaskModelCV,
    }
    search = {"cv": plan.folds, "random_state": plan.seed}
    return classes[plan.problem](**_shared(plan), **search)


def _judged(plan: Plan) -> Any:  # noqa: ANN401
    from polytask import MultiTaskClassifierIC, MultiTaskModelIC, MultiTaskRegressorIC

    classes: dict[Problem, Any] = {
        Problem.REGRESSION: MultiTaskRegressorIC,
        Problem.CLASSIFICATION: MultiTaskClassifierIC,
        Problem.MIXED: MultiTaskModelIC,
    }
    return classes[plan.problem](**_shared(plan), criterion=plan.criterion)


def _learned(plan: Plan) -> Any:  # noqa: ANN401
    from polytask import BayesianMultiTaskClassifier, BayesianMultiTaskRegressor

    classes: dict[Problem, Any] = {
        Problem.REGRESSION: BayesianMultiTaskRegressor,
        Problem.CLASSIFICATION: BayesianMultiTaskClassifier,
    }
    return classes[plan.problem](
        task_column=plan.task_column, unseen_tasks=plan.unseen_tasks, n_jobs=plan.jobs
    )


def _single(plan: Plan) -> Any:  # noqa: ANN401
    from polytask import SingleTask
    from polytask.selection.learners import tuned_linear

    return SingleTask(
        tuned_linear(plan.problem.value, loss=plan.loss),
        task_column=plan.task_column,
        unseen_tasks=plan.unseen_tasks,
        n_jobs=plan.jobs,
    )


def _pooled(effect: str) -> Build:
    def build(plan: Plan) -> Any:  # noqa: ANN401
        from polytask import Pooled
        from polytask.selection.learners import tuned_linear

        return Pooled(
            tuned_linear(plan.problem.value, loss=plan.loss),
            effect,
            task_column=plan.task_column,
            unseen_tasks=plan.unseen_tasks,
        )

    return build


def _network(plan: Plan) -> Any:  # noqa: ANN401
    from polytask.selection.networks import network

    made = network(plan.problem.value, plan.loss, plan.seed)
    return made.set_params(task_column=plan.task_column, unseen_tasks=plan.unseen_tasks)


MODELS: Mapping[str, Model] = {
    "search": Model("penalty and strength found by cross-validation (the default)", _searched),
    "multitask": Model("one penalty, by --penalty or L21(fraction=0.1)", _plain),
    "learned": Model(
        "a prior learned from the tasks, nothing to tune",
        _learned,
        penalised=False,
        usual_loss=True,
        several_kinds=False,
    ),
    "single": Model("each task on its own", _single, penalised=False, several_kinds=False),
    "pooled": Model("all rows as one task", _pooled("none"), penalised=False, several_kinds=False),
    "pooled-intercept": Model(
        "all rows as one task, an intercept per task",
        _pooled("intercept"),
        penalised=False,
        several_kinds=False,
    ),
    "pooled-category": Model(
        "all rows as one task, the task as a feature",
        _pooled("category"),
        penalised=False,
        several_kinds=False,
    ),
    "deep": Model(
        "a network whose hidden layers all tasks share; needs polytask[deep]",
        _network,
        penalised=False,
    ),
    "MultiTaskRegressor": Model("multitask, for numbers", _plain, Problem.REGRESSION),
    "MultiTaskClassifier": Model("multitask, for classes", _plain, Problem.CLASSIFICATION),
    "MultiTaskModel": Model("multitask, for targets of both kinds", _plain, Problem.MIXED),
    "MultiTaskModelCV": Model("search, for targets of both kinds", _searched, Problem.MIXED),
    "MultiTaskRegressorCV": Model("search, for numbers", _searched, Problem.REGRESSION),
    "MultiTaskClassifierCV": Model("search, for classes", _searched, Problem.CLASSIFICATION),
}


def model_named(name: str) -> Model:
    """Return a model by its name."""
    if name in MODELS:
        return MODELS[name]
    known = ", ".join(MODELS)
    raise ParameterError(f"--model must be one of {known}; got {name!r}.{nearest(name, MODELS)}")


def check_choice(name: str, plan: Plan) -> None:
    """Refuse a model that is not for the problem."""
    model = MODELS[name]
    if model.problem not in (None, plan.problem):
        raise IncompatibleError(
            f"--model {name} is {model.help}, but the problem is {plan.problem.value}. Leave "
            "--model out, or choose --loss."
        )
    if plan.problem is Problem.MIXED and not model.several_kinds:
        raise IncompatibleError(
            f"--model {name} is for targets of one kind, numbers or classes; these are of both."
        )
    if plan.criterion is not None:
        _check_criterion(name, plan.criterion)
    if plan.penalty is not None and not model.penalised:
        raise IncompatibleError(f"--model {name} has no penalty between tasks: drop --penalty.")
    if model.usual_loss and name_of(plan.loss) in UNUSUAL:
        raise IncompatibleError(
            f"--model {name} is for the squared, logistic and multinomial losses; got --loss "
            f"{plan.loss}. Choose another model, such as --model search."
        )


def _check_criterion(name: str, criterion: str) -> None:
    from polytask.selection.by_criterion import JUDGES

    if MODELS[name].build is not _searched:
        raise IncompatibleError(
            f"--criterion chooses among strengths, and --model {name} has none to choose: drop "
            "one of the two."
        )
    if criterion not in JUDGES:
        known = ", ".join(JUDGES)
        hint = nearest(criterion, JUDGES)
        raise ParameterError(f"--criterion must be one of {known}; got {criterion!r}.{hint}")
