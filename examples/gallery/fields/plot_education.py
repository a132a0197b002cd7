"""
Education: a league table of schools (simulated)
================================================

A league table by means puts small schools at both ends, because chance moves them most. Pulling
each school to the mean of all, by as much as its pupils are few, lowers the error; but no method
finds all of the best schools, and honest intervals say so. Simulated are 65 schools of 5 to 150
pupils, most of them small, with the variances of exam scores of 65 London schools: .092 between
schools and .566 within, given intake (data of Goldstein and others, Oxford Review of Education
19, 1993). Measured is how far estimated effects of schools are from the true ones.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LinearRegression

from polytask import BayesianMultiTaskRegressor, Pooled

rng = np.random.default_rng(0)
pupils = np.exp(rng.uniform(np.log(5), np.log(150), 65)).astype(int)
school = np.repeat(np.arange(65), pupils)
intake = rng.standard_normal(len(school)) + 0.4 * rng.standard_normal(65)[school]
effect = np.sqrt(0.092) * rng.standard_normal(65)
score = 0.563 * intake + effect[school] + np.sqrt(0.566) * rng.standard_normal(len(school))

# %%
# The pooled model says that all schools are alike. The separate estimate of a school is an
# intercept of its own, without a penalty, beside a common slope. The learned prior pulls it.

models = {
    "pooled": Pooled(LinearRegression()),
    "separate": Pooled(LinearRegression(), task_effect="intercept"),
    "learned prior": BayesianMultiTaskRegressor(varying=[], scale_targets=None),
}
true = effect - effect.mean()
estimates, best = {}, set(np.argsort(true)[-10:])
for name, model in models.items():
    model.fit(intake[:, None], score, task=school)
    found = model.predict(np.zeros((65, 1)), task=np.arange(65))
    estimates[name] = found = found - found.mean()
    print(f"{name:14}error {np.sqrt(np.mean((found - true) ** 2)):.2f}", end="")
    if name != "pooled":
        table = np.argsort(found)
        ends = np.median(pupils[[*table[:5], *table[-5:]]])
        print(f", true best ten among the ten at the top: {len(best & set(table[-10:]))}", end="")
        print(
            f", median pupils of the five at both ends: {ends:.0f} of all {np.median(pupils):.0f}",
            end="",
        )
    print()

# %%
# The posterior of the effect of a school is normal; its precision is the sum of that of the prior
# and that of its pupils.

between, within = model.prior_.covariance[0, 0], model.prior_.noise
deviation = np.sqrt(1 / (1 / between + pupils / within))
apart = np.abs(np.subtract.outer(found, found)) > 1.96 * np.hypot.outer(deviation, deviation)
print(f"variance between schools {between:.3f}, within {within:.3f}")
print(f"true effects inside 95% intervals: {np.mean(np.abs(found - true) < 1.96 * deviation):.0%}")
print(
    f"schools whose interval excludes the mean: {np.sum(np.abs(found) > 1.96 * deviation)} of 65"
)
print(f"pairs that can be told apart: {apart[np.triu_indices(65, 1)].mean():.0%}")

# %%
# Crosses far from their circle are small schools: their place in a table of means is chance. Most
# pairs of schools cannot be told apart, so a table should have its intervals or not be published.
# The learned prior has the smaller error, and finds no more of the best ten: an order stays noise.

order = np.argsort(found)
figure, ax = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
figure.suptitle("Effects of 65 schools, in the order of the learned prior")
place = np.arange(65)
ax.errorbar(
    *(place, found[order], 1.96 * deviation[order]),
    fmt="o",
    ms=4,
    lw=1,
    label="learned prior, 95%",
)
ax.plot(place, estimates["separate"][order], "x", ms=5, label="separate")
ax.plot(place, true[order], "k.", ms=5, label="true (simulated)")
ax.axhline(0, color="grey", lw=0.8, label="pooled")
ax.set_xlabel("place of the school by the learned prior")
ax.set_ylabel("effect of the school (standard deviations of scores)")
ax.legend(fontsize="small")
plt.show()
