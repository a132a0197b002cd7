"""What a comparison leaves in its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polytask.cli._compare_folder import CARD, LOCK, MODEL, REPORTS, SCORES, TASKS, write_json
from polytask.cli._console import note, working
from polytask.exceptions import PolytaskError

if TYPE_CHECKING:
    from polytask.analysis import Comparison


def writer(
    result: Comparison, lang: str, *, with_model: bool, kept: list[str]
) -> Callable[[Path], None]:
    """Return what writes the files of a comparison into a folder.

    Parameters
    ----------
    result : Comparison
        With ``lock["command"]``.
    lang : {"en", "zh"}
        The language of the report.
    with_model : bool
        Whether to fit the recommended model on all rows and keep it.
    kept : list of str
        Receives the name of the model's file if it could be kept.

    Returns
    -------
    callable
        Takes the folder.
    """

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
    from threadpoolctl import threadpool_limits

    from polytask import save

    try:
        # One thread, as in the comparison: on small matrices more are slower.
        with working(f"Fitting {result.recommended} on all rows ..."), threadpool_limits(1):
            model: Any = result.best_model()
        splits = model.get_params(deep=False).get("cv")
        if splits is not None and not isinstance(splits, int):
            # The groups and times of all rows, which no prediction needs: patients, say, have no
            # place in a model that is handed on. The lock has their checksum.
            model.set_params(cv=None)
        save(model, folder / MODEL)
        model.card().write(folder / CARD)
    except PolytaskError as error:
        note(f"The model {result.recommended!r} could not be kept: {error}")
        return []
    return [MODEL]
