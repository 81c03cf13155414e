"""Shared fixtures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

REPO = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real problem sets that live beside the repository and are never committed."""
    path = REPO.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("the real data sets (../shared/data) are not on this machine")
    return path


# Files that start, kill and race real processes by the clock: on a loaded machine one of them gets a second try.
BY_THE_CLOCK = ("test_end_to_end", "test_sweeping_", "test_tracking", "test_verify", "test_difficulty")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.stem.startswith(BY_THE_CLOCK):
            item.add_marker(pytest.mark.flaky(reruns=1))
