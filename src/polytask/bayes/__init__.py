"""The learned prior: structures of covariance, marginal likelihood, posterior, evidence."""

from polytask.bayes.prior import Diagonal, Full, LowRank, NoVariation, Prior, Scalar, Structure

__all__ = ["Diagonal", "Full", "LowRank", "NoVariation", "Prior", "Scalar", "Structure"]
