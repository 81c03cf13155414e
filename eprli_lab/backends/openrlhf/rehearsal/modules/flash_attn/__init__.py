"""In the place of flash-attn where there is no GPU: its padding helpers, and nothing that needs a kernel."""

__version__ = "0.0.0"
