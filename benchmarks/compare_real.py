"""`compare` with its default settings on real data: ``python benchmarks/compare_real.py``.

For every set: the verdict, the gain of sharing and of pooling with intervals, the recommended
model, the table of shrinkage and sharing, how many tasks gain and lose, the leaderboard, and the
time beside the estimate that was printed before. What was expected of a set is checked and
said either way. With ``--keep FILE`` a finished set is kept there and not run again, and one
that was cut off goes on where it was (its CPU seconds are then those of the last part).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import platform
import re
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import sklearn
from _sets import load_set
from _tables import table

import polytask
from polytask import Comparison, compare
from polytask.comparison.records import Interval

SETS = (
    "radon",
    "computer",
    "exam65",
    "school",
    "heart4",
    "landmine",
    "sarcos_sub",
    "mtr_enb",
    "mtr_scpf",
    "bank_conjoint",
    "hillstrom",
)
# A full comparison of these takes long: few models.
QUICK = frozenset({"bank_conjoint", "hillstrom"})
SECONDS = {"s": 1, "minute": 60, "hour": 3600, "day": 86400}


# A mean, a lower and an upper end.
Ends = list[float] | None


@dataclass(frozen=True)
class Run:
    """What the tables say of one finished comparison."""

    name: str
    quick: bool
    estimate: float
    wall: float
    cpu: float
    size: str
    headline: str
    verdict: str
    margin: float
    recommended: str
    groups: dict[str, int]
    actions: dict[str, int]
    gain: Ends
    pooling: Ends
    trees: Ends
    shrinkage: Ends
    sharing: Ends
    # No penalty and tuned, separate and then together.
    two_by_two: list[float] | None
    expected: str
    # Name, score, area under the curve, in how many folds chosen, seconds of a fit, remark.
    models: list[tuple[str, Ends, float | None, int, float, str]]


def ends(value: Interval | None) -> Ends:
    """Return a mean and its ends, rounded as no table shows more."""
    if value is None or np.isnan(value.mean):
        return None
    told = [value.mean] if np.isnan(value.low) else [value.mean, value.low, value.high]
    return [round(float(number), 6) for number in told]


def run(name: str, quick: bool, journal: Path | None) -> Run:
    """Compare on one set, and take down what was announced."""
    data = load_set(name)
    announced = io.StringIO()
    wall, cpu = time.perf_counter(), time.process_time()
    with warnings.catch_warnings(), contextlib.redirect_stderr(announced):
        warnings.simplefilter("ignore")
        result = compare(
            data.X, data.y, task=data.task, quick=quick, n_jobs=1, verbose=True, journal=journal
        )
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    line = re.search(r"\d+ models?, .*", announced.getvalue())
    if line is None:
        raise SystemExit(f"{name}: no estimate was printed.")
    number, unit = re.findall(r"([\d.]+) (s|minute|hour|day)", line.group(0))[-1]
    setup, two = result.setup, result.two_by_two
    four = () if two is None else (
        two.separate_none, two.separate_tuned, two.joint_none, two.joint_tuned
    )  # fmt: skip
    return Run(
        name, quick, float(number) * SECONDS[unit], round(wall, 1), round(cpu, 1),
        size=f"{setup.n_rows:,} rows, {setup.n_tasks:,} tasks, {setup.n_features} features, "
             f"{setup.problem}",
        headline=result.summary().splitlines()[0],
        verdict=result.verdict,
        margin=round(result.margin, 6),
        recommended=result.recommended,
        groups=dict(Counter(task.group for task in result.tasks)),
        actions=dict(Counter(task.action for task in result.tasks)),
        gain=ends(result.gain), pooling=ends(result.pooling_gain), trees=ends(result.trees_gain),
        shrinkage=ends(result.shrinkage_gain), sharing=ends(result.sharing_gain),
        two_by_two=[round(one.mean, 6) for one in four] or None,
        expected=expectation(name, result),
        models=[
            (row.name, ends(row.score), row.metrics.get("auc"), row.picked,
             round(row.fit_seconds, 3), row.note)
            for row in result.models
        ],
    )  # fmt: skip


def interval(value: Ends, signed: bool = True) -> str:
    """Return a mean and its ends, where there are any."""
    if value is None:
        return "none"
    mean, *both = value
    told = f"{mean:{'+' if signed else ''}.4f}"
    return f"{told} ({both[0]:.4f} to {both[1]:.4f})" if both else told


def above(result: Comparison, first: str, second: str) -> float:
    """Return by how much one row of the leaderboard is above another, on the same rows."""
    scores = {row.name: row.score.mean for row in result.models}
    return scores[first] - scores[second]


def best_shared(result: Comparison) -> str:
    """Return the best multi-task model of the leaderboard."""
    return next(row.name for row in result.models if row.kind == "shared")


def computer_shares(result: Comparison) -> tuple[bool, str]:
    return result.verdict == "share", f"the verdict is {result.verdict!r}"


def school_is_not_worse(result: Comparison) -> tuple[bool, str]:
    best = best_shared(result)
    gain = above(result, best, "pooled + intercepts")
    return gain >= 0, f"{best} - pooled + intercepts: {gain:+.4f}"


def heart_pools(result: Comparison) -> tuple[bool, str]:
    best = best_shared(result)
    rows = [row.name for row in result.models if row.kind == "pooled" and row.family == "linear"]
    gain = above(result, rows[0], best)
    said = f"the verdict is {result.verdict!r}; {rows[0]} - {best}: {gain:+.4f}"
    return result.verdict == "pool", said


EXPECTED: dict[str, tuple[str, Callable[[Comparison], tuple[bool, str]]]] = {
    "computer": ("sharing wins", computer_shares),
    "school": ("the best multi-task model is not below pooled + intercepts", school_is_not_worse),
    "heart4": ("pooling wins and the verdict says so", heart_pools),
}


def section(done: Run) -> str:
    """Return what is said of one set below its heading."""
    lines = [
        f"{done.size}" + (", quick=True" if done.quick else "") + "\n",
        f"> {done.headline}\n",
        f"- gain {interval(done.gain)}, margin {done.margin:.4f}, pooling gain "
        f"{interval(done.pooling)}, trees gain {interval(done.trees)}",
        f"- recommended: {done.recommended}",
        f"- tasks: {said(done.groups)}; to do: {said(done.actions)}",
    ]
    if done.two_by_two is not None:
        plain, tuned, joint, both = done.two_by_two
        lines += [
            f"- separate {plain:.4f} (no penalty), {tuned:.4f} (tuned); together {joint:.4f}, "
            f"{both:.4f}",
            f"- shrinkage {interval(done.shrinkage)}, sharing {interval(done.sharing)}",
        ]
    lines += [done.expected] * bool(done.expected)
    return "\n".join([*lines, "", leaderboard(done)])


def said(counts: dict[str, int]) -> str:
    return ", ".join(f"{word} {count}" for word, count in sorted(counts.items())) or "none"


def expectation(name: str, result: Comparison) -> str:
    if name not in EXPECTED:
        return ""
    wanted, check = EXPECTED[name]
    holds, found = check(result)
    return f"- expected: {wanted}: **{'holds' if holds else 'does not hold'}** ({found})"


def leaderboard(done: Run) -> str:
    """Return the models with what they cost."""
    rows = []
    for name, score, auc, picked, seconds, note in done.models:
        if score is None:
            rows.append([name, note, "", "", ""])
        else:
            area = "" if auc is None else f"{auc:.3f}"
            rows.append([name, interval(score, signed=False), area, picked, f"{seconds:.2f}"])
    return table(["model", "d2", "AUC", "chosen", "CPU s per fit"], rows)


def overview(done: Run) -> list[str]:
    """Return the row of a set in the table of all of them."""
    return [
        done.name + (" (quick)" if done.quick else ""),
        done.verdict,
        interval(done.gain),
        interval(done.pooling),
        done.recommended,
        ", ".join(str(done.groups.get(word, 0)) for word in ("gain", "lose", "unclear", "same")),
        interval(done.shrinkage),
        interval(done.sharing),
        f"{done.estimate:.0f}",
        f"{done.wall:.0f}",
        f"{done.cpu:.0f}",
        f"{done.wall / done.estimate:.2f}",
    ]


def read(path: Path) -> dict[str, Run]:
    """Return the comparisons of earlier calls."""
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    done = [Run(**json.loads(line)) for line in lines]
    return {one.name: one for one in done}


def tables(done: dict[str, Run]) -> dict[str, str]:
    """Return the table of all sets, and what is said of each."""
    head = ["set", "verdict", "gain", "pooling gain", "recommended",
            "tasks: gain, lose, unclear, same", "shrinkage", "sharing", "estimate s", "wall s",
            "CPU s", "wall : estimate"]  # fmt: skip
    own = {name: section(one) for name, one in done.items()}
    return {"all sets": table(head, [overview(one) for one in done.values()])} | own


def main() -> None:
    """Run the chosen sets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=SETS, help=f"of {', '.join(SETS)}")
    parser.add_argument("--quick", action="store_true", help="all sets with quick=True")
    parser.add_argument("--full", action="store_true", help="no set with quick=True")
    parser.add_argument("--keep", type=Path, help="a file for finished sets")
    chosen = parser.parse_args()
    print(
        f"polytask {polytask.__version__}, scikit-learn {sklearn.__version__}, "
        f"numpy {np.__version__}, Python {platform.python_version()}, {platform.machine()}"
    )
    done = {} if chosen.keep is None else read(chosen.keep)
    for name in chosen.sets:
        if name not in done:
            quick = chosen.quick or (name in QUICK and not chosen.full)
            journal = chosen.keep and chosen.keep.with_suffix(f".{name}.journal")
            done[name] = run(name, quick, journal)
            if chosen.keep is not None:
                with chosen.keep.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(done[name])) + "\n")
        print(f"\n## {name}\n\n{section(done[name])}", flush=True)
    print(f"\n## All sets\n\n{tables(done)['all sets']}")


if __name__ == "__main__":
    main()
