"""What is suggested for a name that is not there: what may be meant, and nothing else."""

from __future__ import annotations

import pytest

from polytask._checks import nearest, nearest_file


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("bin", ["inf", "box"], None),
        ("fot", ["fit", "tof"], "fit"),
        ("scool", ["school", "age"], "school"),
        ("AGE", ["age", "page"], "age"),
        ("x01", ["x1", "x2"], "x1"),
        ("score", ["score_1", "age"], "score_1"),
        ("los", ["los_days", "age"], "los_days"),
        ("los", ["los_days", "los_hours"], None),
        ("lo", ["los_days", "age"], None),
        ("store_12", ["store_11", "store_13"], None),
        ("0.0", ["1.0", "2.0"], None),
        (12, [11, 13], None),
        ("weight", ["height of the tree", "size"], None),
        # What stands in every name makes none of them alike.
        ("Thames hospital", ["Avon hospital", "Gade hospital", "Lea hospital"], None),
        ("Avno hospital", ["Avon hospital", "Gade hospital", "Lea hospital"], "Avon hospital"),
        ("Avon hospitl", ["Avon hospital", "Gade hospital", "Lea hospital"], "Avon hospital"),
        ("testt", ["test", "test2"], "test"),
        ("Newfield", ["Ashfield", "Redhill"], None),
    ],
)
def test_only_what_may_be_meant_is_suggested(name, known, meant):
    assert str(nearest(name, known)) == ("" if meant is None else f" Did you mean {meant!r}?")


def test_a_folder_is_no_file_that_may_be_meant(tmp_path):
    (tmp_path / "scores").mkdir()
    assert str(nearest_file(str(tmp_path / "score"))) == ""
    assert str(nearest_file(str(tmp_path / "score.csv"))) == ""
    (tmp_path / "sales_2021.csv").touch()
    assert str(nearest_file(str(tmp_path / "sales_2022.csv"))) == ""
    assert str(nearest_file(str(tmp_path / "sale_2021.csv"))) == " Did you mean 'sales_2021.csv'?"
    (tmp_path / "mk.py").touch()
    assert str(nearest_file(str(tmp_path / "m.polytask"))) == ""
    model = tmp_path / "out" / "model" / "a.polytask"
    model.parent.mkdir(parents=True)
    model.touch()
    for lost in ("out/a.polytask", "out/modl/a.polytask", "a.polytask"):
        assert str(nearest_file(str(tmp_path / lost))) == f" Did you mean {str(model)!r}?"
    assert str(nearest_file("/a.polytask")) == str(nearest_file("/no-folder/a.polytask")) == ""
