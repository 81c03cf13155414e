"""Figures as a page holds them: their text, colours, ids, words and data."""

from __future__ import annotations

import csv
import io
import re
import xml.etree.ElementTree as ET

import planted
import pytest

from eprli_lab.reporting import figures
from eprli_lab.reporting.figures.palette import COLOURS
from eprli_lab.reporting.figures.rows import FIELDS, Row, as_csv
from eprli_lab.reporting.figures.style import NARROW, WIDE, shortened
from eprli_lab.reporting.figures.theme import themed

SVG = "{http://www.w3.org/2000/svg}"
SMALLEST = 11.0  # pixels of a text
PHONE, PAGE = 340.0, 600.0  # pixels that a figure gets of a page of 390, and of one of 640
RAW = """<?xml version="1.0"?><svg xmlns:xlink="http://www.w3.org/1999/xlink" width="72pt" height="36pt"
 viewBox="0 0 72 36" xmlns="http://www.w3.org/2000/svg" version="1.1"><metadata>who</metadata>
 <defs><style type="text/css">*{stroke-linejoin: round}</style></defs><g id="figure_1"><g id="patch_1">
 <path d="M 0 36 L 72.12345 36 z" style="fill: none"/></g><g id="line_1"><defs><path id="m12" d="M 0 2.123456
 L 1 -0.001 z" style="stroke: #0072b2"/></defs><g clip-path="url(#p1)">
 <use xlink:href="#m12" x="3.14159" y="2.0" style="fill: #1b1f24; stroke: #57606a"/>
 <use xlink:href="#m12" x="4.0" y="2.0" style="fill: #1b1f24; stroke: #57606a"/></g></g>
 <g id="text_1"><text style="font-size: 9.5px; font-family: 'DejaVu Sans'; text-anchor: end; fill: #1b1f24" x="1.26" y="2"
 transform="rotate(-0 1.26 2)">a\u2026b &lt;i&gt;</text></g><g id="text_2"><text style="font-size: 9.5px; fill: #57606a"
 x="1" y="2" transform="rotate(-90 1 2)">y</text></g></g><defs><clipPath id="p1"><rect x="0" y="0" width="9" height="9"/>
 </clipPath></defs></svg>"""  # fmt: skip


def test_a_themed_figure_by_hand():
    assert themed(RAW, "one-wide", "T < 1", "words", {"a…b": "a long b"}) == (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72 36" style="font-size:9.5px" class="fig-wide" role="img" '
        'aria-labelledby="one-wide-title one-wide-desc" fill="currentColor" stroke-linejoin="round">'
        '<title id="one-wide-title">T &lt; 1</title><desc id="one-wide-desc">words</desc>'
        '<defs><path d="M0 2.12L1 0z" id="one-wide-0" style="stroke:#0072b2"/></defs>'
        '<g clip-path="url(#one-wide-1)" style="fill:currentColor;stroke:var(--soft,#57606a)">'
        '<use x="3.1" y="2" href="#one-wide-0"/><use x="4" y="2" href="#one-wide-0"/></g>'
        '<text x="1.3" y="2" style="text-anchor:end">a…b &lt;i&gt;<title>a long b</title></text>'
        '<text x="1" y="2" transform="rotate(-90 1 2)" style="fill:var(--soft,#57606a)">y</text>'
        '<defs><clipPath id="one-wide-1"><rect x="0" y="0" width="9" height="9"/></clipPath></defs></svg>'
    )


def test_ids_hold_no_space_and_differ():
    one, two = (themed(RAW, f"effects-my{c}study-wide", "t", "a") for c in " ?")
    ids = [re.findall(r' id="([^"]+)"', svg) for svg in (one, two)]
    assert not set(ids[0]) & set(ids[1]) and all(re.fullmatch(r"[\w-]+", i) for of in ids for i in of)
    assert 'class="fig-wide"' in one


def test_long_names_keep_their_ends_and_differ():
    names = [
        "plain",
        "curriculum_three_levels_matched",
        "curriculum_three_levels_shuffled",
        "curriculum_four_levels_matched",
    ]
    short = shortened(names, 16)
    assert short["plain"] == "plain" and short[names[1]] == "curricul…matched"
    assert len(set(short.values())) == 4 and short[names[3]] == "curricul…matched (2)"
    assert shortened(["a\nb\tc"], 16) == {"a\nb\tc": "a b c"}


def test_data_is_one_format():
    text = as_csv([Row("p", "=x", "seed", 3, 1.23456789, 0.1), Row(y=float("nan"), x="start", n=2)])
    assert text == ("panel,arm,series,seed,x,y,low,high,n\np,'=x,seed,3,1.23457,0.1,,,\n,,,,start,,,,2\n")


@pytest.mark.slow
def test_every_figure_of_a_page():
    """Texts large enough, nobody's colours but the arms', unique ids, words and data inside, the same bytes twice."""
    long = ("baseline_without_any_curriculum", "curriculum_three_levels_quality_matched")
    study = planted.study(arms=long, seeds=5)
    ids: list[str] = []
    for picture in figures.pictures(study):
        for one in (figures.rendered(picture), *figures.rendered(picture).alternatives):
            for svg, layout, pixels in ((one.svg_wide, WIDE, PAGE), (one.svg_narrow, NARROW, PHONE)):
                where = f"{one.name} {layout.name}"
                root = ET.fromstring(svg)
                ids += [e.attrib["id"] for e in root.iter() if "id" in e.attrib]
                size = float(root.attrib["viewBox"].split()[2])
                fonts = [float(v) for v in re.findall(r"font-size:([\d.]+)px", svg)]
                assert size == pytest.approx(72 * layout.width) and min(fonts) * pixels / size >= SMALLEST, where
                colours = {c.upper() for c in re.findall(r"(?:fill|stroke): ?(#[0-9a-fA-F]{6})", svg)}
                if one.name != "forgetting":  # cells have colours of their own
                    assert colours <= set(COLOURS), where
                assert "font-family" not in svg and "<image" not in svg and "<style" not in svg, where
                assert root.attrib["role"] == "img" and root.find(f"{SVG}desc").text == one.alt, where
                assert len(svg) < 120_000, where
            rows = list(csv.DictReader(io.StringIO(one.csv)))
            assert rows and tuple(rows[0]) == FIELDS and any(r["y"] for r in rows), one.name
    assert len(ids) == len(set(ids)) > 100
    [effects] = figures.pictures(study, only=["effects"])
    first, again = (figures.rendered(next(figures.pictures(study, only=["effects"]))) for _ in range(2))
    assert first == again == figures.rendered(effects)
    assert f"<title>{long[1]}</title>" in first.svg_narrow, "a shortened name says what it stands for"
