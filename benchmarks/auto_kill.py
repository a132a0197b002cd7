"""Kill automatic choices and searches, and go on: ``python benchmarks/auto_kill.py``.

``polytask auto``, an AutoMultiTaskClassifier with a journal and ``tune`` with a storage are run
twice undisturbed. Then each is started again and again in a third folder: ten times it is killed
with SIGKILL at a random moment, and at last it may finish. Printed is for every result whether
its bytes are the same, times left out. A table of ``tune`` has no times.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _kill import Work, command, table, tell

import polytask
from polytask import AutoMultiTaskClassifier, MultiTaskRegressor
from polytask.penalties import L2, toward_mean
from polytask.selection import Between, tune

MODELS = ("separate", "pooled + intercepts", "near the mean", "learned prior", "boosting pooled")
TABLE, JOURNAL, SAID = "a.csv", "search.journal", "said.txt"
COMMAND = (
    "auto", TABLE, "--task", "school", "--target", "y", "--jobs", "1", "--out", "m.polytask",
)  # fmt: skip


def choose() -> None:
    """Learn classes without a choice of model, in the present folder."""
    frame = pd.read_csv(TABLE)
    X, labels = frame[list("abcd")], np.where(frame["y"] > 0, "high", "low")
    model = AutoMultiTaskClassifier(list(MODELS), journal=JOURNAL)
    model.fit(X, labels, task=frame["school"])
    model.leaderboard().to_csv("leaderboard.csv", index=False)
    np.savetxt("probabilities.csv", model.predict_proba(X, task=frame["school"]), fmt="%.17g")
    polytask.save(model.set_params(journal=None), "m.polytask")


def search() -> None:
    """Search two strengths and task weights, in the present folder."""
    frame = pd.read_csv(TABLE)
    space = {
        "penalty__p0__alpha": Between(1e-3, 100.0),
        "penalty__p1__alpha": Between(1e-3, 10.0),
        "task_weight": ["size", "equal"],
    }
    model = MultiTaskRegressor(toward_mean(1.0) + L2(1.0), standardize=True)
    X, y, school = frame[list("abcd")], frame["y"], frame["school"]
    found = tune(model, space, X, y, school, n_trials=40, storage=JOURNAL)
    found.frame().to_csv("trials.csv", index=False)
    polytask.save(found.estimator, "m.polytask")


PARTS: dict[str, Callable[[], None]] = {"choose": choose, "search": search}
WORKS = {
    "polytask auto": Work(
        command(*COMMAND, *(word for name in MODELS for word in ("--models", name))),
        "m.polytask.journal",
    ),
    "AutoMultiTaskClassifier with a journal": Work(
        (str(Path(__file__).resolve()), "--part", "choose"), JOURNAL
    ),
    "tune with a storage": Work((str(Path(__file__).resolve()), "--part", "search"), JOURNAL),
}


def same(first: Path, second: Path) -> str:
    """Say how two results differ."""
    if first.read_bytes() == second.read_bytes():
        return "same bytes"
    pair = [WITHOUT_TIMES[path.suffix](path) for path in (first, second)]
    return "same bytes but for times" if pair[0] == pair[1] else "DIFFERENT"


def model_without_times(path: Path) -> bytes:
    """Return the arrays of a model, and what it says of them without seconds and checksum."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    said = json.loads(content[8 : 8 + length])["__metadata__"]["polytask"]
    plain = timeless(json.loads(said) | {"sha256": ""})
    return json.dumps(plain).encode() + content[8 + length :]


def timeless(value: Any) -> Any:
    """Return a JSON value in which nothing took time."""
    if isinstance(value, dict):
        return {k: 0.0 if k == "seconds" else timeless(item) for k, item in value.items()}
    return [timeless(item) for item in value] if isinstance(value, list) else value


def table_without_times(path: Path) -> bytes:
    """Return a table without its column of times, the cells letter by letter."""
    cells = pd.read_csv(path, dtype=str, header=None, keep_default_na=False)
    return repr(cells.loc[:, cells.iloc[0] != "seconds"].to_numpy().tolist()).encode()


def text_without_times(path: Path) -> bytes:
    """Return what the command says without the last word of a row of models, its seconds."""
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = [line.split() for line in lines]
    kept = [row[:-1] if " ".join(row).startswith(MODELS) else row for row in rows]
    return repr(kept).encode()


WITHOUT_TIMES: dict[str, Callable[[Path], bytes]] = {
    ".polytask": model_without_times,
    ".csv": table_without_times,
    ".txt": text_without_times,
}


def run(title: str, work: Work, folder: Path, kills: int, moments: random.Random) -> None:
    """Run undisturbed twice, killed once, and tell what differs."""
    places = [folder / name for name in ("first", "second", "killed")]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
        table().to_csv(place / TABLE, index=False)
    start, rest, said = work.whole(places[0])
    (places[0] / SAID).write_bytes(said)
    (places[1] / SAID).write_bytes(work.whole(places[1])[2])
    print(f"\n## {title}\n\nAn undisturbed run takes {start + rest:.0f} s.\n")
    (places[2] / SAID).write_bytes(work.disturbed(places[2], kills, moments, (start, rest)))
    names = sorted(
        path.name
        for path in places[0].iterdir()
        if path.suffix in WITHOUT_TIMES and path.name != TABLE
    )
    for words, other in (("Two undisturbed runs", 1), ("Killed, against undisturbed", 2)):
        found = {name: same(places[0] / name, places[other] / name) for name in names}
        tell(f"{title}: {words}", found)


def main() -> None:
    """Run, kill, go on, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder to work in and leave there")
    parser.add_argument("--part", choices=PARTS, help="what a run of this program starts itself")
    chosen = parser.parse_args()
    if chosen.part is not None:
        PARTS[chosen.part]()
        return
    print(f"polytask {polytask.__version__}, Python {platform.python_version()}")
    moments = random.Random(chosen.seed)
    with tempfile.TemporaryDirectory() as temporary:
        for k, (title, work) in enumerate(WORKS.items()):
            run(title, work, (chosen.keep or Path(temporary)) / str(k), chosen.kills, moments)


if __name__ == "__main__":
    main()
