"""Which separate or pooled model the training rows chose in each split, and how both did there."""

from __future__ import annotations

import math
from typing import NamedTuple

from polytask.comparison.amounts import metric_word
from polytask.comparison.boards import ruling_family
from polytask.comparison.records import Findings, ModelRow
from polytask.messages import Translator, plain_number


class PlainChoice(NamedTuple):
    """The model that was chosen in one split, and the best of the other kind, by inner scores."""

    split: int
    chosen: ModelRow
    other: ModelRow
    # By how much the other one scored better on the held-out rows.
    lost: float


def plain_choices(result: Findings) -> list[PlainChoice]:
    """Return what was chosen in each split; nothing where there is one kind only."""
    sign = 1.0 if result.setup.greater_is_better else -1.0
    tried = [row for row in result.models if row.inner and math.isfinite(row.score.mean)]
    ruling = ruling_family(row for row in result.models if row.left_out is None)
    kinds = [
        [row for row in tried if row.kind == kind and row.family == ruling]
        for kind in ("separate", "pooled")
    ]
    if not all(kinds):
        return []
    found = []
    for k in range(min(len(row.inner) for row in tried)):
        best = [max(rows, key=lambda row: sign * row.inner[k]) for rows in kinds]
        chosen, other = sorted(best, key=lambda row: -sign * row.inner[k])
        found.append(PlainChoice(k, chosen, other, sign * (other.splits[k] - chosen.splits[k])))
    return found


def swapped_words(result: Findings, say: Translator) -> str:
    """Say in how many splits the chosen model scored worse, and by how much this raises a gain."""
    choices = plain_choices(result) if result.gain.above else []
    lost = [one.lost for one in choices if one.lost > 0]
    if not lost:
        return ""
    fields: dict[str, str | int] = {"n": len(lost), "all": result.setup.n_splits}
    fields["amount"] = plain_number(sum(lost) / len(choices), 2)
    return say("sure.swapped", fields | {"measure": metric_word(result.setup, say)})
