"""Random damages to a tree of files, seeded by number, and what became of what was damaged.

    path, kind = damage(root, random.Random(7))     # one damage; `path` is relative to root
    outcome = classify(lambda: restore(root), accept=lambda result: result in good_states)

Every kind really changes something: a damage that would leave the tree as it was is drawn again. `older` needs a copy
of a file from an earlier time below `earlier`; without one the kind is not drawn.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eprli_lab.errors import UserError

UNDISTURBED, REFUSED, TRACEBACK, SILENT = "undisturbed", "refused", "traceback", "silent"

BLOCK = 512  # bytes that are zeroed at once


def seeds(usual: int) -> range:
    """Of a campaign: `usual` many, or as many as EPRLI_FUZZ_EXAMPLES says (`make nightly`)."""
    return range(int(os.environ.get("EPRLI_FUZZ_EXAMPLES", usual)))


def flip(path: Path, rng: random.Random) -> None:
    """One to three bits change."""
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 1, 3))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def cut(path: Path, rng: random.Random) -> None:
    """The end is missing: anything from one byte to nearly all."""
    data = path.read_bytes()
    path.write_bytes(data[: rng.choice((len(data) - 1, rng.randrange(len(data))))])


def extend(path: Path, rng: random.Random) -> None:
    """Bytes too many at the end: noise, half a line, or the file's own beginning."""
    data = path.read_bytes()
    tail = rng.choice(
        (rng.randbytes(rng.randrange(1, 64)), b'{"half": ', data[: rng.randrange(1, len(data) + 1)], b"\n")
    )
    path.write_bytes(data + tail)


def zero_tail(path: Path, rng: random.Random) -> None:
    """The last part reads as zeros, as after a power cut."""
    data = path.read_bytes()
    start = rng.randrange(len(data))
    path.write_bytes(data[:start] + bytes(len(data) - start))


def zeros_appended(path: Path, rng: random.Random) -> None:
    """The file is longer than what was written, by zeros."""
    path.write_bytes(path.read_bytes() + bytes(rng.randrange(1, 4096)))


def zero_block(path: Path, rng: random.Random) -> None:
    """A block in the middle reads as zeros."""
    data = bytearray(path.read_bytes())
    start = rng.randrange(len(data))
    stop = min(len(data), start + BLOCK)
    data[start:stop] = bytes(stop - start)
    path.write_bytes(data)


def empty(path: Path, _: random.Random) -> None:
    """The name is there and nothing in it."""
    path.write_bytes(b"")


def delete(path: Path, _: random.Random) -> None:
    """The file is gone."""
    path.unlink()


def make_directory(path: Path, _: random.Random) -> None:
    """A directory stands where the file was."""
    path.unlink()
    path.mkdir()


def duplicate_line(path: Path, rng: random.Random) -> None:
    """A line is there twice."""
    lines = path.read_bytes().splitlines(keepends=True)
    chosen = rng.randrange(len(lines))
    path.write_bytes(b"".join([*lines[: chosen + 1], lines[chosen], *lines[chosen + 1 :]]))


def drop_line(path: Path, rng: random.Random) -> None:
    """A line is missing."""
    lines = path.read_bytes().splitlines(keepends=True)
    del lines[rng.randrange(len(lines))]
    path.write_bytes(b"".join(lines))


def as_pickle(path: Path, rng: random.Random) -> None:
    """A pickle stands where the file was; unpickling it would print."""

    class Loud:
        def __reduce__(self) -> tuple[Any, ...]:
            return (print, ("a pickle was executed",))

    path.write_bytes(pickle.dumps(Loud(), protocol=rng.choice((2, 4))))


def other_json(path: Path, rng: random.Random) -> None:
    """JSON, but not what was written: a key lost, a value of another type, or something else altogether."""
    try:
        tree = json.loads(path.read_bytes())
    except ValueError:
        tree = None
    if isinstance(tree, dict) and tree and rng.random() < 0.8:
        key = rng.choice(sorted(tree))
        if rng.random() < 0.5:
            del tree[key]
        else:
            tree[key] = rng.choice((None, -1, 1e400, "x", [], {}, [[1, "a"]], {"a": None}, True))
    else:
        tree = rng.choice((None, 0, [], {}, "text", [1, 2, 3]))
    path.write_text(json.dumps(tree))


ONE_FILE: dict[str, Callable[[Path, random.Random], None]] = {
    "flip": flip,
    "cut": cut,
    "extend": extend,
    "zero tail": zero_tail,
    "zeros appended": zeros_appended,
    "zero block": zero_block,
    "empty": empty,
    "delete": delete,
    "directory": make_directory,
    "duplicate line": duplicate_line,
    "drop line": drop_line,
    "pickle": as_pickle,
    "other JSON": other_json,
}


def damage(
    root: Path,
    rng: random.Random,
    *,
    earlier: Path | None = None,
    only: Callable[[Path], bool] = lambda _: True,
    kinds: tuple[str, ...] = (),
) -> tuple[Path, str]:
    """Damage one file below `root` (two, when they are swapped); returns its path relative to `root`, and the kind.

    `only` says by relative path which files may be hit, `kinds` which damages are drawn (default: all).
    """
    files = sorted(p.relative_to(root) for p in root.rglob("*") if p.is_file() and not p.is_symlink())
    files = [p for p in files if only(p)]
    if not files:
        raise ValueError(f"there is no file to damage below {root}")
    choices = kinds or (*ONE_FILE, "swap", "older")
    while True:
        path, kind = rng.choice(files), rng.choice(choices)
        target = root / path
        before = target.read_bytes()
        if kind == "swap":
            other = root / rng.choice(files)
            content = other.read_bytes()
            if content == before:
                continue
            target.write_bytes(content)
            other.write_bytes(before)
            return path, kind
        if kind == "older":
            old = earlier / path if earlier is not None else None
            if old is None or not old.is_file() or old.read_bytes() == before:
                continue
            shutil.copyfile(old, target)
            return path, kind
        if not before and kind not in ("delete", "directory", "zeros appended", "pickle", "other JSON"):
            continue
        if kind == "other JSON" and path.suffix != ".json":
            continue
        ONE_FILE[kind](target, rng)
        if target.is_file() and target.read_bytes() == before:
            continue
        return path, kind


def classify(call: Callable[[], Any], accept: Callable[[Any], bool]) -> tuple[str, str]:
    """What became of it, and in which words: `accept` says of the result whether it is one of an undisturbed run.

    `refused` is one UserError of one line; anything else that is raised is a traceback.
    """
    try:
        result = call()
    except UserError as error:
        text = str(error)
        return (REFUSED if text and "\n" not in text else TRACEBACK), text
    except Exception as error:
        return TRACEBACK, f"{type(error).__name__}: {error}"
    return (UNDISTURBED if accept(result) else SILENT), ""


def counts(outcomes: list[tuple[str, str]]) -> str:
    """A table of (file, outcome) pairs as text: a line a file, a column an outcome."""
    columns = (UNDISTURBED, REFUSED, TRACEBACK, SILENT)
    totals = Counter(outcomes)
    files = sorted({file for file, _ in outcomes})
    lines = [f"{'file':40}" + "".join(f"{c:>13}" for c in columns)]
    lines += [f"{f:40}" + "".join(f"{totals[f, c]:>13}" for c in columns) for f in files]
    return "\n".join([*lines, f"{'all':40}" + "".join(f"{sum(totals[f, c] for f in files):>13}" for c in columns)])
