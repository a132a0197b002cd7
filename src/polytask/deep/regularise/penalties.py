"""Penalties of layers, asked for by name, and the proximal step that goes with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from polytask._checks import positive, sentence
from polytask._registry import saveable
from polytask.deep.regularise.matrices import HEADS, INPUT, Matrix, layout_of, resolve, weights_of
from polytask.deep.regularise.metric import (
    ByDual,
    adapts,
    in_metric,
    metric_of,
    no_metric,
    prox_in_metric,
    require_held,
)
from polytask.exceptions import IncompatibleError, ParameterError
from polytask.messages import LazyMessage, with_and
from polytask.penalties import (
    Columns,
    Composed,
    LatentTasks,
    Nonconvex,
    Parts,
    Penalty,
    Proximable,
    Smooth,
    Sum,
)
from polytask.penalties.base import FeatureSpace
from polytask.penalties.sums import add, merge, parts_of

# Why a penalty has no proximal step, and what to do instead.
_WITHOUT: tuple[tuple[type, str], ...] = (
    (Composed, "composed"),
    (LatentTasks, "latent"),
    (Parts, "parts"),
    (Nonconvex, "nonconvex"),
)


@dataclass(frozen=True)
class SmoothProxSplit:
    """A penalty as a smooth part and a part with a prox, whose sum it is."""

    smooth: Smooth | None
    proximable: Proximable | None


def _proximable(terms: list[Penalty], penalty: Penalty) -> Proximable | None:
    """Return terms that are not smooth as one with a prox, or refuse."""
    if len(terms) == 1 and isinstance(terms[0], Composed):
        return ByDual(terms[0])
    for term in terms:
        if not isinstance(term, Proximable):
            why = next((key for kind, key in _WITHOUT if isinstance(term, kind)), "neither")
            fields = {"penalty": repr(penalty), "reason": LazyMessage(f"deep.why.{why}")}
            raise IncompatibleError(LazyMessage("deep.refusal.layer_penalty", fields))
    # What is not allowed is not at any strength.
    active = [t for t in terms if t.strength != 0 or t.forbids] or terms[:1]
    whole: Any = merge(active) if active else None
    if whole is None and not active:
        return None
    if not isinstance(whole, Proximable):
        names = with_and(list(map(repr, active)))
        raise IncompatibleError(LazyMessage("deep.refusal.sum_of_penalties", {"names": names}))
    return whole


@saveable("deep.to_start")
@final
@dataclass(frozen=True)
class ToStart:
    """A penalty on how far layers are from where training begins: with L2 it is L2-SP [1]_.

    With W0 the weights of a layer as training begins, of a pre-trained trunk those that it came
    with, it is the penalty of W - W0. With L2 it is for any optimiser; L1 or L21, with which
    weights stay exactly what they were, are for SGD or a final phase.

    Parameters
    ----------
    penalty : Penalty
        The penalty of the change, such as ``L2(0.01)``.

    References
    ----------
    .. [1] Li, X., Grandvalet, Y. and Davoine, F. (2018). Explicit inductive bias for transfer
       learning with convolutional networks. ICML, 2825-2834, Equation 2.

    Examples
    --------
    >>> import torch
    >>> from polytask.deep.regularise import Penalties, ToStart
    >>> from polytask.penalties import L2
    >>> layer = torch.nn.Sequential(torch.nn.Linear(3, 2))
    >>> penalties = Penalties(layer, {"*": ToStart(L2(0.1))})
    >>> penalties.values()
    {'*': 0.0}
    """

    penalty: Penalty

    def __post_init__(self) -> None:
        if not isinstance(self.penalty, Penalty):
            allowed = LazyMessage("allowed.some_penalty", {"example": "L2(0.01)"})
            raise ParameterError(sentence("penalty", "ToStart", allowed, repr(self.penalty)))


def smooth_prox_split(penalty: Penalty) -> SmoothProxSplit:
    """Take a penalty apart for training by gradients."""
    # Unlike :func:`polytask.penalties.decompose`, which gives ridges to the prox, everything with
    # a gradient goes to the smooth part: there any optimiser is right. Penalties that are not
    # convex are allowed; what is reached is a stationary point, as for the network itself.
    members = penalty.members if isinstance(penalty, Sum) else (penalty,)
    if any(member.strength is None for member in members):
        raise ParameterError(LazyMessage("deep.refusal.relative", {"penalty": repr(penalty)}))
    terms = [part for member in members for part in parts_of(member)]
    smooth = [term for term in terms if isinstance(term, Smooth)]
    together: Any = add(smooth) if smooth else None
    rest = [term for term in terms if not isinstance(term, Smooth)]
    return SmoothProxSplit(together, _proximable(rest, penalty))


class _SmoothValue(torch.autograd.Function):
    """The value of a smooth penalty, whose gradient the penalty itself knows."""

    @staticmethod
    def forward(ctx: Any, W: Tensor, penalty: Smooth) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(W)
        ctx.penalty = penalty
        return W.new_tensor(penalty.value(W.detach()))

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        (W,) = ctx.saved_tensors
        return slopes[0] * ctx.penalty.gradient(W.detach()), None


def smooth_value(W: Tensor, penalty: Smooth) -> Tensor:
    """Return the value of a smooth penalty as a tensor with a gradient."""
    # Shapes: W (n_features, n_columns), result ().
    found: Tensor = _SmoothValue.apply(W, penalty)  # type: ignore[no-untyped-call]
    return found


@final
@dataclass(frozen=True, eq=False)
class PenaltyTerm:
    """A penalty on one matrix of a network, under the name by which it was asked for.

    Attributes
    ----------
    name : str
        The name.
    matrix : Matrix
        Which parameters are read as the matrix.
    split : SmoothProxSplit
        Its smooth part and its part with a prox.
    """

    name: str
    matrix: Matrix
    split: SmoothProxSplit

    @property
    def parting(self) -> SmoothProxSplit:
        """The name of `split` in 0.1."""
        return self.split

    @torch.no_grad()
    def proximal_step(self, *optimizers: object) -> None:
        """Apply the part with a prox, with the step and in the metric of its optimiser."""
        part = self.split.proximable
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

    def applicable(self, optimizers: Sequence[object]) -> PenaltyTerm:
        """Return the term, without the part with a prox if optimisers cannot apply it."""
        part = self.split.proximable
        # Nothing is applied to a frozen layer.
        if part is None or self.matrix.frozen:
            return self
        self.matrix.require_free()
        # An optimiser whose metric is not known is refused by the first of these.
        if not adapts(optimizers, self.matrix) or in_metric(part):
            return self
        return PenaltyTerm(self.name, self.matrix, SmoothProxSplit(self.split.smooth, None))

    @torch.no_grad()
    def residual(self, step: float) -> float:
        """Return ||W - prox(W - step * gradient)|| / step, 0 of what is frozen."""
        if self.matrix.frozen:
            return 0.0
        gradient = self.matrix.gradient()
        if gradient is None:
            fields = {"name": repr(self.matrix.name)}
            raise ParameterError(LazyMessage("deep.refusal.no_gradient", fields))
        W, part = self.matrix.value(), self.split.proximable
        if part is None:
            return float(gradient.norm())
        return float((W - part.prox(W - step * gradient, step)).norm()) / step


def term(
    name: str,
    matrix: Matrix,
    penalty: Penalty | ToStart,
    columns: Columns | None = None,
    feature_names: Sequence[str] | None = None,
) -> PenaltyTerm:
    """Return a penalty bound to the features and columns of a matrix."""
    start = matrix.value().detach().clone() if isinstance(penalty, ToStart) else None
    penalty = penalty.penalty if isinstance(penalty, ToStart) else penalty
    if not isinstance(penalty, Penalty):
        allowed = LazyMessage("allowed.some_penalty", {"example": "L21(1e-3)"})
        raise ParameterError(sentence(repr(name), "penalties", allowed, repr(penalty)))
    n_features, n_columns = matrix.shape
    columns = columns or Columns.plain(n_columns)
    if columns.n_columns != n_columns:
        fields = {"name": repr(name), "count": n_columns}
        allowed = LazyMessage("allowed.as_many_as_columns", fields)
        raise ParameterError(sentence("columns", "Penalties", allowed, columns.n_columns))
    names = None if feature_names is None else tuple(feature_names)
    if names is not None and len(names) != n_features:
        fields = {"name": repr(name), "count": n_features}
        allowed = LazyMessage("allowed.as_many_as_inputs", fields)
        raise ParameterError(sentence("feature_names", "Penalties", allowed, len(names)))
    space = FeatureSpace(n_features, names, np.ones((n_features, n_columns)))
    bound = penalty.bind(columns).bind_features(space)
    whole = bound if start is None else bound.shifted(start)
    return PenaltyTerm(name, matrix, smooth_prox_split(whole))


def _refuse_shared(terms: Iterable[PenaltyTerm]) -> None:
    """Refuse two proximal steps on one parameter: one after the other is not their sum."""
    owner: dict[int, str] = {}
    for found in terms:
        if found.split.proximable is None:
            continue
        for parameter in found.matrix.parameters:
            other = owner.setdefault(id(parameter), found.name)
            if other is not found.name and other != found.name:
                fields = {"first": repr(other), "second": repr(found.name)}
                fields["name"] = repr(found.matrix.name)
                raise IncompatibleError(LazyMessage("deep.refusal.two_penalties", fields))


@final
class Penalties:
    """Penalties of the layers of a network, by name.

    Every penalty of :mod:`polytask.penalties` can be put on a layer, whose weight (out, in) is
    the matrix W of shape (in, out): a row for each input, a column for each output. What has a
    gradient (L2, couplings, the ridge of an elastic net) belongs in the loss, as `smooth()`;
    what makes zeros is applied after the step of the optimiser by `proximal_step`, so that the
    zeros are exact. The penalties are those of the objective: with a data term that is a sum
    over tasks of mean losses, alpha means what it means in the linear estimators.

    Refused are penalties without a proximal operator of W (LatentTasks, reweighted, and Parts
    other than those that dirty makes) and strengths given as a fraction. That of NetworkLasso
    takes many iterations on its dual in every step, so it is for few tasks, or for the
    :func:`~polytask.deep.regularise.final_phase` alone.

    Parameters
    ----------
    network : nn.Module
        A module with the attributes `heads` and `trunk` or `sharing` as far as the names
        ``"heads"`` and ``"input"`` are used; otherwise any module. Terms that its parts bring
        along, as soft sharing does with ``penalty_terms()``, are added.
    penalties : mapping from str to Penalty or ToStart
        ``"heads"``: the weights of all heads as one matrix, bound to tasks and classes.
        ``"input"``: all layers that read the features, as one matrix with a row for each
        feature. Else the name of a module, with ``*`` for any characters: each weight matrix in
        it by itself, without biases and norms, where towers and experts are one matrix for each
        layer with their columns side by side. Else the name of a parameter (a bias is one row).
    columns : Columns, default=None
        The task and class of each column of the heads; None: that of the attribute `columns` of
        the network, or else a task for each.
    feature_names : sequence of str, default=None
        Names of the features, for penalties on ``"input"`` that name them, such as `weighted`.

    Raises
    ------
    ParameterError
        If a name matches nothing or a strength is a fraction.
    IncompatibleError
        If a penalty cannot be applied to a layer, or two with zeros meet on one.

    Examples
    --------
    >>> import torch
    >>> from polytask.deep.regularise import Penalties
    >>> from polytask.penalties import L2, L21
    >>> net = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> penalties = Penalties(net, {"*": L2(1e-4), "input": L21(0.02)})
    >>> optimizer = torch.optim.Adam(net.parameters())
    >>> loss = net(torch.ones(3, 8)).square().mean() + penalties.smooth()
    >>> loss.backward()
    >>> optimizer.step()
    >>> penalties.proximal_step(optimizer)
    """

    def __init__(
        self,
        network: nn.Module,
        penalties: Mapping[str, Penalty | ToStart],
        *,
        columns: Columns | None = None,
        feature_names: Sequence[str] | None = None,
    ) -> None:
        bound = {HEADS: columns or getattr(network, "columns", None)}
        named = {INPUT: feature_names}
        found = [
            term(name, matrix, penalty, bound.get(name), named.get(name))
            for name, penalty in penalties.items()
            for matrix in resolve(network, name)
        ]
        # Parts of a network may bring terms along, as soft sharing does.
        for module in network.modules():
            offered = getattr(module, "penalty_terms", None)
            found += offered() if callable(offered) else []
        self.terms: tuple[PenaltyTerm, ...] = tuple(found)
        _refuse_shared(self.terms)

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in the order given."""
        return tuple(dict.fromkeys(found.name for found in self.terms))

    def smooth(self) -> Tensor | float:
        """Return the sum of the smooth terms, to be added to the loss; 0.0 without any."""
        total: Tensor | float = 0.0
        for found in self.terms:
            if found.split.smooth is not None:
                total = total + smooth_value(found.matrix.value(), found.split.smooth)
        return total

    def proximal_step(self, *optimizers: object) -> None:
        """Apply what is not smooth, after ``optimizer.step()``; see :func:`proximal_step`."""
        for found in self.terms:
            found.proximal_step(*optimizers)

    def check(self, *optimizers: object) -> None:
        """Refuse, before any work, what :func:`proximal_step` would refuse."""
        for name in self.names:
            own = [found.matrix for found in self.terms if found.name == name]
            require_held(optimizers, name, [p for matrix in own for p in matrix.parameters])
        for found in self.terms:
            part = found.split.proximable
            if part is not None and found.applicable(optimizers) is not found:
                raise no_metric(part)

    def applicable(self, *optimizers: object) -> Penalties:
        """Return the penalties without what the optimisers cannot apply.

        What is left out is for a :func:`~polytask.deep.regularise.final_phase` with all
        penalties: ``during = penalties.applicable(optimizer)``, training with these, then
        ``final_phase(penalties, loss)``. These very penalties if all can be applied; optimisers
        and errors are those of :func:`proximal_step`.
        """
        left = tuple(found.applicable(optimizers) for found in self.terms)
        if all(one is other for one, other in zip(left, self.terms, strict=True)):
            return self
        during = Penalties(nn.Module(), {})
        during.terms = left
        return during

    @torch.no_grad()
    def values(self) -> dict[str, float]:
        """Return the value of the penalty of each name, smooth or not."""
        total = dict.fromkeys(self.names, 0.0)
        for found in self.terms:
            W, parts = found.matrix.value(), (found.split.smooth, found.split.proximable)
            total[found.name] += sum(float(part.value(W)) for part in parts if part is not None)
        return total

    @torch.no_grad()
    def zeros(self) -> dict[str, float]:
        """Return the share of weights that are exactly zero, for each name."""
        counts = {name: [0, 0] for name in self.names}
        for found in self.terms:
            W = found.matrix.value()
            counts[found.name][0] += int((W == 0).sum())
            counts[found.name][1] += W.numel()
        return {name: zero / max(size, 1) for name, (zero, size) in counts.items()}

    def residual(self, step: float = 1.0) -> dict[str, float]:
        """Return how far the layers of each name are from stationary.

        It is zero where the gradient of the loss with its smooth terms, taken from ``.grad``,
        is balanced by the penalties that are not smooth, and only there. Call ``backward()`` on
        the loss of all data (not of a batch), with ``smooth()`` added, first.

        Parameters
        ----------
        step : float, default=1.0
            The step of the prox, > 0; for penalties that are not convex one below the inverse
            of their concavity.

        Returns
        -------
        dict from str to float
            ||W - prox(W - step * gradient)||_F / step over all layers of a name: without a prox
            the norm of the gradient. Refused with ParameterError where there is none.
        """
        step = positive(step, "step", "residual")
        squares = dict.fromkeys(self.names, 0.0)
        for found in self.terms:
            squares[found.name] += found.residual(step) ** 2
        return {name: square**0.5 for name, square in squares.items()}


def proximal_step(
    penalties: Penalties | Iterable[tuple[nn.Module | nn.Parameter, Penalty]],
    *optimizers: object,
) -> None:
    """Apply penalties that are not smooth after a step of the optimiser, in any loop.

    Call it after ``optimizer.step()`` and before the schedule changes the learning rate. The
    optimiser decides the step and the metric:

    - **SGD**: any penalty with a proximal operator; W becomes prox(W) with the step lr (1 -
      dampening) / (1 - momentum), which is lr without momentum. Momentum adds gradients up, so
      with a step of lr alone the penalty would count 1 - momentum times as much as the loss.
    - **Adam, AdamW**: L1, L21, SparseGroup, GroupNorm (also with L1 added) and OutlierTasks, in
      the diagonal metric (sqrt(v) + eps) / lr of the step just taken [1]_; others are refused,
      since their minimiser in that metric is not known: train such layers with SGD, or end with
      :func:`~polytask.deep.regularise.final_phase`. With AdamW the decoupled decay is part of
      what is stationary. Parameters without a step so far are left alone; a weight that had
      steps, but with a gradient of zero each time (behind a dead unit, of a feature that is 0),
      is held by nothing and vanishes at once.

    Zeros are exact. Only the part with a prox is applied: what has a gradient (L2, couplings)
    belongs in the loss.

    Parameters
    ----------
    penalties : Penalties, or iterable of (module or parameter, penalty)
        A module stands for each weight matrix in it.
    *optimizers : torch.optim.SGD, Adam or AdamW
        The optimiser, or several that share the parameters among them: the heads with a
        trace norm under SGD, say, and all else under Adam. Or wrappers that hold one in their
        attribute `optimizer`.

    Raises
    ------
    IncompatibleError
        If an optimiser is another one, none holds the parameters, or it cannot apply a penalty.

    References
    ----------
    .. [1] Yun, J., Lozano, A. C. and Yang, E. (2021). Adaptive proximal gradient methods for
       structured neural networks. NeurIPS 34, Algorithm 1.

    Examples
    --------
    >>> import torch
    >>> from polytask.deep import proximal_step
    >>> from polytask.penalties import L1
    >>> layer = torch.nn.Linear(3, 2)
    >>> optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    >>> layer(torch.ones(1, 3)).sum().backward()
    >>> optimizer.step()
    >>> proximal_step([(layer, L1(100.0))], optimizer)
    >>> int(layer.weight.count_nonzero())
    0
    """
    if isinstance(penalties, Penalties):
        penalties.proximal_step(*optimizers)
        return
    terms = []
    for number, (target, penalty) in enumerate(penalties):
        name = f"pair {number}"
        if isinstance(target, nn.Module):
            matrices = [matrix for _, matrix in weights_of(target)]
        else:
            matrices = [Matrix(name, ((target, layout_of(nn.Module(), "", target)),))]
        terms += [term(name, matrix, penalty) for matrix in matrices]
    _refuse_shared(terms)
    for found in terms:
        found.proximal_step(*optimizers)


AnyPenalties = Penalties | Mapping[str, Penalty | ToStart]


def penalties_of(network: nn.Module, given: AnyPenalties | None) -> Penalties:
    """Return penalties of a network, from a mapping by name or as they are."""
    return given if isinstance(given, Penalties) else Penalties(network, given or {})
