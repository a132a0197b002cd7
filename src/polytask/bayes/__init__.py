"""The learned prior: structures of covariance, marginal likelihood, posterior, evidence."""

from polytask.bayes.prior import Prior
from polytask.bayes.structures import Diagonal, Full, LowRank, NoVariation, Scalar, Structure

__all__ = ["Diagonal", "Full", "LowRank", "NoVariation", "Prior", "Scalar", "Structure"]
