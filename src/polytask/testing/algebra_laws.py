"""The laws of the algebra of penalties: multiples, shifts, binding, parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from polytask.exceptions import IncompatibleError, ParameterError
from polytask.penalties import (
    L2,
    Columns,
    Conjugate,
    Nonconvex,
    NullStrength,
    Penalty,
    Proximable,
    Quadratic,
    RowSeparable,
    Smooth,
    decompose,
)
from polytask.testing._points import PenaltyCase
from polytask.testing._tools import require, require_close, require_portable

CAPABILITIES = (Smooth, Quadratic, Proximable, RowSeparable, Conjugate, NullStrength)


def multiples(case: PenaltyCase) -> None:
    """Check that a multiple of a penalty has that multiple of its value and its prox."""
    penalty: Any = case.subject
    tripled = penalty.scaled(3.0)
    for W in case.points:
        value = penalty.value(W)
        # No multiple of a value that is not allowed is 0.
        for factor in (0.0, 0.5, 3.0) if np.isfinite(value) else (0.5, 3.0):
            law = "scaled(c) has c times the value"
            require_close(penalty.scaled(factor).value(W), factor * value, penalty, law)
        require_close((2.0 * penalty).value(W), 2.0 * value, penalty, "2 * p has twice the value")
        require_close((penalty * 2.0).value(W), 2.0 * value, penalty, "p * 2 has twice the value")
        twice = (penalty + penalty).value(W)
        require_close(twice, 2.0 * value, penalty, "p + p has twice the value")
        if isinstance(penalty, Proximable):
            law = "prox(W, c s) is the prox of scaled(c) with the step s"
            require_close(tripled.prox(W, 0.4), penalty.prox(W, 1.2), penalty, law)


def strengths(case: PenaltyCase) -> None:
    """Check that with_strength sets the strength, and the value follows."""
    penalty: Any = case.subject
    present = penalty.strength
    require(present is not None, penalty, "resolved(gradient) gives a strength")
    if not present:
        return
    changed = penalty.with_strength(2.5 * present)
    require_close(changed.strength, 2.5 * present, penalty, "with_strength sets the strength")
    if isinstance(penalty, Nonconvex):
        return
    law = "the value is proportional to the strength"
    W = case.points[0]
    require_close(changed.value(W), 2.5 * penalty.value(W), penalty, law)


def shifts(case: PenaltyCase) -> None:
    """Check that a shifted penalty is that of the difference, and claims nothing new."""
    penalty: Any = case.subject
    W0 = case.random()
    shifted = penalty.shifted(W0)
    for W in case.points:
        law = "shifted(W0) has the value at W - W0"
        require_close(shifted.value(W), penalty.value(W - W0), penalty, law)
        twice = shifted.shifted(W0).value(W)
        require_close(twice, penalty.value(W - W0 - W0), penalty, "shifts add up")
    for capability in CAPABILITIES:
        honest = isinstance(penalty, capability) or not isinstance(shifted, capability)
        law = f"the shifted penalty claims {capability.__name__} only if the penalty does"
        require(honest, penalty, law)


def binding(case: PenaltyCase) -> None:
    """Check that bind returns another object and leaves the penalty as it was."""
    penalty: Any = case.subject
    before, text = penalty.to_state(), repr(penalty)
    tasks = tuple(reversed(case.columns.tasks))
    penalty.bind(Columns(tasks, case.columns.classes))
    unchanged = type(penalty).from_state(before) == penalty and repr(penalty) == text
    require(unchanged, penalty, "bind leaves the penalty as it was")
    again = penalty.bind(case.columns).value(case.points[0])
    law = "binding to the same columns again changes nothing"
    require_close(again, penalty.value(case.points[0]), penalty, law)


def inputs(case: PenaltyCase) -> None:
    """Check that no method writes into its arguments."""
    penalty: Any = case.subject
    calls = [penalty.value, penalty.resolved]
    if isinstance(penalty, Smooth):
        calls.append(penalty.gradient)
    if isinstance(penalty, Proximable):
        calls.append(lambda V: penalty.prox(V, 1.0))
    if isinstance(penalty, Conjugate):
        calls += [penalty.conjugate, penalty.feasible_scale]
    if isinstance(penalty, NullStrength):
        calls.append(penalty.null_strength)
    for call in calls:
        W = case.points[1].copy()
        call(W)
        require(np.array_equal(W, case.points[1]), penalty, "no method writes into its argument")


def features(case: PenaltyCase) -> None:
    """Check that the order of the features does not matter."""
    penalty: Any = case.subject
    order = case.rng.permutation(case.points[0].shape[0])
    for W in case.points:
        law = "the order of the features does not matter"
        require_close(penalty.value(W[order]), penalty.value(W), penalty, law)
        if isinstance(penalty, Proximable):
            require_close(penalty.prox(W[order], 0.7), penalty.prox(W, 0.7)[order], penalty, law)


def tasks(case: PenaltyCase) -> None:
    """Check that the order of the columns does not matter to a penalty that knows them."""
    penalty: Any = case.subject
    order = case.rng.permutation(case.columns.n_columns)
    names, classes = case.columns.tasks, case.columns.classes
    other = penalty.bind(Columns(tuple(names[i] for i in order), tuple(classes[i] for i in order)))
    for W in case.points:
        law = "the order of the tasks does not matter"
        require_close(other.value(W[:, order]), penalty.value(W), penalty, law)


def parameters(case: PenaltyCase) -> None:
    """Check get_params, replace, cloning, pickling and saving."""
    penalty: Any = case.subject
    require(penalty.__sklearn_clone__() is penalty, penalty, "a clone is the penalty itself")
    require_portable(penalty)
    for name, value in penalty.get_params(deep=True).items():
        law = "replacing a parameter by its own value changes nothing"
        require(penalty.replace(name, value) == penalty, penalty, law)
        if name.split("__")[-1] == "alpha" and value is not None:
            changed = penalty.replace(name, value + 1.0)
            law = "replace changes the parameter, in a copy"
            require(changed.get_params()[name] == value + 1.0, penalty, law)
            require(penalty.get_params()[name] == value, penalty, law)
    try:
        penalty.replace("no_such_parameter", 1.0)
    except ParameterError:
        return
    require(False, penalty, "replace refuses an unknown name with ParameterError")


def empties(case: PenaltyCase) -> None:
    """Check arrays without rows: the value is 0 and results keep the shape."""
    penalty: Any = case.subject
    W = np.zeros((0, case.columns.n_columns))
    require(penalty.value(W) == 0, penalty, "the value of an array without rows is 0")
    if isinstance(penalty, Proximable):
        require(penalty.prox(W, 1.0).shape == W.shape, penalty, "prox keeps an empty shape")
    if isinstance(penalty, Smooth):
        require(penalty.gradient(W).shape == W.shape, penalty, "gradient keeps an empty shape")
    if isinstance(penalty, NullStrength):
        require(penalty.null_strength(W) == 0, penalty, "null_strength without rows is 0")


def fractions(penalty: Penalty, case: PenaltyCase) -> None:
    """Check that a fraction is that part of the null strength."""
    if not isinstance(penalty, NullStrength) or "fraction" not in penalty.get_params():
        return
    G = case.points[0]
    relative: Any = penalty.bind(case.columns).replace("fraction", 0.25)
    limit = relative.null_strength(G)
    if not np.isfinite(limit):
        return
    law = "resolved turns fraction into fraction * null_strength"
    require_close(relative.resolved(G).strength or 0.0, 0.25 * limit, penalty, law)
    law = "replacing alpha clears fraction, and the reverse"
    both = [
        penalty.replace("fraction", 0.25).replace("alpha", 1.0).get_params()["fraction"],
        penalty.replace("alpha", 1.0).replace("fraction", 0.25).get_params()["alpha"],
    ]
    require(both == [None, None], penalty, law)


def together_with_a_ridge(penalty: Penalty) -> Penalty:
    """Return the penalty plus a ridge, the sum that solvers meet most."""
    return penalty + L2(0.7)


def parts(case: PenaltyCase) -> list[Any]:
    """Check that the parts of a penalty add up to it, and return them."""
    penalty: Any = case.subject
    try:
        split = decompose(penalty)
    except IncompatibleError:
        return []
    found = [part for part in (split.smooth, split.proximable) if part is not None]
    # Zero, unless something pulls elsewhere and does not allow it.
    origin = case.points[-1] if penalty.null_point is None else penalty.null_point
    constant = sum(part.value(origin) for part in found) - penalty.value(origin)
    for W in case.points:
        law = "the parts that decompose returns add up to the penalty"
        require_close(sum(p.value(W) for p in found) - constant, penalty.value(W), penalty, law)
    return found
