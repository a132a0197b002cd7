"""
Finance: what firms invest
==========================

A panel of few firms and few years is where sharing pays first and where it is hardest to prove.
Grunfeld's data (real, they ship with statsmodels) have investment, market value and capital of 11
American firms, 1935 to 1954; a task is a firm. Models are fitted to all years up to one year and
judged on the next three, for fifteen such years. The learned prior is set beside a regression per
firm, one for all firms, and the habit of the field: common slopes with an intercept per firm
(fixed effects).
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LinearRegression
from statsmodels.datasets import grunfeld

from polytask import BayesianMultiTaskRegressor, Pooled, SingleTask, relatedness

panel = grunfeld.load_pandas().data
firm = panel["firm"].to_numpy(dtype=object)
year = panel["year"].to_numpy().astype(int)

# %%
# Firms differ in size by a factor of hundreds, so all is in logarithms: a slope is the percentage
# of investment that goes with one per cent of value or capital.

X = np.log(panel[["value", "capital"]].to_numpy())
y = np.log(panel["invest"].to_numpy())

# %%
# Are the firms related? ``relatedness`` tests it, says what they share, and draws how alike the
# slopes of every two firms are (the darker the more): all are, some less. Most of the difference
# between firms is that of their levels.

related = relatedness(X, y, task=firm)
print(f"p = {related.p_value:.3f}; of what value and capital explain, ", end="")
print(f"{related.shares.common:.0%} is common to all firms")
print(related.summary().splitlines()[-1])
ax = related.plot()
# sphinx_gallery_thumbnail_number = 2
ax.figure.suptitle("how alike the slopes of two firms are")
plt.show()

# %%
# Four models: alone, as one, with common slopes, and with slopes that the data may let differ.

models = {
    "separate": SingleTask(LinearRegression()),
    "pooled": Pooled(LinearRegression()),
    "fixed effects": Pooled(LinearRegression(), task_effect="intercept"),
    "learned prior": BayesianMultiTaskRegressor(),
}

# %%
# The split follows time: no model sees a year after the last one of training. Value and capital of
# the later years are given, so this is a test of the relation, not a forecast from nothing.

last_years = np.arange(1937, 1952)
squared, structures = {name: [] for name in models}, []
for last in last_years:
    train, test = year <= last, (year > last) & (year <= last + 3)
    for name, model in models.items():
        predicted = model.fit(X[train], y[train], task=firm[train]).predict(
            X[test], task=firm[test]
        )
        squared[name].append((y[test] - predicted) ** 2)
    structures.append(type(models["learned prior"].structure_).__name__)
squared = {name: np.array(errors) for name, errors in squared.items()}
firm_of = firm[test]

for period, when in (("to 1943", last_years <= 1943), ("from 1944", last_years > 1943)):
    print("root mean squared error of log investment, last year of training", period)
    for name, errors in squared.items():
        print(f"    {name:14}{np.sqrt(errors[when].mean()):.2f}")
print("what varies between firms by the learned prior, year after year:", *structures)

# %%
# How sure is that? The firms are few, and the years of one firm are not independent. So the
# interval is from drawing whole firms with replacement, and a count says how many of them gain.

rng = np.random.default_rng(0)
firms = np.unique(firm)
of_firm = {
    name: np.array([errors[:, firm_of == one].mean() for one in firms])
    for name, errors in squared.items()
}
for name in ("separate", "pooled", "fixed effects"):
    gain = of_firm[name] - of_firm["learned prior"]
    draws = rng.choice(gain, size=(5000, len(firms))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    print(
        f"mean squared error of {name} less that of the learned prior: {gain.mean():.2f} "
        f"({low:.2f} to {high:.2f}); the learned prior is better in {(gain > 0).sum()} of "
        f"{len(firms)} firms"
    )

# %%
# With three years per firm a regression of its own is useless (its first error is far above the
# picture), and the learned prior lets only the intercepts differ (``NoVariation`` of slopes), as
# fixed effects do: the two are as good as each other. With more years it finds that slopes differ
# too, and its error is the lowest. In two of the middle years a regression per firm is better, and
# for some firms the pooled model is. Against fixed effects eleven firms do not decide.

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
figure.suptitle("Error of the next three years, by the last year of training")
for (name, errors), line in zip(squared.items(), ("s:", "^--", "x-.", "o-"), strict=True):
    ax.plot(last_years, np.sqrt(errors.mean(axis=1)), line, label=name)
ax.set(xlabel="last year of training (the first is 1935)", ylim=(0.2, 0.8))
ax.set_ylabel("error of log investment, next three years")
ax.legend()
plt.show()
