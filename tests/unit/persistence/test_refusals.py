"""Files that are no models, and models that are no files: one sentence each."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import skops.io
from sklearn.linear_model import Ridge
from unit.persistence.cases import CASES, long, rows, tasks

import polytask
from polytask import DataError, MultiTaskRegressor, ParameterError, _registry, load, save
from polytask.io import model_file as _container
from polytask.io import saveable
from polytask.io.atomic import write_whole
from polytask.io.codec import reproducible


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model.polytask"
    save(long()[0], path)
    return path.read_bytes()


def refused(path, match):
    with pytest.raises(DataError, match=match) as caught:
        load(path)
    assert "\n" not in str(caught.value)


def rewritten(data, change):
    """Return a file with another document and a right checksum."""
    document, tensors = _container.unpack(data, "file")
    change(document)
    body = {k: v for k, v in document.items() if k not in ("format", "sha256")}
    return _container.pack(body, tensors)


def test_missing_file_and_folder(tmp_path):
    refused(tmp_path / "none", "there is no such file")
    refused(tmp_path, "it is a folder")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "not a polytask model, or cut short"),
        (b"abc", "not a polytask model, or cut short"),
        (bytes(range(256)) * 3, "not a polytask model"),
        (b"task,x,y\na,1,2\n" * 20, "not a polytask model"),
        (pickle.dumps({"a": np.zeros(50)}), "pickle, which load never opens"),
        (b"PK\x03\x04" + b"0" * 100, "zip archive"),
        (safetensors.numpy.save({"a": np.zeros(3)}), "safetensors file of another program"),
        (
            safetensors.numpy.save({"a": np.zeros(3)}, {"polytask": "{}"}),
            "safetensors file of another program",
        ),
    ],
    ids=["empty", "short", "random", "text", "pickle", "zip", "foreign", "foreign-same-key"],
)
def test_other_files(tmp_path, content, match):
    (tmp_path / "f").write_bytes(content)
    refused(tmp_path / "f", match)


def test_cut_short_anywhere(tmp_path, saved):
    for size in (*range(9, len(saved), 37), len(saved) - 1):
        (tmp_path / "f").write_bytes(saved[:size])
        refused(tmp_path / "f", f"cut short after {size} bytes")


def test_one_changed_byte_anywhere(tmp_path, saved):
    for place in range(len(saved)):
        changed = bytearray(saved)
        changed[place] ^= 1 << (place % 8)
        (tmp_path / "f").write_bytes(changed)
        refused(tmp_path / "f", "altered or damaged|cut short|not a polytask|format version")


def test_something_added(tmp_path, saved):
    (tmp_path / "f").write_bytes(saved + b"\0")
    refused(tmp_path / "f", "altered or damaged")


def test_a_newer_format_says_what_reads_it(tmp_path, saved):
    newer = rewritten(saved, lambda d: d.update(format_version=2, readable_from="0.7.0"))
    (tmp_path / "f").write_bytes(newer)
    refused(tmp_path / "f", r"format version 2, .* versions up to 1: polytask 0\.7\.0 or newer")


def test_an_unknown_class_is_named(tmp_path, saved):
    def rename(document):
        document["model"]["$object"] = "os.system"

    (tmp_path / "f").write_bytes(rewritten(saved, rename))
    refused(tmp_path / "f", "'os.system' that this version of polytask does not know")


def _set(path, value):
    def change(document):
        *heads, last = path
        for head in heads:
            document = document[head]
        document[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (_set(["model"], {"$object": "loss.squared", "state": {}}), "holds a Squared, not a"),
        (_set(["model"], {"$what": 1}), "unknown kind"),
        (_set(["model", "state", "params", "colour"], 1), "not that of a model"),
        (_set(["model", "state", "fitted", "fit"], 1), "'fit' is not a fitted attribute"),
        (_set(["model", "state", "fitted", "__class__"], 1), "is not a fitted attribute"),
        (_set(["model", "state", "fitted", "coef_"], {"$tensor": "b"}), "not that of a model"),
        (_set(["model", "state"], 3), "not that of a model"),
        (
            _set(
                ["model", "state", "params", "penalty"],
                {"$values": ["a"], "dtype": "<U400000000", "shape": [1]},
            ),
            "1 values of type <U400000000",
        ),
        (
            _set(
                ["model", "state", "params", "penalty"],
                {"$linear": "Lars", "state": {"fitted": {}}},
            ),
            "linear model 'Lars' that cannot",
        ),
        (
            _set(
                ["model", "state", "params", "penalty"],
                {"$linear": "Ridge", "state": {"params": {}, "fitted": {"predict": 1}}},
            ),
            "linear model 'Ridge' that cannot",
        ),
    ],
)
def test_wrong_content_with_a_right_checksum(tmp_path, saved, change, match):
    (tmp_path / "f").write_bytes(rewritten(saved, change))
    refused(tmp_path / "f", match)


def zipped(kind):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as archive:
        archive.writestr("schema.json", " " * 2**24)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (reproducible(skops.io.dumps(Path)), "not on the list of types that load trusts"),
        (zipped(zipfile.ZIP_DEFLATED), "compressed parts, which may be of any size"),
        (bytes(40), "not a zip file"),
    ],
    ids=["type", "bomb", "junk"],
)
def test_skops_content_that_is_not_trusted_is_not_loaded(tmp_path, saved, content, match):
    document, tensors = _container.unpack(saved, "file")
    document["model"]["state"]["params"]["penalty"] = {"$skops": {"$tensor": "evil"}}
    body = {k: v for k, v in document.items() if k not in ("format", "sha256")}
    evil = {"evil": np.frombuffer(content, dtype=np.uint8)}
    (tmp_path / "f").write_bytes(_container.pack(body, tensors | evil))
    refused(tmp_path / "f", match)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"shape": [10**12]}, "altered"),
        ({"shape": [10**12], "data_offsets": [0, 8 * 10**12]}, "cut short"),
        ({"shape": [2**62, 2**62]}, "altered"),
        ({"shape": [-1]}, "altered"),
        ({"dtype": "F8_E4M3"}, "altered"),
        ({"data_offsets": [5, 1]}, "altered"),
    ],
    ids=str,
)
def test_a_header_that_claims_what_is_not_there(tmp_path, saved, change, match):
    size = int.from_bytes(saved[:8], "little")
    header = json.loads(
        saved[8 : 8 + size].decode().replace(saved[_container._SUM].decode(), "0" * 64)
    )
    header[next(name for name in header if name != "__metadata__")] |= change
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    data = bytearray(len(text).to_bytes(8, "little") + text + saved[8 + size :])
    data[_container._SUM] = _container._checksum(data)
    (tmp_path / "f").write_bytes(data)
    refused(tmp_path / "f", match)


def test_the_document_can_be_read_without_polytask(tmp_path, saved):
    (tmp_path / "f").write_bytes(saved)
    with safetensors.safe_open(tmp_path / "f", framework="np") as file:
        document = json.loads(file.metadata()["polytask"])
    assert document["format"] == "polytask-model"
    assert document["class"] == "MultiTaskRegressor"
    assert re.fullmatch("[0-9a-f]{64}", document["sha256"])


# ------------------------------------------------------------------ save


def test_unfitted_model(tmp_path):
    with pytest.raises(DataError, match=r"not fitted yet\. Call fit first"):
        save(MultiTaskRegressor(), tmp_path / "m")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("thing", [3, None, Ridge()])
def test_something_else(tmp_path, thing):
    with pytest.raises(DataError, match="model of save must be an estimator of polytask"):
        save(thing, tmp_path / "m")


def test_missing_folder_and_folder_as_file(tmp_path):
    model, _ = long()
    with pytest.raises(DataError, match="there is no folder"):
        save(model, tmp_path / "none" / "m")
    with pytest.raises(DataError, match="it is a folder"):
        save(model, tmp_path)


def test_a_function_as_parameter_is_refused_by_name(tmp_path):
    model, _ = long()
    model.set_params(n_jobs=max)
    (tmp_path / "m").write_text("before")
    with pytest.raises(DataError, match=r"its parameter n_jobs is a function.*set_params\(n_jobs"):
        save(model, tmp_path / "m")
    assert (tmp_path / "m").read_text() == "before"


def test_an_array_of_complex_numbers_is_refused(tmp_path):
    model, _ = long()
    model.set_params(task_weight=np.array([1j]))
    with pytest.raises(DataError, match="its parameter task_weight is an array of dtype complex"):
        save(model, tmp_path / "m")


FULL = """
import resource, sys
sys.path.insert(0, sys.argv[2])
import numpy as np
from polytask import DataError, MultiTaskRegressor, save
rng = np.random.default_rng(0)
X = rng.standard_normal((50, 400))
model = MultiTaskRegressor().fit(X, X[:, 0])
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
try:
    save(model, sys.argv[1])
except DataError as error:
    print(error)
"""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with a name are for POSIX")
def test_a_pipe_is_written_to_and_stays_one(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    # The pipe holds as much until it is read.
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_whole(pipe, b"model")
    assert os.read(reader, 100) == b"model"
    os.close(reader)
    assert pipe.is_fifo()
    assert [*tmp_path.iterdir()] == [pipe]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="limits of file size are of POSIX")
def test_a_full_disk_leaves_what_was_there(tmp_path):
    (tmp_path / "m").write_text("before")
    source = str(Path(polytask.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "m"), source],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "Cannot write" in done.stdout
    assert "Nothing was changed" in done.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
    assert (tmp_path / "m").read_text() == "before"


def test_an_interrupt_leaves_what_was_there(tmp_path, monkeypatch):
    (tmp_path / "m").write_text("before")

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save(long()[0], tmp_path / "m")
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
    assert (tmp_path / "m").read_text() == "before"


# ------------------------------------------------------------------ classes from outside


class Outside(type(long()[0])):
    """A class of a user."""


def test_a_class_from_outside_is_registered_by_the_caller(tmp_path):
    X, y, _ = rows()
    model = Outside().fit(X, y, task=tasks(["a", "b"]))
    with pytest.raises(DataError, match="not marked with"):
        save(model, tmp_path / "m")
    saveable("example.outside")(Outside)
    save(model, tmp_path / "m")
    assert type(load(tmp_path / "m")) is Outside


@pytest.mark.parametrize("names", [("linear.regressor",), ("example.mine", "linear.regressor")])
def test_a_name_of_polytask_cannot_be_taken(names):
    with pytest.raises(ParameterError, match=r"polytask does not use; got 'linear\.regressor'"):
        saveable(*names)(type("Mine", (), {}))


def test_a_class_answers_to_its_former_names():
    made = saveable("example.new", "example.old")(type("Mine", (), {}))
    assert _registry.resolve("example.old") is made
    assert _registry.name_of(made()) == "example.new"


def test_every_case_can_be_saved_over_another(tmp_path):
    for name in ("long", "table"):
        model, query = CASES[name]()
        save(model, tmp_path / "m")
        np.testing.assert_array_equal(
            load(tmp_path / "m").predict(**query), model.predict(**query)
        )
