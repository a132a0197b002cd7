"""What other packages use of the learned priors: of labels, and of several groupings."""

from polytask.linear._bayes_groupings import GroupedTasks, likelihood_in_units
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
    "GroupedTasks",
    "LaplaceFit",
    "LinkedUnits",
    "against_the_rest",
    "label_rows",
    "likelihood_in_units",
    "posterior_of",
    "quantiles",
]
