"""Pieces of work in processes of their own, which can be ended when time is over."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import multiprocessing
import pickle
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import wait
from typing import Any, TypeVar

from joblib import effective_n_jobs, parallel_config
from joblib.externals.loky.backend import get_context
from joblib.externals.loky.backend.reduction import dumps

from polytask.messages import LazyMessage

P = TypeVar("P")
# An end of a pipe: of another class on Windows.
Channel = Any
Record = dict[str, Any]

# Seconds of work in this process before others are started: about what starting them takes.
BRIEF, _STARTED = 1.0, 5.0
# Their threads do not live on in a fork, where some wait for them for ever.
_UNFORKABLE = ("torch", "polars", "lightgbm", "xgboost", "catboost", "tensorflow", "jax", "cupy")
_PR_SET_PDEATHSIG = 1
_LOST = LazyMessage("left_out.lost")


class Workers:
    """Do pieces of one kind of work in this process or, side by side, in others."""

    # Without a deadline, work of a second or so is done in this process: starting others would
    # take longer. With one, every piece is done in another process, which is ended when time is
    # over. Linux forks where nothing that is loaded forbids it, so that others begin with all that
    # is loaded here; elsewhere `shared` is copied into every process, once.

    def __init__(
        self, work: Callable[[Any, Any], Record], shared: object, n_jobs: int | None
    ) -> None:
        self.count: int = effective_n_jobs(n_jobs)
        self._work, self._shared = work, shared
        self._here = 0.0
        self._idle: list[tuple[Any, Channel]] = []

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        _end(self._idle)

    def results(
        self, pieces: Iterable[P], deadline: float | None = None
    ) -> Iterator[tuple[P, Record]]:
        """Yield pieces as they are finished, with what the work returned."""
        # A piece is asked for when there is a process free for it. What is not finished at the
        # deadline, in seconds of ``time.monotonic``, is ended and not yielded. A piece whose
        # process dies comes back as ``{"failed": node}``.
        left = iter(pieces)
        # A process of a pool may have no processes of its own.
        alone = multiprocessing.current_process().daemon
        patience = BRIEF if _forks() else _STARTED
        if alone or (deadline is None and (self.count == 1 or self._here < patience)):
            for piece in left:
                started = time.process_time()
                record = self._work(self._shared, piece)
                self._here += time.process_time() - started
                yield piece, record
                if not alone and self.count > 1 and self._here >= patience:
                    break
                if alone and deadline is not None and time.monotonic() > deadline:
                    return
        yield from self._elsewhere(left, deadline)

    def _elsewhere(self, left: Iterator[P], deadline: float | None) -> Iterator[tuple[P, Record]]:
        busy: dict[Channel, tuple[Any, P]] = {}
        try:
            while True:
                # Starting a process takes seconds where nothing can be forked.
                late = deadline is not None and time.monotonic() >= deadline
                while (
                    not late and len(busy) < self.count and (more := next(left, self)) is not self
                ):
                    process, channel = self._idle.pop() if self._idle else self._start()
                    busy[channel] = process, more  # type: ignore[assignment]
                    # One that has died since is met when its answer is read.
                    with contextlib.suppress(OSError):
                        channel.send_bytes(dumps(more))
                if not busy:
                    return
                seconds = None if deadline is None else max(deadline - time.monotonic(), 0.0)
                ready: list[Channel] = wait(list(busy), seconds)
                if not ready:
                    return
                for channel in ready:
                    process, piece = busy.pop(channel)
                    yield piece, self._answer(process, channel)
        finally:
            _end([(process, channel) for channel, (process, _) in busy.items()])

    def _answer(self, process: Any, channel: Channel) -> Record:  # noqa: ANN401
        try:
            content = channel.recv_bytes()
        except (EOFError, OSError):
            _end([(process, channel)])
            return {"failed": _LOST.node}
        self._idle.append((process, channel))
        answer = pickle.loads(content)
        if isinstance(answer, BaseException):
            raise answer
        return dict(answer)

    def _start(self) -> tuple[Any, Channel]:
        context: Any = multiprocessing.get_context("fork") if _forks() else get_context("loky")
        mine, theirs = context.Pipe()
        what = (self._work, self._shared, theirs)
        process = context.Process(target=_serve, args=what, daemon=True)
        # Pages that no collector of garbage touches stay shared.
        gc.freeze()
        with warnings.catch_warnings():
            # Threads of libraries that outlive a fork.
            warnings.filterwarnings("ignore", "This process .* is multi-threaded")
            process.start()
        gc.unfreeze()
        theirs.close()
        return process, mine


def _forks() -> bool:
    loaded = any(name in sys.modules for name in _UNFORKABLE)
    return sys.platform == "linux" and threading.active_count() == 1 and not loaded


def _serve(work: Callable[[Any, Any], Record], shared: object, channel: Channel) -> None:
    # Ctrl-C reaches all processes of a terminal; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with parallel_config("sequential"):
        while True:
            try:
                piece = pickle.loads(channel.recv_bytes())
            except (EOFError, OSError):
                return
            answer: Record | BaseException
            try:
                answer = work(shared, piece)
                content = dumps(answer)
            except Exception as error:
                error.add_note(f"In another process:\n{traceback.format_exc()}")
                content = dumps(error)
            channel.send_bytes(content)


def _end(workers: list[tuple[Any, Channel]]) -> None:
    for process, channel in workers:
        process.terminate()
        channel.close()
    for process, _ in workers:
        process.join()
    workers.clear()
