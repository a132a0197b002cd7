"""Task weights while a network trains, and `backward`, which applies them in any loop.

Balancers of losses: :class:`Equal` (the default), :class:`Fixed`, :class:`GeometricMean`,
:class:`RandomWeights`, :class:`STCH`, :class:`Uncertainty`, :class:`IMTLL`, :class:`DWA`,
:class:`FAMO`; of held-out losses too: :class:`AutoLambda`. Balancers of gradients:
:class:`GradNorm`, :class:`MGDA`, :class:`PCGrad`, :class:`CAGrad`, :class:`IMTLG`,
:class:`Nash`, :class:`Aligned`, :class:`UPGrad`, and :class:`TorchJD` for others.
Weights are on the scale of the objective, the sum over tasks:
where a method treats the tasks alike, each weighs 1.
"""

from __future__ import annotations

from polytask.deep.balancing._backward import backward
from polytask.deep.balancing.base import (
    AnyBalancer,
    GradientBalancer,
    LossBalancer,
    Observer,
    State,
    StatefulBalancer,
    ValidationObserver,
    balance_of,
)
from polytask.deep.balancing.cones import MGDA, CAGrad, PCGrad, UPGrad
from polytask.deep.balancing.formulas import (
    IMTLG,
    STCH,
    Aligned,
    Equal,
    Fixed,
    GeometricMean,
    Nash,
    RandomWeights,
    TorchJD,
)
from polytask.deep.balancing.learned import DWA, FAMO, IMTLL, AutoLambda, GradNorm, Uncertainty
from polytask.deep.balancing.routes import (
    LinearHeads,
    OwnInputs,
    OwnRows,
    Parameters,
    Route,
    Shared,
    fan_out,
)

__all__ = [
    "backward",
    "StatefulBalancer",
    "balance_of",
    "AnyBalancer",
    "LossBalancer",
    "GradientBalancer",
    "Observer",
    "ValidationObserver",
    "State",
    "Equal",
    "Fixed",
    "GeometricMean",
    "RandomWeights",
    "STCH",
    "Uncertainty",
    "IMTLL",
    "DWA",
    "FAMO",
    "AutoLambda",
    "GradNorm",
    "MGDA",
    "PCGrad",
    "CAGrad",
    "IMTLG",
    "Nash",
    "Aligned",
    "UPGrad",
    "TorchJD",
    "Route",
    "Shared",
    "LinearHeads",
    "OwnInputs",
    "OwnRows",
    "Parameters",
    "fan_out",
]

# Its name in 0.1.
Balance = StatefulBalancer
