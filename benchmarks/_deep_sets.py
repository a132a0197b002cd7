"""The sets of the accuracy table of nets, and their splits."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from _sets import RealSet, load_table

from polytask import TaskData
from polytask.data import WithinTasks

# In the order of what they cost.
SETS = (
    "digits", "digits_apart", "mtr_atp1d", "mtr_enb", "mtr_scpf", "mtr_wq", "sarcos_sub",
    "adult_mmoe", "hillstrom", "mtr_rf1", "school", "tox21",
)  # fmt: skip
# Labels of every task to train on.
DIGIT_LABELS = 100


def load(name: str) -> RealSet:
    """Load a set, all its rows.

    "digits" has three questions about the same images; in "digits_apart" each question is
    answered for images of its own.
    """
    return _digits(name) if name.startswith("digits") else load_table(name)


def _digits(name: str) -> RealSet:
    from sklearn.datasets import load_digits

    X, digit = load_digits(return_X_y=True)
    y = np.column_stack([digit, digit % 2, digit >= 5]).astype(float)
    return RealSet(name, X, y, None, classes=True)


def pairs(data: RealSet, seeds: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return rows to train on and to test on for every seed."""
    if not data.name.startswith("digits"):
        return [split(data, np.arange(len(data.y)), 0.25, seed) for seed in range(seeds)]
    apart = data.name == "digits_apart"
    wanted = DIGIT_LABELS * (data.y.shape[1] if apart else 1)
    share = 1 - wanted / len(data.y)
    return [split(data, np.arange(len(data.y)), share, seed) for seed in range(seeds)]


def labels_of(data: RealSet, train: np.ndarray, seed: int) -> RealSet:
    """Return the set with the labels that training may see: in "digits_apart" one per image."""
    if data.name != "digits_apart":
        return data
    y = np.full(data.y.shape, np.nan)
    drawn = np.random.default_rng(seed).permutation(train)
    for t, own in enumerate(np.array_split(drawn, data.y.shape[1])):
        y[own, t] = data.y[own, t]
    return dataclasses.replace(data, y=y)


def is_complete(data: RealSet) -> bool:
    """Say whether training has a label of every task for every row."""
    whole = data.task is None and not np.isnan(data.y).any()
    return whole and data.name != "digits_apart"


def split(
    data: RealSet, rows: np.ndarray, share: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Divide some rows within tasks and classes."""
    X, y = np.zeros((len(rows), 1)), data.y[rows]
    task: Any = None if data.task is None else data.task[rows]
    within = WithinTasks(1, share, stratify=data.classes, random_state=seed)
    if task is None:
        table = TaskData.from_targets(X, y)
        sides = next(within.split(table))
    else:
        table = TaskData.from_long(X, y, task)
        sides = tuple(table.order[side] for side in next(within.split(table)))
    first, second = (np.sort(rows[side]) for side in sides)
    return first, second
