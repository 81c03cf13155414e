"""Stop strings, watched while responses grow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

MARGIN = 16  # tokens beyond the longest stop string's that a look goes back: special ones have no text


class StopStrings:
    """Says which responses hold a stop string in their text (decoded without special tokens, as records.Response)."""

    def __init__(self, tokenizer: Any, stop: Sequence[str]) -> None:
        self.tokenizer, self.stop = tokenizer, tuple(stop)
        self.reach = MARGIN + max(len(s.encode()) for s in stop)  # tokens: none has less than a byte

    def ended(self, rows: Sequence[Sequence[int]]) -> list[bool]:
        """Of responses (token ids), each looked at after every token: does the newest one complete a stop string?"""
        tails = self.tokenizer.batch_decode([row[-self.reach :] for row in rows], skip_special_tokens=True)
        return [
            self._holds(tail) and self._holds(self.tokenizer.decode(row, skip_special_tokens=True))
            for tail, row in zip(tails, rows, strict=True)
        ]

    def _holds(self, text: str) -> bool:
        return any(s in text for s in self.stop)
