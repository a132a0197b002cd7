"""Kill a comparison at random moments and go on: ``python benchmarks/compare_kill.py``.

A table is written, and ``polytask compare`` runs on it twice undisturbed. Then the same command
is started again and again in a third folder: ten times it is killed with SIGKILL at a random
moment, and at last it may finish. Printed is for every file whether its bytes are the same, and
if they are not, what differs.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import platform
import random
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _kill import Work, command, table, tell

import polytask

CLOCK_COLUMNS = ("fit_seconds", "predict_seconds")
WORDS = (
    "compare", "a.csv", "--task", "school", "--target", "y", "--splits", "5", "--jobs", "1",
    "--models", "separate", "--models", "pooled + intercepts", "--models", "near the mean",
    "--models", "boosting pooled", "--out", "out",
)  # fmt: skip
COMPARE = Work(command(*WORDS), "out/journal")


def without_clock(text: str) -> str:
    """Return a table without its columns of times, the rest byte for byte."""
    rows = list(csv.reader(io.StringIO(text)))
    kept = [k for k, name in enumerate(rows[0]) if name not in CLOCK_COLUMNS]
    return "\n".join(",".join(row[k] for k in kept) for row in rows)


def differing(one: object, other: object, where: str = "") -> list[str]:
    """Return the places in which two JSON values differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        places = []
        for key in sorted(one.keys() | other.keys()):
            places += differing(one.get(key), other.get(key), f"{where}.{key}".lstrip("."))
        return places
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [p for a, b in zip(one, other, strict=True) for p in differing(a, b, where + "[]")]
    return [] if repr(one) == repr(other) else [where]


def said(first: Path, second: Path) -> dict[str, str]:
    """Return for every file of two finished folders whether it is the same, or what differs."""
    names = {p.relative_to(f).as_posix() for f in (first, second) for p in files(f)}
    found = {}
    for name in sorted(names - {"journal"}):
        pair = [folder / name for folder in (first, second)]
        both = all(path.exists() for path in pair)
        found[name] = same(*pair) if both else "missing in one of them"
    return found


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


NUMBER = re.compile(r"[\d.]+(e[-+]\d+)?")


def same(first: Path, second: Path) -> str:
    """Say how two files differ."""
    if first.read_bytes() == second.read_bytes():
        return "same bytes"
    return TELLERS[first.suffix](first, second)


def same_tables(*pair: Path) -> str:
    plain = [without_clock(path.read_text(encoding="utf-8")) for path in pair]
    return f"same but for {', '.join(CLOCK_COLUMNS)}" if plain[0] == plain[1] else "DIFFERENT"


def same_values(*pair: Path) -> str:
    one, other = (json.loads(path.read_text(encoding="utf-8")) for path in pair)
    return "same but for " + ", ".join(dict.fromkeys(differing(one, other)))


def same_text(*pair: Path) -> str:
    lines = [path.read_text(encoding="utf-8").splitlines() for path in pair]
    if len(lines[0]) != len(lines[1]):
        return "DIFFERENT numbers of lines"
    changed = [both for both in zip(*lines, strict=True) if both[0] != both[1]]
    # The columns of a table are as wide as their numbers.
    plain = [[re.sub(r" +", " ", NUMBER.sub("0", line)) for line in both] for both in changed]
    what = "numbers" if all(a == b for a, b in plain) else "WORDS"
    return f"same but for {what} in {len(changed)} lines"


def same_models(*pair: Path) -> str:
    X = table().drop(columns="y")
    one, other = (polytask.load(path) for path in pair)
    same = np.array_equal(one.predict(X), other.predict(X))
    return "other bytes, same predictions to the last bit" if same else "DIFFERENT predictions"


TELLERS: dict[str, Callable[[Path, Path], str]] = {
    ".csv": same_tables,
    ".json": same_values,
    ".html": same_text,
    ".md": same_text,
    ".polytask": same_models,
}


def main() -> None:
    """Run, kill, go on, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder to work in and leave there")
    chosen = parser.parse_args()
    print(f"polytask {polytask.__version__}, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as temporary:
        work(chosen.keep or Path(temporary), chosen.kills, random.Random(chosen.seed))


def work(folder: Path, kills: int, moments: random.Random) -> None:
    """Run undisturbed twice, killed once, and tell what differs."""
    places = [folder / name for name in ("first", "second", "killed")]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
        table().to_csv(place / "a.csv", index=False)
    start, rest, _ = COMPARE.whole(places[0])
    COMPARE.whole(places[1])
    print(f"An undisturbed run takes {start + rest:.0f} s.\n")
    COMPARE.disturbed(places[2], kills, moments, (start, rest))
    outs = [place / "out" for place in places]
    tell("Two undisturbed runs", said(outs[0], outs[1]))
    tell("Killed and gone on, against undisturbed", said(outs[0], outs[2]))


if __name__ == "__main__":
    main()
