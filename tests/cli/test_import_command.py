"""The words of `eprli-lab import`: taken as the field writes them and as this package does, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from eprli_lab.cli import importing
from eprli_lab.errors import UserError


def test_keys_in_three_spellings_flags_and_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a=b.json").write_text("{}")
    words = [
        "--from",
        "trl",
        "x.json",
        "--arm=a",
        "seed=1",
        "--replace",
        "a=b.json",
        "suite=m=eval/x",
        "--suite",
        "n=k",
    ]
    given = importing.parse(words)
    assert given.keys == {"from": "trl", "arm": "a", "seed": "1", "replace": "true"}
    assert given.files == ["x.json", "a=b.json"] and given.lists["suite"] == ["m=eval/x", "n=k"]
    assert importing.parse(["force=false"]).keys == {"force": "false"}


def refused(*words: str) -> str:
    with pytest.raises(UserError) as error:
        importing._import(list(words))
    return str(error.value)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--form trl f", "--form: unknown key (did you mean 'from'?)"),
        ("fom=trl f", "fom: unknown key (did you mean 'from'?)"),
        ("f --arm a --seed 0", "which trainer wrote them?"),
        ("--from tlr f", "from=tlr: is none of them (did you mean 'trl'?)"),
        ("--from trl --arm a --seed 0", "no file was named"),
        ("--from trl f --seed 0", "which arm?"),
        ("--from trl f --arm a", "which seed?"),
        ("--from trl f --arm a --seed x", "seed=x: a seed is a whole number"),
        ("--from trl f --arm a --seed 1,1", "a seed stands twice"),
        ("--from trl f --arm a --seed 0,1", "2 seeds and 1 files"),
        ("--from trl f --arm", "--arm: say its value"),
        ("--from trl f --arm --seed 0", "--arm: say its value"),
        ("--from trl f --arm a --arm b --seed 0", "arm: given twice"),
        ("--from trl f --arm a --seed 0 --suite x", "suite=x: write NAME=KEY"),
        ("--from trl f --arm a --seed 0 --suite x=a --suite x=b", "x has the key a already"),
        ("--from trl f --arm a --seed 0 force=maybe", "force=maybe: true or false"),
        ("--from csv f --score x", "score: has no meaning for a CSV"),
        ("--from csv f --suite x=y", "suite: has no meaning for a CSV"),
        ("--from csv f --seed 0,1", "a CSV of several seeds has a column seed"),
        ("--from trl f --arm a --seed 0", "f: there is no such file"),
    ],
)
def test_what_is_refused(tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    assert sentence in refused(*words.split())
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_two_tables_with_the_same_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.csv", "b.csv"):
        Path(name).write_text("arm,seed,score\nx,0,1\n")
    assert "a.csv, b.csv: both hold x seed 0" in refused("--from", "csv", "a.csv", "b.csv")
