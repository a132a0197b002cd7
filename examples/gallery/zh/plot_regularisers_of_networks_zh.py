"""
同一网络中的 L1、L2、dropout 与批归一化
====================================================

说法：L1 选择特征，L2 收缩；dropout 率通常取 0.5 左右；批归一化加快训练，也起正则化作用。

这类示例中无法运行或错误之处：

* 例子只有一个任务，却称为多任务；
* L2 只加在输出层，而过拟合的权重在前面的层；
* 用评判网络的同一批行选强度，没有另外留出的行；
* 旁边没有更简单的模型，无从知道增益有多大价值。

改正后用 442 名糖尿病患者：六个任务（性别与年龄段），共享两个隐藏层，
每个任务有一个线性头。每个任务的四分之一用于测试，
其余的四分之一用来选强度。更多数据： :doc:`/regularising_nets` 。
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from polytask import Pooled
from polytask.data import train_test_split_tasks
from polytask.datasets import load_diabetes_groups
from polytask.deep import MLP, DeepMultiTaskRegressor
from polytask.penalties import L1, L2

patients = load_diabetes_groups()
settings = {"learning_rate": 5e-3, "max_epochs": 40, "patience": None}
networks = {("nothing", 0.0): DeepMultiTaskRegressor(MLP((32, 32)))}
networks["batch norm", 0.0] = DeepMultiTaskRegressor(MLP((32, 32), norm="batch"))
for rate in (0.1, 0.3, 0.5, 0.7):
    networks["dropout", rate] = DeepMultiTaskRegressor(MLP((32, 32), dropout=rate))
for strength in (0.03, 0.1, 0.3):  # 相对于六个任务的损失之和
    for name, where, norm in (("L1 of the input layer", "input", L1), ("L2", "*", L2)):
        norms = {where: norm(strength)}
        networks[name, strength] = DeepMultiTaskRegressor(MLP((32, 32)), penalties=norms)

# %%
# 每个网络在三次划分上训练到最后一轮：

splits = []
for seed in range(3):
    parts = train_test_split_tasks(patients.X, patients.y, patients.task, random_state=seed)
    inner = train_test_split_tasks(*parts[::2], random_state=seed)
    splits.append((inner[::2], inner[1::2], parts[1::2]))  # 用于训练、选择、测试

held, test = {}, {}
for which, network in networks.items():
    held[which], test[which] = [], []
    for seed, ((X, y, task), *judging) in enumerate(splits):
        network.set_params(early_stopping=False, random_state=seed, **settings)
        network.fit(X, y, task=task)
        for scores, (rows, of, tasks) in zip((held, test), judging, strict=True):
            scores[which].append(network.score(rows, of, task=tasks))
held, test = (pd.DataFrame(scores).T.sort_index() for scores in (held, test))
print(pd.DataFrame({"R2 held out": held.mean(axis=1), "R2 test": test.mean(axis=1)}).round(3))

# %%
# 在留出行上最好的强度，以及它在测试行上的价值；旁边是所有组共用、各有截距的岭回归：

for name in held.index.levels[0]:
    chosen = held.loc[name].idxmax()
    found = np.array([test.loc[(name, chosen[k]), k] for k in test.columns])
    gain = found - test.loc[("nothing", 0.0)].to_numpy()
    print(f"{name:22} R2 {found.mean():.3f}, gain by split {gain.round(2)}, chosen {[*chosen]}")
ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 4, 20)))
linear = []
for (X, y, task), _, (rows, of, tasks) in splits:
    linear.append(Pooled(ridge, "intercept").fit(X, y, task=task).score(rows, of, task=tasks))
print(f"{'pooled ridge':22} R2 {np.mean(linear):.3f}")

# %%
# L1 选择特征吗？第一层还剩下什么：

for name in ("L1 of the input layer", "L2"):
    first = next(networks[name, 0.1].network_.parameters()).detach().numpy()
    left = f"{first.any(axis=0).sum()} of {first.shape[1]} features left"
    print(f"{name} at 0.1: {np.mean(first == 0):.0%} of the weights are 0, {left}")

# %%
# 批归一化加快训练吗？留出行的损失达到最低所需的轮数：

curves = {}
for name in ("nothing", "batch norm"):
    network = networks[name, 0.0].set_params(early_stopping=True, validation=0.25)
    found = []
    for seed, ((X, y, task), *_) in enumerate(splits):
        network.set_params(random_state=seed).fit(X, y, task=task)
        found.append(network.history_.held_out.mean(axis=1))
    curves[name], epochs = np.mean(found, axis=0), np.argmin(found, axis=1) + 1
    print(f"{name}: lowest loss {np.min(found, axis=1).round(3)} after {epochs} epochs")

# %%
# 结论：两种惩罚都使这个网络远好于没有正则化，dropout 次之，
# 在试过的比率中一半左右最好。L1 清空许多权重，却没有去掉特征；
# 要去掉特征应使用 `L21` ，并留意最佳强度之后的陡崖。
# 批归一化用较少的轮数到达最低点，损失却更高：在这里它不起正则化作用。
# 而所有组共用的线性回归平均胜过这里的任何网络，只在网络之间比较是看不出这一点的。

figure, (upper, lower) = plt.subplots(2, 1, figsize=(6.4, 7), layout="constrained")
figure.suptitle("Dropout, penalties and batch norm of one network")
for name, colour in (("dropout", "C0"), ("L1 of the input layer", "C1"), ("L2", "C2")):
    line = test.loc[name]
    upper.errorbar(
        line.index, line.mean(axis=1), line.std(axis=1), color=colour, label=name, capsize=3
    )
upper.axhline(test.loc[("nothing", 0.0)].mean(), color="grey", linestyle=":", label="nothing")
upper.axhline(np.mean(linear), color="black", linewidth=0.8, label="pooled ridge")
upper.set(xlabel="dropout rate, or strength (bars: SD over splits)", ylabel="R2 on test rows")
lower.plot(np.arange(1, 41), np.transpose([*curves.values()]), label=[*curves])
lower.set(xlabel="epoch", ylabel="loss of held-out rows (mean of the tasks)")
upper.legend(fontsize=8)
lower.legend()
plt.show()
