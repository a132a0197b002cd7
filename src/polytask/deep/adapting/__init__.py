"""How a trained network learns another task: what :func:`polytask.adapt` takes as ``method``."""

from polytask.deep.adapting.changes import Change
from polytask.deep.adapting.descent import Course, Start, descend
from polytask.deep.adapting.methods import (
    Adapters,
    ChangesLayers,
    Method,
    NearSource,
    NewHead,
    Unfreeze,
    method_of,
)

__all__ = [
    "Adapters",
    "Change",
    "ChangesLayers",
    "Course",
    "Method",
    "NearSource",
    "NewHead",
    "Start",
    "Unfreeze",
    "descend",
    "method_of",
]
