"""Tables of results in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table without the columns in which no row has anything."""
    lines = [[str(cell) for cell in row] for row in rows]
    shown = [k for k in range(len(head)) if any(line[k] for line in lines)]
    rule = "|" + "---|" * len(shown)
    first, *rest = ("| " + " | ".join(line[k] for k in shown) + " |" for line in (head, *lines))
    return "\n".join([first, rule, *rest])


def interval(difference: np.ndarray, share: float) -> tuple[float, float]:
    """Return the 95% corrected resampled interval of a mean difference."""
    n = len(difference)
    spread = np.sqrt((1 / n + share / (1 - share)) * np.var(difference, ddof=1))
    reach = stats.t.ppf(0.975, n - 1) * spread
    return float(difference.mean() - reach), float(difference.mean() + reach)


def differing(values: np.ndarray, base: np.ndarray) -> str:
    """Return a mean and, in brackets, the paired difference with its 95% interval."""
    gap, n = values - base, len(values)
    half = stats.t.ppf(0.975, n - 1) * gap.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
    told = f" ({gap.mean():+.3f} ± {half:.3f})" if np.any(gap) else ""
    return f"{values.mean():.3f}{told}"


def against(found: Mapping[str, Mapping[int, Any]], base: str) -> list[list[str]]:
    """Return label, mean, paired difference and its interval; a quarter of rows is held out."""
    scores = {label: np.array([run[0] for run in runs.values()]) for label, runs in found.items()}
    rows = []
    for label, own in scores.items():
        gap = own - scores[base]
        low, high = interval(gap, 0.25)
        told = "" if label == base else f"{low:+.4f} to {high:+.4f}"
        rows.append([label, f"{own.mean():.4f}", f"{gap.mean():+.4f}", told])
    return rows
