"""How well a fitted kind of model predicts held-out rows, and what simpler models reach there."""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np

from polytask.cli.models import Learning
from polytask.cli.options import Running
from polytask.cli.training_data import Training
from polytask.exceptions import PolytaskError

# Beyond so many cells, separate and pooled models take longer than a baseline may.
_MOST_CELLS = 5_000_000


@dataclass(frozen=True)
class Scores:
    """Scores on held-out rows: of baselines by name, and of a model that no search has judged."""

    beside: dict[str, float]
    own: float | None
    folds: int


def scores_beside(
    estimator: Any,  # noqa: ANN401 - a fitted estimator
    training: Training,
    learning: Learning,
    running: Running,
) -> Scores:
    """Return the scores of baselines on the folds of a search, or on as many folds."""
    from sklearn.base import clone

    loss, seed = training.losses(learning.loss), running.seed
    folds = training.folds(learning.n_folds, seed)
    models = baseline_models(training, loss, seed)
    # A network takes as long again on every fold.
    if not hasattr(estimator, "scores_") and not hasattr(estimator, "trunk"):
        own = clone(estimator)
        column = {"task_column": None} if "task_column" in own.get_params(deep=False) else {}
        models["own"] = own.set_params(**column)
    with running.waiting("cli.scoring"):
        found = held_out_scores(models, training, loss, folds, seed)
    count = folds if isinstance(folds, int) else folds.n_splits
    return Scores(found, found.pop("own", None), count)


def baseline_models(training: Training, loss: Any, seed: int) -> dict[str, Any]:  # noqa: ANN401
    """Return the baselines of some data: a constant per task, separate models, a pooled one."""
    from sklearn.dummy import DummyClassifier, DummyRegressor

    from polytask.baselines import SingleTask
    from polytask.losses import LOSSES, PiecewiseLinear
    from polytask.losses.parse import parse
    from polytask.selection.candidates import MODELS

    if training.problem == "mixed":
        return {}
    found: dict[str, Any] = {}
    facts = training.facts(loss, seed, unseen=False)
    known = parse(loss, LOSSES) if isinstance(loss, str) else None
    # Of target matrices the score is against a constant of each target.
    if not facts.targets and not isinstance(known, PiecewiseLinear):
        classes = training.problem == "classification"
        constant = DummyClassifier(strategy="prior") if classes else DummyRegressor()
        found["constant"] = SingleTask(constant)
    if loss == "squared" and training.n_rows * training.n_columns <= _MOST_CELLS:
        for name in ("separate", "pooled + intercepts"):
            if MODELS[name].unfit(facts) is None:
                found[name] = MODELS[name].make(facts)
    return found


def held_out_scores(
    models: dict[str, Any],
    training: Training,
    loss: Any,  # noqa: ANN401
    cv: Any,  # noqa: ANN401 - a number or a splitter
    seed: int,
) -> dict[str, float]:
    """Fit models on folds; return the score of each, of classes the log loss."""
    from sklearn.base import clone

    from polytask._estimator.problem import read_outcomes, read_problem
    from polytask.data import WithinTasks, as_splits
    from polytask.metrics import METRICS
    from polytask.selection.held import Study, held_out

    if not models:
        return {}
    weight, column = training.weight, training.task_column
    data = read_problem(training.X, training.y, None, weight, column)
    study = Study(data, read_outcomes(data, loss)[1])
    classes = training.problem == "classification"
    if isinstance(cv, int):
        cv = WithinTasks(cv, stratify=True if classes else None, random_state=seed)
    splits = [(np.sort(train), np.sort(test)) for train, test in as_splits(cv, data)]
    metric = METRICS["deviance" if classes else "d2"]
    scores: dict[str, float] = {}
    for name, model in models.items():
        parts = defaultdict(list)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                for train, test in splits:
                    fitted = clone(model).fit(study.part(train))
                    for task, held in held_out(study, fitted, train, test):
                        parts[task if training.n_targets > 1 else 0].append(held)
            except (PolytaskError, ValueError):
                # Groups and times may leave a task without training rows: it has no such score.
                scores[name] = math.nan
                continue
        scores[name] = float(np.mean([metric.overall(own) for own in parts.values()]))
    return scores
