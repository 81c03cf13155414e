"""Runs that were spooled while their tracking server could not be reached, sent now.

python -m eprli_lab.tracking upload RUN_DIR ... [tracking.uri=URI]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from eprli_lab.errors import UserError
from eprli_lab.tracking.upload import upload


def main(arguments: Sequence[str]) -> int:
    """`python -m eprli_lab.tracking upload RUN_DIR [tracking.uri=URI]`"""
    rest = [a for a in arguments[1:] if not a.startswith("tracking.uri=")]
    uris = [a.removeprefix("tracking.uri=") for a in arguments[1:] if a.startswith("tracking.uri=")]
    try:
        if not arguments or arguments[0] != "upload" or not rest:
            raise UserError("usage: python -m eprli_lab.tracking upload RUN_DIR ... [tracking.uri=URI]")
        for directory in rest:
            run_id, sent = upload(Path(directory), uris[-1] if uris else None)
            print(f"{directory}: {sent} points sent to run {run_id}")
    except UserError as error:
        print(f"eprli_lab: {error}", file=sys.stderr)
        return 2
    return 0
