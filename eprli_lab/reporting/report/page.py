"""The report of one study or several: one self-contained HTML file and its Markdown twin, in the same order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from eprli_lab.escaping import markdown, markdown_paragraph
from eprli_lab.reporting.report import frame, twin
from eprli_lab.reporting.report.parts import Answer, Section


@dataclass(frozen=True)
class Page:
    """A whole report."""

    title: str
    claim: str
    summary: str
    sections: Sequence[Section]
    first: str = ""  # what must be known before anything is read
    kicker: str = ""  # the small line above the title: what kind of page this is
    answers: Sequence[Answer] = ()  # what a reader can quote; the first one answers
    warnings: Sequence[str] = ()  # what must be known before anything of it is quoted
    marks: Mapping[str, str] = field(default_factory=dict)  # arm -> the mark before its name in tables, as HTML

    def html(self) -> str:
        """One file that needs no other: styles, scripts, figures and their data are inside."""
        fields = {k: getattr(self, k) for k in ("title", "claim", "summary", "first", "kicker", "answers", "warnings")}
        return frame.render(self.sections, self.marks, **fields)

    def markdown(self) -> str:
        """The same in Markdown; figures are links to the PNG files beside it."""
        parts = [f"# {markdown(self.title)}"]
        parts += [f"**{markdown(self.first)}**"] if self.first else []
        parts += twin.answers(self.answers)
        parts += [f"**Note.** {markdown(w)}" for w in self.warnings]
        parts += [f"**Claim.** {markdown(self.claim)}"] if self.claim else []
        parts += [markdown_paragraph(self.summary)] if self.summary else []
        for s in self.sections:
            parts += twin.section(s)
        return "\n\n".join(parts) + "\n"


def write_page(page: Page, directory: Path, stem: str) -> Path:
    """`directory`/stem.html and its twin stem.md; the path of the former. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{stem}.md").write_text(page.markdown(), encoding="utf-8")
    path = directory / f"{stem}.html"
    path.write_text(page.html(), encoding="utf-8")
    return path
