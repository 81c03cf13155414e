"""EPRLI Lab: ablations of GRPO with a hierarchical difficulty curriculum (arXiv 2508.01604).

The functions of the Python interface (docs/api.md) are here; each is imported when it is first asked for, so that
`import eprli_lab` costs nothing. Their types are in `__init__.pyi`.
"""

__version__ = "0.2.0.dev0"

_INTERFACE = (
    "AblationTable",
    "RunResult",
    "Study",
    "ablation_table",
    "compose",
    "figures",
    "load_study",
    "run_sweep",
    "train",
)


def __getattr__(name: str) -> object:
    if name not in _INTERFACE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("eprli_lab.api"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_INTERFACE])
