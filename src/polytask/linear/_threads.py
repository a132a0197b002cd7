"""Threads of BLAS: many for sums over rows, one for iterations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from threading import Lock

from threadpoolctl import ThreadpoolController, threadpool_limits

from polytask._checks import positive_integer

_CHOSEN: ContextVar[bool] = ContextVar("chosen", default=False)
# Of fits that overlap in several threads one sets and restores the number: two would leave behind
# what the second found.
_LIMITING = Lock()


@contextmanager
def blas_threads(n_jobs: object, owner: str, usual: int | None = None) -> Iterator[None]:
    """Limit the threads of BLAS while fitting; None is as `usual` or leaves them, -1 all cores."""
    # A number that a user gives holds for iterations too.
    chosen = _CHOSEN.set(n_jobs is not None)
    n_jobs = usual if n_jobs is None else n_jobs
    try:
        if n_jobs is None or (isinstance(n_jobs, int) and n_jobs == -1):
            yield
            return
        with threadpool_limits(positive_integer(n_jobs, "n_jobs", owner)):
            yield
    finally:
        _CHOSEN.reset(chosen)


@contextmanager
def iterating() -> Iterator[None]:
    """Hold BLAS to one thread, unless a user has chosen the number."""
    # Iterations are small products: a second thread waits for the next of them in a loop, which
    # takes a core and gains nothing.
    if _CHOSEN.get() or not _LIMITING.acquire(blocking=False):
        yield
        return
    try:
        with _blas().limit(limits=1):
            yield
    finally:
        _LIMITING.release()


@cache
def _blas() -> ThreadpoolController:
    """Return what sets the threads of BLAS; looking for the libraries takes longer than a fit."""
    return ThreadpoolController().select(user_api="blas")
