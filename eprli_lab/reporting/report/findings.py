"""Findings as a page shows them: one line a kind, the most serious first, what is more of the same folded."""

from __future__ import annotations

from collections.abc import Sequence

from eprli_lab.reporting.diagnosis.finding import Finding
from eprli_lab.reporting.report.parts import Fold, Item, Section

SHOWN = 5  # kinds of findings that stand open, the most serious ones


def findings_section(findings: Sequence[Finding], runs: int) -> Section:
    """At most SHOWN findings, the rest to be opened. `findings` come in the order of how serious their kind is."""
    items = finding_items(findings)
    nothing = "Nothing stands out." if runs else "No run is finished: there is nothing to look at yet."
    rest = items[SHOWN:]
    word = "kind of finding" if len(rest) == 1 else "kinds of findings"
    folds = [Fold(f"{len(rest)} more {word}", rest)] if rest else []
    text = () if items else (nothing,)
    return Section("look", "What to look at", text, items[:SHOWN], folds=folds, essential=True)


def finding_items(findings: Sequence[Finding]) -> list[Item]:
    """An item a kind: its first finding, and more of its kind to fold out."""
    by_kind: dict[str, dict[str, list[str]]] = {}  # kind -> what is said of an arm -> the arms
    for f in findings:
        head = f"{f.arm}: "
        sentence = f.sentence.removeprefix(head) if f.arm else f.sentence
        arms = by_kind.setdefault(f.kind, {}).setdefault(sentence, [])
        if sentence != f.sentence:
            arms.append(f.arm)
    out: list[Item] = []
    for kind, sentences in by_kind.items():
        label = f"{kind.replace('_', ' ')}:"
        lines = [f"{', '.join(arms)}: {sentence}" if arms else sentence for sentence, arms in sentences.items()]
        out.append((label, lines[0], lines[1:]) if len(lines) > 1 else (label, lines[0]))
    return out
