"""What a combination is, in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from polytask.messages import LazyMessage, Translator
from polytask.selection.auto.calibration import AS_GIVEN
from polytask.selection.auto.fitting import AutoRow, Combination
from polytask.selection.auto.mixing import OF_MEANS
from polytask.selection.auto.weighing import TOO_LATE, kind_to_lean_to
from polytask.selection.entries import what_is

# What a task's weights must differ by to be worth a word.
_LEANS = 0.1


def explain(found: Combination, speech: Translator) -> list[str]:
    """Say what was chosen and why."""
    known = [row for row in found.rows if not row.note]
    stopped = [row for row in found.rows if row.stopped]
    partly = [row.name for row in found.rows if row.note and row.folds and not row.stopped]
    late = bool(partly) or any(row.said and row.said["key"] == TOO_LATE for row in found.rows)
    sentences = [speech("auto.nothing")] if is_of_no_use(found.rows) else []
    sentences.append(_best(known, len(stopped), found, speech, late=late))
    if found.unfitted:
        names = speech.listed([speech.quoted(name) for name in found.unfitted])
        sentences.append(speech("auto.unfitted", {"n": len(found.unfitted), "names": names}))
    sentences.append(_combined(found, known, speech, late=late))
    if np.isfinite(found.pull) and len(found.members) > 1:
        sentences.append(_by_task(found, speech))
    sentences += [_scaled(found, speech), _kinds(known, speech)]
    if stopped:
        names = speech.listed([speech.quoted(row.name) for row in stopped])
        sentences.append(speech("auto.behind", {"n": len(stopped), "names": names}))
    missing = len(found.rows) - len(known) - len(stopped) - len(partly)
    if missing:
        sentences.append(speech("auto.missing", {"n": missing}))
    if partly:
        names = speech.listed([speech.quoted(name) for name in partly])
        sentences.append(speech("auto.partly", {"n": len(partly), "names": names}))
    elif found.stopped and not found.unfitted:
        sentences.append(speech("auto.stopped"))
    return [sentence for sentence in sentences if sentence]


def is_of_no_use(rows: Sequence[AutoRow]) -> bool:
    """Say whether no candidate predicts better than the mean of the training rows."""
    known = [row.score for row in rows if not row.note]
    return bool(known) and max(known) <= 0


def reasons(model: Any, speech: Translator) -> list[tuple[str, bool, str]]:  # noqa: ANN401
    """Return the candidates of a fitted model without weight, whether stopped, and why."""
    return [
        (
            row.name,
            bool(row.stopped),
            LazyMessage(**row.said).text(speech) if row.said else speech.text(row.note),
        )
        for row in model._rows
        if row.note
    ]


def _best(
    known: list[AutoRow], stopped: int, found: Combination, speech: Translator, *, late: bool
) -> str:
    best = known[0]
    fields: dict[str, str | int] = {
        "n": len(known) + stopped,
        "name": speech.quoted(best.name),
        "what": what_is(best.name, best.kind, found.groupings, speech),
        "score": speech.number(best.score, 3),
    }
    return speech("auto.best_in_time" if late else "auto.best", fields)


def _combined(found: Combination, known: list[AutoRow], speech: Translator, *, late: bool) -> str:
    if len(found.members) == 1:
        name = next(iter(found.members))
        means = any(row.name == name and row.family == OF_MEANS for row in known)
        key = "auto.alone_in_time" if late else "auto.means" if means else "auto.alone"
        return speech(key, {"name": speech.quoted(name)})
    parts = sorted(known, key=lambda row: -row.weight)
    shares = [_share(row, speech) for row in parts if row.name in found.members]
    score = speech.number(found.score, 3)
    return speech("auto.mixed", {"parts": speech.listed(shares), "score": score})


def _share(row: AutoRow, speech: Translator) -> str:
    """Give the weight of a member; one that only some tasks use has next to none on average."""
    percent = round(100 * row.weight)
    if percent == 0:
        return speech("auto.part_small", {"name": speech.quoted(row.name)})
    return speech("auto.part", {"name": speech.quoted(row.name), "percent": percent})


def _by_task(found: Combination, speech: Translator) -> str:
    apart = np.abs(found.by_task - found.shared).max(axis=1) > _LEANS
    fields = {"pull": int(found.pull), "leaning": int(apart.sum()), "n": len(apart)}
    return speech("auto.by_task", fields)


def _scaled(found: Combination, speech: Translator) -> str:
    """Name the members whose probabilities are not taken as they are."""
    parts = [
        speech(
            "auto.bolder" if row.calibration.boldness > 1.0 else "auto.more_careful",
            {
                "name": speech.quoted(row.name),
                "boldness": speech.number(row.calibration.boldness, 2),
            },
        )
        for row in found.rows
        if row.name in found.members and row.calibration != AS_GIVEN
    ]
    return speech("auto.scaled", {"parts": speech.listed(parts)}) if parts else ""


def _kinds(known: list[AutoRow], speech: Translator) -> str:
    """Compare the best of each kind."""
    best: dict[str, AutoRow] = {}
    for row in known:
        best.setdefault(kind_to_lean_to(row.kind, row.family), row)
    if len(best) < 2:
        return ""
    shares = [
        speech(
            "auto.kind",
            {
                "kind": speech(f"auto.kind.{kind}"),
                "name": speech.quoted(row.name),
                "score": speech.number(row.score, 3),
            },
        )
        for kind, row in best.items()
    ]
    return speech("auto.kinds", {"parts": speech.listed(shares)})
