"""The penalties that the search tries when none is given."""

from __future__ import annotations

from polytask.penalties import L2, L21, Penalty, TraceNorm, toward_mean

# The pull of every coefficient to zero, relative to the pull to the tasks' mean: a trace
# only (the mean is as good as free), and a share that matters when features are many.
_RIDGE_SHARES = (1e-3, 0.1)


def default_penalties() -> tuple[Penalty, ...]:
    """Return the default candidates: near the mean, the same features, a common subspace."""
    near_mean = tuple(toward_mean(1.0) + L2(share) for share in _RIDGE_SHARES)
    return (*near_mean, L21(), TraceNorm())
