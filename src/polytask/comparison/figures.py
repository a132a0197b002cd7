"""The charts of a comparison: for :meth:`Comparison.plot`, and for its report."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from polytask import charts
from polytask.comparison import sentences as says
from polytask.comparison.records import Findings, Interval, StrengthPath
from polytask.comparison.tables import measure_word, shown_scores, task_names
from polytask.exceptions import DataError, ParameterError
from polytask.messages import Translator, clean
from polytask.reporting import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Tasks that a picture can name; of more, those with the largest gains and losses. Columns of the
# heat map.
_DRAWN, COLUMNS = 60, 60


def differences(result: Findings, say: Translator) -> list[tuple[str, Interval]]:
    """Return the differences on which the verdict rests, by name."""
    found = {
        "sharing": result.gain,
        "pooling": result.pooling_gain,
        "trees": result.trees_gain,
        "networks": result.networks_gain,
        "networks_sharing": result.networks_sharing,
    }
    return [
        (say(f"why.{name}"), gain)
        for name, gain in found.items()
        if gain is not None and math.isfinite(gain.mean)
    ]


def two_differences(result: Findings, say: Translator) -> list[tuple[str, Interval]]:
    """Return what shrinkage and sharing add, by name."""
    table = result.two_by_two
    if table is None:
        return []
    return [
        (say("two.shrinkage"), table.shrinkage_gain),
        (say("two.sharing"), table.sharing_gain),
    ]


def terms(result: Findings, say: Translator) -> list[tuple[str, Interval]]:
    """Return what every term of a penalty adds, by name."""
    return [(say("ablation.term", {"term": clean(one.term)}), one.gain) for one in result.ablation]


def _gains(key: str, lines: Sequence[tuple[str, Interval]], caption: str) -> Figure:
    """Return a chart of a few differences that have sentences for names."""
    gains = [gain for _, gain in lines]

    def draw(ax: Axes) -> None:
        charts.interval_lines(
            ax,
            [name for name, _ in lines],
            [gain.mean for gain in gains],
            [gain.low for gain in gains],
            [gain.high for gain in gains],
            ["gain" if g.above else "lose" if g.below else "unclear" for g in gains],
            sentences=True,
        )

    return Figure(key, caption, caption, draw, caption=caption, height=0.6 + 0.5 * len(lines))


def _why(result: Findings, say: Translator) -> Figure:
    fields = {"metric": says.metric_word(result.setup, say)}
    caption = {"caption": say("why.caption", fields), "note": say("why.note")}
    return _gains("why-chart", differences(result, say), say("page.caption", caption))


def _two(result: Findings, say: Translator) -> Figure:
    fields = {"metric": says.metric_word(result.setup, say)}
    caption = {"caption": say("two.gains", fields), "note": say("why.note")}
    return _gains("two-chart", two_differences(result, say), say("page.caption", caption))


def _ablation(result: Findings, say: Translator) -> Figure:
    if not result.ablation:
        raise DataError("There is no ablation to draw: compare with ablation=True.")
    note = say("ablation.note", {"model": say.quoted(result.ablation[0].model)})
    return _gains("ablation-chart", terms(result, say), note)


def _tasks(result: Findings, say: Translator) -> Figure:
    n, half = len(result.tasks), _DRAWN // 2
    cut = n > _DRAWN
    numbers = [*range(half), *range(n - half, n)] if cut else list(range(n))
    names, tasks = task_names(result), [result.tasks[number] for number in numbers]
    metric = says.metric_word(result.setup, say)
    caption = say("tasks.note", {"metric": metric})
    if cut:
        caption = say.joined([caption, say("tasks.cut", {"half": half, "n": n})])

    def draw(ax: Axes) -> None:
        charts.interval_lines(
            ax,
            [names[number] for number in numbers],
            [task.gain for task in tasks],
            [task.low for task in tasks],
            [task.high for task in tasks],
            [task.group for task in tasks],
            numbers=numbers,
            label=say("size.upward", {"metric": metric}),
            gap=say("tasks.skipped", {"n": n - len(numbers)}) if cut else "",
        )

    height = 0.7 + 0.19 * max(len(tasks), 4)
    return Figure("tasks-chart", say("section.tasks"), say("tasks.chart"), draw, caption,
                  height=height)  # fmt: skip


def _sizes(result: Findings, say: Translator) -> Figure:
    tasks = [task for task in result.tasks if math.isfinite(task.gain)]
    upward = say("size.upward", {"metric": says.metric_word(result.setup, say)})

    def draw(ax: Axes) -> None:
        charts.gain_against_size(
            ax,
            [task.rows for task in tasks],
            [task.gain for task in tasks],
            [task.low for task in tasks],
            [task.high for task in tasks],
            [task.group for task in tasks],
            labels=(say("size.across"), upward),
        )

    return Figure("size-chart", say("section.size"), say("size.desc"), draw, say("size.note"))


def _models(result: Findings, say: Translator) -> Figure:
    models, metric = result.models, says.metric_word(result.setup, say)
    caption = {"caption": say("models.scores", {"metric": metric}), "note": say("models.note")}

    def draw(ax: Axes) -> None:
        charts.interval_lines(
            ax,
            [clean(row.name) for row in models],
            [row.score.mean for row in models],
            [row.score.low for row in models],
            [row.score.high for row in models],
            ["gain" if row.name == result.recommended else "unclear" for row in models],
            around_zero=False,
            label=metric,
        )

    return Figure(
        "models-chart", caption["caption"], say("models.note"), draw, say("page.caption", caption),
        height=0.7 + 0.26 * max(len(models), 2),
    )  # fmt: skip


def _features(result: Findings, say: Translator) -> Figure:
    found = result.coefficients
    if found is None or not found.features or not found.columns:
        raise DataError("There are no coefficients to draw: no linear sharing model was fitted.")
    counts = {
        "rows": len(found.features), "all_rows": found.n_features,
        "columns": min(len(found.columns), COLUMNS), "all_columns": found.n_columns,
    }  # fmt: skip
    cut = counts["rows"] < counts["all_rows"] or counts["columns"] < counts["all_columns"]
    caption = say.joined(
        [
            say("features.note", {"model": say.quoted(found.model)}) if found.model else "",
            say("features.cut", counts) if cut else "",
        ]
    )

    def draw(ax: Axes) -> None:
        names = [[clean(str(n)) for n in listed] for listed in (found.features, found.columns)]
        values = [row[:COLUMNS] for row in found.values]
        charts.heat_map(ax, values, names[0], names[1][:COLUMNS])

    return Figure(
        "features-chart", say("section.features"), say("features.chart"), draw, caption,
        width=max(5.0, 2.6 + 0.16 * counts["columns"]), height=2.0 + 0.16 * counts["rows"],
    )  # fmt: skip


def _path(result: Findings) -> StrengthPath:
    if result.path is None:
        raise DataError("There is no path to draw: no sharing model was searched.")
    return result.path


def _strength(result: Findings, say: Translator) -> Figure:
    path = _path(result)

    def draw(ax: Axes) -> None:
        charts.error_curve(
            ax,
            path.alphas,
            shown_scores(path),
            path.standard_errors,
            says.marks(path, say),
            labels=(say("strength.across"), measure_word(path, say)),
            greater_is_better=path.measure != "loss",
        )

    title = measure_word(path, say)
    return Figure("error-chart", title, say("strength.error_desc"), draw, say("strength.note"))


def _sizes_of_coefficients(result: Findings, say: Translator) -> Figure:
    path = _path(result)
    lines = [list(at) for at in zip(*path.sizes, strict=True)] or [[]] * len(path.alphas)

    def draw(ax: Axes) -> None:
        charts.coefficient_lines(
            ax,
            path.alphas,
            lines,
            [clean(name) for name in path.names],
            says.marks(path, say),
            labels=(say("strength.across"), say("strength.sizes")),
        )

    title = say("strength.sizes")
    return Figure("path-chart", title, say("strength.sizes_desc"), draw, title)


def _learning(result: Findings, say: Translator) -> Figure:
    points = result.learning
    if not points:
        raise DataError("There is no learning curve to draw: compare with learning_curve=True.")
    curves = {
        say(f"learning.{name}"): [getattr(point, name).mean for point in points]
        for name in ("shared", "pooled", "separate")
    }
    metric = says.metric_word(result.setup, say)

    def draw(ax: Axes) -> None:
        charts.learning_curves(
            ax,
            [point.rows for point in points],
            {name: means for name, means in curves.items() if any(map(math.isfinite, means))},
            marked=say("learning.shared"),
            labels=(say("learning.across"), say("learning.upward", {"metric": metric})),
        )

    return Figure("learning-chart", say("section.learning"), say("learning.desc"), draw,
                  say("learning.note"))  # fmt: skip


_FIGURES: Mapping[str, Callable[[Findings, Translator], Figure]] = MappingProxyType(
    {
        "tasks": _tasks,
        "sizes": _sizes,
        "models": _models,
        "features": _features,
        "strength": _strength,
        "path": _sizes_of_coefficients,
        "learning": _learning,
        "ablation": _ablation,
        "differences": _why,
        "shrinkage": _two,
    }
)


def figure(result: Findings, kind: str, say: Translator) -> Figure:
    """Return a chart by its name."""
    if kind not in _FIGURES:
        known = ", ".join(map(repr, _FIGURES))
        raise ParameterError(f"kind of Comparison.plot must be one of {known}; got {kind!r}.")
    return _FIGURES[kind](result, say)
