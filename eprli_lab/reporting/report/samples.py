"""Sampled responses in a report: of each arm's first seed and each level, the last of every kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eprli_lab.reporting.artifacts import Artifacts
from eprli_lab.reporting.load import StudyData
from eprli_lab.reporting.report.parts import SampleBlock, Section

TITLES = {
    "best": "best: the highest reward of its step",
    "worst": "worst: the lowest",
    "truncated": "cut off at the limit",
    "near": "wrong but close",
}
LONGEST = 4000  # characters of a text in the page; the whole is in samples.parquet
ARMS = 12  # of a study, whose samples are shown


def samples_section(study: StudyData, artifacts: Artifacts) -> list[Section]:
    """What the policies wrote; nothing where no run kept samples."""
    blocks = []
    shown = 0
    for arm in study.arms:
        run = next((r for r in study.of(arm) if artifacts.samples.get(r.run_id)), None)
        if run is None or shown == ARMS:
            continue
        shown += 1
        rows = artifacts.samples[run.run_id]
        for level in dict.fromkeys(r["level"] for r in rows):
            for kind, title in TITLES.items():
                found = [r for r in rows if r["level"] == level and r["kind"] == kind]
                if found:
                    blocks.append(_block(f"{arm}, level {level}", title, found[-1]))
    if not blocks:
        return []
    left = f" The first {ARMS} arms are shown." if sum(bool(study.of(a)) for a in study.arms) > ARMS else ""
    text = (
        "Whole responses, kept while training (tracking.samples_per_step) by fixed rules, not at random: of each "
        f"arm's first seed and each level the last one of its kind. All of them: samples.parquet of the run.{left}"
    )
    return [Section("samples", "Samples of responses", text=[text], samples=blocks)]


def _block(where: str, title: str, row: Mapping[str, Any]) -> SampleBlock:
    status = str(row["status"]).replace("_", " ")
    verdict = "right" if row["correct"] else "wrong" if status == "wrong" else f"wrong ({status})"
    answer = "no answer" if row["answer"] is None else f"answer {shorten(str(row['answer']), 80)}"
    facts = (
        f"step {row['step']}, problem {row['problem']}: {verdict}, {answer}, accepted "
        f"{shorten(', '.join(map(str, row['accepted'])), 80)}; reward {row['reward']:.3g}, {row['tokens']} tokens"
        f"{', cut off' if row['truncated'] else ''}; its group: {str(row['verdict']).replace('_', ' ')}"
    )
    return SampleBlock(where, title, facts, shorten(str(row["prompt"])), shorten(str(row["response"])))


def shorten(text: str, longest: int = LONGEST) -> str:
    """The text, or its beginning and its end with a note of how much is left out between them."""
    if len(text) <= longest:
        return text
    head, tail = longest * 3 // 5, longest * 2 // 5
    return f"{text[:head]} [... {len(text) - head - tail:,} characters ...] {text[len(text) - tail :]}"
