"""How fast polytask is at certified precision: ``python benchmarks/speed/run.py``.

Every program solves every problem it takes in a process and an environment of its own. Its
tolerance is lowered until objective and duality gap, recomputed in float64 by ``score.py``,
certify a gap of 1e-6 of the objective at W = 0; only then times count: CPU seconds of all
threads and children beside wall seconds, medians of repeats (answers of over half a minute
are not repeated).

``--only P4,P5`` runs some problems, ``--threads 2`` sets the threads of BLAS and OpenMP,
``--limit 600`` ends a program that takes more wall seconds for one answer, ``--scale`` measures
growth and memory instead, ``--save FILE`` writes what is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import growth
import numpy as np
import plan
from environments import Environment, python_of, versions
from problems import PROBLEMS, WARM, Problem
from score import Score, worst
from worker import ANSWER

WANTED = 1e-6
_LOWEST_TOL = 1e-13
# An answer that takes more wall seconds is not repeated.
_LONG_ANSWER = 30.0
_HERE = Path(__file__).parent
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Result:
    """What one program reached on one problem."""

    label: str
    cpu: float = float("nan")
    wall: float = float("nan")
    tol: float = float("nan")
    found: Score | None = None
    reason: str = ""


class Worker:
    """A program in a process of its own, with one problem loaded."""

    def __init__(
        self,
        python: Path,
        module: str,
        folders: tuple[Path, Path, Path],
        threads: int,
        limit: float,
    ):
        self.out, self.limit, self.ended = folders[2], limit, False
        environment = os.environ | dict.fromkeys(_THREADS, str(threads))
        self.log = (self.out.parent / "log.txt").open("w", encoding="utf-8")
        self.process = subprocess.Popen(
            [str(python), str(_HERE / "worker.py"), module, *map(str, folders)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=environment,
            text=True,
        )
        self._read()

    def _read(self) -> dict[str, float]:
        for line in self.process.stdout or ():
            if line.startswith(ANSWER):
                return json.loads(line.removeprefix(ANSWER))
        self.log.close()
        if self.ended:
            raise RuntimeError(f"takes more than {self.limit:g} s for one answer")
        said = Path(self.log.name).read_text(encoding="utf-8").strip().splitlines()
        raise RuntimeError(said[-1] if said else "the process ended without an answer")

    def solve(self, tol: float) -> dict[str, float]:
        """Solve once; return the seconds."""
        if self.process.stdin is None:
            raise RuntimeError("the process has no input")
        clock = threading.Timer(self.limit, self._end)
        clock.start()
        try:
            self.process.stdin.write(f"{tol!r}\n")
            self.process.stdin.flush()
            return self._read()
        finally:
            clock.cancel()

    def _end(self) -> None:
        self.ended = True
        self.process.kill()

    def answers(self) -> list[np.ndarray]:
        """Return the answers of the last solve."""
        with np.load(self.out) as file:
            return [file[f"arr_{k}"] for k in range(len(file.files))]

    def close(self) -> None:
        """End the process."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.wait(timeout=60)
        self.log.close()


def measure(
    program: plan.Program, python: Path, problem: Problem, place: Path, options: argparse.Namespace
) -> Result:
    """Lower the tolerance until the answer is certified, then repeat."""
    folders = (place / "problem", place / "warm", place / "answer.npz")
    try:
        worker = Worker(python, program.module, folders, options.threads, options.limit)
        tol, first, found = program.first_tol, worker.solve(program.first_tol), None
        while program.solves:
            found = worst(problem, worker.answers())
            if found.relative <= WANTED:
                break
            tol *= program.step
            if tol < _LOWEST_TOL:
                reason = f"reaches a relative gap of {found.relative:.1e} only"
                return Result(program.label, found=found, reason=reason)
            first = worker.solve(tol)
        again = options.repeats - 1 if first["wall"] < _LONG_ANSWER else 0
        times = [first, *(worker.solve(tol) for _ in range(again))]
        worker.close()
    except (RuntimeError, OSError) as error:
        return Result(program.label, reason=str(error)[:100])
    cpu, wall = (statistics.median(t[k] for t in times) for k in ("cpu", "wall"))
    return Result(program.label, cpu, wall, tol, found)


def table(name: str, results: list[Result]) -> list[str]:
    """Return the lines of one problem."""
    by_label = {r.label: r for r in results}
    ours = by_label[plan.OURS].cpu
    lines = [
        "",
        f"| {name} | CPU s | wall s | polytask / it | gap / F(0) | its tol | objective | rows |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        if r.reason:
            lines.append(f"| {r.label} | {r.reason} | | | | | | |")
            continue
        row = f"| {r.label} | {r.cpu:.3f} | {r.wall:.3f} | {ours / r.cpu:.2f} |"
        if r.found is not None:
            f = r.found
            row += f" {f.relative:.1e} | {r.tol:.0e} | {f.objective:.10g} | {f.support} |"
        lines.append(row if r.found is not None else row + " | | | |")
    return [*lines, "", verdict(name, by_label)]


def verdict(name: str, by_label: dict[str, Result]) -> str:
    """Say whether the target is met."""
    target = plan.TARGETS[name]
    rivals = [by_label[k] for k in target.against if k in by_label and by_label[k].cpu > 0]
    ours = by_label[plan.OURS]
    if not rivals or not ours.cpu > 0:
        return f"{name}: the target ({target.words}) cannot be judged."
    best = min(rivals, key=lambda r: r.cpu)
    ratio, said = ours.cpu / best.cpu, "met" if ours.cpu <= target.share * best.cpu else "missed"
    return f"{name}: target {target.words}: {said} ({ratio:.2f} of {best.label})."


def compare(name: str, options: argparse.Namespace, pythons: dict[str, Path | None]) -> list[str]:
    """Run all programs on one problem."""
    problem, results = PROBLEMS[name](), []
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        problem.save(place / "problem")
        WARM[name]().save(place / "warm")
        for program in plan.PROGRAMS:
            python = pythons.get(program.environment.name)
            if name not in program.problems or (name in program.slow and not options.long):
                continue
            if python is None:
                results.append(Result(program.label, reason="not installed"))
                continue
            results.append(measure(program, python, problem, place, options))
            print(f"  {name} {results[-1]}", file=sys.stderr, flush=True)
    return table(name, results)


def heading(options: argparse.Namespace, pythons: dict[str, Path | None]) -> list[str]:
    """Return the command, the versions and the size of the machine."""
    lines = [
        f"`{shlex.join(['python', 'benchmarks/speed/run.py', *sys.argv[1:]])}`",
        "",
        f"Python {platform.python_version()}, {os.cpu_count()} cores, {options.threads} "
        f"thread(s), medians of {options.repeats}; polytask here with "
        + versions(Path(sys.executable), ("polytask", "numpy", "scipy", "numba", "scikit-learn")),
    ]
    for environment in _environments():
        python = pythons.get(environment.name)
        if environment.packages and python is not None:
            known = versions(python, (*environment.packages, "numpy"))
            lines.append(f"- {environment.name}: {known}")
    return lines


def _environments() -> list[Environment]:
    return list({p.environment.name: p.environment for p in plan.PROGRAMS}.values())


def chosen_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="problems, with commas")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--long", action="store_true", help="also what takes minutes")
    parser.add_argument("--limit", type=float, default=1800.0, help="wall seconds of one answer")
    parser.add_argument("--scale", action="store_true", help="growth and memory instead")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "polytask-speed")
    parser.add_argument("--save", type=Path)
    return parser.parse_args()


def main() -> None:
    """Run what was asked for."""
    options = chosen_options()
    names = [n for n in options.only.split(",") if n]
    names = names or [n for n in PROBLEMS if n in plan.TARGETS]
    names = [n for n in names if options.long or options.only or n not in plan.LONG]
    if options.scale:
        lines = heading(options, {}) + growth.lines()
        print("\n".join(lines))
    else:
        pythons = {e.name: python_of(e, options.cache) for e in _environments()}
        lines = heading(options, pythons)
        print("\n".join(lines), flush=True)
        for name in names:
            part = compare(name, options, pythons)
            print("\n".join(part), flush=True)
            lines += part
    if options.save:
        options.save.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
