"""What a program that is run may use."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from eprli_lab.config.fields import Strict


class SandboxSpec(Strict):
    """Limits of one program (docs/grading.md); its time by the clock is `verify.timeout_seconds`."""

    cpu_seconds: Annotated[int, Field(ge=1, le=600)] = 2  # processor time
    memory_mb: Annotated[int, Field(ge=128, le=65_536)] = 256  # address space, Python itself (60 MB) included
    output_kb: Annotated[int, Field(ge=1, le=65_536)] = 64  # of one result
