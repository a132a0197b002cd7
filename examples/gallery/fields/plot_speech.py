"""
Speech: a task for each speaker (simulated)
===========================================

Which of three vowels was spoken? A vowel is known by the two frequencies at which the voice is
loud, and these depend on the speaker: a longer vocal tract lowers both. So a task is a speaker,
here with twelve recordings each. The recordings are simulated, of 16 speakers whose vocal tracts
are alike, or differ little or much. Measured is the log loss on new recordings of the same
speakers. How much speakers differ decides: where they are alike one model for all is enough; where
they differ much separate models are the best, as sharing does not pay; between these the joint
model is the best, which pulls the coefficients of each speaker towards the mean of all.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from polytask import MultiTaskClassifierCV, Pooled, SingleTask
from polytask.penalties import L2, toward_mean

vowels = np.array(["a", "e", "i"])
loud = np.array([[0.08, 0.15], [0.06, 0.20], [0.045, 0.25]])  # cycles per sample, a row per vowel


def recordings(n, scale, rng):
    """Return n waves of 256 samples by one speaker, as features, and their vowels."""
    vowel = np.arange(n) % 3
    frequency = loud[vowel] * scale * np.exp(0.06 * rng.standard_normal((n, 2)))
    phase = 2 * np.pi * (frequency[:, :, None] * np.arange(256) + rng.random((n, 2, 1)))
    wave = np.sin(phase).sum(axis=1) + 2.0 * rng.standard_normal((n, 256))
    # The logarithm of the mean energy in each of 24 bands, over windows of 64 samples.
    windows = np.lib.stride_tricks.sliding_window_view(wave, 64, axis=1)[:, ::32] * np.hanning(64)
    energy = (np.abs(np.fft.rfft(windows, axis=2)) ** 2).mean(axis=1)
    return np.log(energy[:, 1:25]), vowels[vowel]


# %%
# "One for all" is a logistic regression with a level for each speaker.

folds = StratifiedKFold(3, shuffle=True, random_state=0)
logistic = GridSearchCV(
    LogisticRegression(max_iter=1000), {"C": [0.1, 1.0, 10.0]}, scoring="neg_log_loss", cv=folds
)
models = {
    "separate": SingleTask(logistic),
    "one for all": Pooled(logistic, "intercept"),
    "joint": MultiTaskClassifierCV(
        toward_mean() + L2(0.1),
        alphas=np.logspace(-1, -4, 5),
        cv=3,
        task_weight="size",
        intercept="task",
    ),
}
rows = []
task, task_new = np.repeat(np.arange(16), 12), np.repeat(np.arange(16), 99)
for spread in (0.0, 0.05, 0.1, 0.2):
    rng = np.random.default_rng(0)
    scales = np.exp(spread * rng.standard_normal(16))
    known = [recordings(12, scale, rng) for scale in scales]
    new = [recordings(99, scale, rng) for scale in scales]
    X, y = (np.concatenate(of) for of in zip(*known, strict=True))
    X_new, y_new = (np.concatenate(of) for of in zip(*new, strict=True))
    for name, model in models.items():
        chances = model.fit(X, y, task=task).predict_proba(X_new, task=task_new)
        for speaker in range(16):
            of = task_new == speaker
            loss = log_loss(y_new[of], chances[of], labels=vowels)
            right = np.mean(vowels[chances[of].argmax(axis=1)] == y_new[of])
            rows.append((spread, name, speaker, loss, right))

table = pd.DataFrame(rows, columns=["spread", "model", "speaker", "log loss", "right"])
means = table.groupby(["spread", "model"], sort=False)[["log loss", "right"]].mean().unstack()
print(means.round(3).to_string())

# %%
# The mean over the speakers, with its standard error. Nobody knows the spread beforehand;
# :func:`polytask.compare` tells from the recordings which kind of model to use.

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
figure.suptitle("Log loss on new recordings, by how much speakers differ")
for name in models:
    of = table[table["model"] == name].groupby("spread")["log loss"].agg(["mean", "sem"])
    ax.errorbar(of.index, of["mean"], of["sem"], marker="o", capsize=3, label=name)
ax.set_xlabel("spread of the vocal tracts (standard deviation of the log of their length)")
ax.set_ylabel("log loss on new recordings (nats)")
ax.legend()
plt.show()
