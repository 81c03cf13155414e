"""Each row of docs/grading.md's conventions, as it stands there."""

from __future__ import annotations

import re

import pytest
from conftest import REPO

from eprli_lab.config.extensions import KINDS
from eprli_lab.grading.grader import boxed

PAGE = (REPO / "docs" / "grading.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(.+?)` \| `(.+?)` \| (yes|no) \| .+ \|$", PAGE, re.MULTILINE)


def test_the_page_has_its_rows():
    assert len(ROWS) == PAGE.count("| yes |") + PAGE.count("| no |") > 60
    assert all(f"| `{name}` |" in PAGE for name in KINDS["format"].registered)


@pytest.mark.parametrize(("gold", "answer", "right"), ROWS)
def test_a_stated_convention_holds(gold, answer, right):
    assert boxed(f"It is \\boxed{{{answer}}}.", (gold,)).correct == (right == "yes")
