"""Pickles, damaged safetensors, NaN: one sentence each, and nothing is executed or half loaded."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from engines import backend, batch, same, settings, weights
from safetensors.torch import load_file, save_file

from eprli_lab.backends import manifest
from eprli_lab.backends.local.policy import load_policy
from eprli_lab.backends.tensors import disk_errors, read_tensors
from eprli_lab.config.data import ModelSpec
from eprli_lab.errors import UserError

MODEL, MOMENTS, STEPS = "policy/model.safetensors", "optimizer.safetensors", "optimizer.json"


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


def rewrite(path: Path, change: Callable[[dict], object]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, {"format": "pt"})


def first(tensors: dict, value: object) -> None:
    tensors[sorted(tensors)[0]] = value


DAMAGES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "pickle": (MODEL, lambda p: p.write_bytes(pickle.dumps(Bomb())), "is a pickle, which is never read"),
    "torch.save": (MODEL, lambda p: torch.save({"a": torch.ones(2)}, p), "is a pickle, which is never read"),
    "moments pickle": (MOMENTS, lambda p: p.write_bytes(pickle.dumps(Bomb())), "is a pickle, which is never read"),
    "empty": (MODEL, lambda p: p.write_bytes(b""), "it is empty"),
    "cut": (MODEL, lambda p: p.write_bytes(p.read_bytes()[:-1]), "and its header speaks of"),
    "longer": (MOMENTS, lambda p: p.write_bytes(p.read_bytes() + b"\0"), "and its header speaks of"),
    "header": (MODEL, lambda p: p.write_bytes(p.read_bytes()[:8] + b"x" + p.read_bytes()[9:]), "a damaged header"),
    "dtype of header": (
        MODEL,
        lambda p: p.write_bytes(p.read_bytes().replace(b'"F32"', b'"F99"', 1)),
        "it is damaged or half-written",
    ),
    "gone": (MOMENTS, lambda p: p.unlink(), "optimizer.safetensors is missing"),
    "folder": (MOMENTS, lambda p: (p.unlink(), p.mkdir()), "optimizer.safetensors is no file"),
    "NaN": (
        MODEL,
        lambda p: rewrite(p, lambda t: first(t, t[sorted(t)[0]] * float("nan"))),
        "holds NaN or an infinity",
    ),
    "infinite": (MOMENTS, lambda p: rewrite(p, lambda t: t["0.exp_avg"].fill_(torch.inf)), "holds NaN or an infinity"),
    "missing": (MODEL, lambda p: rewrite(p, lambda t: t.pop(sorted(t)[0])), "is missing: the checkpoint is of another"),
    "whole numbers": (
        MODEL,
        lambda p: rewrite(p, lambda t: first(t, t[sorted(t)[0]].long())),
        "numbers of another kind",
    ),
    "other moments": (MOMENTS, lambda p: rewrite(p, lambda t: t.pop("0.exp_avg")), "has not the moments of the steps"),
    "half moments": (
        MOMENTS,
        lambda p: rewrite(p, lambda t: t.update({"0.exp_avg": t["0.exp_avg"].half()})),
        "numbers of another kind",
    ),
    "steps forgotten": (STEPS, lambda p: p.write_text('{"steps": {}}'), "has not the moments of the steps"),
    "no steps": (STEPS, lambda p: p.write_text("[1]"), "no steps of an optimizer"),
    "no JSON": (STEPS, lambda p: p.write_text("{"), "is damaged (not JSON)"),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, Path]:
    engine = backend()
    engine.update(batch(engine), settings())
    where = tmp_path_factory.mktemp("saved") / "checkpoint"
    where.mkdir()
    engine.save(where)
    return engine, where


@pytest.mark.slow
@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_checkpoint_is_one_sentence_and_loads_nothing(saved: tuple, tmp_path: Path, name: str) -> None:
    engine, whole = saved
    where, (file, damage, said) = tmp_path / "c", DAMAGES[name]
    shutil.copytree(whole, where)
    damage(where / file)
    before = weights(engine)
    with pytest.raises(UserError) as caught:
        engine.load(where)
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert same(before, weights(engine))


@pytest.mark.slow
def test_a_model_directory_is_refused_where_it_is_a_pickle_or_not_what_was_saved(saved: tuple, tmp_path: Path) -> None:
    where = tmp_path / "m"

    def refusal(change: Callable[[Path], object]) -> str:
        shutil.rmtree(where, ignore_errors=True)
        shutil.copytree(saved[1] / "policy", where)
        manifest.write_manifest(where, {"kind": "policy"})
        change(where)
        with pytest.raises(UserError) as caught:
            load_policy(ModelSpec(name="m", path=str(where)), None)
        return str(caught.value)

    def as_pickle(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))

    def without_manifest(change: Callable[[dict], object]) -> Callable[[Path], None]:
        def work(folder: Path) -> None:
            (folder / manifest.NAME).unlink()
            rewrite(folder / "model.safetensors", change)

        return work

    assert f"{where}/pytorch_model.bin is a pickle, which can execute anything and is never read" in refusal(as_pickle)
    changed = refusal(lambda folder: (folder / "config.json").write_text("{}"))
    assert changed == (
        f"{where}/config.json has 2 bytes, {(saved[1] / 'policy' / 'config.json').stat().st_size} were written: copy the "
        f"model once more, or remove {where}/manifest.json if the change is yours"
    )
    name = sorted(load_file(saved[1] / MODEL))[-1]
    assert f"lacks the tensor {name}" in refusal(without_manifest(lambda t: t.pop(name)))
    assert f"the tensor {name} holds NaN" in refusal(without_manifest(lambda t: t[name].fill_(torch.nan)))
    load_policy(ModelSpec(name="m", path=str(saved[1] / "policy")), None)


def test_a_manifest_names_what_changed(tmp_path: Path) -> None:
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "a.json").write_text("1")
    (tmp_path / "b.json").write_text("[2]")
    manifest.write_manifest(tmp_path, {"step": 3}, ("policy",))
    content = manifest.read_manifest(tmp_path)
    assert content is not None and content["step"] == 3 and manifest.faults(tmp_path, content) == []
    assert set(content["files"]) == {"b.json", "policy/a.json", "policy/manifest.json"}
    assert manifest.is_whole(tmp_path / "policy")
    (tmp_path / "b.json").write_text("[3]")
    (tmp_path / "policy" / "a.json").unlink()
    (tmp_path / "extra.bin").write_text("")
    (tmp_path / ".hidden").write_text("a file browser's")
    assert manifest.faults(tmp_path, content) == [
        f"{tmp_path}/policy/a.json is missing",
        f"{tmp_path}/b.json is not what was written",
        f"{tmp_path}/extra.bin was not written with it",
    ]
    text = (tmp_path / manifest.NAME).read_text()
    (tmp_path / manifest.NAME).write_text(text.replace('"step": 3', '"step": 4'))
    with pytest.raises(manifest.DamagedError, match=r"manifest\.json is damaged"):
        manifest.read_manifest(tmp_path)


def test_a_folder_takes_its_place_whole_or_not_at_all(tmp_path: Path) -> None:
    final = tmp_path / "initial"
    with pytest.raises(OSError, match="full"), manifest.new_folder(final) as half:
        (half / "a").write_text("1")
        raise OSError(28, "full")
    assert list(tmp_path.iterdir()) == []
    for content in ("1", "2"):
        with manifest.new_folder(final) as half:
            (half / "a").write_text(content)
        assert manifest.is_whole(final) and (final / "a").read_text() == content


def test_a_full_disk_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), disk_errors(tmp_path):
        save_file({"a": torch.ones(2)}, tmp_path / "nowhere" / "a.safetensors")
    assert json.dumps({k: v.tolist() for k, v in read_tensors(_written(tmp_path)).items()}) == '{"a": [1.0, 1.0]}'


def _written(folder: Path) -> Path:
    save_file({"a": torch.ones(2)}, folder / "a.safetensors")
    return folder / "a.safetensors"
