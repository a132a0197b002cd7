"""Laws that losses, penalties, datafits and solvers obey, also those from outside."""

from __future__ import annotations

from polytask.testing.loss_laws import check_loss
from polytask.testing.penalty_laws import check_penalty

__all__ = ["check_loss", "check_penalty"]
