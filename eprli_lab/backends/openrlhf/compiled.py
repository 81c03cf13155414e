"""DeepSpeed's operators that are compiled at the first start: what a killed process left behind stops every later one.

torch guards the compilation by a file `lock`, and waits without end for one whose owner was killed
(torch/utils/file_baton.py).
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

from eprli_lab.errors import UserError

log = logging.getLogger(__name__)
OLD = 600.0  # s: no operator takes that long to compile


def extensions_directory() -> Path:
    """Where torch keeps what it compiles: $TORCH_EXTENSIONS_DIR or ~/.cache/torch_extensions."""
    return Path(os.environ.get("TORCH_EXTENSIONS_DIR") or Path.home() / ".cache" / "torch_extensions")


def check_compiled() -> None:
    """Raises UserError for a lock that is older than any compilation; a younger one is warned of."""
    locks = [*extensions_directory().glob("*/lock"), *extensions_directory().glob("*/*/lock")]
    for file in filter(Path.is_file, locks):
        if time.time() - file.stat().st_mtime > OLD:
            raise UserError(
                f"{file}: a process that was killed while it compiled an operator of DeepSpeed left this lock, and "
                "every start would wait for it without end: remove the file"
            )
        log.warning(
            "%s: another process compiles an operator of DeepSpeed, or was killed while it did; the start waits for "
            "it: if nothing else starts on OpenRLHF, stop this command and remove the file", file,
        )  # fmt: skip
