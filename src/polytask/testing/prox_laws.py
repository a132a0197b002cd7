"""The laws of proximal operators, conjugates and null strengths."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from polytask.exceptions import IncompatibleError
from polytask.penalties import (
    CompiledRows,
    Conjugate,
    Nonconvex,
    NullStrength,
    Penalty,
    Proximable,
    RowSeparable,
    decompose,
)
from polytask.testing._points import STEPS, PenaltyCase
from polytask.testing._tools import require, require_at_least, require_close, require_dtype

# Of a row of W, among them its prox nearly.
_MULTIPLES = np.linspace(0.0, 1.2, 25)


def _rivals(case: PenaltyCase, W: np.ndarray, Z: np.ndarray) -> Iterator[np.ndarray]:
    """Return points that would beat a wrong prox."""
    yield from case.points
    yield W
    for size in (0.3, 1e-2, 1e-4):
        for _ in range(3):
            yield Z + size * case.random()
        yield Z + size * (W - Z)
        yield Z - size * (W - Z)
        yield Z * (1 - size)
        j, t = (int(case.rng.integers(n)) for n in Z.shape)
        for sign in (-size, size):
            rival = Z.copy()
            rival[j, t] += sign
            yield rival


def _minimiser(case: PenaltyCase) -> None:
    """Check that the prox minimises, by the growth that strong convexity demands."""
    subject: Any = case.subject
    law = "prox(W, s) minimises 1/2 ||Z - W||^2 + s value(Z)"
    for W in case.points:
        for step in STEPS:
            Z = subject.prox(W, step)
            require(Z.shape == W.shape, subject, "prox keeps the shape")
            best = 0.5 * np.sum((Z - W) ** 2) + step * subject.value(Z)
            for V in _rivals(case, W, Z):
                growth = 0.5 * np.sum((V - Z) ** 2) if isinstance(subject, Conjugate) else 0.0
                rival = 0.5 * np.sum((V - W) ** 2) + step * subject.value(V)
                require_at_least(rival, best + growth, subject, law, slack=1e-11)


def _no_step(case: PenaltyCase) -> None:
    """Check the prox with a step of zero, on arrays without elements and on float32."""
    subject: Any = case.subject
    W = case.points[0]
    nearest = subject.prox(W, 0.0)
    if np.isfinite(subject.value(W)):
        require_close(nearest, W, subject, "prox(W, 0) is W")
    require(np.isfinite(subject.value(nearest)), subject, "prox(W, 0) is allowed")
    single = W.astype(np.float32)
    result = subject.prox(single, np.float64(0.7))
    require_dtype(result, np.float32, subject, "prox keeps float32")
    law = "prox in float32 is near that in float64"
    require_close(result, subject.prox(W, 0.7), subject, law, rtol=1e-5)


def _firm(case: PenaltyCase) -> None:
    """Check that the prox of a convex penalty is firmly non-expansive."""
    subject: Any = case.subject
    law = "prox is firmly non-expansive"
    for step in STEPS:
        images = [subject.prox(W, step) for W in case.points]
        for A, a in zip(case.points, images, strict=True):
            for B, b in zip(case.points, images, strict=True):
                require_at_least(np.sum((a - b) * (A - B)), np.sum((a - b) ** 2), subject, law)


def _rows(case: PenaltyCase) -> None:
    """Check that the prox of some rows is those rows of the prox."""
    subject: Any = case.subject
    index = np.array([4, 1, 2])
    steps = np.array([0.2, 1.1, 0.6])
    law = "prox_rows gives the rows of prox"
    for W in case.points:
        whole = subject.prox(W, 0.8)
        require_close(subject.prox_rows(W[index], index, 0.8), whole[index], subject, law)
        got = subject.prox_rows(W[index], index, steps)
        wanted = [subject.prox(W, s)[i] for i, s in zip(index, steps, strict=True)]
        law_steps = "prox_rows takes a step for each row"
        require_close(got, np.array(wanted), subject, law_steps)
    single = case.points[0].astype(np.float32)[index]
    result = subject.prox_rows(single, index, steps)
    require_dtype(result, np.float32, subject, "prox_rows keeps float32")


def _compiled(case: PenaltyCase) -> None:
    """Check that the compiled prox of one row is the prox."""
    subject: Any = case.subject
    from polytask.penalties.row_kernels import apply_rows

    kernel = subject.row_kernel()
    for W in case.points:
        for step in STEPS:
            rows = np.array(W, dtype=float, order="C")
            apply_rows(rows, step, kernel.parameters, kernel.prox, kernel.limits)
            wanted = subject.prox_rows(W, slice(None), step)
            require_close(rows, wanted, subject, "row_kernel() agrees with prox_rows", rtol=1e-12)


def _moreau(case: PenaltyCase) -> None:
    """Check the identity of Moreau as the equality of Fenchel and Young at a prox."""
    subject: Any = case.subject
    law = "value(Z) + conjugate(U) = <Z, U> for Z = prox(W, s), U = (W - Z) / s"
    for W in case.points:
        for step in STEPS:
            Z = subject.prox(W, step)
            # The difference cancels digits; the factor keeps it inside a bounded domain, and
            # what is left of none inside a domain of 0.
            moved = np.where(np.abs(W - Z) <= 1e-14 * (1 + np.abs(W).max()), 0.0, W - Z)
            U = (1 - 1e-9) * moved / step
            conjugate = subject.conjugate(U)
            require(np.isfinite(conjugate), subject, law, "the conjugate is infinite")
            size = 1.0 + np.sum(np.abs(Z * U))
            left, right = subject.value(Z) + conjugate, np.sum(Z * U)
            require_close(left / size, right / size, subject, law, rtol=1e-8)


def _young(case: PenaltyCase) -> None:
    """Check the inequality of Fenchel and Young, also outside the domain."""
    subject: Any = case.subject
    law = "value(W) + conjugate(Z) >= <W, Z>"
    for Z in case.points:
        conjugate = subject.conjugate(Z)
        for W in (*case.points, subject.prox(Z, 1.0), 100.0 * subject.prox(Z, 1.0)):
            require_at_least(subject.value(W) + conjugate, np.sum(W * Z), subject, law)


def _domain(case: PenaltyCase) -> None:
    """Check that feasible_scale marks the border of the domain of the conjugate."""
    subject: Any = case.subject
    for Z in case.points:
        scale = subject.feasible_scale(Z)
        if np.isinf(scale):
            finite = np.isfinite(subject.conjugate(1e6 * Z))
            require(finite, subject, "the conjugate is finite where feasible_scale is inf")
            continue
        inside, outside = subject.conjugate(scale * Z), subject.conjugate(1.001 * scale * Z)
        require(np.isfinite(inside), subject, "the conjugate is finite at feasible_scale(Z) Z")
        law = "the conjugate is infinite beyond feasible_scale(Z) Z"
        require(scale == 0 or np.isinf(outside), subject, law)


def _fixed(penalty: Penalty, gradient: np.ndarray) -> bool | None:
    """Tell whether the null point is optimal; None if the parts are not known."""
    # For a penalty that is not convex: whether it is stationary.
    if isinstance(penalty, Nonconvex):
        null = penalty.null_point
        penalty = penalty.majorised(np.zeros_like(gradient) if null is None else np.asarray(null))
    try:
        split = decompose(penalty)
    except IncompatibleError:
        return None
    point = np.zeros_like(gradient) if penalty.null_point is None else penalty.null_point
    slope = gradient if split.smooth is None else gradient + split.smooth.gradient(point)
    moved = point - slope
    after = moved if split.proximable is None else split.proximable.prox(moved, 1.0)
    return bool(np.allclose(after, point, rtol=0, atol=1e-12 * np.abs(gradient).max()))


def null_strength_is_exact(case: PenaltyCase) -> None:
    """Check that W = 0 is optimal just above the null strength and not just below."""
    penalty: Any = case.subject
    limit_of = penalty.null_strength if isinstance(penalty, NullStrength) else None
    if limit_of is None:
        return
    for G in case.points[:-1]:
        limit = limit_of(G)
        if not np.isfinite(limit):
            continue
        above, below = (penalty.with_strength(limit * factor) for factor in (1 + 1e-8, 1 - 1e-4))
        require(_fixed(above, G) is not False, penalty, "W = 0 is optimal above null_strength")
        require(not _fixed(below, G), penalty, "W = 0 is not optimal below null_strength")
    zero = limit_of(case.points[-1])
    require(zero == 0, penalty, "null_strength is 0 for a gradient of 0", f"got {zero}")


def _line(case: PenaltyCase) -> None:
    """Compare the prox of a penalty that is not convex with a grid on the line through W."""
    subject: Any = case.subject
    law = "no multiple of a row of W is better than its prox"
    for W in case.points:
        for step in STEPS:
            Z = subject.prox(W, step)
            best = 0.5 * np.sum((Z - W) ** 2) + step * subject.value(Z)
            for j, t in ((j, t) for j in range(len(W)) for t in _MULTIPLES):
                V = Z.copy()
                V[j] = t * W[j]
                rival = 0.5 * np.sum((V - W) ** 2) + step * subject.value(V)
                require_at_least(rival, best, subject, law, slack=1e-11)


def touching(case: PenaltyCase) -> None:
    """Check that the convex penalty above one that is not convex touches it, and nowhere cuts."""
    subject: Any = case.subject
    if not isinstance(subject, Nonconvex):
        return
    for W in case.points:
        if not np.isfinite(subject.value(W)):
            continue
        above: Any = subject.majorised(W)
        require(isinstance(above, Conjugate), subject, "what majorised returns is convex")
        constant = subject.value(W) - above.value(W)
        for V in (*case.points, 1.01 * W, 0.99 * W, case.random()):
            law = "the majoriser is nowhere below the penalty"
            require_at_least(above.value(V) + constant, subject.value(V), subject, law)


# What a penalty that can be proxed is, and what it then obeys.
_LAWS: tuple[tuple[type, Callable[[PenaltyCase], None]], ...] = (
    (Proximable, _minimiser),
    (Proximable, _no_step),
    (Conjugate, _firm),
    (RowSeparable, _rows),
    (CompiledRows, _compiled),
    (Conjugate, _moreau),
    (Conjugate, _young),
    (Conjugate, _domain),
    (Nonconvex, _line),
)


def check_prox(case: PenaltyCase) -> None:
    """Check the laws of a proximable penalty, or part of one."""
    for kind, law in _LAWS:
        if isinstance(case.subject, Proximable) and isinstance(case.subject, kind):
            law(case)
