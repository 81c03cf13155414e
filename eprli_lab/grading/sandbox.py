"""Runs untrusted Python: a locked process a program, forked from an isolated server. Linux only.

What is promised and what is not, and the limits: docs/grading.md and SECURITY.md. This side is trusted: it keeps the
clock, bounds what it reads, and never gives a program what is expected of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from eprli_lab.config.sandbox import SandboxSpec
from eprli_lab.errors import UserError
from eprli_lab.grading.inside.isolate import NAMES, NOBODY
from eprli_lab.grading.inside.seccomp import MACHINES

Mode = Literal["user", "root", "plain"]
STARTUP_SECONDS = 30.0
REPLY_SECONDS = 30.0  # the server answers at once; later it is stuck
ROOT = str(Path(__file__).parents[2])
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from eprli_lab.grading.inside.server import main; "
    "main(int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))"
)
_possible: list[Mode] = []  # the strongest mode that worked in this process


class SandboxError(Exception):
    """The sandbox itself failed: nothing is known of the program."""


class Ended(Exception):
    """The program's process is over, or has to be: `time`, or it `died`, or it said too much."""

    def __init__(self, why: Literal["time", "died", "output"]) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True)
class Usage:
    """How a program's process ended."""

    signal: int  # that ended it; 0: none
    cpu_seconds: float


def require_platform() -> None:
    """Raises UserError where programs cannot be run safely."""
    if sys.platform != "linux" or platform.machine() not in MACHINES:
        raise UserError(
            f"programs are run in a sandbox of Linux on {' or '.join(MACHINES)}, this is {platform.system()} on "
            f"{platform.machine()}: grade there, or leave out the data and suites whose answers are run"
        )


class Sandbox:
    """A fork server and its programs, one after another. It starts at the first, in the strongest mode there is."""

    def __init__(self, limits: SandboxSpec, seconds: float, mode: Mode | None = None) -> None:
        self.limits = limits
        self.seconds = seconds  # by the clock, of one program
        self.mode = mode
        self._server: subprocess.Popen[bytes] | None = None
        self._link: socket.socket | None = None

    def run(self) -> Session:
        """A process that waits for what it is to run; its time runs from now. Raises SandboxError, UserError."""
        deadline = time.monotonic() + self.seconds
        try:
            return Session(self._link or self._start(), self.limits, deadline)
        except (OSError, SandboxError):  # the server died, of the machine's want of memory for one: once more
            self.close()
        try:
            return Session(self._start(), self.limits, deadline)
        except OSError as error:
            self.close()
            raise SandboxError(f"the sandbox's server does not answer ({error})") from None

    def protections(self) -> str:
        """One sentence: what shuts a program in on this machine. Raises SandboxError, UserError."""
        if self._link is None:
            self._start()
        always = "no system call but those of computing, no file, no network, no process, no thread"
        if self.mode == "plain":
            user = f"user {NOBODY}" if os.geteuid() == 0 else "the user's own id"
            return f"seccomp ({always}); {user}; limits; no namespaces, which this machine refuses"
        own = "user, " if self.mode == "user" else ""
        return f"seccomp ({always}); user {NOBODY}; limits; own {own}{', '.join(NAMES)} namespaces; an empty root"

    def close(self) -> None:
        """End the server and whatever runs."""
        if self._link is not None:
            self._link.close()
            self._link = None
        if self._server is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._server.wait(1.0)
            self._server.kill()
            self._server.wait()
            self._server = None

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> socket.socket:
        require_platform()
        modes: list[Mode] = ["user", "root", "plain"] if os.geteuid() == 0 else ["user", "plain"]
        for mode in [self.mode] if self.mode else (_possible or modes):
            try:
                self._link = self._started(mode)
            except OSError:
                self.close()
                continue
            if self.mode is None:
                _possible[:] = [mode]
            self.mode = mode
            return self._link
        raise SandboxError("no program can be run: the system refuses even the filter of system calls (seccomp)")

    def _started(self, mode: Mode) -> socket.socket:
        """The control socket of a server that is ready. Raises OSError where this mode is not possible."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._link = ours
        limits = [str(self.limits.cpu_seconds), str(self.limits.memory_mb)]
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-s", "-S", "-P", "-B", "-c", _START, ROOT, str(theirs.fileno()), mode, *limits],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"PYTHONHASHSEED": "0"},  # the same order of sets in every run
                cwd="/",
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        ours.settimeout(STARTUP_SECONDS)
        word = ours.recv(256)
        if word == b"map":
            _map_users(self._server.pid)
            ours.send(b"mapped")
            word = ours.recv(256)
        if not word:
            raise OSError("the server ended")
        ours.settimeout(REPLY_SECONDS)
        return ours


def _map_users(pid: int) -> None:
    """Who is who in the server's user namespace: nobody, and root to build it where this process is root."""
    folder = Path(f"/proc/{pid}")
    if os.geteuid() == 0:
        users = groups = f"0 0 1\n{NOBODY} {NOBODY} 1\n"
    else:
        (folder / "setgroups").write_text("deny")
        users, groups = f"{NOBODY} {os.geteuid()} 1\n", f"{NOBODY} {os.getegid()} 1\n"
    (folder / "uid_map").write_text(users)
    (folder / "gid_map").write_text(groups)


class Session:
    """One process: messages to it and from it until it is closed. Raises SandboxError where it cannot be locked."""

    def __init__(self, link: socket.socket, limits: SandboxSpec, deadline: float) -> None:
        self._link = link
        self._limit = limits.output_kb << 10
        self._cpu = limits.cpu_seconds
        self._rest = b""
        self._deadline = deadline  # of time.monotonic()
        self._pipe, theirs = socket.socketpair()
        self._pipe.setblocking(False)
        try:
            with theirs:
                socket.send_fds(link, [b"run"], [theirs.fileno()])
            if self.read() != {"locked": True}:
                raise SandboxError("the sandbox cannot lock a process")
        except Ended as error:
            self.close()
            raise SandboxError(f"the sandbox cannot lock a process ({error.why})") from None

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send one message, read one. Raises Ended."""
        self.send(message)
        return self.read()

    def send(self, message: dict[str, Any]) -> None:
        """Raises Ended, also where what a program said is nested too deep to be passed on."""
        try:
            line = memoryview(json.dumps(message).encode() + b"\n")
        except RecursionError:
            raise Ended("died") from None
        while line:
            self._wait(select.POLLOUT)
            try:
                line = line[self._pipe.send(line) :]
            except BlockingIOError:
                continue
            except OSError:
                raise Ended("died") from None

    def read(self) -> dict[str, Any]:
        """The next message; of a program it may say anything. Raises Ended."""
        parts = [self._rest]
        size = len(self._rest)
        while b"\n" not in parts[-1]:
            self._wait(select.POLLIN)
            try:
                parts.append(self._pipe.recv(1 << 16))
            except BlockingIOError:
                continue
            except OSError:
                raise Ended("died") from None
            size += len(parts[-1])
            if not parts[-1]:
                raise Ended("died")
            if size > self._limit + (1 << 10):
                raise Ended("output")
        line, _, self._rest = b"".join(parts).partition(b"\n")
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            raise Ended("died")
        return message

    def _wait(self, what: int) -> None:
        """Until the pipe is ready. Raises Ended when time is up."""
        poll = select.poll()
        poll.register(self._pipe, what)
        left = self._deadline - time.monotonic()
        if left <= 0 or not poll.poll(1000 * left):
            raise Ended("time")

    def close(self) -> Usage:
        """End the process, whatever it does. Raises SandboxError."""
        self._pipe.close()
        try:
            self._link.send(b"end")
            reply = json.loads(self._link.recv(256) or b"{}")
            status = int(reply["status"])
        except (OSError, KeyError) as error:
            self._link.close()
            raise SandboxError(f"the sandbox's server does not answer ({error})") from None
        return Usage(os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, float(reply["cpu"]))

    def out_of_time(self, why: str, usage: Usage) -> bool:
        """Did a limit of time end it: by the clock, or of the processor?"""
        return why == "time" or usage.signal == signal.SIGXCPU or usage.cpu_seconds >= self._cpu

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()
