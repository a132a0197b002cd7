"""
What sparsity carries to a new task
===================================

The claim: an L1 norm finds what tasks have in common, and this helps a new task with few rows;
large tasks must not dominate; a model learned elsewhere can be moved to a new domain.

What cannot run or is wrong in recipes that show it:

* ``Ridge(solver="liblinear")`` is called L1: Ridge has no such solver, and its norm is L2;
* the accuracy of predictions that are real numbers is taken: scikit-learn refuses that;
* there is a single task, so nothing is transferred;
* L1 alone is a sum over coefficients, in which tasks do not meet (what carries is L21, or a pull);
* the new task is not learned from scratch too, so that a gain cannot be seen.

Mended: 400 women and their wages are known, 50 are new, with their first one, two or four
interviews. Predicted are those after the fourth, as logarithms of hourly wages. R2 is
against the mean wage of the women known.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import RidgeCV

from polytask import BayesianMultiTaskRegressor, MultiTaskRegressorCV, SingleTask, adapt
from polytask.datasets import load_wages
from polytask.penalties import L1, L2, L21, toward_mean

wages = load_wages()
X, y, task = pd.get_dummies(wages.X, dtype=float), np.asarray(wages.y), np.asarray(wages.task)
X = (X - X.mean()) / X.std()
is_new = np.isin(task, np.unique(task)[::9])
interview = wages.X.groupby(task)["year"].rank().to_numpy()  # 1 is the first of a woman
later = is_new & (interview > 4)
old = X[~is_new], y[~is_new], task[~is_new]

# %%
# What is common, by several norms, and by the prior that is learned from the women:

given = {"alphas": 8, "cv": 3}
models = {
    "L1": MultiTaskRegressorCV(L1(), task_weight="size", **given),
    "L21": MultiTaskRegressorCV(L21(), task_weight="size", **given),
    "toward_mean": MultiTaskRegressorCV(toward_mean() + L2(0.1), task_weight="size", **given),
    "toward_mean, equal tasks": MultiTaskRegressorCV(
        toward_mean() + L2(0.1), task_weight="equal", **given
    ),
    "learned prior": BayesianMultiTaskRegressor(),
}
for name, model in models.items():
    used = model.fit(old[0], old[1], task=old[2]).coef_ != 0
    each, any_of_them = used.sum(axis=1).mean(), used.any(axis=0).sum()
    print(f"{name}: {any_of_them} of {used.shape[1]} features used, {each:.1f} by a woman")

# %%
# The new women: adapted models, which learn nothing else again, and models from scratch.


def r2(predicted):
    """Return R2 on the later interviews of the new women."""
    mean = np.mean((y[later] - old[1].mean()) ** 2)
    return 1 - np.mean((y[later] - predicted) ** 2) / mean


counts, ridge = (1, 2, 4), RidgeCV(np.logspace(-1, 4, 11))
scores = pd.DataFrame(index=counts, dtype=float)
for rows in counts:
    few = is_new & (interview <= rows)
    for name, model in models.items():
        moved = adapt(model, X[few], y[few], task=task[few])
        scores.loc[rows, name] = r2(moved.predict(X[later], task=task[later]))
    own_mean = pd.Series(y[few]).groupby(task[few]).mean()
    scores.loc[rows, "from scratch: her mean"] = r2(own_mean[task[later]].to_numpy())
    if rows > 1:
        scratch = SingleTask(ridge).fit(X[few], y[few], task=task[few])
        scores.loc[rows, "from scratch: ridge"] = r2(scratch.predict(X[later], task=task[later]))
scores["no rows: pooled ridge"] = r2(ridge.fit(old[0], old[1]).predict(X[later]))
print(scores.T.round(3).rename_axis(columns="interviews"))

# %%
# The lesson: much is transferred, as every adapted model is far better than one from scratch. But
# it is not sparsity that carries most: with L1 each woman has a few features of her own, L21 keeps
# one list for all, and a pull to the common coefficients or a learned prior carries more than a
# list. Whether women weigh by their rows or alike hardly mattered. With one or two interviews a
# pooled model that has none of hers is still ahead; with four the learned prior is the best.
#
# Networks that were trained before, and new domains: :doc:`/adapting`.

figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
figure.suptitle("What is explained of a new woman's wages, by her interviews")
for name, line in scores.items():
    style = "--" if name.startswith(("from", "no")) else "-"
    ax.plot(counts, line, style, marker="o", label=name)
ax.set(xlabel="interviews of the new woman", ylabel="R2 on her later interviews", xticks=counts)
figure.legend(loc="outside right upper", fontsize=8)
plt.show()
