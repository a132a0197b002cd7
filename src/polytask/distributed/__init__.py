"""Dask collections: statistics, fits, predictions and scores of rows that stay where they are.

Needs Dask: ``pip install "polytask[dask]"``.
"""

from __future__ import annotations

from importlib.util import find_spec

from polytask.messages import LazyMessage

if find_spec("dask") is None or find_spec("distributed") is None:
    raise ImportError(LazyMessage("distributed.refusal.no_dask"))

from polytask.distributed.fitting import collect, fit
from polytask.distributed.predicting import predict, predict_proba, score

__all__ = ["collect", "fit", "predict", "predict_proba", "score"]
