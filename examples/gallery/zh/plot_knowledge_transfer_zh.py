"""
稀疏性给新任务带来什么
======================

说法：L1 范数找出任务的共同之处，有助于行数很少的新任务；
大任务不应占主导；在别处学到的模型可以移到新领域。

这类示例中无法运行或错误之处：

* 把 ``Ridge(solver="liblinear")`` 称为 L1：Ridge 没有这个求解器，它的范数是 L2；
* 对实数预测计算分类正确率：scikit-learn 会拒绝；
* 只有一个任务，没有任何迁移；
* 只用 L1，它是各系数之和，任务在其中互不相遇（能传递的是 L21 或拉力）；
* 没有从零学习新任务作比较，看不出增益。

改正后：400 名女性及其工资已知，50 名是新的，
只有最初一次、两次或四次访谈。预测的是第四次之后的访谈，
即小时工资的对数。R2 以已知女性的平均工资为基准。
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import RidgeCV

from polytask import BayesianMultiTaskRegressor, MultiTaskRegressorCV, SingleTask, adapt
from polytask.datasets import load_wages
from polytask.penalties import L1, L2, L21, toward_mean

wages = load_wages()
X, y, task = pd.get_dummies(wages.X, dtype=float), np.asarray(wages.y), np.asarray(wages.task)
X = (X - X.mean()) / X.std()
is_new = np.isin(task, np.unique(task)[::9])
interview = wages.X.groupby(task)["year"].rank().to_numpy()  # 1 是一个人的第一次访谈
later = is_new & (interview > 4)
old = X[~is_new], y[~is_new], task[~is_new]

# %%
# 几种范数以及由各人学到的先验，各自认为什么是共同的：

given = {"alphas": 8, "cv": 3}
models = {
    "L1": MultiTaskRegressorCV(L1(), task_weight="size", **given),
    "L21": MultiTaskRegressorCV(L21(), task_weight="size", **given),
    "toward_mean": MultiTaskRegressorCV(toward_mean() + L2(0.1), task_weight="size", **given),
    "toward_mean, equal tasks": MultiTaskRegressorCV(
        toward_mean() + L2(0.1), task_weight="equal", **given
    ),
    "learned prior": BayesianMultiTaskRegressor(),
}
for name, model in models.items():
    used = model.fit(old[0], old[1], task=old[2]).coef_ != 0
    each, any_of_them = used.sum(axis=1).mean(), used.any(axis=0).sum()
    print(f"{name}: {any_of_them} of {used.shape[1]} features used, {each:.1f} by a woman")

# %%
# 新的女性：其余部分不再学习的适应模型，以及从零学习的模型。


def r2(predicted):
    """Return R2 on the later interviews of the new women."""
    mean = np.mean((y[later] - old[1].mean()) ** 2)
    return 1 - np.mean((y[later] - predicted) ** 2) / mean


counts, ridge = (1, 2, 4), RidgeCV(np.logspace(-1, 4, 11))
scores = pd.DataFrame(index=counts, dtype=float)
for rows in counts:
    few = is_new & (interview <= rows)
    for name, model in models.items():
        moved = adapt(model, X[few], y[few], task=task[few])
        scores.loc[rows, name] = r2(moved.predict(X[later], task=task[later]))
    own_mean = pd.Series(y[few]).groupby(task[few]).mean()
    scores.loc[rows, "from scratch: her mean"] = r2(own_mean[task[later]].to_numpy())
    if rows > 1:
        scratch = SingleTask(ridge).fit(X[few], y[few], task=task[few])
        scores.loc[rows, "from scratch: ridge"] = r2(scratch.predict(X[later], task=task[later]))
scores["no rows: pooled ridge"] = r2(ridge.fit(old[0], old[1]).predict(X[later]))
print(scores.T.round(3).rename_axis(columns="interviews"))

# %%
# 结论：迁移的作用很大，所有适应模型都远胜从零学习的模型。
# 但起主要作用的不是稀疏性：用 L1 时每人只有几个自己的特征，L21 为所有人保留一份名单，
# 而拉向共同系数的惩罚或学到的先验传递的比名单更多。按行数还是同等地给各人加权，几乎没有差别。
# 只有一两次访谈时，完全不用她的行的合并模型仍然领先；有四次时，学到的先验最好。
#
# 预训练的网络与新领域： :doc:`/adapting` 。

figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
figure.suptitle("What is explained of a new woman's wages, by her interviews")
for name, line in scores.items():
    style = "--" if name.startswith(("from", "no")) else "-"
    ax.plot(counts, line, style, marker="o", label=name)
ax.set(xlabel="interviews of the new woman", ylabel="R2 on her later interviews", xticks=counts)
figure.legend(loc="outside right upper", fontsize=8)
plt.show()
