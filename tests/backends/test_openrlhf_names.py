"""Names of vLLM against its sources: the installed ones, and a tree with planted breakages."""

from __future__ import annotations

import importlib.util
import shutil
import textwrap
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from eprli_lab.backends.openrlhf.engine_names import check_names
from eprli_lab.backends.openrlhf.engine_uses import RECEIVERS
from eprli_lab.backends.openrlhf.source_tree import SourceTree
from eprli_lab.cli.main import group
from eprli_lab.errors import UserError


def write(root: Path, **files: str) -> Path:
    """A package `lib` of these modules (`a__b` is a/b.py)."""
    for name, text in files.items():
        path = root / "lib" / (name.replace("__", "/") + ".py" if name != "init" else "__init__.py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return root


def test_names_are_found_through_imports_aliases_and_lazy_attributes(tmp_path):
    tree = SourceTree(
        write(
            tmp_path,
            init='MODULE_ATTRS = {"Engine": ".core:Engine"}\nfrom .other import make as build\n',
            core="from lib.other import Base\nclass Inner(Base):\n    size: int = 1\n    name: str\nEngine = Inner\n",
            other="""
                from typing import Literal
                Mode = Literal["keep", "abort"]
                class Base:
                    kind: Mode = "keep"
                    def __stop__(self): ...
                    async def stop(self, mode: Mode = "abort", *, tags=None): self.stopped = True
                def make(a, b, *rest, c): ...
            """,
        ),
        "lib",
    )
    engine = tree.find("lib.Engine")
    assert engine is not None and engine.place == "lib.core:2"
    assert tree.find("lib.build").place == "lib.other:8"
    assert tree.find("lib.Nothing") is None
    assert tree.member(engine, "stopped").module == "lib.other"
    assert tree.member(engine, "started") is None
    fields = tree.parameters(engine)
    assert list(fields.names) == ["kind", "size", "name"] and fields.positional == 3
    stop = tree.parameters(tree.member(engine, "stop"))
    assert list(stop.names) == ["mode", "tags"] and stop.positional == 1 and not stop.any_keyword
    assert tree.parameters(tree.find("lib.build")).positional == -1
    assert tree.literals(stop.names["mode"], "lib.other") == {"keep", "abort"}


def test_a_wheel_is_read_without_being_unpacked(tmp_path):
    root = write(tmp_path / "tree", init="x = 1", core="class Engine: ...")
    with zipfile.ZipFile(tmp_path / "lib-1.2-py3-none-any.whl", "w") as wheel:
        for file in (root / "lib").iterdir():
            wheel.write(file, f"lib/{file.name}")
        wheel.writestr("lib-1.2.dist-info/METADATA", "Name: lib")
    tree = SourceTree(tmp_path / "lib-1.2-py3-none-any.whl", "lib")
    assert tree.find("lib.core.Engine").place == "lib.core:1"
    assert tree.files() == ["lib", "lib.core"] and tree.version() == "1.2"


def test_what_holds_no_sources_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match="there are no sources of vllm"):
        SourceTree(tmp_path, "vllm")
    done = CliRunner().invoke(group, ["doctor", "--engine", str(tmp_path), "seed=1"])
    assert done.exit_code == 2


def sources(package: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"{package} is not installed")
    return Path(next(iter(found.submodule_search_locations)))


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed vLLM's Python files, to be broken. 38 MB."""
    sources("openrlhf")
    root = tmp_path_factory.mktemp("vllm")
    only = lambda directory, names: [n for n in names if "." in n and not n.endswith(".py")] + ["__pycache__"]
    shutil.copytree(sources("vllm"), root / "vllm", ignore=only)
    return root


def faults(root: Path | None) -> dict[str, str]:
    rows = check_names(SourceTree(root, "vllm"), SourceTree(None, "openrlhf"))
    assert len(rows) > 80
    return {row.name: row.fault for row in rows if row.fault}


def test_every_name_is_in_the_installed_engine():
    sources("vllm"), sources("openrlhf")
    assert faults(None) == {}


def test_what_is_read_off_the_sources_is_what_a_run_needs():
    sources("vllm"), sources("openrlhf")
    names = {row.name for row in check_names(SourceTree(None, "vllm"), SourceTree(None, "openrlhf"))}
    for field in (
        "model",
        "worker_extension_cls",
        "enable_sleep_mode",
        "logprobs_mode",
        "max_logprobs",
        "trust_remote_code",
    ):
        assert f"vllm.AsyncEngineArgs({field}=)" in names
    for field in (
        "n",
        "temperature",
        "max_tokens",
        "top_k",
        "min_p",
        "stop_token_ids",
        "seed",
        "logprobs",
        "output_kind",
    ):
        assert f"vllm.SamplingParams({field}=)" in names
    for method in ("generate", "sleep", "wake_up", "is_sleeping", "reset_prefix_cache", "collective_rpc"):
        assert f"vllm.AsyncLLMEngine.{method}" in names
    assert "vllm.AsyncLLMEngine.output_processor.get_num_unfinished_requests" in names
    assert "vllm.AsyncEngineArgs(bundle_indices=)" not in names, "OpenRLHF's actor keeps that one"
    assert {"worker method update_weight", "worker method digests", "vllm.utils.random_uuid"} <= names
    assert {"worker method forget", "vllm.sampling_params.RequestOutputKind.FINAL_ONLY"} <= names


@pytest.mark.parametrize(
    ("file", "old", "new", "name", "fault"),
    [
        ("sampling_params.py", "    stop_token_ids: ", "    stop_ids: ", "vllm.SamplingParams(stop_token_ids=)", "is no parameter"),
        ("engine/arg_utils.py", "    enable_sleep_mode: ", "    sleep_mode: ", "vllm.AsyncEngineArgs(enable_sleep_mode=)", "is no parameter"),
        ("v1/engine/async_llm.py", "def reset_prefix_cache(", "def clear_cache(", "vllm.AsyncLLMEngine.reset_prefix_cache", "is not there"),
        ("outputs.py", "    finish_reason: ", "    reason: ", "vllm.CompletionOutput.finish_reason", "is not there"),
        ("config/model.py", '"processed_logprobs"', '"final_logprobs"', "vllm.AsyncEngineArgs(logprobs_mode=)", "may not be 'processed_logprobs'"),
        ("v1/worker/gpu_worker.py", "    def sleep(", "    def update_weight(self): ...\n\n    def sleep(", "worker method update_weight", "worker already"),
        ("envs.py", "VLLM_RAY_BUNDLE_INDICES", "VLLM_BUNDLES", "VLLM_RAY_BUNDLE_INDICES", "is not there"),
        ("utils/__init__.py", "def random_uuid(", "def new_uuid(", "vllm.utils.random_uuid", "is not there"),
        ("v1/worker/gpu_worker.py", 'tag="kv_cache"', 'tag="cache"', "wake_up(tags=['kv_cache'])", "no such kind"),
        ("sampling_params.py", "    FINAL_ONLY = 2", "    LAST_ONLY = 2", "RequestOutputKind.FINAL_ONLY", "is not there"),
        ("distributed/device_communicators/pynccl.py", "self.disabled", "self.off", "PyNcclCommunicator.disabled", "is not there"),
        ("distributed/device_communicators/pynccl.py", "src: int, stream=None", "root: int, stream=None", "(src=)", "is no parameter"),
    ],
)  # fmt: skip
def test_a_planted_breakage_is_a_red_row(copied, file, old, new, name, fault):
    path = copied / "vllm" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    try:
        found = faults(copied)
    finally:
        path.write_text(text)
    matching = {k: v for k, v in found.items() if name in k}
    assert matching and all(fault in v for v in matching.values()), found


def test_a_module_that_is_laid_out_differently_is_a_red_row(tmp_path):
    vllm, openrlhf = sources("vllm"), sources("openrlhf")
    shutil.copytree(openrlhf, tmp_path / "openrlhf")
    path = tmp_path / "openrlhf" / "trainer" / "ray" / "vllm_engine.py"
    path.write_text(path.read_text().replace("self.llm", "self.engine"))
    rows = check_names(SourceTree(vllm.parent, "vllm"), SourceTree(tmp_path, "openrlhf"))
    found = [row for row in rows if row.fault]
    assert [(row.name, row.used) for row in found] == [("self.llm", "openrlhf.trainer.ray.vllm_engine")]
    assert any(expression == "self.llm" for _, expression in RECEIVERS)
