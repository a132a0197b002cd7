"""Small tables like those that strangers bring: ordinary ones, dirty ones and broken ones.

Every maker returns a data frame, or the text or bytes of a file that is no table.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

Table = pd.DataFrame | str | bytes
Maker = Callable[[], Table]

# A row of the cells that are planted, counted from 0, that is unlikely to be said by chance.
ROW = 137


def related(  # one argument for each thing that differs between the tables
    task: str,
    features: str,
    target: str,
    n_tasks: int,
    rows: int,
    *,
    own: float = 0.3,
    noise: float = 1.0,
    level: float = 50.0,
    seed: int = 0,
) -> pd.DataFrame:
    """Draw tasks whose coefficients differ by `own` from common ones, which all are +-1."""
    rng = np.random.default_rng(seed)
    names = features.split()
    where = np.repeat(np.arange(n_tasks), rows)
    X = rng.standard_normal((len(where), len(names)))
    common = np.where(np.arange(len(names)) % 2, -1.0, 1.0)
    coef = common + own * rng.standard_normal((n_tasks, len(names)))
    start = level + min(own, 1.0) * rng.standard_normal(n_tasks)
    y = start[where] + (X * coef[where]).sum(axis=1) + noise * rng.standard_normal(len(where))
    frame = pd.DataFrame(X, columns=names).round(3)
    frame.insert(0, task, [f"{task} {k + 1}" for k in where])
    frame[target] = y.round(3)
    return frame


def schools(rows: int = 40, **settings: float) -> pd.DataFrame:
    """Draw pupils of six schools."""
    return related("school", "homework books sleep", "score", 6, rows, **settings)  # type: ignore[arg-type]


def stores(n_stores: int, weeks: int, dates: bool = False, noise: float = 1.0) -> pd.DataFrame:
    """Draw what stores sell each week."""
    frame = related("store", "price promo", "sales", n_stores, weeks, noise=noise, seed=1)
    week = np.tile(np.arange(1, weeks + 1), n_stores)
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(7 * (week - 1), unit="D")
    frame.insert(1, "week", days.strftime("%Y-%m-%d") if dates else week)
    return frame


def drifting_stores() -> pd.DataFrame:
    """Draw stores where a high price goes with few sales in the first weeks only."""
    frame = stores(6, 60)
    early = frame["week"] <= 12
    frame["sales"] += np.where(early, -7.0, 2.0) * frame["price"]
    return frame


def failures(first_week: int, early: int = 0) -> pd.DataFrame:
    """Draw machines that fail from a week on, and so many times in the first week."""
    frame = stores(5, 30).rename(columns={"store": "machine", "sales": "state"})
    late = (frame["week"] >= first_week) & (frame["price"] > 0)
    first = frame.index[frame["week"] == 1][:early]
    frame["state"] = np.where(late | frame.index.isin(first), "failed", "fine")
    return frame


# The target: numbers that are dirty, and classes.


def written(how: str, column: str = "score", **settings: float) -> pd.DataFrame:
    """Return pupils with a target written by a format, such as '${:,.2f}'."""
    frame = schools(**settings)
    frame[column] = [how.format(value) for value in frame[column]]
    return frame


def euros() -> pd.DataFrame:
    """Return pupils with a target such as '2 394.20 €'."""
    frame = written("{:,.2f} €", level=2400.0)
    return frame.assign(score=frame["score"].str.replace(",", " "))


def with_words(word: str, *rows: int) -> pd.DataFrame:
    """Return pupils with a word in some cells of the target."""
    frame = schools()
    frame["score"] = frame["score"].astype(object)
    frame.loc[list(rows), "score"] = word
    return frame


def decimal_commas() -> str:
    """Return a file as a German spreadsheet writes it."""
    return schools(rows=30).to_csv(index=False, sep=";", decimal=",")


def two_marks() -> pd.DataFrame:
    """Return pupils with decimal commas in every third score, and points in the others."""
    frame = written("{:.2f}")
    commas = frame["score"].str.replace(".", ",")
    return frame.assign(score=frame["score"].where(np.arange(len(frame)) % 3 > 0, commas))


def minus_behind() -> pd.DataFrame:
    """Return pupils with amounts as SAP writes them: '12.50-'."""
    frame = schools(level=0.0)
    words = [f"{abs(value):.2f}{'-' if value < 0 else ''}" for value in frame["score"]]
    return frame.assign(score=words)


def spelled_twice() -> pd.DataFrame:
    """Return pupils of whom some answers begin with a capital."""
    frame = classes("no", "yes")
    capital = frame["score"].str.capitalize()
    return frame.assign(score=frame["score"].where(np.arange(len(frame)) % 4 > 0, capital))


def german_dates() -> pd.DataFrame:
    """Return pupils with a target of dates as 31.12.2024."""
    frame = date_target()
    return frame.assign(score=pd.to_datetime(frame["score"]).dt.strftime("%d.%m.%Y"))


def far_names() -> pd.DataFrame:
    """Return pupils of schools and columns with names from right to left, and signs."""
    names = ["متجر القاهرة", "חנות", "東京店", "Łódź", "Ω", "🛒"]
    frame = schools().replace({"school": {f"school {k + 1}": names[k] for k in range(6)}})
    return frame.rename(columns={"books": "كتب", "sleep": "睡眠"})


def classes(*names: str | int, rows: int = 50) -> pd.DataFrame:
    """Return pupils whose target has a few values, by the size of what was a number."""
    frame = schools(rows=rows)
    cuts = pd.qcut(frame["score"], len(names), labels=list(names))
    frame["score"] = cuts.astype(type(names[0]))
    return frame


def zero_one() -> pd.DataFrame:
    frame = schools(rows=50)
    frame["score"] = (frame["score"] > frame["score"].median()).astype(int)
    return frame


def counts() -> pd.DataFrame:
    """Return wards that count visits."""
    frame = related("ward", "age stay", "visits", 5, 50, level=2.0, own=0.1, noise=0.3)
    frame["visits"] = np.random.default_rng(0).poisson(np.exp(frame["visits"].clip(0, 4) / 2))
    return frame


def city_names(n_classes: int, rows: int) -> pd.DataFrame:
    """Return regions with a target of so many names."""
    frame = related("region", "size age", "city", 5, rows // 5)
    syllables = ["ba", "ko", "ri", "lu", "me", "ta", "no", "si", "ve", "du", "pa", "gi"]
    names = [a + b + c for a in syllables for b in syllables for c in syllables]
    rng = np.random.default_rng(0)
    frame["city"] = [names[k] for k in rng.permutation(np.arange(len(frame)) % n_classes)]
    return frame


# Leaks, row ids and cells that are far off.


def copied(decimals: int | None = None, per_school: bool = False) -> pd.DataFrame:
    """Return pupils with the target in other units as a feature, named points."""
    frame = schools()
    school = frame["school"].str.split().str[-1].astype(int) if per_school else 0
    points = (1.7 + 0.3 * school) * frame["score"] + 11 - 2 * school
    frame.insert(2, "points", points if decimals is None else points.round(decimals))
    return frame


def parts_of_target() -> pd.DataFrame:
    """Return pupils with two columns of which the target is the sum."""
    frame = schools()
    share = np.random.default_rng(5).uniform(0.2, 0.6, len(frame))
    frame.insert(2, "oral", (frame["score"] * share).round(2))
    frame.insert(3, "written", (frame["score"] - frame["oral"]).round(3))
    return frame


def copied_in_one_school() -> pd.DataFrame:
    """Return pupils with a feature that is the target in other units in one school only."""
    frame = schools()
    other = np.random.default_rng(6).standard_normal(len(frame)).round(3)
    points = (2 * frame["score"] + 1).round(3)
    frame.insert(2, "points", np.where(frame["school"] == "school 2", points, other))
    return frame


def one_hot() -> pd.DataFrame:
    """Return pupils with a column that is 1 in one class and 0 in the others."""
    frame = classes("low", "middle", "high")
    frame.insert(2, "is_low", (frame["score"] == "low").astype(int))
    return frame


def likely_names() -> pd.DataFrame:
    """Return pupils with features that are called nearly like the target."""
    frame = schools()
    rng = np.random.default_rng(8)
    frame.insert(2, "Score", rng.standard_normal(len(frame)).round(2))
    frame.insert(
        3, "score_last_year", (frame["score"] + 3 * rng.standard_normal(len(frame))).round(1)
    )
    return frame


def strong_feature() -> pd.DataFrame:
    """Return pupils with a feature that correlates with the target at .98."""
    frame = schools()
    spread = frame["score"].std()
    noise = np.random.default_rng(3).standard_normal(len(frame))
    frame.insert(2, "mock_exam", (frame["score"] + 0.2 * spread * noise).round(3))
    return frame


def lagged() -> pd.DataFrame:
    """Return stores with last week's sales as a feature: a slow random walk."""
    frame = stores(8, 40)
    steps = np.random.default_rng(5).standard_normal((8, 40)) * 0.5
    walk = 50 + steps.cumsum(axis=1) + frame["price"].to_numpy().reshape(8, 40) * 0.3
    frame["sales"] = walk.round(3).ravel()
    frame["last_week"] = frame.groupby("store")["sales"].shift(1)
    return frame.dropna()


def lognormal() -> pd.DataFrame:
    """Return claims: a heavy tail, the largest more than a hundred times the median."""
    frame = related("region", "age power", "claim", 6, 60, own=0.1, level=6.0, noise=1.0)
    frame["claim"] = np.exp(frame["claim"] * 0.9).round(2)
    return frame


def with_column(name: str, kind: str) -> pd.DataFrame:
    """Return pupils with one more column: what every row has of its own."""
    frame = schools()
    rng = np.random.default_rng(7)
    n = len(frame)
    made = {
        "rows": np.arange(n),
        "numbers": 100_200 + rng.permutation(n),
        "float": (rng.standard_normal(n) * 17.3).round(6),
        "salary": (41_000 + 9_000 * rng.standard_normal(n)).round().astype(int),
    }
    frame.insert(1, name, made[kind])
    return frame


def two_units() -> pd.DataFrame:
    """Return plants with the same temperature in two units, neither of them the target."""
    frame = related("plant", "celsius load", "yield", 5, 40)
    frame.insert(2, "fahrenheit", (frame["celsius"] * 1.8 + 32).round(3))
    return frame


def far_target() -> pd.DataFrame:
    frame = schools()
    frame.loc[ROW, "score"] = 1e6
    return frame


def drowning_feature() -> pd.DataFrame:
    frame = schools()
    frame.loc[ROW, "sleep"] = 1e30
    return frame


def marked_target() -> pd.DataFrame:
    """Return pupils with 9999 for six missing scores."""
    frame = schools()
    frame.loc[frame.index[::40], "score"] = 9999
    return frame


def far_feature() -> pd.DataFrame:
    frame = schools().rename(columns={"sleep": "age"})
    frame["age"] = (40 + 12 * frame["age"]).round()
    frame.loc[ROW, "age"] = 999999
    return frame


def no_target(kept: int) -> pd.DataFrame:
    """Return pupils of which the first school has so many scores only."""
    frame = schools().replace({"school": {"school 1": "Zug"}})
    frame.loc[kept : int((frame["school"] == "Zug").sum()) - 1, "score"] = np.nan
    return frame


# Tables for the verdict and the advice.


def identical(n_tasks: int, rows: int) -> pd.DataFrame:
    return related("clinic", "age weight dose", "effect", n_tasks, rows, own=0.0, seed=4)


def unrelated(n_tasks: int, rows: int, noise: float = 1.0) -> pd.DataFrame:
    """Draw tasks with independent coefficients."""
    rng = np.random.default_rng(2)
    frame = related("plant", "heat load flow", "yield", n_tasks, rows, own=0.0)
    X = frame[["heat", "load", "flow"]].to_numpy()
    coef = np.repeat(1.5 * rng.standard_normal((n_tasks, 3)), rows, axis=0)
    frame["yield"] = ((X * coef).sum(axis=1) + noise * rng.standard_normal(len(X))).round(3)
    return frame


def few_rows() -> pd.DataFrame:
    """Draw 20 strongly related tasks of 15 rows, each with a part of its own."""
    names = "age weight dose sugar salt sleep steps pulse"
    return related("clinic", names, "effect", 20, 15, own=0.4, noise=1.0, seed=6)


def many_rows() -> pd.DataFrame:
    """Draw 20,000 rows of 20 tasks whose own parts are a hundredth of what is common."""
    return related("branch", "income age debt", "spend", 20, 1000, own=0.01, seed=8)


def weak() -> pd.DataFrame:
    """Draw tasks with so much noise that little can be told."""
    return related("clinic", "age weight dose", "effect", 12, 20, noise=6.0, seed=9)


def wages() -> pd.DataFrame:
    """Draw firms of three to seven people with a level of their own each."""
    frame = related("firm", "experience education", "wage", 50, 7, own=0.2, noise=1.5, level=20.0)
    level = np.repeat(6 * np.random.default_rng(1).standard_normal(50), 7)
    frame["wage"] = (frame["wage"] + level).round(2)
    size = np.repeat(3 + np.arange(50) % 5, 7)
    return frame[np.tile(np.arange(7), 50) < size]


def mid_size(n: int, n_features: int) -> pd.DataFrame:
    names = " ".join(f"x{k}" for k in range(n_features))
    return related("site", names, "load", 30, n // 30, own=0.2, noise=3.0)


# What is no table, or no problem.


def with_cell(column: str, value: object) -> pd.DataFrame:
    frame = schools()
    frame[column] = frame[column].astype(object)
    frame.loc[ROW, column] = value
    return frame


def weighted(negative: bool) -> pd.DataFrame:
    frame = schools()
    frame["weight"] = 1.0 + np.arange(len(frame)) % 3
    if negative:
        frame.loc[ROW, "weight"] = -2.0
    return frame


def constant_target() -> pd.DataFrame:
    return schools().assign(score=7.5)


def date_target() -> pd.DataFrame:
    frame = schools()
    days = pd.to_timedelta(np.arange(len(frame)) * 37 % 900, unit="D")
    return frame.assign(score=(pd.Timestamp("2021-03-04") + days).strftime("%Y-%m-%d"))


def twice_named() -> str:
    header, _, rest = schools().to_csv(index=False).partition("\n")
    return header.replace("books", "homework") + "\n" + rest


def ragged() -> str:
    lines = schools().to_csv(index=False).splitlines()
    lines[ROW] += ",12,13"
    return "\n".join(lines)


def binary() -> bytes:
    return bytes(np.random.default_rng(0).integers(0, 256, 4000, dtype=np.uint8))


def weights_of_sum_one() -> pd.DataFrame:
    """Return pupils with weights that say how much rows matter, not how many there are."""
    return schools().assign(weight=1 / 240)


def one_heavy_row() -> pd.DataFrame:
    """Return pupils of whom one has nearly all of the weight."""
    frame = schools()
    return frame.assign(weight=np.where(frame.index == ROW, 1e6, 1.0))


def schools_in_turn() -> pd.DataFrame:
    """Return pupils whose schools were visited one after the other."""
    frame = schools()
    return frame.assign(visit=np.arange(len(frame)))
