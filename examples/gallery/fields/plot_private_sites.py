"""
Sites with private data: no row leaves a site
=============================================

Linear models of the squared loss need sums over the rows, not the rows. Six groups of diabetes
patients (442 real patients; they ship with polytask) play six clinics, each of which sends such
sums: the joint fit is that of all rows together, to the last digits. Whether learning together
pays is another question, measured on held-out patients beside a model per clinic and one for all.
Sums are not anonymous, and this is no differential privacy: the last part recovers a patient from
two of them.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression

from polytask import BayesianMultiTaskRegressor, Pooled, SingleTask
from polytask.datasets import load_diabetes_groups
from polytask.statistics import Schema, TaskStatistics

patients = load_diabetes_groups(as_frame=True).frame().rename(columns={"group": "clinic"})
invented = pd.DataFrame(1.0, index=[0, 1], columns=patients.columns).assign(clinic="any")

# %%
# The clinics agree on a schema, the columns of an invented table. Each collects its sums and sends
# a file.

schema = Schema.of(invented, target="progression", task_column="clinic")
folder = Path(tempfile.mkdtemp())
for clinic, rows in patients.groupby("clinic"):
    schema.collect(rows).save(folder / f"{clinic}.stats")
    size = (folder / f"{clinic}.stats").stat().st_size
    print(f"{clinic:20}{len(rows):4} patients stay, {size} bytes are sent")

# %%
# Whoever has the files adds them and fits. The fit of all rows is here for comparison only.

received = sum(TaskStatistics.load(path) for path in sorted(folder.glob("*.stats")))
of_sums = BayesianMultiTaskRegressor().fit(received)
X, y = patients.drop(columns="progression"), patients["progression"]
of_rows = BayesianMultiTaskRegressor(task_column="clinic").fit(X, y)
apart = np.abs(of_sums.predict(X) - of_rows.predict(X)).max()
print(f"predictions from {y.min():.0f} to {y.max():.0f} differ by at most {apart:.1e}")

# %%
# Does it pay? Twenty times a third of the patients of each clinic is held out; all models are
# fitted from sums alone.

models = {
    "separate": SingleTask(LinearRegression()),
    "pooled": Pooled(LinearRegression()),
    "learned prior": BayesianMultiTaskRegressor(),
}
errors = []
for seed in range(20):
    train = patients.groupby("clinic").sample(frac=2 / 3, random_state=seed)
    test = patients.drop(train.index)
    sums = sum(schema.collect(rows) for _, rows in train.groupby("clinic"))
    for name, model in models.items():
        residual = test["progression"] - model.fit(sums).predict(test.drop(columns="progression"))
        errors.append((residual**2).groupby(test["clinic"]).mean().rename(name))
errors = (
    pd.concat(errors, axis=1).T.groupby(level=0).mean()[patients["clinic"].value_counts().index]
)
print(np.sqrt(errors.mean(axis=1)).reindex(models).round(1).to_string())

# %%
# In every clinic learning together beats a model of its own. Beside one model for all clinics the
# learned prior is ahead in some and behind in others: with six clinics, and splits of the same
# patients, that small difference may be chance, and the simpler model is a fair choice.

figure, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
figure.suptitle("Error of six clinics, by model")
for name, mark in zip(models, "s^o", strict=True):
    ax.plot(np.sqrt(errors.loc[name]), range(6), mark, fillstyle="none", markersize=9, label=name)
counts = patients["clinic"].value_counts()
ax.set_yticks(range(6), [f"{clinic} ({count})" for clinic, count in counts.items()])
ax.set_xlabel("root mean squared error of progression, held-out patients")
ax.set_ylabel("clinic (patients)")
ax.legend()
plt.show()

# %%
# What this does not protect. The receiver sees each clinic's means and variances. Sums that differ
# by one patient are that patient's row. Small tasks are refused, but no noise is added: this is no
# differential privacy, and a clinic must send sums of the same patients only once.

rows = patients[patients["clinic"] == "male, under 40"]
before, after = (schema.collect(part).cells[0] for part in (rows[1:], rows))
stolen = after.weight * after.mean - before.weight * before.mean
print("recovered:", stolen.round(1))
print("the row:  ", rows.iloc[0].drop("clinic").to_numpy(float).round(1))
