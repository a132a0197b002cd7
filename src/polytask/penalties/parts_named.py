"""Families of parts that have a name."""

from __future__ import annotations

from polytask._checks import sentence
from polytask.exceptions import ParameterError
from polytask.penalties.base import Penalty
from polytask.penalties.outliers import OutlierTasks
from polytask.penalties.parts import Parts
from polytask.penalties.rowwise import L1, L21
from polytask.penalties.spectral import TraceNorm
from polytask.penalties.terms import RelativeTerm, check_exclusive
from polytask.penalties.trace_ball import TraceBall


def _check_pair(
    alpha: float | None, second: float | None, name: str, fraction: float | None, owner: str
) -> None:
    """Refuse one strength without the other, and strengths beside a fraction."""
    if (alpha is None) != (second is None):
        raise ParameterError(
            f"alpha and {name} of {owner} belong together, because only their ratio says which "
            f"part takes what; got alpha={alpha!r} and {name}={second!r}. fraction= sets both."
        )
    check_exclusive(alpha, fraction, owner)


def _made_by(kind: object, alpha: float | None, fraction: float | None) -> Penalty:
    """Return a penalty of the class that a user chose for the shared part."""
    if not isinstance(kind, type) or not issubclass(kind, RelativeTerm):
        allowed = "a class of penalties with alpha and fraction, such as L21 or L1Inf"
        raise ParameterError(sentence("shared", "dirty", allowed, repr(kind)))
    return kind(alpha, fraction=fraction)  # type: ignore[call-arg]


def dirty(
    alpha: float | None = None,
    own_alpha: float | None = None,
    *,
    shared: type[RelativeTerm] = L21,
    fraction: float | None = None,
) -> Parts:
    """Return features that all tasks use, plus single coefficients of tasks [1]_.

    W = U1 + U2 with ``alpha * sum_j ||U1_j||_2 + own_alpha * sum |U2|``, over features j; with
    ``shared=L1Inf``, as in [1]_, ``alpha * sum_j max_t |U1_jt|`` instead of the first term.

    For tasks that mostly use the same features while some use a few of their own: L21 alone
    lets all tasks pay for these, L1 alone forgets what is common. The part of L1 is empty for
    ``own_alpha >= alpha``; that of L21 for ``own_alpha <= alpha / sqrt(n_columns)``, and that of
    L1Inf for ``own_alpha <= alpha / n_columns``. Not where tasks differ a little in every
    feature (``toward_mean``), nor to predict with few rows: it has two strengths to tune.

    Parameters
    ----------
    alpha : float, default=None
        The strength of the shared part, >= 0; it needs own_alpha.
    own_alpha : float, default=None
        The strength of the tasks' own part, >= 0; it needs alpha.
    shared : class of penalties, default=L21
        What is penalised in the shared part: lengths of rows (``L21``), or their largest
        coefficients (``L1Inf``); any class that takes alpha and fraction.
    fraction : float, default=None
        Both strengths as a fraction in (0, 1] of those at which either part alone vanishes.
        Without any of the three it is 0.1.

    Returns
    -------
    Parts
        The shared part is the first.

    Raises
    ------
    ParameterError
        If one strength is given without the other, or a value is not allowed.

    References
    ----------
    .. [1] Jalali, A., Ravikumar, P., Sanghavi, S. and Ruan, C. (2010). A dirty model for
       multi-task learning. NeurIPS 23, Equation 3.

    Examples
    --------
    >>> from polytask.penalties import dirty
    >>> dirty(0.3, 0.2)
    Parts([L21(alpha=0.3), L1(alpha=0.2)])
    """
    _check_pair(alpha, own_alpha, "own_alpha", fraction, "dirty")
    return Parts([_made_by(shared, alpha, fraction), L1(own_alpha, fraction=fraction)])


def robust(
    alpha: float | None = None,
    outlier_alpha: float | None = None,
    *,
    fraction: float | None = None,
) -> Parts:
    """Return tasks that span few directions, except for outliers [1]_.

    W = U1 + U2 with alpha times the sum of singular values of U1, and ``outlier_alpha`` times
    the sum over tasks of ``||U2_t||_2``. The tasks whose second part is not zero do not fit in
    with the others: after a fit ``outlier_tasks_`` names them.

    For many tasks driven by a few common directions, some of which may be broken or from
    elsewhere. Not for few tasks, where neither part can be told from the other, nor to choose
    features.

    Parameters
    ----------
    alpha, outlier_alpha, fraction
        As in :func:`dirty`, alpha being the strength of the trace norm. No task is an outlier
        for ``outlier_alpha >= alpha * sqrt(number of columns of a task)``.

    Returns
    -------
    Parts
        The shared part is the first.

    References
    ----------
    .. [1] Chen, J., Zhou, J. and Ye, J. (2011). Integrating low-rank and group-sparse
       structures for robust multi-task learning. KDD, 42-50, Equation 3.

    Examples
    --------
    >>> from polytask.penalties import robust
    >>> robust(0.6, 0.4)
    Parts([TraceNorm(alpha=0.6), OutlierTasks(alpha=0.4)])
    """
    _check_pair(alpha, outlier_alpha, "outlier_alpha", fraction, "robust")
    shared = TraceNorm(alpha, fraction=fraction)
    return Parts([shared, OutlierTasks(outlier_alpha, fraction=fraction)])


def robust_features(
    alpha: float | None = None,
    outlier_alpha: float | None = None,
    *,
    fraction: float | None = None,
) -> Parts:
    """Return features that all tasks use, except for outliers, which use any [1]_.

    W = U1 + U2 with ``alpha * sum_j ||U1_j||_2`` over features j (rows), and ``outlier_alpha``
    times the sum over tasks of ``||U2_t||_2`` (columns). Outliers are named as by
    :func:`robust`.

    For tasks that use the same few features, some of which may be broken or from elsewhere:
    one outlier would otherwise bring in features for all. Not where tasks have a few features
    of their own (``dirty``).

    Parameters
    ----------
    alpha, outlier_alpha, fraction
        As in :func:`dirty`, alpha being the strength of the shared rows.

    Returns
    -------
    Parts
        The shared part is the first.

    References
    ----------
    .. [1] Gong, P., Ye, J. and Zhang, C. (2012). Robust multi-task feature learning. KDD,
       895-903, Equation 1.

    Examples
    --------
    >>> from polytask.penalties import robust_features
    >>> robust_features(fraction=0.2)
    Parts([L21(fraction=0.2), OutlierTasks(fraction=0.2)])
    """
    _check_pair(alpha, outlier_alpha, "outlier_alpha", fraction, "robust_features")
    return Parts([L21(alpha, fraction=fraction), OutlierTasks(outlier_alpha, fraction=fraction)])


def sparse_low_rank(
    alpha: float | None = None,
    low_rank_alpha: float | None = None,
    *,
    radius: float | None = None,
    fraction: float | None = None,
) -> Parts:
    """Return single coefficients plus a part in which tasks span few directions [1]_.

    W = U1 + U2 with ``alpha * sum |U1|``, and the singular values of U2 either penalised,
    ``low_rank_alpha`` times their sum, or constrained to add up to at most `radius`.

    For many tasks driven by a few common directions that involve all features, while each has
    a few features of its own. Not for few tasks or few features, where a matrix of few
    directions is no restriction.

    Parameters
    ----------
    alpha : float, default=None
        The strength of the sparse part, >= 0.
    low_rank_alpha : float, default=None
        The strength of the trace norm, >= 0; it needs alpha. No coefficient is in the sparse
        part for ``alpha >= low_rank_alpha``.
    radius : float, default=None
        The largest sum of singular values of the second part, > 0, instead of a strength: the
        constrained form. It is not a strength: multiples of the penalty, and paths of a search,
        keep it.
    fraction : float, default=None
        As in :func:`dirty`.

    Returns
    -------
    Parts
        The sparse part is the first.

    Raises
    ------
    ParameterError
        If alpha comes without low_rank_alpha and without a radius, low_rank_alpha together with
        a radius or without alpha, or a value is not allowed.

    References
    ----------
    .. [1] Chen, J., Liu, J. and Ye, J. (2012). Learning incoherent sparse and low-rank patterns
       from multiple tasks. ACM Transactions on Knowledge Discovery from Data 5, Equation 3.

    Examples
    --------
    >>> from polytask.penalties import sparse_low_rank
    >>> sparse_low_rank(0.2, radius=3.0)
    Parts([L1(alpha=0.2), TraceBall(radius=3.0)])
    """
    if radius is not None and low_rank_alpha is not None:
        raise ParameterError(
            "low_rank_alpha and radius of sparse_low_rank exclude each other; got "
            f"low_rank_alpha={low_rank_alpha!r} and radius={radius!r}."
        )
    sparse = L1(alpha, fraction=fraction)
    if radius is not None:
        return Parts([sparse, TraceBall(radius)])
    _check_pair(alpha, low_rank_alpha, "low_rank_alpha", fraction, "sparse_low_rank")
    return Parts([sparse, TraceNorm(low_rank_alpha, fraction=fraction)])
