"""An append-only journal of finished pieces, so that long work resumes after a kill."""

from __future__ import annotations

from polytask._journal._file import AppendFile
from polytask._journal._journal import Journal
from polytask._journal._lock import WriterLock

__all__ = ["AppendFile", "Journal", "WriterLock"]
