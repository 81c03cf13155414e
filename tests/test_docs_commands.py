"""Every command of README and docs/ is run by a script that reads the pages (tests/docs_commands.py), and that script sees faults."""

from __future__ import annotations

from pathlib import Path

import docs_commands
import pytest
from conftest import REPO

# Two of the longest: README's command and the tour are run by other stages of CI; `make commands` runs every page.
ELSEWHERE = ("README.md", "docs/index.md")
SHOWN = {str(p.relative_to(REPO)): p for p in docs_commands.PAGES}


def page(directory: Path, text: str) -> Path:
    path = directory / "page.md"
    path.write_text(text)
    return path


def test_every_block_of_commands_is_read():
    lines = {name: docs_commands.unlabelled(path) for name, path in SHOWN.items()}
    assert {name: at for name, at in lines.items() if at} == {}
    assert sum(len(docs_commands.commands(b)) for p in SHOWN.values() for b in docs_commands.blocks(p)) > 80


def test_a_page_is_taken_apart(tmp_path):
    (block, other) = docs_commands.blocks(
        page(
            tmp_path,
            "text\n<!-- with: DIR=here -->\n```sh\n# a comment\necho DIR 'a # b' \\\n    DIRS  # said\nls\n```\n```\nls\n```\n",
        )
    )
    assert (block.language, block.line, other.language) == ("sh", 3, "")
    assert docs_commands.commands(block) == [(5, "echo here 'a # b'      DIRS"), (7, "ls")]


def test_only_the_part_behind_the_installation_of_a_marked_command_is_run(tmp_path):
    (block,) = docs_commands.blocks(page(tmp_path, "<!-- main command -->\n```sh\npip install . && echo run\n```\n"))
    assert docs_commands.commands(block) == [(3, "echo run")]


def test_a_loop_is_one_command(tmp_path):
    text = "```sh\nfor i in 1 2; do\n  test $i = 1 || \\\n    test $i = 2\ndone\nls\n```\n"
    outcomes = list(docs_commands.follow(page(tmp_path, text)))
    assert [(o.line, o.code) for o in outcomes] == [(2, 0), (6, 0)]


def test_an_unknown_mark_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is no mark"):
        docs_commands.blocks(page(tmp_path, "<!-- skip this -->\n```sh\nls\n```\n"))


def test_a_block_without_a_language_is_found(tmp_path):
    assert docs_commands.unlabelled(page(tmp_path, "```\neprli-lab sweeps\n```\n")) == [1]


def test_faults_are_found_and_what_follows_is_run(tmp_path):
    text = (
        "<!-- file: sweeps/own.txt -->\n```text\nhello\n```\n<!-- given: touch before -->\n```sh\ncat sweeps/own.txt before\n"
        "false\necho on\n```\n<!-- exit: 3 -->\n```sh\nexit 3\n```\n<!-- not run: no reason -->\n```sh\nrm -rf (\nrm -rf /\n```\n"
    )
    outcomes = list(docs_commands.follow(page(tmp_path, text)))
    assert [(o.line, o.how, o.good) for o in outcomes] == [
        (6, "run", True),
        (7, "run", True),
        (8, "run", False),
        (9, "run", True),
        (13, "run", True),
        (17, "parsed", False),
        (18, "parsed", True),
    ]


@pytest.mark.slow
def test_a_run_that_does_not_compose_is_found(tmp_path):
    text = "<!-- not run: it would -->\n```sh\npython -m eprli_lab.run budget.amuont=3\npython -m eprli_lab.run curriculum=l3\n```\n"
    outcomes = list(docs_commands.follow(page(tmp_path, text)))
    assert [(o.how, o.code) for o in outcomes] == [("composed", 2), ("composed", 0)]
    assert "amount" in outcomes[0].said


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("name", [name for name in SHOWN if name not in ELSEWHERE])
def test_every_command_of_a_page_runs(name):
    failed = [f"{docs_commands.row(o)}\n{o.said}" for o in docs_commands.follow(SHOWN[name]) if not o.good]
    assert not failed, "\n".join(failed)
