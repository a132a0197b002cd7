"""A short tour: separate, pooled and multi-task models of the same patients, compared fairly.

Run it with ``make demo``. It needs no network. Set POLYTASK_DATA to the folder of the real data
sets to see a second one, the exam scores of 139 schools.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import polytask
from polytask import MultiTaskRegressorCV, Pooled, SingleTask
from polytask.data import train_test_split_tasks
from polytask.datasets import Dataset, fetch_school, load_diabetes_groups
from polytask.penalties import L2, L21, TraceNorm, toward_mean

SPLITS = 5
OUTPUT = Path("demo_output")
SEPARATE = "separate ridge, one per task"


def ridge():
    """Ridge regression, its strength chosen by leave-one-out inside the training rows."""
    return make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(-3, 4, 30)))


def models():
    """Return everything that is compared; each tunes itself on the training rows only."""
    few = {"alphas": 15, "task_weight": "size"}
    return {
        SEPARATE: SingleTask(ridge()),
        "pooled ridge": Pooled(ridge(), "none"),
        "pooled ridge, task intercepts": Pooled(ridge(), "intercept"),
        "pooled ridge, task as category": Pooled(ridge(), "category"),
        "multi-task, near the mean": MultiTaskRegressorCV(toward_mean() + L2(0.1), **few),
        "multi-task, same features": MultiTaskRegressorCV(L21(), **few),
        "multi-task, common directions": MultiTaskRegressorCV(TraceNorm(), **few),
    }


def scores_of(model, X, y, task, seed):
    """Fit on 75% of the rows of every task; return R2 on the rest, over rows and over tasks."""
    X, X_test, y, y_test, task, task_test = train_test_split_tasks(X, y, task, random_state=seed)
    model.fit(X, y, task=task)
    over_rows = r2_score(y_test, model.predict(X_test, task=task_test))
    return over_rows, model.score(X_test, y_test, task=task_test)


def compare(dataset: Dataset) -> dict[str, np.ndarray]:
    """Return the scores of every model: one row per split, R2 over rows and over tasks."""
    X, y, task = dataset.X, dataset.y, dataset.task
    print(f"\n{dataset!r}\n")
    print(f"{'test R2, mean (sd) of five splits':34}{'all rows':>17}{'mean of tasks':>17}{'s':>7}")
    table = {}
    for name, model in models().items():
        start = time.perf_counter()
        table[name] = np.array([scores_of(model, X, y, task, seed) for seed in range(SPLITS)])
        mean, sd = table[name].mean(axis=0), table[name].std(axis=0, ddof=1)
        pairs = zip(mean, sd, strict=True)
        cells = "".join(f"{f'{m:.3f} ({s:.3f})':>17}" for m, s in pairs)
        print(f"{name:34}{cells}{time.perf_counter() - start:>7.1f}", flush=True)
    return table


def interval(differences: np.ndarray) -> tuple[float, float]:
    """Return the 95% corrected resampled interval of a mean difference between two models.

    The splits share rows, so their plain standard error would be too small: a quarter of the
    rows tested against three quarters learned from adds 1/3 to 1/SPLITS (Nadeau and Bengio
    2003). 2.776 is the quantile of Student's t for five splits.
    """
    half = 2.776 * np.sqrt((1 / SPLITS + 1 / 3) * differences.var(ddof=1))
    return differences.mean() - half, differences.mean() + half


def verdict(table: dict[str, np.ndarray]) -> None:
    """Say which model is best over all rows and whether that is more than noise."""
    rows = {name: scores[:, 0] for name, scores in table.items()}
    best = max(rows, key=lambda name: rows[name].mean())
    together = best.startswith("multi-task")
    others = [name for name in rows if name.startswith("multi-task") != together]
    rival = max(others, key=lambda name: rows[name].mean())
    print(f"\nBest here: {best}.")
    for other in dict.fromkeys((rival, SEPARATE)):
        low, high = interval(rows[best] - rows[other])
        size = "more than" if low > 0 else "not more than"
        print(
            f"  Against {other}: {rows[best].mean() - rows[other].mean():+.3f}, 95% interval "
            f"{low:+.3f} to {high:+.3f}: {size} the noise of the splits."
        )
    print("  (The best was picked by looking at these scores, which flatters it a little.)")


def save_and_predict(dataset: Dataset) -> None:
    """Fit all patients, save the model, load it, predict, and leave the files for the reader."""
    table = dataset.frame()
    features, target = table.drop(columns="progression"), table["progression"]
    model = MultiTaskRegressorCV(L21(), alphas=15, task_column="group").fit(features, target)
    OUTPUT.mkdir(exist_ok=True)
    table.to_csv(OUTPUT / "patients.csv", index=False)
    polytask.save(model, OUTPUT / "patients.polytask")
    loaded = polytask.load(OUTPUT / "patients.polytask")
    predicted = features.assign(prediction=loaded.predict(features))
    predicted.to_csv(OUTPUT / "predictions.csv", index=False)
    used = model.coef_feature_names_[np.abs(model.coef_).max(axis=0) > 0]
    print(f"\nAll patients, same features: {model.best_penalty_}")
    print(f"  {len(used)} of {model.coef_.shape[1]} features used: {', '.join(used)}")
    print(f"  {model.solution_.message}")
    print(f"  saved, loaded, predicted: {len(predicted)} rows in {OUTPUT}{os.sep}predictions.csv")


def next_commands() -> None:
    """Print what to type next."""
    program = os.path.relpath(Path(sys.executable).with_name("polytask"))
    print(f"""
Next, on the same table (or yours):
  {program} inspect {OUTPUT}/patients.csv --task group
  {program} fit {OUTPUT}/patients.csv --task group --target progression --out my.polytask
  {program} predict my.polytask {OUTPUT}/patients.csv --out my_predictions.csv
The README goes on from here.""")


def main() -> None:
    """Run the tour."""
    patients = load_diabetes_groups()
    print(
        "Diabetes patients in six groups by sex and age: predict the progression of the disease."
    )
    verdict(compare(patients))
    if os.environ.get("POLYTASK_DATA"):
        verdict(compare(fetch_school()))
    save_and_predict(load_diabetes_groups(as_frame=True))
    next_commands()


if __name__ == "__main__":
    main()
