"""The models that every version has saved load and predict what they predicted then."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from saved_models.make import asked

from polytask import load

FILES = sorted(Path(__file__).parent.glob("*/*.polytask"))


def assert_close(got, want, rtol):
    if isinstance(want, list):
        assert len(got) == len(want)
        for one, two in zip(got, want, strict=True):
            assert_close(one, two, rtol)
    elif isinstance(want, float):
        np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol)
    else:
        assert got == want


def test_there_are_files():
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_a_saved_model_predicts_what_it_did(path):
    content = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    said = asked(load(path), content["query"])
    assert said.keys() == content["said"].keys()
    rtol = 1e-6 if content["query"].get("dtype") == "float32" else 1e-12
    assert_close(list(said.values()), list(content["said"].values()), rtol)
