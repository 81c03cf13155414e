"""Which weights a policy has, said briefly: so that what was measured of one is not taken for another's."""

from __future__ import annotations

import hashlib
from pathlib import Path

from eprli_lab.backends.local.model import recipe_fingerprint
from eprli_lab.backends.local.policy import check_source
from eprli_lab.config.data import ModelSpec

PATTERNS = ("*.safetensors", "*.bin", "*.pt", "*.pth")
BLOCK = 1 << 16  # bytes
BLOCKS = 256  # of a file: smaller ones are read whole


def weights_digest(model: ModelSpec, family: str | None) -> str:
    """`recipe:...` of a warm start, `files:...` of a directory, `id@revision` of a model of the Hugging Face Hub.

    Of a large file 256 blocks of 64 KiB are read, evenly spread: an update changes nearly every weight. Raises
    UserError where `model.path` leads nowhere.
    """
    where = check_source(model, family)
    if where is None:
        assert family is not None
        return f"recipe:{recipe_fingerprint(model, family)}"
    directory = Path(where)
    if not directory.is_dir():
        return f"{where}@{_revision(where)}"
    total = hashlib.blake2b(digest_size=6)
    for file in sorted(f for pattern in PATTERNS for f in directory.glob(pattern)):
        total.update(f"{file.name} {file.stat().st_size}\n".encode())
        _read(file, total)
    return f"files:{total.hexdigest()}"


def _read(file: Path, total: hashlib.blake2b) -> None:
    size = file.stat().st_size
    with open(file, "rb") as f:
        for i in range(min(BLOCKS, -(-size // BLOCK))):
            f.seek(i * BLOCK if size <= BLOCKS * BLOCK else i * (size - BLOCK) // (BLOCKS - 1))
            total.update(f.read(BLOCK))


def _revision(name: str) -> str:
    """Of the copy on this machine; 'unknown' where there is none yet."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, "config.json")
    return Path(found).parent.name if isinstance(found, str) else "unknown"
