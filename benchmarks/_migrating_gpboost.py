"""Fits GPBoost to the rows of ``migrating.py``, in its environment; prints JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

import gpboost as gpb
import numpy as np

with np.load(sys.argv[1]) as rows:
    x, y, group = rows["x"], rows["y"], rows["group"]
slopes = {"group_rand_coef_data": x, "ind_effect_group_rand_coef": [1]}
fits: dict[str, dict[str, Any]] = {
    "intercepts": {},
    "slopes": slopes | {"matrix_inversion_method": "cholesky"},
    "slopes, approximated (its default)": slopes,
}
precise = {"optimizer_cov": "fisher_scoring", "optimizer_coef": "wls", "delta_rel_conv": 1e-13}
found: dict[str, Any] = {}
for name, more in fits.items():
    model = gpb.GPModel(group_data=group, likelihood="gaussian", num_parallel_threads=1, **more)
    model.fit(y=y, X=np.column_stack([np.ones(len(y)), x]), params=precise)
    pair = np.ravel(model.get_cov_pars()).tolist(), np.ravel(model.get_coef()).tolist()
    found[name] = {"variances": pair[0], "coefficients": pair[1]}
print(json.dumps(found | {"version": gpb.__version__}))
