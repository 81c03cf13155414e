"""Request ids."""

import uuid


def random_uuid() -> str:
    """As vLLM's."""
    return uuid.uuid4().hex
