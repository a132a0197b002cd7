"""Targets with signs of money are numbers, and a dirty target is refused by name, everywhere."""

from __future__ import annotations

import shlex
import shutil

import numpy as np
import pandas as pd
import pytest

LONG = ("--task", "g", "--target", "y")
FIT = (*LONG, "--model", "multitask", "--out", "m.polytask")


@pytest.fixture
def price(plain):
    """Return the three tasks with a target of two decimals."""
    return plain.assign(y=(1000 + 100 * plain.y).round(2))


def _dollars(table):
    return table.assign(y=[f"${v:,.2f}" for v in table.y])


def _dirty(table, word="n/a?"):
    words = table.y.astype(str)
    words[7] = words[30] = word
    return table.assign(y=words)


def _predicted(run, table, **written):
    table.to_csv("new.csv", index=False)
    assert run("predict", "m.polytask", "new.csv", "--out", "p.csv", "--force").status == 0
    return pd.read_csv("p.csv").prediction


def test_money_is_read_as_numbers_and_predicted_as_plain_numbers(run, price):
    price.to_csv("plain.csv", index=False)
    assert run("fit", "plain.csv", *FIT).status == 0
    expected = _predicted(run, price)
    _dollars(price).to_csv("a.csv", index=False)
    done = run("fit", "a.csv", *FIT, "--force")
    assert done.status == 0
    read = "Column 'y' is read as numbers, written with '$' and ',' between thousands ("
    assert read in done.err
    assert "'y' holds numbers: regression." in done.out
    np.testing.assert_array_equal(_predicted(run, price), expected)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda v: f"{v:.2f} EUR", "with 'EUR'"),
        (lambda v: f"{v:.1f}%", "with '%'"),
        (lambda v: f"({v:.2f})" if v > 1100 else f"{v:.2f}", "with brackets around negative"),
        (lambda v: f"{v:_.2f}".replace("_", "'"), "with an apostrophe between thousands"),
        (lambda v: f"{v:_.2f}".replace("_", "\u00a0"), "with a space between thousands"),
        (
            lambda v: f"{v:_.2f}".replace(".", ",").replace("_", "."),
            "with '.' between thousands and decimal commas",
        ),
    ],
    ids=["EUR", "percent", "brackets", "apostrophe", "space", "comma"],
)
def test_inspect_says_how_numbers_are_written(run, price, write, words):
    price.assign(y=[write(v) for v in price.y]).to_csv("a.csv", index=False)
    done = run("inspect", "a.csv", *LONG)
    # Numbers of one unit are read as such from the file, others as a target only.
    told = (f"Target 'y' holds numbers written {words}", f"is read as numbers, written {words}")
    assert any(text in done.out + done.err for text in told)
    assert ": regression." in done.out


@pytest.mark.parametrize(
    "command",
    [
        ("fit", *FIT),
        ("compare", *LONG, "--quick", "--out", "o"),
        ("auto", *LONG, "--out", "m.polytask"),
        ("tune", *LONG, "--out", "m.polytask"),
        ("path", *LONG, "--penalty", "L21", "--out", "path.png"),
        ("inspect", *LONG, "--related"),
    ],
    ids=lambda command: command[0],
)
def test_every_command_names_the_cells(run, price, command):
    _dirty(price).to_csv("a.csv", index=False)
    done = run(command[0], "a.csv", *command[1:])
    assert done.status == 2
    assert (
        "Target 'y' of a.csv holds numbers but for 'n/a?' in row 9 and 'n/a?' in row 32, counting "
        "the header as row 1: correct these cells; where a value is missing, say "
        "--missing-values 'n/a?' --drop-missing-target. If the values are classes, say "
        f"{'--classes' if command[0] == 'auto' else '--loss multinomial'}."
    ) in done.err


def test_what_the_refusal_advises_works(run, price):
    _dirty(price, "it's -").to_csv("a.csv", index=False)
    refused = run("fit", "a.csv", *FIT).err
    advice = refused.split("is missing, say ")[1].split(". If")[0]
    done = run("fit", "a.csv", *FIT, *shlex.split(advice))
    assert done.status == 0, done.err
    assert "In column 'y' these cells are read as missing: \"it's -\" (2 cells)." in done.err
    assert "2 rows (9, 32; counting the header as row 1) without target 'y'" in done.err
    line = next(line for line in done.out.splitlines() if line.startswith("  polytask predict"))
    assert "it's -" in shlex.split(line)
    shutil.copy("a.csv", "NEW.csv")
    assert run(*shlex.split(line)[1:]).status == 0


def test_row_numbers_are_those_of_the_file_beside_rows_that_are_left_out(run, price):
    table = _dirty(price)
    table.loc[[0, 1, 2], "y"] = None
    table.to_csv("a.csv", index=False)
    done = run("fit", "a.csv", *FIT, "--drop-missing-target")
    assert "'n/a?' in row 9 and 'n/a?' in row 32" in done.err
    assert "say --missing-values 'n/a?'." in done.err


def test_targets_side_by_side(run, price):
    table = _dollars(price).assign(z=_dirty(price).y).drop(columns="g")
    table.to_csv("a.csv", index=False)
    words = ("--targets", "y,z", "--model", "multitask", "--out", "m.polytask")
    refused = run("fit", "a.csv", *words)
    assert "Target 'z' of a.csv holds numbers but for 'n/a?' in row 9" in refused.err
    assert "say --missing-values 'n/a?'. If" in refused.err
    done = run("fit", "a.csv", *words, "--missing-values", "n/a?")
    assert done.status == 0
    assert "Column 'y' is read as numbers, written with '$'" in done.err
    assert "'z' holds numbers: regression." in done.out


def test_a_file_per_task(run, folder, price):
    for name, table in _dollars(price).groupby("g"):
        table.drop(columns="g").to_csv(f"{name}.csv", index=False)
    words = ("fit", "--file-per-task", "?.csv", *FIT[2:])
    done = run(*words)
    assert done.status == 0, done.err
    assert "Column 'y' is read as numbers, written with '$'" in done.err
    table = pd.read_csv("b.csv")
    table.loc[3, "y"] = "€7.00"
    table.to_csv("b.csv", index=False)
    refused = run(*words, "--force")
    assert "numbers of different units: " in refused.err
    assert " in row 2 of a and '€7.00' in row 5 of b, counting the header as row 1." in refused.err


def test_the_decimal_mark_settles_what_can_be_read_in_two_ways(run, price):
    whole = price.assign(
        **price[["x", "z"]].round().astype(int), y=[f"€{v:,.0f}" for v in 10 * price.y]
    )
    whole.to_csv("a.csv", index=False)
    refused = run("fit", "a.csv", *FIT)
    assert refused.status == 2
    assert "that can be read in two ways" in refused.err
    assert "Say which one is meant: --decimal . (" in refused.err
    done = run("fit", "a.csv", *FIT, "--decimal", ".")
    assert done.status == 0
    told = "'y' is read as numbers, written with '€' and ',' between thousands"
    assert told in done.err
    # So do decimal marks in another column.
    price.assign(y=whole.y).to_csv("a.csv", index=False)
    done = run("fit", "a.csv", *FIT, "--force")
    assert done.status == 0
    assert told in done.err


def test_many_classes_must_be_asked_for(run, price):
    price.assign(y=[f"c{k % 24}" for k in range(len(price))]).to_csv("a.csv", index=False)
    refused = run("fit", "a.csv", *FIT)
    assert (
        "Target 'y' of a.csv is text with 24 different values (c0, c1, c10, c11, ...)"
        in refused.err
    )
    assert "only if you ask for them: --loss multinomial." in refused.err
    done = run("fit", "a.csv", *FIT, "--loss", "multinomial")
    assert done.status == 0
    assert "'y' is fitted with --loss multinomial: classification." in done.out


def test_values_in_brackets_are_no_row_numbers(run, price):
    price.assign(y=[f"1.{k % 24 + 1:02d}.7" for k in range(len(price))]).to_csv(
        "a.csv", index=False
    )
    refused = run("fit", "a.csv", *FIT)
    assert "24 different values (1.01.7, 1.02.7, 1.03.7, 1.04.7, ...)" in refused.err


def test_codes_stay_classes_of_their_type(run, price):
    price.assign(y=np.resize(["A12", "B7"], len(price))).to_csv("a.csv", index=False)
    assert "'y' holds text (A12, B7): classification." in run("fit", "a.csv", *FIT).out
    assert set(_predicted(run, price)) <= {"A12", "B7"}


def test_adapt_reads_the_target_as_the_model_does(run, price):
    price.to_csv("a.csv", index=False)
    assert run("fit", "a.csv", *FIT).status == 0
    new = price[price.g == "a"].assign(g="new").reset_index(drop=True)
    words = ("adapt", "m.polytask", "new.csv", "--target", "y", "--out", "more.polytask")
    _dirty(new).to_csv("new.csv", index=False)
    refused = run(*words)
    assert refused.status == 2
    assert "holds numbers but for 'n/a?' in row 9 and 'n/a?' in row 32" in refused.err
    _dollars(new).to_csv("new.csv", index=False)
    done = run(*words)
    assert done.status == 0, done.err
    assert "Column 'y' is read as numbers, written with '$'" in done.err
    new.assign(y="u").to_csv("new.csv", index=False)
    refused = run(*words, "--force")
    assert "must hold numbers for the model, which predicts numbers; got 'u' in row" in refused.err


def test_a_target_of_lists_is_refused(run, price):
    price.assign(y=[[1, 2]] * len(price)).to_parquet("a.parquet")
    refused = run("fit", "a.parquet", *FIT)
    assert refused.status == 2
    assert "Target 'y' of a.parquet holds lists or records" in refused.err


def test_one_comma_among_full_stops_is_a_slip(run, price):
    _dirty(price, "1,5").to_csv("a.csv", index=False)
    refused = run("fit", "a.csv", *FIT)
    assert "holds numbers but for '1,5' in row 9" in refused.err
    assert "decimal commas" not in refused.err
