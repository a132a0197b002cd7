"""The work of ``polytask inspect``."""

from __future__ import annotations

from dataclasses import asdict

from polytask.cli._console import say_json
from polytask.cli._model_facts import model_facts, say_model_facts
from polytask.cli._sources import Source, require_file
from polytask.cli._table_facts import table_facts
from polytask.cli._table_facts_text import say_table_facts
from polytask.exceptions import ParameterError

_RELATED_ONLY = {
    "drop": "--drop",
    "ids": "--id",
    "drop_missing": "--drop-missing-target",
    "out": "--out",
}


def run_inspect(source: Source, task: str | None, targets: tuple[str, ...], json: bool) -> None:
    """Say what is in a file."""
    require_file(source.name, "a table or a model")
    if not is_table_file(source.name):
        facts = model_facts(source.name)
        say_json(facts) if json else say_model_facts(facts)
        return
    found = table_facts(source.table(), source.name, task, targets, source.style.decimal)
    say_json(asdict(found)) if json else say_table_facts(found)


def refuse_without_related(**given: object) -> None:
    """Refuse options that belong to ``--related``."""
    for name, value in given.items():
        if value:
            raise ParameterError(f"{_RELATED_ONLY[name]} of polytask inspect goes with --related.")


def is_table_file(path: str) -> bool:
    """Tell by its suffix whether a file is a table."""
    from polytask.data.readers import ARROW_SUFFIXES, PARQUET_SUFFIXES, TEXT_SUFFIXES

    name = path.lower().removesuffix(".gz")
    return name.endswith((*TEXT_SUFFIXES, *PARQUET_SUFFIXES, *ARROW_SUFFIXES, ".xlsx", ".xls"))
