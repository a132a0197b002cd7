"""Boosted trees for what tasks have in common, a learned prior for what varies between them.

Needs LightGBM: ``pip install "polytask[trees]"``.
"""

from importlib.util import find_spec

from polytask.messages import LazyMessage

if find_spec("lightgbm") is None:
    raise ImportError(LazyMessage("boosting.refusal.no_lightgbm"))

from polytask.boosting.mixed import MixedBoostingClassifier, MixedBoostingRegressor

__all__ = ["MixedBoostingClassifier", "MixedBoostingRegressor"]
