"""What is said of the relatedness of tasks, in English."""

from __future__ import annotations

from collections.abc import Mapping

from polytask._messages._forms import Plural, Template

RELATED_ENGLISH: Mapping[str, Template] = {
    # The opening.
    "related.yes": "The tasks are related ({p}): {shares}.",
    "related.no": "It cannot be shown that the tasks are related ({p}).",
    "related.no_shares": "The tasks are related ({p}).",
    "related.nothing": (
        "Nothing can be said of relatedness: fewer than two tasks have rows that differ in "
        "features and target."
    ),
    "related.model": "In this model {shares}.",
    "related.model_nothing": (
        "Nothing can be said of relatedness: fewer than two tasks have coefficients other than 0."
    ),
    "related.gradients": (
        "In training the gradients of two tasks had a cosine of {value} on average, relative to "
        "those of each task with itself."
    ),
    "related.affinity": (
        "In training a step for one task did to the loss of another {value} of what a step for "
        "that task itself did, on average."
    ),
    "related.training_nothing": (
        "Nothing can be said of relatedness: fewer than two tasks were in the batches recorded."
    ),
    "related.shares": (
        "of what the features do, {common} is common to all tasks, {clustered} to groups of them, "
        "and {own} each task's own"
    ),
    "related.p": "p = {value}",
    "related.p_least": "p ≤ {value}",
    "related.effective": Plural(
        "n",
        "1 task has something to say.",
        "Effective number of tasks: {value} of {n}.",
    ),
    # What else.
    "related.aspects": "What they have in common: {names}.",
    "related.aspect.direction": "effects of like sign",
    "related.aspect.structure": "effects along the same directions, with either sign",
    "related.aspect.features": "the features that matter",
    "related.pairs_most": "Most alike: {pairs}.",
    "related.pairs_least": "Least alike: {pairs}.",
    "related.pair": "{first} and {second} ({value})",
    "related.groups": Plural("n", "1 group is suggested: {groups}.", "{n} groups: {groups}."),
    "related.group": "({names})",
    "related.no_groups": "There are no clear groups.",
    "related.shared": "Much the same in all tasks: {names}.",
    "related.varying": "Different from task to task: {names}.",
    "related.level": (
        "The tasks' levels (intercepts) are a matter of their own: {share} of the variance of the "
        "target lies between the tasks' means."
    ),
    "related.silent": Plural(
        "n",
        "1 task says nothing: its rows do not differ, in features or in the target.",
        "{n} tasks say nothing: their rows do not differ, in features or in the target.",
    ),
    "related.silent_model": Plural(
        "n", "1 task has coefficients 0 only.", "{n} tasks have coefficients 0 only."
    ),
    "related.silent_training": Plural(
        "n",
        "1 task was in none of the batches recorded.",
        "{n} tasks were in none of the batches recorded.",
    ),
    "related.units": (
        "Coefficients are compared as they are, in the units of the features: the model was "
        "fitted without standardize=True."
    ),
    # The page.
    "related.title": "{headline}: relatedness by polytask",
    "related.headline.yes": "The tasks are related",
    "related.headline.no": "The tasks need not be related",
    "related.headline.nothing": "Nothing can be said of relatedness",
    "related.headline.model": "What the tasks of this model share",
    "related.headline.training": "How the tasks went together in training",
    "related.section.shares": "Common, clustered, own",
    "related.section.map": "Who is like whom",
    "related.section.tasks": "Tasks",
    "related.section.features": "Features",
    "related.section.method": "How it was judged",
    "related.shares.common": "common to all tasks",
    "related.shares.clustered": "common to groups",
    "related.shares.own": "each task's own",
    "related.shares.note": (
        "Shares of the variance of predictions that the features explain, noise taken out."
    ),
    "related.shares.note_model": "Shares of the squared coefficients.",
    "related.map.note": (
        "Correlations of the tasks' effects. Blue: alike, orange: opposite. Neighbours are "
        "alike; the tree joins tasks at the height of their mean distance. Noise draws the "
        "correlations of tasks with few rows toward 0."
    ),
    "related.map.note_model": (
        "Correlations of the tasks' coefficients. Blue: alike, orange: opposite. Neighbours are "
        "alike; the tree joins tasks at the height of their mean distance."
    ),
    "related.map.note_gradients": (
        "Mean cosines of the tasks' gradients in training, relative to those of each task with "
        "itself. Blue: alike, orange: opposite. Neighbours are alike; the tree joins tasks at the "
        "height of their mean distance. A task whose gradients differ from batch to batch as "
        "noise does is like no other."
    ),
    "related.map.note_affinity": (
        "What steps for one task did to the loss of the other, both ways, relative to steps for "
        "the tasks themselves. Blue: they help, orange: they harm each other. Neighbours are "
        "alike; the tree joins tasks at the height of their mean distance."
    ),
    "related.map.bins": (
        "{n} tasks in runs of neighbours: each cell is the mean of two runs. {cells} runs, named "
        "after their first task."
    ),
    "related.map.cut": "Of {n} tasks, the {k} with the most rows are on the map.",
    "related.map.chart": "Map of the correlations of tasks, neighbours alike",
    "related.map.table": "Pairs of tasks",
    "related.tasks.caption": "Tasks, closest to the others first",
    "related.features.caption": "Features with the largest effects",
    "related.features.note": (
        "Mean coefficient of features of equal spread, on targets of spread 1, and how much it "
        "differs between tasks."
    ),
    "related.features.note_model": (
        "Mean coefficient and how much it differs between tasks, in the units of the model."
    ),
    "related.kind.shared": "shared",
    "related.kind.varying": "varying",
    "related.column.closeness": "Mean correlation",
    "related.column.nearest": "Most like",
    "related.column.similarity": "Correlation",
    "related.column.group": "Group",
    "related.column.first": "Task",
    "related.column.second": "and task",
    "related.column.mean": "Mean",
    "related.column.spread": "Spread between tasks",
    "related.column.kind": "Kind",
    "related.method.null": (
        "The test: if each task drew its effects by itself, with no sign preferred along any "
        "axis of its features, then every choice of signs would be as likely as the one seen. "
        "Compared with {n} random choices; seed {seed}."
    ),
    "related.method.part": "{aspect}: {p}",
    "related.method.gradients": (
        "Recorded while a network was trained: cosines between the gradients of the tasks, "
        "averaged over the steps recorded, relative to those of each task with itself from one "
        "batch to the next (correction for attenuation, Spearman 1904)."
    ),
    "related.method.affinity": (
        "Recorded while a network was trained: how the loss of each task changes by a step on the "
        "shared layers for another one, averaged over the steps recorded (Fifty et al. 2021)."
    ),
    "related.method.model": (
        "From the coefficients of a fitted model; what they share may come from its penalty or "
        "prior. Whether tasks are related at all is tested on data."
    ),
}
