"""Tools of scikit-learn around our estimators: ``python benchmarks/around_scikit_learn.py``.

Every tool is tried on arrays and on tables, in the three forms of data. Each trial works or ends
with one sentence, which is written down. The explainers of SHAP are tried if it is installed.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd
from _kept import Kept
from _tables import table
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import (
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingRegressor,
)
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import polytask
from polytask import MultiTaskClassifier, MultiTaskRegressor
from polytask.data import WithinTasks
from polytask.penalties import L21

FORMS = ("long", "targets", "separate")
CONTAINERS = ("array", "table")
PLACES = tuple(itertools.product(FORMS, CONTAINERS))
N_TASKS, N_ROWS = 3, 40


@dataclass(frozen=True, eq=False)
class Case:
    """Rows sorted by task, in one form and container.

    Attributes
    ----------
    form, container : str
        One of FORMS and of CONTAINERS.
    X, y, classes : Any
        Features with the task in the last column unless y has a column per task; numbers; labels.
    task_column : str, int or None
        Where an estimator finds the tasks.
    """

    form: str
    container: str
    X: Any
    y: Any
    classes: Any
    task_column: str | int | None

    def regressor(self, **settings: Any) -> MultiTaskRegressor:
        """Return an estimator for numbers."""
        return MultiTaskRegressor(task_column=self.task_column, **settings)

    def classifier(self) -> MultiTaskClassifier:
        """Return an estimator for labels."""
        return MultiTaskClassifier(task_column=self.task_column)

    def within(self, n_splits: int = 3) -> WithinTasks:
        """Return the splitter that keeps rows of every task in training."""
        return WithinTasks(n_splits, task_column=self.task_column)


def case(form: str, container: str) -> Case:
    """Return the rows of a form; tables have a column of text."""
    rng = np.random.default_rng(0)
    n = N_TASKS * N_ROWS
    numbers = rng.normal(size=(n, 2))
    colour = rng.choice(["blue", "red"], n)
    task = np.repeat(["a", "b", "c"], N_ROWS)
    level = numbers @ [3.0, -1.0] + (colour == "red") + 0.3 * (task == "b")
    y = level + 0.1 * rng.normal(size=n)
    table = pd.DataFrame(numbers, columns=["size", "age"]).assign(colour=colour)
    column: str | int | None = None
    if form == "targets":
        y = np.column_stack([y, -y])
    else:
        table["city"] = task
        column = "city"
    # Labels a little off a cut, so that no class is told with certainty.
    noisy = (y if form != "targets" else y[:, 0]) + rng.normal(size=n)
    classes = np.where(noisy > 0, "high", "low")
    if form == "targets":
        classes = np.column_stack([classes, np.roll(classes, 1)])
    X: Any = table
    if container == "array":
        codes = table.assign(colour=(colour == "red").astype(float))
        if column is not None:
            codes["city"], column = np.repeat([0.0, 1.0, 2.0], N_ROWS), -1
        X = codes.to_numpy(dtype=float)
    if form == "separate":
        # The tools of scikit-learn take rows: the tasks stand below each other, with a column
        # that names them, as pandas.concat makes it of a mapping.
        parts = {t: table[task == t].drop(columns="city") for t in ("a", "b", "c")}
        if container == "table":
            X = pd.concat(parts, names=["city"]).reset_index("city")
    return Case(form, container, X, y, classes, column)


def _predict(c: Case) -> None:
    predicted = c.regressor().fit(c.X, c.y).predict(c.X)
    assert type(predicted) is np.ndarray
    assert predicted.shape == c.y.shape


def _cross_val_score(c: Case) -> None:
    assert cross_val_score(c.regressor(), c.X, c.y, cv=c.within()).min() > 0.8


def _plain_folds(c: Case) -> None:
    # Whole tasks are held out: three folds of rows that are sorted by task.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cross_val_score(c.regressor(), c.X, c.y, cv=3).min() > 0.8


def _cross_val_predict(c: Case) -> None:
    folds = KFold(3, shuffle=True, random_state=0)
    assert cross_val_predict(c.regressor(), c.X, c.y, cv=folds).shape == c.y.shape


def _grid_search(c: Case) -> None:
    grid = {"penalty__alpha": [1e-4, 1.0]}
    search = GridSearchCV(c.regressor(penalty=L21(0.1)), grid, cv=c.within()).fit(c.X, c.y)
    assert search.best_params_ == {"penalty__alpha": 1e-4}
    assert search.predict(c.X).shape == c.y.shape


def _stacking(c: Case) -> None:
    stack = StackingRegressor([("tasks", c.regressor())], Ridge(), cv=c.within())
    assert stack.fit(c.X, c.y).predict(c.X).shape == c.y.shape


def _stacking_classifier(c: Case) -> None:
    stack = StackingClassifier([("tasks", c.classifier())], LogisticRegression(), cv=c.within())
    assert stack.fit(c.X, c.classes).predict(c.X).shape == c.classes.shape


def _voting(c: Case) -> None:
    votes = VotingRegressor([("one", c.regressor()), ("two", c.regressor(penalty=L21(0.01)))])
    assert votes.fit(c.X, c.y).predict(c.X).shape == c.y.shape


def _transformed_target(c: Case) -> None:
    model = TransformedTargetRegressor(c.regressor(), func=np.arcsinh, inverse_func=np.sinh)
    assert model.fit(c.X, c.y).predict(c.X).shape == c.y.shape


def _bagging(c: Case) -> None:
    # It turns tables into arrays, which have no names: the task column is given by position.
    position = None if c.task_column is None else list(c.X).index("city") if named(c) else -1
    model = BaggingRegressor(MultiTaskRegressor(task_column=position), 5, random_state=0)
    assert model.fit(c.X, c.y).predict(c.X).shape == c.y.shape


def _bagging_by_name(c: Case) -> None:
    model = BaggingRegressor(c.regressor(), 5, random_state=0)
    assert model.fit(c.X, c.y).predict(c.X).shape == c.y.shape


def _calibrated(c: Case) -> None:
    model = CalibratedClassifierCV(c.classifier(), cv=c.within())
    assert model.fit(c.X, c.classes).predict_proba(c.X).shape == (len(c.X), 2)


def _permutation_importance(c: Case) -> None:
    model = c.regressor(unseen_tasks="error").fit(c.X, c.y)
    found = permutation_importance(model, c.X, c.y, n_repeats=3, random_state=0)
    place = list(c.X).index("size") if named(c) else 0
    assert found.importances_mean.argmax() == place


def _partial_dependence(c: Case) -> None:
    model = c.regressor().fit(c.X, c.y)
    feature = "size" if named(c) else 0
    found = partial_dependence(model, c.X, [feature], grid_resolution=5)
    assert found["average"].shape[-1] == 5


def _set_output(c: Case) -> None:
    # A transformer before the estimator gives tables; predictions stay arrays.
    columns = ["size", "age"] if named(c) else [0, 1]
    # Columns of arrays have no names of their own; scikit-learn 1.7 needs prefixes for them.
    scale = make_column_transformer(
        (StandardScaler(), columns),
        remainder="passthrough",
        verbose_feature_names_out=not named(c),
    ).set_output(transform="pandas")
    unnamed = c.container == "array" and c.task_column is not None
    column = "remainder__x3" if unnamed else c.task_column
    model = make_pipeline(scale, MultiTaskRegressor(task_column=column)).fit(c.X, c.y)
    assert type(model.predict(c.X)) is np.ndarray


def _kernel_explainer(c: Case) -> None:
    import shap

    model = c.regressor().fit(c.X, c.y)
    explained = shap.KernelExplainer(model.predict, c.X[:10], keep_index=False)
    found = explained.shap_values(c.X[:2], nsamples=40, silent=True)
    assert np.all(np.isfinite(np.asarray(found, dtype=float)))


def _permutation_explainer(c: Case) -> None:
    import shap

    model = c.regressor().fit(c.X, c.y)
    found = shap.explainers.Permutation(model.predict, c.X[:20])(c.X[:2])
    assert np.all(np.isfinite(np.asarray(found.values, dtype=float)))


def _permutation_explainer_of_numbers(c: Case) -> None:
    import shap

    X = c.X
    if named(c):
        X = c.X.assign(colour=(c.X["colour"] == "red").astype(float))
        if c.task_column is not None:
            X["city"] = pd.factorize(X["city"])[0]
    model = c.regressor().fit(X, c.y)
    found = shap.explainers.Permutation(model.predict, X[:20])(X[:2])
    assert np.all(np.isfinite(np.asarray(found.values, dtype=float)))


def named(c: Case) -> bool:
    """Say whether the columns have names."""
    return c.container == "table"


TOOLS: dict[str, Callable[[Case], None]] = {
    "predict": _predict,
    "cross_val_score, cv=WithinTasks(task_column=...)": _cross_val_score,
    "cross_val_score, cv=3 on rows sorted by task": _plain_folds,
    "cross_val_predict, cv=KFold(shuffle=True)": _cross_val_predict,
    "GridSearchCV": _grid_search,
    "StackingRegressor": _stacking,
    "StackingClassifier": _stacking_classifier,
    "VotingRegressor": _voting,
    "TransformedTargetRegressor": _transformed_target,
    "BaggingRegressor, task column by position": _bagging,
    "BaggingRegressor, task column by name": _bagging_by_name,
    "CalibratedClassifierCV": _calibrated,
    "permutation_importance": _permutation_importance,
    "partial_dependence": _partial_dependence,
    'Pipeline after set_output(transform="pandas")': _set_output,
}
EXPLAINERS: dict[str, Callable[[Case], None]] = {
    "shap.KernelExplainer": _kernel_explainer,
    "shap.explainers.Permutation": _permutation_explainer,
    "shap.explainers.Permutation, numbers only": _permutation_explainer_of_numbers,
}


def outcome(trial: Callable[[Case], None], c: Case) -> str:
    """Run a trial; return "works", or the last line of what it says."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trial(c)
    except (Exception, Warning) as error:
        return str(error).strip().splitlines()[-1].removeprefix("polytask.exceptions.DataError: ")
    return "works"


def tables(kept: Kept) -> dict[str, str]:
    """Return the table of kept outcomes, and the list of what does not work says."""
    said: dict[str, int] = {}
    lines = []
    for name, runs in kept.grouped()[""].items():
        cells = []
        for (found,) in runs.values():
            number = said.setdefault(found, len(said) + 1) if found != "works" else 0
            cells.append(f"[{number}]" if number else "works")
        lines.append([name, *cells])
    head = ["tool", *(f"{form}, {container}" for form, container in PLACES)]
    told = "\n".join(f"{number}. {words}" for words, number in said.items())
    return {"tools": table(head, lines), "sentences": told}


def main() -> None:
    """Try every tool and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", help="file of finished trials, to go on from")
    kept = Kept(parser.parse_args().keep)
    shap = find_spec("shap")
    names = ("scikit-learn", "numpy", "pandas", *(("shap",) if shap else ()))
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    print(f"polytask {polytask.__version__}, {versions}, Python {platform.python_version()}\n")
    for name, trial in (TOOLS | (EXPLAINERS if shap else {})).items():
        for k, place in enumerate(PLACES):
            kept.get(name, k, lambda trial=trial, place=place: [outcome(trial, case(*place))])
    print("\n\n".join(tables(kept).values()))


if __name__ == "__main__":
    main()
