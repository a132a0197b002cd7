"""The data term of blocks of rows, by what kind of losses they have."""

from __future__ import annotations

from polytask.datafits.blocks import Block, ScalarBlock
from polytask.datafits.intercepts import Intercepts
from polytask.datafits.piecewise_linear import PiecewiseLinearSamples
from polytask.datafits.samples import Samples
from polytask.datafits.square_root import SquareRootDatafit
from polytask.datafits.squares import RowSquares
from polytask.exceptions import IncompatibleError
from polytask.losses import PiecewiseLinear
from polytask.messages import LazyMessage, with_and


def on_rows(
    blocks: tuple[Block, ...], intercepts: Intercepts, n_features: int, n_columns: int
) -> Samples | PiecewiseLinearSamples | SquareRootDatafit:
    """Return the data term of blocks: some losses have kinks, some take the root of a task.

    Parameters
    ----------
    blocks : tuple of Block
        Every column of W belongs to exactly one.
    intercepts : Intercepts
        What b may be; none is shared between blocks of different kinds.
    n_features, n_columns : int
        Shape of W.

    Raises
    ------
    IncompatibleError
        If losses with kinks stand beside losses that take a root.
    """
    shape = n_features, n_columns
    scalar = [block for block in blocks if isinstance(block, ScalarBlock)]
    piecewise = tuple(block for block in scalar if isinstance(block.loss, PiecewiseLinear))
    square_root = tuple(block for block in scalar if block.loss.takes_root)
    if piecewise and square_root:
        pair = [repr(piecewise[0].loss.name), repr(square_root[0].loss.name)]
        fields = {"names": with_and(pair)}
        raise IncompatibleError(LazyMessage("datafit.refusal.losses_together", fields))
    apart = piecewise or square_root
    if not apart:
        return Samples(blocks, intercepts, *shape)
    others = tuple(block for block in blocks if not any(block is own for own in apart))
    rest = Samples(others, intercepts, *shape) if others else None
    if piecewise:
        return PiecewiseLinearSamples(piecewise, rest, intercepts, *shape)
    return SquareRootDatafit(RowSquares(square_root, others, *shape), rest, intercepts)
