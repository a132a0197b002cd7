"""What polytask says, in English."""

from __future__ import annotations

from collections.abc import Mapping

from polytask.messages.forms import Plural, Template

ENGLISH: Mapping[str, Template] = {
    # Numbers and lists.
    "number.missing": "n/a",
    "number.interval": "{mean} ({low} to {high})",
    "number.alone": "{mean} (no interval)",
    "number.percent": "{value}%",
    "list.comma": ", ",
    "list.semicolon": "; ",
    "list.sentence": " ",
    "list.more": Plural("n", "{names} and 1 more", "{names} and {n} more"),
    # The verdict: a headline, what it rests on, and both in one sentence.
    "headline.share": "Share: learn the tasks together",
    "headline.separate": "Separate: one model per task",
    "headline.pool": "Pool: one model for all tasks",
    "headline.no practical difference": "No practical difference",
    "headline.inconclusive": "Inconclusive",
    "headline.none": "No verdict yet",
    "headline.perfect": "The target has no variation left to explain",
    "verdict": "{headline}. {detail}",
    "rival.both": "the better of separate and pooled models",
    "rival.separate": "separate models",
    "rival.pooled": "pooled models",
    "detail.share": "Models that share are better than {rival}: {amount}.",
    "detail.share_small": (
        "Models that share are better than {rival}: {amount}. The gain may be too small to "
        "matter: the interval begins below the margin of {margin}."
    ),
    "detail.nothing": "Sharing adds nothing that matters to {rival}: {amount}.",
    "detail.loses": "Sharing is worse than {rival}: {amount}.",
    "detail.separate": "One model per task is better than one model for all tasks by {other}.",
    "detail.pool": "One model for all tasks is better than one model per task by {other}.",
    "detail.pool_open": "Whether sharing improves on {rival} is not decided: {amount}.",
    "detail.no practical difference": (
        "Models that share and {rival} differ by less than the margin of {margin}: {amount}."
    ),
    "detail.simplest": "The simplest model is enough.",
    "detail.inconclusive": (
        "These data do not decide whether sharing helps: {amount} against {rival}."
    ),
    "detail.which_plain": "Whether separate or pooled models are better is not decided.",
    "detail.more": "If the difference stays as it is, {more} would decide.",
    "detail.no_more": (
        "If the difference stays as it is, ten times as many data would not decide either."
    ),
    "detail.none": "No finished split allows a judgement.",
    "detail.perfect": (
        "The best models with and without sharing predict the held-out rows without error. Is one "
        "of the features the target itself, or computed from it?"
    ),
    "amount.more": "{value} of {metric}",
    "amount.less": "{value} in {metric} (plus means a smaller error)",
    # How much more data.
    "more.rows": Plural("n", "1 more row", "about {n} more rows"),
    "more.tasks": Plural("n", "1 more task", "about {n} more tasks"),
    "more.times": Plural("n", "1 more point in time", "about {n} more points in time"),
    "more.seconds": Plural("n", "1 more second of data", "about {n} more seconds of data"),
    "more.minutes": Plural("n", "1 more minute of data", "about {n} more minutes of data"),
    "more.hours": Plural("n", "1 more hour of data", "about {n} more hours of data"),
    "more.days": Plural("n", "1 more day of data", "about {n} more days of data"),
    "more.weeks": Plural("n", "1 more week of data", "about {n} more weeks of data"),
    "more.months": Plural("n", "1 more month of data", "about {n} more months of data"),
    "more.years": Plural("n", "1 more year of data", "about {n} more years of data"),
    # Tasks.
    "groups": "Task by task: {gain}, {lose}, {unclear}.",
    "groups.gain": Plural("n", "1 gains", "{n} gain", "none gains"),
    "groups.lose": Plural("n", "1 loses", "{n} lose", "none loses"),
    "groups.unclear": Plural("n", "1 is undecided", "{n} are undecided", "none is undecided"),
    # What to do.
    "use": "Use {model}.",
    "use.what": "Use {model}: {what}.",
    "model_is.separate": "one linear model per task, each with a penalty tuned on its own rows",
    "model_is.separate, one strength": (
        "one linear model per task, with one strength of the penalty for all"
    ),
    "model_is.pooled": "one linear model for all tasks",
    "model_is.pooled + intercepts": "one linear model for all tasks, with an intercept per task",
    "model_is.pooled + category": "one linear model for all tasks, with the task as a feature",
    "model_is.learned prior": (
        "one linear model per task, drawn towards what the tasks have in common as far as the "
        "data show it"
    ),
    "model_is.near the mean": "one linear model per task, drawn towards the mean of all tasks",
    "model_is.same features": "one linear model per task, all with the same few features",
    "model_is.common subspace": (
        "one linear model per task, all made of the same few combinations of features"
    ),
    "model_is.boosting per task": "gradient-boosted trees for each task",
    "model_is.boosting pooled": "gradient-boosted trees for all tasks, with the task as a feature",
    "use.luck": (
        "{model} has the best score on the held-out rows, but the choice was made inside the "
        "training rows: the best of many on held-out rows looks better than it is (selection "
        "bias)."
    ),
    "use.trees": "Use {model}: this tree model beats {rival} by {amount}.",
    "use.deep": "Use {model}: this network beats {rival} by {amount}.",
    "rule.linear": "the best linear model",
    "rule.deep": "the best network",
    "trees.better": "Tree models too are better than {rival}: {amount}.",
    "trees.worse": "Tree models are worse than {rival}: {amount}.",
    "trees.no": "Tree models are not clearly better than {rival}: {amount}.",
    "deep.better": "Networks too are better than {rival}: {amount}.",
    "deep.worse": "Networks are worse than {rival}: {amount}.",
    "deep.no": "Networks are not clearly better than {rival}: {amount}.",
    "deep.sharing.above": (
        "Networks gain by sharing: {amount} over the better of a network per task and one for all."
    ),
    "deep.sharing.below": (
        "Networks lose by sharing: {amount} against the better of a network per task and one for "
        "all."
    ),
    "deep.sharing.open": (
        "Networks that share are not clearly better or worse than the better of a network per "
        "task and one for all: {amount}."
    ),
    "action.share": Plural(
        "n", "Learn 1 task together with the others", "Learn {n} tasks together"
    ),
    "action.separate": Plural(
        "n", "Give 1 task a model of its own", "Give {n} tasks a model of their own"
    ),
    "action.pool": Plural(
        "n",
        "Serve 1 task with the one model for all",
        "Serve {n} tasks with the one model for all",
    ),
    "action.collect": Plural(
        "n", "Collect {more} for 1 task", "Collect {more} for each of {n} tasks"
    ),
    "action.named": "{action}: {names}.",
    # Shrinkage and sharing.
    "two": (
        "Shrinkage (a tuned penalty, still one model per task) gives {shrinkage}; sharing adds "
        "{sharing}."
    ),
    "two.mostly": "So the gain comes from shrinkage, not from sharing.",
    # Warnings.
    "warn.dominance": (
        "One task dominates: {task} makes up {share} of the pull on the shared model, which "
        'therefore mostly follows it. Try task_weight="equal" or scale_targets="task".'
    ),
    "stopped.time": "The time budget ran out.",
    "stopped.interrupt": "The comparison was interrupted.",
    "warn.incomplete": Plural(
        "planned",
        "Not finished: {done} of 1 split is in, and the numbers can still change.",
        "Not finished: {done} of {planned} splits are in, and the numbers can still change.",
    ),
    "warn.partial": "Not finished: some models are missing, and the numbers can still change.",
    "warn.quick": (
        "A quick comparison has few models, one of which shares; the full comparison tries all."
    ),
    "warn.nothing": (
        "No model predicts the held-out rows better than the training mean does: with these "
        "features and rows there is nothing to gain yet."
    ),
    # Adaptation.
    "adapt.tasks": Plural(
        "n", "Adapted to 1 task ({names}) by {rows}.", "Adapted to {n} tasks ({names}) by {rows}."
    ),
    "adapt.rows": Plural("n", "1 row", "{n} rows", "no rows"),
    "adapt.weights": Plural(
        "n",
        "Weighted to look like the new rows, the rows of the source count as 1.",
        "Weighted to look like the new rows, the rows of the source count as {n}.",
    ),
    "adapt.scores": "On rows held out, {metric}: {scores}.",
    "adapt.score": "{name} {value}",
    "adapt.adapted": "adapted",
    "adapt.source": "source only",
    "adapt.target": "new rows only",
    "adapt.pooled": "pooled",
    "adapt.untried": "The rows do not allow to try: {names}.",
    "adapt.use.shared": "Without rows they are predicted with what the other tasks share.",
    "adapt.use.adapted": "The adapted model is used.",
    "adapt.use.unjudged": "The adapted model is used; so few rows leave none to judge it by.",
    "adapt.use.close": ("The adapted model is used: what was better may have been so by chance."),
    "adapt.use.behind": (
        "The adapted model is used, as asked for, though it was worse beyond noise: adapting to a "
        "new domain would choose the better one."
    ),
    "adapt.layers.stay": (
        "Its layers stay as they are: rows held out do not ask for others, beyond noise."
    ),
    "adapt.layers.change": Plural(
        "n",
        "1 task has layers of its own.",
        "{n} tasks have layers of their own.",
    ),
    "adapt.use.source": (
        "The model as it was predicts the new rows better, beyond noise, so it is used."
    ),
    "adapt.use.target": (
        "The new rows alone predict each other better, beyond noise, so only they are used."
    ),
    "adapt.use.pooled": (
        "One model of the old and new rows is better, beyond noise, so it is used."
    ),
    # Metrics within a sentence.
    "metric.d2.regression": "R2",
    "metric.d2.deviance": "explained deviance",
    "metric.d2.classification": "explained log loss",
    "metric.d2.mixed": "explained loss",
    "metric.r2": "R2",
    "metric.r2_within": "R2 within tasks",
    "metric.mse": "mean squared error",
    "metric.rmse": "root mean squared error",
    "metric.mae": "mean absolute error",
    "metric.deviance": "mean loss",
    "metric.accuracy": "accuracy",
    "metric.majority": "majority rate",
    "metric.auc": "area under the ROC curve",
    "metric.average_precision": "average precision",
    "metric.log_loss": "log loss",
    "metric.brier": "Brier score",
    "metric.calibration": "calibration error",
}


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
