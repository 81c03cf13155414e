"""Tensors from safetensors files, or one sentence that says what is wrong with them; writes that fail, as OSErrors."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from eprli_lab.backends.manifest import PICKLE, safetensors_fault
from eprli_lab.errors import UserError


def read_tensors(path: Path) -> dict[str, Any]:
    """Name -> tensor, on the CPU. Raises UserError for a file that is missing, damaged, a pickle, or not finite."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise UserError(f"{path} {'is no file' if path.exists() else 'is missing'}: it is not a whole checkpoint")
    try:
        fault = safetensors_fault(path)
        if fault:
            raise UserError(f"{path} cannot be read, it is damaged or half-written: it {fault}")
        tensors: dict[str, Any] = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"{path} cannot be read, it is damaged or half-written: {said[0]}") from None
    check_finite(tensors, path)
    return tensors


def check_finite(tensors: Mapping[str, Any], where: object) -> None:
    """Raises UserError for a tensor with NaN or an infinity in it."""
    import torch

    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise UserError(f"{where}: the tensor {name} holds NaN or an infinity: it is damaged, or was never good")


def refuse_pickles(folder: Path, where: str) -> None:
    """Raises UserError for a folder whose weights are pickles alone, which could execute anything when read."""
    if any(folder.glob("*.safetensors")):
        return
    pickles = sorted(path for pattern in PICKLE for path in folder.glob(pattern))
    if pickles:
        raise UserError(
            f"{where}: {pickles[0]} is a pickle, which can execute anything and is never read: save the model as "
            "safetensors (save_pretrained with safe_serialization=True)"
        )


@contextlib.contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """What safetensors says of a full or read-only disk, as the OSError that it is."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        code = re.search(r"code: (\d+)|os error (\d+)", str(error))
        if code is None:
            raise
        number = int(code[1] or code[2])
        raise OSError(number, os.strerror(number), str(folder)) from None
