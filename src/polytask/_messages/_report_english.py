"""What only a report says, in English."""

from __future__ import annotations

from collections.abc import Mapping

from polytask._messages._forms import Plural, Template

REPORT_ENGLISH: Mapping[str, Template] = {
    "page.lang": "en",
    "page.title": "{headline}: a comparison by polytask",
    "page.skip": "Skip to the verdict",
    "page.nav": "On this page",
    "page.scroll": "{what}, scrolls sideways",
    "page.caption": "{caption}. {note}",
    "page.sort": "Sort by this column",
    "page.words": (
        "Separate: one model per task. Pooled: one model for all tasks. Sharing: one model per "
        "task, learned together."
    ),
    "count.tasks": Plural("n", "1 task", "{n} tasks"),
    "count.rows": Plural("n", "1 row", "{n} rows"),
    "count.features": Plural("n", "1 feature", "{n} features"),
    "count.models": Plural("n", "1 model", "{n} models"),
    "count.splits": Plural("n", "1 split", "{n} splits"),
    # Sections.
    "section.do": "What to do",
    "section.why": "What the verdict rests on",
    "section.models": "Models",
    "section.tasks": "Gain of each task",
    "section.size": "Gain and rows per task",
    "section.two": "Shrinkage and sharing told apart",
    "section.features": "What the tasks share",
    "section.card": "Data and method",
    "section.warnings": "Notes",
    "section.repeat": "Run it again",
    "table.show": "The same numbers as a table",
    # Groups of tasks.
    "group.gain": "gains",
    "group.lose": "loses",
    "group.unclear": "undecided",
    "group_of.gain": "gain",
    "group_of.lose": "lose",
    "group_of.unclear": "undecided",
    "verb.share": "share",
    "verb.separate": "keep separate",
    "verb.pool": "pool",
    "verb.collect": "collect more data",
    "verb.any": "as for all tasks",
    "kind.separate": "separate",
    "kind.pooled": "pooled",
    "kind.shared": "sharing",
    "kind.other": "your own",
    "family.linear": "linear",
    "family.trees": "trees",
    "family.deep": "network",
    "family.reference": "reference",
    "family.user": "your own",
    # What the verdict rests on.
    "why.caption": "Differences on held-out rows, in {metric}",
    "why.note": "Right of zero is better. Lines are 95% intervals.",
    "why.sharing": "Sharing, over the better of separate and pooled",
    "why.pooling": "One model for all, over one per task",
    "why.trees": "Trees, over the model of the verdict",
    "why.networks": "Networks, over the model of the verdict",
    "why.networks_sharing": "Sharing among networks, over the better of separate and pooled",
    "column.difference": "Difference",
    "column.gain": "Gain",
    "column.low": "Low",
    "column.high": "High",
    # Models.
    "models.note": (
        "All models are scored on the same held-out rows. Lines are 95% intervals; scores on the "
        "same rows rise and fall together, so models with overlapping lines may still differ. "
        "The recommended model is marked."
    ),
    "models.scores": "Scores, in {metric}",
    "models.metrics": "Further metrics, means over the splits",
    "models.costs": "What the models cost",
    "models.note_of": "{model}: {note}",
    # Why a model is not tried.
    "left_out.unseen": "a model per task cannot predict a task that it has not seen",
    "left_out.one_estimator": "one estimator cannot be for numbers and for classes",
    "left_out.pooled_kinds": "targets of several kinds cannot be pooled",
    "left_out.learned_kinds": "a learned prior is for targets of one kind",
    "left_out.learned_loss": "a learned prior is for the squared and the logistic loss",
    "left_out.learned_wide": (
        "the time of a learned prior grows with the cube of the features: up to {most} are "
        "tried, these are {features}"
    ),
    "left_out.boosting_sparse": "histogram boosting takes no sparse X",
    "left_out.boosting_rows": (
        "boosting per task needs about {least} rows per task, the median task has {rows}"
    ),
    "models.none": "No model was run.",
    "models.undefined": Plural("n", "{value} (1 undefined)", "{value} ({n} undefined)"),
    "models.undefined_note": (
        "Undefined: scores of single tasks that could not be computed, over all splits; they "
        "are left out of the mean."
    ),
    "column.model": "Model",
    "column.kind": "Kind",
    "column.family": "Made of",
    "column.score": "Score",
    "column.picked": "Chosen by the rule, splits",
    "column.fit_seconds": "CPU seconds per fit",
    "column.predict_seconds": "Seconds per 1,000 predictions",
    "column.nonzero": "Non-zero parameters",
    "column.file_bytes": "File size",
    # Tasks.
    "tasks.none": "No task could be judged.",
    "tasks.note": (
        "Gain of sharing over not sharing, in {metric}. Lines are 95% intervals. Gains are "
        "drawn toward their mean, more where a task has few rows."
    ),
    "tasks.cut": "Shown: the {half} largest and the {half} smallest of {n} gains.",
    "tasks.skipped": Plural("n", "1 task in between", "{n} tasks in between"),
    "tasks.caption": "Gain of each task, in {metric}",
    "tasks.chart": "Chart of the gain of each task with its interval",
    "tasks.groups": "Tasks by what can be told of them",
    "column.task": "Task",
    "column.rows": "Rows",
    "column.raw": "Gain before shrinkage",
    "column.group": "Group",
    "column.action": "Action",
    "column.more_rows": "More data that would decide",
    # Gain and size.
    "size.across": "Labelled rows of the task",
    "size.upward": "Gain, in {metric}",
    "size.desc": (
        "One point per task with its interval. The numbers are those of the table of tasks."
    ),
    "size.note": "Small tasks usually have the most to gain and the widest intervals.",
    # Shrinkage and sharing.
    "two.caption": "Score by what is done, in {metric}",
    "two.note": (
        "A tuned penalty alone often helps small tasks. Only what joint learning adds to it is "
        "sharing."
    ),
    "two.rows.separate": "One model per task",
    "two.rows.joint": "Learned together",
    "two.none": "No penalty",
    "two.tuned": "Tuned penalty",
    "two.gains": "Gains, in {metric}",
    "two.shrinkage": "Shrinkage: one model per task, penalty tuned, over no penalty",
    "two.sharing": "Sharing: learned together, over one model per task, both tuned",
    # Coefficients.
    "features.note": (
        "Coefficients of {model}, fitted to all rows, on features of equal spread. Blue raises "
        "the prediction, orange lowers it. A row of one colour is a feature that works alike in "
        "all tasks."
    ),
    "features.cut": "Shown: {rows} of {all_rows} features and {columns} of {all_columns} columns.",
    "features.chart": "Map of coefficients, features down, tasks across",
    "features.caption": "Coefficients on features of equal spread",
    "column.feature": "Feature",
    # Data and method.
    "card.caption": "What was compared, and how",
    "card.rows": "Rows",
    "card.tasks": "Tasks",
    "card.features": "Features",
    "card.form": "Form of the data",
    "card.problem": "Problem",
    "card.metric": "Metric of the verdict",
    "card.splits": "Splits",
    "card.rule": "Rule",
    "card.margin": "Margin: a smaller difference does not matter",
    "card.weighted": "Row weights",
    "card.seed": "Seed",
    "card.seconds": "Time",
    "card.rows_per_task": "{n}; per task {low} to {high}, median {median}",
    "card.rows_equal": "{n}; {each} per task",
    "card.n_splits": "{done} of {planned}; {how}",
    "card.rule_text": (
        "In every training part, inner splits choose the best sharing model and the best of "
        "the separate and pooled ones. Their paired difference on the held-out rows decides: "
        "share if its 95% interval lies above 0, no more than the simpler model if its 90% "
        "interval lies within the margin."
    ),
    "card.yes": "yes",
    "card.no": "no",
    "card.time": "{value} s",
    "form.long": "one row per observation, with its task",
    "form.targets": "one column of targets per task",
    "form.separate": "one table per task",
    "problem.regression": "regression",
    "problem.classification": "classification",
    "problem.mixed": "regression and classification",
    "splits.within": "folds of the rows of every task, each row held out once",
    "splits.grouped": "whole groups of rows held out",
    "splits.time": "trained on the past, tested on what follows",
    "splits.unseen": "whole tasks held out",
    "splits.given": "as given",
    "means.d2": "{metric}: 1 is perfect, 0 is as good as the mean of the training rows",
    "means.d2.classification": (
        "{metric}: 1 is perfect, 0 is as good as the class shares of the training rows"
    ),
    "means.more": "{metric}, more is better",
    "means.less": "{metric}, less is better",
    # The rest.
    "notes.none": "Nothing to report.",
    "repeat.call": "The call",
    "repeat.lock": "Seed, data, versions and settings",
    "repeat.note": "What polytask rerun reads.",
    # Short names of metrics, for the heads of tables.
    "short.d2": "D2",
    "short.r2": "R2",
    "short.r2_within": "R2 within tasks",
    "short.mse": "MSE",
    "short.rmse": "RMSE",
    "short.mae": "MAE",
    "short.deviance": "Mean loss",
    "short.accuracy": "Accuracy",
    "short.majority": "Majority rate",
    "short.auc": "AUC",
    "short.average_precision": "Average precision",
    "short.log_loss": "Log loss",
    "short.brier": "Brier score",
    "short.calibration": "Calibration error",
}
