"""What a penalty is, what it can do, and which column of W belongs to which task and class.

The package in one page. A *function* of W is a leaf class (`rows`, `row_groups`, `groups`,
`nonconvex`, `spectral`, `couplings`, `graphs`, `fused`): a frozen dataclass with a strength. What
is done to it are fields of one record, `adapted.Term`: weights of rows, bounds, and the point it
pulls to. `sums.Sum` adds. `decomposition.decompose` compiles either, once for all solvers, into a
smooth part and a part with a prox; an L2 beside it is a field of `decomposition.Ridged`.

What a function can do is said by the capabilities below. The class of a leaf says it once. A
record of another function, a sum and parts can do what their members leave them, object by object:
`capabilities` lists it, and ``isinstance(penalty, Smooth)`` asks that list. Facts that are no
methods, such as `is_norm` or `ignores_signs`, are flags of `Valued`. Nobody asks for classes of
penalties by name, so that a class from elsewhere takes part everywhere.
"""

from __future__ import annotations

import numbers
from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self, TypeVar, final

import numpy as np

from polytask._checks import nearest, sentence
from polytask._linalg import Array, like
from polytask._registry import State, saveable
from polytask.exceptions import ParameterError
from polytask.messages import LazyMessage


def _groups(labels: Sequence[Hashable]) -> tuple[np.ndarray, ...]:
    """Return the positions of each distinct label, in the order of first appearance."""
    members: dict[Hashable, list[int]] = {}
    for position, label in enumerate(labels):
        members.setdefault(label, []).append(position)
    return tuple(np.asarray(positions, dtype=np.intp) for positions in members.values())


@saveable("penalty.columns")
@dataclass(frozen=True)
class Columns:
    """The owner of every column of W.

    Parameters
    ----------
    tasks : tuple of hashable, length n_columns
        The task that owns each column.
    classes : tuple of hashable or None, length n_columns
        The class that each column stands for; None (regression, binary logistic)
        counts as one common class.
    """

    tasks: tuple[Hashable, ...]
    classes: tuple[Hashable | None, ...]

    def __post_init__(self) -> None:
        """Store tuples and check that the two have one length."""
        object.__setattr__(self, "tasks", tuple(self.tasks))
        object.__setattr__(self, "classes", tuple(self.classes))
        if len(self.tasks) != len(self.classes):
            allowed = LazyMessage("allowed.as_long_as_tasks", {"n": len(self.tasks)})
            raise ParameterError(sentence("classes", "Columns", allowed, len(self.classes)))

    @classmethod
    def plain(cls, n_tasks: int) -> Columns:
        """Return one column for each of the tasks 0, ..., n_tasks - 1."""
        return cls(tuple(range(n_tasks)), (None,) * n_tasks)

    @property
    def n_columns(self) -> int:
        """The number of columns of W."""
        return len(self.tasks)

    def task_labels(self) -> tuple[Hashable, ...]:
        """Return the distinct tasks in the order of their first column."""
        return tuple(dict.fromkeys(self.tasks))

    def class_labels(self) -> tuple[Hashable | None, ...]:
        """Return the distinct classes in the order of their first column."""
        return tuple(dict.fromkeys(self.classes))

    def class_groups(self) -> tuple[np.ndarray, ...]:
        """Return the columns of each class, in the order of :meth:`class_labels`.

        Returns
        -------
        tuple of ndarray of intp
            Every column is in exactly one group.
        """
        return _groups(self.classes)

    def task_groups(self) -> tuple[np.ndarray, ...]:
        """Return the columns of each task, in the order of :meth:`task_labels`.

        Returns
        -------
        tuple of ndarray of intp
            Every column is in exactly one group.
        """
        return _groups(self.tasks)

    def to_state(self) -> State:
        """Return the state as a dictionary of lists."""
        return {"tasks": list(self.tasks), "classes": list(self.classes)}

    @classmethod
    def from_state(cls, state: State) -> Columns:
        """Rebuild the object from :meth:`to_state`."""
        return cls(tuple(state["tasks"]), tuple(state["classes"]))


class Capability(ABCMeta):
    """Lets an object say that it lacks what its class can do."""

    def __instancecheck__(cls, instance: object) -> bool:
        """Tell whether an object has the capability, or is of the class."""
        known: Any = instance
        if not super().__instancecheck__(instance):
            return False
        own: frozenset[type] | None = known.capabilities if cls in CAPABILITIES else None
        return own is None or cls in own


# What `capabilities` may list.
CAPABILITIES: set[type] = set()

Kind = TypeVar("Kind", bound=type)


def capability(kind: Kind) -> Kind:
    """Let objects list a class among their capabilities."""
    CAPABILITIES.add(kind)
    return kind


def capabilities_of(function: object) -> frozenset[type]:
    """Return what a function can do."""
    return frozenset(kind for kind in CAPABILITIES if isinstance(function, kind))


NO_ROWS: np.ndarray = np.zeros(0, dtype=np.intp)


class Valued(metaclass=Capability):
    """A function of the coefficient matrix W, of shape (n_features, n_columns)."""

    @property
    def capabilities(self) -> frozenset[type] | None:
        """What this object can do of what its class can; None for all."""
        return None

    @property
    def is_norm(self) -> bool:
        """Whether it is proportional to the size of W, so that its conjugate is 0 or inf."""
        return False

    @property
    def ignores_signs(self) -> bool:
        """Whether it depends on the sizes of the entries of W alone, and grows with each."""
        return False

    @property
    def shares(self) -> tuple[float, float, float] | None:
        """Of ``a ||w||_1 + b ||w||_2 + c/2 ||w||_2^2`` of rows w, (a, b, c) at strength 1."""
        # None for any other function.
        return None

    @property
    def by_entry(self) -> bool:
        """Whether it is a sum of convex functions of single entries, so that any bounds do."""
        return self.shares is not None and self.shares[1] == 0

    # How it shares rows with an L1 beside it in closed form, if it is a norm that does.
    division_with_l1: Any = None

    @property
    def selects_tasks(self) -> bool:
        """Whether all columns of a task vanish together."""
        return False

    @property
    def by_feature(self) -> bool:
        """Whether it has parameters for single features, so that rows of W differ."""
        return False

    @property
    def unpenalised(self) -> np.ndarray:
        """The rows of W for which zero is not special."""
        return NO_ROWS

    @property
    def forbids(self) -> bool:
        """Whether some W are not allowed, whatever the strength."""
        return False

    def allowed_share(self, W: Array) -> float:
        """Return the largest c <= 1 for which c W meets a bound on a norm."""
        return 1.0

    @property
    def binds_signs(self) -> bool:
        """Whether what is not allowed is a matter of signs and bounds."""
        return False

    def without_terms(self) -> Mapping[str, Any]:
        """Return what is left without each of its terms, at any strength; empty for one term."""
        return {}

    def of_rows(self, index: Array) -> Any:  # noqa: ANN401 - with the capabilities of the class
        """Return the same function of some rows of W alone."""
        return self

    @abstractmethod
    def value(self, W: Array) -> float:
        """Return the value at W, of shape (n_features, n_columns)."""


class Penalty(Valued):
    """A penalty on W, of shape (n_features, n_columns); immutable.

    Its strength is a number ``alpha``, or is still to be resolved: a fraction of the
    smallest alpha for which every coefficient vanishes (see :class:`NullStrength`).
    """

    @property
    @abstractmethod
    def strength(self) -> float | None:
        """The strength alpha; None while it is a fraction that is not resolved."""

    @property
    @abstractmethod
    def null_point(self) -> Array | None:
        """The W to which `resolved` and `null_strength` refer; None for W = 0."""

    @abstractmethod
    def with_strength(self, alpha: float) -> Penalty:
        """Return the penalty with another strength, a number >= 0."""

    @abstractmethod
    def scaled(self, factor: float) -> Penalty:
        """Return `factor` (>= 0) times the penalty."""

    @abstractmethod
    def shifted(self, W0: Array) -> Penalty:
        """Return the penalty of W - W0, W0 of shape (n_features, n_columns)."""

    @abstractmethod
    def bind(self, columns: Columns) -> Penalty:
        """Return a copy that knows which column is of which task and class."""

    def bind_features(self, space: FeatureSpace) -> Penalty:
        """Return a copy that knows the features; itself if it does not name any."""
        return self

    def at_curvature(self, curvature: float, gradient: Array) -> Penalty:
        """Resolve what a fraction shares with the mean curvature of the data."""
        # Shapes: gradient (n_features, n_columns), as in `resolved`.
        return self

    @abstractmethod
    def resolved(self, gradient: Array) -> Penalty:
        """Return the penalty with every fraction turned into a strength.

        Parameters
        ----------
        gradient : array of shape (n_features, n_columns)
            Gradient of the data term at `null_point`.

        Returns
        -------
        Penalty
            The penalty itself if no fraction is left.
        """

    @abstractmethod
    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name, nested ones as ``p0__alpha`` if `deep`."""

    @abstractmethod
    def replace(self, name: str, value: object) -> Penalty:
        """Return a copy with one parameter changed.

        Parameters
        ----------
        name : str
            A key of ``get_params()``. Setting alpha to a number clears fraction, and
            the reverse.
        value : object
            Its new value.

        Returns
        -------
        Penalty
            The changed copy.

        Raises
        ------
        ParameterError
            If there is no such parameter, or the value is not allowed.
        """

    @abstractmethod
    def __add__(self, other: Penalty) -> Penalty:
        """Return the sum of two penalties."""

    @abstractmethod
    def __mul__(self, factor: float) -> Penalty:
        """Return `factor` times the penalty."""

    @abstractmethod
    def __rmul__(self, factor: float) -> Penalty:
        """Return `factor` times the penalty."""

    @abstractmethod
    def to_state(self) -> State:
        """Return the state as a dictionary that can be saved."""

    @classmethod
    @abstractmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild the penalty from :meth:`to_state`."""

    @final
    def __sklearn_clone__(self) -> Self:
        """Return the penalty itself: it is immutable."""
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Return what was given, without what fits worked out from it: a copy is as new."""
        return {
            name: value
            for name, value in vars(self).items()
            if name != _WORKED_OUT
            and not isinstance(getattr(type(self), name, 0), cached_property)
        }


_WORKED_OUT = "_worked_out"

Made = TypeVar("Made")


def once(penalty: Penalty, key: Hashable, make: Callable[[Penalty], Made]) -> Made:
    """Return what is made of a penalty, which keeps it: it never changes."""
    kept: dict[Hashable, Made] = vars(penalty).setdefault(_WORKED_OUT, {})
    if key not in kept:
        kept[key] = make(penalty)
    return kept[key]


@capability
class Smooth(Valued):
    """A convex differentiable penalty with a bounded second derivative."""

    @abstractmethod
    def gradient(self, W: Array) -> Array:
        """Return the gradient at W, of the shape of W."""

    @abstractmethod
    def curvature(self) -> float:
        """Return the largest eigenvalue of the Hessian, or a bound on it."""


@capability
class Quadratic(Smooth):
    """A smooth penalty whose gradient is affine: W -> (W - W0) A, A of (n_columns, n_columns).

    Or the same with a weight for every row.
    """

    @abstractmethod
    def apply(self, W: Array) -> Array:
        """Return W A, the Hessian applied to W."""

    @abstractmethod
    def diagonal(self, n_columns: int) -> np.ndarray:
        """Return the diagonal of A, of shape (n_columns,)."""


@capability
class Proximable(Valued):
    """A penalty with a cheap proximal operator."""

    @abstractmethod
    def prox(self, W: Array, step: float) -> Array:
        """Return the minimiser over Z of 1/2 ||Z - W||_F^2 + step * penalty(Z)."""


@capability
class RowSeparable(Proximable):
    """A sum over the rows of W, so that the prox of some rows needs those rows only."""

    @abstractmethod
    def prox_rows(self, rows: Array, index: Array | slice, step: float | Array) -> Array:
        """Return the proximal operator of some rows.

        Parameters
        ----------
        rows : array of shape (n_rows, n_columns)
            Rows of the point W.
        index : array of int of shape (n_rows,), or slice
            Which rows of W they are; it matters to penalties with parameters per row.
        step : float or array of shape (n_rows,)
            One step for all rows, or one for each.

        Returns
        -------
        array of shape (n_rows, n_columns)
            The same rows of the minimiser.
        """

    def prox(self, W: Array, step: float) -> Array:
        """Return the minimiser over Z of 1/2 ||Z - W||_F^2 + step * penalty(Z)."""
        return self.prox_rows(W, slice(None), step)

    def value_by_row(self, W: Array) -> Array:
        """Return what each row of W adds to the value, of shape (n_rows,)."""
        return like(np.array([self.value(W[j : j + 1, :]) for j in range(W.shape[0])]), W)


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """The features that the rows of W belong to. Shapes: unit (n_features, n_columns)."""

    n_features: int
    names: tuple[str, ...] | None
    unit: np.ndarray

    def positions(self, feature: object, parameter: str, owner: str) -> list[int]:
        """Return the rows of a feature: a position, an encoded name, or a column of a table."""
        names = self.names or ()
        whole = isinstance(feature, numbers.Integral) and not isinstance(feature, bool)
        if whole and 0 <= int(feature) < self.n_features:  # type: ignore[call-overload]
            return [int(feature)]  # type: ignore[call-overload]
        found = [j for j, name in enumerate(names) if name == feature]
        found = found or [j for j, name in enumerate(names) if name.split("=")[0] == feature]
        if found:
            return found
        key = "allowed.named_features" if names else "allowed.nameless_features"
        allowed = LazyMessage(key, {"last": self.n_features - 1})
        said = sentence(parameter, owner, allowed, repr(feature))
        raise ParameterError(said + nearest(feature, names))


def about(penalty: object, key: str) -> LazyMessage:
    """Return a sentence of the catalogues that names a penalty."""
    return LazyMessage(key, {"penalty": repr(penalty)})


@dataclass(frozen=True, eq=False)
class RowLimits:
    """In what the rows of a compiled penalty differ."""

    # Shapes: weight (n_rows,), lower, upper (n_rows or 1, n_columns or 1).

    weight: np.ndarray
    lower: np.ndarray
    upper: np.ndarray

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What compiled loops take."""
        return self.weight, self.lower, self.upper

    def of_rows(self, index: Array | slice) -> RowLimits:
        """Return the limits of some rows."""
        weight = self.weight[index] if len(self.weight) else self.weight
        # One row is that of all.
        bounds = (a[index] if len(a) > 1 else a for a in (self.lower, self.upper))
        return RowLimits(*(np.ascontiguousarray(part) for part in (weight, *bounds)))


NO_LIMITS = RowLimits(np.zeros(0), np.zeros((0, 0)), np.zeros((0, 0)))


@dataclass(frozen=True, eq=False)
class RowKernel:
    """The prox of one row as machine code.

    Attributes
    ----------
    prox : callback of numba
        Made by ``polytask.penalties.row_kernels.row_prox``: it takes a row as a float64 array,
        a step and the parameters, and overwrites the row.
    parameters : ndarray of shape (n_parameters,)
        float64; the strength belongs here, so that one function serves every strength.
    limits : RowLimits
        In what rows differ; by default in nothing.
    """

    prox: Any
    parameters: np.ndarray
    limits: RowLimits = NO_LIMITS

    def of_rows(self, index: Array | slice) -> RowKernel:
        """Return the kernel of some rows."""
        return RowKernel(self.prox, self.parameters, self.limits.of_rows(index))


@capability
class BlockSeparable(Proximable):
    """A sum over blocks of rows of W, within which rows are alike."""

    @property
    @abstractmethod
    def blocks(self) -> tuple[tuple[int, ...], ...]:
        """The rows of each block; every row is in exactly one."""

    @abstractmethod
    def of_blocks(self, chosen: np.ndarray) -> Penalty:
        """Return the penalty of some blocks alone, their rows numbered anew."""


@capability
class CompiledRows(RowSeparable):
    """A row-separable penalty whose prox is also machine code, the same but for its limits."""

    @abstractmethod
    def row_kernel(self) -> RowKernel:
        """Return the compiled prox of one row; it agrees with :meth:`prox_rows`."""


@capability
class Conjugate(Proximable):
    """A convex penalty whose Fenchel conjugate is known, hence a duality gap."""

    @abstractmethod
    def conjugate(self, Z: Array) -> float:
        """Return sup over W of <Z, W> - penalty(W); inf outside the domain."""

    @abstractmethod
    def feasible_scale(self, Z: Array) -> float:
        """Return the largest c >= 0 with a finite conjugate at c Z; inf if there is no limit."""

    def scaled_conjugate(self, Z: Array) -> tuple[float, float]:
        """Return the largest c <= 1 with a finite conjugate at c Z, and the conjugate there."""
        c = min(1.0, self.feasible_scale(Z))
        return c, self.conjugate(c * Z)

    def conjugate_by_row(self, Z: Array) -> Array:
        """Return the conjugate at each row of Z, of a sum over rows; of shape (n_rows,)."""
        return like(np.array([self.conjugate(Z[j : j + 1, :]) for j in range(Z.shape[0])]), Z)


@capability
class Nonconvex(Valued):
    """A penalty that is not convex: a sum of concave increasing functions of norms.

    Its tangents, as functions of the norms, are convex penalties above it.
    """

    @abstractmethod
    def majorised(self, W: Array) -> Penalty:
        """Return the convex penalty that lies above this one by a constant, and touches it at W.

        What differs between the two is smallest at W, and the same for a null strength.
        """


@capability
class NullStrength(Valued):
    """A penalty that makes W = 0 (W = W0 if shifted) optimal at a finite strength."""

    @abstractmethod
    def null_strength(self, gradient: Array) -> float:
        """Return the smallest strength at which every coefficient vanishes.

        Parameters
        ----------
        gradient : array of shape (n_features, n_columns)
            Gradient of the data term at the null point.

        Returns
        -------
        float
            The strength, inf if there is none.
        """


@capability
class Mergeable(Proximable):
    """A penalty that can be added to some others exactly, the sum being one penalty."""

    @abstractmethod
    def parts(self) -> tuple[Penalty, ...]:
        """Return penalties whose sum this is; itself if it is not composed."""

    @abstractmethod
    def merged(self, other: Valued) -> Mergeable | None:
        """Return the sum with `other` as one proximable penalty, None if there is none."""


@capability
class OfFactors(Valued):
    """A strength times ``1/2 ||L||_F^2 + sum |S|`` of factors W = L S, least over all of them.

    Factored is the solver for it. Shapes: L (n_features, n_latent), S (n_latent, n_columns).
    """

    n_latent: int

    @property
    @abstractmethod
    def weight(self) -> float:
        """The strength."""

    @abstractmethod
    def factored_value(self, L: Array, S: Array) -> float:
        """Return the value of factors."""


@capability
class Composed(Valued):
    """A penalty h(A W), where h is convex with a prox and A is a linear map.

    Splitting is the solver for it: it takes steps with A, its transpose and the conjugate of h.
    """

    @abstractmethod
    def forward(self, W: Array) -> Array:
        """Return A W for W of shape (n_features, n_columns)."""

    @abstractmethod
    def adjoint(self, U: Array) -> Array:
        """Return the transpose of A at U, of the shape of W."""

    @abstractmethod
    def norm_bound(self) -> float:
        """Return a bound on the largest eigenvalue of A'A, > 0."""

    @abstractmethod
    def dual_prox(self, U: Array, step: float) -> Array:
        """Return the minimiser over V of 1/2 ||V - U||^2 + step * (conjugate of h at V)."""

    @abstractmethod
    def dual_value(self, U: Array) -> float:
        """Return the conjugate of h at U, which is in its domain."""

    @abstractmethod
    def settled(self, W: Array, moved: Array) -> Array:
        """Return W with what is zero in the solution made exactly zero.

        Parameters
        ----------
        W : array of shape (n_features, n_columns)
            Nearly a solution.
        moved : array
            The prox of h near A W, which has exact zeros.

        Returns
        -------
        array of shape (n_features, n_columns)
            A point near W.
        """


@capability
class Shifted(Penalty):
    """A penalty of W - W0, made by ``shifted``; ``isinstance(p, Shifted)`` recognises any.

    Its parameters are those of the penalty that it shifts.

    Parameters
    ----------
    penalty : Penalty
        The penalty of the difference.
    by : array of shape (n_features, n_columns)
        W0, the point that the penalty pulls to.
    """

    by: Array

    @property
    @abstractmethod
    def penalty(self) -> Penalty:
        """The penalty of the difference."""
