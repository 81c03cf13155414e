"""The final policy of a run as a model that `mlflow.transformers.load_model` opens: its checkpoint and an MLmodel file.

The layout is MLflow's transformers flavor, written by hand: MLflow's own `save_model` imports torch, loads the model
once more and asks a package index what it needs. Weights are the checkpoint's safetensors, nothing is pickled.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eprli_lab.errors import UserError
from eprli_lab.files import write_whole

if TYPE_CHECKING:
    from eprli_lab.config.spec import RunSpec
    from eprli_lab.tracking.run import RunTracker

FOLDER = "model"  # of the run's artifacts
WEIGHTS = (".safetensors", ".safetensors.index.json")
OF_THE_MODEL = ("config.json", "generation_config.json")
NEEDED = ("transformers", "torch", "safetensors", "accelerate")


def register_policy(spec: RunSpec, directory: Path, checkpoint: Path, tracker: RunTracker) -> None:
    """Attach the policy of `checkpoint` to the run and make it a version of `tracking.register`.

    Raises UserError when the checkpoint holds no model that transformers opens.
    """
    assert spec.tracking.register is not None
    policy = checkpoint / ("merged" if spec.model.lora is not None else "policy")
    files = sorted(f for f in policy.iterdir() if f.is_file() and f.name != "manifest.json") if policy.is_dir() else []
    if not any(f.name.endswith(WEIGHTS) for f in files) or not (policy / "config.json").is_file():
        raise UserError(
            f"tracking.register: {policy} holds no config.json with safetensors beside it, so there is no model to "
            "register: leave it out"
        )
    described = directory / "registered"
    described.mkdir(exist_ok=True)
    write_whole(described / "MLmodel", json.dumps(_mlmodel(spec, policy), indent=1) + "\n")  # JSON is YAML
    write_whole(described / "requirements.txt", "\n".join(_requirements()) + "\n")
    for name in ("MLmodel", "requirements.txt"):
        tracker.artifact(described / name, FOLDER)
    for file in files:
        is_model = file.name.endswith(WEIGHTS) or file.name in OF_THE_MODEL
        tracker.artifact(file, f"{FOLDER}/model" if is_model else f"{FOLDER}/components/tokenizer")
    tracker.artifact(policy / "config.json", f"{FOLDER}/components/tokenizer")  # AutoTokenizer reads the model's type
    tracker.register(spec.tracking.register, FOLDER)


def _mlmodel(spec: RunSpec, policy: Path) -> dict[str, Any]:
    config = json.loads((policy / "config.json").read_text(encoding="utf-8"))
    flavor = {
        "transformers_version": metadata.version("transformers"),
        "task": "text-generation",
        "instance_type": "TextGenerationPipeline",
        "pipeline_model_type": config["architectures"][0],
        "source_model_name": spec.model.name,
        "model_binary": "model",
        "torch_dtype": f"torch.{spec.model.dtype}",
        "components": ["tokenizer"],
        "tokenizer_type": "AutoTokenizer",
    }
    return {
        "artifact_path": FOLDER,
        "flavors": {"transformers": flavor},
        "mlflow_version": metadata.version("mlflow"),
        "utc_time_created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
        "metadata": {"fingerprint": spec.fingerprint(), "study": spec.study, "arm": spec.arm, "seed": spec.seed},
    }


def _requirements() -> list[str]:
    """Versions as they are here; a local build's name (+cpu) is no version of an index."""
    out = []
    for name in NEEDED:
        try:
            out.append(f"{name}=={metadata.version(name).partition('+')[0]}")
        except metadata.PackageNotFoundError:
            continue
    return out
