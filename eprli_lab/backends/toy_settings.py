"""Settings that are right for the package's toys and wrong for a real model, named before the start."""

from __future__ import annotations

from eprli_lab.backends.model_shape import shape_of
from eprli_lab.config.spec import RunSpec

SMALLEST = 10e6  # parameters from which a model is no toy
RATES = {False: 1e-4, True: 1e-3}  # with adapters? -> the highest learning rate that is usual
SHORTEST = 128  # tokens in which a real model can say something
FEWEST = {"tokens": 1e6, "updates": 20.0, "seconds": 600.0}  # budget in which anything can be seen


def toy_settings(spec: RunSpec) -> list[str]:
    """A sentence for each; empty for a model below 10 M parameters, or of unknown size."""
    shape = shape_of(spec.model)
    if shape is None or shape.parameters < SMALLEST:
        return []
    size = f"a model of {shape.parameters / 1e6:,.0f} M parameters"
    adapters = getattr(spec.model, "lora", None) is not None
    out = []
    if spec.optim.learning_rate > RATES[adapters]:
        usual = "1e-5 to 1e-4 with adapters" if adapters else "1e-6 to 1e-5 where all weights are trained"
        out.append(f"optim.learning_rate {spec.optim.learning_rate:g} will ruin {size}: {usual}")
    limits = {f"curriculum.levels.{n}": lv.max_response_tokens for n, lv in spec.curriculum.levels.items()}
    limits["evaluation"] = spec.evaluation.max_response_tokens
    short = [f"{key}.max_response_tokens {limit}" for key, limit in limits.items() if limit < SHORTEST]
    if short:
        out.append(f"{', '.join(short)}: {size} writes longer than that, and what is cut off is wrong: 1024 or more")
    least = FEWEST[spec.budget.unit]
    if spec.budget.amount < least:
        out.append(
            f"budget.amount {spec.budget.amount:g} {spec.budget.unit}: {size} shows nothing before about {least:g}"
        )
    return out
