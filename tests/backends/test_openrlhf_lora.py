"""LoRA on OpenRLHF: its flags, and in the rehearsal what the engines hold, what is saved, what is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sessions import REHEARSAL, Session, settings

from eprli_lab.backends.openrlhf.engine import initial_policy
from eprli_lab.backends.openrlhf.flags import flags, refuse_unsupported
from eprli_lab.config.compose import compose_spec
from eprli_lab.errors import UserError

LORA = "model.lora={rank: 4, alpha: 16}"


def test_flags_say_what_the_spec_says() -> None:
    found = {f[0]: f[1:] for f in flags(compose_spec([*REHEARSAL, LORA]), "policy", ".")}
    assert found["--ds.lora.rank"] == ("4",) and found["--ds.lora.alpha"] == ("16",)
    assert "--ds.lora.target_modules" not in found and "--ds.lora.dropout" not in found
    two = compose_spec([*REHEARSAL, "model.lora={rank: 4, targets: [q_proj, v_proj]}"])
    assert ("--ds.lora.target_modules", "q_proj", "v_proj") in flags(two, "policy", ".")
    assert not any("lora" in f[0] for f in flags(compose_spec(REHEARSAL), "policy", "."))


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ([LORA, "backend.zero_stage=3"], r"backend\.zero_stage: with model\.lora .* set 2"),
        (["model.lora={rank: 4, merged: true}"], r"model\.lora\.merged: .*lora_combiner"),
        ([LORA, "backend.flags=['--ds.lora.rank 8']"], r"--ds\.lora\.rank 8 is set by the run's own config"),
    ],
)
def test_what_openrlhf_cannot_do_is_refused(more: list[str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        refuse_unsupported(compose_spec([*REHEARSAL, *more]))


@pytest.mark.parametrize(
    ("lora", "sentence"),
    [
        ("{rank: 4, targets: [query]}", r"model\.lora\.targets: query is no linear module .*q_proj"),
        ("{rank: 1024}", r"model\.lora\.rank: 1024 is more than the rank of model\.layers\.0\.self_attn\.k_proj"),
    ],
)
def test_adapters_that_the_model_cannot_have_are_refused_before_anything_starts(
    lora: str, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=sentence):
        initial_policy(compose_spec([*REHEARSAL, f"model.lora={lora}"]), tmp_path)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_the_rehearsal_trains_adapters_and_the_engines_hold_them_merged(tmp_path: Path) -> None:
    pytest.importorskip("openrlhf", reason="OpenRLHF is not installed in this environment")
    session = Session(tmp_path / "session", LORA, "algorithm.kl_coef=0.01", "backend.start_seconds=900")
    try:
        actor, (engine,) = session.digests()
        assert actor == engine and not any("lora" in name or "base_" in name for name in actor)
        how = settings(session.spec)
        for seed in range(2):
            terms = session.backend.update(session.batch(seed), how)
            assert terms.mismatch_kl is not None and terms.mismatch_kl < 1e-3
        assert terms.kl_ref is not None and terms.kl_ref > 0.0
        moved, (engine,) = session.digests()
        assert moved == engine
        changed = {name for name in moved if moved[name] != actor[name]}
        assert changed and all("proj" in name for name in changed), "only what has an adapter moves"
        saved = tmp_path / "saved"
        saved.mkdir()
        session.backend.save(saved)
        names = {p.name for p in (saved / "policy").iterdir()}
        assert {"adapter_model.safetensors", "adapter_config.json"} <= names and "model.safetensors" not in names
        work = session.batch(3)
        first = session.backend.update(work, how)
        after = session.digests()
        session.backend.load(saved)
        back, (engine,) = session.digests()
        assert back == engine == moved
        again = session.backend.update(work, how)
        assert session.digests() == after and replace(again, phases=()) == replace(first, phases=())
    finally:
        session.backend.close()
