"""What a comparison says, in English."""

from __future__ import annotations

from collections.abc import Mapping

from polytask._messages._forms import Plural, Template

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
