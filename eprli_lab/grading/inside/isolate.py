"""Namespaces, an empty root, another user, limits: what a program is shut into before the filter of system calls."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from typing import Any

from eprli_lab.grading.inside import seccomp

NOBODY = 65534
_USER, _REST = (
    0x10000000,
    0x20000000 | 0x40000000 | 0x08000000 | 0x04000000 | 0x00020000,
)  # CLONE_NEWUSER; PID NET IPC UTS NS
NAMES = ("pid", "net", "ipc", "uts", "mount")
_PRIVATE, _READ_ONLY_BIND, _DETACH = (
    0x4000 | 0x40000,
    0x1 | 0x20 | 0x1000,
    2,
)  # MS_REC|MS_PRIVATE; MS_RDONLY|REMOUNT|BIND
_PARENT_DEATH, _DUMPABLE = 1, 4
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_CAPABILITIES_VERSION_3 = 0x20080522

libc = ctypes.CDLL(None, use_errno=True)


def _must(result: int, what: str) -> None:
    if result:
        raise OSError(ctypes.get_errno(), what)


def new_namespaces(with_user: bool, mapped: Any) -> None:
    """Own user (if asked), pid, net, ipc, uts and mount namespaces; a child is the first process in them.

    `mapped`: called between the user namespace and the others, returns when its users are mapped. Raises OSError.
    """
    if with_user:
        _must(libc.unshare(_USER), "unshare(user)")
        mapped()
    _must(libc.unshare(_REST), "unshare")


def empty_root() -> None:
    """The file system of this process becomes an empty directory that nobody can write to. Raises OSError."""
    _must(libc.mount(None, b"/", None, _PRIVATE, None), "mount private")
    place = next(d for d in ("/tmp", "/var", "/usr") if os.path.isdir(d)).encode()
    _must(libc.mount(b"tmpfs", place, b"tmpfs", 0, b"size=4k,mode=0555"), "mount tmpfs")
    os.chdir(place)
    _must(libc.syscall(_PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    _must(libc.umount2(b".", _DETACH), "umount")
    os.chdir("/")
    _must(libc.mount(None, b"/", None, _READ_ONLY_BIND, None), "mount read-only")


def die_with_parent() -> None:
    """SIGKILL for this process when its parent ends."""
    _must(libc.prctl(_PARENT_DEATH, signal.SIGKILL, 0, 0, 0), "prctl(PDEATHSIG)")


def limit(cpu_seconds: int, memory_mb: int) -> None:
    """Limits of this process, which it cannot raise again."""
    for what, soft, hard in (
        (resource.RLIMIT_CPU, cpu_seconds, cpu_seconds + 1),
        (resource.RLIMIT_AS, memory_mb << 20, memory_mb << 20),
        (resource.RLIMIT_FSIZE, 0, 0),
        (resource.RLIMIT_NPROC, 0, 0),
        (resource.RLIMIT_NOFILE, 4, 4),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_MEMLOCK, 0, 0),
        (resource.RLIMIT_MSGQUEUE, 0, 0),
    ):
        resource.setrlimit(what, (soft, hard))


def drop_rights() -> None:
    """Nobody's user where root may become it, no capability, no other process may look in. Raises OSError."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION_3, 0)
    _must(libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")
    _must(libc.prctl(_DUMPABLE, 0, 0, 0, 0), "prctl(DUMPABLE)")


def lock() -> None:
    """The filter of system calls. Raises OSError."""
    seccomp.install(libc)
