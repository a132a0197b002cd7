"""The examples in the docstrings of the package print what they say."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import pkgutil

import numpy as np
import pytest

import polytask
from polytask import DataError, IncompatibleError, MultiTaskRegressor, ParameterError

# What needs a package of an extra, and that package.
EXTRAS = {
    "polytask.deep": "torch",
    "polytask.transfer._deep": "torch",
    "polytask.distributed": "dask",
    "polytask.boosting": "lightgbm",
    "polytask.export.graphs": "onnx",
}
OPTIONAL = tuple(
    name for name, needed in EXTRAS.items() if importlib.util.find_spec(needed) is None
)
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def _modules():
    found = pkgutil.walk_packages(polytask.__path__, "polytask.")
    names = [item.name for item in found if not item.name.endswith("__main__")]
    return ["polytask", *[name for name in names if not name.startswith(OPTIONAL)]]


def _with_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    for name in _modules():
        module = importlib.import_module(name)
        for test in finder.find(module, name):
            if test.examples:
                yield pytest.param(test, id=test.name)


@pytest.mark.parametrize("example", list(_with_examples()))
def test_examples_of_docstrings(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
    printed = []
    with np.printoptions(legacy=False, precision=6, suppress=True):
        runner.run(example, out=printed.append)
    assert runner.failures == 0, "".join(printed)


def test_the_estimators_have_examples():
    names = {param.id.rpartition(".")[2] for param in _with_examples()}
    assert {"MultiTaskRegressor", "MultiTaskClassifier", "MultiTaskModel"} <= names


@pytest.mark.parametrize(
    ("options", "y", "error"),
    [
        ({}, [1.0, np.inf, 2.0], DataError),
        ({"tol": -1.0}, [1.0, 2.0, 3.0], ParameterError),
        ({"loss": "logistic"}, [1.0, 2.0, 3.0], IncompatibleError),
    ],
)
def test_fit_names_what_it_raises(options, y, error):
    with pytest.raises(error) as raised:
        MultiTaskRegressor(**options).fit(np.eye(3), y, task=[0, 1, 1])
    assert raised.type is error
    told = MultiTaskRegressor.fit.__doc__.partition("Raises\n")[2]
    assert f"        {error.__name__}\n" in told
