"""Files of work that was refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polytask.exceptions import PolytaskError, TimeBudgetError


@contextmanager
def removed_if_refused(*files: str | Path) -> Iterator[None]:
    """Remove files that were not there before, if the work ends in a refusal."""
    # What was finished until then belongs to a command that cannot be; the mended one would find
    # files of another search. An interruption, and the end of a time budget, leave them, to go on
    # from.
    new = [Path(file) for file in files if not Path(file).exists()]
    try:
        yield
    except TimeBudgetError:
        raise
    except PolytaskError:
        for file in new:
            file.unlink(missing_ok=True)
        raise
