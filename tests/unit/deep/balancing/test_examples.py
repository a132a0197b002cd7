"""The examples in the docstrings of the balancers, and what the package exports."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

pytest.importorskip("torch")

from polytask.deep import balancing


def _modules():
    for item in pkgutil.iter_modules(balancing.__path__, "polytask.deep.balancing."):
        yield importlib.import_module(item.name)


def test_examples_of_docstrings():
    results = [doctest.testmod(module) for module in _modules()]
    assert sum(result.failed for result in results) == 0
    assert sum(result.attempted for result in results) > 5


def test_every_method_names_its_paper():
    methods = [getattr(balancing, name) for name in balancing.__all__]
    weighing = [m for m in methods if hasattr(m, "weigh_losses") or hasattr(m, "weigh_gradients")]
    named = [m for m in weighing if isinstance(m, type) and hasattr(m, "__dataclass_fields__")]
    missing = {m.__name__ for m in named if "References\n" not in (m.__doc__ or "")}
    assert missing == {"Equal", "Fixed"}
