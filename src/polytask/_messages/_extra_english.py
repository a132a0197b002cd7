"""What a comparison says about strength, rows and terms of a penalty, in English."""

from __future__ import annotations

from collections.abc import Mapping

from polytask._messages._forms import Plural, Template

EXTRA_ENGLISH: Mapping[str, Template] = {
    "section.strength": "How strong the penalty is",
    "section.learning": "Gain and rows to learn from",
    "section.ablation": "What each term of the penalty adds",
    # Error and coefficients against strength.
    "strength.said": (
        "The search of {model} chose {penalty}, with {kept} of {n} features. The strongest "
        "penalty within one standard error of the best score has the strength {strength} and "
        "keeps {fewer}."
    ),
    "strength.same": (
        "The search of {model} chose {penalty}, with {kept} of {n} features. No stronger penalty "
        "is within one standard error of the best score."
    ),
    "strength.note": (
        "From the search in the training part of the first split, strong penalties to the left. "
        "The band is one standard error on both sides."
    ),
    "strength.loss": "Held-out loss (scaled targets)",
    "strength.score": "Held-out {score}",
    "strength.sizes": "Size of the coefficients of each feature",
    "strength.across": "Strength of the penalty, from strong to weak",
    "strength.error_desc": "Line of the held-out score against strength, with marked strengths.",
    "strength.sizes_desc": "One line per feature against strength, with marked strengths.",
    "strength.chosen": "chosen",
    "strength.best": "best score",
    "strength.chosen_best": "chosen: best score",
    "strength.chosen_one_se": "chosen: one standard error",
    "strength.one_se": "one standard error",
    "strength.caption": "The path of {model}",
    "column.strength": "Strength",
    "column.standard_error": "Standard error",
    "column.kept": "Features left",
    "column.rank": "Rank",
    "column.mark": "",
    # What is left of the coefficients.
    "kept.caption": "What each penalty keeps, in the first split",
    "kept.note": (
        "Shares of the features and of the coefficients that are not zero. A rank is named where "
        "the matrix of coefficients is simpler than its zeros make it."
    ),
    "kept.none": "none to choose",
    "column.penalty": "Penalty",
    "column.features": "Features kept",
    "column.coefficients": "Coefficients kept",
    # Which choices mattered.
    "mattered.caption": "Which choices of the search mattered, {model}",
    "mattered.note": (
        "Each is moved alone from the choice, its strength chosen anew; the share is that of the "
        "variance of the held-out scores along it."
    ),
    "column.parameter": "Choice",
    "column.share": "Share",
    "column.spread": "Spread of scores",
    "column.tried": "Values tried",
    "choice.strength": "strength",
    "choice.penalty": "penalty",
    "choice.task_weight": "weights of tasks",
    "choice.intercept": "kind of intercepts",
    "choice.intercept_strength": "pull of intercepts",
    # The learning curve.
    "learning.said": (
        "With {few} rows per task, sharing gains {few_separate} over separate models and "
        "{few_pooled} over pooled ones; with {many} rows, {many_separate} and {many_pooled}."
    ),
    "learning.said_pooled": (
        "With {few} rows per task, sharing gains {few_pooled} over pooled models; with {many} "
        "rows, {many_pooled}."
    ),
    "learning.said_separate": (
        "With {few} rows per task, sharing gains {few_separate} over separate models; with "
        "{many} rows, {many_separate}."
    ),
    "learning.note": (
        "The chosen models, fitted anew on shares of the training rows of every task; the same "
        "rows are held out."
    ),
    "learning.upward": "Score, in {metric}",
    "learning.across": "Median training rows per task",
    "learning.desc": "Scores of separate, pooled and sharing models against rows per task.",
    "learning.caption": "Scores and gains by training rows per task, in {metric}",
    "learning.shared": "sharing",
    "learning.pooled": "pooled",
    "learning.separate": "separate",
    "column.train_rows": "Rows per task",
    "column.separate": "Separate",
    "column.pooled": "Pooled",
    "column.shared": "Sharing",
    "column.over_separate": "Gain over separate",
    "column.over_pooled": "Gain over pooled",
    # Leaving out a term.
    "ablation.adds": "{term} adds {amount}.",
    "ablation.harms": "{model} is better without {term}: {amount}.",
    "ablation.unclear": "Whether {term} adds anything cannot be told: {amount}.",
    "ablation.note": (
        "The penalty of {model} against the same search without one of its terms, the strength "
        "of the rest chosen anew, on the same splits."
    ),
    "ablation.caption": "What each term adds, in {metric}",
    "ablation.term": "{term}, over the penalty without it",
    # Unfinished work.
    "warn.extras": Plural(
        "done",
        "Not finished: fits beyond the verdict are missing. The verdict, from 1 split, stands.",
        "Not finished: fits beyond the verdict are missing. The verdict, from {done} splits, "
        "stands.",
    ),
}
