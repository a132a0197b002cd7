"""Exceptions and warnings raised by polytask."""

from __future__ import annotations


class PolytaskError(Exception):
    """Base class of every error that polytask raises on purpose."""


class DataError(PolytaskError, ValueError):
    """The data, or a file, cannot be used as given."""

    # Options with which a command can use them all the same.
    answer: tuple[str, ...] = ()


class ParameterError(PolytaskError, ValueError):
    """A parameter has a value outside its allowed set."""


class IncompatibleError(PolytaskError, ValueError):
    """Two valid choices cannot be combined."""


class TimeBudgetError(PolytaskError):
    """Nothing could be finished within the time budget; finished fits stay in the journal."""


class ConvergenceWarning(UserWarning):
    """A solver stopped before it reached its tolerance."""


class DataWarning(UserWarning):
    """The data can be used, but something in them deserves a look."""
