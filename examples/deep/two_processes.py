"""A network fitted to a folder of Parquet files, by one process or by several.

Every process reads the files and takes its share of each batch; their gradients are added up, so
that all of them take the steps of one process with the whole batch.

Run: python examples/deep/two_processes.py FOLDER
     torchrun --standalone --nproc-per-node 2 examples/deep/two_processes.py FOLDER
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from polytask.deep import MLP, DeepMultiTaskRegressor

FILES, ROWS = 4, 500


def write(folder: Path) -> None:
    """Write sales of 20 stores: a folder of files that together may be larger than memory."""
    rng = np.random.default_rng(0)
    level = rng.normal(size=20)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(FILES):
        table = pd.DataFrame(rng.normal(size=(ROWS, 5)), columns=[f"x{j}" for j in range(5)])
        table["store"] = rng.integers(0, 20, ROWS)
        noise = 0.1 * rng.normal(size=ROWS)
        table["sales"] = np.abs(table["x0"]) + table["x1"] + level[table["store"]] + noise
        table.to_parquet(folder / f"part{number}.parquet")


def fit(folder: Path, distributed: bool) -> DeepMultiTaskRegressor:
    """Return the network; no more than 400 rows wait in memory."""
    model = DeepMultiTaskRegressor(
        MLP((16,)),
        batch_size=64,
        learning_rate=0.01,
        max_epochs=4,
        precision="float64",
        device="cpu",
        random_state=0,
        distributed=distributed,
    )
    return model.fit_parts(folder, "sales", task_column="store", buffer_rows=400)


def main(folder: Path) -> DeepMultiTaskRegressor:
    """Fit, print how well the rows held out are predicted, and write the weights."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    first = os.environ.get("RANK", "0") == "0"
    model = fit(folder, distributed=processes > 1)
    if first:
        loss = model.solution_.held_out_objective / len(model.tasks_)
        print(f"processes: {processes}, loss of a store on rows held out: {loss:.4f}")
        np.savez(f"weights{processes}.npz", **model.network_.state_dict())
    return model


if __name__ == "__main__":
    place = Path(sys.argv[1] if len(sys.argv) > 1 else "sales")
    if not place.exists():
        # Several processes would write at the same time.
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            sys.exit(f"There is no folder {place}: run this once without torchrun.")
        write(place)
    main(place)
