"""Save models to one file and load them, without running code from the file."""

from polytask._registry import saveable
from polytask.persistence._load import load
from polytask.persistence._save import save

__all__ = ["load", "save", "saveable"]
