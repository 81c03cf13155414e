"""Shared fixtures, where tests run, and in which order."""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import omegaconf.omegaconf as omegaconf
import pytest

from eprli_lab import masking

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("EPRLI_LAB_EVALUATIONS", "0")  # a test that breaks the sampler leaves nothing to the next one

REPO = Path(__file__).resolve().parent.parent
LONGEST = (
    "test_openrlhf_whole_runs",
    "test_openrlhf_runs",
    "test_end_to_end",
    "test_sweeping_faults",
    "test_sweeping_launchers",
    "test_sweeping_workers",
)
# Rooms and files whose tests start processes, servers, browsers or whole studies: not in README's test command.
EXTENDED = (
    "integration", "fuzz", "importing", "test_studies", "test_runs", "test_calibrate", "test_gym", "test_sandbox",
    "test_analysis", "test_browser", "test_coverage", "test_damaged", "test_figures", "test_figures_page",
    "test_hostile_texts", "test_membership", "test_agreement", "test_soak", "test_sweeping_looks",
    "test_sweeping_plan", "test_sweeping_search", "test_away", "test_birth", "test_damaged_store", "test_mirrors",
    "test_damaged_runs",
)  # fmt: skip
LEFT_BEHIND = (
    "mlflow.db", "mlruns", "mlartifacts", "outputs", "multirun", "reports", "studies", "tensorboard", "trackio", "wandb",
)  # fmt: skip

with contextlib.suppress(ImportError):  # the environment of the OpenRLHF rehearsal has no hypothesis
    from hypothesis import HealthCheck, settings

    # No clock, and no files in the repository. HYPOTHESIS_PROFILE or pytest's --hypothesis-profile chooses.
    settings.register_profile("dev", deadline=None, database=None)
    settings.register_profile("ci", deadline=None, database=None, derandomize=True)  # the same cases every time
    settings.register_profile(
        "nightly",
        deadline=None,
        database=None,
        max_examples=int(os.environ.get("EPRLI_FUZZ_EXAMPLES", "3000")),
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session", autouse=True)
def _never_in_the_repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests that choose no directory of their own run in an empty one; what a run leaves in the repository is an error."""
    before = {name for name in LEFT_BEHIND if (REPO / name).exists()}
    started = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("elsewhere"))
    yield
    os.chdir(started)
    left = {name for name in LEFT_BEHIND if (REPO / name).exists()} - before
    assert not left, f"tests wrote into the repository: {sorted(left)}"


@pytest.fixture(scope="session", autouse=True)
def _every_config_file_is_parsed_once() -> Iterator[None]:
    """Hydra parses the same forty files for every config: half the time of a composition, of which tests make a thousand.

    Remembered by their text, so that a file that a test changes is read anew.
    """
    reader: Any = omegaconf.yaml
    known: dict[str, Any] = {}

    def load(stream: Any, **of_reader: Any) -> Any:
        text = stream if isinstance(stream, str) else stream.read()
        if text not in known:
            known[text] = reader.load(text, **of_reader)
        return copy.deepcopy(known[text])

    omegaconf.yaml = SimpleNamespace(**{**vars(reader), "load": load})
    yield
    omegaconf.yaml = reader


@pytest.fixture(autouse=True)
def _no_secret_of_another_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What one test remembers as a secret, here and for the processes below, is unknown to the next."""
    monkeypatch.setattr(masking, "_known", set())
    before = set(os.environ)
    yield
    for variable in set(os.environ) - before:
        if variable.startswith("EPRLI_URI_"):
            del os.environ[variable]


@pytest.fixture(autouse=True)
def _no_store_of_another_test() -> Iterator[None]:
    """MLflow sets its variable by itself, and it would be the next test's default store."""
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        os.environ.pop(variable, None)
    yield
    os.environ.pop("MLFLOW_TRACKING_URI", None)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real problem sets that live beside the repository and are never committed."""
    path = REPO.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("the real data sets (../shared/data) are not on this machine")
    return path


def rest_exhaustive(cases: Sequence[Any], always: int = 1) -> list[Any]:
    """Parameters of a test: the first ones are always tried, the others by `-m exhaustive`."""
    values = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [pytest.param(*v, marks=[] if n < always else [pytest.mark.exhaustive]) for n, v in enumerate(values)]


def is_extended(path: Path, named: Sequence[Path]) -> bool:
    """Is this file of tests one of `make extended`? Not where it, or its room, was named on the command line."""
    by_name = any(p == path or (p in path.parents and REPO / "tests" in p.parents) for p in named)
    return not by_name and (path.stem in EXTENDED or path.parent.name in EXTENDED)


def pytest_configure(config: pytest.Config) -> None:
    """With several processes (`-n`): a file stays in one, because its tests share what takes long to make."""
    if getattr(config.option, "dist", "no") in ("load", "loadfile"):
        config.option.dist = "loadfile"
        config.option.loadscopereorder = False  # in the order below


def _named(config: pytest.Config) -> list[Path]:
    return [config.invocation_params.dir / argument.partition("::")[0] for argument in config.args]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A file of which README's command, or `make extended`, would leave out every test is not even imported."""
    if not (collection_path.is_file() and collection_path.name.startswith("test_")):
        return None
    left_out = {"not exhaustive and not extended": True, "extended and not exhaustive": False}
    return True if left_out.get(config.option.markexpr) is is_extended(collection_path, _named(config)) else None


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is exhaustive is slow; what takes longest comes first, so that all processes end at the same time."""
    named = _named(config)
    for item in items:
        if is_extended(item.path, named):
            item.add_marker("extended")
        if item.get_closest_marker("exhaustive") or item.get_closest_marker("extended"):
            item.add_marker("slow")
    slow = {item.path for item in items if item.get_closest_marker("slow")}

    def rank(item: pytest.Item) -> tuple[int, bool]:
        stem = item.path.stem
        return LONGEST.index(stem) if stem in LONGEST else len(LONGEST), item.path not in slow

    items.sort(key=rank)
