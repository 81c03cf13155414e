"""Figures as a page holds them."""

from __future__ import annotations

from collections.abc import Sequence

from eprli_lab.reporting import figures
from eprli_lab.reporting.figures import palette
from eprli_lab.reporting.load import StudyData
from eprli_lab.reporting.report.parts import FigureBlock, View


def figure_blocks(drawn: Sequence[figures.Picture]) -> list[FigureBlock]:
    """One a figure, with all its views."""
    out = []
    for picture in drawn:
        one = figures.rendered(picture)
        views = [View(f.name, f.option, f.svg_wide, f.svg_narrow, f.csv) for f in (one, *one.alternatives)]
        out.append(FigureBlock(one.name, one.title, one.alt, views))
    return out


def marks_of(study: StudyData) -> dict[str, str]:
    """Arm -> the line and marker that it has in every figure, as HTML."""
    return {arm: style.swatch for arm, style in palette.styles_of(study.arms).items()}
