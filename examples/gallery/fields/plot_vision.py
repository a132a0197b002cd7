"""
Vision: several questions about one image
=========================================

Three yes/no questions about real images of handwritten digits: odd? above four? a closed loop? Few
images are labelled, and each for one question only; the other labels are missing. Do the questions
help each other in a network with a shared layer, and do landmarks help (centre and spread of the
ink, computed from the image)? Measured is the log loss of the answers on other images, in three
draws. The shared layer pays beside a network for each question once there are enough labels to
train it; with the fewest it is no better, nor than plain logistic regressions. Landmarks add
little.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from polytask import Pooled, SingleTask
from polytask.deep import MLP, DeepMultiTaskClassifier, DeepMultiTaskModel

X, digit = load_digits(return_X_y=True)
answers = np.column_stack([digit % 2 == 1, digit > 4, np.isin(digit, [0, 6, 8, 9])]).astype(float)
ink = X.reshape(-1, 8, 8)
landmarks = []
for axis in (1, 2):
    along, place = ink.sum(axis=axis), np.arange(8)
    centre = along @ place / along.sum(axis=1)
    spread = np.sqrt((along * (place - centre[:, None]) ** 2).sum(axis=1) / along.sum(axis=1))
    landmarks += [centre, spread]
landmarks = np.column_stack(landmarks)

# %%
# Separate models have a third of the labelled images each. The network with a shared layer has a
# head for each question, and for each landmark where there are such.

folds = StratifiedKFold(3, shuffle=True, random_state=0)
logistic = GridSearchCV(
    LogisticRegression(max_iter=1000), {"C": [1e-3, 1e-2, 0.1]}, scoring="neg_log_loss", cv=folds
)
settings = {"early_stopping": False, "max_epochs": 40, "learning_rate": 3e-3, "random_state": 0}
network = DeepMultiTaskClassifier(MLP((64,)), **settings)
models = {
    "logistic, pooled": Pooled(logistic, "intercept"),
    "logistic, separate": SingleTask(logistic),
    "network, separate": SingleTask(network),
    "network, shared layer": network,
    "shared layer, landmarks": DeepMultiTaskModel(MLP((64,)), **settings),
}
rows = []
for labelled in (30, 80, 160):
    for draw in range(3):
        order = np.random.default_rng(draw).permutation(len(X))
        train, test = order[: 3 * labelled], order[3 * labelled :]
        question = np.arange(len(train)) % 3
        Y = np.where(question[:, None] == np.arange(3), answers[train], np.nan)
        for name, model in models.items():
            targets = np.column_stack([Y, landmarks[train]]) if "landmarks" in name else Y
            chances = model.fit(X[train], targets).predict_proba(X[test])[:3]
            yes = np.concatenate([of_question[:, 1] for of_question in chances])
            truth = answers[test].T.ravel()
            loss, right = log_loss(truth, yes.astype(float)), np.mean((yes > 0.5) == truth)
            rows.append((name, labelled, draw, loss, right))

table = pd.DataFrame(rows, columns=["model", "labels", "draw", "log loss", "right"])
means = table.groupby(["model", "labels"], sort=False)[["log loss", "right"]].mean().unstack()
print(means.round(3).to_string())

# %%
# Pooled, one answer to three different questions, is of no use. Right answers and probabilities do
# not order the models alike: with 30 labels networks are right more often than
# logistic regressions, but their log loss is about the same: where wrong they are surer.

figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
figure.suptitle("Log loss of three questions about images, by number of labels")
for name in models:
    of = table[table["model"] == name].groupby("labels")["log loss"].agg(["mean", "sem"])
    ax.errorbar(of.index.astype(str), of["mean"], of["sem"], marker="o", capsize=3, label=name)
ax.set(xlabel="labels for each question", ylabel="log loss on other images (nats per answer)")
figure.legend(loc="outside right upper")
plt.show()
