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
    "headline.share": "Sharing helps",
    "headline.separate": "Keep the tasks separate",
    "headline.pool": "Pool the tasks",
    "headline.unclear": "It cannot be told whether sharing helps",
    "headline.none": "No verdict yet",
    "headline.perfect": "The target has no variation left to explain",
    "verdict.perfect": (
        "The target has no variation left to explain: every model predicts the held-out rows "
        "without error, so that no model is better than another. Is one of the features the "
        "target itself, or computed from it?"
    ),
    "verdict": "{headline}: {detail}",
    "rival": "the better of separate and pooled models",
    "detail.share": "{amount} over {rival}.",
    "detail.loses": "sharing is worse, {amount} against {rival}.",
    "detail.separate": (
        "sharing makes no clear difference, {amount} against {rival}, and one model per task "
        "is better than one model for all by {other}."
    ),
    "detail.pool": (
        "sharing makes no clear difference, {amount} against {rival}, and one model for all "
        "is better than one model per task by {other}."
    ),
    "detail.unclear": "{amount} against {rival}, which may be chance.",
    "detail.none": "no finished split allows a judgement.",
    "amount.more": "{value} of {metric}",
    "amount.less": "{value} in {metric} (plus means a smaller error)",
    # Tasks.
    "groups": "{gain}, {lose}.",
    "groups.open": "{gain}, {lose}, {unclear}{more}.",
    "groups.gain": Plural("n", "1 task gains", "{n} tasks gain", "No task gains"),
    "groups.lose": Plural("n", "1 loses", "{n} lose", "none loses"),
    "groups.unclear": Plural("n", "1 cannot be told", "{n} cannot be told"),
    "rows.more": Plural("n", "1 more row", "{n} more rows"),
    "groups.more": " (about {rows} each would tell)",
    "groups.more_one": " (about {rows} would tell)",
    "groups.more_some": Plural(
        "n",
        " (for 1 of them about {rows} would tell)",
        " (for {n} of them about {rows} each would tell)",
    ),
    # What to do.
    "use": "Use {model}.",
    "use.luck": (
        "{model} has the better mean on held-out rows, which plays no part in the choice: it is "
        "made inside the training rows, for the best of many on held-out rows is lucky too."
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
        "n", "Collect more rows for 1 task", "Collect more rows for {n} tasks"
    ),
    "action.collect_rows": Plural(
        "n",
        "Collect about {rows} for 1 task",
        "Collect about {rows} each for {n} tasks",
    ),
    "action.any": Plural(
        "n",
        "For 1 task the choice makes no visible difference",
        "For {n} tasks the choice makes no visible difference",
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
        "From one split only: a first look. Run the full comparison before you act on it."
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
    "metric.d2.regression": "explained variance",
    "metric.d2.deviance": "explained deviance",
    "metric.d2.classification": "explained uncertainty",
    "metric.d2.mixed": "explained variance and uncertainty",
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
