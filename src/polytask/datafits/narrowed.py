"""The data term on samples, of the features with coefficients that are not zero."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from polytask.datafits.blocks import Block, ClassesBlock, ScalarBlock
from polytask.datafits.designs import Features, Index
from polytask.datafits.samples import Samples


def narrowed(samples: Samples, used: Index) -> Samples:
    """Return the data term of some features, the coefficients of the others being zero.

    Parameters
    ----------
    samples : Samples
        Of all features.
    used : ndarray of int
        Which features.

    Returns
    -------
    Samples
    """
    known: dict[int, Features] = {}
    blocks = tuple(_narrowed(block, used, known) for block in samples.blocks)
    return Samples(blocks, samples.intercepts, len(used), samples.n_columns)


def _narrowed(block: Block, used: Index, known: dict[int, Features]) -> Block:
    if not isinstance(block, ScalarBlock | ClassesBlock):
        raise TypeError(f"a {type(block).__name__} is made of something else than features")
    whole = block.design.features
    if id(whole) not in known:
        known[id(whole)] = _columns(whole, used)
    design = replace(block.design, features=known[id(whole)])
    return replace(block, design=design)  # type: ignore[arg-type]


def _columns(features: Features, used: Index) -> Features:
    offset = None if features.offset is None else features.offset[used]
    if sp.issparse(features.matrix):
        # The transpose by features is at hand wherever a solver has worked with it.
        return Features(sp.csr_array(features.turned[used].T.tocsr()), offset)
    return Features(np.asarray(features.matrix)[:, used], offset)
