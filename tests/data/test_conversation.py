"""Conversations of a data file: read rightly, or refused in one sentence with file, row and column."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eprli_lab.config.data import ColumnsSpec, SourceSpec
from eprli_lab.data.chat import read_conversation
from eprli_lab.data.files import read_source
from eprli_lab.errors import UserError
from eprli_lab.records import Problem

TURNS = [{"role": "system", "content": "Think."}, {"role": "user", "content": "1+1?"}]
READ = (("system", "Think."), ("user", "1+1?"))


def read(path: Path) -> list[Problem]:
    return read_source(SourceSpec(path=str(path), columns=ColumnsSpec(id=None)), "data.source").problems


def from_jsonl(tmp_path: Path, cell: Any) -> Problem:
    path = tmp_path / "chat.jsonl"
    path.write_text(json.dumps({"problem": cell, "answer": "2"}) + "\n")
    (problem,) = read(path)
    return problem


@pytest.mark.parametrize(
    "cell",
    [
        TURNS,
        json.dumps(TURNS),
        f"\n {json.dumps(TURNS, indent=2)} ",
        {"role": ["system", "user"], "content": ["Think.", "1+1?"]},
        json.dumps({"role": ["system", "user"], "content": ["Think.", "1+1?"]}),
        [{"role": "system", "content": [{"type": "text", "text": "Think."}]}, {"role": "user", "content": [{"type": "text", "text": "1+"}, {"text": "1?"}]}],
        [{"role": r, "content": c, "name": None, "tool_calls": None} for r, c in READ],
        [{"from": "system", "value": "Think."}, {"from": "human", "value": "1+1?"}],
        [{"role": None, "content": None, "from": "system", "value": "Think."}, {"role": "user", "content": "1+1?", "from": None, "value": None}],
    ],
)  # fmt: skip
def test_a_conversation_is_read_however_it_is_written(tmp_path: Path, cell: Any) -> None:
    problem = from_jsonl(tmp_path, cell)
    assert problem.messages == READ and problem.prompt == "1+1?"


@pytest.mark.parametrize(
    ("solution", "steps"),
    [
        (
            [{"role": "assistant", "content": "One and one.\nThat is two.\n\\boxed{2}"}],
            ("One and one.\n", "That is two.\n"),
        ),
        ([{"from": "gpt", "value": [{"type": "text", "text": "So:\nadd.\n#### 2"}]}], ("So:\n", "add.\n")),
        ([{"role": "assistant", "content": None}], ()),
        ([{"role": "assistant", "content": ""}], ()),
    ],
)
def test_a_solution_behind_the_question_is_no_part_of_the_prompt(tmp_path: Path, solution: Any, steps: Any) -> None:
    for cell in ([*TURNS, *solution], json.dumps([*TURNS, *solution])):
        problem = from_jsonl(tmp_path, cell)
        assert problem.messages == READ and problem.prompt == "1+1?" and problem.steps == steps


def test_worked_examples_before_the_question_stay(tmp_path: Path) -> None:
    shown = [TURNS[1], {"role": "assistant", "content": "2"}, {"role": "user", "content": "1+2?"}]
    assert from_jsonl(tmp_path, shown).messages == (("user", "1+1?"), ("assistant", "2"), ("user", "1+2?"))


def test_one_message_alone(tmp_path: Path) -> None:
    for cell in (TURNS[1], json.dumps(TURNS[1]), [TURNS[1]]):
        assert from_jsonl(tmp_path, cell).messages == (("user", "1+1?"),)


def test_arrays_and_parquet(tmp_path: Path) -> None:
    assert read_conversation(np.array(TURNS, dtype=object)).messages == READ
    parts = np.array([{"type": "text", "text": "1+1?"}], dtype=object)
    assert read_conversation([{"role": "user", "content": parts}]).messages == (("user", "1+1?"),)
    path = tmp_path / "chat.parquet"
    columns = {"role": ["system", "user"], "content": ["Think.", "1+1?"]}
    pq.write_table(pa.table({"problem": [TURNS, TURNS], "answer": [2, 2]}), path)
    assert [p.messages for p in read(path)] == [READ], "twice the same problem is one"
    pq.write_table(pa.table({"problem": [columns], "answer": [2]}), path)
    assert read(path)[0].messages == READ


@pytest.mark.parametrize(
    "text", ["[1, 2] is a list. How long?", '{"a": 1} has how many keys?', "[{x}] + 1 = ?", "Say [role: user]."]
)
def test_a_text_that_only_looks_like_json_stays_a_text(tmp_path: Path, text: str) -> None:
    problem = from_jsonl(tmp_path, text)
    assert problem.prompt == text and problem.messages == ()


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ([{"role": "assistant", "content": "It is"}], "the conversation holds no turn of a user"),
        ([TURNS[0], {"role": "assistant", "content": "It is"}], "the conversation ends with a system message"),
        ([TURNS[1], {"role": "tool", "content": "2"}], "message 2: tools are called, and only text can be asked"),
        ([TURNS[1], {"role": "assistant", "content": "", "tool_calls": [{"name": "add"}]}], "message 2: tools are called"),
        ([TURNS[1], {"role": "assistant", "content": None}, TURNS[1]], "message 2: an assistant turn before the question says nothing"),
        ([{"from": "humn", "value": "1+1?"}], "message 1: the role 'humn' is unknown (did you mean 'human'?)"),
        (TURNS[:1], "the conversation ends with a system message: end it with the user's question"),
        ([{"role": "user", "content": " "}], "the conversation ends with an empty user message"),
        ([TURNS[1], TURNS[0], TURNS[1]], "message 2: a system message stands first or not at all"),
        ([{"role": "human", "content": "1+1?"}], "message 1: the role 'human' is unknown (choose from: assistant, system, user)"),
        ([{"role": "usr", "content": "1+1?"}], "message 1: the role 'usr' is unknown (did you mean 'user'?)"),
        ([{"role": None, "content": "1+1?"}], "message 1: the role None is unknown"),
        ([{"from": "human", "text": "1+1?"}], "message 1: a chat prompt is a list of {role, content}"),
        ([{"role": "user", "content": None}], "message 1: the content is no text but nothing (null)"),
        ([{"role": "user", "content": 7}], "message 1: the content is no text but a int"),
        ([{"role": "user", "content": []}], "message 1: the content is no text but a list"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": "x"}, {"type": "text", "text": "?"}]}], "message 1: a part of the content is image_url, and only text can be asked"),
        ([{"role": "user", "content": [{"type": "text", "text": None}]}], "message 1: a part of the content is text, and only text"),
        ("[{'role': 'user', 'content': '1+1?'}]", "a text that begins like a conversation and is not valid JSON"),
        ('[{"role": "user", "content": "1+1?"}', "a text that begins like a conversation and is not valid JSON"),
        ({"role": ["user", "user"], "content": ["1+1?"]}, "the chat prompt has 2 roles and 1 contents"),
        ([], "the chat prompt is empty"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused(tmp_path: Path, cell: Any, said: str) -> None:
    with pytest.raises(UserError) as caught:
        from_jsonl(tmp_path, cell)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/chat.jsonl:1: column problem: {said}") and "\n" not in message
