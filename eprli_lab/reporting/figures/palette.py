"""One colour, marker and line style an arm, the same in every figure, table and legend of a study.

The colours were searched for so that they are told apart by readers with protanopia and deuteranopia and stand out from
a light page and from a dark one alike (tests/reporting/test_figures_palette.py measures both). They begin with two of
Okabe and Ito (2008); the others of theirs are too bright for a white page or too dark for a black one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

COLOURS = ("#0072B2", "#D55E00", "#009999", "#8822FF", "#AA8855", "#CC0066", "#8877FF")
MARKERS = "osD^vPX<"
DASHES = ("-", "--", "-.", ":")
NO_ARM = COLOURS[0]  # of a figure that compares no arms, such as the importances of a search
# What is no arm's. A page replaces these by its own, which follow light and dark (theme.py).
INK = "#1b1f24"  # text, axes
SOFT = "#57606a"  # what is beside the point: zero, before training
GRID = "#d8dee4"
PAPER = "#fffffe"  # behind everything
_SHAPES = {  # of MARKERS, in a box of 24 x 12
    "o": '<circle cx="12" cy="6" r="3.6"/>',
    "s": '<path d="M8.7 2.7h6.6v6.6h-6.6z"/>',
    "D": '<path d="M12 1.6 16.4 6 12 10.4 7.6 6z"/>',
    "^": '<path d="M12 1.8 16.2 9.4H7.8z"/>',
    "v": '<path d="M12 10.2 16.2 2.6H7.8z"/>',
    "P": '<path d="M10.6 1.8h2.8v2.8h2.8v2.8h-2.8v2.8h-2.8V7.4H7.8V4.6h2.8z"/>',
    "X": '<path d="m9.6 2 2.4 2.4L14.4 2 16 3.6 13.6 6 16 8.4 14.4 10 12 7.6 9.6 10 8 8.4 10.4 6 8 3.6z"/>',
    "<": '<path d="M7.8 6 15.4 1.8v8.4z"/>',
}
_DASHARRAYS = {"-": "", "--": "5 2.5", "-.": "5 2 1.5 2", ":": "1.5 2"}


@dataclass(frozen=True)
class ArmStyle:
    """How an arm is drawn everywhere."""

    colour: str  # #RRGGBB
    marker: str  # as matplotlib names it
    dash: str  # as matplotlib names it

    @property
    def line(self) -> dict[str, str]:
        """Keywords of a matplotlib line."""
        return {"color": self.colour, "linestyle": self.dash}

    @property
    def swatch(self) -> str:
        """Its line and marker as an inline SVG of 24 x 12, to stand beside its name; it has no text of its own."""
        dash = _DASHARRAYS[self.dash]
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        return (
            f'<svg class="swatch" viewBox="0 0 24 12" width="24" height="12" aria-hidden="true" fill="{self.colour}">'
            f'<path d="M0 6h24" fill="none" stroke="{self.colour}" stroke-width="2"{dashed}/>'
            f"{_SHAPES[self.marker]}</svg>"
        )


def styles_of(arms: Sequence[str]) -> dict[str, ArmStyle]:
    """Arm -> its look. Give all arms of the study in its order, so that an arm keeps it where only some are shown.

    More arms than colours: colours come again with another marker and another line style.
    """
    return {
        arm: ArmStyle(
            COLOURS[i % len(COLOURS)],
            MARKERS[i % len(MARKERS)],
            DASHES[(i + 2 * (i // len(COLOURS))) % len(DASHES)],
        )
        for i, arm in enumerate(dict.fromkeys(arms))
    }


def shade(rank: int, count: int, least: float = 0.3) -> float:
    """Opacity of the rank-th of `count` levels, from `least` to full: levels have shades, arms colours."""
    return 1.0 if count < 2 else least + (1 - least) * rank / (count - 1)
