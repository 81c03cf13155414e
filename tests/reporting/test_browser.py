"""The report in a real browser: readable, within its window, without errors, by keyboard alone, and what it copies.

Every check is a function that answers what is wrong, and each has a fault planted that it must find.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import planted
import pytest
from browser import CHROMIUM, Browser, browser

from eprli_lab.reporting import figures
from eprli_lab.reporting.artifacts import Artifacts
from eprli_lab.reporting.load import StudyData
from eprli_lab.reporting.report.comparison import comparison_page
from eprli_lab.reporting.report.frame import copies
from eprli_lab.reporting.report.page import Page
from eprli_lab.reporting.report.sections import study_page
from eprli_lab.reporting.tables.rows import ablation_table

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")]

# WCAG 2.2, 1.4.3: contrast of every text with what lies behind it, drawn texts included
CONTRAST = """(() => {
  for (const d of document.querySelectorAll("details")) d.open = true;
  const parse = (c) => {
    const n = c.match(/[\\d.]+/g).map(Number);
    return c.startsWith("color(srgb") ? [n[0] * 255, n[1] * 255, n[2] * 255, n[3] ?? 1] : [n[0], n[1], n[2], n[3] ?? 1];
  };
  const over = (a, b) => [0, 1, 2].map((i) => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
  const light = (c) => {
    const [r, g, b] = c.slice(0, 3).map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (e) => {
    const layers = [];
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c[3] > 0) layers.push(c);
      if (c[3] === 1) break;
    }
    return layers.reverse().reduce((under, c) => over(c, under), [255, 255, 255, 1]);
  };
  const beneath = (e, ground) => { // of a drawn text: what was drawn before it in its place
    const box = e.getBoundingClientRect(), x = box.x + box.width / 2, y = box.y + box.height / 2;
    for (const shape of e.closest("svg").querySelectorAll("path, rect")) {
      if (!(shape.compareDocumentPosition(e) & Node.DOCUMENT_POSITION_FOLLOWING) || shape.closest("defs, clipPath")) continue;
      const b = shape.getBoundingClientRect(), style = getComputedStyle(shape);
      if (style.fill === "none" || x < b.left || x > b.right || y < b.top || y > b.bottom) continue;
      const c = parse(style.fill);
      c[3] *= Number(style.fillOpacity) * Number(style.opacity);
      ground = over(c, ground);
    }
    return ground;
  };
  const out = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode()); ) {
    const e = node.parentElement;
    if (!node.textContent.trim() || !e.checkVisibility({ visibilityProperty: true }) || e.id === "said") continue;
    if (["TITLE", "DESC", "STYLE", "SCRIPT", "TEMPLATE"].includes(e.tagName.toUpperCase())) continue;
    const style = getComputedStyle(e), drawn = e instanceof SVGElement;
    if (drawn && style.fill === "none") continue;
    let opacity = 1;
    for (let a = e; a; a = a.parentElement) opacity *= Number(getComputedStyle(a).opacity);
    const ink = parse(drawn ? style.fill : style.color);
    ink[3] *= opacity;
    const ground = drawn ? beneath(e, behind(e)) : behind(e), a = light(over(ink, ground)), b = light(ground);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const m = drawn && e.getScreenCTM(), scale = drawn ? Math.hypot(m.a, m.b) : 1, size = parseFloat(style.fontSize) * scale;
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const what = JSON.stringify(node.textContent.trim().slice(0, 40));
    if (ratio < (large ? 3 : 4.5) - 0.005) out.push(`contrast ${ratio.toFixed(2)}: ${what}`);
    if (drawn && size < 10.95) out.push(`${size.toFixed(1)} px: ${what}`);
  }
  return out;
})()"""

# of the page, and of anything that no scrolling box around it holds
OVERFLOW = """(() => {
  for (const d of document.querySelectorAll("details")) d.open = true;
  const wide = document.documentElement.scrollWidth, out = wide > innerWidth ? [`the page is ${wide} px wide`] : [];
  for (const e of document.querySelectorAll("body *")) {
    if (e.closest("svg, #said") && e.tagName !== "svg" || !e.checkVisibility() || e.closest(".several > input")) continue;
    const box = e.getBoundingClientRect();
    let held = false;
    for (let a = e.parentElement; a; a = a.parentElement) held ||= getComputedStyle(a).overflowX !== "visible";
    if (!held && box.width && (box.right > innerWidth + 1 || box.left < -1)) out.push(`${e.tagName} ${e.className} to ${box.right}`);
  }
  return out;
})()"""

CONTROLS = """(() => {
  const all = [...document.querySelectorAll("a[href], button, input, summary, [tabindex='0']")].filter(
    (e) => e.checkVisibility() && (e.type !== "radio" || e.checked));
  window.controls = all;
  return all.length;
})()"""
FOCUSED = """(() => {
  const e = document.activeElement;
  if (!e || e === document.body) return null;
  const shown = e.type === "radio" ? document.querySelector(`label[for="${e.id}"]`) : e;
  const s = getComputedStyle(shown);
  return {at: window.controls.indexOf(e), ring: s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 1,
          what: `${e.tagName} ${(e.textContent || e.id).trim().slice(0, 30)}`};
})()"""


def nothing_wrong(page: Browser) -> list[str]:
    """Contrast, size of drawn texts, overflow and complaints of the page as it is shown."""
    return [*page.js(OVERFLOW), *page.js(CONTRAST), *page.errors()]


def keyboard(page: Browser) -> list[str]:
    """Controls that Tab does not reach, and those whose focus cannot be seen."""
    count = page.js(CONTROLS)
    reached: set[int] = set()
    out = []
    page.js("document.activeElement.blur(); getSelection().removeAllRanges()")
    for _ in range(count + 20):
        page.tab()
        focused = page.js(FOCUSED)
        if focused is None or (focused["at"] == 0 and reached):
            break
        reached.add(focused["at"])
        if not focused["ring"]:
            out.append(f"focus cannot be seen: {focused['what']}")
    missing = sorted(set(range(count)) - reached)
    return out + [f"not reached: {page.js(f'window.controls[{i}].outerHTML.slice(0, 100)')}" for i in missing]


def copied(page: Browser, expected: list[tuple[str, str]]) -> list[str]:
    """Buttons whose text is not in the clipboard after Enter, or that say nothing to who cannot see it."""
    out = []
    page.allow_clipboard()
    for i, (form, text) in enumerate(expected):
        page.js(f"document.querySelectorAll('.copy button')[{i}].focus()")
        page.js("document.getElementById('said').textContent = ''")
        page.enter()
        # what the button does takes its turn: it says so when it is done
        page.js(
            "new Promise((done) => { const look = () => document.getElementById('said').textContent ? done() : setTimeout(look, 5); look(); })"
        )
        if page.js("navigator.clipboard.readText()") != text:
            out.append(f"button {i} ({form}) copies something else")
        if page.js("document.getElementById('said').textContent") != f"The table is in the clipboard as {form}.":
            out.append(f"button {i} ({form}) is not announced")
    return out


@cache
def study() -> StudyData:
    arms = ("l1", "l2", "l4", "l4_shuffled")
    made = planted.study(arms=arms, seeds=3, l2=(-0.3, -0.3, -0.3), l4=(-0.2, -0.2, -0.2))
    claim = "The two-level curriculum improves on plain GRPO (section 3.1)."
    return planted.described(made, question="Does it help?", claim=claim, contrasts=("l4 - l1", "l4_shuffled - l1"))


@cache
def page() -> Page:
    whole = study()
    return study_page(whole, ablation_table(whole), list(figures.pictures(whole)), Artifacts({}, {}, []), None, 0.03)


def written(directory: Path, text: str) -> Path:
    path = directory / "page.html"
    path.write_text(text, encoding="utf-8")
    return path


def buttons(of: Page) -> list[tuple[str, str]]:
    """(format, text) of every button, in the order of the page."""
    return [text for s in of.sections for table in planted.tables_of(s) for text in copies(table)]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("browser")) as started:
        yield started


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1280, False)])
def test_every_text_is_readable_and_nothing_overflows(chromium, tmp_path, width, dark):
    chromium.open(written(tmp_path, page().html()), width, dark)
    assert nothing_wrong(chromium) == []


@pytest.mark.exhaustive
@pytest.mark.parametrize("width", [390, 768, 1280])
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("toggled", [False, True])
def test_at_every_width_in_both_colours_and_after_the_switch(chromium, tmp_path, width, dark, toggled):
    other = planted.study(arms=("plain", "a_rather_long_name_of_an_arm"), seeds=2)
    both = [ablation_table(study()), ablation_table(other)]
    for shown in (page(), comparison_page(both, [])):
        chromium.open(written(tmp_path, shown.html()), width, dark)
        ground = chromium.js("getComputedStyle(document.body).backgroundColor")
        if toggled:
            chromium.js("document.getElementById('theme').click()")
            assert chromium.js("getComputedStyle(document.body).backgroundColor") != ground
            assert chromium.js("document.documentElement.dataset.theme") == ("light" if dark else "dark")
        assert nothing_wrong(chromium) == []


FAULTS = {
    "pale": ("</style>", ".note { color: #aaaaaa; }</style>", "contrast 2."),
    "pale in a drawing": ("</style>", "figure svg text { fill: #999999 !important; }</style>", "contrast 2."),
    "small in a drawing": ("</style>", "figure svg text { font-size: 6px !important; }</style>", " px: "),
    "wide": ("<main>", '<main><div style="width: 3000px">wide</div>', "the page is"),
    "fetched": ("<main>", '<main><img src="https://example.invalid/x.png" alt="">', "Content Security Policy"),
    "another script": ("<main>", "<main><script>alert(1)</script>", "Content Security Policy"),
    "an exception": ('<script>"use strict";', '<script>null.x;"use strict";', "TypeError"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found(chromium, tmp_path, fault):
    where, planted_there, expected = FAULTS[fault]
    text = page().html()
    assert where in text
    text = text.replace(where, planted_there, 1)
    if fault == "an exception":  # the policy of the page would not let it run
        text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    chromium.open(written(tmp_path, text), 1280, False)
    assert any(expected in problem for problem in nothing_wrong(chromium)), nothing_wrong(chromium)


def test_everything_is_reached_by_keyboard_and_its_focus_is_seen(chromium, tmp_path):
    chromium.open(written(tmp_path, page().html()), 1280, False)
    assert keyboard(chromium) == []
    chromium.js("document.querySelector('.fold > summary').focus()")
    chromium.enter()
    assert chromium.js("document.querySelector('.fold').open") is True
    text = page().html().replace('<button type="button" id="theme"', '<button type="button" tabindex="-1" id="theme"')
    chromium.open(written(tmp_path, text), 1280, False)
    (found,) = keyboard(chromium)
    assert found.startswith("not reached: ") and 'id="theme"' in found
    blind = page().html().replace("</style>", ":focus-visible { outline: none !important; }</style>")
    chromium.open(written(tmp_path, blind), 1280, False)
    assert "focus cannot be seen" in keyboard(chromium)[0]


def test_the_score_is_shown_against_what_the_reader_chooses(chromium, tmp_path):
    shown = "[...document.querySelectorAll('.several > .view')].map((v) => v.checkVisibility())"
    chromium.open(written(tmp_path, page().html()), 1280, False)
    assert chromium.js(shown)[:2] == [True, False]
    chromium.js("document.querySelector('.several > input').focus()")
    chromium.press("ArrowRight", 39)
    assert chromium.js(shown)[:2] == [False, True]
    chromium.open(written(tmp_path, page().html()), 390, True, script=False)
    chromium.js("document.querySelectorAll('.several > label')[1].click()")
    assert chromium.js(shown)[:2] == [False, True], "without scripts, too"
    assert chromium.js("document.querySelector('.copy').checkVisibility()") is False, "what needs a script is not shown"


def test_buttons_copy_the_table_in_each_format(chromium, tmp_path):
    expected = buttons(page())
    chromium.open(written(tmp_path, page().html()), 1280, False)
    chromium.js("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert chromium.js("document.querySelectorAll('.copy button').length") == len(expected)
    assert copied(chromium, expected[:6]) == []
    chromium.js("navigator.clipboard.writeText = () => Promise.reject(new Error('a frame forbids it'))")
    assert copied(chromium, expected[:3]) == [], "the old way"
    assert copied(chromium, [("LaTeX", "else"), *expected[1:2]]) == ["button 0 (LaTeX) copies something else"]
    chromium.js("document.execCommand = () => false")
    found = copied(chromium, expected[1:2])
    assert "button 0 (Markdown) is not announced" in found
    assert chromium.js("document.getElementById('said').textContent") == "The browser does not let this page copy."


@pytest.mark.parametrize("width", [1280, 390])
def test_rows_are_sorted_and_filtered(chromium, tmp_path, width):
    chromium.open(written(tmp_path, page().html()), width)
    chromium.js("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    out = chromium.js("""(() => {
      const out = {}, box = document.querySelector("#runs [data-sortable]"), heads = [...box.querySelectorAll("thead th")];
      const at = heads.findIndex((h) => h.textContent === "score/end");
      const column = () => [...box.querySelectorAll("tbody tr")].filter((r) => !r.hidden).map((r) => Number(r.cells[at].dataset.key));
      heads[at].querySelector("button").click();
      out.up = column();
      out.sort = heads[at].getAttribute("aria-sort");
      heads[at].querySelector("button").click();
      out.down = column();
      const input = box.querySelector("input");
      input.value = "L4 l4-2";
      input.dispatchEvent(new Event("input"));
      out.left = column().length;
      const jump = new MouseEvent("click", {cancelable: true});
      document.querySelector("nav a:last-child").dispatchEvent(jump);
      out.jumped = jump.defaultPrevented && window.scrollY > 0;
      return out;
    })()""")
    scores = sorted(r.last("score") for r in study().runs)
    assert out["up"] == scores and out["down"] == scores[::-1] and out["sort"] == "ascending"
    assert out["left"] == 1 and out["jumped"] is True


def test_on_a_phone_a_row_says_what_each_number_is(chromium, tmp_path):
    chromium.open(written(tmp_path, page().html()), 390)
    cell = "document.querySelector('#arms tbody tr:nth-child(2) td[data-label^=difference]')"
    assert chromium.js(f"getComputedStyle({cell}, '::before').content") == '"difference to l1 [95%], uncorrected"'
    box = chromium.js(f"(() => {{ const b = {cell}.getBoundingClientRect(); return [b.left, b.right]; }})()")
    assert 0 <= box[0] and box[1] <= 390, "the difference is not hidden to the right"


def test_two_sheets_of_paper_hold_the_answer(chromium, tmp_path):
    chromium.open(written(tmp_path, page().html()), 1280, dark=True)
    assert chromium.pdf(tmp_path / "page.pdf") <= 2
    assert chromium.js("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)", (
        "no ink on the ground"
    )
    assert chromium.js("getComputedStyle(document.getElementById('runs')).display") == "none"
    chromium.media("screen")
    chromium.js("document.getElementById('whole').click()")
    assert chromium.pdf(tmp_path / "whole.pdf") > 2
