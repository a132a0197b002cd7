"""
带 L2 的共享层：惩罚、上界与强度
====================================

说法：各任务共享一层，各有一个头；对权重加 L2，作为惩罚或作为范数的上界，可以防止过拟合；
强度由 AIC、BIC 或交叉验证给出。

这类示例中无法运行或错误之处：

* 只对共享层求梯度：各个头一直停留在随机初值；
* 共享层的输出不经过头就与目标比较；
* “L2 容易过拟合，L1 不会”：两者都收缩，强度不经选择时都会太弱或太强。

改正后用手写数字图像：十个任务分别问图像是否为 0、1……9，
每个任务有 40 个标签，其余图像用于测试。
一律答“否”已有 90% 正确，因此同时给出概率的对数损失。
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
# 先看这个错误：优化器只移动共享层；然后移动全部参数。


def only_shared(parameters):
    # 各个头的权重与偏置，每个任务一行，共十行。
    return torch.optim.AdamW([one for one in parameters if len(one) != 10], lr=5e-3)


judge("heads never optimised", network(optimizer=only_shared))
plain = network(learning_rate=5e-3)
plain_loss = judge("no L2", plain)

# %%
# L2 作为惩罚，以及作为上界：每一步之后，
# 范数超过上界的权重被缩回到上界。上界取惩罚结束时的范数。


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
# 不看测试图像，如何选强度？对同样任务的线性模型：

given = {"alphas": 10, "task_weight": "size"}
choosers = {name: MultiTaskClassifierIC(L2(), criterion=name, **given) for name in ("aic", "bic")}
choosers["cross-validation"] = MultiTaskClassifierCV(L2(), cv=4, **given)
for name, chooser in choosers.items():
    judge(f"{name}, {chooser.fit(X, y).alpha_:.2g}", chooser)

# %%
# 结论：L2 在一定强度之内对共享层有益，超过后两种形式都变差；
# 范数相同时，惩罚不逊于上界，而且更容易拟合。标签这样少时，AIC 选得太强，BIC 更甚；
# 交叉验证最接近最好的概率。这一切都不如训练各个头重要。

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
figure.suptitle("Loss against the norm of the weights")
ax.plot(norms, penalised, "o-", label="penalty")
ax.plot(norms, bounded, "s--", label="bound at the same norm")
ax.set(xlabel="norm of all weights", ylabel="log loss on test images (nats per answer)")
ax.legend()
plt.show()
