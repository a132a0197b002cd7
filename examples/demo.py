"""A short tour: two tables, one whose tasks are better learned together and one where not.

Run it with ``make demo``. It needs no network, takes 1.5 minutes of CPU time and writes into
the folder ``demo``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from polytask.cli import main as polytask
from polytask.datasets import Dataset, load_diabetes_groups, load_wages

FOLDER = Path("demo")


def tour(dataset: Dataset) -> Path:
    """Write a data set as a table, compare models on it and predict with the one recommended.

    Parameters
    ----------
    dataset : Dataset
        In the long form.

    Returns
    -------
    Path
        The folder of the comparison.
    """
    table, out = FOLDER / f"{dataset.name}.csv", FOLDER / dataset.name
    dataset.frame().to_csv(table, index=False)
    task, (target,) = str(dataset.task_column), dataset.target_names
    run("compare", table, "--task", task, "--target", target, "--quick",
        "--out", out, "--no-resume", "--force")  # fmt: skip
    run("predict", out / "model" / "model.polytask", table,
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
    print("1. Wages of 450 women over twenty years. Is it better to learn the women together?")
    women = tour(load_wages())
    print("\n2. Diabetes patients in six groups by sex and age. Is it better here, too?")
    patients = tour(load_diabetes_groups())
    program = os.path.relpath(Path(sys.executable).with_name("polytask"))
    print(f"""
The reports: {women / "report.html"} and {patients / "report.html"}
(docs/reading_the_report.md explains them). Now your own table:
  {program} inspect TABLE.csv
  {program} compare TABLE.csv --task COLUMN --target COLUMN --out FOLDER""")


if __name__ == "__main__":
    main()
