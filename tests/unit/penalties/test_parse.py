"""Penalties from text."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from polytask import penalties
from polytask.exceptions import ParameterError
from polytask.penalties import (
    L1,
    L2,
    L21,
    PENALTIES,
    Clustered,
    ElasticNet,
    Penalty,
    TraceNorm,
    along_graph,
    along_time,
    coupling,
    decompose,
    parse,
    parsing,
    toward_mean,
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("L21", L21()),
        ("L21()", L21()),
        ("L21(0.5)", L21(0.5)),
        (" TraceNorm ( fraction = 1e-2 ) ", TraceNorm(fraction=0.01)),
        ("ElasticNet(None, 0.9)", ElasticNet(None, 0.9)),
        ("L21(fraction=0.1)+L2(alpha=1.0)", L21(fraction=0.1) + L2(1.0)),
        ("toward_mean+L2", toward_mean() + L2()),
        ("L1(1) + (L2(2) + L21(3))", L1(1) + L2(2) + L21(3)),
        ("0.5 * toward_mean + L2 * 3", toward_mean(0.5) + L2(3)),
        ("Clustered(1, 0.5, 3)", Clustered(1, 0.5, 3)),
        ("along_time(2, order=['May', 'June'])", along_time(2, ["May", "June"])),
        ("along_time(order=(3, -1, 2.5)) + L2", along_time(order=[3, -1, 2.5]) + L2()),
        (
            "along_graph(1, {('north', 'south'): 0.5, (1, 2): 3})",
            along_graph(1, {("north", "south"): 0.5, (1, 2): 3}),
        ),
        ("coupling(None, [[1, -1], [-1, 1]])", coupling(None, [[1, -1], [-1, 1]])),
    ],
)
def test_texts(text, wanted):
    assert parse(text) == wanted


@pytest.mark.parametrize("name", sorted(PENALTIES))
def test_every_name_and_every_repr(name):
    assert parse(name) == PENALTIES[name]()
    penalty = PENALTIES[name](alpha=0.3) + L2(2.0)
    assert parse(repr(penalty)) == penalty


@pytest.mark.parametrize(
    "text",
    [
        "",
        "L21(",
        "L21(a)",
        "L21('a')",
        "1 + L1",
        "L1 - L2",
        "L1 * L2",
        "True * L1",
        "None * L1",
        "L1[0]",
        "L1.shifted",
        "L1(**{})",
        "L1(*[1])",
        "along_time(1, 'May')",
        "along_time(1, order=[May])",
        "along_time(1, order=[{}])",
        "along_graph(1, {**{}})",
        "along_graph(1, {{}: 1})",
        "coupling(1)",
        "lambda: 0",
        "__import__('os').getcwd()",
        "(" * 500 + "L1" + ")" * 500,
        "L1\x00",
        " + ".join(["L1"] * 5000),
    ],
)
def test_texts_that_are_refused(text):
    with pytest.raises(ParameterError, match=r"penalty must be|takes alpha"):
        parse(text)


def test_a_misspelt_name_gets_the_nearest():
    with pytest.raises(ParameterError, match=r"got 'TraceNrom'.*Did you mean 'TraceNorm'\?"):
        parse("TraceNrom(1) + L2")


def test_parameters_that_do_not_fit():
    with pytest.raises(ParameterError, match=r"L21 in .* has no parameter 'beta'"):
        parse("L21(beta=1)")
    with pytest.raises(ParameterError, match=r"L21 in .* has 3 values without a name"):
        parse("L21(1, 2, 3)")
    with pytest.raises(ParameterError, match="alpha of L21 must be a finite number"):
        parse("L21(-1)")


def test_numbers_keep_their_value():
    assert parse("L1(1e-3)").strength == 1e-3
    assert np.isclose(parse("2 * L1(0.5)").strength, 1.0)


def test_what_the_package_exports_can_be_written(monkeypatch):
    monkeypatch.setattr(parsing, "PENALTIES", dict(PENALTIES))
    monkeypatch.setattr(parsing, "_MAKERS", dict(parsing._MAKERS))

    @dataclasses.dataclass(frozen=True)
    class Lasso(L1):
        pass

    parsing.register({"Lasso": Lasso, "Penalty": Penalty, "decompose": decompose})
    assert parsing.PENALTIES.keys() - PENALTIES.keys() == {"Lasso"}
    assert type(parse("2 * Lasso(0.5) + L2")) is type(L1(1.0) + L2())
    assert isinstance(parse("Lasso(0.5)"), Lasso)


def test_what_users_choose_can_be_written():
    makers = parsing._MAKERS.keys()
    assert makers <= {*penalties.__all__, "TraceBall"}
    assert makers >= {*PENALTIES, "dirty", "Parts", "weighted", "coupling", "GroupNorm"}
    assert makers.isdisjoint({"TowardMean", "parse", "decompose", "Penalty", "Columns"})
