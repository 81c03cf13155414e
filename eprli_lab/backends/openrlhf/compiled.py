"""DeepSpeed's operators that are compiled at the first start: what a killed process left behind stops every later one.

torch guards the compilation by a file `lock`, and waits without end for one whose owner was killed
(torch/utils/file_baton.py).
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from eprli_lab.errors import UserError

OLD = 600.0  # s: no operator takes that long to compile


def extensions_directory() -> Path:
    """Where torch keeps what it compiles: $TORCH_EXTENSIONS_DIR or ~/.cache/torch_extensions."""
    return Path(os.environ.get("TORCH_EXTENSIONS_DIR") or Path.home() / ".cache" / "torch_extensions")


def check_compiled() -> None:
    """Raises UserError for a lock that is older than any compilation."""
    locks = [*extensions_directory().glob("*/lock"), *extensions_directory().glob("*/*/lock")]
    old = [file for file in locks if file.is_file() and time.time() - file.stat().st_mtime > OLD]
    if old:
        raise UserError(
            f"{old[0]}: a process that was killed while it compiled an operator of DeepSpeed left this lock, and every "
            "start would wait for it without end: remove the file"
        )
