"""`eprli-lab verify`: one line a thing, and 0, 1 or 2."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from loops import run, trainer
from saved_runs import older_version, scripted, separate_levels

from eprli_lab.backends import manifest
from eprli_lab.cli.main import main
from eprli_lab.files import write_whole
from eprli_lab.training.run_id import write_run_id


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two levels with networks of their own, to its end."""
    where = tmp_path_factory.mktemp("verify") / "run"
    spec = separate_levels()
    run(spec, where, scripted())
    write_run_id(where, "0123", {})
    for name in ("spec.json", "prompts.json"):
        write_whole(where / name, "{}")
    trainer(spec, where, scripted()).store.seal()
    return where


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def lines(capsys: pytest.CaptureFixture[str], code: int, *words: object) -> list[str]:
    assert main(["verify", *map(str, words)]) == code
    return capsys.readouterr().out.splitlines()


def test_a_whole_run_has_a_line_a_thing(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = lines(capsys, 0, whole)
    things = [line.split()[1].removeprefix(f"{whole}/") for line in out[:-1]]
    assert [line.split()[0] for line in out[:-1]] == ["ok"] * len(things)
    assert things[0].startswith("checkpoint-") and things[1].startswith("checkpoint-") and things[2:] == [
        "policies/initial", "policies/level-l1", "ledger.jsonl", "outcomes.jsonl", "prompts.json", "run.json",
        "samples.jsonl", "spec.json",
    ]  # fmt: skip
    assert out[-1] == "all 10 things are good" and "  2 files, " in out[0] and "  1 file, 14 bytes" in out[2]


@pytest.mark.parametrize("file", ["ledger.jsonl", "run.json", "policies/level-l1/scripted.json", "manifest.json"])
def test_what_is_damaged_is_named(copy: Path, capsys: pytest.CaptureFixture[str], file: str) -> None:
    content = (copy / file).read_bytes()
    (copy / file).write_bytes(content[:9] + bytes([content[9] ^ 1]) + content[10:])
    out = lines(capsys, 1, copy)
    damaged = [line for line in out if line.startswith("DAMAGED")]
    assert (len(damaged) == 1 and file.split("/")[-1] in damaged[0]) or file.startswith("policies")
    assert damaged[0].split()[1].startswith(str(copy)) and out[-1].startswith("1 of ")


def test_a_checkpoint_and_a_model_by_themselves(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    older, newest = sorted(copy.glob("checkpoint-*"))
    assert lines(capsys, 0, older, newest, copy / "policies" / "initial")[-1] == "all 3 things are good"
    (older / "state.json").unlink()
    out = lines(capsys, 1, older, newest)
    assert out[0] == f"DAMAGED {older}  state.json is missing" and out[1].startswith("ok")


def test_a_run_under_way_is_judged_up_to_its_newest_checkpoint(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / manifest.NAME).unlink()
    with open(copy / "ledger.jsonl", "a") as file:
        file.write('{"half')
    assert any("ledger.jsonl" in line and "up to checkpoint-" in line for line in lines(capsys, 0, copy))
    (copy / "ledger.jsonl").write_bytes((copy / "ledger.jsonl").read_bytes()[30:])
    assert any(line.startswith("DAMAGED") and "ledger.jsonl" in line for line in lines(capsys, 1, copy))


def test_an_older_version_is_read(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = older_version(copy)
    assert lines(capsys, 0, checkpoint)[0].endswith("no manifest (of an older version), readable")
    (checkpoint / "scripted.json").write_text("{")
    assert "scripted.json is no JSON" in lines(capsys, 1, checkpoint)[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "usage: eprli-lab verify DIR"),
        (["nowhere"], "nowhere is no directory"),
        (["."], ". holds neither a run, nor a checkpoint, nor a model with a manifest.json"),
        (["--fix"], "--fix: there is no such option"),
    ],
)
def test_no_such_thing_is_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert lines(capsys, 2, *words) == []
    monkeypatch.undo()
    assert (main(["verify", *words]) == 2 and said in capsys.readouterr().err) or words == ["."]
