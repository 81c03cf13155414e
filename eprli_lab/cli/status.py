"""`eprli-lab status`: how far a study is, from any terminal."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from eprli_lab.cli import options
from eprli_lab.cli.command import Command
from eprli_lab.cli.options import of_preset
from eprli_lab.cli.words import Key, parse, preset_names, sweep_names
from eprli_lab.errors import UserError
from eprli_lab.escaping import shown

if TYPE_CHECKING:
    from rich.text import Text

    from eprli_lab.sweeping.status import Look

KEYS = (
    Key("preset", "the preset that the sweep was started with (default: default)", preset_names, "smoke"),
    Key("watch", "look again every few seconds, until nothing is left (or: --watch)", lambda: ("true",), "true"),
    Key("every", "seconds between two looks (default: 3)", example="10"),
    Key("study.storage", "where the study is kept (default: studies/NAME.journal)", example="URL"),
)
USAGE = "write: eprli-lab status NAME [preset=...] [study.storage=...] [--watch]"
FLAG = "--watch"
EVERY = 3.0  # s
LEAST = 0.5  # s


def _status(words: list[str]) -> None:
    names = [word for word in words if "=" not in word and word != FLAG]
    if len(names) != 1:
        raise UserError(USAGE)
    given = parse([word for word in words if "=" in word], [key.name for key in KEYS], USAGE)
    watch = FLAG in words or _truth(given.get("watch", "false"))
    if "every" in given and not watch:
        raise UserError(f"every={given['every']}: one look is no watch, so it would change nothing: add --watch")
    every = _seconds(given.get("every", str(EVERY)))
    name, storage = of_preset(names[0], given), given.get("study.storage")
    if not watch:
        print(shown(_look(name, storage).text))
        return
    with contextlib.suppress(KeyboardInterrupt), _remembering_ctrl_c() as had_enough:
        _watch(lambda: _look(name, storage), every, had_enough)


@contextlib.contextmanager
def _remembering_ctrl_c() -> Iterator[threading.Event]:
    """Set by Ctrl-C, beside the exception, which is lost where it falls into a library's callback or destructor."""
    pressed = threading.Event()

    def handle(_number: int, _frame: object) -> None:
        pressed.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _look(name: str, storage: str | None) -> Look:
    """Of the study's storage; an imported study has none, and is looked for in the tracking store."""
    from eprli_lab.importing.status import imported_status
    from eprli_lab.sweeping.status import Look, look

    try:
        return look(name, storage)
    except UserError:
        text = imported_status(name, options.tracking({})) if storage is None else None
        if text is None:
            raise
        return Look(text, text.partition("\n")[0], True)


def _watch(ask: Callable[[], Look], every: float, had_enough: threading.Event) -> None:
    """In a terminal in place; elsewhere a line a change. Ends when nothing of the study is left."""
    from eprli_lab.sweeping.progress import is_live

    seen = ask()
    if not is_live():
        print(shown(seen.text), flush=True)
        while not seen.is_over and not had_enough.is_set():
            time.sleep(every)
            before, seen = seen, ask()
            if seen.summary != before.summary:
                print(f"{time.strftime('%H:%M:%S')}  {shown(seen.summary)}", flush=True)
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    with Live(_at(seen), console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:
        while not seen.is_over and not had_enough.is_set():
            time.sleep(every)
            seen = ask()
            live.update(_at(seen), refresh=True)


def _at(seen: Look) -> Text:
    """What is shown in place: cut at the terminal's edge, never wrapped."""
    from rich.text import Text

    end = "" if seen.is_over else f"\n\n{time.strftime('%H:%M:%S')}, Ctrl-C ends this look (not the study)"
    return Text(shown(seen.text) + end, no_wrap=True, overflow="ellipsis")


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise UserError(f"watch={text}: give true or false")
    return text.lower() == "true"


def _seconds(text: str) -> float:
    """Raises UserError unless it is a time that disturbs nobody."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not LEAST <= value <= 86_400:
        raise UserError(f"every={text}: give seconds between two looks, at least {LEAST}")
    return value


command = Command(
    "status",
    _status,
    "How far a study is: each arm and seed, the processes at work, what failed. It disturbs nobody.",
    usage="NAME [KEY=VALUE]...",
    keys=KEYS,
    examples=(
        ("levels", "the study of the sweep levels"),
        ("levels preset=smoke", "the one at the smallest scale"),
        ("levels --watch", "again every few seconds, until it is complete"),
        ("levels study.storage=postgresql://USER@HOST/NAME", "one that several machines share"),
    ),
    first=sweep_names,
)
