"""What Hydra itself keeps of a command holds no credential, whether the command line or a YAML file gave it."""

from __future__ import annotations

import os
from pathlib import Path

from plans import own_sweep

from eprli_lab import masking
from eprli_lab.cli.run import main

PASSWORD = "Haferschleim4"


def test_the_files_of_hydra_hold_masked_uris(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(masking, "_known", set())
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.chdir(tmp_path)
    own_sweep(tmp_path, "    a: {}\n", common=f"tracking:\n  uri: http://ann:{PASSWORD}@127.0.0.1:1\n")
    kept = ["hydra.output_subdir=kept"]
    assert main(["sweep=mine", f"study.storage=postgresql://ann:{PASSWORD}@127.0.0.1/lab", *kept]) == 2
    assert "is a sweep of several runs" in capsys.readouterr().err
    texts = {file.name: file.read_text() for file in (tmp_path / "kept").glob("*.yaml")}
    assert texts.keys() == {"config.yaml", "hydra.yaml", "overrides.yaml"}
    assert not [name for name, text in texts.items() if PASSWORD in text]
    assert "uri: http://ann:***@127.0.0.1:1" in texts["config.yaml"]
    assert "study.storage='postgresql://ann:***@127.0.0.1/lab'" in texts["overrides.yaml"]
