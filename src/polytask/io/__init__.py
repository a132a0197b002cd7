"""Save and load models without running code from a file; keep finished pieces of long work."""

from polytask._registry import saveable
from polytask.io.journal import Journal, Store, move, opened
from polytask.io.model_file import load, save

__all__ = ["Journal", "Store", "load", "move", "opened", "save", "saveable"]
