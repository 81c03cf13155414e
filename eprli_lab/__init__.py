"""EPRLI Lab: ablations of GRPO with a hierarchical difficulty curriculum (arXiv 2508.01604)."""

__version__ = "0.2.0.dev0"
