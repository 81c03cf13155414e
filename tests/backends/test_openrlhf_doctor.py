"""`eprli-lab doctor` in the rehearsal: every row green, and a red one for each planted breakage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

pytest.importorskip("openrlhf", reason="OpenRLHF is not installed in this environment")


from eprli_lab.backends.openrlhf.engine import OpenRLHFBackend
from eprli_lab.cli.main import group
from eprli_lab.training.doctor import examine
from eprli_lab.training.doctor_finding import Finding

pytestmark = pytest.mark.slow
WORDS = ["backend=openrlhf_cpu", "backend.start_seconds=900"]  # a busy machine is no fault


# These two come first: each starts, and ends, a Ray of its own.


@pytest.mark.exhaustive
def test_an_engine_that_is_refused_at_its_start_is_a_red_row_by_its_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(OpenRLHFBackend, "broadcast", lambda self: None)
    shown: list[Finding] = []
    found = examine(WORDS, shown.append)
    assert shown == found
    assert [f.check for f in found if f.verdict == "FAULT"] == ["broadcast"]
    assert found[-1].check == "runs" and found[-1].verdict == "-"


@pytest.mark.exhaustive
def test_every_row_is_green(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done: Any = CliRunner().invoke(group, ["doctor", *WORDS])
    assert done.exit_code == 0, done.output
    assert "FAULT" not in done.output and "byte for byte" in done.output
    assert "start: broadcast" in done.output and "names of vLLM" in done.output
