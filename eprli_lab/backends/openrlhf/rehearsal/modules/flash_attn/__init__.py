"""Stands in for flash-attn where there is no GPU: OpenRLHF imports it whether it is used or not."""

__version__ = "0.0.0"
