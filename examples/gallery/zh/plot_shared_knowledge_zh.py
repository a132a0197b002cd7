"""
相关性决定任务能否互相学习
==========================

说法：最小化所有任务损失之和，再加上强度乘以 R，
R 是对全部系数矩阵的惩罚；R 取 L1、L2 或弹性网时，
任务共享知识，参数和训练时间都少于单独的模型。

这类示例中无法运行或错误之处：

* ``np.square.derivative`` 不存在，(X - y) 也不是梯度：
  均方误差对 w 的梯度是 2 X'(Xw - y) / n；
* 损失函数需要参数，却传入预测；
* 不论任务是否相关都用一个参数向量：那是合并模型，不需要 R；
* 声称参数少、时间短，却从未计数。

改正后用 450 名女性的工资：一个任务是一名女性，有 5 至 15 次访谈，
目标是工资的对数。每人留出四分之一的访谈。
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
# 在真实的女性之外，由她们模拟出互不相关的任务：对每个人重新抽取每个特征的符号。
# 她自己的行能说明的不变，别人的行却不再能说明她。

women, codes = np.unique(wages.task, return_inverse=True)
signs = np.random.default_rng(0).choice([-1.0, 1.0], (len(women), X.shape[1]))
problems = {"true": X, "signs drawn": X * signs[codes]}
for name, features in problems.items():
    found = relatedness(features, wages.y, task=wages.task, n_permutations=199)
    print(f"{name}: p = {found.p_value}, {found.shares.common:.0%} common to all women")

# %%
# 损失之和加上几种 R，强度都由交叉验证选出：

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
# 参数更少、时间更短吗？线性模型的 R 不减少系数的个数。
# 有共享层的网络参数较少：关于数字的十个问题，各 40 个标签，用一个网络或十个网络。

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


fitted([0])  # 只载入一次的部分不计入任何一方
truth = digits.extras["Y_full"][unseen].ravel()
for name, parts in (("joint", [range(10)]), ("separate", [[t] for t in range(10)])):
    weights, seconds, chances = zip(*[fitted([*part]) for part in parts], strict=True)
    loss = log_loss(truth, np.hstack(chances).ravel())
    print(f"{name}: {sum(weights)} weights, {sum(seconds):.1f} s, log loss {loss:.3f}")

# %%
# 结论：相关性起决定作用。对真实的女性，拉向均值的模型最好；
# 符号重新抽取后，它不优于普通的 L2，不能放手的合并模型则变差。
# L1、L2、弹性网和 L21 看不到符号，不会把谁拉向他人；
# L2 优于单独的模型，是因为强度由所有人一起选出。
# 联合网络的权重少得多，用时也少于十个小网络，概率却没有更好。

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
