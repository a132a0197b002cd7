"""Runs one program on one problem, in the environment of that program.

``python worker.py MODULE FOLDER WARM OUT`` prepares, warms up on the small problem in WARM,
then answers every line of standard input, a tolerance, by a line of JSON with the CPU seconds
of all threads and children and the wall seconds; the answers lie in OUT.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
from problems import load

ANSWER = "answer "


def cpu_seconds() -> float:
    """Return what this process and its children have used so far."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, kinds))


def main(module: str, folder: str, warm: str, out: str) -> None:
    """Answer until standard input ends."""
    prepare = importlib.import_module(f"peers.{module}").prepare
    prepare(load(Path(warm)))(1e-4)
    solve = prepare(load(Path(folder)))
    print(ANSWER + json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        cpu, wall = cpu_seconds(), time.perf_counter()
        answers = solve(float(line))
        spent = {"cpu": cpu_seconds() - cpu, "wall": time.perf_counter() - wall}
        np.savez(Path(out), *answers)
        print(ANSWER + json.dumps(spent), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
