"""``polytask export``: a model as a file for other programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from polytask._options import option
from polytask.cli.console import say
from polytask.cli.files import require_file, writable
from polytask.cli.options import Running, Vary
from polytask.cli.predict import Saved
from polytask.exceptions import DataError, IncompatibleError
from polytask.messages import LazyMessage, message_of

_SUFFIX = ".onnx"


@dataclass(frozen=True)
class Exporting:
    """What the file is to be."""

    PANEL = "help.panel.exporting"

    to: str = option("help.export.to", default="onnx", metavar="onnx")
    interval: float | None = option("help.export.interval", metavar="LEVEL")


EXAMPLES = """\
  polytask export exams.polytask --to onnx --out exams.onnx
"""


def export(
    saved: Saved,
    exporting: Exporting,
    running: Annotated[
        Running,
        Vary(
            ("json", "resume", "time_budget", "jobs", "seed"),
            {"out": option("help.export.out", metavar="FILE")},
        ),
    ],
) -> None:
    """Load, write, and say what the graph is given and gives."""
    target = writable(
        running.out, force=running.force, example=f"model{_SUFFIX}", inputs=(saved.model,)
    )
    if exporting.to != "onnx" or not target.lower().endswith(_SUFFIX):
        fields = {"path": target, "names": [_SUFFIX]}
        raise DataError(LazyMessage("refusal.write.suffix", fields))
    require_file(saved.model, LazyMessage("cli.what.fitted_model"))
    from polytask import load
    from polytask.export import to_onnx
    from polytask.io.atomic import write_whole

    try:
        graph = to_onnx(load(saved.model), interval=exporting.interval)
    except ImportError as error:
        raise IncompatibleError(message_of(error)) from error
    write_whole(target, graph.SerializeToString())
    speech, ends = running.speech, (graph.graph.input, graph.graph.output)
    given, gives = (speech.listed([one.name for one in end]) for end in ends)
    say(speech("cli.export.wrote", {"path": target, "inputs": given, "outputs": gives}))
