"""What is said of an automatic choice, in English."""

from __future__ import annotations

from collections.abc import Mapping

from polytask._messages._forms import Plural, Template

AUTO_ENGLISH: Mapping[str, Template] = {
    "auto.best": Plural(
        "n",
        "One candidate was tried: {name} explains {score} of the loss on rows that it had not "
        "seen.",
        "Of {n} candidates {name} predicts best: it explains {score} of the loss on rows that it "
        "had not seen.",
    ),
    "auto.alone": (
        "Only {name} is used: no combination of candidates predicts better beyond chance."
    ),
    "auto.mixed": (
        "A combination is used, which explains {score} on folds that had no part in its weights: "
        "{parts}."
    ),
    "auto.part": "{name} {percent}%",
    "auto.part_small": "{name} under 1%",
    "auto.by_task": (
        "Tasks have weights of their own, their rows weighed against {pull} rows of the average "
        "task: {leaning} of {n} tasks lean to other models than the average task does."
    ),
    "auto.scaled": (
        "Probabilities are scaled before they are used, for held-out rows are then predicted "
        "better: {parts}."
    ),
    "auto.bolder": "{name} bolder (odds to the power {boldness})",
    "auto.more_careful": "{name} more careful (odds to the power {boldness})",
    "auto.kinds": "The best of each kind: {parts}.",
    "auto.kind": "{kind}: {name} ({score})",
    "auto.kind.separate": "separate",
    "auto.kind.pooled": "pooled",
    "auto.kind.shared": "sharing",
    "auto.kind.trees": "trees",
    "auto.kind.deep": "networks",
    "auto.kind.other": "other",
    "auto.missing": Plural(
        "n",
        "1 candidate was left out or failed; the leaderboard says why.",
        "{n} candidates were left out or failed; the leaderboard says why.",
    ),
    "auto.unfitted": (
        "There was not time to fit {names} on all rows, although held-out rows are predicted best "
        "with it: only models that were fitted in time are used, and predict worse."
    ),
    "auto.stopped": "There was not time for all candidates.",
    "left_out.time": "there was not time for it",
    "left_out.forest_gaps": "a joint forest takes a target matrix without gaps",
    "left_out.forest_form": "forests are tried for target matrices only",
    "left_out.forest_whole": "a joint forest takes this target matrix, which has no gaps",
}
