"""The built site in a browser without a network: nothing fails or overflows, search finds."""

from __future__ import annotations

import functools
import json
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

SITE = Path(__file__).resolve().parents[2] / "docs" / "_build" / "html"
PAGES = ("index", "start", "data", "penalties", "objective", "migrating", "results/auto",
         "reference", "generated/polytask.MultiTaskRegressor", "generated/polytask.penalties",
         "auto_examples/plot_slopes", "zh/index", "zh/which_tool",
         "zh/reading_the_report")  # fmt: skip
WIDTHS = (390, 1280)
pytestmark = [pytest.mark.slow, pytest.mark.browser]
needs_site = pytest.mark.skipif(not SITE.is_dir(), reason="the site is not built: make docs")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_args):
        pass


CUT = """() => [...document.querySelectorAll('article :is(h1, h2, h3, p, li, dt)')]
    .filter(one => one.scrollWidth > one.clientWidth + 1 && !one.closest('table, pre'))
    .filter(one => one.clientWidth > 0).map(one => one.textContent.slice(0, 80))"""


@pytest.fixture(scope="module")
def address():
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=SITE))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(params=WIDTHS)
def page(request, browser):
    context = browser.new_context(viewport={"width": request.param, "height": 900})
    opened = context.new_page()
    opened.faults = []
    opened.on("console", lambda m: m.type == "error" and opened.faults.append(m.text))
    opened.on("pageerror", lambda error: opened.faults.append(str(error)))
    opened.on("requestfailed", lambda asked: opened.faults.append(asked.url))
    yield opened
    context.close()


@needs_site
@pytest.mark.parametrize("name", PAGES)
def test_page_opens_without_fault_and_fits(page, address, name):
    page.goto(f"{address}/{name}.html")
    width, inner = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert width <= inner
    assert page.evaluate("document.querySelector('.bd-header').offsetHeight") <= 80  # one row
    assert page.evaluate(CUT) == []
    assert page.faults == []


@needs_site
@pytest.mark.parametrize("words", ["inconclusive", "TraceNorm", "monitor", "门店", "报告"])
def test_search_finds(page, address, words):
    page.goto(f"{address}/search.html?q={words}")
    page.wait_for_selector("#search-results li a")
    assert page.faults == []


@needs_site
@pytest.mark.parametrize("name", ["which_penalty", "zh/quick_start"])
def test_a_page_with_programs_is_a_notebook(name):
    linked = (SITE / f"{name}.html").read_text(encoding="utf-8")
    assert f'notebooks/{name}.ipynb" download>' in linked
    cells = json.loads((SITE / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    programs = [text for text in code if not text.startswith("%%sh")]
    page = (SITE.parents[1] / f"{name}.md").read_text(encoding="utf-8")
    assert len(programs) == page.count("```python\n")
    for program in programs:
        compile(program, name, "exec")
