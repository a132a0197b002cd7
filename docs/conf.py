"""The site: ``make docs`` writes it to ``docs/_build/html``, without a network."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import jupytext
from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.domains.python import PyObject
from sphinx.search import SearchEnglish
from sphinx.util.docfields import TypedField

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

import polytask

project, author, copyright = "polytask", "The polytask developers", "The polytask developers"
version = release = polytask.__version__
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "myst_parser",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
templates_path, html_static_path, html_css_files = ["_templates"], ["_static"], ["site.css"]
exclude_patterns = ["_build", "auto_examples/**/*.ipynb", "auto_examples/**/*.py"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 4

html_theme = "pydata_sphinx_theme"
html_title, html_favicon = "polytask", "_static/icon.svg"
html_show_sourcelink = False
html_theme_options = {
    "show_prev_next": True,
    "navigation_with_keys": False,
    "header_links_before_dropdown": 7,
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc", "notebook"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
copybutton_prompt_text, copybutton_prompt_is_regexp = r">>> |\.\.\. |\$ ", True

toc_object_entries_show_parents = "hide"
default_role = "literal"
suppress_warnings = ["ref.footnote"]  # numpydoc's References need not be cited in the text
autodoc_typehints = "none"
autodoc_member_order = "groupwise"
autosummary_imported_members = True
napoleon_google_docstring, napoleon_use_ivar, napoleon_use_rtype = False, True, False

# Pages with programs are notebooks too.
NOTEBOOKS = sorted(
    path.relative_to(ROOT / "docs").with_suffix("").as_posix()
    for path in (ROOT / "docs").glob("**/*.md")
    if "```python\n" in path.read_text(encoding="utf-8") and "_build" not in path.parts
)
html_context = {"default_mode": "auto", "notebooks": NOTEBOOKS}

sphinx_gallery_conf = {
    "examples_dirs": str(ROOT / "examples" / "gallery"),
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"\.py$",
    "abort_on_example_error": True,
    "min_reported_time": 1e9,
    "show_memory": False,
    "show_signature": False,
    "download_all_examples": False,
    "write_computation_times": False,
    "plot_gallery": True,
    "remove_config_comments": True,
}

# What users import from, in the order of the reference; a name is described where it comes first.
MODULES = (
    *("", "data", "datasets", "metrics", "baselines", "comparison", "selection"),
    *("selection.auto", "penalties", "losses", "datafits", "solvers", "bayes", "boosting"),
    *("deep", "deep.sharing", "deep.balancing", "deep.regularise", "deep.adapting"),
    *("deep.align", "deep.recording", "deep.sampling", "statistics", "distributed"),
    *("task_relations", "transfer", "explanation", "monitoring", "export", "io"),
    "testing",
)


def public_names() -> dict[str, dict[str, list[str]]]:
    """Return the names that each public module is the first to export, and its tables of names."""
    homes: dict[str, dict[str, list[str]]] = {}
    seen: set[int] = set()
    for part in MODULES:
        module = importlib.import_module(f"polytask.{part}".rstrip("."))
        home = module.__name__
        own = (n for n, v in vars(module).items() if getattr(v, "__module__", 0) == home)
        exported = getattr(module, "__all__", None) or [n for n in own if n[0] != "_"]
        found = {n: getattr(module, n) for n in sorted(exported) if not n.startswith("__")}
        found = {n: v for n, v in found.items() if not inspect.ismodule(v) and id(v) not in seen}
        seen.update(map(id, found.values()))
        homes[home] = kinds = {"objects": []}
        for name, value in found.items():
            if inspect.isclass(value) or inspect.isroutine(value):
                kinds["objects"].append(name)
            elif isinstance(value, Mapping):
                kinds[name] = [str(key) for key in value]
            else:
                kinds[name] = [one.__name__ for one in get_args(value)]
    return homes


PUBLIC = public_names()
for alias in ("MultiTaskRegressorIC", "MultiTaskClassifierIC", "MultiTaskModelIC"):
    kind = getattr(polytask, alias)
    kind.__doc__ = f"{kind.__doc__}\n\n{inspect.getdoc(kind.__base__)}"
autosummary_context = {"public_names": PUBLIC}


def _skip(app: object, kind: str, name: str, member: object, skip: bool, options: object) -> bool:
    """Leave out what scikit-learn and PyTorch add to every class."""
    home = getattr(member, "__module__", None) or ""
    foreign = home.startswith(("sklearn", "torch"))
    return skip or foreign or bool(re.fullmatch(r"set_\w+_request", name))


def _plain(*event: Any) -> None:
    """Leave numbers of references as text, and let two attributes share one description."""
    lines: list[str] = event[-1]
    for place, line in enumerate([*lines]):
        text = line
        if line.startswith((":ivar", ":vartype")):
            field, rest = line.split(" ", 1)
            name, told = rest.split(":", 1)
            # An underscore at the end of a name would make a link of it, and be lost.
            names = re.sub(r"_(?=,|$)", r"\_", name.replace(", ", ","))
            text = f"{field} {names}:{told}"
        # A summary in a table is not beside what it cites.
        lines[place] = re.sub(r"(\[\d+\])_", r"\1", text)


def _mathml(block: bool) -> Callable[..., None]:
    """Write formulas as MathML, which browsers draw without a script from elsewhere."""

    def visit(translator: Any, node: nodes.Element) -> None:
        tex = re.sub(r"\\([bB]igg?[lr]?|textstyle)(?![a-zA-Z])", "", node.astext())
        # The translator takes "12" of \frac12 for one number, and a bare second part not at all.
        tex = re.sub(r"(\\[td]?frac)\s*(\d)", r"\1{\2}", tex)
        tex = re.sub(r"(\\[td]?frac\{[^{}]*\})\s*([^\s{])", r"\1{\2}", tex)
        math = tex2mathml(tex, as_block=block)
        translator.body.append(f'<div class="formula">{math}</div>' if block else math)
        raise nodes.SkipNode

    return visit


def _write_notebooks(app: Any, failure: Exception | None) -> None:
    """Write a notebook of every page with programs beside the built site."""
    if failure is not None or app.builder.format != "html":
        return
    for name in NOTEBOOKS:
        notebook = jupytext.read(ROOT / "docs" / f"{name}.md")
        for cell in notebook.cells:
            if cell.cell_type == "markdown":  # pages that it links are not beside it
                text = re.sub(r"(?s)<picture>.*?</picture>", "", cell.source)
                cell.source = re.sub(r"!?\[([^]]*)\]\((?!http)[^)]*\)", r"\1", text)
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
        path = Path(app.outdir) / "notebooks" / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        jupytext.write(notebook, path)


class Search(SearchEnglish):
    """The English search, which finds Chinese too: no space parts its words, so pairs do."""

    js_splitter_code = r"""
var splitQuery = (query) =>
  (query.match(/[\u4e00-\u9fff]+|(?:(?![\u4e00-\u9fff])[\p{L}\p{N}_])+/gu) || []).flatMap((run) =>
    /^[\u4e00-\u9fff]./.test(run) ? [...run.slice(1)].map((one, k) => run[k] + one) : [run],
  );
"""

    def split(self, input: str) -> list[str]:
        """Return words, and of Chinese every character and every pair of neighbours."""
        words = re.findall(r"[^\W\u4e00-\u9fff]+", input)
        for run in re.findall("[\u4e00-\u9fff]+", input):
            words += [*run, *map("".join, pairwise(run))]
        return words


def setup(app: Any) -> None:
    """Register the formulas, the notebooks, the search, and which members are left out."""
    app.add_search_language(Search)
    for field in PyObject.doc_field_types:
        if isinstance(field, TypedField):  # types are prose here, not names to link
            field.typerolename = ""
            field.label = {"Variables": "Attributes"}.get(str(field.label), field.label)
    app.connect("build-finished", _write_notebooks)
    app.connect("autodoc-skip-member", _skip)
    app.connect("autodoc-process-docstring", _plain)
    app.add_html_math_renderer(
        "mathml", inline_renderers=(_mathml(False), None), block_renderers=(_mathml(True), None)
    )


html_math_renderer = "mathml"
