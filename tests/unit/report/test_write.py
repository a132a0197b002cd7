"""Writing reports: forms, folders, refusals; Markdown."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from unit.report import examples

from polytask.comparison import Comparison
from polytask.exceptions import DataError, ParameterError
from polytask.reporting import markdown as markdown_of
from polytask.reporting import write_report
from polytask.reporting.text import escaped

CASES = sorted(examples.ALL)


def markdown(result, lang: str = "en") -> str:
    return markdown_of(result.document(lang))


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("a.html", "<!DOCTYPE html>"),
        ("a.md", "# Fit the tasks jointly"),
        ("a.JSON", '{\n "format"'),
    ],
)
def test_suffix_chooses_the_form(tmp_path, name, begins):
    path = write_report(examples.share(), str(tmp_path / name))
    assert path == tmp_path / name
    assert path.read_text(encoding="utf-8").lstrip().startswith(begins)
    assert [one.name for one in tmp_path.iterdir()] == [name]


@pytest.mark.slow
@pytest.mark.parametrize("there", [True, False])
def test_folder_gets_all_forms(tmp_path, there):
    folder = tmp_path / "answers" / "one"
    if there:
        folder.mkdir(parents=True)
    assert write_report(examples.share(), folder) == folder
    assert {one.name for one in folder.iterdir()} == {"report.html", "report.md", "report.json"}


@pytest.mark.slow
def test_folder_with_a_dot_in_its_name_is_a_folder(tmp_path):
    folder = tmp_path / "v1.2"
    folder.mkdir()
    assert write_report(examples.share(), folder) == folder
    assert (folder / "report.html").is_file()


def test_json_form_can_be_read_again(tmp_path):
    path = write_report(examples.hostile(), tmp_path / "a.json")
    text = path.read_text(encoding="utf-8")
    assert Comparison.from_json(text).to_json() == text.rstrip("\n")


def test_file_that_was_there_is_replaced(tmp_path):
    path = tmp_path / "a.md"
    path.write_text("before")
    write_report(examples.share(), path, lang="zh")
    assert path.read_text(encoding="utf-8").startswith("# 联合学习各任务")


def test_unknown_suffix_is_refused_with_those_known(tmp_path):
    with pytest.raises(ParameterError, match=r"one of \.html, \.md, \.json, or be a folder"):
        write_report(examples.share(), tmp_path / "report.pdf")
    assert not list(tmp_path.iterdir())


def test_unknown_language_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ParameterError, match="lang must be"):
        write_report(examples.share(), tmp_path / "new", lang="de")
    assert not list(tmp_path.iterdir())


def test_folder_that_is_not_there_and_file_in_the_way_are_refused(tmp_path):
    with pytest.raises(DataError, match="no folder"):
        write_report(examples.share(), tmp_path / "none" / "a.html")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="Cannot make the folder"):
        write_report(examples.share(), tmp_path / "file")


@pytest.mark.slow
def test_report_is_written_without_a_plotting_window_or_network(tmp_path):
    code = (
        "import sys; from unit.report import examples\n"
        "from polytask.reporting import write_report\n"
        f"write_report(examples.share(), {str(tmp_path / 'a.html')!r})\n"
        "print('matplotlib.pyplot' in sys.modules, 'plotly' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={"PYTHONPATH": ":".join(sys.path), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "False"]


# Markdown.


def cells(line: str) -> int:
    return len(re.findall(r"(?<!\\)\|", line)) - 1


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("name", CASES)
def test_tables_of_markdown_are_whole(name, lang):
    text = markdown(examples.ALL[name](), lang)
    tables = [block.split("\n") for block in text.split("\n\n") if block.startswith("| ")]
    assert bool(tables) is (name != "nothing")
    for table in tables:
        assert len({cells(line) for line in table}) == 1
        assert re.fullmatch(r"(\| -+[-:] )+\|", table[1])


def test_markdown_has_every_number_of_the_tasks():
    result = examples.share()
    text = markdown(result)
    for one in result.tasks:
        gain = re.escape(f"{one.gain:+.3f}")
        assert re.search(rf"\| {one.task} +\| +{one.rows} \| +{gain} \|", text)


def test_markdown_has_the_coefficients_of_all_tasks_that_it_speaks_of():
    shown = examples.share().coefficients
    lines = markdown(examples.share()).split("\n")
    head = next(line for line in lines if line.startswith("| Feature "))
    assert [cell.strip() for cell in head.strip("|").split("|")][1:] == list(shown.columns[:60])


def test_names_are_text_in_markdown():
    text = markdown(examples.hostile())
    body = text[: text.rindex("```json")]
    assert "<script" not in body.replace(f"polytask compare '{examples.HOSTILE[1]}'", "")
    assert "<img" not in body
    assert "](javascript" not in body.replace(r"\](javascript", "")
    assert "\x1b" not in text


def test_fence_is_longer_than_any_in_the_code():
    text = markdown(examples.hostile())
    call = text[text.index("polytask compare '") - 20 :].split("\n")
    fence = next(line for line in call if line.startswith("`"))
    assert fence.startswith("````")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain name_1", "plain name_1"),
        ("a|b", r"a\|b"),
        ("*bold* _low_", r"\*bold\* \_low\_"),
        ("[x](y)", r"\[x\](y)"),
        ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
        ("$x$ `c` ~~d~~ back\\slash", r"\$x\$ \`c\` \~\~d\~\~ back\\slash"),
        ("#12", r"\#12"),
        ("F#", "F#"),
    ],
)
def test_only_what_markdown_acts_on_is_escaped(name, shown):
    assert escaped(name) == shown


def test_text_from_right_to_left_is_isolated():
    assert escaped("בית") == "\u2068בית\u2069"


def test_markdown_lines_up_in_a_terminal():
    table = next(
        block for block in markdown(examples.share()).split("\n\n") if block.startswith("| Task")
    )
    assert len({len(line) for line in table.split("\n")}) == 1


def test_json_report_is_json(tmp_path):
    write_report(examples.many(), tmp_path)
    content = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert len(content["tasks"]) == 1000
    assert (tmp_path / "report.html").stat().st_size < 5e6
