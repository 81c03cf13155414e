"""Processes that do not import the user's main module."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

_IDENTITY = ("__spec__", "__file__")


@contextlib.contextmanager
def main_module_hidden() -> Iterator[None]:
    """A process spawned inside imports no main module: a script without `if __name__ == "__main__"` runs once.

    Python's multiprocessing would import it in the child, by `__spec__` or `__file__`. Both are put back afterwards.
    """
    names = sys.modules["__main__"].__dict__
    kept = {key: names[key] for key in _IDENTITY if key in names}
    names.update(dict.fromkeys(kept))
    try:
        yield
    finally:
        names.update(kept)
