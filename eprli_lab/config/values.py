"""Values that no run can keep, found in a plain tree before anything reads it: one sentence with the key."""

from __future__ import annotations

import math
from typing import Any

from eprli_lab.errors import UserError, shortened

LARGEST = 2**63 - 1  # of whole numbers: what seeds, tensors and databases take
DEEPEST = 32  # nodes in nodes


def check_values(tree: Any, path: str = "", depth: int = 0) -> None:
    """Raises UserError for a number beyond 64 bits, infinity, NaN, a text that no file takes, too deep a nesting.

    Parts of a config that this package only hands on (`model.config`, `prompts.arguments`) have no other check. `path`:
    the dotted key of `tree`.
    """
    if depth > DEEPEST:
        raise UserError(f"{shortened(path)}: nodes are nested more than {DEEPEST} deep: leave some out")
    if isinstance(tree, dict):
        for key, value in tree.items():
            if not isinstance(key, str):
                raise UserError(f"{shortened(path) or 'config'}: {key!r} is no name: write it in quotes, '{key}'")
            _check_text(f"a name in {shortened(path) or 'the config'}", key)
            check_values(value, f"{path}.{key}" if path else key, depth + 1)
    elif isinstance(tree, list | tuple):
        for value in tree:
            check_values(value, path, depth + 1)
    elif isinstance(tree, str):
        _check_text(shortened(path), tree)
    elif isinstance(tree, float) and not math.isfinite(tree):
        raise UserError(f"{shortened(path)}: should be a finite number, not {tree}")
    elif isinstance(tree, int) and not -LARGEST - 1 <= tree <= LARGEST:
        raise UserError(f"{shortened(path)}: is beyond 64 bits: take a number of at most {LARGEST}")


def _check_text(where: str, text: str) -> None:
    if "\0" in text:
        raise UserError(f"{where}: holds a null character, which neither files nor databases take: leave it out")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError(f"{where}: holds half a surrogate pair, so it is no text in UTF-8: write it as such") from None
