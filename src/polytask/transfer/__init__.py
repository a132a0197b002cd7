"""Transfer of a fitted model to new tasks and new domains."""

from polytask.transfer._adapt import adapt
from polytask.transfer._report import Adaptation

__all__ = ["Adaptation", "adapt"]
