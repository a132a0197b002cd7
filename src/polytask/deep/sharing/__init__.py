"""How tasks share a trunk: descriptions that build modules for any trunk."""

from __future__ import annotations

from polytask.deep.sharing.adapters import LoRA
from polytask.deep.sharing.attention import MTAN
from polytask.deep.sharing.base import Sharing
from polytask.deep.sharing.experts import CGC, PLE, MMoE
from polytask.deep.sharing.selecting import DSelectK
from polytask.deep.sharing.trees import Branching, Tree, representation_similarity
from polytask.deep.sharing.trunks import CrossStitch, FiLM, Hard, Soft

__all__ = [
    "Hard",
    "Soft",
    "CrossStitch",
    "MMoE",
    "DSelectK",
    "MTAN",
    "CGC",
    "PLE",
    "FiLM",
    "LoRA",
    "Tree",
    "Branching",
    "representation_similarity",
    "Sharing",
]
