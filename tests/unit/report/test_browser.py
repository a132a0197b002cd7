"""The page in a real browser without a network, on a phone and on a desk."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from unit.report import examples

from polytask import MultiTaskRegressor, monitor
from polytask.comparison import frames
from polytask.comparison.tables import task_names
from polytask.penalties import L2
from polytask.reporting import write_report

pytestmark = pytest.mark.browser

VIEWS = {"phone": (390, 844), "desk": (1280, 900)}
CASES = ("share", "inconclusive", "hostile", "incomplete", "nothing", "many", "one_model", "pool")
NAN = float("nan")


class Opened:
    """A page in the browser, with everything that it complained of."""

    def __init__(self, browser, path, view: str, scheme: str = "light") -> None:
        width, height = VIEWS[view]
        self.faults: list[str] = []
        self.context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme
        )
        self.context.set_offline(True)
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.faults.append(message.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("requestfailed", lambda request: self.faults.append(request.url))
        self.page.on("dialog", self._refuse)
        self.page.goto(path.as_uri())

    def _refuse(self, dialog) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def ask(self, script: str, *given):
        return self.page.evaluate(script, *given)


@pytest.fixture
def opened(browser, tmp_path):
    """Open the report of a case."""
    made: list[Opened] = []

    def open_case(name: str, view: str, lang: str = "en", scheme: str = "light") -> Opened:
        path = write_report(examples.ALL[name](), tmp_path / f"{name}.html", lang)
        made.append(Opened(browser, path, view, scheme))
        return made[-1]

    yield open_case
    for one in made:
        one.context.close()


@pytest.mark.slow
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", CASES)
def test_page_opens_without_fault_and_fits(opened, name, view):
    found = opened(name, view, lang="zh" if name == "inconclusive" else "en")
    found.ask("document.querySelectorAll('details').forEach(one => one.open = true)")
    width, inner = found.ask("[document.documentElement.scrollWidth, window.innerWidth]")
    assert inner == VIEWS[view][0]
    assert width <= inner
    assert found.faults == []


def test_long_names_without_a_blank_are_broken(browser, tmp_path):
    rng, long = np.random.default_rng(0), [letter * 60 for letter in "abc"]
    X = pd.DataFrame({long[0]: rng.normal(size=90), long[1]: rng.normal(size=90)})
    task = np.array(long)[np.arange(90) % 3]
    model = MultiTaskRegressor(L2(0.01)).fit(X, X[long[0]] + rng.normal(size=90), task=task)
    path = monitor(model, X + 3, task=task).to_html(tmp_path / "long.html")
    found = Opened(browser, path, "phone")
    widest = found.ask("""Math.max(document.documentElement.scrollWidth,
        ...[...document.querySelectorAll('main :is(td, th, li)')].map(one => one.offsetWidth))""")
    found.context.close()
    assert widest <= VIEWS["phone"][0]


@pytest.mark.slow
@pytest.mark.parametrize("view", VIEWS)
def test_numbers_are_those_of_the_frames(opened, view):
    result = examples.share()
    found = opened("share", view)
    for table, frame, columns in (
        ("scores", frames.leaderboard(result), ("score", "low", "high", "picked")),
        ("metrics", frames.leaderboard(result), ("r2", "r2_within", "rmse", "mae")),
        ("costs", frames.leaderboard(result), ("fit_seconds", "nonzero", "file_bytes")),
        ("tasks", frames.task_frame(result), ("rows", "gain", "low", "high", "more_rows")),
    ):
        for column in columns:
            shown = found.ask(COLUMN, [table, column])
            values = np.array([NAN if value == "" else float(value) for value in shown])
            expected = frame[column].to_numpy(dtype=float, na_value=NAN)
            np.testing.assert_array_equal(values, expected)


COLUMN = """([table, name]) => {
  const found = document.getElementById(`table-${table}`);
  const heads = [...found.tHead.rows[0].cells];
  const place = heads.findIndex(cell => cell.dataset.column === name);
  return [...found.tBodies[0].rows].map(row => row.cells[place].dataset.value);
}"""


@pytest.mark.slow
@pytest.mark.parametrize("view", VIEWS)
def test_hostile_names_are_harmless(opened, view):
    found = opened("hostile", view)
    found.page.wait_for_timeout(200)
    assert found.faults == []
    assert found.ask("document.querySelectorAll('img, iframe, object, form').length") == 0
    assert found.ask("document.scripts.length") == 1
    shown = found.ask(COLUMN, ["tasks", "task"])
    assert shown == task_names(examples.hostile())


def test_policy_of_the_page_stops_scripts_that_are_not_its_own(opened):
    found = opened("share", "desk")
    found.ask("""() => {
        const made = document.createElement('script');
        made.textContent = 'window.ran = true';
        document.body.append(made);
        document.body.setAttribute('onclick', 'window.ran = true');
        document.body.click();
    }""")
    assert found.ask("window.ran === undefined")


@pytest.mark.slow
def test_tables_can_be_sorted_with_the_keyboard(opened):
    found = opened("share", "desk")
    button = found.page.locator("#table-scores th[data-column=fit_seconds], #table-costs "
                                "th[data-column=fit_seconds]").locator("button")  # fmt: skip
    button.focus()
    orders = []
    for _ in range(2):
        found.page.keyboard.press("Enter")
        orders.append([float(v) for v in found.ask(COLUMN, ["costs", "fit_seconds"])])
    assert orders == [sorted(orders[0], reverse=True), sorted(orders[0])]
    assert found.ask("document.activeElement.closest('th').ariaSort") == "ascending"


@pytest.mark.slow
def test_missing_numbers_are_sorted_last(opened):
    found = opened("incomplete", "desk")
    for _ in range(2):
        found.page.locator("#table-tasks th[data-column=gain] button").click()
        assert found.ask(COLUMN, ["tasks", "gain"])[-1] == "nan"


@pytest.mark.slow
def test_what_is_wider_than_the_page_says_so_and_nothing_else(opened):
    for view in VIEWS:
        found = opened("many", view)
        found.ask("document.querySelectorAll('details').forEach(one => one.open = true)")
        found.page.wait_for_timeout(200)
        told = found.ask("""[...document.querySelectorAll('.swipe + .scroll')].map(one => [
            one.scrollWidth > one.clientWidth + 1,
            getComputedStyle(one.previousElementSibling).display !== 'none'])""")
        assert [wide for wide, _ in told] == [said for _, said in told]
        assert [True, True] in told


def test_page_can_be_read_without_scripts(browser, tmp_path):
    path = write_report(examples.share(), tmp_path / "a.html")
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    assert page.locator("#table-scores tbody tr").count() == 10
    assert page.locator("th button").count() == 0
    context.close()


BASICS = """() => {
  const named = one => Boolean(one.ariaLabel || one.getAttribute('aria-labelledby')
      || one.textContent.trim());
  const pick = query => [...document.querySelectorAll(query)];
  return {
    lang: document.documentElement.lang,
    title: document.title,
    levels: pick('h1, h2, h3, h4').map(one => Number(one.tagName[1])),
    nameless: pick('svg, img, [role=img], [role=region], a, button, summary')
        .filter(one => !named(one)).map(one => one.outerHTML),
    captions: pick('table').filter(one => !one.caption).length,
    scopes: pick('th').filter(one => !one.scope).length,
    mains: pick('main').length,
    repeated: pick('[id]').length - new Set(pick('[id]').map(one => one.id)).size,
  };
}"""


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_page_can_be_used_without_seeing_it(opened, name):
    found = opened(name, "desk")
    basics = found.ask(BASICS)
    levels = basics.pop("levels")
    assert basics.pop("title")
    assert basics == {
        "lang": "en", "nameless": [], "captions": 0, "scopes": 0, "mains": 1, "repeated": 0
    }  # fmt: skip
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_first_key_leads_to_the_verdict(opened):
    found = opened("share", "phone")
    found.page.keyboard.press("Tab")
    assert found.ask("document.activeElement.className") == "skip"
    box = found.page.locator(".skip").bounding_box()
    assert box["y"] >= 0
    found.page.keyboard.press("Enter")
    assert found.ask("location.hash") == "#verdict"


CONTRAST = """() => {
  const luminance = text => {
    const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map(Number).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = one => {
    for (let at = one; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (!/^rgba\\(.*, 0\\)$/.test(colour)) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const seen = one => [...one.childNodes].some(n => n.nodeType === 3 && n.data.trim());
  return [...document.querySelectorAll('main *')].filter(seen)
    .filter(one => one.checkVisibility() && !one.closest('svg'))
    .map(one => {
      const [a, b] = [luminance(getComputedStyle(one).color), luminance(behind(one))];
      return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), one.outerHTML.slice(0, 120)];
    }).filter(([ratio]) => ratio < 4.5);
}"""


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_what_is_behind_them(opened, scheme):
    found = opened("inconclusive", "desk", scheme=scheme)
    paper = found.ask("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") is (scheme == "light")
    assert found.ask(CONTRAST) == []


@pytest.mark.slow
def test_drawing_is_legible_on_a_phone(opened):
    found = opened("share", "phone")
    sizes = found.ask("""[...document.querySelectorAll('svg text')]
        .map(one => one.getBoundingClientRect().height)""")
    assert len(sizes) > 4
    assert min(sizes) >= 8


@pytest.mark.slow
def test_dark_page_is_printed_on_white(opened):
    found = opened("share", "desk", scheme="dark")
    found.page.emulate_media(media="print", color_scheme="dark")
    assert found.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert found.page.pdf().startswith(b"%PDF")
