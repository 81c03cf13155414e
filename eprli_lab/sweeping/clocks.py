"""The clock of whoever waits: the machine's, or a simulation's."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class Clock:
    """The machine's."""

    def monotonic(self) -> float:
        """Seconds since some moment; never set back or forth."""
        return time.monotonic()

    def now(self) -> datetime:
        """What people call the time, in UTC; somebody may set it. Nothing is decided by it."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)
