"""What a check of the doctor says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ENGINE_STARTS = "engine starts"
Verdict = Literal["ok", "FAULT", "-"]


@dataclass(frozen=True)
class Finding:
    """One check: what was measured, and what to do where it is a fault. '-': there is nothing to check here."""

    check: str
    verdict: Verdict
    measured: str
    advice: str = ""
