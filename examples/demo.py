"""A short tour: should the tasks of a table be learned together? Compared, explained, predicted.

Run it with ``make demo``. It needs no network and writes into the folder ``demo``. Set
POLYTASK_DATA to the folder of the real data sets to see a second one, the exam scores of 139
schools.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from polytask.cli import main as polytask
from polytask.datasets import Dataset, fetch_school, load_diabetes_groups

FOLDER = Path("demo")
# Without the two that search longest: half a minute instead of some.
MODELS = (
    "separate",
    "pooled",
    "pooled + intercepts",
    "learned prior",
    "near the mean",
    "boosting pooled",
    "separate, unpenalised",
    "pooled + intercepts, unpenalised",
)


def tour(dataset: Dataset, *options: str) -> Path:
    """Write a data set as a table, compare models on it and predict with the one recommended.

    Parameters
    ----------
    dataset : Dataset
        In the long form.
    *options : str
        More options of ``polytask compare``.

    Returns
    -------
    Path
        The folder of the comparison.
    """
    table, out = FOLDER / f"{dataset.name}.csv", FOLDER / dataset.name
    dataset.frame().to_csv(table, index=False)
    task, (target,) = str(dataset.task_column), dataset.target_names
    run("compare", table, "--task", task, "--target", target, *options,
        "--out", out, "--no-resume", "--force")  # fmt: skip
    run("predict", out / "model" / "model.polytask", table, "--task", task,
        "--out", out / "predictions.csv", "--force")  # fmt: skip
    return out


def run(*words: object) -> None:
    """Show a command and run it in this process."""
    line = [str(word) for word in words]
    print("\n$ polytask", *(repr(word) if " " in word else word for word in line), flush=True)
    if status := polytask(line):
        sys.exit(status)


def main() -> None:
    """Run the tour."""
    FOLDER.mkdir(exist_ok=True)
    print("Diabetes patients in six groups by sex and age. Should the groups be learned together?")
    out = tour(load_diabetes_groups(), *(word for name in MODELS for word in ("--models", name)))
    if os.environ.get("POLYTASK_DATA"):
        print("\nExam scores of pupils in 139 schools, a quick look:")
        tour(fetch_school(), "--quick")
    program = os.path.relpath(Path(sys.executable).with_name("polytask"))
    print(f"""
Next: open {out / "report.html"} (docs/reading_the_report.md explains it), and try your own table:
  {program} inspect TABLE.csv
  {program} compare TABLE.csv --task COLUMN --target COLUMN --out FOLDER
The README goes on from here.""")


if __name__ == "__main__":
    main()
