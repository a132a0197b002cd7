"""A penalty on one matrix of a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch

from polytask._checks import sentence
from polytask.deep.regularise.matrices import Matrix
from polytask.deep.regularise.metric import (
    adapts,
    in_metric,
    metric_of,
    no_metric,
    prox_in_metric,
)
from polytask.deep.regularise.parting import Parting, parted
from polytask.exceptions import ParameterError
from polytask.penalties import Columns, Penalty, Proximable
from polytask.penalties.features import FeatureSpace, bind_features


@final
@dataclass(frozen=True, eq=False)
class PenaltyTerm:
    """A penalty on one matrix of a network.

    Attributes
    ----------
    name : str
        The name under which it was asked for; several terms may have one name.
    matrix : Matrix
        The parameters.
    parting : Parting
        The penalty as a part for the loss and a part for the proximal step.
    """

    name: str
    matrix: Matrix
    parting: Parting

    @torch.no_grad()
    def proximal_step(self, *optimizers: object) -> None:
        """Apply the part with a prox, with the step and in the metric of its optimiser."""
        part = self.parting.proximable
        if part is None or self.matrix.frozen:
            return
        self.matrix.require_free()
        found = metric_of(optimizers, self.matrix)
        if found is None:
            return
        step, scale = found
        W = self.matrix.value()
        moved = part.prox(W, step) if scale is None else prox_in_metric(part, W, scale, step)
        self.matrix.write(moved)

    def check(self, optimizers: Sequence[object]) -> None:
        """Refuse optimisers that cannot apply the part with a prox."""
        part = self.parting.proximable
        if part is not None and self._beyond(optimizers, part):
            raise no_metric(part)

    def applicable(self, optimizers: Sequence[object]) -> PenaltyTerm:
        """Return the term, without the part with a prox if optimisers cannot apply it."""
        part = self.parting.proximable
        if part is None or not self._beyond(optimizers, part):
            return self
        return PenaltyTerm(self.name, self.matrix, Parting(self.parting.smooth, None))

    def _beyond(self, optimizers: Sequence[object], part: Proximable) -> bool:
        """Tell whether optimisers cannot apply a part; nothing is applied to a frozen layer."""
        if self.matrix.frozen:
            return False
        self.matrix.require_free()
        return adapts(optimizers, self.matrix) and not in_metric(part)

    @torch.no_grad()
    def residual(self, step: float) -> float:
        """Return how far the matrix is from stationary, from the present ``.grad``.

        Parameters
        ----------
        step : float
            The step of the prox, > 0.

        Returns
        -------
        float
            ||W - prox(W - step * gradient)|| / step; 0 of what is frozen.

        Raises
        ------
        ParameterError
            If there is no gradient.
        """
        if self.matrix.frozen:
            return 0.0
        gradient = self.matrix.gradient()
        if gradient is None:
            raise ParameterError(
                f"residual needs the gradient of {self.matrix.name!r}: call backward() on the "
                "loss with the smooth terms first."
            )
        W, part = self.matrix.value(), self.parting.proximable
        if part is None:
            return float(gradient.norm())
        return float((W - part.prox(W - step * gradient, step)).norm()) / step


def term(
    name: str,
    matrix: Matrix,
    penalty: Penalty,
    columns: Columns | None = None,
    feature_names: Sequence[str] | None = None,
) -> PenaltyTerm:
    """Return a penalty bound to the features and columns of a matrix."""
    if not isinstance(penalty, Penalty):
        allowed = "penalties of polytask.penalties, such as L21(1e-3)"
        raise ParameterError(sentence("The values", "penalties", allowed, repr(penalty)))
    n_features, n_columns = matrix.shape
    columns = columns or Columns.plain(n_columns)
    if columns.n_columns != n_columns:
        allowed = f"as many as the columns of {name!r} ({n_columns})"
        raise ParameterError(sentence("columns", "Penalties", allowed, columns.n_columns))
    names = None if feature_names is None else tuple(feature_names)
    if names is not None and len(names) != n_features:
        allowed = f"as many as the inputs of {name!r} ({n_features})"
        raise ParameterError(sentence("feature_names", "Penalties", allowed, len(names)))
    space = FeatureSpace(n_features, names, np.ones((n_features, n_columns)))
    return PenaltyTerm(name, matrix, parted(bind_features(penalty.bind(columns), space)))
