"""`eprli-lab doctor` in the rehearsal: every row green, and a red one for each planted breakage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sessions import Session

pytest.importorskip("openrlhf", reason="OpenRLHF is not installed in this environment")

from test_openrlhf_faults import FAULTS, mend, plant

from eprli_lab.backends.openrlhf.engine import OpenRLHFBackend
from eprli_lab.cli.main import group
from eprli_lab.training.doctor import examine
from eprli_lab.training.doctor_engine import _Engine
from eprli_lab.training.doctor_finding import Finding

pytestmark = pytest.mark.slow
WORDS = ["backend=openrlhf_cpu", "backend.start_seconds=900"]  # a busy machine is no fault


# These two come first: each starts, and ends, a Ray of its own.


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


def test_every_row_is_green(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done: Any = CliRunner().invoke(group, ["doctor", *WORDS])
    assert done.exit_code == 0, done.output
    assert "FAULT" not in done.output and "byte for byte" in done.output
    assert "start: broadcast" in done.output and "names of vLLM" in done.output


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    made = Session(tmp_path_factory.mktemp("session"))
    yield made
    made.backend.close()


def red(session: Session, directory: Path) -> list[str]:
    """Names of the checks of the running engine that found a fault."""
    found = list(_Engine(session.spec, session.backend, session.problems[:8], directory).checks())
    assert all(f.advice for f in found if f.verdict == "FAULT")
    return [f.check for f in found if f.verdict == "FAULT"]


def test_a_sound_engine_has_no_red_row(session: Session, tmp_path: Path) -> None:
    assert red(session, tmp_path) == []


@pytest.mark.parametrize(
    ("fault", "row"),
    [("one of n samples", "whole groups"), ("another temperature", "mismatch")],
    ids=["samples", "colder"],
)
def test_a_fault_of_the_engine_is_a_red_row(session: Session, tmp_path: Path, fault: str, row: str) -> None:
    (engine,) = session.backend.engines.rollout
    plant(engine, FAULTS[fault][0])
    try:
        assert red(session, tmp_path)[0] == row
    finally:
        plant(engine, mend)


def test_a_broadcast_that_does_nothing_is_a_red_row(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(session.backend, "broadcast", lambda: None)
        assert "weights arrive" in red(session, tmp_path)
    session.backend.broadcast()
