"""`eprli-lab data`: the table of what would be loaded, and where a run would be refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from chat_model import chat_tokenizer, question

from eprli_lab.cli.data import command

BOXED = "Put the answer into \\boxed{}."


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, list[str]]]:
    """Exit code, and what stands behind each word of the first column."""
    code = command.run(list(words))
    out: dict[str, list[str]] = {}
    what = ""
    for line in capsys.readouterr().out.splitlines():
        what = line[:12].strip() or what
        out.setdefault(what, []).append(line[12:])
    return code, out


def problems(count: int = 8) -> list[dict[str, Any]]:
    return [
        {"problem": f"{i}+{i}? {BOXED}", "answer": str(2 * i), "hard": i / 8, "by": "me"} for i in range(1, count + 1)
    ]


def write(name: str, rows: list[dict[str, Any]]) -> str:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return name


COLUMNS = ("data.source.columns.id=null", "data.source.columns.difficulty=hard")


def test_everything_that_is_read_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    rows = problems()
    rows += [{"problem": "x", "answer": "", "hard": 0, "by": ""}, rows[2], {"problem": "y", "hard": 0, "answer": None}]
    path = write("my 'own', file.jsonl", rows)
    code, found = said(capsys, path, *COLUMNS, "data.max_bad_rows=2")
    assert code == 0 and "REFUSED" not in found
    assert found["source"] == [path] and found["rows"] == ["11"] and found["problems"] == ["8"]
    assert found["left out"] == [f"2 the answer is empty ({path}:9, ...)"]
    assert found["repeated"] == ["1 rows, with the same answers"]
    assert found["columns"] == ["problem  prompt", "answer   answer", "hard     difficulty", "by       -"]
    assert found["difficulty"] == ["0.125 to 1, median 0.562, from column hard"]
    assert [line.split() for line in found["strata"]] == [
        ["l1", "d", "<=", "0.5", "4"],
        ["l2", "0.5", "<", "d", "<=", "1", "4"],
    ]
    assert found["format"] == ["read: boxed; 8 prompts ask for \\boxed{}"]
    assert found["longest"] == ["34 characters, problem 1"]
    assert found["first"] == ["answer 2", f"| 1+1? {BOXED}"]


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ([], "1 rows cannot be used: mend them, or leave them out with data.max_bad_rows=1"),
        (["data.max_bad_rows=1", "data.source.format=hash"], "data.source.format is hash, but 8 of 8 prompts of the training data ask for \\boxed{}: set data.source.format=boxed, or ask for the format in prompts.suffix"),
        (["data.max_bad_rows=1", "verify.format=tag"], "verify.format is tag, but 8 of 8"),
        (["data.max_bad_rows=1", "curriculum.levels.l1.quality_threshold=0.01"], "the stratum of l1 is empty"),
        (["data.max_bad_rows=1", "data.difficulty_file=none.jsonl"], "none.jsonl cannot be read"),
    ],
)  # fmt: skip
def test_what_a_run_would_refuse_is_named(words: list[str], fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = write("p.jsonl", [*problems(), {"problem": "x", "answer": "", "hard": 0, "by": ""}])
    code, found = said(capsys, path, *COLUMNS, *words)
    assert code == 1 and len(found["REFUSED"]) == 1 and fault in found["REFUSED"][0]
    assert found["problems"] == ["8"], "and the rest is shown all the same"


def test_prompts_as_the_model_has_them(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = [{"id": f"q{i}", "problem": question(i, i), "answer": str(2 * i)} for i in range(4)]
    path = write("sums.jsonl", [*rows, {"id": "long", "problem": question(1, 2) * 9, "answer": "3"}])
    tokenizer = chat_tokenizer()
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    model = ["model=path", "model.path=model", "data.max_prompt_tokens=40"]
    code, found = said(capsys, path, *model)
    assert code == 0 and found["problems"] == ["4"]
    assert found["first"] == [
        "answer 0",
        "| <|im_start|>user",
        "| What is 0 plus 0?<|im_end|>",
        "| <|im_start|>assistant",
    ]
    assert found["longest"][0].startswith("16 tokens, problem q")
    assert "1 of 5 training problems are left out" in found["note"][0]
    assert found["difficulty"] == ["nothing yet: measure it with eprli-lab difficulty"] and "strata" not in found
    assert said(capsys, path, model[2])[1]["note"] == [
        "data.max_prompt_tokens needs a tokenizer: give model=path model.path=DIR"
    ]


def test_named_data_read_from_a_path(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"question": f"{i} and {i}?", "answer": f"Add {i} to {i}.\n#### {2 * i}"} for i in range(1, 4)]
    code, found = said(capsys, write("train.jsonl", rows), "data=gsm8k")
    assert code == 0 and found["columns"] == ["question  prompt", "answer    answer, solution"]
    assert found["first"][0] == "answer 2" and found["format"] == ["read: hash; 3 prompts ask for ####"]
    assert said(capsys, "data=mod10", "data.generated.problems=64")[1]["problems"] == ["64"]


def test_mistakes(capsys: pytest.CaptureFixture[str]) -> None:
    for words, sentence in (
        (["none.jsonl"], "data.source.path: there is no file none.jsonl"),
        (["a.jsonl", "b.jsonl"], "b.jsonl: one PATH is enough"),
        ([write("c.jsonl", problems())], "c.jsonl:1: there is no column 'id' for the id"),
        (["data=gsm9k"], "data=gsm9k: there is no such data (did you mean 'gsm8k'?)"),
    ):
        assert command.run(words) == 2
        assert sentence in capsys.readouterr().err
