"""Sampled responses in a report: what is shown of which run, whole and harmless; and what it weighs."""

from __future__ import annotations

import re
from html import unescape

import planted
import pyarrow as pa
import pyarrow.parquet as pq

from eprli_lab.reporting import artifacts as artifacts_module
from eprli_lab.reporting import figures
from eprli_lab.reporting.artifacts import SAMPLES, Artifacts, read_artifacts
from eprli_lab.reporting.report.samples import ARMS, LONGEST, samples_section, shorten
from eprli_lab.reporting.report.sections import study_page
from eprli_lab.reporting.tables.rows import ablation_table


def row(**change: object) -> dict[str, object]:
    values = {
        "step": 1, "level": "l1", "kind": "best", "problem": "p1", "prompt": "1+1?", "response": "so \\boxed{2}",
        "accepted": ["2"], "answer": "2", "correct": True, "status": "exact", "reward": 1.0, "tokens": 7,
        "truncated": False, "verdict": "admitted",
    }  # fmt: skip
    return values | change


def page(rows: list[dict[str, object]], run_id: str = "plain-0") -> tuple[str, str]:
    """(HTML, Markdown) of a report whose first arm kept these samples."""
    study = planted.study()
    found = Artifacts({}, {}, [], {run_id: rows})
    made = study_page(study, ablation_table(study), list(figures.pictures(study, only=())), found, None, 0.03)
    return made.html(), made.markdown()


def test_the_last_of_each_kind_and_level_is_shown_of_an_arms_first_seed():
    rows = [
        row(response="first"), row(step=9, response="last"), row(kind="near", correct=False, status="wrong", answer="3"),
        row(level="l2", kind="truncated", answer=None, correct=False, status="no_answer", truncated=True, verdict="too_hard"),
        row(kind="other", response="not shown"),
    ]  # fmt: skip
    (section,) = samples_section(planted.study(), Artifacts({}, {}, [], {"plain-0": rows, "other-1": rows}))
    assert [(b.where, b.title.partition(":")[0], b.response) for b in section.samples] == [
        ("plain, level l1", "best", "last"),
        ("plain, level l1", "wrong but close", "so \\boxed{2}"),
        ("plain, level l2", "cut off at the limit", "so \\boxed{2}"),
        ("other, level l1", "best", "last"),
        ("other, level l1", "wrong but close", "so \\boxed{2}"),
        ("other, level l2", "cut off at the limit", "so \\boxed{2}"),
    ]
    assert section.samples[0].facts == (
        "step 9, problem p1: right, answer 2, accepted 2; reward 1, 7 tokens; its group: admitted"
    )
    assert section.samples[1].facts.startswith("step 1, problem p1: wrong, answer 3, accepted 2")
    assert section.samples[2].facts == (
        "step 1, problem p1: wrong (no answer), no answer, accepted 2; reward 1, 7 tokens, cut off; its group: too hard"
    )


def test_what_a_policy_writes_is_text_and_nothing_else():
    evil = "<script>alert(1)</script></pre></details>\n# heading\n```\n{{ 7 * 7 }} {% if %}"
    html, markdown = page([row(response=evil, prompt="a < b & c", answer="<b>2</b>")])
    assert "<script>alert" not in html and "{{ 7 * 7 }}" in html
    shown = re.search(r"<p class=\"note\">response</p><pre>(.*?)</pre>", html, re.S)
    assert shown is not None and unescape(shown[1]) == evil
    assert html.count("<details") == html.count("</details>") and html.count("<pre>") == html.count("</pre>") == 2
    assert "\n    # heading\n    ```\n" in markdown, "indented: no heading, no fence"


def test_a_long_response_is_folded_and_shortened():
    text = "".join(chr(97 + i % 26) for i in range(70_000))
    html, _ = page([row(response=text)])
    small, _ = page([row()])
    assert len(html) - len(small) < LONGEST + 100
    short = shorten(text)
    assert short.startswith(text[:2400]) and short.endswith(text[-1600:]) and "[... 66,000 characters ...]" in short
    assert shorten("x" * LONGEST) == "x" * LONGEST


def test_no_samples_no_section_and_many_arms_are_capped():
    assert samples_section(planted.study(), Artifacts({}, {}, [])) == []
    arms = tuple(f"a{i}" for i in range(ARMS + 3))
    study = planted.study(arms=arms, seeds=1)
    (section,) = samples_section(study, Artifacts({}, {}, [], {f"{a}-0": [row()] for a in arms}))
    assert len(section.samples) == ARMS and f"The first {ARMS} arms are shown." in section.text[0]


def test_they_are_read_of_an_arms_first_run_and_damage_is_no_fault(tmp_path, monkeypatch):
    pq.write_table(pa.Table.from_pylist([row()]), tmp_path / "plain-0")
    (tmp_path / "other-0").write_text("not parquet")
    asked = []

    def fetch(tracking, run_id, name):
        if name == "samples.parquet":
            asked.append(run_id)
            return tmp_path / run_id
        return None

    monkeypatch.setattr(artifacts_module, "fetch_artifact", fetch)
    found = read_artifacts(None, planted.study())
    assert asked == ["plain-0", "other-0"] and found.samples == {"plain-0": [row()]}
    assert set(row()) == set(SAMPLES)
