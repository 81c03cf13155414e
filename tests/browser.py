"""A headless Chromium for tests: driven through its DevTools protocol over two pipes, so that no port and no library is needed."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = 120.0  # seconds for one answer: a machine may be busy
# Chromium reads commands from descriptor 3 and answers on 4; a message ends with a zero byte
START = """
import fcntl, os, sys
reads, writes = (fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1:3])
os.dup2(reads, 3)
os.dup2(writes, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """One page in a browser of its own."""

    def __init__(self, reads: int, writes: int) -> None:
        self.reads = reads  # descriptor of its answers
        self.writes = writes
        self.buffer = b""
        self.count = 0
        self.session: str | None = None
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """What the browser answers to a command. Raises RuntimeError where it refuses or says nothing."""
        self.count += 1
        message: dict[str, Any] = {"id": self.count, "method": method, "params": params}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self.writes, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + PATIENCE
        while True:
            answer = self._next(until)
            if answer.get("id") == self.count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])
            self.events.append(answer)

    def wait(self, event: str) -> dict[str, Any]:
        """The oldest event of this name that nobody waited for yet."""
        until = time.monotonic() + PATIENCE
        while True:
            for i, seen in enumerate(self.events):
                if seen.get("method") == event:
                    return dict(self.events.pop(i)["params"])
            self.events.append(self._next(until))

    def _next(self, until: float) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.reads], [], [], max(0.0, until - time.monotonic()))
            part = os.read(self.reads, 1 << 16) if ready else b""
            if not part:
                raise RuntimeError("the browser says nothing")
            self.buffer += part
        message, _, self.buffer = self.buffer.partition(b"\0")
        return dict(json.loads(message))

    def open(self, path: Path, width: int = 1280, dark: bool = False, script: bool = True) -> None:
        """Show a file in a window of this width, as a person with this taste for colours sees it."""
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setScriptExecutionDisabled", value=not script)
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.media("screen", dark)
        self.events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.wait("Page.loadEventFired")

    def media(self, kind: str, dark: bool = False) -> None:
        """`screen` or `print`, light or dark."""
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.call("Emulation.setEmulatedMedia", media=kind, features=features)

    def js(self, expression: str) -> Any:
        """The value of an expression in the page; a promise is awaited, as after a click of a person."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"])[:2000])
        return answer["result"].get("value")

    def errors(self) -> list[str]:
        """What the page has complained of since it was opened: exceptions, console errors, refusals by its policy."""
        self.js("0")  # whatever came before has arrived then
        out = []
        for event in self.events:
            params = event.get("params", {})
            if event.get("method") == "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                out.append(details.get("exception", {}).get("description") or details["text"])
            elif event.get("method") == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                out.append(params["entry"]["text"])
            elif event.get("method") == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
                out.append(" ".join(str(a.get("value", a.get("description", ""))) for a in params["args"]))
        return out

    def press(self, key: str, code: int, text: str = "", shift: bool = False) -> None:
        """A key of the keyboard, down and up; `code`: its Windows key code; `text`: what it types."""
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        more = {"text": text, "unmodifiedText": text} if text else {}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **common, **more)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def tab(self, back: bool = False) -> None:
        self.press("Tab", 9, shift=back)

    def enter(self) -> None:
        self.press("Enter", 13, "\r")

    def space(self) -> None:
        self.press(" ", 32, " ")

    def allow_clipboard(self) -> None:
        """The page may read and write the clipboard, as after a person's yes."""
        session, self.session = self.session, None  # of the browser, not of the page
        self.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
        self.session = session

    def screenshot(self, file: Path, whole: bool = True) -> None:
        """The page as PNG: whole, or what the window shows."""
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]))

    def pdf(self, file: Path) -> int:
        """The page as printed on A4; its number of sheets."""
        self.media("print")
        size = {"paperWidth": 8.27, "paperHeight": 11.69}
        data = base64.b64decode(
            self.call("Page.printToPDF", printBackground=True, preferCSSPageSize=True, **size)["data"]
        )
        file.write_bytes(data)
        return data.count(b"/Type /Page\n") + data.count(b"/Type /Page ")


@contextmanager
def browser(directory: Path) -> Iterator[Browser]:
    """A browser whose profile lies in this directory."""
    assert CHROMIUM is not None
    commands, ours = os.pipe()
    theirs, answers = os.pipe()
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    options += ["--remote-debugging-pipe", "--force-color-profile=srgb", "--hide-scrollbars"]
    options += [f"--user-data-dir={directory / 'profile'}", "about:blank"]
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", START, str(commands), str(answers), CHROMIUM, *options],
        pass_fds=(commands, answers), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=os.environ | {"HOME": str(directory)},
    )  # fmt: skip
    os.close(commands)
    os.close(answers)
    try:
        page = Browser(theirs, ours)
        target = page.call("Target.createTarget", url="about:blank")["targetId"]
        page.session = page.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        yield page
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(theirs)
        os.close(ours)
