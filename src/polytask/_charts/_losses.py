"""Losses by epoch: how a training went."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from polytask._charts._canvas import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def loss_curves(
    ax: Axes,
    training: ArrayLike,
    held_out: ArrayLike | None = None,
    *,
    kept: int | None = None,
    words: tuple[str, str, str, str] = ("Epoch", "Loss", "training", "held out"),
) -> Axes:
    """Draw losses by epoch: thin lines for tasks, thick ones for their mean."""
    # Shapes: training (n_epochs, n_tasks), held_out (n_epochs, n_tasks).
    for values, name, group in ((training, words[2], "unclear"), (held_out, words[3], "gain")):
        if values is None:
            continue
        losses = np.asarray(values, dtype=np.float64)
        epochs = np.arange(1, len(losses) + 1)
        if losses.shape[1] > 1:
            ax.plot(epochs, losses, color=COLOURS[group], linewidth=0.6, alpha=0.35)
        seen = losses[:, ~np.isnan(losses).all(axis=0)]
        ax.plot(epochs, np.nanmean(seen, axis=1), color=COLOURS[group], linewidth=1.8, label=name)
    if kept is not None:
        ax.axvline(kept, color=COLOURS["line"], linewidth=1.0, zorder=0)
    ax.set_xlabel(words[0])
    ax.set_ylabel(words[1])
    ax.legend(frameon=False)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    return ax
