"""The formats of other trainers, read; and everything that is none of them, refused in one sentence."""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path

import pytest
from conftest import REPO

from eprli_lab.errors import UserError
from eprli_lab.importing.events import _masked
from eprli_lab.importing.files import read_log
from eprli_lab.importing.tables import read_scores

LOGS = REPO / "tests" / "data_samples" / "foreign"
VERL = (
    "(TaskRunner pid=310) step:80 - actor/entropy:np.float64(0.25) - actor/pg_loss:np.float64(-0.0007830791869309905) - "
    "actor/lr:np.float64(1e-06) - val-core/openai/gsm8k/reward/mean@1:np.float64(0.4943138741470811) - "
    "training/global_step:80 - critic/rewards/mean:0.57421875 - critic/advantages/mean:5.8286926396533545e-09\n"
)


def wire(number: int, payload: bytes | int) -> bytes:
    """A field of a protocol buffer, small numbers only."""
    return (
        bytes([number << 3, payload]) if isinstance(payload, int) else bytes([number << 3 | 2, len(payload)]) + payload
    )


def scalar(tag: str, value: float) -> bytes:
    return wire(1, wire(1, tag.encode()) + bytes([2 << 3 | 5]) + struct.pack("<f", value))


def tensor(tag: str, value: float) -> bytes:
    """As tf.summary.scalar writes it: a tensor of one float."""
    return wire(1, wire(1, tag.encode()) + wire(8, wire(1, 1) + wire(4, struct.pack("<f", value))))


def event(step: int, *values: bytes) -> bytes:
    return bytes([1 << 3 | 1]) + struct.pack("<d", 1.5) + wire(2, step) + wire(5, b"".join(values))


def record(payload: bytes) -> bytes:
    size = struct.pack("<Q", len(payload))
    return size + struct.pack("<I", _masked(size)) + payload + struct.pack("<I", _masked(payload))


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refused(source: str, *paths: Path, **options: bool) -> str:
    with pytest.raises(UserError) as error:
        read_log(source, paths, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


# --- TensorBoard -------------------------------------------------------------------------------------------------


def test_the_checksum_is_crc_32c():
    crc = 0xE3069283  # of "123456789", as every description of CRC-32C says
    assert _masked(b"123456789") == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_events_give_their_numbers(tmp_path):
    text = wire(1, wire(1, b"train/samples") + wire(8, wire(1, 7)))  # a tensor of texts
    file = record(event(0)) + record(event(4, scalar("train/reward", 0.25), tensor("eval/eval_m_pass1", 0.5), text))
    log = read_log("openrlhf", [write(tmp_path / "events.out.tfevents.1", file)])
    assert log.values == {"train/reward": {4: 0.25}, "eval/eval_m_pass1": {4: 0.5}}


def test_a_damaged_event_file_is_refused_and_a_cut_one_is_taken_on_request(tmp_path):
    file = record(event(1, scalar("train/reward", 0.25))) + record(event(2, scalar("train/reward", 0.5)))
    cut = write(tmp_path / "events.out.tfevents.cut", file[:-3])
    assert "its last record has" in refused("openrlhf", cut) and "--incomplete" in refused("openrlhf", cut)
    log = read_log("openrlhf", [cut], incomplete=True)
    assert log.values == {"train/reward": {1: 0.25}} and len(log.cut) == 1
    head = write(tmp_path / "events.out.tfevents.head", file + file[:5])
    assert "its last record ends after 5 bytes" in refused("openrlhf", head)
    place = file.index(struct.pack("<f", 0.25))
    flipped = write(tmp_path / "events.out.tfevents.bit", file[:place] + b"\x01" + file[place + 1 :])
    assert "is damaged at byte 0 (another checksum)" in refused("openrlhf", flipped)
    assert "is no TensorBoard event file" in refused(
        "openrlhf", write(tmp_path / "tfevents", b"hello world, no record")
    )
    assert "no number was logged" in refused("openrlhf", write(tmp_path / "events.out.tfevents.none", b""))
    nonsense = write(tmp_path / "events.out.tfevents.odd", record(b"\x0f\x0f\x0f"))
    assert "holds no TensorBoard event" in refused("openrlhf", nonsense)


def test_a_directory_holds_the_events_of_one_run(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "events.out.tfevents.1", record(event(1, scalar("train/reward", 1.0))))
    assert read_log("openrlhf", [tmp_path / "a"]).values == {"train/reward": {1: 1.0}}
    assert "holds the events of 2 runs" in refused("openrlhf", tmp_path)
    (tmp_path / "empty").mkdir()
    assert "holds no log of openrlhf: give the TensorBoard events" in refused("openrlhf", tmp_path / "empty")


# --- TRL ---------------------------------------------------------------------------------------------------------


def test_a_real_state_of_trl():
    log = read_log("trl", [LOGS / "trl" / "seed0"])
    rows = json.loads((LOGS / "trl/seed0/trainer_state.json").read_text())["log_history"]
    evaluated = {row["step"]: row["eval_reward"] for row in rows if "eval_reward" in row}
    assert log.values["eval_reward"] == evaluated and list(evaluated) == [0, 4, 8, 12, 16]
    assert log.steps == [0, 4, 8, 12, 16] and log.values["train_runtime"].keys() == {16}


def test_the_last_checkpoint_of_a_directory_is_read(tmp_path):
    for step in (9, 10):
        (tmp_path / f"checkpoint-{step}").mkdir()
        state = {"log_history": [{"step": step, "reward": 0.5}]}
        write(tmp_path / f"checkpoint-{step}" / "trainer_state.json", json.dumps(state))
    assert read_log("trl", [tmp_path]).values == {"reward": {10: 0.5}}


STATES = [
    ("", "is empty"),
    ("{", "is no JSON"),
    ('{"epoch": 1}', "has no log_history"),
    ('{"log_history": [{"reward": 1.0}]}', "entry 1 of log_history has no step"),
    ('{"log_history": [{"step": 1.5, "reward": 1.0}]}', "1.5 is no step"),
    ('{"log_history": [{"step": -1, "reward": 1.0}]}', "-1 is no step"),
    ('{"log_history": [{"step": true, "reward": 1.0}]}', "True is no step"),
    ('{"log_history": [{"step": 1, "epoch": "x"}]}', "no number was logged"),
    ('{"log_history": []}', "no number was logged"),
    ('{"log_history": [{"step": 1, "reward": 1' + 400 * "0" + "}]}", "a number of hundreds of digits"),
    ('{"log_history": [{"step": 1, "reward": 1.0}, {"step": 1, "reward": 2.0}]}', "step 1 has two values of reward"),
]


@pytest.mark.parametrize(("text", "sentence"), STATES)
def test_what_is_no_state_of_trl(tmp_path, text, sentence):
    assert sentence in refused("trl", write(tmp_path / "trainer_state.json", text))


def test_of_a_resumed_run_the_last_value_counts(tmp_path):
    rows = [{"step": 1, "reward": 1.0}, {"step": 1, "reward": 2.0}, {"step": 2, "reward": float("nan")}]
    file = write(tmp_path / "trainer_state.json", json.dumps({"log_history": [*rows, rows[2]]}))
    assert "--resumed" in refused("trl", file)
    assert read_log("trl", [file], resumed=True).values["reward"][1] == 2.0


def test_no_file(tmp_path):
    assert refused("trl", tmp_path / "gone") == f"{tmp_path / 'gone'}: there is no such file"
    assert "is no text file" in refused("trl", write(tmp_path / "trainer_state.json", b"\xff\xfe\x00"))


# --- verl --------------------------------------------------------------------------------------------------------


def test_the_lines_of_verl(tmp_path):
    text = '{"step": 0, "data": {"val-core/m/acc/mean@4": 0.25}}\n{"step": 1, "elapsed_seconds": 5.5, "data": {"actor/entropy": 0.5}}\n'
    file = write(tmp_path / "metrics.jsonl", text)
    assert read_log("verl", [file]).values == {
        "val-core/m/acc/mean@4": {0: 0.25}, "actor/entropy": {1: 0.5}, "elapsed_seconds": {1: 5.5},
    }  # fmt: skip
    cut = write(tmp_path / "cut.jsonl", text + '{"step": 2, "da')
    assert "its last line, 3, is no whole JSON" in refused("verl", cut)
    assert read_log("verl", [cut], incomplete=True).steps == [0, 1]
    assert ":1 is no JSON" in refused("verl", write(tmp_path / "bad.jsonl", '{"step" 2}\n' + text))
    assert ":2 is no object" in refused("verl", write(tmp_path / "list.jsonl", '{"step": 1, "data": {}}\n[1]\n'))


def test_the_console_of_verl(tmp_path):
    log = read_log("verl", [write(tmp_path / "train.log", "starting\n\x1b[36m" + VERL + "done\n")])
    assert log.values["val-core/openai/gsm8k/reward/mean@1"] == {80: 0.4943138741470811}
    assert log.values["critic/advantages/mean"] == {80: 5.8286926396533545e-09}
    assert log.values["actor/lr"] == {80: 1e-6} and log.values["actor/entropy"] == {80: 0.25}
    assert "is no log of verl" in refused("verl", write(tmp_path / "other.log", "Epoch 1: loss 0.5\n"))


# --- W&B and scores ----------------------------------------------------------------------------------------------


def test_the_history_of_wandb(tmp_path):
    history = (
        ",_step,_runtime,train/global_step,train/reward,eval/reward,note\n0,0,1.5,1,0.25,,x\n1,1,2.5,2,NaN,0.5,y\n"
    )
    log = read_log("wandb-export", [write(tmp_path / "h.csv", history)])
    assert log.values["train/reward"][1] == 0.25 and log.values["train/reward"][2] != log.values["train/reward"][2]
    assert "" not in log.values and log.values["eval/reward"] == {2: 0.5} and log.values["_runtime"] == {1: 1.5, 2: 2.5}
    lines = '{"_step": 3, "eval/reward": 0.5, "table": {"_type": "table"}}\n'
    assert read_log("wandb-export", [write(tmp_path / "h.jsonl", lines)]).values == {"eval/reward": {3: 0.5}}
    chart = (
        "Step,run-a - eval/reward,run-a - eval/reward__MIN,run-a - eval/reward__MAX\n0,0.25,0.25,0.25\n5,0.5,0.5,0.5\n"
    )
    assert read_log("wandb-export", [write(tmp_path / "c.csv", chart)]).values == {"eval/reward": {0: 0.25, 5: 0.5}}


TABLES = [
    ("Step,a - r,b - r\n1,2,3\n", "holds 2 runs (a, b)"),
    ("name,loss\nx,2\n", "has no column of steps"),
    ("_step,loss\n1,2,3\n", ":2 has 3 cells and the heading 2"),
    ("_step,loss\n", "has a heading and no row"),
    ("_step,loss,loss\n1,2,3\n", "the column 'loss' stands twice"),
    ("_step,loss\n,2\n", "says no step"),
    ("_step,loss\n1.5,2\n", "1.5 is no step"),
]


@pytest.mark.parametrize(("text", "sentence"), TABLES)
def test_what_is_no_export_of_wandb(tmp_path, text, sentence):
    assert sentence in refused("wandb-export", write(tmp_path / "x.csv", text))


def test_scores(tmp_path):
    rows = read_scores(write(tmp_path / "s.csv", "arm,seed,suite,score,step\na,0,math,0.5,10\n"))
    assert [row[:5] for row in rows] == [("a", 0, "math", 10, 0.5)]
    assert read_scores(write(tmp_path / "t.csv", "score\n0.5\n"))[0][:5] == (None, None, None, 1, 0.5)


SCORES = [
    ("arm,seed,score,lr\na,0,1,2\n", "the column 'lr' is unknown"),
    ("arm,seed,scores\na,0,1\n", "did you mean 'score'?"),
    ("arm,seed\na,0\n", "has no column score"),
    ("arm,seed,score\na,x,1\n", ":2: seed=x is no whole number"),
    ("arm,seed,score\n,1,1\n", ":2 says no arm"),
    ("arm,seed,score\na,1,\n", ":2: score=(empty) is no number"),
    ("arm,seed,score,step\na,1,1,-2\n", "step=-2 is no whole number"),
]


@pytest.mark.parametrize(("text", "sentence"), SCORES)
def test_what_is_no_table_of_scores(tmp_path, text, sentence):
    with pytest.raises(UserError) as error:
        read_scores(write(tmp_path / "s.csv", text))
    assert sentence in str(error.value)


def test_whatever_stands_in_a_file_is_read_or_refused(tmp_path):
    rng = random.Random(0)
    good = event(4, scalar("train/reward", 0.25), tensor("eval/eval_m_pass1", 0.5))
    state = (LOGS / "trl" / "seed0" / "trainer_state.json").read_bytes()
    outcomes = set()
    for trial in range(100):
        payload = bytearray(good)
        payload[rng.randrange(len(payload))] = rng.randrange(256)
        cut = bytes(payload[: rng.choice([len(payload), rng.randrange(1, len(payload))])])
        text = bytearray(state[: rng.randrange(1, 3000)])
        text[rng.randrange(len(text))] = rng.randrange(256)
        for source, name, content in (("verl", "tfevents", record(cut)), ("trl", "s.json", text), ("verl", "v", text)):
            try:
                read_log(source, [write(tmp_path / name, bytes(content))], incomplete=trial % 2 == 0)
                outcomes.add((name, "read"))
            except UserError:
                outcomes.add((name, "refused"))
    assert {("tfevents", "read"), ("tfevents", "refused"), ("s.json", "refused"), ("v", "refused")} <= outcomes
