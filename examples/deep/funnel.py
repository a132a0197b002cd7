"""Click, purchase, rating: each is known only of those who took the step before.

One network for the three tasks, in which what is missing counts for nothing, against a network
for each task; then what the missing labels do to the meaning of the predictions.

Run: python examples/deep/funnel.py
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.metrics import r2_score, roc_auc_score

from polytask.deep import MLP, DeepMultiTaskModel

LOSS = {"click": "logistic", "purchase": "logistic", "rating": "squared"}


def visits(n: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return features, the labels that a shop sees (NaN: none), and those that it would see
    if everybody clicked and bought.

    How much a visitor likes the product is not among the features, and is part of all three.
    """
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 10))
    liking = rng.standard_normal(n)
    taste = np.tanh(X[:, 0] * X[:, 1] + X[:, 2])
    wish = 1.5 * taste + liking
    rates = [wish + 0.5 * X[:, 3] - 1.0, wish - 0.7 * X[:, 4] - 0.5]
    click, purchase = (rng.random(n) < 1 / (1 + np.exp(-rate)) for rate in rates)
    rating = 3.0 + 0.7 * wish + 0.5 * X[:, 5] + 0.3 * rng.standard_normal(n)
    whole = pd.DataFrame({"click": click, "purchase": purchase, "rating": rating}, dtype=float)
    seen = whole.copy()
    seen.loc[~click, ["purchase", "rating"]] = np.nan
    seen.loc[~(click & purchase), "rating"] = np.nan
    return pd.DataFrame(X, columns=[f"x{j}" for j in range(10)]), seen, whole


def network() -> DeepMultiTaskModel:
    """Return the network that all comparisons use."""
    return DeepMultiTaskModel(
        MLP((64, 32)), loss=LOSS, learning_rate=3e-3, max_epochs=40, patience=8, random_state=0
    )


def predictions(model: DeepMultiTaskModel, X: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the probability of a click and of a purchase, and the expected rating."""
    numbers = np.asarray(model.predict(X), dtype=float)
    found = dict(zip(model.tasks_, numbers.T, strict=True))
    if hasattr(model, "predict_proba"):  # not where the only task is the rating
        pairs = zip(model.tasks_, model.predict_proba(X), strict=True)
        found |= {task: chance[:, 1] for task, chance in pairs if chance is not None}
    return found


def alone(X: pd.DataFrame, seen: pd.DataFrame, task: str) -> DeepMultiTaskModel:
    """Return a network for one task, fitted to the rows that have its label."""
    known = seen[task].notna()
    return network().set_params(loss={task: LOSS[task]}).fit(X[known], seen.loc[known, [task]])


def scores(found: dict[str, np.ndarray], labels: pd.DataFrame) -> dict[str, float]:
    """Return the area under the curve of classes, R2 of the rating, where there is a label."""
    made = {}
    for task, values in found.items():
        known = labels[task].notna()
        score = r2_score if task == "rating" else roc_auc_score
        made[task] = float(score(labels.loc[known, task], values[known]))
    return made


def main() -> dict[str, dict[str, float]]:
    """Fit, print the comparison, and return it."""
    X, seen, _ = visits(3000, seed=0)
    X_new, seen_new, whole_new = visits(20_000, seed=1)
    print("labels:", seen.notna().sum().to_dict())

    joint = predictions(network().fit(X, seen), X_new)
    each = {}
    for task in LOSS:
        each |= predictions(alone(X, seen, task), X_new)
    rows = {"one network": scores(joint, seen_new), "one for each task": scores(each, seen_new)}
    print(pd.DataFrame(rows).T.round(3).to_string())

    # What the shop sees of purchases are those of visitors who clicked, who like the product
    # more than their features say: the model is right of them, and of nobody else.
    clicked = seen_new["click"] == 1
    means = {
        "told, of those who clicked": joint["purchase"][clicked].mean(),
        "true, of those who clicked": whole_new.loc[clicked, "purchase"].mean(),
        "told, of all": joint["purchase"].mean(),
        "true, if all clicked": whole_new["purchase"].mean(),
        "told, click x purchase": (joint["click"] * joint["purchase"]).mean(),
        "true, bought": (whole_new["click"] * whole_new["purchase"]).mean(),
    }
    print("share of purchases")
    for name, share in means.items():
        print(f"  {name:<28}{share:.3f}")
    return {**rows, "purchases": means}


if __name__ == "__main__":
    main()
