"""
L1, L2, dropout and batch norm in one network
=============================================

The claim: L1 selects features and L2 shrinks; a dropout rate of about .5 is usually right; batch
norm speeds up training and regularises too.

What cannot run or is wrong in recipes that show it:

* the examples have one task, and are called multi-task;
* L2 stands on the output layer only, while the weights that overfit are in the layers before;
* the strength is chosen on the rows by which the network is judged, and no others are held out;
* no simpler model stands beside the network to say what a gain is worth.

Mended, on 442 diabetes patients: six tasks (a sex and an age band), one network of two hidden
layers that the tasks share, a linear head for each. A quarter of every task is for testing, a
quarter of the rest chooses the strength.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from polytask import Pooled
from polytask.data import train_test_split_tasks
from polytask.datasets import load_diabetes_groups
from polytask.deep import MLP, DeepMultiTaskRegressor
from polytask.penalties import L1, L2

patients = load_diabetes_groups()
settings = {"learning_rate": 5e-3, "max_epochs": 40, "patience": None}
networks = {("nothing", 0.0): DeepMultiTaskRegressor(MLP((32, 32)))}
networks["batch norm", 0.0] = DeepMultiTaskRegressor(MLP((32, 32), norm="batch"))
for rate in (0.1, 0.3, 0.5, 0.7):
    networks["dropout", rate] = DeepMultiTaskRegressor(MLP((32, 32), dropout=rate))
for strength in (0.03, 0.1, 0.3):  # of the sum of the losses of six tasks
    for name, where, norm in (("L1 of the input layer", "input", L1), ("L2", "*", L2)):
        norms = {where: norm(strength)}
        networks[name, strength] = DeepMultiTaskRegressor(MLP((32, 32)), penalties=norms)

# %%
# Every network on three splits, to the last epoch:

splits = []
for seed in range(3):
    parts = train_test_split_tasks(patients.X, patients.y, patients.task, random_state=seed)
    inner = train_test_split_tasks(*parts[::2], random_state=seed)
    splits.append((inner[::2], inner[1::2], parts[1::2]))  # to train on, to choose by, to test

held, test = {}, {}
for which, network in networks.items():
    held[which], test[which] = [], []
    for seed, ((X, y, task), *judging) in enumerate(splits):
        network.set_params(early_stopping=False, random_state=seed, **settings)
        network.fit(X, y, task=task)
        for scores, (rows, of, tasks) in zip((held, test), judging, strict=True):
            scores[which].append(network.score(rows, of, task=tasks))
held, test = (pd.DataFrame(scores).T.sort_index() for scores in (held, test))
print(pd.DataFrame({"R2 held out": held.mean(axis=1), "R2 test": test.mean(axis=1)}).round(3))

# %%
# The strength that is best on held-out rows, and what it is worth on test rows; beside it one
# ridge regression for all groups, with an intercept for each:

for name in held.index.levels[0]:
    chosen = held.loc[name].idxmax()
    found = np.array([test.loc[(name, chosen[k]), k] for k in test.columns])
    gain = found - test.loc[("nothing", 0.0)].to_numpy()
    print(f"{name:22} R2 {found.mean():.3f}, gain by split {gain.round(2)}, chosen {[*chosen]}")
ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 4, 20)))
linear = []
for (X, y, task), _, (rows, of, tasks) in splits:
    linear.append(Pooled(ridge, "intercept").fit(X, y, task=task).score(rows, of, task=tasks))
print(f"{'pooled ridge':22} R2 {np.mean(linear):.3f}")

# %%
# Does L1 select features? What is left of the first layer:

for name in ("L1 of the input layer", "L2"):
    first = next(networks[name, 0.1].network_.parameters()).detach().numpy()
    left = f"{first.any(axis=0).sum()} of {first.shape[1]} features left"
    print(f"{name} at 0.1: {np.mean(first == 0):.0%} of the weights are 0, {left}")

# %%
# Does batch norm speed up training? Epochs to the lowest loss of the held-out rows:

curves = {}
for name in ("nothing", "batch norm"):
    network = networks[name, 0.0].set_params(early_stopping=True, validation=0.25)
    found = []
    for seed, ((X, y, task), *_) in enumerate(splits):
        network.set_params(random_state=seed).fit(X, y, task=task)
        found.append(network.history_.held_out.mean(axis=1))
    curves[name], epochs = np.mean(found, axis=0), np.argmin(found, axis=1) + 1
    print(f"{name}: lowest loss {np.min(found, axis=1).round(3)} after {epochs} epochs")

# %%
# The lesson: each penalty made far more of this network than nothing did, and dropout came next,
# best at a rate near one half among those tried. L1 empties weights but drops no feature; for that
# take `L21`, and mind the cliff behind its best strength. Batch norm was there in fewer epochs, at
# a higher loss: it is no regulariser here. And a linear regression of all groups did better on
# average than any of these networks, which no comparison among networks would have said.

figure, (upper, lower) = plt.subplots(2, 1, figsize=(6.4, 7), layout="constrained")
figure.suptitle("Dropout, penalties and batch norm of one network")
for name, colour in (("dropout", "C0"), ("L1 of the input layer", "C1"), ("L2", "C2")):
    line = test.loc[name]
    upper.errorbar(
        line.index, line.mean(axis=1), line.std(axis=1), color=colour, label=name, capsize=3
    )
upper.axhline(test.loc[("nothing", 0.0)].mean(), color="grey", linestyle=":", label="nothing")
upper.axhline(np.mean(linear), color="black", linewidth=0.8, label="pooled ridge")
upper.set(xlabel="dropout rate, or strength (bars: SD over splits)", ylabel="R2 on test rows")
lower.plot(np.arange(1, 41), np.transpose([*curves.values()]), label=[*curves])
lower.set(xlabel="epoch", ylabel="loss of held-out rows (mean of the tasks)")
upper.legend(fontsize=8)
lower.legend()
plt.show()
