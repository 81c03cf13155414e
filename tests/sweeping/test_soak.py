"""A bounded soak: benchmarks/soak.py with a few hundred runs, and proof that it would see a broken study."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest
from conftest import REPO

from eprli_lab.sweeping.leases import Presence
from eprli_lab.sweeping.study import Study


@pytest.fixture(scope="module")
def soak() -> ModuleType:
    spec = importlib.util.spec_from_file_location("soak", REPO / "benchmarks" / "soak.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["soak"] = module  # its dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_three_hundred_runs_under_chaos_are_each_there_once(soak: ModuleType) -> None:
    report = soak.soak(0, 300)
    assert "= 300 runs on 4 machines" in report
    for event in ("process killed", "process stopped", "full disk seen", "lease lost", "killed within a line"):
        assert event in report


@pytest.mark.slow
def test_the_soak_sees_a_result_booked_by_who_lost_its_lease(soak: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Study, "_check_held", lambda self, task: None)
    with pytest.raises(Exception):  # noqa: B017  (an invariant, or Optuna's own refusal)
        soak.soak(0, 300)


@pytest.mark.slow
def test_the_soak_sees_runs_that_nobody_takes_over(soak: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Presence, "is_stale", lambda self, identity: False)
    monkeypatch.setattr(soak, "MAX_TURNS", 1000)
    with pytest.raises(AssertionError, match="does not end"):
        soak.soak(0, 60)
