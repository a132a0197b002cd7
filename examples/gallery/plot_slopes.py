"""
What sharing does to coefficients
=================================

Wages of 450 women, 5 to 15 interviews each; a task is a woman. How much does a year of work
experience add to the logarithm of the wage? A regression per woman has few rows to tell. The
learned prior estimates from all women together how much they differ, and pulls each estimate
towards the common slope as far as the rows of the woman are too few to say otherwise.
"""

import matplotlib.pyplot as plt
import numpy as np

from polytask import BayesianMultiTaskRegressor
from polytask.datasets import load_wages

wages = load_wages()
years = wages.X[["experience"]].to_numpy()

# %%
# One least-squares slope per woman, and the slopes of the joint model:

joint = BayesianMultiTaskRegressor().fit(years, wages.y, task=wages.task)
joint_slopes = joint.coef_[:, 0]
rows_of = [wages.task == woman for woman in joint.tasks_]
alone = np.array([np.polyfit(years[rows, 0], wages.y[rows], 1)[0] for rows in rows_of])
for name, slopes in (("one regression per woman", alone), ("learned prior", joint_slopes)):
    print(f"{name}: mean {slopes.mean():.3f}, standard deviation {slopes.std():.3f}")

# %%
# The spread of the separate slopes is mostly noise. The picture shows it by how many interviews
# a woman has: with few the joint model keeps little of what they say alone.

interviews = np.sum(rows_of, axis=1)
figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
figure.suptitle("Slopes of 450 women, alone and joint")
points = ax.scatter(alone, joint_slopes, c=interviews, s=14)
ax.axline((0, 0), slope=1, color="grey", linewidth=0.8)
ax.set(xlabel="slope of a regression of her own", ylabel="slope of the joint model")
ax.set_xlim(np.quantile(alone, [0.01, 0.99]))
figure.colorbar(points, label="interviews")
plt.show()
