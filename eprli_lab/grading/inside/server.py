"""The fork server of the sandbox: isolates itself once, then forks a locked process for every program.

It reads no program and no test, so what one program was cannot be found in the memory of the next. Control messages are
packets of a socket that no program inherits: `run` with a file descriptor forks, `end` kills and tells how it ended.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import resource
import signal
import socket
import sys
from typing import NoReturn

from eprli_lab.grading.inside import isolate, program

# What programs may import: it has to be in memory before they start, as they can open no file.
MODULES = (
    "abc array ast base64 binascii bisect builtins calendar cmath codecs collections collections.abc "
    "contextlib copy csv dataclasses datetime decimal difflib enum errno fractions functools gc hashlib "
    "heapq hmac html inspect io itertools json keyword locale math numbers operator os pprint queue random "
    "re sched secrets select statistics string struct sys textwrap threading time timeit traceback types "
    "typing unicodedata uuid warnings weakref zlib _strptime encodings.ascii encodings.latin_1 "
    "encodings.utf_16 encodings.utf_32 encodings.cp1252 encodings.idna "
).split()


def main(control: int, mode: str, cpu_seconds: int, memory_mb: int) -> None:
    """Serve until the control socket is closed. `mode`: user | root | plain. Raises OSError where it cannot be had."""
    link = socket.socket(fileno=control)
    isolate.die_with_parent()
    for name in MODULES:
        with contextlib.suppress(ImportError):  # a Python that was built without it
            importlib.import_module(name)
    sys.path.clear()
    if mode != "plain":
        _isolate(link, mode == "user")
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    gc.collect()
    gc.freeze()  # what is there already is left out of programs' collections, and their memory stays shared
    link.send(json.dumps({"pid": os.getpid()}).encode())
    _serve(link, cpu_seconds, memory_mb)


def _isolate(link: socket.socket, with_user: bool) -> None:
    """Go on as the first process of new namespaces; the one that asked for them waits for it."""

    def mapped() -> None:
        link.send(b"map")
        if link.recv(16) != b"mapped":
            raise OSError("users cannot be mapped")

    isolate.new_namespaces(with_user, mapped)
    child = os.fork()
    if child:
        link.close()
        os.waitpid(child, 0)
        os._exit(0)
    isolate.die_with_parent()
    isolate.empty_root()


def _serve(link: socket.socket, cpu_seconds: int, memory_mb: int) -> None:
    running = 0
    while True:
        word, descriptors, _, _ = socket.recv_fds(link, 16, 1)
        if word == b"run":
            running = os.fork()
            if not running:
                _enter(link, descriptors[0], cpu_seconds, memory_mb)
            os.close(descriptors[0])
        elif word == b"end":
            os.kill(running, signal.SIGKILL)
            _, status, usage = os.wait4(running, 0)
            running = 0
            link.send(json.dumps({"status": status, "cpu": usage.ru_utime + usage.ru_stime}).encode())
        else:
            if running:
                os.kill(running, signal.SIGKILL)
                os.waitpid(running, 0)
            return


def _enter(link: socket.socket, pipe: int, cpu_seconds: int, memory_mb: int) -> NoReturn:
    """In the child: shut in, then run what comes through the pipe; never returns."""
    try:
        os.setsid()
        link.detach()
        os.dup2(pipe, program.PIPE)
        os.closerange(program.PIPE + 1, 64)
        isolate.limit(cpu_seconds, memory_mb)
        isolate.drop_rights()
        isolate.die_with_parent()
        isolate.lock()
        program.serve()
    finally:
        os._exit(0)
