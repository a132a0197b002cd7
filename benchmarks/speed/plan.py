"""Which programs run on which problems, and what polytask must reach there."""

from __future__ import annotations

from dataclasses import dataclass

from environments import ADELIE, CELER, HERE, SKGLM, SKLEARN, Environment

SHARED = ("P1", "P1L", "P2", "P3", "P7")
SEPARATE = ("P4", "P5", "P6")
OURS, FISTA, FLOOR = "polytask", "FISTA with restart", "X'X and X'Y"


@dataclass(frozen=True)
class Program:
    """A program of the comparison.

    Its tolerance starts at `first_tol` and is multiplied by `step`; `solves` is False for a
    floor that solves nothing. On the problems in `slow` it takes minutes: it runs there only
    with --long.
    """

    label: str
    module: str
    environment: Environment
    problems: tuple[str, ...]
    first_tol: float = 1e-3
    step: float = 0.1
    solves: bool = True
    slow: tuple[str, ...] = ()


PROGRAMS = (
    Program(OURS, "polytask_fit", HERE, (*SHARED, *SEPARATE, "P3CV"), 1e-6),
    Program(FISTA, "fista", HERE, SEPARATE, 1e-4, 0.3),
    Program(FLOOR, "floor", HERE, ("P3", "P3CV"), solves=False),
    Program("scikit-learn", "sklearn_tasks", SKLEARN, SHARED, 4e-7),
    Program(
        "celer", "celer_tasks", CELER, ("P1", "P1L", "P2", "P3", "P3CV"), 4e-7, slow=("P3CV",)
    ),
    Program("skglm", "skglm_tasks", SKGLM, SHARED, 1e-5, 0.3),
    Program("adelie", "adelie_tasks", ADELIE, ("P1", "P1L", "P2", "P4", "P7"), 1e-5),
)
PEERS = tuple(p.label for p in PROGRAMS if p.environment is not HERE)


@dataclass(frozen=True)
class Target:
    """polytask may take `share` of the CPU time of the best of `against`."""

    share: float
    against: tuple[str, ...]
    words: str


TARGETS = {
    "P1": Target(1 / 3, PEERS, "a third of the best peer"),
    "P1L": Target(1 / 2, PEERS, "half of the best peer"),
    "P2": Target(1 / 2, PEERS, "half of the best peer"),
    "P3": Target(1.3, (FLOOR,), "1.3 x X'X and X'Y"),
    "P3CV": Target(2.5, (FLOOR,), "2.5 x X'X and X'Y"),
    "P4": Target(1 / 2, (FISTA,), "half of FISTA with restart"),
    "P5": Target(1 / 2, (FISTA,), "half of FISTA with restart"),
    "P6": Target(0.6, (FISTA,), "0.6 of FISTA with restart"),
    "P7": Target(1 / 2, PEERS, "half of the best peer"),
}
# Minutes for some programs: run only if asked for by name or with --long.
LONG = ("P1L",)
