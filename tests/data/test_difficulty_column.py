"""The difficulty column: its direction, its scale, its words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eprli_lab.config.data import ColumnsSpec, SourceSpec
from eprli_lab.data.difficulty import check_direction, read_difficulty
from eprli_lab.data.files import read_source
from eprli_lab.data.rows import RowError
from eprli_lab.errors import UserError


def columns(name: str = "d", **more: Any) -> ColumnsSpec:
    return ColumnsSpec(id=None, difficulty=name, **more)


def difficulties(path: Path, cells: list[Any], bad: int = 0, **more: Any) -> list[float | None]:
    rows = [{"problem": f"{i}?", "answer": "1", "d": cell} for i, cell in enumerate(cells)]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    problems = read_source(SourceSpec(path=str(path), columns=columns(**more)), "data.source", bad).problems
    return [p.difficulty for p in problems]


@pytest.mark.parametrize(
    ("cell", "scale", "hard", "passed"),
    [
        (0.25, 1.0, 0.25, 0.75),
        (0.7, 1.0, 0.7, 0.3),  # 1 - 0.7 in binary is 0.30000000000000004
        (30, 100.0, 0.3, 0.7),
        ("0.5", 1.0, 0.5, 0.5),
        (" 1e-1 ", 1.0, 0.1, 0.9),
        ("Level 5", 5.0, 1.0, 0.0),
        ("level 2", 5.0, 0.4, 0.6),
        ("50%", 1.0, 0.5, 0.5),
        ("50 %", 100.0, 0.5, 0.5),  # a per cent says its own scale
        ("5/8", 1.0, 0.625, 0.375),
        ("5/8", 8.0, 0.625, 0.375),
        (0, 1.0, 0.0, 1.0),
        (1, 1.0, 1.0, 0.0),
    ],
)
def test_a_cell_in_either_direction(cell: Any, scale: float, hard: float, passed: float) -> None:
    assert read_difficulty(cell, columns(difficulty_scale=scale))[0] == hard
    assert read_difficulty(cell, columns(difficulty_scale=scale, difficulty_is="pass_rate"))[0] == passed


@pytest.mark.parametrize(
    "cell", ["hard", "Level ?", "Level", "", "None", None, True, [], {"a": 1}, "5/0", "150%", "9/8", "-0.1", -1, float("nan"), "１", "nan", "inf"]
)  # fmt: skip
def test_other_words_are_bad_rows(tmp_path: Path, cell: Any) -> None:
    assert difficulties(tmp_path / "a.jsonl", [0.5, cell], bad=1) == [0.5]
    with pytest.raises(UserError) as caught:
        difficulties(tmp_path / "a.jsonl", [0.5, cell])
    assert f"{tmp_path / 'a.jsonl'}:2: column d: a difficulty in [0, 1] is needed" in str(caught.value)
    assert "data.max_bad_rows=1" in str(caught.value)


@pytest.mark.parametrize(
    ("cells", "scale"), [([0.3, 57.0], 1.0), (["Level 1", "Level 4"], 1.0), ([1, 10**400], 1.0), ([3, 7], 5.0)]
)
def test_a_value_above_the_scale_is_no_bad_row_but_another_scale(
    tmp_path: Path, cells: list[Any], scale: float
) -> None:
    with pytest.raises(
        UserError,
        match=r":2: column d: a difficulty in \[0, \d\] is needed, not .*: say with columns.difficulty_scale what the column calls 1$",
    ):
        difficulties(tmp_path / "a.jsonl", cells, bad=5, difficulty_scale=scale)


def test_values_that_use_a_hundredth_of_the_scale_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with pytest.raises(UserError) as caught:
        difficulties(path, [0.25, 1.0, 0.0], difficulty_scale=100.0)
    assert str(caught.value) == (
        f"{path}: column d: all 3 values lie in [0, 1], a hundredth of the scale of 100: say with "
        "columns.difficulty_scale what the column calls 1"
    )
    assert difficulties(path, [0.25, 1.01, 0.0], difficulty_scale=100.0) == [0.0025, 0.0101, 0.0]
    assert difficulties(path, [0.0, 0.0]) == [0.0, 0.0], "zeros are zeros on every scale"
    assert difficulties(path, ["1%", "0.5%", "90%"], difficulty_scale=100.0) == [0.01, 0.005, 0.9]


@pytest.mark.parametrize(
    "name",
    ["pass_rate", "solve_rate", "llama8b_solve_rate", "accuracy", "success", "meta.pass_rate", "Pass Rate", "pass@8", "avg_acc", "success_rate", "correct_ratio", "passrate"],
)  # fmt: skip
def test_a_name_that_looks_like_a_pass_rate_is_asked_about(name: str) -> None:
    with pytest.raises(UserError) as caught:
        check_direction(columns(name), "data.source")
    said = str(caught.value)
    assert said.startswith(f"data.source.columns.difficulty: '{name}' looks like a pass rate")
    assert "columns.difficulty_is=pass_rate, or, if high does mean hard, give the column another name" in said
    check_direction(columns(name, difficulty_is="pass_rate"), "data.source")


@pytest.mark.parametrize(
    "name",
    [
        "difficulty",
        "level",
        "d",
        "fail_rate",
        "error_rate",
        "pass_rate_difficulty",
        "accuracy_difficulty",
        "compass",
        "account",
        "rating",
    ],
)
def test_other_names_are_not(name: str) -> None:
    check_direction(columns(name), "data.source")


def test_it_is_asked_before_the_file_is_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="looks like a pass rate"):
        read_source(SourceSpec(path=str(tmp_path / "none.jsonl"), columns=columns("pass_rate")), "data.source")


@given(
    st.one_of(st.floats(), st.integers(), st.text(max_size=12), st.decimals(), st.none()),
    st.sampled_from([1.0, 5.0, 100.0]),
    st.sampled_from(["difficulty", "pass_rate"]),
)
def test_whatever_is_read_lies_in_the_unit_interval(cell: Any, scale: float, direction: Any) -> None:
    try:
        difficulty, value = read_difficulty(cell, columns(difficulty_scale=scale, difficulty_is=direction))
    except (RowError, UserError):
        return
    assert 0.0 <= difficulty <= 1.0 and 0.0 <= value <= scale
