"""The process group between the trainer's first rank and the engines: here a TCP store."""

from __future__ import annotations

import datetime
from typing import Any


class StatelessProcessGroup:
    """Rank, world size and the store that they share."""

    def __init__(self, store: Any, rank: int, world_size: int) -> None:
        self.store, self.rank, self.world_size = store, rank, world_size

    @staticmethod
    def create(host: str, port: int, rank: int, world_size: int, **_: Any) -> StatelessProcessGroup:
        """Rank 0 serves the store, on the address that it was given."""
        import torch

        limit = datetime.timedelta(seconds=120)
        store = torch.distributed.TCPStore(  # type: ignore[attr-defined]  # public, but not in its __all__
            host, port, world_size, rank == 0, timeout=limit
        )
        return StatelessProcessGroup(store, rank, world_size)
