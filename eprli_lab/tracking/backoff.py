"""When a store that could not be reached is looked for again."""

from __future__ import annotations

import time

RETRY = 5.0  # s until a store that could not be reached is looked for again
LONGEST_RETRY = 60.0  # s between two such looks


class Backoff:
    """When to try again: after RETRY seconds, then twice as long each time, at most LONGEST_RETRY."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._at = 0.0  # monotonic, s

    def failed(self) -> None:
        """It was tried in vain."""
        self._seconds = min(LONGEST_RETRY, max(RETRY, 2 * self._seconds))
        self._at = time.monotonic() + self._seconds

    def now(self) -> None:
        """The next look is due at once."""
        self._at = 0.0

    def is_due(self) -> bool:
        """Is it time to try again?"""
        return time.monotonic() >= self._at
