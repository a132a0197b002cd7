"""Save and load models without running code from a file; keep finished pieces of long work."""

from polytask._registry import saveable
from polytask.io.journal import Journal, Store, move_journal, open_store
from polytask.io.model_file import load, save

__all__ = ["Journal", "Store", "load", "move_journal", "open_store", "save", "saveable"]
