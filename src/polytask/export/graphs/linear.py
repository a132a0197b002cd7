"""Linear predictors in a graph: penalised models, and those with a learned prior."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.export.graphs.graph import Tensor
from polytask.export.graphs.rows import Answer, Rows, no_interval, refused
from polytask.linear.bayes_groupings import GroupedTasks
from polytask.losses import Logistic, LogLink, Loss, Multinomial, SquaredHinge

Array = NDArray[Any]

_PROBIT = np.pi / 8.0


def coefficient_tables(
    tasks: Any,  # noqa: ANN401 - what knows losses and classes
    parameters: Callable[[int], tuple[Array, Array]],
    rows: Rows,
) -> tuple[Array, Array]:
    """Return coefficients and intercepts of every code by the columns of an answer."""
    # Shapes: coef (n_codes, K, d), intercept (n_codes, K).
    # Of two classes the first has the predictor 0, so that a softmax is the logistic function; a
    # class that a task lacks has that of probability 0.
    K = rows.width
    found = []
    for k, task in enumerate(rows.tasks):
        coef, intercept = parameters(task)
        classes, loss = tasks.classes_of(task), tasks.loss_of(task)
        W, b = np.zeros((K, coef.shape[1])), np.full(K, -np.inf)
        if classes is None:
            W[0], b[:] = coef[0], 0.0
            b[0] = intercept[0]
        else:
            places = rows.places(k, classes.tolist())
            b[places] = 0.0
            if len(places) > 1 and isinstance(loss, Multinomial):
                W[places], b[places] = coef, intercept
            elif len(places) > 1:
                W[places[1]], b[places[1]] = coef[0], intercept[0]
        found.append((W, b))
    return np.stack([W for W, _ in found]), np.stack([b for _, b in found])


def predicted(eta: Tensor, losses: list[Loss], rows: Rows) -> Answer:
    """Return what linear predictors (N, K) say; those of numbers are in the first column."""
    numbers = eta.at(np.array(0), axis=1)
    logs = np.array([isinstance(loss, LogLink) for loss in losses])
    if logs.any():
        # The exponential of what is none may overflow; it is not chosen.
        numbers = rows.pick(logs).choose(numbers.op("Exp"), numbers)
    if not any(loss.is_classifier for loss in losses):
        return Answer(numbers)
    kinds = {type(loss) for loss in losses if loss.is_classifier}
    if kinds == {SquaredHinge}:
        half = (eta * 0.5 + 0.5).clipped(0.0, 1.0)
        second = half.at(np.array(rows.width - 1), axis=1).reshaped(-1, 1)
        both = (second * -1.0 + 1.0).beside(second) if rows.width == 2 else half * 0.0 + 1.0
        return Answer(numbers, eta, both)
    if not kinds <= {Logistic, Multinomial}:
        raise refused(", ".join(sorted(kind.__name__ for kind in kinds)))
    return Answer(numbers, eta, eta.softmax())


def linear_answer(
    tasks: Any,  # noqa: ANN401 - LinearTasks, or others with losses and classes
    parameters: Callable[[int], tuple[Array, Array]],
    rows: Rows,
) -> Answer:
    """Return what a linear model says."""
    eta = rows.linear(*coefficient_tables(tasks, parameters, rows))
    return predicted(eta, [tasks.loss_of(task) for task in rows.tasks], rows)


def scaled_rows(tasks: Any, rows: Rows) -> Tensor:  # noqa: ANN401 - what knows a scaling
    """Return scaled rows in the columns of a learned prior, (N, p)."""
    long = rows.long()
    scaled = (long.X - tasks.mean.astype(float)) / tasks.scale.astype(float)
    if tasks.present is not None:
        everything = np.vstack([tasks.present, np.ones(rows.n_features)])
        scaled = scaled * rows.pick(everything[list(rows.tasks)].astype(float))
    return long.ones().beside(scaled)


def coordinates(Z: Tensor, space: Any) -> Tensor:  # noqa: ANN401 - RowSpace or None
    """Return scaled rows in the columns of a prior; see :class:`RowSpace`."""
    if space is None:
        return Z
    d = space.n_features
    ones = Z.at(np.array([0]), axis=1)
    X = Z.at(np.arange(1, d + 1), axis=1)
    inside = X @ space.basis
    square = (X * X).summed(keep=True)
    left = square - (inside * inside).summed(keep=True)
    # As RowSpace: what rounding leaves of rows inside of the space counts as nothing.
    outside = left.op("Greater", [square * 1e-12]).choose(left, 0.0)
    return ones.beside(inside, outside.op("Sqrt"))


def normal_deviation(tasks: Any, given: Callable[[int], Any], rows: Rows) -> Tensor:  # noqa: ANN401
    """Return the standard deviation (N,) of new targets, of :class:`BayesTasks`."""
    forms = rows.forms(1, len(tasks.prior.mean))
    noises, scales = [], []
    variances = (tasks.noise() / tasks.target_scale) ** 2
    for k, task in enumerate(rows.tasks):
        line = given(task)
        noise = float(variances[task] if task >= 0 else variances.mean())
        form, scale = tasks.covariance(task, noise), tasks.units(task)[1]
        if line is None:
            noise += tasks.noise_beyond(task)
        elif line.deviation is not None:
            form, noise, scale = 0.0 * form, line.deviation**2, 1.0
        forms[k, 0] = form
        noises.append([noise])
        scales.append([scale])
    Z = coordinates(scaled_rows(tasks, rows), tasks.prior.space)
    variance = rows.quadratic(Z, forms) + rows.pick(np.array(noises))
    return (variance.op("Sqrt") * rows.pick(np.array(scales))).reshaped(-1)


def bayes_answer(model: Any, rows: Rows, interval: bool) -> Answer:  # noqa: ANN401
    """Return the posterior mean of numbers, and the deviation of new targets if asked for."""
    tasks, linear = model._tasks, model._linear

    def parameters(task: int) -> tuple[Array, Array]:
        if task >= 0:
            known: tuple[Array, Array] = linear.parameters(task)
            return known
        coef, intercept = tasks.typical()
        return coef[None], np.array([intercept])

    found = linear_answer(linear, parameters, rows)
    if not interval:
        return found
    lines = {line.task: line for line in model._given_lines}
    return Answer(found.numbers, deviation=normal_deviation(tasks, lines.get, rows))


def grouped_numbers(tasks: GroupedTasks, rows: Rows) -> Tensor:
    """Return the mean and the deviations of all groupings together, (N, 1)."""
    coef, intercept = tasks.in_units(tasks.beta[None], tasks.target_mean)
    total = rows.X @ coef.T.astype(float) + intercept.astype(float)
    for code, W in zip(rows.levels, tasks.deviations(), strict=True):
        # An unknown level has no deviation.
        coef, intercept = tasks.in_units(np.vstack([W, 0.0 * W[:1]]), 0.0)
        own = replace(rows, code=code)
        total = total + own.linear(coef[:, None].astype(float), intercept[:, None].astype(float))
    return total


def laplace_answer(tasks: Any, rows: Rows, interval: bool, more: Tensor | None = None) -> Answer:  # noqa: ANN401
    """Return what :class:`LaplaceTasks` says, with sums (N, K) added to its predictors."""
    modes = rows.linear(*coefficient_tables(tasks, tasks.parameters, rows))
    modes = modes if more is None else modes + more
    losses = [tasks.loss_of(task) for task in rows.tasks]
    plain = not any(loss.is_classifier or isinstance(loss, LogLink) for loss in losses)
    if plain and not interval:
        return predicted(modes, losses, rows)
    variances = _laplace_variances(tasks, losses, rows)
    if interval:
        if not plain:
            raise no_interval(", ".join(sorted({type(loss).__name__ for loss in losses})))
        own = [max(task, 0) for task in rows.tasks]
        noise = tasks.units.dispersion[own] * tasks.units.scale[own] ** 2
        deviation = (variances + rows.pick(noise[:, None])).op("Sqrt").reshaped(-1)
        return Answer(predicted(modes, losses, rows).numbers, deviation=deviation)
    return _expected(modes, variances, losses, rows)


def _laplace_variances(tasks: Any, losses: list[Loss], rows: Rows) -> Tensor:  # noqa: ANN401
    """Return the posterior variances of the linear predictors, (N, K)."""
    forms = rows.forms(rows.width, len(tasks.posteriors[0].prior.mean))
    for k, task in enumerate(rows.tasks):
        classes = tasks.classes_of(task)
        places = [0] if classes is None else rows.places(k, classes.tolist())
        if classes is not None:
            several = isinstance(losses[k], Multinomial)
            places = [] if len(places) == 1 else places if several else places[1:]
        scale = 1.0 if tasks.units is None else float(tasks.units.scale[max(task, 0)])
        for column, place in enumerate(places):
            forms[k, place] = scale**2 * tasks.covariance(task, column)
    Z = coordinates(scaled_rows(tasks, rows), tasks.posteriors[0].prior.space)
    return rows.quadratic(Z, forms)


def _expected(modes: Tensor, variances: Tensor, losses: list[Loss], rows: Rows) -> Answer:
    """Return expectations under normal predictors; see :func:`expected_predictors`."""
    logs = np.array([[isinstance(loss, LogLink)] for loss in losses])
    classes = np.array([[loss.is_classifier] for loss in losses])
    eta = modes
    if logs.any():
        eta = rows.pick(logs).choose(modes + variances * 0.5, eta)
    if classes.any():
        averaged = modes / (variances * _PROBIT + 1.0).op("Sqrt")
        eta = averaged if classes.all() else rows.pick(classes).choose(averaged, eta)
    found = predicted(eta, losses, rows)
    several = np.array([[isinstance(loss, Multinomial)] for loss in losses])
    if not several.any():
        return found
    each = eta.op("Sigmoid")
    each = each / each.summed(keep=True)
    return Answer(found.numbers, eta, rows.pick(several).choose(each, found.given_probabilities))
