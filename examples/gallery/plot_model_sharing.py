"""
A shared layer with L2: penalty, bound, and how strong
======================================================

The claim: tasks share a layer and keep a head each; L2 on the weights, as a penalty or as a bound
on their norm, keeps such a model from overfitting; AIC, BIC or cross-validation say how strong.

What cannot run or is wrong in recipes that show it:

* gradients are taken of the shared layer only: the heads stay as they were drawn at random;
* the output of the shared layer, without a head, is compared with the target;
* "L2 tends to overfit, L1 does not": both shrink, and either does too little or too much if its
  strength is not chosen.

Mended, on images of handwritten digits: ten tasks ask whether an image shows a 0, a 1, ... a 9,
with 40 labels each. The other images are for testing. "No" is right in 90% of the answers, so the
log loss of the probabilities is shown beside the share of right ones.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.metrics import log_loss

from polytask import MultiTaskClassifierCV, MultiTaskClassifierIC
from polytask.datasets import load_digits_few
from polytask.deep import MLP, DeepMultiTaskClassifier
from polytask.penalties import L2

digits = load_digits_few(40)
labelled = ~np.isnan(digits.y).all(axis=1)
X, y = digits.X[labelled], digits.y[labelled]
X_test, y_test = digits.X[~labelled], digits.extras["Y_full"][~labelled]


def judge(name, model):
    """Print what a fitted model is worth on images without labels, and return its log loss."""
    chances = np.stack([of_task[:, 1] for of_task in model.predict_proba(X_test)], axis=1)
    loss = log_loss(y_test.ravel(), chances.ravel())
    print(f"{name:24} right {model.score(X_test, y_test):.3f}, log loss {loss:.3f}")
    return loss


def network(**settings):
    """Return a network of one shared layer and ten heads, fitted until the last epoch."""
    settings |= {"early_stopping": False, "max_epochs": 60, "random_state": 0}
    return DeepMultiTaskClassifier(MLP((32,)), **settings).fit(X, y)


def size(model):
    """Return the norm of all weights, those of the shared layer and those of the heads."""
    weights = [one.detach() for one in model.network_.parameters() if one.ndim > 1]
    return float(torch.cat([one.ravel() for one in weights]).norm())


# %%
# First the error: an optimiser that moves the shared layer alone, then one that moves all.


def only_shared(parameters):
    # The heads, weights and biases, have a row for each of the ten tasks.
    return torch.optim.AdamW([one for one in parameters if len(one) != 10], lr=5e-3)


judge("heads never optimised", network(optimizer=only_shared))
plain = network(learning_rate=5e-3)
plain_loss = judge("no L2", plain)

# %%
# L2 as a penalty, and as a bound: after each step weights whose norm is above the bound are scaled
# back to it. The bounds are the norms at which the penalties ended.


def at_most(bound):
    def make(parameters):
        parameters = list(parameters)
        weights = [one for one in parameters if one.ndim > 1]

        def scale_back(*_):
            with torch.no_grad():
                norm = torch.cat([one.ravel() for one in weights]).norm()
                torch._foreach_mul_(weights, float(min(1.0, bound / norm)))

        optimizer = torch.optim.AdamW(parameters, lr=5e-3, weight_decay=0.0)
        optimizer.register_step_post_hook(scale_back)
        return optimizer

    return make


norms, penalised, bounded = [size(plain)], [plain_loss], [plain_loss]
for strength in (0.003, 0.01, 0.03, 0.1):
    model = network(penalties={"*": L2(strength)}, learning_rate=5e-3)
    norms.append(size(model))
    penalised.append(judge(f"penalty {strength}", model))
    bounded.append(judge(f"bound {norms[-1]:.2f}", network(optimizer=at_most(norms[-1]))))

# %%
# How strong, without looking at the test images? For the linear model of the same tasks:

given = {"alphas": 10, "task_weight": "size"}
choosers = {name: MultiTaskClassifierIC(L2(), criterion=name, **given) for name in ("aic", "bic")}
choosers["cross-validation"] = MultiTaskClassifierCV(L2(), cv=4, **given)
for name, chooser in choosers.items():
    judge(f"{name}, {chooser.fit(X, y).alpha_:.2g}", chooser)

# %%
# The lesson: L2 helps the shared layer up to a strength, behind which both forms get worse; at the
# same norm the penalty was at least as good as the bound, and it is the easier one to fit. With so
# few labels AIC, and BIC even more, choose too strong a penalty; cross-validation came nearest to
# the best probabilities. None of this matters as much as training the heads.

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
figure.suptitle("Loss against the norm of the weights")
ax.plot(norms, penalised, "o-", label="penalty")
ax.plot(norms, bounded, "s--", label="bound at the same norm")
ax.set(xlabel="norm of all weights", ylabel="log loss on test images (nats per answer)")
ax.legend()
plt.show()
