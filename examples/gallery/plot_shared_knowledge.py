"""
Relatedness decides whether tasks learn from each other
=======================================================

The claim: minimise the sum of the losses of all tasks plus a strength times R, a penalty on the
matrix of all coefficients; with L1, L2 or an elastic net as R the tasks share what they know, with
fewer parameters and less training time than separate models.

What cannot run or is wrong in recipes that show it:

* ``np.square.derivative`` does not exist, and (X - y) is no gradient: that of a mean squared error
  in w is 2 X'(Xw - y) / n;
* losses are called with predictions where they expect parameters;
* one parameter vector serves all tasks, related or not: that is a pooled model, and needs no R;
* parameters and seconds are claimed, and never counted.

Mended, on the wages of 450 women: a task is a woman with 5 to 15 interviews, the target the
logarithm of her wage. A quarter of the interviews of each are held out.
"""

from time import process_time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.metrics import log_loss

from polytask import MultiTaskRegressorCV, Pooled, SingleTask, relatedness
from polytask.data import train_test_split_tasks
from polytask.datasets import load_digits_few, load_wages
from polytask.deep import MLP, DeepMultiTaskClassifier
from polytask.penalties import L1, L2, L21, ElasticNet, toward_mean

wages = load_wages()
X = wages.X[["year", "experience", "tenure", "hours"]].to_numpy(dtype=float)
X = (X - X.mean(axis=0)) / X.std(axis=0)

# %%
# Beside the true women unrelated ones, simulated from them: for each, the sign of every feature is
# drawn anew. What a woman's own rows can tell stays the same, but not what the others say of her.

women, codes = np.unique(wages.task, return_inverse=True)
signs = np.random.default_rng(0).choice([-1.0, 1.0], (len(women), X.shape[1]))
problems = {"true": X, "signs drawn": X * signs[codes]}
for name, features in problems.items():
    found = relatedness(features, wages.y, task=wages.task, n_permutations=199)
    print(f"{name}: p = {found.p_value}, {found.shares.common:.0%} common to all women")

# %%
# The sum of the losses plus R, for several R, each with its strength chosen by cross-validation:

given = {"alphas": 8, "cv": 3, "task_weight": "size", "intercept": "task"}
ridge = RidgeCV(np.logspace(-1, 3, 9))
models = {
    "separate ridge": SingleTask(ridge),
    "pooled ridge": Pooled(ridge, "intercept"),
    "R = L1": MultiTaskRegressorCV(L1(), **given),
    "R = L2": MultiTaskRegressorCV(L2(), **given),
    "R = elastic net": MultiTaskRegressorCV(ElasticNet(), **given),
    "R = L21": MultiTaskRegressorCV(L21(), **given),
    "R = toward_mean + L2": MultiTaskRegressorCV(toward_mean() + L2(0.1), **given),
}
scores = {}
for problem, features in problems.items():
    train, test, y, y_test, task, task_test = train_test_split_tasks(
        features, wages.y, wages.task, random_state=0
    )
    print(problem)
    for name, model in models.items():
        began = process_time()
        model.fit(train, y, task=task)
        seconds = process_time() - began
        scores[problem, name] = model.score(test, y_test, task=task_test)
        print(f"   {name:21} R2 {scores[problem, name]:.3f}, {seconds:.1f} s")

# %%
# Fewer parameters and less time? A linear R leaves as many coefficients as separate models have.
# A network with a shared layer has fewer: ten questions about digits, 40 labels each, as one
# network and as ten.

digits = load_digits_few(40)
unseen = np.isnan(digits.y).all(axis=1)


def fitted(columns):
    """Return weights, seconds and the chances of a network for some of the questions."""
    y, began = digits.y[:, columns], process_time()
    rows = ~np.isnan(y).all(axis=1)
    network = DeepMultiTaskClassifier(
        MLP((32,)), early_stopping=False, learning_rate=5e-3, max_epochs=60, random_state=0
    ).fit(digits.X[rows], y[rows])
    seconds = process_time() - began
    chances = np.stack([of[:, 1] for of in network.predict_proba(digits.X[unseen])], axis=1)
    return sum(one.numel() for one in network.network_.parameters()), seconds, chances


fitted([0])  # what is loaded once counts for neither
truth = digits.extras["Y_full"][unseen].ravel()
for name, parts in (("joint", [range(10)]), ("separate", [[t] for t in range(10)])):
    weights, seconds, chances = zip(*[fitted([*part]) for part in parts], strict=True)
    loss = log_loss(truth, np.hstack(chances).ravel())
    print(f"{name}: {sum(weights)} weights, {sum(seconds):.1f} s, log loss {loss:.3f}")

# %%
# The lesson: relatedness decided. A pull to the mean is the best model of the true women, and no
# better than plain L2 where signs were drawn; pooling, which cannot let go, lost there. L1, L2,
# elastic net and L21 do not see signs, so they pull nobody towards the others; what L2 gains over
# separate models comes from one strength, chosen on all women together. The joint network had far
# fewer weights and took less time than ten small ones, but its probabilities were no better.

figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
figure.suptitle("What is explained with related and with unrelated women")
for k, (problem, marker) in enumerate(zip(problems, "os", strict=True)):
    values = [scores[problem, name] for name in models]
    ax.plot(values, np.arange(len(models)) + 0.24 * k, marker, markersize=8, label=problem)
ax.set_yticks(np.arange(len(models)) + 0.12, list(models))
ax.set_xlabel("R2 on interviews held out")
ax.grid(axis="y", linewidth=0.4)
ax.legend(title="women", loc="upper left")
plt.show()
