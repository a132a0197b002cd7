"""`compare` with its default settings on real data: ``python benchmarks/compare_real.py``.

For every set: the verdict, the gain of sharing and of pooling with intervals, the recommended
model, the table of shrinkage and sharing, how many tasks gain and lose, the leaderboard, and the
time beside the estimate that was printed before. What was expected of a set is checked and
said either way. With ``--keep FOLDER`` a finished set is kept there and not run again, and one
that was cut off goes on where it was (its CPU seconds are then those of the last part);
``--tables`` then prints all tables from what is kept.
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


@dataclass(frozen=True)
class Run:
    """One finished comparison."""

    name: str
    quick: bool
    said: str
    wall: float
    cpu: float
    result: str

    @property
    def comparison(self) -> Comparison:
        return Comparison.from_json(self.result)

    @property
    def estimate(self) -> float:
        """Return the seconds that were announced."""
        number, unit = re.findall(r"([\d.]+) (s|minute|hour|day)", self.said)[-1]
        return float(number) * SECONDS[unit]


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
    return Run(name, quick, line.group(0), wall, cpu, result.to_json())


def interval(value: Interval | None, signed: bool = True) -> str:
    """Return a mean and its ends, where there are any."""
    if value is None or np.isnan(value.mean):
        return "none"
    sign = "+" if signed else ""
    if np.isnan(value.low):
        return f"{value.mean:{sign}.4f}"
    return f"{value.mean:{sign}.4f} ({value.low:.4f} to {value.high:.4f})"


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
    """Return all of one set."""
    result = done.comparison
    groups = Counter(task.group for task in result.tasks)
    actions = Counter(task.action for task in result.tasks)
    setup, table = result.setup, result.two_by_two
    lines = [
        f"\n## {done.name}\n",
        f"{setup.n_rows:,} rows, {setup.n_tasks:,} tasks, {setup.n_features} features, "
        f"{setup.problem}" + (", quick=True" if done.quick else "") + "\n",
        f"> {result.summary().splitlines()[0]}\n",
        f"- gain {interval(result.gain)}, margin {result.margin:.4f}, pooling gain "
        f"{interval(result.pooling_gain)}, trees gain {interval(result.trees_gain)}",
        f"- recommended: {result.recommended}",
        f"- tasks: {said(groups)}; to do: {said(actions)}",
    ]
    if table is not None:
        lines += [
            f"- separate {table.separate_none.mean:.4f} (no penalty), "
            f"{table.separate_tuned.mean:.4f} (tuned); together {table.joint_none.mean:.4f}, "
            f"{table.joint_tuned.mean:.4f}",
            f"- shrinkage {interval(table.shrinkage_gain)}, sharing "
            f"{interval(table.sharing_gain)}",
        ]
    lines += expectation(done.name, result)
    lines += ["", *leaderboard(result)]
    return "\n".join(lines)


def said(counts: Counter[str]) -> str:
    return ", ".join(f"{word} {count}" for word, count in sorted(counts.items())) or "none"


def expectation(name: str, result: Comparison) -> list[str]:
    if name not in EXPECTED:
        return []
    wanted, check = EXPECTED[name]
    holds, found = check(result)
    return [f"- expected: {wanted}: **{'holds' if holds else 'does not hold'}** ({found})"]


def leaderboard(result: Comparison) -> list[str]:
    """Return the models with what they cost."""
    auc = "auc" in result.models[0].metrics
    lines = [
        "| model | d2 | " + ("AUC | " if auc else "") + "chosen | CPU s per fit |",
        "|---|---|" + ("---|" if auc else "") + "---|---|",
    ]
    for row in result.models:
        if np.isnan(row.score.mean):
            lines.append(f"| {row.name} | {row.note} |" + (" |" if auc else "") + " | |")
            continue
        area = f"{row.metrics['auc']:.3f} | " if auc else ""
        score = interval(row.score, signed=False)
        lines.append(f"| {row.name} | {score} | {area}{row.picked} | {row.fit_seconds:.2f} |")
    return lines


HEAD = (
    "| set | verdict | gain | pooling gain | recommended | tasks: gain, lose, unclear, same "
    "| shrinkage | sharing | estimate s | wall s | CPU s | wall : estimate |"
)


def overview(done: Run) -> str:
    """Return the row of a set in the table of all of them."""
    result = done.comparison
    groups = Counter(task.group for task in result.tasks)
    cells = [
        done.name + (" (quick)" if done.quick else ""),
        result.verdict,
        interval(result.gain),
        interval(result.pooling_gain),
        result.recommended,
        ", ".join(str(groups[word]) for word in ("gain", "lose", "unclear", "same")),
        interval(result.shrinkage_gain),
        interval(result.sharing_gain),
        f"{done.estimate:.0f}",
        f"{done.wall:.0f}",
        f"{done.cpu:.0f}",
        f"{done.wall / done.estimate:.2f}",
    ]
    return "| " + " | ".join(cells) + " |"


def kept(folder: Path | None, name: str) -> Run | None:
    """Return a comparison of an earlier call."""
    path = None if folder is None else folder / f"{name}.json"
    if path is None or not path.exists():
        return None
    return Run(**json.loads(path.read_text(encoding="utf-8")))


def finished(name: str, quick: bool, folder: Path | None) -> Run:
    """Return the comparison of a set: kept, or done now and kept."""
    done = kept(folder, name)
    if done is None:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        done = run(name, quick, None if folder is None else folder / f"{name}.journal")
        if folder is not None:
            (folder / f"{name}.json").write_text(json.dumps(asdict(done)), encoding="utf-8")
    return done


def main() -> None:
    """Run the chosen sets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=SETS, help=f"of {', '.join(SETS)}")
    parser.add_argument("--quick", action="store_true", help="all sets with quick=True")
    parser.add_argument("--full", action="store_true", help="no set with quick=True")
    parser.add_argument("--keep", type=Path, help="a folder for finished sets")
    parser.add_argument("--tables", action="store_true", help="of what is kept; runs nothing")
    chosen = parser.parse_args()
    print(
        f"polytask {polytask.__version__}, scikit-learn {sklearn.__version__}, "
        f"numpy {np.__version__}, Python {platform.python_version()}, {platform.machine()}"
    )
    done = []
    for name in chosen.sets:
        found = (
            kept(chosen.keep, name)
            if chosen.tables
            else finished(name, chosen.quick or (name in QUICK and not chosen.full), chosen.keep)
        )
        if found is not None:
            done.append(found)
            if not chosen.tables:
                print(section(found), flush=True)
    print(f"\n## All sets\n\n{HEAD}")
    print("|" + "---|" * (HEAD.count("|") - 1))
    print("\n".join(overview(one) for one in done))
    if chosen.tables:
        print("\n".join(section(one) for one in done))


if __name__ == "__main__":
    main()
