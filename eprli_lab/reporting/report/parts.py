"""What a report is made of: figures, sampled responses, sections. Both printers (frame.py, twin.py) read these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eprli_lab.reporting.tables.document import TableBlock


@dataclass(frozen=True)
class View:
    """One drawing of a figure: for a wide and for a narrow window, and its numbers."""

    name: str  # file stem
    label: str  # what it is drawn against, where there are several
    wide: str  # SVG
    narrow: str  # SVG; "": the wide one
    csv: str  # "": none


@dataclass(frozen=True)
class FigureBlock:
    """A figure in the page; of several views the reader chooses one."""

    name: str  # file stem
    title: str
    alt: str
    views: Sequence[View]


@dataclass(frozen=True)
class SampleBlock:
    """One sampled response, which folds out."""

    where: str  # arm and level
    title: str  # of its kind
    facts: str
    prompt: str
    response: str


Item = str | tuple[str, str] | tuple[str, str, Sequence[str]]  # a sentence; a label and one; those and what folds out


@dataclass(frozen=True)
class Answer:
    """One comparison in a sentence that a reader can quote, and what may be said of it."""

    comparison: str  # l4 - l1
    sentence: str
    verdict: str  # better, worse, no difference shown, ...
    tests: str = ""  # its p, which of them is corrected

    @property
    def says(self) -> str:
        """Verdict and tests, as they stand behind the sentence."""
        return f"{self.verdict} ({self.tests})" if self.tests else self.verdict


@dataclass(frozen=True)
class Fold:
    """What a reader opens: a heading and what it hides."""

    title: str
    items: Sequence[Item] = ()
    tables: Sequence[TableBlock] = ()
    figures: Sequence[FigureBlock] = ()


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it, in this order."""

    id: str
    title: str
    text: Sequence[str] = ()
    items: Sequence[Item] = ()
    figures: Sequence[FigureBlock] = ()
    tables: Sequence[TableBlock] = ()
    samples: Sequence[SampleBlock] = ()
    folds: Sequence[Fold] = ()
    essential: bool = False  # printed on paper: the first two pages
