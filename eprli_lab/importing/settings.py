"""The configuration of another trainer, from a file that the user names: params of a run, so that arms can be told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from eprli_lab.errors import UserError, reason
from eprli_lab.importing.texts import text_of
from eprli_lab.masking import masked

PREFIX = "config"  # of every param: these are none of our own config's
VALUE = {"value", "desc"}  # W&B's config.yaml keeps each value in a mapping of these


def read_settings(path: Path) -> dict[str, str]:
    """Dotted key -> value as JSON, under PREFIX, credentials masked. Raises UserError for neither JSON nor YAML."""
    text = text_of(path)
    try:
        tree = json.loads(text) if text.lstrip().startswith("{") else None
        if tree is None:
            tree = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except (ValueError, RecursionError, OmegaConfBaseException) as error:
        raise UserError(f"--config: {path} is neither JSON nor YAML ({reason(error)})") from None
    except Exception as error:  # of the YAML parser, which is OmegaConf's own business
        raise UserError(f"--config: {path} is no YAML ({reason(error)})") from None
    if not isinstance(tree, dict) or not tree:
        raise UserError(
            f"--config: {path} holds no keys and values: give the configuration that the trainer was run with"
        )
    flat = dict(_flat(PREFIX, tree))
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in masked(flat).items()}


def _flat(prefix: str, tree: Any) -> Iterator[tuple[str, Any]]:
    """Leaves by dotted key; a list is a leaf."""
    if isinstance(tree, dict) and "value" in tree and set(tree) <= VALUE:
        tree = tree["value"]
    if not isinstance(tree, dict) or not tree:
        yield prefix, tree
        return
    for key, value in tree.items():
        yield from _flat(f"{prefix}.{key}", value)
