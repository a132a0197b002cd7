"""
Text: several labels of short texts (simulated)
===============================================

Short texts carry ten yes/no labels, such as "complaint" and "urgent". Which words matter? L21
keeps one list of words for all labels, each with coefficients of its own; L1 keeps a list for each
label. Texts and labels are simulated in two ways: the same ten words decide about all labels, in
different directions, or each label has ten words of its own. Measured is the share of the log loss
explained on new texts. One list pays where the words are common. Where each label has its own,
sharing does not pay: a list for each label is better.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import d2_log_loss_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from polytask import MultiTaskClassifierCV, Pooled, SingleTask
from polytask.penalties import L1, L21

words = np.array([f"word{i}" for i in range(200)])
frequency = 1 / np.arange(10, 210)  # a few words are frequent, most are rare


def texts(n, effects, rng):
    """Return n texts of 15 words, and labels whose log odds add up the effects of the words."""
    counts = rng.multinomial(15, frequency / frequency.sum(), size=n)
    level = (counts > 0) @ effects
    chances = 1 / (1 + np.exp(1 - (level - level.mean(axis=0))))
    labels = (rng.random(chances.shape) < chances).astype(float)
    return [" ".join(np.repeat(words, of_text)) for of_text in counts], labels


# %%
# 300 labelled texts, and 3,000 for testing. All models read the same TF-IDF features, and choose
# their strength by folds. Pooled: one logistic regression, with a level for each label.

folds = StratifiedKFold(3, shuffle=True, random_state=0)
logistic = GridSearchCV(
    LogisticRegression(), {"C": [0.1, 1.0, 10.0]}, scoring="neg_log_loss", cv=folds
)
given = {
    "alphas": np.logspace(-1.5, -2.75, 6),
    "cv": 3,
    "task_weight": "size",
    "standardize": False,
}
models = {
    "pooled L2": Pooled(logistic, "intercept"),
    "separate L2": SingleTask(logistic),
    "separate L1": SingleTask(MultiTaskClassifierCV(L1(), **given)),
    "joint L21": MultiTaskClassifierCV(L21(), intercept="task", **given),
}
scores = []
for deciding in ("common words", "words of its own"):
    rng = np.random.default_rng(0)
    effects = np.zeros((200, 10))
    for label in range(10):
        common = deciding == "common words"
        which = np.arange(0, 50, 5) if common else rng.choice(50, 10, replace=False)
        effects[which, label] = rng.normal(0, 2, 10)
    train, Y = texts(300, effects, rng)
    test, Y_test = texts(3000, effects, rng)
    tfidf = TfidfVectorizer().fit(train)
    X, X_test = tfidf.transform(train), tfidf.transform(test)
    for name, model in models.items():
        chances = model.fit(X, Y).predict_proba(X_test)
        for label in range(10):
            worth = d2_log_loss_score(Y_test[:, label], chances[label][:, 1])
            scores.append((deciding, label, name, worth))
    kept = [of.coef_[0] != 0 for of in models["separate L1"].estimators_.values()]
    one_list = (models["joint L21"].coef_ != 0).any(axis=0).sum()
    print(f"{deciding}: L21 keeps {one_list} words, L1 {np.any(kept, axis=0).sum()} in all,")
    print(f"    {np.sum(kept, axis=1).mean():.0f} for a label")

table = pd.DataFrame(scores, columns=["deciding", "label", "model", "score"])
table = table.set_index(["deciding", "label", "model"])["score"].unstack()[list(models)]
print(table.groupby("deciding").mean().round(3).to_string())
gain = table["joint L21"] - table["separate L1"]
print("L21 over separate L1:", gain.groupby("deciding").agg(["mean", "sem"]).round(3), sep="\n")

# %%
# Each point is a label; above the line one list of words is better than a list for each label.

figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
figure.suptitle("Labels of texts: joint against separate models")
for deciding, marker in (("common words", "o"), ("words of its own", "s")):
    of = table.loc[deciding]
    ax.plot(of["separate L1"], of["joint L21"], marker, label=deciding)
ax.axline((0.2, 0.2), slope=1, color="grey", linewidth=0.8)
ax.set(xlabel="explained by separate L1", ylabel="explained by joint L21", aspect="equal")
ax.legend(title="a label depends on")
plt.show()
