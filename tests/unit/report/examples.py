"""Comparisons as they may come out, for the tests of sentences, tables and reports."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from polytask.comparison import Comparison
from polytask.comparison.records import (
    Ablated,
    Coefficients,
    Interval,
    LearningPoint,
    ModelRow,
    ParameterImportance,
    Setup,
    SparsitySummary,
    StrengthPath,
    TaskGain,
    TwoByTwo,
)

NAN = float("nan")
HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</svg><script>alert(2)</script>",
    "\"'><b onmouseover=alert(3)>",
    "{{ 7 * 7 }} {% raw %}",
    "a very long name " * 18,
    "longwithoutanyspace" * 16,
    "مدرسة النور للبنات",
    "בית ספר יסודי",
    "\u202eabc turned\u202c",
    "👩‍👩‍👧 emoji 🎉",
    "第一小学",
    "$x^2$ and $broken",
    "a|b `code` *bold* _low_ [link](javascript:alert(4))",
    "line\nbreak\ttab\x1b[31m\x00",
    "\ud800 half",
    "",
    " ",
)

_MODELS = (
    ("near the mean, shrunk intercepts", "shared", "linear", 0.412),
    ("pooled boosting, category", "other", "trees", 0.398),
    ("multi-task, L21", "shared", "linear", 0.391),
    ("pooled + intercepts", "pooled", "linear", 0.381),
    ("multi-task, TraceNorm", "shared", "linear", 0.377),
    ("pooled", "pooled", "linear", 0.334),
    ("separate", "separate", "linear", 0.301),
    ("separate boosting", "separate", "trees", 0.118),
    ("pooled + intercepts, unpenalised", "pooled", "reference", 0.372),
    ("separate, unpenalised", "separate", "reference", -8.71),
)


def interval(mean: float, half: float) -> Interval:
    return Interval(mean, mean - half, mean + half)


def models(count: int = len(_MODELS), n_splits: int = 5) -> tuple[ModelRow, ...]:
    rng = np.random.default_rng(3)
    rows = []
    for place, (name, kind, family, mean) in enumerate(_MODELS[:count]):
        half = 0.012 + 0.01 * rng.random() if mean > 0 else 6.2
        rows.append(
            ModelRow(
                name=name,
                kind=kind,
                family=family,
                score=interval(mean, half),
                splits=tuple(float(v) for v in mean + half * rng.standard_normal(n_splits)),
                inner=tuple(float(v) for v in mean + half * rng.standard_normal(n_splits)),
                picked={0: 4, 2: 1, 3: 5}.get(place, 0),
                metrics={
                    "d2": mean,
                    "r2": mean + 0.001,
                    "r2_within": mean - 0.13,
                    "rmse": 10.3 - mean,
                    "mae": 8.1 - mean,
                },
                undefined={"r2_within": 3} if place % 4 == 0 else {},
                fit_seconds=float(10 ** (2 * rng.random() - 1)),
                predict_seconds=float(10 ** (-3 * rng.random() - 1)),
                nonzero=None if family == "trees" else int(rng.integers(27, 4000)),
                file_bytes=int(10 ** (3 + 4 * rng.random())),
                behind=interval(_MODELS[0][3] - mean, half) if place else None,
                note="ended at max_iter=10000 before its tolerance" if place == 4 else "",
            )
        )
    return tuple(rows)


def tasks(
    count: int, *, mean: float = 0.03, spread: float = 0.04, names: Sequence[Any] = ()
) -> tuple[TaskGain, ...]:
    rng = np.random.default_rng(count)
    found = []
    for place in range(count):
        rows = int(20 + 200 * rng.random() ** 3)
        gain = float(mean + spread * rng.standard_normal())
        half = 0.45 * spread * math.sqrt(120 / rows) * (0.8 + 0.4 * rng.random())
        group = "gain" if gain > half else "lose" if gain < -half else "unclear"
        action = {"gain": "share", "lose": "separate"}.get(
            group, "collect" if rows < 60 else "any"
        )
        found.append(
            TaskGain(
                task=names[place] if place < len(names) else f"school {place + 1:03d}",
                rows=rows,
                gain=gain,
                low=gain - half,
                high=gain + half,
                raw=gain * 1.4,
                group=group,
                action=action,
                more_rows=int(rows * 0.8) if action == "collect" else None,
            )
        )
    return tuple(sorted(found, key=lambda task: -task.gain))


def coefficients(columns: Sequence[Any], n_features: int = 14) -> Coefficients:
    rng = np.random.default_rng(1)
    common = rng.standard_normal((n_features, 1)) * np.geomspace(3, 0.1, n_features)[:, None]
    values = common + 0.25 * rng.standard_normal((n_features, len(columns)))
    return Coefficients(
        features=tuple(["VR band=1", "gender=F", "intake score", "ethnic=ESWI"] + [
            f"feature {j}" for j in range(4, n_features)
        ]),
        columns=tuple(str(c) for c in columns),
        values=tuple(tuple(float(v) for v in row) for row in values),
        n_features=27,
        n_columns=max(len(columns), 139),
        model="near the mean, shrunk intercepts",
    )  # fmt: skip


def two_by_two() -> TwoByTwo:
    return TwoByTwo(
        separate_none=interval(-0.41, 0.22),
        separate_tuned=interval(0.301, 0.021),
        joint_none=interval(0.372, 0.018),
        joint_tuned=interval(0.412, 0.016),
        shrinkage_gain=interval(0.711, 0.213),
        sharing_gain=interval(0.111, 0.017),
    )


def path(names: Sequence[str] = ("intake score", "VR band=1", "gender=F")) -> StrengthPath:
    alphas = np.geomspace(2.0, 0.002, 12)
    scores = -0.3 - 0.02 * (np.arange(12) - 7.0) ** 2
    sizes = np.outer(np.arange(1, len(names) + 1), np.maximum(np.arange(12.0) - 2, 0))
    return StrengthPath(
        model="multi-task, L21",
        penalty="L21(alpha=0.0246)",
        measure="loss",
        alphas=tuple(float(v) for v in alphas),
        scores=tuple(float(v) for v in scores),
        standard_errors=(0.041,) * 12,
        features=tuple(min(2 * k, 27) for k in range(12)),
        ranks=tuple(min(k, 5) for k in range(12)),
        names=tuple(names),
        sizes=tuple(tuple(float(v) for v in row) for row in sizes),
        n_features=27,
        best=7,
        one_se=6,
        chosen=7,
    )


def kept() -> tuple[SparsitySummary, ...]:
    return (
        SparsitySummary(
            "near the mean, shrunk intercepts", "toward_mean(alpha=3.1)", 1.0, 1.0, None
        ),
        SparsitySummary("multi-task, L21", "L21(alpha=0.0246)", 14 / 27, 0.5, None),
        SparsitySummary("multi-task, TraceNorm", "TraceNorm(alpha=0.2)", 1.0, 1.0, 5),
        SparsitySummary("learned prior", "", 1.0, 1.0, None),
    )


def learning() -> tuple[LearningPoint, ...]:
    shares = (0.125, 0.25, 0.5, 1.0)
    return tuple(
        LearningPoint(
            share=share,
            rows=float(round(77 * share)),
            separate=interval(0.30 - 0.4 * (1 - share), 0.05),
            pooled=interval(0.38 - 0.02 * (1 - share), 0.03),
            shared=interval(0.41 - 0.03 * (1 - share), 0.03),
            over_separate=interval(0.11 + 0.37 * (1 - share), 0.02),
            over_pooled=interval(0.03 - 0.01 * (1 - share), 0.02),
        )
        for share in shares
    )


def ablation() -> tuple[Ablated, ...]:
    return (
        Ablated("near the mean, shrunk intercepts", "toward_mean", interval(0.33, 0.02),
                interval(0.08, 0.02)),
        Ablated("near the mean, shrunk intercepts", "L2", interval(0.41, 0.02),
                interval(0.001, 0.01)),
        Ablated("near the mean, shrunk intercepts", "L1", interval(0.43, 0.02),
                interval(-0.02, 0.01)),
    )  # fmt: skip


EXTRAS: dict[str, Any] = {
    "path": path(),
    "sparsity": kept(),
    "parameter_importance": (
        ParameterImportance("strength", 0.93, 0.071, 20),
        ParameterImportance("penalty", 0.0652, 0.0188, 2),
        ParameterImportance("task_weight", 0.00004, 0.00046, 2),
    ),
    "learning": learning(),
    "ablation": ablation(),
}


def setup(n_tasks: int = 139, n_rows: int = 15362) -> Setup:
    return Setup(
        form="long",
        n_rows=n_rows,
        n_tasks=n_tasks,
        n_features=27,
        problem="regression",
        metric="d2",
        greater_is_better=True,
        splits="within",
        n_splits=5,
        planned=5,
        seed=0,
        rows_per_task=(22, 103.0, 251),
    )


LOCK = {
    "data": {"checksum": "xxh3_128:" + "9f8a" * 8, "rows": 15362, "tasks": 139, "columns": 27},
    "settings": {"loss": "auto", "metric": "d2", "splits": "within", "cv": None},
    "seed": 0,
    "versions": {"polytask": "0.1.0.dev0", "numpy": "2.4.6", "scikit-learn": "1.9.1"},
    "threads": {"processors": 2, "per_fit": 1},
    "command": {
        "line": "polytask compare school.csv --target score --task school --out answer",
        "options": {},
        "complete": True,
    },
}


def share() -> Comparison:
    """139 schools, most of which gain; a tree model is not better."""
    found = tasks(139)
    return Comparison(
        verdict="share",
        gain=Interval(0.031, 0.012, 0.050),
        gain_90=Interval(0.031, 0.015, 0.047),
        margin=0.01,
        plain="pooled",
        pooling_gain=interval(0.080, 0.016),
        recommended="near the mean, shrunk intercepts",
        trees_gain=Interval(-0.014, -0.031, 0.003),
        setup=setup(),
        models=models(),
        tasks=found,
        two_by_two=two_by_two(),
        dominance=tuple((task.task, 1 / 139) for task in found),
        coefficients=coefficients([task.task for task in found]),
        diagnostics=("multi-task, TraceNorm: ended at max_iter=10000 before its tolerance",),
        complete=True,
        seconds=213.4,
        lock=LOCK,
        **EXTRAS,
    )


def change(result: Comparison, fields: dict[str, Any]) -> Comparison:
    return dataclasses.replace(result, **fields)


def quick() -> Comparison:
    """The inconclusive comparison, had it been a quick one."""
    found = inconclusive()
    return change(found, {"setup": dataclasses.replace(found.setup, quick=True)})


def inconclusive() -> Comparison:
    """Four tasks, one of which dominates; three models."""
    found = tasks(4, mean=0.0, spread=0.01, names=("north", "east", "south", "west"))
    return change(
        share(),
        {
            "verdict": "inconclusive",
            "gain": interval(0.0042, 0.016),
            "gain_90": interval(0.0042, 0.0134),
            "times_more": 5.32,
            "pooling_gain": interval(-0.003, 0.02),
            "trees_gain": interval(0.052, 0.021),
            "recommended": "pooled boosting, category",
            "setup": setup(4, 640),
            "tasks": found,
            "dominance": (("north", 0.83), ("east", 0.09), ("south", 0.05), ("west", 0.03)),
            "coefficients": coefficients([task.task for task in found]),
            "diagnostics": (),
        },
    )


def separate() -> Comparison:
    """Sharing loses."""
    return change(
        share(),
        {
            "verdict": "separate",
            "gain": interval(-0.04, 0.01),
            "gain_90": interval(-0.04, 0.008),
            "pooling_gain": Interval(-0.08, -0.11, -0.05),
        },
    )


def no_difference() -> Comparison:
    """Sharing differs by less than the margin."""
    return change(
        share(),
        {
            "verdict": "no practical difference",
            "gain": interval(0.0021, 0.0052),
            "gain_90": interval(0.0021, 0.0044),
            "pooling_gain": interval(0.001, 0.004),
            "recommended": "pooled",
        },
    )


def pool() -> Comparison:
    """Pooling is enough; the metric is an error."""
    return change(
        share(),
        {
            "verdict": "pool",
            "gain": interval(1.2, 7.5),
            "gain_90": interval(1.2, 6.3),
            "margin": 3.1,
            "pooling_gain": interval(52.1, 9.4),
            "trees_gain": None,
            "recommended": "pooled + intercepts",
            "setup": dataclasses.replace(setup(), metric="rmse", greater_is_better=False),
            "coefficients": None,
        },
    )


def hostile() -> Comparison:
    """Names that would break a page, a table or a terminal if they were taken for more."""
    names = (*HOSTILE, 7, "7", 2.5, True, None, ("a", 1, None))
    found = tasks(len(names), names=names)
    rows = list(models(4))
    rows[0] = dataclasses.replace(rows[0], name=HOSTILE[0], note=HOSTILE[1])
    rows[1] = dataclasses.replace(rows[1], name=HOSTILE[6])
    rows[2] = dataclasses.replace(rows[2], name=HOSTILE[4])
    features = (*HOSTILE[:13], "plain")
    return change(
        share(),
        {
            "recommended": HOSTILE[0],
            "models": tuple(rows),
            "tasks": found,
            "dominance": ((HOSTILE[1], 0.9), ("other", 0.1)),
            "coefficients": dataclasses.replace(
                coefficients([str(name) for name in names]), features=features
            ),
            "diagnostics": HOSTILE,
            "path": dataclasses.replace(
                path(HOSTILE[:8]), model=HOSTILE[0], penalty=HOSTILE[2], measure="score"
            ),
            "sparsity": (SparsitySummary(HOSTILE[12], HOSTILE[1], 0.5, 0.25, 3),),
            "ablation": (
                Ablated(HOSTILE[0], HOSTILE[3], interval(0.3, 0.1), interval(0.1, 0.02)),
            ),
            "setup": setup(len(names), 2000),
            "lock": {**LOCK, "command": {"line": f"polytask compare '{HOSTILE[1]}' ```"}},
        },
    )


def incomplete() -> Comparison:
    """Interrupted after two of five splits; some models never ran, some numbers are missing."""
    nothing = Interval(NAN, NAN, NAN)
    rows = [dataclasses.replace(row, splits=(*row.splits[:2], NAN, NAN, NAN)) for row in models(5)]
    rows[3] = dataclasses.replace(
        rows[3], score=nothing, metrics={}, fit_seconds=NAN, predict_seconds=NAN,
        nonzero=None, file_bytes=None, note="left out: needs 100 rows per task",
    )  # fmt: skip
    rows[1] = dataclasses.replace(rows[1], score=Interval(0.39, NAN, NAN))
    return change(
        share(),
        {
            "models": tuple(rows),
            "setup": dataclasses.replace(setup(), n_splits=2),
            "complete": False,
            "trees_gain": None,
            "two_by_two": None,
            "coefficients": None,
            "learning": (),
            "ablation": (),
            "tasks": (*tasks(6), TaskGain("new", 0, NAN, NAN, NAN, NAN, "unclear", "collect")),
            "stopped": "interrupt",
        },
    )


def nothing() -> Comparison:
    """Interrupted before anything was done."""
    none = Interval(NAN, NAN, NAN)
    return change(
        share(),
        {
            "verdict": "inconclusive",
            "gain": none,
            "gain_90": none,
            "pooling_gain": none,
            "trees_gain": None,
            "recommended": "",
            "models": (),
            "tasks": (),
            "two_by_two": None,
            "dominance": (),
            "coefficients": None,
            **dict.fromkeys(("sparsity", "parameter_importance", "learning", "ablation"), ()),
            "path": None,
            "complete": False,
            "setup": dataclasses.replace(setup(), n_splits=0),
        },
    )


def many() -> Comparison:
    """1,000 tasks."""
    found = tasks(1000)
    return change(
        share(),
        {
            "tasks": found,
            "setup": setup(1000, 150_000),
            "coefficients": coefficients([task.task for task in found[:100]], 30),
        },
    )


def one_model() -> Comparison:
    """One model, no trees, no table of shrinkage and sharing, one task."""
    return change(
        share(),
        {
            "models": models(1),
            "tasks": tasks(1),
            "trees_gain": None,
            "two_by_two": None,
            "setup": setup(1, 120),
            "dominance": (("school 001", 1.0),),
        },
    )


ALL = {
    "share": share,
    "inconclusive": inconclusive,
    "separate": separate,
    "no_difference": no_difference,
    "pool": pool,
    "hostile": hostile,
    "incomplete": incomplete,
    "nothing": nothing,
    "many": many,
    "one_model": one_model,
}
