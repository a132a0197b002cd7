"""
Logistics: demand of stores and products (simulated)
====================================================

A row of sales belongs to a store and to a product, and few pairs have more than one row. With a
prior for each of the two groupings, the model learns how much stores differ and how much products
differ, and predicts a new store from what is known of its products. That predicts as well as the
best of today's regressions, not better, and says besides whose variance it is. The data are
simulated, so that the truth is known: 32 stores and 80 products with about ten rows for each
product, and eight stores that open later. Measured is the deviance of held-out counts.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.linear_model import PoissonRegressor
from sklearn.metrics import mean_poisson_deviance
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from polytask import BayesianMultiTaskModel, SingleTask

rng = np.random.default_rng(0)
sales = pd.DataFrame(
    {
        "discount": rng.choice([0, 0.1, 0.2, 0.3], 1500),
        "weekend": rng.integers(0, 2, 1500),
        "store": rng.integers(0, 40, 1500),
        "product": rng.integers(0, 80, 1500),
    }
)
of_store = (0.4 * rng.standard_normal(40))[sales["store"]]
of_product = (0.8 * rng.standard_normal(80))[sales["product"]]
of_product += rng.standard_normal(80)[sales["product"]] * sales["discount"]
log_demand = 0.8 + 2 * sales["discount"] + 0.3 * sales["weekend"] + of_store + of_product
sold = rng.poisson(np.exp(log_demand))

new_store = sales["store"] >= 32
train = ~new_store & (rng.random(1500) < 0.7)
print(f"{train.sum()} rows of training, {(~train & ~new_store).sum()} of the same stores held out")
print(f"and {new_store.sum()} of new stores; on average {sold.mean():.1f} are sold")

# %%
# What is used today: Poisson regressions, with a penalty that cross-validation chooses. One per
# store cannot know the products, most of which it has seen once or never. One for all stores can
# have a 0/1 column for each store and each product: a fair opponent of the learned prior.

poisson = GridSearchCV(PoissonRegressor(max_iter=1000), {"alpha": np.logspace(-5, 0, 6)})
onehot = OneHotEncoder(handle_unknown="ignore")
columns = make_column_transformer((onehot, ["store", "product"]), remainder="passthrough")
both = ["store", "product"]
models = {
    "separate: a model per store": (SingleTask(poisson, task_column="store"), ["store"]),
    "pooled: no store, no product": (poisson, []),
    "pooled: 0/1 columns of both": (make_pipeline(columns, poisson), both),
    "learned prior of both": (BayesianMultiTaskModel(loss="poisson", task_column=both), both),
}
held_out = {"known stores": ~train & ~new_store, "new stores": new_store}
deviances = pd.DataFrame(index=models, columns=held_out, dtype=float)
for name, (model, known) in models.items():
    table = sales[["discount", "weekend", *known]]
    model.fit(table[train], sold[train])
    for place, rows in held_out.items():
        if place == "known stores" or not name.startswith("separate"):
            found = mean_poisson_deviance(sold[rows], model.predict(table[rows]))
            deviances.loc[name, place] = found
print(deviances.round(2))

# %%
# The share of the variance of each grouping, with a 95% interval, beside that of the simulation.

chance = np.log1p(1 / sold[train].mean())
total = of_store[train].var() + of_product[train].var() + chance
for name, effect in (("store", of_store), ("product", of_product)):
    share, low, high = model.variance_shares_[name]
    truth = effect[train].var() / total
    print(f"{name}: {share:.2f} ({low:.2f} to {high:.2f}), in the simulation {truth:.2f}")

# %%
# Here a model per store is the worst: what matters is the product, and its rows lie in all stores.
# Given both groupings, 0/1 columns with one tuned penalty predict as well as the learned prior,
# also at new stores. What the prior adds is a strength for each grouping without a search, and the
# shares, which agree with the simulation.

figure, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
figure.suptitle("Deviance of held-out counts of known and new stores")
for place, mark in zip(held_out, "os", strict=True):
    ax.plot(deviances[place], range(4), mark, markersize=9, fillstyle="none", label=place)
ax.set_yticks(range(4), models)
ax.set_ylim(3.5, -0.5)
ax.set(xlabel="mean Poisson deviance of held-out counts (less is better)", xlim=(0, None))
ax.grid(axis="y", alpha=0.3)
ax.legend(loc="lower right")
plt.show()
