"""Tables that strangers bring, and what must come: ``python benchmarks/strangers.py [names]``.

Every case is a small table, one command and what was written down before it ran: the exit status,
words that its output must hold and words that it must not. Half of the tables are honest: they
must pass with nothing said against them. The others hold dirt, leaks, cells that are far off, or
are no table at all. Ends with status 1 if one case is wrong. ``--write FILE`` keeps the result.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import platform
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import _stranger_tables as tables
import numpy as np
import sklearn
from _stranger_tables import ROW, Maker

import polytask

TABLE = "table.csv"
# No command may take longer, in seconds.
LONGEST = 120
SOURCE = str(Path(polytask.__file__).parents[1])
POLYTASK = ("-c", "import sys; from polytask.cli import main; sys.exit(main())")
POINTS = {
    1: "one set of rows for all models",
    2: "what the tasks share is that of the model fitted on all rows",
    3: "a dirty target is not a class",
    4: "a leak is named",
    5: "the verdict knows what matters",
    6: "advice that can be followed",
    7: "one number, one meaning",
    8: "the next command, and time",
    9: "nonsense",
}


@dataclass(frozen=True)
class Got:
    """What a command left behind.

    Attributes
    ----------
    status : int
        Exit status.
    output : str
        What it printed, standard output and errors, with single spaces.
    lines : tuple of str
        The same line by line.
    folder : Path
        Where it ran; what a comparison wrote is in "out", that of the command before in "before".
    new : tuple of str
        Files and folders that were not there before.
    seconds : float
        Wall time.
    """

    status: int
    output: str
    lines: tuple[str, ...]
    folder: Path
    new: tuple[str, ...]
    seconds: float

    def report(self, name: str = "out") -> dict[str, Any]:
        """Return the content of report.json."""
        content: dict[str, Any] = json.loads((self.folder / name / "report.json").read_text())
        return content

    def text(self, suffix: str = ".md") -> str:
        """Return the report as it is read."""
        raw = (self.folder / "out" / f"report{suffix}").read_text(encoding="utf-8")
        return html.unescape(re.sub(r"<[^>]*>", " ", raw)) if suffix == ".html" else raw


# A check returns what is wrong, or nothing.
Check = Callable[[Got], str]
# Words, of several any; the names of PATTERNS stand for those. Case is ignored.
Phrase = str | tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """A table, a command and what must come.

    Attributes
    ----------
    name : str
        What it is called in the result.
    point : int
        Which of POINTS it is about.
    table : callable
        Makes the table.
    words : str
        The command behind `polytask`; "{t}" is the file of the table.
    status : int
        Exit status that must come.
    says, never : tuple
        What the output must hold, and what neither it nor the report may.
    report : tuple
        What report.md must hold.
    checks : tuple of callable
        Further checks.
    before : str
        A command that runs first and must end with status 0.
    honest : bool
        Whether nothing may be said against the table.
    alone : bool
        Whether nothing else may run meanwhile, because time counts.
    """

    name: str
    point: int
    table: Maker
    words: str
    status: int = 0
    says: tuple[Phrase, ...] = ()
    never: tuple[Phrase, ...] = ()
    report: tuple[Phrase, ...] = ()
    checks: tuple[Check, ...] = ()
    before: str = ""
    honest: bool = False
    alone: bool = False


def same_splits(got: Got) -> str:
    """Every model in the ranking has a score in every split; who has not is named."""
    content = got.report()
    planned = content["setup"]["n_splits"]
    for model in content["models"]:
        missing = sum(score is None for score in model["splits"]) + planned - len(model["splits"])
        ranked = model["left_out"] is None and model["score"]["mean"] is not None
        if ranked and missing:
            return f"{model['name']} is ranked with {missing} of {planned} splits missing"
        if not ranked and not (model["name"] in got.output and model["name"] in got.text()):
            return f"{model['name']} is left out and not named"
    return ""


def shared_part_names_model(got: Got) -> str:
    """The part "What the tasks share" says of which model, fitted on all rows, it speaks."""
    names = sorted((model["name"] for model in got.report()["models"]), key=len, reverse=True)
    for suffix in (".md", ".html"):
        parts = [part[:1500] for part in got.text(suffix).split("What the tasks share")[1:]]
        if not any("all rows" in part and any(n in part for n in names) for part in parts):
            return f"report{suffix} names no model fitted on all rows in 'What the tasks share'"
    return ""


def price_goes_up(got: Got) -> str:
    """The coefficients of all rows are shown: more is sold at a high price, but early on."""
    part = got.text().rpartition("## What the tasks share")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| *price *\|(.*)\|$", part, re.MULTILINE)
    if not cells:
        return "no row for price in 'What the tasks share'"
    numbers = [float(cell) for cell in cells[0].split("|")]
    return "" if min(numbers) > 0 else f"price has {min(numbers)}, which is not that of all rows"


def verdict_of(content: dict[str, Any]) -> str:
    return str(content["verdict"]).replace("_", " ")


def verdict(*allowed: str, of: str = "out") -> Check:
    """The verdict of a report is one of those."""

    def check(got: Got) -> str:
        found = verdict_of(got.report(of))
        return "" if found in allowed else f"verdict {found!r}, not {' or '.join(allowed)}"

    return check


def agree(got: Got) -> str:
    """The quick verdict does not contradict that of the full comparison."""
    pair = {verdict_of(got.report("before")), verdict_of(got.report())}
    open_minded = len(pair) == 1 or "inconclusive" in pair
    simple = "no practical difference" in pair and "share" not in pair
    return "" if open_minded or simple else f"full and quick: {' against '.join(sorted(pair))}"


def advice_within_reach(got: Got) -> str:
    """Nobody is advised to collect more than ten times the rows there are."""
    content = got.report()
    for task in content["tasks"]:
        if task.get("more_rows") and task["more_rows"] > 10 * task["rows"]:
            return f"{task['more_rows']} more rows for {task['rows']}"
    for line in advice(got):
        for number in re.findall(r"([\d,]+) (?:more )?rows", line):
            if int(number.replace(",", "") or 0) > 10 * content["setup"]["n_rows"]:
                return f"more than ten times the rows: {line}"
    return ""


def advice(got: Got) -> Iterator[str]:
    """Yield the lines that say how much more would tell."""
    yield from (line for line in got.lines if re.search(r"would (tell|decide)|[Cc]ollect", line))


def advice_in(units: str) -> Check:
    """What is advised where time is given is said in units of time."""

    def check(got: Got) -> str:
        wrong = [line for line in advice(got) if not re.search(rf"\b({units})s?\b", line)]
        return f"no time in: {wrong[0]}" if wrong else ""

    return check


def told_r2(got: Got) -> str:
    """R2 is said to be against a mean."""
    other = re.compile(r"near the mean|means? over tasks|R2 within tasks", re.IGNORECASE)
    lines = (other.sub("", line) for line in got.lines)
    found = any("R2" in line and "mean" in line for line in lines)
    return "" if found else "no line says against what mean R2 is"


def one_denominator(got: Got) -> str:
    """R2 within tasks divides the same squares by the same variation as the score of a model."""
    # Both are ratios of sums over all held-out rows, so that one minus the first is the same
    # multiple of one minus the second for all models; a mean of ratios of few rows is not.
    ratios = {
        model["name"]: (1 - model["metrics"]["r2_within"]) / (1 - model["score"]["mean"])
        for model in got.report()["models"]
        if model["metrics"].get("r2_within") is not None
    }
    if not ratios:
        return "no model has an R2 within tasks"
    middle = sorted(ratios.values())[len(ratios) // 2]
    odd = [name for name, value in ratios.items() if abs(value / middle - 1) > 1e-6]
    return f"R2 within tasks of {', '.join(odd)} has another denominator" if odd else ""


def one_sentence(got: Got) -> str:
    """One line tells what is wrong, and nothing was written."""
    errors = sum(line.startswith("Error:") for line in got.lines)
    if errors != 1 or got.status == 1:
        return f"{errors} lines begin with Error:"
    return f"wrote {', '.join(got.new)}" if got.new else ""


def within(seconds: float) -> Check:
    def check(got: Got) -> str:
        return "" if got.seconds <= seconds else f"{got.seconds:.1f} s, at most {seconds:g}"

    return check


# What is said against a table; nothing of that may be said of an honest one.
AGAINST = (
    "an error", "warning", "traceback", "this is a bug", "leak", "--drop ", "--id ", "identifier",
    "far off", "far from", "outlier", "failed in", "R2 nan", "np.float64",
)  # fmt: skip
CRASH = ("traceback", "this is a bug", "np.float64")
PATTERNS = {
    # Row 137 of the data counted from 0, 138 counted from 1, or line 139 of the file.
    "the row": r"\b(rows?|lines?|cells?)\b[^.;]{0,25}\b13[7-9]\b",
    "its line": r"\b13[6-8]\b",
    "1,000,000": r"1e\+?0?6|1,?000,?000",
    "999,999": r"999,?999|1e\+?0?6",
    "an error": r"\berror:",
    "R2 nan": r"R2\b.{0,20}\bnan\b",
}
PLANTED = ("score", "1,000,000", "the row")
AGED = ("age", "999,999", "the row")
SCHOOL = "{t} --task school --target score"
QUICK = f"compare {SCHOOL} --quick --jobs 1 --out out"
FIT = f"fit {SCHOOL} --out out.polytask"
FAST = f"{FIT} --model separate"
INSPECT = f"inspect {SCHOOL}"
STORE = "{t} --task store --target sales --time week --jobs 1"
MACHINE = "compare {t} --task machine --target state --time week --jobs 1 --out out"
FULL = "compare {t} --task clinic --target effect --jobs 1 --out"
PLANT = "compare {t} --task plant --target yield --jobs 1 --out"
FEW_MODELS = "--models separate --models pooled --models 'near the mean'"


def honest(
    name: str, point: int, table: Maker, words: str, *says: Phrase, never: tuple[Phrase, ...] = (),
    checks: tuple[Check, ...] = (), before: str = "", alone: bool = False,
) -> Case:  # fmt: skip
    """Return a case of a table that must pass with nothing said against it."""
    against = (*AGAINST, *never)
    return Case(name, point, table, words, 0, says, against, (), checks, before, True, alone)


def refused(name: str, point: int, table: Maker, words: str, *says: Phrase) -> Case:
    """Return a case of a table that must be refused in one sentence."""
    return Case(name, point, table, words, 2, says, CRASH, checks=(one_sentence,))


def warned(
    name: str, point: int, table: Maker, words: str, *says: Phrase,
    never: tuple[Phrase, ...] = (), report: tuple[Phrase, ...] = (),
    checks: tuple[Check, ...] = (),
) -> Case:  # fmt: skip
    """Return a case of a table that passes, with something said about it."""
    return Case(name, point, table, words, 0, says, (*CRASH, "an error", *never), report, checks)


make = partial
in_weeks = advice_in("week|points? in time")
SPLITS: tuple[Case, ...] = (
    honest("40 stores, 60 weeks", 1, make(tables.stores, 40, 60), f"compare {STORE} --out out",
           checks=(same_splits, in_weeks)),
    honest("8 stores, 24 weeks", 1, make(tables.stores, 8, 24), f"compare {STORE} --out out",
           checks=(same_splits, in_weeks)),
    honest("10 stores, 6 weeks", 1, make(tables.stores, 10, 6), f"compare {STORE} --out out",
           checks=(same_splits, in_weeks)),
    warned("one failure in the first weeks", 1, make(tables.failures, 13, 1), MACHINE,
           checks=(same_splits,)),
    # No model can learn from a past without failures: nothing is compared.
    Case("no failure before the last weeks", 1, make(tables.failures, 23), MACHINE, 2,
         ("state", "fine"), CRASH),
    honest("the model of schools", 2, tables.schools, QUICK, checks=(shared_part_names_model,)),
    honest("stores that change", 2, tables.drifting_stores,
           f"compare {STORE} {FEW_MODELS} --out out",
           checks=(shared_part_names_model, price_goes_up)),
)  # fmt: skip

TARGETS: tuple[Case, ...] = (
    warned("dollars and thousands", 3, make(tables.written, "${:,.2f}", level=2400.0), FIT,
           "$", "regression", never=("classification",)),
    warned("thousands without a sign", 3, make(tables.written, "{:,.2f}", level=2_400_000.0), FIT,
           "numbers", "regression", never=("classification",)),
    warned("euros and spaces", 3, tables.euros, INSPECT,
           "€", "regression", never=("classification",)),
    warned("percent", 3, make(tables.written, "{:.1f}%"), QUICK,
           "%", "regression", never=("classification",)),
    refused("n/a? in one cell", 3, make(tables.with_words, "n/a?", ROW), QUICK,
            "n/a?", "score", "the row", "--missing-values"),
    refused("unknown in three cells", 3, make(tables.with_words, "unknown", 9, ROW, 200), FIT,
            "unknown", "score", "--missing-values"),
    warned("unknown, said to be missing", 3, make(tables.with_words, "unknown", 9, ROW, 200),
           f"{FIT} --missing-values unknown --drop-missing-target", "regression",
           never=("classification",)),
    refused("decimal commas and points", 3, tables.two_marks, FIT, "score", "decimal commas",
            "in row 2"),
    refused("a target of dates with full stops", 3, tables.german_dates, INSPECT, "score", "date"),
    warned("a minus behind the amount", 3, tables.minus_behind, INSPECT, "regression",
           never=("classification",)),
    warned("yes and Yes", 3, tables.spelled_twice, FAST, "look alike", "'Yes'"),
    honest("a minus of printers", 3,
           lambda: tables.written("{:.2f}", level=0.0).replace("-", "\u2212", regex=True), INSPECT,
           "regression", never=("classification",)),
    honest("kilograms", 3, make(tables.written, "{:.1f} kg"), INSPECT, "kg", "regression"),
    honest("names from right to left", 3, tables.far_names, FAST, "regression"),
    refused("a dash in one cell", 3, make(tables.with_words, "-", ROW), FIT, "score", "the row"),
    refused("200 cities as classes", 3, make(tables.city_names, 200, 600),
            "compare {t} --task region --target city --quick --jobs 1 --out out", "city", "200",
            "--loss multinomial"),
    refused("150 cities as classes", 3, make(tables.city_names, 150, 600),
            "fit {t} --task region --target city --out out.polytask", "city", "150",
            "--loss multinomial"),
    warned("60 classes, asked for", 3, make(tables.city_names, 60, 600),
           "fit {t} --task region --target city --loss multinomial"
           " --penalty 'L2(1.0)' --out out.polytask", "classification"),
    honest("three classes", 3, make(tables.classes, "low", "middle", "high"), QUICK,
           "classification", never=("regression",)),
    honest("yes and no", 3, make(tables.classes, "no", "yes"), INSPECT, "classification"),
    honest("0 and 1", 3, tables.zero_one, QUICK, "classification"),
    honest("counts", 3, tables.counts,
           "compare {t} --task ward --target visits --quick --jobs 1 --out out", "regression"),
    honest("one to five stars", 3, make(tables.classes, 1, 2, 3, 4, 5), INSPECT, "regression"),
    honest("two decimals", 3, make(tables.written, "{:.2f}"), INSPECT, "regression"),
    honest("decimal commas", 3, tables.decimal_commas, f"{FIT} --decimal ,", "regression"),
)  # fmt: skip

LEAKS: tuple[Case, ...] = (
    refused("the target in other units", 4, tables.copied, QUICK, "points", "leak",
            "--allow-leak"),
    refused("the same, rounded", 4, make(tables.copied, 2), FIT, "points", "leak"),
    refused("other units in each school", 4, make(tables.copied, None, True), QUICK, "points",
            "leak", "task"),
    warned("two parts of the target", 4, tables.parts_of_target, FAST, "'oral'", "'written'",
           "sum", "no errors"),
    warned("a copy in one school", 4, tables.copied_in_one_school, FAST, "points",
           "1 of 6 tasks", "school 2"),
    warned("a column for one class", 4, tables.one_hot, FAST, "is_low", "class"),
    warned("leaks are seen by inspect", 4, tables.copied, INSPECT, "points", "--drop points"),
    warned("9999 in six cells of the target", 4, tables.marked_target, INSPECT, "9999",
           "--missing-values 9999"),
    warned("a far target and its verdict", 4, tables.far_target, QUICK, "far values",
           never=("100% is particular", "0% of the features' effects is the same")),
    warned("a cell of 1e30", 4, tables.drowning_feature, QUICK, "sleep", "1e+30", "far values"),
    honest("named nearly like the target", 4, tables.likely_names, FAST),
    warned("a leak that is allowed", 4, tables.copied, f"{QUICK} --allow-leak",
           "the models make no errors", never=("sharing helps",),
           checks=(verdict("separate", "pool", "no practical difference", "inconclusive"),)),
    warned("row numbers", 4, make(tables.with_column, "rowno", "rows"), QUICK, "rowno",
           ("--id", "--drop")),
    warned("customer numbers", 4, make(tables.with_column, "custno", "numbers"), FIT, "custno",
           ("--id", "--drop")),
    warned("a target of a million: inspect", 4, tables.far_target, INSPECT, *PLANTED),
    warned("a target of a million: fit", 4, tables.far_target, FIT, *PLANTED),
    warned("a target of a million: compare", 4, tables.far_target, QUICK, *PLANTED,
           report=PLANTED),
    warned("an age of 999999: inspect", 4, tables.far_feature, INSPECT, *AGED),
    warned("an age of 999999: fit", 4, tables.far_feature, FIT, *AGED),
    warned("an age of 999999: compare", 4, tables.far_feature, QUICK, *AGED, report=AGED),
    warned("a school without scores: compare", 4, make(tables.no_target, 0),
           f"{QUICK} --drop-missing-target", "Zug"),
    warned("a school without scores: fit", 4, make(tables.no_target, 0),
           f"{FIT} --drop-missing-target", "Zug"),
    honest("a school with five scores", 4, make(tables.no_target, 5),
           f"{QUICK} --drop-missing-target"),
    honest("a feature with r = .98", 4, tables.strong_feature, QUICK),
    honest("last week's sales", 4, tables.lagged, f"compare {STORE} --quick --out out"),
    honest("claims with a heavy tail", 4, tables.lognormal,
           "compare {t} --task region --target claim --quick --jobs 1 --out out"),
    honest("claims with a heavy tail: inspect", 4, tables.lognormal,
           "inspect {t} --task region --target claim"),
    honest("a feature without two equal cells", 4, make(tables.with_column, "dose", "float"), FIT),
    # Any feature is an affine copy of a target of two rows.
    honest("pairs of twins", 4, make(tables.related, "pair", "weight diet", "height", 60, 2),
           "fit {t} --task pair --target height --out out.polytask"),
    honest("salaries in whole euros: inspect", 4,
           make(tables.with_column, "salary", "salary"), INSPECT),
    honest("salaries in whole euros: compare", 4,
           make(tables.with_column, "salary", "salary"), QUICK),
    honest("one temperature in two units", 4, tables.two_units, f"{PLANT} out --quick"),
)  # fmt: skip

VERDICTS: tuple[Case, ...] = (
    honest("ten times the same task of 30 rows", 5, make(tables.identical, 10, 30),
           f"{FULL} out --quick", before=f"{FULL} before",
           checks=(agree, verdict("pool", "no practical difference", of="before"))),
    honest("ten times the same task of 20 rows", 5, make(tables.identical, 10, 20), f"{FULL} out",
           checks=(verdict("pool", "no practical difference"),)),
    honest("unrelated tasks of 150 rows", 5, make(tables.unrelated, 8, 150),
           f"{PLANT} out --quick", before=f"{PLANT} before",
           checks=(agree, verdict("separate", of="before"))),
    honest("related tasks of 15 rows", 5, tables.few_rows, f"{FULL} out",
           checks=(verdict("share"), advice_within_reach)),
    honest("20,000 rows, hardly a difference", 5, tables.many_rows,
           "compare {t} --task branch --target spend --jobs 1 --out out " + FEW_MODELS,
           checks=(verdict("pool", "no practical difference"),)),
)  # fmt: skip

UNSEEN = ("model of their own", "model of its own")
PER_ROW = ("rows for each", "more rows", "more row ", "rows for")
ADVICE: tuple[Case, ...] = (
    honest("new clinics", 6, tables.few_rows, f"{FULL} out --unseen --quick", never=UNSEEN),
    honest("new plants that are like no other", 6, make(tables.unrelated, 8, 30),
           f"{PLANT} out --unseen --splits 4 {FEW_MODELS}", never=UNSEEN),
    honest("noisy stores by week", 6, make(tables.stores, 8, 24, noise=4.0),
           f"compare {STORE} {FEW_MODELS} --out out", never=PER_ROW,
           checks=(in_weeks, advice_within_reach)),
    honest("stores by date", 6, make(tables.stores, 6, 30, True, 3.0),
           f"compare {STORE} --quick --out out", never=PER_ROW,
           checks=(advice_in("day|week|month"), advice_within_reach)),
    honest("little to be told", 6, tables.weak, f"{FULL} out", checks=(advice_within_reach,)),
    honest("wages of small firms: fit", 7, tables.wages,
           "fit {t} --task firm --target wage --out out.polytask", "R2", checks=(told_r2,)),
    honest("wages of small firms: compare", 7, tables.wages,
           "compare {t} --task firm --target wage --jobs 1 --out out", "R2",
           checks=(told_r2, one_denominator)),
    honest("predict after compare", 8, tables.schools,
           "predict out/model/model.polytask {t} --out new.csv", before=QUICK),
    honest("predict classes after compare", 8, make(tables.classes, "low", "high"),
           "predict out/model/model.polytask {t} --out new.csv", before=QUICK),
    honest("60,000 rows in 10 s", 8, make(tables.mid_size, 60_000, 20),
           "auto {t} --task site --target load --time-budget 10s --out out.polytask",
           checks=(within(15.5),), alone=True),
    honest("30,000 rows in 6 s", 8, make(tables.mid_size, 30_000, 12),
           "auto {t} --task site --target load --time-budget 6s --out out.polytask",
           checks=(within(10.5),), alone=True),
)  # fmt: skip

NONSENSE: tuple[Case, ...] = (
    refused("an empty file", 9, str, QUICK, TABLE, "empty"),
    refused("a header alone", 9, lambda: "school,homework,score\n", QUICK, ("rows", "row")),
    refused("one task", 9, lambda: tables.schools()[:40], QUICK, "task"),
    refused("a misspelt target", 9, tables.schools, QUICK.replace("score", "scroe"), "scroe",
            "score"),
    refused("a target of dates", 9, tables.date_target, QUICK, "score", "date"),
    refused("a constant target", 9, tables.constant_target, QUICK, "score",
            ("constant", "same", "one value", "equal", "7.5")),
    refused("two columns of one name", 9, tables.twice_named, QUICK, "homework"),
    refused("a row that is too long", 9, tables.ragged, QUICK,
            "its line"),
    refused("a file of no text", 9, tables.binary, QUICK, TABLE),
    refused("a negative weight", 9, make(tables.weighted, True), f"{FIT} --weight weight",
            "weight", ("negative", "-2"), "the row"),
    warned("weights that sum to 1", 9, tables.weights_of_sum_one, f"{FAST} --weight weight",
           "count as 1", "divide them by their mean"),
    warned("one heavy row", 9, tables.one_heavy_row, f"{FAST} --weight weight",
           "100.0% of the weight", "the row"),
    warned("schools visited one after the other", 9, tables.schools_in_turn,
           f"{FAST} --time visit", "no row to learn from", never=("mean nan",)),
    refused("an infinite target", 9, make(tables.with_cell, "score", "inf"), FIT, "score",
            "inf", "the row"),
    refused("an infinite feature", 9, make(tables.with_cell, "books", "-inf"), QUICK, "books",
            "inf", "the row"),
    honest("weights", 9, make(tables.weighted, False), f"{QUICK} --weight weight"),
)  # fmt: skip

CASES = (*SPLITS, *TARGETS, *LEAKS, *VERDICTS, *ADVICE, *NONSENSE)


def holds(text: str, phrase: Phrase) -> bool:
    """Tell whether a text holds a phrase."""
    if isinstance(phrase, tuple):
        return any(holds(text, one) for one in phrase)
    return re.search(PATTERNS.get(phrase, re.escape(phrase)), text, re.IGNORECASE) is not None


def run(case: Case, folder: Path) -> tuple[int, list[str]]:
    """Run a case; return the exit status and what is wrong."""
    content = case.table()
    if isinstance(content, bytes):
        (folder / TABLE).write_bytes(content)
    else:
        text = content if isinstance(content, str) else content.to_csv(index=False)
        (folder / TABLE).write_text(text, encoding="utf-8")
    if case.before and (first := command(case.before, folder, "before.txt")).status:
        return first.status, [f"the command before ended with {first.status}"]
    got = command(case.words, folder, "output.txt")
    return got.status, list(faults(case, got))


def command(words: str, folder: Path, kept: str) -> Got:
    """Run a command line of polytask in a folder, and keep what it prints there."""
    before = set(folder.iterdir())
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *POLYTASK, *shlex.split(words.format(t=TABLE))],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": SOURCE, "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=LONGEST)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output = f"Stopped after {LONGEST} s. {process.communicate()[0]}"
    seconds = time.perf_counter() - started
    new = tuple(sorted(path.name for path in set(folder.iterdir()) - before))
    lines = tuple(output.splitlines())
    (folder / kept).write_text("\n".join(lines), encoding="utf-8")
    return Got(process.returncode, " ".join(" ".join(lines).split()), lines, folder, new, seconds)


def faults(case: Case, got: Got) -> Iterator[str]:
    """Yield what is wrong with what a command left behind."""
    if got.status != case.status:
        error = next(
            (line for line in got.lines if line.startswith(("Error", "This is", "Stopped"))), ""
        )
        yield f"status {got.status}: {error[:120]}" if error else f"status {got.status}"
    report = got.text() if (got.folder / "out" / "report.md").is_file() else ""
    yield from (f"no {phrase!r}" for phrase in case.says if not holds(got.output, phrase))
    for phrase in case.never:
        for where, text in (("", got.output), (" in the report", report)):
            if holds(text, phrase):
                yield f"{phrase!r}{where}"
    for phrase in case.report:
        if not holds(report, phrase):
            yield f"no {phrase!r} in the report"
    if got.status == case.status:
        yield from (wrong for check in case.checks if (wrong := check(got)))


HEADER = (
    "| table | point | honest | status expected | got | verdict | what is wrong | seconds |",
    "|---|---|---|---|---|---|---|---|",
)


def row(case: Case, folder: Path) -> tuple[bool, str]:
    """Run a case; return whether it is right, and its row of the result."""
    folder = folder / re.sub(r"\W+", "_", case.name)
    folder.mkdir(parents=True)
    started = time.perf_counter()
    status, wrong = run(case, folder)
    cells = (
        case.name,
        str(case.point),
        "yes" if case.honest else "",
        str(case.status),
        str(status),
        "**wrong**" if wrong else "right",
        "; ".join(wrong).replace("|", "\\|"),
        f"{time.perf_counter() - started:.1f}",
    )
    return not wrong, "| " + " | ".join(cells) + " |"


def chosen_cases(words: list[str], points: list[int]) -> list[Case]:
    """Return the cases of which the name holds one of the words, of those points."""
    named = (case for case in CASES if not words or any(word in case.name for word in words))
    return [case for case in named if not points or case.point in points]


def main() -> int:
    """Run the cases, print a row for each and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of the names of cases; none: all of them")
    parser.add_argument("--point", type=int, action="append", default=[], choices=POINTS)
    parser.add_argument("--at-once", type=int, default=os.cpu_count(), help="commands at once")
    parser.add_argument("--keep", type=Path, help="a new folder to work in and leave there")
    parser.add_argument("--write", type=Path, help="a file for the result, in Markdown")
    chosen = parser.parse_args()
    cases = chosen_cases(chosen.names, chosen.point)
    together, alone = ([case for case in cases if case.alone is a] for a in (False, True))
    order = [*together, *alone]
    started = time.perf_counter()
    found: list[tuple[bool, str]] = []
    print(*HEADER, sep="\n")
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.keep or Path(temporary)
        for part, at_once in ((together, chosen.at_once), (alone, 1)):
            with ThreadPoolExecutor(at_once) as pool:
                for one in pool.map(partial(row, folder=folder), part):
                    found.append(one)
                    print(one[1], flush=True)
    right = sum(fine for fine, _ in found)
    passed = [fine for case, (fine, _) in zip(order, found, strict=True) if case.honest]
    minutes = (time.perf_counter() - started) / 60
    told = (
        f"{right} of {len(order)} cases are right, and {sum(passed)} of the {len(passed)} among "
        f"them that are honest; {minutes:.1f} minutes."
    )
    print(f"\n{told}")
    if chosen.write is not None:
        head = INTRODUCTION.format(
            cores=os.cpu_count(),
            polytask=polytask.__version__,
            sklearn=sklearn.__version__,
            numpy=np.__version__,
            python=platform.python_version(),
            points="\n".join(f"{number}. {name}" for number, name in POINTS.items()),
        )
        lines = (head, told, "", *HEADER, *(line for _, line in found))
        chosen.write.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0 if right == len(order) else 1


INTRODUCTION = """# Tables of strangers

Command, with `OMP_NUM_THREADS=1`, on {cores} cores, polytask {polytask},
scikit-learn {sklearn}, numpy {numpy}, Python {python}:

    python benchmarks/strangers.py --write docs/results/strangers.md

Small tables as strangers bring them, one command each. What must come was written down before
the first run: the exit status, words that the output or the report must hold, and words that
neither may hold. Honest tables must pass with nothing said against them. The points:

{points}
"""

if __name__ == "__main__":
    sys.exit(main())
