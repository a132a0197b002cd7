"""Three labels of digits from two kinds of input, one of which most rows lack in training.

Inputs: the upper and the lower half of the digits of scikit-learn; that the lower one comes from
an instrument of another unit (its numbers are 20 times as large), and is missing for some rows, is
simulated. With both halves, and with the upper alone, new rows are predicted by networks that
were trained on the rows that have both, on the upper halves alone, or on all that there is.

Run: python examples/deep/modalities.py [SEEDS] [FIGURE.png]
"""

from __future__ import annotations

import sys
from functools import partial

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from polytask.deep import Modalities, Task, TaskNetwork, Training, fit_network

CLASSES = {"digit": 10, "even": 2, "loop": 2}
ROWS, WIDTH, STUDENT = 300, 32, {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78}
SHARES = (0.5, 0.8, 0.95)
Rows = list[tuple[dict[str, Tensor], dict[str, Tensor]]]


def digits(seed: int, missing: float) -> tuple[Rows, Rows]:
    """Return rows to train on, of which a share lacks the lower half, and all others whole."""
    X, digit = load_digits(return_X_y=True)
    labels = {"digit": digit, "even": digit % 2, "loop": np.isin(digit, [0, 6, 8, 9])}
    numbers = {name: torch.tensor(values).long() for name, values in labels.items()}
    halves = torch.tensor(X / 8.0 - 1.0, dtype=torch.float32).split(32, dim=1)
    rng = np.random.default_rng(seed)
    at = torch.from_numpy(rng.permutation(len(X)))
    lower = 20.0 * halves[1]
    lower[at[: round(missing * ROWS)]] = torch.nan
    rows = [
        ({"upper": halves[0][i], "lower": lower[i]}, {k: v[i] for k, v in numbers.items()})
        for i in at
    ]
    return rows[:ROWS], rows[ROWS:]


def network(norm: bool = True, **settings: float) -> TaskNetwork:
    """Return an encoder for each half, with a norm of its own or none, and heads."""

    def encoder() -> nn.Module:
        norms = [nn.LayerNorm(WIDTH)] if norm else []
        return nn.Sequential(nn.Linear(32, WIDTH), *norms, nn.ReLU(), nn.Linear(WIDTH, WIDTH))

    fusion = nn.Sequential(nn.Linear(2 * WIDTH, WIDTH), nn.ReLU())
    encoders = {"upper": encoder(), "lower": encoder()}
    trunk = Modalities(encoders, dict.fromkeys(encoders, WIDTH), fusion, **settings)
    loss = nn.CrossEntropyLoss(reduction="none")
    return TaskNetwork(
        trunk, [Task(name, nn.Linear(WIDTH, k), loss) for name, k in CLASSES.items()]
    )


WAYS = {
    "rows that have both": ({}, "complete"),
    "the upper half alone": ({}, "upper"),
    "all": ({}, "all"),
    "all, no norms": ({"norm": False}, "all"),
    "all, hiding": ({"hide": 0.3}, "all"),
    "all, alignment": ({"alignment": 0.3}, "all"),
    "all, hiding and alignment": ({"hide": 0.3, "alignment": 0.3}, "all"),
}


def fitted(way: str, train: Rows, seed: int) -> TaskNetwork:
    """Return a network that was trained in one of the ways."""
    settings, which = WAYS[way]
    rows = train
    if which == "complete":
        rows = [row for row in train if not row[0]["lower"].isnan().any()]
    elif which == "upper":
        rows = [({"upper": x["upper"]}, y) for x, y in train]
    torch.manual_seed(seed)
    net = network(**settings)
    # As many steps for all: with fewer rows more epochs.
    batches = torch.utils.data.DataLoader(rows, min(32, len(rows)), shuffle=True, drop_last=True)
    adam = partial(torch.optim.Adam, lr=3e-3)
    fit_network(net, batches, Training(adam, max_epochs=400 // len(batches)), seed=seed)
    return net


def one_seed(seed: int, missing: float) -> pd.DataFrame:
    """Return the mean accuracy of the labels, from both halves and from the upper one alone."""
    train, new = digits(seed, missing)
    inputs, labels = torch.utils.data.default_collate(new)
    found = {}
    for name, (_, which) in WAYS.items():
        net, found[name] = fitted(name, train, seed), []
        for given in (inputs, {"upper": inputs["upper"]}):
            seen = {"upper": given["upper"]} if which == "upper" else given
            with torch.no_grad():
                outputs = net.eval()(seen)
            right = [(outputs[k].argmax(1) == labels[k]).float().mean() for k in CLASSES]
            found[name].append(float(np.mean(right)))
    return pd.DataFrame(found, index=["both", "upper"]).T


def main(n_seeds: int = 1, picture: str | None = None) -> dict[float, pd.DataFrame]:
    """Print, for each share, means and paired differences to the rows that have both."""
    tables = {}
    for missing in SHARES:
        runs = np.stack([one_seed(seed, missing).to_numpy() for seed in range(n_seeds)])
        gains = runs - runs[:, :1]
        table = pd.DataFrame(runs.mean(0), index=list(WAYS), columns=["both", "upper"])
        for k, name in enumerate(("both", "upper")):
            table[f"{name}, gain"] = gains.mean(0)[:, k]
            if n_seeds > 1:
                spread = gains.std(0, ddof=1)[:, k] / np.sqrt(n_seeds)
                table[f"{name}, +-"] = STUDENT[n_seeds] * spread
        print(f"lower half missing for {missing:.0%} of {ROWS} rows")
        print(table.round(3).to_string())
        tables[missing] = table
    if picture is not None:
        draw(tables, picture)
    return tables


def draw(tables: dict[float, pd.DataFrame], path: str) -> None:
    """Draw the accuracy of new rows against the share that is missing."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True, layout="constrained")
    shown = [name for name in WAYS if name not in ("all, hiding", "all, alignment")]
    for axis, column in zip(axes, ("both", "upper"), strict=True):
        for name in shown:
            scores = [table.loc[name, column] for table in tables.values()]
            axis.plot(list(tables), scores, "o-", label=name)
        what = "both halves" if column == "both" else "the upper half alone"
        axis.set(xlabel="share of rows without the lower half", title=f"New rows have {what}")
    axes[0].set_ylabel("mean accuracy")
    axes[1].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1, *sys.argv[2:3])
