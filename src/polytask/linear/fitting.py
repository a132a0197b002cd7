"""Fit one problem with one penalty, and say so if it did not converge."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import cache
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController, threadpool_limits

from polytask._checks import one_of, positive, positive_integer, sentence
from polytask._estimator.outcomes import Layout
from polytask._linalg import Array
from polytask.data.taskdata import EncodedParts
from polytask.exceptions import (
    ConvergenceWarning,
    DataError,
    IncompatibleError,
    ParameterError,
)
from polytask.linear.problem import Problem
from polytask.messages import LazyMessage, Text, one_paragraph
from polytask.penalties import L21, Parts, Penalty, Shifted, Sum
from polytask.solvers import (
    Certificate,
    Solution,
    Solver,
    Status,
    choose,
    null_gradient,
    on_samples,
)

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


# What is set after a fit with such a penalty only.
_ATTRIBUTES = ("coef_parts_", "outlier_tasks_")


def parts_of(penalty: object) -> tuple[Parts, Array | None] | None:
    """Return the parts in a penalty and the point that they are shifted by; None without parts."""
    match penalty:
        case Parts():
            return penalty, None
        case Shifted():
            found = parts_of(penalty.penalty)
            return None if found is None else (found[0], penalty.by)
        case Sum():
            held = [parts_of(member) for member in penalty.members]
            return next((found for found in held if found is not None), None)
    return None


def with_parts(solution: Solution, penalty: Penalty) -> Solution:
    """Return a solution that holds its parts, if the penalty has any."""
    found = parts_of(penalty)
    if found is None or solution.parts is not None:
        return solution
    parts, point = found
    if point is None:
        return replace(solution, parts=parts.divided(solution.W))
    # As where parts are shifted one by one, the first contains the point.
    first, *others = parts.divided(solution.W - point)
    return replace(solution, parts=(first + point, *others))


def original_parts(
    problem: Problem,
    solution: Solution,
    precision: Any,  # noqa: ANN401 - a dtype
) -> tuple[NDArray[Any], ...]:
    """Return the parts of a solution in original units, none for other solutions."""
    # Shapes: result (n_columns, n_features).
    nothing = np.zeros(problem.datafit.shape[1])
    parts = () if solution.parts is None else solution.parts
    return tuple(problem.original_units(U, nothing)[0].astype(precision) for U in parts)


def keep_parts(estimator: Any, parts: tuple[NDArray[Any], ...], layout: Layout) -> None:  # noqa: ANN401
    """Set the parts, and the tasks that stand apart, as attributes of an estimator."""
    for name in _ATTRIBUTES:
        if hasattr(estimator, name):
            delattr(estimator, name)
    if not parts:
        return
    estimator.coef_parts_ = parts
    found = parts_of(getattr(estimator, "best_penalty_", estimator.penalty))
    members = () if found is None else found[0].members
    own = [U for U, member in zip(parts, members, strict=True) if member.selects_tasks]
    if own:
        apart = [any(part[columns].any() for part in own) for columns in layout.slices]
        estimator.outlier_tasks_ = estimator.tasks_[np.array(apart, dtype=bool)]


DEFAULT_FRACTION = 0.1


def check_solver_settings(solver: object, tol: object, max_iter: object, owner: str) -> None:
    """Raise ParameterError unless solver, tol and max_iter can be used."""
    if not isinstance(solver, Solver):
        one_of(solver, "solver", owner, ("auto",))
    positive(tol, "tol", owner)
    positive_integer(max_iter, "max_iter", owner)


def check_penalty_object(penalty: object, owner: str) -> Penalty:
    """Return the penalty, the default for None."""
    if penalty is None:
        return L21(fraction=DEFAULT_FRACTION)
    if not isinstance(penalty, Penalty):
        allowed = LazyMessage("allowed.penalty")
        got: Text = repr(penalty)
        if isinstance(penalty, str):
            got = LazyMessage("got.penalty_text", {"text": got})
        raise ParameterError(sentence("penalty", owner, allowed, got))
    return penalty


def bound_penalty(problem: Problem, penalty: Penalty) -> Penalty:
    """Bind a penalty to the columns and turn its fractions into strengths."""
    bound = problem.bound(penalty)
    null = bound.null_point
    point = np.zeros(problem.datafit.shape) if null is None else np.asarray(null, dtype=float)
    if point.shape != problem.datafit.shape:
        d, columns = problem.datafit.shape
        fields = {"penalty": repr(penalty), "got": str(point.shape)}
        fields["shape"] = str((d, columns))
        raise IncompatibleError(LazyMessage("linear.refusal.shift_shape", fields))
    gradient = null_gradient(problem.datafit, bound)
    curvature = float(np.mean(problem.datafit.feature_scale() ** 2)) or 1.0
    return bound.at_curvature(curvature, gradient).resolved(gradient)


def chosen_solver(
    problem: Problem,
    penalty: Penalty,
    solver: Any,  # noqa: ANN401 - "auto" or a Solver
    repeats: int = 1,
) -> Solver:
    """Return the solver, chosen for so many bound penalties where it is "auto"."""
    return solver if isinstance(solver, Solver) else choose(problem.datafit, penalty, repeats)


def solve(
    problem: Problem,
    penalty: Penalty,
    solver: Any,  # noqa: ANN401 - "auto" or a Solver
    tol: float,
    max_iter: int,
    start: Solution | None,
) -> Solution:
    """Solve with a bound penalty; `solver` is "auto" or a Solver."""
    chosen = chosen_solver(problem, penalty, solver)
    usable = start is not None and start.W.shape == problem.datafit.shape
    with iterating():
        begin = _safe(start, problem) if usable else _at_centre(problem)
        solution = chosen.solve(problem.datafit, penalty, tol=tol, max_iter=max_iter, start=begin)
        if problem.samples is not None:
            solution = on_samples(solution, problem.samples, penalty, tol, max_iter)
    if not (np.isfinite(solution.W).all() and np.isfinite(solution.intercept).all()):
        raise DataError(LazyMessage("linear.refusal.overflow"))
    return solution


def _safe(start: Solution | None, problem: Problem) -> Solution | None:
    """Return a start, or None where an exponential overflows there: on other data, say."""
    datafit = problem.datafit
    if start is None or datafit.is_bounded:
        return start
    with np.errstate(over="ignore", invalid="ignore"):
        finite = np.isfinite(datafit.value_at(start.W, start.intercept))
    return start if finite else None


def _at_centre(problem: Problem) -> Solution | None:
    """Return where to start: at the coefficients that the penalty pulls to, None for 0."""
    if problem.centre is None:
        return None
    at = problem.datafit.evaluate(problem.centre)
    unknown = Certificate(None, float("inf"), 0.0)
    W, b = problem.centre.copy(), at.intercept
    return Solution(W, b, float("inf"), unknown, Status.MAX_ITER, 0, 0.0)


def warn_unless_converged(
    solution: Solution, owner: str, tol: float, passes: int | None = None
) -> None:
    """Warn with the certificate that was reached, and in how many passes over a table in parts."""
    if solution.status.ok:
        return
    status = solution.status.told
    key = "residual" if solution.gap is None else "gap"
    key = "unbounded" if solution.status is Status.UNBOUNDED else key
    fields = {"owner": owner, "n": solution.n_iter, "tol": f"{tol:g}", "status": status.node}
    fields["value"] = f"{solution.certificate.relative:.2e}"
    told = LazyMessage(f"warn.{key}", fields)
    if passes is not None:
        told = one_paragraph([told, LazyMessage("warn.passes", {"n": passes})])
    warnings.warn(ConvergenceWarning(told), stacklevel=5)


def fit_problem(
    model: Any,  # noqa: ANN401 - an estimator with solver, tol and max_iter
    problem: Problem,
    penalty: Penalty,
    start: Solution | None,
    parts: EncodedParts | None = None,
) -> Solution:
    """Solve as an estimator is told to, and warn if that did not converge."""
    bound = bound_penalty(problem, penalty)
    found = solve(problem, bound, model.solver, model.tol, model.max_iter, start)
    solution = with_parts(found, bound)
    passes = None if parts is None else parts.passes
    warn_unless_converged(solution, type(model).__name__, model.tol, passes)
    return solution
