"""What a comparison leaves in its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polytask.cli._compare_folder import CARD, LOCK, MODEL, REPORTS, SCORES, TASKS, write_json
from polytask.cli._console import note, working
from polytask.exceptions import PolytaskError

if TYPE_CHECKING:
    from polytask.comparison import Comparison


def writer(
    result: Comparison, lang: str, *, with_model: bool, kept: list[str]
) -> Callable[[Path], None]:
    """Return what writes the files of a comparison into a folder."""

    def write(folder: Path) -> None:
        from polytask import write_report
        from polytask.data.readers import write_table

        with working("Writing the report ..."):
            for name in REPORTS:
                write_report(result, folder / name, lang=lang)
        write_table(result.to_frame(), str(folder / SCORES))
        write_table(result.task_gains, str(folder / TASKS))
        if with_model and result.recommended:
            kept.extend(_keep_model(result, folder))
        write_json(folder / LOCK, result.lock)

    return write


def _keep_model(result: Comparison, folder: Path) -> list[str]:
    from polytask import save

    try:
        with working(f"Fitting {result.recommended} on all rows ..."):
            model: Any = result.best_model()
        save(model, folder / MODEL)
        model.card().write(folder / CARD)
    except PolytaskError as error:
        note(f"The model {result.recommended!r} could not be kept: {error}")
        return []
    return [MODEL]
