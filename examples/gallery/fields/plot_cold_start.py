"""
Cold start: a new task with few rows
====================================

A model of known tasks learns a new one from its first rows with ``adapt``. Wages (real data, they
ship with polytask) are known of 450 women; all women with at least 11 interviews play the new
tasks, and are predicted from 0, 1, 2, 3, 5 or 8 interviews (more than 15 of one woman there are
not). If the interviews are any of hers, one is enough for ``adapt`` to beat the model of all
women, and a model of her own needs eight to come near. If they are her first ones, and what is
predicted are later years, no gain over the model of all women can be told from chance. Measured is
the squared error of the logarithm of the wage in three other interviews of the same woman.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler

from polytask import BayesianMultiTaskRegressor, adapt
from polytask.datasets import load_wages

wages = load_wages()
X, y, task = wages.X.drop(columns="occupation").to_numpy(float), wages.y, wages.task
women, interviews = np.unique(task, return_counts=True)
new_women = women[interviews >= 11]
known = ~np.isin(task, new_women)
X = StandardScaler().fit(X[known]).transform(X)
print(f"{len(women) - len(new_women)} known women, {len(new_women)} new ones")

# %%
# The known women teach two models once: one for all of them, and a learned prior. A model of a new
# woman's own is a ridge regression; strengths are chosen by cross-validation.

strengths = np.logspace(0, 4, 9)
pooled = RidgeCV(strengths).fit(X[known], y[known])
joint = BayesianMultiTaskRegressor().fit(X[known], y[known], task=task[known])

# %%
# For each number of interviews: all new women are adapted to in one call. With no rows the prior
# mean predicts. With one row the own model is a constant, her only wage.

counts = (0, 1, 2, 3, 5, 8)
names = ("separate: a model of her own", "pooled: one of all known women", "adapted")
rng = np.random.default_rng(0)
orders = {
    "any interviews": [rng.permutation(np.flatnonzero(task == woman)) for woman in new_women],
    "the first interviews": [np.flatnonzero(task == woman) for woman in new_women],
}
errors = {kind: np.empty((len(counts), 3, len(new_women))) for kind in orders}
for kind, order in orders.items():
    for at, count in enumerate(counts):
        model = joint
        if count:
            few = np.concatenate([rows[:count] for rows in order])
            model = adapt(joint, X[few], y[few], task=task[few])
        for place, rows in enumerate(order):
            few, test = rows[:count], rows[-3:]
            own = y[few] if count == 1 else np.nan
            if count > 1:
                own = RidgeCV(strengths).fit(X[few], y[few]).predict(X[test])
            predicted = own, pooled.predict(X[test]), model.predict(X[test], task=task[test])
            errors[kind][at, :, place] = [np.mean((y[test] - one) ** 2) for one in predicted]

# %%
# Means over women, and a 95% interval of the error of the pooled model less that of the adapted.

for kind, found in errors.items():
    print(f"\n{kind}: number, errors (own, pooled, adapted), interval of the gain")
    for count, of_count in zip(counts, found, strict=True):
        gain = of_count[1] - of_count[2]
        half = 1.96 * gain.std(ddof=1) / np.sqrt(len(gain))
        means = "  ".join(f"{mean:.3f}" for mean in of_count.mean(axis=1))
        print(f"{count:3}  {means}  {gain.mean() - half:+.3f} to {gain.mean() + half:+.3f}")

# %%
# With the first interviews the model of her own fails, because it must go on to years that it has
# not seen. There the adapted one is not shown to be better than the pooled one. With no interview
# the pooled model is a little better for any interviews. The bands are 95% intervals over women.

figure, axes = plt.subplots(1, 2, figsize=(6.4, 4), sharey=True, layout="constrained")
for ax, (kind, found) in zip(axes, errors.items(), strict=True):
    mean, half = found.mean(axis=2), 1.96 * found.std(axis=2, ddof=1) / np.sqrt(found.shape[2])
    for which, name in enumerate(names):
        ax.plot(counts, mean[:, which], "s^o"[which] + "-", label=name)
        low, high = mean[:, which] - half[:, which], mean[:, which] + half[:, which]
        ax.fill_between(counts, low, high, alpha=0.2)
    ax.set(title=kind, xlabel="interviews of a new woman", ylim=(0, 0.5))
axes[0].set_ylabel("squared error of log wage")
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
plt.show()
