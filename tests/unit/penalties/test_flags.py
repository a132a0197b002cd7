"""What a penalty says of itself wrongly is found by `check_penalty`."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from polytask.penalties import L2, L21, AlongTime, ElasticNet, TraceNorm
from polytask.testing import check_penalty
from polytask.testing._points import resolved_case
from polytask.testing.penalty_laws import check_flags


@dataclass(frozen=True, eq=False, repr=False)
class SignsMatter(AlongTime):
    """It penalises differences of tasks, which depend on signs."""

    ignores_signs = True


def test_a_penalty_of_differences_does_not_ignore_signs():
    with pytest.raises(AssertionError, match=r"ignores_signs: value\(\|W\|\) is value\(W\)"):
        check_penalty(SignsMatter(0.5))


@pytest.mark.parametrize(
    ("penalty", "flag", "value", "law"),
    [
        (L2(0.5), "is_norm", True, "is_norm: value"),
        (L21(0.5), "shares", (1.0, 0.0, 0.0), "shares: value"),
        (ElasticNet(0.5), "shares", (0.5, 0.5, 0.0), "shares: value"),
        (TraceNorm(0.5), "by_entry", True, "by_entry: value"),
    ],
    ids=["a square is no norm", "L21 is not L1", "the ridge is none of lengths", "no entries"],
)
def test_wrong_flags_are_found(monkeypatch, penalty, flag, value, law):
    case = resolved_case(penalty, None, 0)
    check_flags(case)
    monkeypatch.setattr(type(case.subject), flag, value)
    with pytest.raises(AssertionError, match=law):
        check_flags(case)
