"""Files that nobody meant: an exit status and a sentence, never a traceback, in bounded memory."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask.cli import main

# In the suite a sample; NASTY_FILES=2000 for the figures of docs/results/hardening.md.
TRIES = settings(max_examples=int(os.environ.get("NASTY_FILES", "15")))
WORDS = """ |a|b|1|2.5|-0|nan|inf|-inf|1e999|1e-999|1,5|1.000,5|1e308|NULL|yes|no|2020-13-45|%|
2020-01-01|\x00|"|""|"a|a\nb|\r|\t|;|=1+1|+|\ufeff|\u202e长|"""
CELLS = st.one_of(
    *(st.sampled_from(WORDS.split("|")), st.text(max_size=6)),
    *(st.floats(width=32).map(repr), st.just("9" * 400)),
)
NAMES = st.sampled_from(
    ["g", "x", "y", "z", "", "g ", "X", "Unnamed: 0", "\x00", '"', "长", "y,y"]
)
FIT = ("--task", "g", "--target", "y")


@contextlib.contextmanager
def bounded(room: int = 2**31) -> Iterator[None]:
    """Let this process take so many more bytes, where the system can say so."""
    if not sys.platform.startswith("linux"):
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def ended(*words: str) -> tuple[int, str]:
    """Run a command; it is done, or refused in a sentence."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), bounded():
        status = main([str(word) for word in words])
    said = err.getvalue()
    assert status in (0, 2), (words, said)
    assert "Traceback" not in said
    if status == 2:
        (sentence,) = re.findall(r"^Error: (.+)", said, re.MULTILINE) or [""]
        assert len(sentence) > 8, said
    return status, said


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[None]:
    """Work in a folder with a table and a model of it."""
    with contextlib.chdir(tmp_path_factory.mktemp("nasty")):
        x, noise = np.random.default_rng(0).normal(size=(2, 30))
        rows = [f"{'ab'[k % 2]},{x[k]:.3f},{x[k] + noise[k]:.3f}" for k in range(30)]
        Path("good.csv").write_text("\n".join(["g,x,y", *rows, ""]))
        done = ended("fit", "good.csv", *FIT, "--penalty", "L2(0.1)", "--out", "m.polytask")
        assert done[0] == 0, done
        yield


@st.composite
def tables(draw) -> bytes:
    """Draw a table of the right columns or others, with nasty cells, in some encoding."""
    header = draw(st.one_of(st.just(["g", "x", "y"]), st.lists(NAMES, max_size=5)))
    rows = [["a", "1", "2"], ["b", "2", "3"]] * draw(st.integers(0, 6))
    rows += draw(st.lists(st.lists(CELLS, min_size=0, max_size=4), max_size=6))
    rows = draw(st.permutations(rows))
    sep = draw(st.sampled_from([",", ";", "\t", "|"]))
    text = draw(st.sampled_from(["\n", "\r\n", "\r"])).join(
        sep.join(row) for row in [header, *rows]
    )
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1", "gbk", "utf-32"]))
    data = bytearray(text.encode(encoding, "replace"))
    for place, byte in draw(
        st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=2)
    ):
        data[place : place + 1] = bytes([byte])
    return bytes(data)


@given(tables(), st.sampled_from([".csv", ".tsv", ".txt", ".csv.gz", ".parquet", ".xlsx"]))
@TRIES
def test_tables(place, content, suffix):
    name = f"a{suffix}"
    Path(name).write_bytes(content)
    ended("inspect", name)
    ended("fit", name, *FIT, "--penalty", "L2(0.1)", "--out", "n.polytask", "--force")
    ended("predict", "m.polytask", name, "--out", "p.csv", "--force")
    ended("schema", name, *FIT, "--out", "s.json", "--force")


TEXTS = "L2(0.1)|nan|1e999|-1||\x00|y|g|L1(((((((((|0.5|a/b"
OPTIONS = """penalty model target task out folds seed jobs sep encoding features drop weight loss
interval decimal lang json config data"""
KEYS = st.sampled_from(OPTIONS.split())
VALUES = st.one_of(
    *(st.sampled_from(TEXTS.split("|")), st.text(max_size=8), st.integers(), st.floats()),
    *(st.booleans(), st.lists(st.text(max_size=3), max_size=3)),
)


def toml(value: object) -> str:
    """Write a value as TOML does."""
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(letter):08x}" for letter in value) + '"'
    return f"[{', '.join(map(toml, value))}]" if isinstance(value, list) else str(value).lower()


@given(st.one_of(st.binary(max_size=60), st.dictionaries(KEYS, VALUES, max_size=4)))
@TRIES
def test_config_files(place, content):
    if isinstance(content, dict):
        content = "".join(f"{key} = {toml(value)}\n" for key, value in content.items()).encode()
    Path("c.toml").write_bytes(content)
    ended("fit", "good.csv", *FIT, "--config", "c.toml", "--out", "n.polytask", "--force")
