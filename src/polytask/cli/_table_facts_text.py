"""The facts about a table, for readers."""

from __future__ import annotations

from polytask.cli._console import say, say_table
from polytask.cli._table_facts import ColumnFacts, TableFacts


def say_table_facts(facts: TableFacts) -> None:
    """Print what is in a table."""
    header = ("column", "holds", "missing", "distinct", "values")
    say_table(
        f"{facts.path}: {facts.rows:,} rows, {len(facts.columns):,} columns",
        header,
        [_row(column) for column in facts.columns],
        right=(2, 3),
    )
    _say_remarks(facts)
    _say_tasks(facts)
    for target in facts.targets:
        gaps = f" It is missing in {target.missing:,} rows." if target.missing else ""
        say(f"Target {target.name!r} {target.reason}: {target.kind}.{gaps}")


def _row(column: ColumnFacts) -> tuple[str, ...]:
    missing = f"{column.missing:.1%}" if column.missing else "-"
    return column.name, column.kind, missing, f"{column.distinct:,}", column.example


def _say_remarks(facts: TableFacts) -> None:
    remarks = [f"  {c.name}: {'; '.join(c.remarks)}" for c in facts.columns if c.remarks]
    if remarks:
        say()
        say("Worth a look:")
        for remark in remarks:
            say(remark)


def _say_tasks(facts: TableFacts) -> None:
    say()
    tasks = facts.tasks
    if tasks is not None:
        say(
            f"Tasks by {tasks.column!r}: {tasks.count:,}, with {tasks.smallest:,} to "
            f"{tasks.largest:,} rows each (median {tasks.median:,.0f}); {tasks.of_one_row:,} of "
            f"one row; {tasks.missing:,} rows without a label."
        )
    elif facts.likely_tasks:
        likely = ", ".join(f"{name} ({count:,})" for name, count in facts.likely_tasks)
        say(f"Columns that may name the task (--task), with their distinct values: {likely}.")
    else:
        say("No column looks like the name of a task (--task).")
