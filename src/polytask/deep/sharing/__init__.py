"""How tasks share a trunk: descriptions that build modules for any trunk."""

from __future__ import annotations

from polytask.deep.sharing.base import Sharing
from polytask.deep.sharing.experts import CGC, MMoE
from polytask.deep.sharing.film import FiLM
from polytask.deep.sharing.hard import Hard
from polytask.deep.sharing.levels import PLE
from polytask.deep.sharing.soft import Soft
from polytask.deep.sharing.stitch import CrossStitch

__all__ = ["Hard", "Soft", "CrossStitch", "MMoE", "CGC", "PLE", "FiLM", "Sharing"]
