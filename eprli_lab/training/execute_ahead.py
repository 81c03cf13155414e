"""What a run on the local engine imports, for a worker that has nothing else to do yet: seconds of its first run."""

from importlib import import_module

for module in (
    "mlflow.tracking",
    "pyarrow.parquet",
    "transformers.models.qwen3.modeling_qwen3",
    "eprli_lab.backends.local.engine",
    "eprli_lab.grading.grader",
    "eprli_lab.tracking.send",
    "eprli_lab.training.loop",
    "eprli_lab.training.problems",
    "eprli_lab.training.prompts",
):
    import_module(module)
