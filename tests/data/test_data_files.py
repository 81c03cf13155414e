"""Real problem files: what is read, and the one sentence for each thing that can be wrong with one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eprli_lab.config.compose import compose_spec
from eprli_lab.config.data import ColumnsSpec, DataSpec, SourceSpec, SuiteSpec
from eprli_lab.config.paths import LABELS_DIR
from eprli_lab.data.cells import answers
from eprli_lab.data.files import Loaded, read_source
from eprli_lab.data.load import load_suite, load_training
from eprli_lab.data.rows import RowError
from eprli_lab.data.solutions import solution_steps
from eprli_lab.data.strata import by_prompt_length
from eprli_lab.errors import UserError
from eprli_lab.grading.answers import exact
from eprli_lab.records import Problem
from eprli_lab.sweeping.fingerprints import data_digests


def write_jsonl(path, rows):
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return path


def load(path, bad=0, limit=None, template="{prompt}", split="train", **columns) -> Loaded:
    columns = ColumnsSpec(**columns)
    source = SourceSpec(path=str(path), columns=columns, limit=limit, prompt_template=template, split=split)
    return read_source(source, "data.source", bad)


def read(path, **kwargs) -> list[Problem]:
    return load(path, **kwargs).problems


def refusal(path, **kwargs) -> str:
    with pytest.raises(UserError) as caught:
        read(path, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    return message


ROW = {"id": "q1", "problem": "What is 1+1?", "answer": "2"}

# --- cells


@pytest.mark.parametrize(
    ("cell", "golds"),
    [
        ("2", ("2",)),
        ("  2 ", ("2",)),
        (2, ("2",)),
        (3.0, ("3",)),
        (-0.5, ("-0.5",)),
        (1e20, ("100000000000000000000",)),
        (Decimal("3.50"), ("3.50",)),
        (["2", 3, 4.0], ("2", "3", "4")),
        ('["2", "3"]', ("2", "3")),
        ('["a"', ('["a"',)),
        ("[1, 2]", ("[1, 2]",)),  # an interval or a list that is itself the answer
        ('["x" and "y"]', ('["x" and "y"]',)),
        (10**400, ("1" + "0" * 400,)),
        (["2", None, ""], ("2",)),
        ("\\boxed{42}", ("42",)),
        ("Half of 48 is 24.\n48+24=72\n#### 72", ("72",)),
        ("First \\boxed{1}. No: it is $\\boxed{\\frac{1}{2}}$.", ("\\frac{1}{2}",)),
        ("\\boxed{1} and \\boxed{-2}", ("1 \\text{ and } -2",)),
        ("none of them", ("none of them",)),
        ("\\{1, 2\\}", ("\\{1, 2\\}",)),
        ("f('x')", ("f('x')",)),
    ],
)
def test_answers_of_a_cell(cell, golds):
    assert answers(cell) == golds


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("", "the answer is empty"),
        ("  ", "the answer is empty"),
        (None, "the answer is empty"),
        ([], "the answer is empty"),
        ("[]", "the answer is empty"),
        ([None, ""], "the answer is empty"),
        (float("nan"), "the answer is nan, no number"),
        (float("inf"), "the answer is inf, no number"),
        (Decimal("sNaN"), "the answer is sNaN, no number"),
        (True, "the answer is True, neither text nor number: write it as a text"),
        ({"a": 1}, "the answer is no text but a dict"),
        ("None", "the answer is 'None', the spelling of a missing one"),
        ("N/A", "the answer is 'N/A', the spelling of a missing one"),
        (["2", "nan"], "the answer is 'nan', the spelling of a missing one"),
        ("\\boxed{}", "the answer is a worked solution that gives none in a box"),
        ("So it is\n####", "the answer is a worked solution that gives none in ####"),
        ("$$", "the answer is '$$', which says nothing"),
        ("['a', 'b']", "the answer is \"['a', 'b']\", a list as Python spells it: write it as JSON (json.dumps)"),
        ("['1' '2']", "the answer is \"['1' '2']\", a list as Python spells it"),  # of numpy
        ("('a', None)", "the answer is \"('a', None)\", a list as Python spells it"),
        ("array(['a'], dtype=object)", "the answer is \"array(['a'], dtype=object)\", an object as Python spells it"),
        ("np.float64(3.0)", "the answer is 'np.float64(3.0)', an object as Python spells it"),
        ([["1", "2"], ["3"]], "the answer is a list in a list: give one list of answers"),
    ],
)
def test_cells_without_an_answer_are_refused_by_name(cell, said):
    with pytest.raises(RowError) as caught:
        answers(cell)
    assert str(caught.value).startswith(said)


def test_answers_that_are_all_needed_are_one_list_to_the_grader():
    (gold,) = answers(["1", "-2"], "all")
    assert exact("-2, 1", [gold]) and exact(r"1 \text{ and } -2", [gold])
    assert not exact("1", [gold]) and not exact("-2", [gold])
    assert answers('["1", "-2"]', "all") == (gold,)
    assert answers(["7"], "all") == answers("7", "all") == ("7",)
    assert exact("1", answers(["1", "-2"], "any"))
    with pytest.raises(RowError, match="one of the 2 answers, which are all needed, is empty"):
        answers(["1", None], "all")


@given(st.integers(-(2**53), 2**53))
def test_whole_numbers_are_written_without_a_point(n):
    assert answers(n) == answers(float(n)) == answers(str(n)) == (str(n),)


# --- reading


def test_jsonl(tmp_path):
    path = write_jsonl(
        tmp_path / "toy.jsonl",
        [
            ROW,
            "",
            {"id": 7, "problem": "Solve\u2028this", "answer": 3.0},
            {"id": "x", "problem": "p", "answer": [1, "1.0"]},
        ],
    )
    a, b, c = read(path)
    assert (a.id, a.prompt, a.answers, a.difficulty, a.source, a.messages) == (
        "q1", "What is 1+1?", ("2",), None, "toy", (),
    )  # fmt: skip
    assert (b.id, b.prompt, b.answers) == ("7", "Solve\u2028this", ("3",))
    assert c.answers == ("1", "1.0")
    assert [p.id for p in read(path, limit=2)] == ["q1", "7"]
    assert [p.id for p in read(path, id=None)] == ["1", "3", "4"], "line numbers"
    assert read(path, template="Q: {prompt} A: {x}")[0].prompt == "Q: What is 1+1? A: {x}"


def test_byte_order_mark_and_windows_line_ends(tmp_path):
    for name in ("a.jsonl", "a.json"):
        path = tmp_path / name
        text = json.dumps(ROW) if name.endswith("l") else json.dumps([ROW])
        path.write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\r\n")
        assert [p.id for p in read(path)] == ["q1"]


def test_json(tmp_path):
    path = tmp_path / "toy.json"
    rows = [ROW, {**ROW, "id": "q2", "problem": "b", "d": 1}, {**ROW, "id": "q3", "problem": "c", "d": 0}]
    path.write_text(json.dumps(rows))
    assert [p.id for p in read(path)] == ["q1", "q2", "q3"]
    assert "row 0: there is no column 'd' for the difficulty" in refusal(path, difficulty="d")
    path.write_text(json.dumps(ROW))
    assert refusal(path).endswith("toy.json: a list of objects is needed; one object a line belongs into a .jsonl file")
    path.write_text('[\n{"id": 1,\n}]')
    assert f"{path}:3: not valid JSON" in refusal(path)


def test_parquet_with_structs_and_a_difficulty(tmp_path):
    path = tmp_path / "toy.parquet"
    rows = [
        {"q": "a", "meta": {"gold": [1.0, 2.5], "index": 4}, "d": 0.0, "packed": '{"gold": "8"}'},
        {"q": "b", "meta": {"gold": [3.0], "index": 9}, "d": 1.0, "packed": '{"gold": "9"}'},
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    a, b = read(path, prompt="q", answer="meta.gold", id="meta.index", difficulty="d")
    assert (a.id, a.answers, a.difficulty) == ("4", ("1", "2.5"), 0.0)
    assert (b.id, b.answers, b.difficulty) == ("9", ("3",), 1.0)
    assert [p.answers for p in read(path, prompt="q", answer="packed.gold", id=None)] == [("8",), ("9",)]
    message = refusal(path, prompt="q", answer="meta.golds", id=None)
    assert "toy.parquet row 0: there is no column 'meta.golds' for the answer (did you mean 'gold'?)" in message
    assert message.endswith("set columns.answer")


def test_chat_prompts(tmp_path):
    chat = [{"role": "system", "content": "Think."}, {"role": "user", "content": "1+1?"}]
    path = write_jsonl(tmp_path / "chat.jsonl", [{**ROW, "problem": chat}])
    (p,) = read(path, template="ignored {prompt}")
    assert p.prompt == "1+1?"
    assert p.messages == (("system", "Think."), ("user", "1+1?"))
    write_jsonl(path, [{**ROW, "problem": []}])
    assert f"{path}:1: column problem: the chat prompt is empty" in refusal(path)
    write_jsonl(path, [{**ROW, "problem": [{"role": "user"}]}])
    assert "a chat prompt is a list of {role, content}" in refusal(path)
    write_jsonl(path, [{**ROW, "problem": ["1+1?"]}])
    assert "a chat prompt is a list of {role, content}" in refusal(path)


def test_the_trainer_schema_of_the_rl_sets(shared_data):
    columns = {"prompt": "prompt", "answer": "reward_model.ground_truth", "id": "extra_info.index"}
    for name, bad, count in (("deepscaler_sample_short", 4, 1494), ("deepscaler_sample_long", 0, 1498)):
        path = shared_data / f"{name}.parquet"
        loaded = load(path, bad, **columns)
        problems = loaded.problems
        assert len(problems) == len({p.id for p in problems}) == count
        assert (loaded.rows, loaded.repeated, len(loaded.bad)) == (1500, 2, bad)
        assert all(p.answers and p.prompt and p.source == name for p in problems)
        assert all(p.messages[-1] == ("user", p.prompt) for p in problems)
        assert problems[0].id == str(pq.read_table(path)["extra_info"][0].as_py()["index"])
    message = refusal(shared_data / "deepscaler_sample_short.parquet", **columns)
    assert (
        "row 1006: the prompt comes again at " in message
        and "row 1016, with another answer: '900' and '9000'; 4 of" in message
    )
    assert message.endswith("mend them, or leave them out with data.max_bad_rows=4")
    assert len(read(path, limit=3, prompt="prompt", answer="reward_model.ground_truth", id=None)) == 3
    message = refusal(path, prompt="problem", answer="answer", id=None)
    assert "there is no column 'problem' for the prompt" in message and "set columns.prompt" in message


@pytest.mark.parametrize(("name", "count"), [("aime24", 30), ("amc23", 83), ("math500", 500)])
def test_benchmarks_as_suites(shared_data, name, count):
    suite = SuiteSpec(source=SourceSpec(path=str(shared_data / f"{name}.jsonl")))
    problems = load_suite(name, suite)
    assert len(problems) == count
    assert problems[0].source == name


# --- refusals


@pytest.mark.parametrize(
    ("row", "columns", "said"),
    [
        ("{not json", {}, r":2: not valid JSON \(.* at column 2\)"),
        ("[1, 2]", {}, r":2: a JSON object is needed, not list"),
        ('{"id": ' + "9" * 5000 + "}", {}, r":2: cannot be read"),
        ("[" * 100_000, {}, r":2: (cannot be read|not valid JSON)"),
        ({"id": "b", "problme": "p", "answer": 1}, {}, r":2: .*column 'problem'.*did you mean 'problme'\?"),
        (
            {"id": "b", "problem": "p", "x": 1},
            {},
            r":2: .*column 'answer' for the answer .*id, problem, x.*columns\.answer",
        ),
        ({"problem": "p", "answer": 1}, {}, r":2: .*column 'id' for the id.*set columns\.id"),
        ({"id": "b", "problem": " ", "answer": 1}, {}, r":2: column problem: a text or a list of messages .* not ' '"),
        ({"id": "b", "problem": 3, "answer": 1}, {}, r":2: column problem: .* not 3"),
        ({"id": "b", "problem": None, "answer": 1}, {}, r":2: column problem: .* not None"),
        ({"id": "b", "problem": "p", "answer": ""}, {}, r":2: column answer: the answer is empty"),
        ({"id": "b", "problem": "p", "answer": None}, {}, r":2: column answer: the answer is empty"),
        ({"id": "q1", "problem": "p", "answer": 1}, {}, r":2: the id 'q1' occurs twice.*columns\.id=null"),
        ({**ROW, "id": "b", "d": 1.5}, {"difficulty": "d"}, r":2: column d: a difficulty in \[0, 1\] .* not 1\.5"),
        ({**ROW, "id": "b", "d": -0.1}, {"difficulty": "d"}, r":2: column d: .* not -0\.1"),
        ({**ROW, "id": "b", "d": "hard"}, {"difficulty": "d"}, r":2: column d: .* not 'hard'"),
        ({**ROW, "id": "b", "d": True}, {"difficulty": "d"}, r":2: column d: .* not True"),
        ('{"id": "b", "problem": "p", "answer": 1, "d": NaN}', {"difficulty": "d"}, r":2: column d: .* not nan"),
        ({**ROW, "id": "b", "d": {"v": 1}}, {"difficulty": "d.w"}, r":\d: there is no column 'd.w'"),
    ],
)
def test_malformed_rows_are_named(tmp_path, row, columns, said):
    path = write_jsonl(tmp_path / "bad.jsonl", [{**ROW, "d": 0.5} if "w" not in str(columns) else row, row])
    message = refusal(path, **columns)
    assert message.startswith(str(path))
    assert re.search(said, message.removeprefix(str(path))), message


def test_a_bad_row_beyond_the_limit_is_not_read(tmp_path):
    path = write_jsonl(tmp_path / "bad.jsonl", [ROW, "{"])
    assert len(read(path, limit=1)) == 1


def test_files_that_cannot_be_read(tmp_path):
    assert refusal(tmp_path / "no.jsonl") == f"data.source.path: there is no file {tmp_path / 'no.jsonl'}"
    (tmp_path / "dir.jsonl").mkdir()
    assert "there is no file" in refusal(tmp_path / "dir.jsonl")
    (tmp_path / "x.txt").write_text("a,b")
    kinds = ".jsonl, .ndjson, .json, .parquet, .csv, .tsv (.gz or .zst behind it)"
    assert refusal(tmp_path / "x.txt").endswith(f"x.txt is not a {kinds} file")
    assert "is not a .jsonl" in refusal("./nowhere")
    for name, content in (("e.jsonl", ""), ("b.jsonl", "\n \n"), ("e.json", "[]")):
        (tmp_path / name).write_text(content)
        assert refusal(tmp_path / name) == f"data.source.path: {tmp_path / name} holds no rows"
    pq.write_table(pa.table({"problem": pa.array([], pa.string())}), tmp_path / "e.parquet")
    assert "holds no rows" in refusal(tmp_path / "e.parquet")
    (tmp_path / "junk.parquet").write_bytes(b"PAR1 not really")
    assert re.search(r"junk.parquet: not a readable parquet file \(.+\)$", refusal(tmp_path / "junk.parquet"))
    (tmp_path / "binary.jsonl").write_bytes(bytes(range(256)))
    assert "binary.jsonl:1: not valid JSON" in refusal(tmp_path / "binary.jsonl")
    whole = tmp_path / "whole.parquet"
    pq.write_table(pa.table({"problem": ["a"] * 1000, "answer": list(range(1000))}), whole)
    (tmp_path / "cut.parquet").write_bytes(whole.read_bytes()[:-200])
    assert "not a readable parquet file" in refusal(tmp_path / "cut.parquet")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path):
    path = write_jsonl(tmp_path / "secret.jsonl", [ROW])
    path.chmod(0)
    assert "cannot be read (Permission denied)" in refusal(path)


@pytest.mark.slow
def test_a_hub_id_without_a_network_is_one_sentence(tmp_path):
    code = (
        "from eprli_lab.data.files import read_source\nfrom eprli_lab.config.data import SourceSpec\n"
        "from eprli_lab.errors import UserError\n"
        "try:\n    read_source(SourceSpec(path='nobody/no-such-math-set'), 'data.source')\n"
        "except UserError as e:\n    print('SAID', e)\n"
    )
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (line,) = [x for x in done.stdout.splitlines() if x.startswith("SAID")]
    assert "data.source.path: the data set nobody/no-such-math-set (split train) cannot be loaded (" in line
    assert line.endswith("check the id and the network, or give a local .jsonl or .parquet file")
    assert "Traceback" not in done.stderr


# --- measured difficulty


def training(tmp_path, rates: str, count: int = 3) -> DataSpec:
    rows = [{**ROW, "id": f"q{i}", "problem": f"What is {i}+1?"} for i in range(count)]
    data = write_jsonl(tmp_path / "toy.jsonl", rows)
    (tmp_path / "rates.jsonl").write_text(rates)
    return DataSpec(name="toy", source=SourceSpec(path=str(data)), difficulty_file=str(tmp_path / "rates.jsonl"))


def test_measured_difficulty_is_one_minus_the_pass_rate(tmp_path):
    rates = '{"id": "q1", "pass_rate": 0.7}\n\n{"id": "q0", "pass_rate": 0, "k": 8}\n{"id": "q2", "pass_rate": 1}\n'
    rates += '{"id": "elsewhere", "pass_rate": 0.5}\n'
    problems = load_training(training(tmp_path, rates))
    assert [(p.id, p.difficulty) for p in problems] == [("q0", 1.0), ("q1", 0.3), ("q2", 0.0)]


@given(st.integers(1, 64).flatmap(lambda k: st.tuples(st.integers(0, k), st.just(k))))
def test_a_pass_rate_of_k_samples_gives_the_nearest_difficulty(tmp_path_factory, pair):
    """1 - 0.7 in binary is 0.30000000000000004, which a threshold of 0.3 would leave out."""
    correct, k = pair
    spec = training(tmp_path_factory.getbasetemp(), json.dumps({"id": "q0", "pass_rate": correct / k}) + "\n", 1)
    (p,) = load_training(spec)
    assert p.difficulty == pytest.approx((k - correct) / k, abs=1e-15)
    if k in (2, 4, 5, 8, 10, 16, 20, 32, 50, 64):
        assert p.difficulty == (k - correct) / k


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        (
            '{"id": "q0", "pass_rate": 0.5}\n',
            r"rates\.jsonl: 2 of 3 problems have no pass rate, q1 for one: run eprli-lab difficulty",
        ),
        ('{"id": "q0", "pass_rate": 0.5}\n{"id": "q1", "pa', r"rates\.jsonl:2: not a line \{id, pass_rate\}"),
        ('{"id": "q0"}\n', r"rates\.jsonl:1: not a line"),
        ("[1]\n", r"rates\.jsonl:1: not a line"),
        ("null\n", r"rates\.jsonl:1: not a line"),
        ('{"id": "q0", "pass_rate": "high"}\n', r"rates\.jsonl:1: not a line"),
        ('{"id": "q0", "pass_rate": 1.5}\n', r"rates\.jsonl:1: pass_rate is 1\.5, it must lie in \[0, 1\]"),
        ('{"id": "q0", "pass_rate": 1' + "0" * 400 + "}\n", r"rates\.jsonl:1: not a line"),
        (
            '{"id": "q0", "pass_rate": 0.5}\n{"id": "q0", "pass_rate": 1}\n',
            r"rates\.jsonl:2: the pass rate of q0 is 1\.0, and was 0\.5 before: remove one",
        ),
        ('{"id": "q0", "pass_rate": NaN}\n', r"rates\.jsonl:1: pass_rate is nan"),
        ("", r"3 of 3 problems have no pass rate, q0 for one"),
    ],
)
def test_bad_difficulty_files_are_named(tmp_path, rates, said):
    spec = training(tmp_path, rates)
    with pytest.raises(UserError, match=said) as caught:
        load_training(spec)
    assert "\n" not in str(caught.value)


def test_difficulty_files_that_cannot_be_read(tmp_path):
    spec = training(tmp_path, "")
    (tmp_path / "rates.jsonl").unlink()
    with pytest.raises(UserError, match=r"data\.difficulty_file: .*rates\.jsonl cannot be read \(No such file"):
        load_training(spec)
    (tmp_path / "rates.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"data\.difficulty_file: .*rates\.jsonl is UTF-16: write it as UTF-8"):
        load_training(spec)
    (tmp_path / "rates.jsonl").write_bytes(b"\xc3(\n")
    with pytest.raises(UserError, match=r"rates\.jsonl:1: not a line {id, pass_rate} \(not UTF-8 \(byte 0xc3 at 1\)"):
        load_training(spec)


# --- worked solutions


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("Add: 3.5+1=4.5\nDouble it.\nSo $\\boxed{9}$ it is.\nDone.", ("Add: 3.5+1=4.5\n", "Double it.\n")),
        ("First.\n\n  Second.\n\n#### 72", ("First.\n\n  ", "Second.\n\n")),
        ("One thing. Then 2.5 more! The answer is \\boxed{3}.", ("One thing.", " Then 2.5 more!")),
        ("Half is 24. In all 72.\n#### 72", ("Half is 24.", " In all 72.")),
        ("One.\nTwo. So \\boxed{2}", ("One.", "\nTwo.")),
        ("\\boxed{2} because.", ()),
        ("No mark.\nNo box.\nIt is 5.", ("No mark.\n", "No box.\n")),
        ("No mark. It is 5.", ("No mark.",)),
        ("It is 5.", ()),
        ("  \n ", ()),
        ("a \\fbox{1} b \\boxed{2}", ()),
    ],
)
def test_a_worked_solution_is_split_before_its_answer(text, steps):
    assert solution_steps(text) == steps
    assert text.strip().startswith("".join(steps))


@given(st.text(st.sampled_from("ab .!?\n\\#$5"), max_size=60), st.text(max_size=20))
def test_a_hint_never_holds_what_is_marked_as_the_answer(before, behind):
    steps = solution_steps(f"{before}\\boxed{{5}}{behind}")
    whole = "".join(steps)
    assert "\\boxed" not in whole and f"{before}\\boxed".strip().startswith(whole) and all(s.strip() for s in steps)


def test_the_solution_column(tmp_path):
    rows = [{**ROW, "why": "One.\nTwo.\n#### 2"}, {**ROW, "id": "q2", "problem": "b", "why": None}]
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    assert [p.steps for p in read(path, solution="why")] == [("One.\n", "Two.\n"), ()]
    assert [p.steps for p in read(path)] == [(), ()]
    assert "there is no column 'wy' for the solution (did you mean 'why'?): set columns.solution" in refusal(
        path, solution="wy"
    )
    listed = write_jsonl(tmp_path / "b.jsonl", [{**ROW, "why": ["One."]}])
    assert refusal(listed, solution="why").endswith("column why: a worked solution is a text, not list")


# --- difficulty that travels with the package, and difficulty by the prompt's length


@pytest.mark.parametrize("name", ["mod10_xs_k8.jsonl", "int_on_mod10_k8.jsonl"])
def test_a_packaged_file_is_found_from_any_directory(tmp_path, monkeypatch, name):
    """It holds the problems of its sidecar's data, one minus the pass rates of its sidecar's policy."""
    monkeypatch.chdir(tmp_path)
    meta = json.loads((LABELS_DIR / name).with_suffix(".meta.json").read_text())
    spec = DataSpec.model_validate({**meta["data"], "difficulty_file": f"package:{name}"}, strict=False)
    problems = load_training(spec)
    rows = {r["id"]: r for r in map(json.loads, (LABELS_DIR / name).read_text().splitlines())}
    assert len(problems) == len(rows) == 640 and meta["k"] == 8 and (LABELS_DIR / name).stat().st_size < 50_000
    assert all(p.difficulty == 1 - rows[p.id]["correct"] / 8 for p in problems)
    # harder from rung to rung, and within a rung other than the number of operations says
    own = {p.id: p.difficulty for p in load_training(spec.model_copy(update={"difficulty_file": None}))}
    rungs = [[p.difficulty for p in problems if own[p.id] == n / 8] for n in (1, 2, 4, 8)]
    means = [sum(rung) / len(rung) for rung in rungs]
    assert means == sorted(means) and all(len(set(r)) > 2 for r in rungs)


def test_labels_of_a_policy_of_another_family_are_biased_as_its_family_is():
    spec = DataSpec.model_validate(
        {
            "name": "mod10",
            "generated": {"family": "mod10", "problems": 640},
            "difficulty_file": "package:int_on_mod10_k8.jsonl",
        }
    )
    inside, outside = [], []
    for p in load_training(spec):
        start, label, sign, digit, *rest = p.prompt
        if label == "a" and rest == ["?"]:
            stays = 0 <= (int(start) + int(digit) if sign == "+" else int(start) - int(digit)) <= 9
            (inside if stays else outside).append(1 - p.difficulty)
    assert (len(inside), len(outside)) == (43, 37)
    assert sum(inside) / 43 == pytest.approx(0.43, abs=0.005) and sum(outside) / 37 == pytest.approx(0.06, abs=0.005)


def test_a_file_that_the_package_lacks_is_one_sentence(tmp_path):
    spec = training(tmp_path, "").model_copy(update={"difficulty_file": "package:mod10_xs.jsonl"})
    with pytest.raises(UserError, match=r"the package has no mod10_xs\.jsonl \(did you mean 'mod10_xs_k8\.jsonl'\?\)"):
        load_training(spec)


def test_a_packaged_file_is_part_of_what_a_study_is_bound_to(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = compose_spec(["data.difficulty_file=package:mod10_xs_k8.jsonl"])
    assert set(data_digests([spec])) == {"package:mod10_xs_k8.jsonl"}


def test_prompt_length_orders_problems_whatever_their_labels_say(tmp_path):
    prompts = ["a long question", "short", "longer", "ever so long a question", "brief"]
    rows = [{**ROW, "id": f"q{i}", "problem": text, "d": 1 - i / 8} for i, text in enumerate(prompts)]
    source = SourceSpec(path=str(write_jsonl(tmp_path / "toy.jsonl", rows)))
    by_length = load_training(DataSpec(name="toy", source=source, difficulty_by="prompt_length"))
    assert [p.difficulty for p in by_length] == [0.8, 0.4, 0.6, 1.0, 0.4]
    labelled = source.model_copy(update={"columns": source.columns.model_copy(update={"difficulty": "d"})})
    by_label = load_training(DataSpec(name="toy", source=labelled))
    assert [p.difficulty for p in by_label] == [1.0, 0.875, 0.75, 0.625, 0.5]
    assert load_training(DataSpec(name="toy", source=labelled, difficulty_by="prompt_length")) == by_length


def test_a_conversation_is_as_long_as_all_its_messages():
    short = Problem("a", "?", ("1",), None, "", (("user", "one"), ("assistant", "two"), ("user", "?")))
    long = Problem("b", "a question", ("1",))
    assert [p.difficulty for p in by_prompt_length([short, long])] == [0.5, 1.0]
