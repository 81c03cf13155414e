"""Where a policy comes from: tokenizer, cache between processes, refused paths."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eprli_lab.backends.local.model import check_asset
from eprli_lab.backends.local.policy import load_policy
from eprli_lab.backends.local.tokenizer import (
    BOXED,
    CHARACTERS,
    SIZE,
    CharacterTokenizer,
    build_tokenizer,
    vocabulary,
)
from eprli_lab.config.data import ModelSpec
from eprli_lab.config.paths import ASSETS_DIR
from eprli_lab.errors import UserError

TOKENIZER = build_tokenizer()


@given(st.lists(st.sampled_from([BOXED, *CHARACTERS]), max_size=40).map("".join))
def test_text_survives_the_tokenizer(text):
    ids = TOKENIZER.encode(text, add_special_tokens=False)
    assert TOKENIZER.decode(ids) == text
    assert len(ids) == len(text) - (len(BOXED) - 1) * text.count(BOXED)
    assert all(3 <= i < SIZE for i in ids)


def test_an_unknown_hub_id_is_refused_with_a_sentence():
    with pytest.raises(UserError, match=r"model\.path: no-such-owner/no-such-model cannot be loaded") as error:
        load_policy(ModelSpec(name="x", path="no-such-owner/no-such-model"), None)
    assert "\n" not in str(error.value)


TRAIN = """
from eprli_lab.backends.local.policy import load_policy
from eprli_lab.config.compose import compose_spec
model = compose_spec([]).model
short = model.warmstart.model_copy(update={"steps": 3, "noisy_steps": 1, "batch": 8})
load_policy(model.model_copy(update={"name": "short", "warmstart": short}), "mod10")
"""


@pytest.mark.slow
@pytest.mark.exhaustive
def test_two_processes_at_once_make_one_warm_start(tmp_path, monkeypatch):
    environment = {**os.environ, "EPRLI_LAB_CACHE": str(tmp_path), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen([sys.executable, "-c", TRAIN], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    done = [(*p.communicate(timeout=120), p.returncode) for p in started]
    assert [code for *_, code in done] == [0, 0], done
    assert sum(out.decode().count("making it once") for out, *_ in done) == 1
    assert len([p for p in (tmp_path / "warmstart").iterdir() if p.is_dir()]) == 1  # no half-made one is left
    (made,) = (p for p in (tmp_path / "warmstart").iterdir() if p.is_dir())
    weights = made / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-2] + b"\0\1")
    monkeypatch.setenv("EPRLI_LAB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=rf"safetensors is not what was written: remove {made}: it is made again"):
        exec(TRAIN, {})


def test_a_shipped_policy_that_was_changed_is_refused(tmp_path):
    for name in sorted(p.name for p in ASSETS_DIR.iterdir() if (p / "provenance.json").is_file()):
        check_asset(ASSETS_DIR / name)
    asset = shutil.copytree(ASSETS_DIR / "mod10", tmp_path / "mod10")
    content = (asset / "model.safetensors").read_bytes()
    (asset / "model.safetensors").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match=r"mod10/model\.safetensors is not what was made: remove .*mod10: it is made"):
        check_asset(asset)


def test_the_text_alphabet_says_what_it_is_given_and_keeps_the_ids_of_none() -> None:
    whole, light = build_tokenizer("text"), CharacterTokenizer("text")
    text = "What is 3 * (4 - 1)?\nAnswer: \\boxed{9} ~"
    ids = whole.encode(text, add_special_tokens=False)
    assert whole.decode(ids) == text and light.encode(text) == ids
    assert ids.count(3) == 1 and max(ids) == 99 and len(vocabulary("text")) == 104
    assert len(ids) == len(text) - len("\\boxed{") + 1
