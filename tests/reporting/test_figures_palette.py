"""Colours of arms: measured as readers see them, on both pages."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from eprli_lab.reporting.figures.palette import COLOURS, DASHES, MARKERS, shade, styles_of

APART = 20.0  # CIE 1976; 2.3 is the least that is seen at all
CONTRAST = 3.0  # WCAG 2.1, 1.4.11, of graphical objects
PAGES = ("#ffffff", "#f6f8fa", "#0d1117", "#161b22")  # page and card, light and dark
# Machado, Oliveira and Fernandes 2009 (doi 10.1109/TVCG.2009.113), severity 1, on linear RGB.
SIMULATED = {
    "normal": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
}  # fmt: skip
TO_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])  # fmt: skip


def linear(colour: str) -> NDArray[np.float64]:
    values = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    xyz = TO_XYZ @ np.clip(rgb, 0, 1) / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(one: str, other: str) -> float:
    low, high = sorted(float(TO_XYZ[1] @ linear(c)) for c in (one, other))
    return (high + 0.05) / (low + 0.05)


def nearest(colours: tuple[str, ...], simulation: NDArray[np.float64]) -> float:
    seen = [lab(simulation @ linear(c)) for c in colours]
    return min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(seen, 2))


def test_the_measures_know_what_is_known():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert lab(linear("#ffffff")) == pytest.approx([100, 0, 0], abs=0.02)
    green_and_brown = ("#2CA02C", "#8C564B")  # of a palette that was not made for it
    assert nearest(green_and_brown, SIMULATED["normal"]) > 60
    assert nearest(green_and_brown, SIMULATED["deuteranopia"]) < 30


@pytest.mark.parametrize("sight", SIMULATED)
def test_colours_are_told_apart_by_every_reader(sight: str):
    assert nearest(COLOURS, SIMULATED[sight]) >= APART
    if sight == "normal":
        assert nearest(COLOURS, SIMULATED[sight]) >= 40


@pytest.mark.parametrize("colour", COLOURS)
def test_colours_stand_out_from_every_page(colour: str):
    assert min(contrast(colour, page) for page in PAGES) >= CONTRAST


def test_an_arm_keeps_its_look_and_no_two_arms_share_one():
    arms = [f"a{i}" for i in range(28)]
    styles = styles_of(arms)
    assert styles_of(arms[:5]) == {a: styles[a] for a in arms[:5]}, "arms added behind change nothing"
    for look in (lambda s: (s.colour, s.marker), lambda s: (s.colour, s.dash)):
        assert len({look(s) for s in styles.values()}) == 28
    assert [s.colour for s in styles.values()][:8] == [*COLOURS, COLOURS[0]]
    assert {s.marker for s in styles.values()} == set(MARKERS) and {s.dash for s in styles.values()} == set(DASHES)


def test_a_swatch_is_the_arm_s_line_and_marker_and_has_no_text():
    one, two = list(styles_of(["<b>", "y"]).values())
    assert one.swatch.count(one.colour) == 2 and "stroke-dasharray" not in one.swatch and "<b>" not in one.swatch
    assert "stroke-dasharray" in two.swatch and 'aria-hidden="true"' in two.swatch and one.swatch != two.swatch
    assert all(s.swatch.endswith("</svg>") for s in styles_of(map(str, range(8))).values())


def test_levels_have_shades():
    assert [shade(i, 4) for i in range(4)] == pytest.approx([0.3, 0.5333333, 0.7666667, 1.0])
    assert shade(0, 1) == 1.0 and shade(0, 3, 0.6) == 0.6
