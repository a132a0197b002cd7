"""The tables of a comparison: exact values with the words that show them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from polytask.comparison import actions as task_actions
from polytask.comparison import amounts
from polytask.comparison import extra_sentences as extra_says
from polytask.comparison import sentences as says
from polytask.comparison.choices import plain_choices
from polytask.comparison.frames import further_metrics
from polytask.comparison.records import (
    Coefficients,
    Findings,
    Interval,
    ModelRow,
    Setup,
    StrengthPath,
    TaskGain,
)
from polytask.messages import Translator, beside, clean, decimals, distinct_names, plain_number
from polytask.reporting import Cell, Column, Table, own

# Places of the gains of tasks, so that no end is 0.00 without a sign of its side.
_TASK_PLACES = 3
# Further metrics of the table that a terminal prints.
_MOST = 2
# Targets whose errors are open from the start.
_OPEN_TARGETS = 30


def tried(result: Findings) -> tuple[ModelRow, ...]:
    """Return the models that were not left out."""
    return tuple(row for row in result.models if row.left_out is None)


def columns_of(
    say: Translator, texts: Sequence[str], numeric: Iterable[str]
) -> tuple[Column, ...]:
    """Return columns that the catalogue names, those of texts first."""
    plain = [Column(name, say(f"column.{name}")) for name in texts]
    return (*plain, *(Column(name, say(f"column.{name}"), numeric=True) for name in numeric))


def common_places(intervals: Iterable[Interval]) -> int:
    """Return the digits that the widest interval leaves."""
    listed = list(intervals)
    return decimals([(i.high - i.low) / 2 for i in listed], [i.mean for i in listed])


def task_names(result: Findings) -> list[str]:
    """Return a name for every task; those alike are told apart by type."""
    return distinct_names([task.task for task in result.tasks])


def task_places(result: Findings) -> int:
    """Return the digits of the gains of tasks."""
    places = common_places(Interval(task.gain, task.low, task.high) for task in result.tasks)
    return max(places, _TASK_PLACES) if amounts.is_bounded(result.setup) else places


def _count(value: int | None, say: Translator) -> Cell:
    return Cell(say("number.missing") if value is None else f"{value:,}", value)


def _percent(share: float, say: Translator) -> Cell:
    return Cell(say("number.percent", {"value": f"{100 * share:.1f}".removesuffix(".0")}), share)


def _short(value: float, say: Translator) -> Cell:
    text = plain_number(value) if math.isfinite(value) else say("number.missing")
    return Cell(text, float(value))


def _interval_cells(
    interval: Interval, places: int, say: Translator, *, signed: bool
) -> tuple[Cell, ...]:
    """Return mean and ends; ends beyond the scale of a score are said to be so."""
    return tuple(Cell(say.number(v, places, signed=signed), float(v)) for v in interval)


def _score_cells(result: Findings, interval: Interval, places: int, say: Translator) -> list[Cell]:
    """Return a score with its ends, which are cut where the scale of the metric ends."""
    mean, low, high = _interval_cells(interval, places, say, signed=False)
    if amounts.is_bounded(result.setup):
        if interval.low < -1.0:
            low = Cell(say("number.below", {"value": "-1"}), interval.low)
        if interval.high > 1.0:
            high = Cell(say("number.at_most", {"value": "1"}), interval.high)
    return [mean, low, high]


def score_table(result: Findings, say: Translator) -> Table:
    """Return the leaderboard: the verdict's metric of every model, and what it is."""
    numeric = ("score", "low", "high", "picked")
    places = common_places(row.score for row in tried(result))
    rows = tuple(
        (
            own(row.name),
            *_score_cells(result, row.score, places, say),
            Cell(f"{row.picked:,}", row.picked),
            Cell(say.word("kind", row.kind), row.kind),
            Cell(say.word("family", row.family), row.family),
            Cell(says.model_words(result, row, say)),
        )
        for row in tried(result)
    )
    caption = say("models.scores", {"metric": amounts.metric_word(result.setup, say)})
    columns = (
        *columns_of(say, ("model",), numeric),
        *columns_of(say, ("kind", "family", "what"), ()),
    )
    return Table("scores", caption, columns, rows)


def terminal_scores(result: Findings, say: Translator) -> Table:
    """Return the leaderboard in the width of a terminal."""
    scored = [row for row in result.models if math.isfinite(row.score.mean)]
    places = common_places(row.score for row in scored)
    names = [name for name in shown_metrics(result) if name != "d2"][:_MOST]
    show = interval_shower(places, result, say)
    further = {name: [row.metrics.get(name, math.nan) for row in scored] for name in names}
    digits = {name: decimals((), values) for name, values in further.items()}
    rows = tuple(
        (
            own(row.name),
            show(row.score),
            *(
                Cell(say.number(further[name][i], digits[name]), further[name][i])
                for name in names
            ),
            Cell(f"{row.picked:,}" if row.picked else "", row.picked),
            _short(row.fit_seconds, say),
        )
        for i, row in enumerate(scored)
    )
    metric = amounts.metric_word(result.setup, say)
    columns = (
        Column("model", say("column.model")),
        Column("score", say("models.interval", {"metric": metric}), numeric=True),
        *(Column(name, say.word("short", name), numeric=True) for name in names),
        *columns_of(say, (), ("picked", "fit_seconds")),
    )
    done: dict[str, str | int] = {"done": result.setup.n_splits, "planned": result.setup.planned}
    meaning = {"meaning": amounts.metric_meaning(result.setup, say)}
    within = say(within_key(result)) if "r2_within" in names else ""
    majority = say("models.majority") if "majority" in names else ""
    averaged = [say.word("short", name) for name in names if name != "r2_within"]
    mean = say("models.means", {"metrics": say.listed(averaged)}) if averaged else ""
    first = (say("models.terminal", done | meaning), says.scored(result, say))
    caption = (*first, within, mean, majority, say("models.chosen"))
    return Table("terminal", say.joined(caption), columns, rows)


def split_table(result: Findings, say: Translator) -> Table | None:
    """Return the separate or pooled model of each split beside the best of the other kind."""
    choices = plain_choices(result)
    if not choices:
        return None
    scores = [row.splits[k] for k, *pair, _ in choices for row in pair]
    places = decimals((), scores)
    rows = tuple(
        (
            Cell(f"{k + 1}", k + 1),
            own(chosen.name),
            Cell(say.number(chosen.splits[k], places), chosen.splits[k]),
            own(other.name),
            Cell(say.number(other.splits[k], places), other.splits[k]),
            Cell(say("choices.swapped" if lost > 0 else "choices.right")),
        )
        for k, chosen, other, lost in choices
    )
    metric = {"metric": amounts.metric_word(result.setup, say)}
    columns = (
        *columns_of(say, (), ("split",)),
        *columns_of(say, ("chosen_model",), ("chosen_score",)),
        *columns_of(say, ("other_model",), ("other_score",)),
        *columns_of(say, ("better",), ()),
    )
    caption, label = say("choices.caption", metric), say("choices.label")
    return Table("splits", caption, columns, rows, folded=True, label=label)


# Metrics in the unit of the target, of which targets of several units have no mean.
_IN_UNITS = frozenset({"rmse", "mae", "mse", "deviance"})


def shown_metrics(result: Findings) -> tuple[str, ...]:
    """Return the further metrics that mean something for all tasks together."""
    names = further_metrics(result)
    if not _several_units(result):
        return names
    return tuple(name for name in names if name not in _IN_UNITS)


def _several_units(result: Findings) -> bool:
    setup = result.setup
    return setup.form == "targets" and setup.problem != "classification"


def within_key(result: Findings) -> str:
    """Return the key of what R2 within tasks is."""
    if _several_units(result):
        return "models.within.targets"
    return "models.within.mixed" if result.setup.problem == "mixed" else "models.within"


def error_table(result: Findings, say: Translator) -> Table | None:
    """Return the error of every target, of the recommended model and the best of other kinds."""
    best = says.recommended(result)
    models = [] if best is None else [best, *says.rivals(result)]
    if best is None or not best.target_errors or not _several_units(result):
        return None
    errors = [dict(row.target_errors) for row in models]
    names = distinct_names([target for target, _ in best.target_errors])
    rows = tuple(
        (own(name), *(_short(found.get(target, math.nan), say) for found in errors))
        for name, (target, _) in zip(names, best.target_errors, strict=True)
    )
    heads = (Column(f"model{k}", clean(row.name), numeric=True) for k, row in enumerate(models))
    columns = (*columns_of(say, ("task",), ()), *heads)
    caption = say("models.errors")
    return Table("errors", caption, columns, rows, len(rows) > _OPEN_TARGETS, label=caption)


def metric_table(result: Findings, say: Translator) -> Table | None:
    """Return the further metrics of every model; None if there are none."""
    names = shown_metrics(result)
    if not names:
        return None
    columns, models = [], tried(result)
    for name in names:
        values = [row.metrics.get(name, math.nan) for row in models]
        places = decimals((), values)
        cells = []
        for row, value in zip(models, values, strict=True):
            text, n = say.number(value, places), row.undefined.get(name, 0)
            text = say("models.undefined", {"value": text, "n": n}) if n else text
            cells.append(Cell(text, float(value)))
        columns.append(cells)
    rows = tuple(
        (own(row.name), *(column[i] for column in columns)) for i, row in enumerate(models)
    )
    heads = (Column(name, say.word("short", name), numeric=True) for name in names)
    title = "models.metrics_within" if "r2_within" in names else "models.metrics"
    return Table("metrics", say(title), (*columns_of(say, ("model",), ()), *heads), rows)


def cost_table(result: Findings, say: Translator) -> Table:
    """Return what the models cost: time, parameters, bytes."""
    rows = tuple(
        (
            own(row.name),
            _short(row.fit_seconds, say),
            _short(row.predict_seconds, say),
            _count(row.nonzero, say),
            Cell(_bytes(row.file_bytes, say), row.file_bytes),
        )
        for row in tried(result)
    )
    names = ("fit_seconds", "predict_seconds", "nonzero", "file_bytes")
    return Table("costs", say("models.costs"), columns_of(say, ("model",), names), rows)


def _bytes(size: int | None, say: Translator) -> str:
    if size is None:
        return say("number.missing")
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{plain_number(size / factor)} {unit}"
    return f"{size} B"


def task_table(result: Findings, say: Translator, *, folded: bool) -> Table:
    """Return the gain of every task, largest first."""
    tasks, places = result.tasks, task_places(result)
    named, timed = zip(task_names(result), tasks, strict=True), bool(result.setup.times)
    rows = tuple(_task_row(name, task, places, result, say) for name, task in named)
    more = say("column.more_rows" if timed else "column.more_rows.rows")
    columns = (
        *columns_of(say, ("task",), ("rows", "gain", "low", "high")),
        *columns_of(say, ("group", "action"), ()),
        Column("more_rows", more, numeric=True),
        *columns_of(say, (), ("raw", "coverage")),
    )
    if all(task.coverage is None for task in tasks):
        columns, rows = columns[:-1], tuple(row[:-1] for row in rows)
    key = "tasks.caption.one" if amounts.one_denominator(result.setup) else "tasks.caption"
    caption = say(key, {"metric": amounts.metric_of_task(result.setup, say)})
    return Table("tasks", caption, columns, rows, folded)


def _task_row(
    name: str, task: TaskGain, places: int, result: Findings, say: Translator
) -> tuple[Cell, ...]:
    more = task.more_rows
    # Where rows come in time, nobody can collect so many at once.
    words = f"{more:,}" if more else ""
    if more and result.setup.times:
        words = amounts.more_data(more / task.rows, more, result.setup, say)
    gain = Interval(task.gain, task.low, task.high)
    return (
        own(name),
        _count(task.rows, say),
        *_interval_cells(gain, places, say, signed=True),
        Cell(group_word(task, result, say), task.group),
        Cell(task_actions.action_words(task.action, result, say), task.action),
        Cell(words, more),
        Cell(say.number(task.raw, places, signed=True), float(task.raw)),
        Cell("" if task.coverage is None else f"{task.coverage:.0%}", task.coverage),
    )


def group_word(task: TaskGain, result: Findings, say: Translator) -> str:
    """Return what is found of a task, and why it is undecided."""
    if task.group != "unclear" or math.isnan(task.low + task.high):
        return say.word("group", task.group)
    if task.low <= 0 <= task.high:
        return say("group.unclear.open")
    if abs(task.gain) <= result.margin:
        return say("group.unclear.small")
    tested = sum(math.isfinite(one.gain) for one in result.tasks)
    return say("group.unclear.chance", {"n": tested})


def difference_table(
    lines: Sequence[tuple[str, Interval]],
    caption: str,
    say: Translator,
    key: str,
    margin: float = 0.0,
) -> Table:
    """Return named differences with their intervals."""
    # Each in the digits that sentences give it.
    rows = tuple(
        (Cell(name, name), *_interval_cells(interval, places, say, signed=True))
        for name, interval in lines
        for places in [beside(common_places([interval]), interval[1:], margin)]
    )
    columns = columns_of(say, ("difference",), ("gain", "low", "high"))
    return Table(key, caption, columns, rows, folded=True)


def two_by_two_table(result: Findings, say: Translator) -> Table | None:
    """Return the scores with and without penalty, separate and joint; None if not known."""
    found = result.two_by_two
    if found is None:
        return None
    cells = {
        ("separate", "none"): found.separate_none,
        ("separate", "tuned"): found.separate_tuned,
        ("pooled", "none"): found.joint_none,
        ("joint", "tuned"): found.joint_tuned,
    }
    show = interval_shower(common_places(cells.values()), result, say)
    metric = amounts.metric_word(result.setup, say)
    rows = tuple(
        (Cell(say(f"two.rows.{kind}"), kind), Cell(say(f"two.{penalty}"), penalty), show(score))
        for (kind, penalty), score in cells.items()
    )
    score = Column("score", say("models.interval", {"metric": metric}), numeric=True)
    columns = (Column("models", ""), Column("penalty", say("column.penalty")), score)
    return Table("two", say("two.caption", {"metric": metric}), columns, rows)


def interval_shower(
    places: int, result: Findings, say: Translator, *, signed: bool = False
) -> Callable[[Interval], Cell]:
    """Return what makes cells of means with their intervals."""

    def show(interval: Interval) -> Cell:
        mean = say.number(interval.mean, places, signed=signed)
        shown = amounts.usable(interval, result.setup)
        if not math.isfinite(shown.high - shown.low):
            return Cell(mean, interval.mean)
        ends = {name: say.number(getattr(shown, name), places) for name in ("low", "high")}
        return Cell(say("number.interval", {"mean": mean, **ends}), interval.mean)

    return show


def coefficient_table(found: Coefficients, n_columns: int, say: Translator) -> Table:
    """Return the first columns of the coefficients on the heat map."""
    columns = [
        Column(f"column{j}", clean(str(name)), numeric=True)
        for j, name in enumerate(found.columns[:n_columns])
    ]
    # Targets have units of their own.
    places = [decimals((), own) for own in zip(*found.values, strict=True)]
    rows = tuple(
        (
            own(name),
            *(
                Cell(say.number(v, shown, signed=True), float(v))
                for v, shown in zip(values[:n_columns], places[:n_columns], strict=True)
            ),
        )
        for name, values in zip(found.features, found.values, strict=True)
    )
    heads = (*columns_of(say, ("feature",), ()), *columns)
    return Table("coefficients", say("features.caption"), heads, rows, folded=True)


def measure_word(path: StrengthPath, setup: Setup, say: Translator) -> str:
    """Return what the strengths of a path are judged by."""
    if path.measure == "loss":
        squared = setup.problem == "regression" and not setup.of_deviance
        return say("strength.loss" if squared else "strength.loss.fitted")
    return say("strength.score", {"score": say.word("short", path.measure)})


def shown_scores(path: StrengthPath) -> list[float]:
    """Return errors where the score is minus one."""
    sign = -1.0 if path.measure == "loss" else 1.0
    return [sign * score for score in path.scores]


def path_table(path: StrengthPath, setup: Setup, say: Translator) -> Table:
    """Return every strength with its score and what it keeps; ranks where they say more."""
    words = {value: name for name, value in extra_says.marks(path, say).items()}
    scores = shown_scores(path)
    places = decimals(path.standard_errors, scores)
    most = max(path.ranks)
    spectral = any(r < min(k, most) for k, r in zip(path.features, path.ranks, strict=True))
    rows = tuple(
        (
            Cell(plain_number(path.alphas[k]), path.alphas[k]),
            Cell(say.number(scores[k], places), scores[k]),
            Cell(say.number(path.standard_errors[k], places), path.standard_errors[k]),
            _count(path.features[k], say),
            *([_count(path.ranks[k], say)] if spectral else []),
            Cell(words.get(path.alphas[k], "")),
        )
        for k in range(len(path.alphas))
    )
    columns = (
        *columns_of(say, ("strength",), ()),
        Column("path_score", measure_word(path, setup, say), numeric=True),
        *columns_of(say, (), ("standard_error", "kept", *(["rank"] if spectral else []))),
        Column("mark", ""),
    )
    caption = say("strength.caption", {"model": say.quoted(path.model)})
    return Table("path", caption, columns, rows, folded=True)


def sparsity_table(result: Findings, say: Translator) -> Table | None:
    """Return the share of features and coefficients that every penalty keeps."""
    rows = tuple(
        (
            own(one.model),
            own(one.penalty),
            _percent(one.features, say),
            _percent(one.coefficients, say),
            Cell("" if one.rank is None else f"{one.rank:,}", one.rank),
        )
        for one in result.sparsity
        if one.penalty
    )
    if not rows:
        return None
    columns = columns_of(say, ("model", "penalty"), ("features", "coefficients", "rank"))
    return Table("kept", say("kept.caption"), columns, rows)


def importance_table(result: Findings, say: Translator) -> Table | None:
    """Return which choices of the search decided about the score."""
    if result.path is None or not result.parameter_importance:
        return None
    rows = tuple(
        (
            Cell(say.word("choice", one.parameter), one.parameter),
            _percent(one.share, say),
            Cell(plain_number(one.spread), one.spread),
            _count(one.tried, say),
        )
        for one in result.parameter_importance
    )
    caption = say("mattered.caption", {"model": say.quoted(result.path.model)})
    columns = columns_of(say, ("parameter",), ("share", "spread", "tried"))
    return Table("mattered", caption, columns, rows)


def learning_table(result: Findings, say: Translator) -> Table:
    """Return scores and gains by training rows per task."""
    points = result.learning
    scores = ("separate", "pooled", "shared")
    gains = ("over_separate", "over_pooled")
    places = common_places(getattr(p, name) for p in points for name in (*scores, *gains))
    plain, signed = (interval_shower(places, result, say, signed=s) for s in (False, True))
    rows = tuple(
        (
            Cell(extra_says.share_words(point, say), point.share),
            Cell(extra_says.rows_words(point, say), point.rows),
            *(plain(getattr(point, name)) for name in scores),
            *(signed(getattr(point, name)) for name in gains),
        )
        for point in points
    )
    caption = say("learning.caption", {"metric": amounts.metric_word(result.setup, say)})
    return Table(
        "learning",
        caption,
        columns_of(say, ("train_share", "train_rows"), (*scores, *gains)),
        rows,
    )
