"""
Recommendation: click, purchase, rating (simulated)
===================================================

A visit may end in a click, a click in a purchase, a purchase in a rating: two kinds of loss, and a
target is missing where the step before it did not happen. Do the many clicks help to predict the
few purchases? Visits are simulated in two ways: nearly the same taste behind all three targets,
and a taste of its own behind each. Measured on new visits, over four draws, is the share of the
log loss of purchases, and of the squared error of ratings, that is explained. With a common taste
and few purchases the joint model is better than separate ones, and a pooled model serves purchases
at least as well; with many it hardly matters. With tastes of their own pooling fails and the joint
model does about as well as separate ones. What it is good for: nobody knows which of them holds.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import d2_log_loss_score, r2_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from polytask import BayesianMultiTaskModel, Pooled


def visits(n, tastes, rng):
    """Return the features of n visits and three targets, with NaN for what was not seen."""
    X = rng.standard_normal((n, len(tastes)))
    level = X @ tastes
    click = rng.random(n) < 1 / (1 + np.exp(1.3 - level[:, 0]))
    purchase = rng.random(n) < 1 / (1 + np.exp(2.0 - level[:, 1]))
    rating = 3.5 + 0.5 * level[:, 2] + 0.8 * rng.standard_normal(n)
    Y = np.column_stack([click, purchase, rating])
    Y[~click, 1] = Y[~(click & purchase), 2] = np.nan
    return X, Y


# %%
# Separate: a penalised regression for each target. Pooled: one logistic regression of clicks and
# purchases, with a level for each; ratings have no partner to be pooled with. Joint: a loss for
# each target, and a prior of all coefficients, learned from the three; its scale is the same for
# all features, as three targets tell no more.

folds = StratifiedKFold(5, shuffle=True, random_state=0)
strengths = {"C": [0.01, 0.1, 1.0, 10.0]}
logistic = GridSearchCV(LogisticRegression(), strengths, scoring="neg_log_loss", cv=folds)
scores = []
for taste, common in (("common", 0.95), ("its own", 0.0)):
    for n in (400, 1200, 3600):
        for draw in range(4):
            rng = np.random.default_rng(draw)
            one, each = rng.standard_normal((10, 1)), rng.standard_normal((10, 3))
            tastes = 0.45 * (np.sqrt(common) * one + np.sqrt(1 - common) * each)
            X, Y = visits(n, tastes, rng)
            X_new, Y_new = visits(10_000, tastes, rng)
            click, purchase = ~np.isnan(Y_new[:, 1]), ~np.isnan(Y_new[:, 2])
            seen, bought = ~np.isnan(Y[:, 1]), ~np.isnan(Y[:, 2])

            joint = BayesianMultiTaskModel(structure="scalar").fit(X, Y)
            pooled = Pooled(logistic, "intercept").fit(X, Y[:, :2])
            chances = {
                "separate": logistic.fit(X[seen], Y[seen, 1]).predict_proba(X_new)[:, 1],
                "pooled": pooled.predict_proba(X_new)[1][:, 1],
                "joint": joint.predict_proba(X_new)[1][:, 1],
            }
            ridge = RidgeCV(np.logspace(-1, 4, 11)).fit(X[bought], Y[bought, 2])
            ratings = {"separate": ridge.predict(X_new), "joint": joint.predict(X_new)[:, 2]}
            for model, of in chances.items():
                worth = d2_log_loss_score(Y_new[click, 1], of[click])
                scores.append((taste, n, bought.sum(), "purchase", model, draw, worth))
            for model, of in ratings.items():
                worth = r2_score(Y_new[purchase, 2], of[purchase].astype(float))
                scores.append((taste, n, bought.sum(), "rating", model, draw, worth))

names = ["taste", "visits", "purchases", "target", "model", "draw", "score"]
scores = pd.DataFrame(scores, columns=names)
table = scores.groupby(["target", "taste", "visits", "model"])["score"].mean().unstack()
print(scores.groupby(["taste", "visits"])["purchases"].mean().round().unstack())
print(table.round(3))

# %%
# The chance of a click and a purchase is the product of the two chances. The picture shows the
# gain over the separate models, with the standard error of its mean over the draws.

worth = scores[scores["target"] == "purchase"].set_index(["taste", "visits", "draw", "model"])
worth = worth["score"].unstack()
gains = worth[["pooled", "joint"]].sub(worth["separate"], axis=0)
figure, axes = plt.subplots(1, 2, figsize=(6.4, 4), sharey=True, layout="constrained")
for ax, (taste, gain) in zip(axes, gains.groupby("taste"), strict=True):
    for model in gain:
        drawn = gain[model].groupby("visits").agg(["mean", "sem"])
        at = drawn.index.astype(str)
        ax.errorbar(at, drawn["mean"], drawn["sem"], marker="o", capsize=3, label=model)
    ax.axhline(0, color="grey", linewidth=0.8)
    ax.set(title=f"taste: {taste}", xlabel="visits")
axes[0].set_ylabel("share of the log loss of purchases\nexplained beyond separate models")
axes[1].legend()
plt.show()
