"""Prompts as token ids."""

from typing import Any


def TokensPrompt(prompt_token_ids: list[int], **more: Any) -> dict[str, Any]:
    """As vLLM's."""
    return {"prompt_token_ids": prompt_token_ids, **more}
