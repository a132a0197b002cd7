"""What others use of the learned prior of classes, counts and amounts."""

from polytask.linear._bayes_intervals import quantiles
from polytask.linear._bayes_laplace_fit import (
    MANY_FEATURES,
    LaplaceFit,
    LinkedUnits,
    against_the_rest,
    label_rows,
    posterior_of,
)

__all__ = [
    "MANY_FEATURES",
    "LaplaceFit",
    "LinkedUnits",
    "against_the_rest",
    "label_rows",
    "posterior_of",
    "quantiles",
]
