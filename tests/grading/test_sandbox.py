"""The sandbox: hostile programs end as wrong or timeout, nothing is left of them, and the next program is graded right."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hostile_programs import BY_THE_CLOCK, CHECKS, EITHER, OF_THE_PROCESSOR, RIGHT, WRONG

from eprli_lab.config.sandbox import SandboxSpec
from eprli_lab.errors import UserError
from eprli_lab.grading import sandbox
from eprli_lab.grading.inside import seccomp
from eprli_lab.grading.inside.isolate import NOBODY
from eprli_lab.grading.sandbox import Ended, Sandbox
from eprli_lab.grading.tests import Runner

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is Linux's")
LIMITS = SandboxSpec(cpu_seconds=1, memory_mb=256, output_kb=64)
PLENTY = 30.0  # s: a machine that is busy with other things changes no verdict
SECRET = "EPRLI_TEST_SECRET"


def possible(mode: sandbox.Mode) -> bool:
    try:
        with Sandbox(LIMITS, PLENTY, mode) as box:
            box.run().close()
    except sandbox.SandboxError:
        return False
    return True


@pytest.fixture(scope="module", params=["user", "root", "plain"])
def runner(request: Any) -> Iterator[Runner]:
    if not possible(request.param):
        pytest.skip(f"this machine refuses the namespaces of mode {request.param}")
    os.environ[SECRET] = "s3cret"
    before = psutil.Process().children(recursive=True)  # of other tests in this process
    made = Runner(LIMITS, PLENTY)
    made.programs.mode = made.tests.mode = request.param
    yield made
    made.close()
    del os.environ[SECRET]
    assert not set(psutil.Process().children(recursive=True)) - set(before)


def owner(path: str) -> int | None:
    try:
        return os.stat(path).st_uid
    except OSError:
        return None  # it was another process's, and is gone


def theirs(name: str) -> bool:
    """Of a database server, which another test may have under the same user."""
    return name.startswith("PostgreSQL.")


def seen() -> dict[str, Any]:
    """What a program could leave or change."""
    me = psutil.Process()
    return {
        "processes": sorted(p.pid for p in me.children(recursive=True)),
        "mounts": Path("/proc/self/mountinfo").read_text(),
        "files": [sorted(os.listdir(d)) for d in ("/", os.getcwd())],
        "shared memory": [n for n in os.listdir("/dev/shm") if owner(f"/dev/shm/{n}") == NOBODY and not theirs(n)],
        "left": [p for p in ("/tmp/eprli_hostile", "/tmp2", "/tmp/big", "/eprli_hostile") if os.path.exists(p)],
        "signals": signal.sigpending(),
        "mode": os.stat("/").st_mode,
        "descriptors": me.num_fds(),
    }


def attack(runner: Runner, programs: dict[str, str], allowed: set[str], seconds: float = PLENTY) -> None:
    """Every program gets a verdict that is allowed, leaves nothing, and the one after it is graded right."""
    assert runner.verdict(RIGHT, CHECKS) == "exact"
    before, memory = seen(), psutil.Process().memory_info().rss
    for name, source in programs.items():
        runner.programs.seconds = seconds
        got = runner.verdict(source, CHECKS)
        assert got in allowed, (name, got)
        runner.programs.seconds = PLENTY
        assert runner.verdict(f"{RIGHT} # after {name}", CHECKS) == "exact", name
        assert seen() == before, name
    assert psutil.Process().memory_info().rss < memory + (64 << 20)


@pytest.mark.slow
def test_hostile_programs_are_wrong_and_leave_nothing(runner: Runner) -> None:
    attack(runner, WRONG, {"wrong"})


@pytest.mark.slow
def test_programs_that_wait_are_ended_by_the_clock(runner: Runner) -> None:
    attack(runner, BY_THE_CLOCK, {"timeout"}, seconds=0.3)
    attack(runner, EITHER, {"wrong", "timeout"})


@pytest.mark.exhaustive
@pytest.mark.slow
def test_programs_that_compute_for_ever_are_ended_by_their_limit(runner: Runner) -> None:
    if runner.programs.mode == "root":
        pytest.skip("a second of the processor each: in two modes of the three")
    attack(runner, OF_THE_PROCESSOR, {"timeout"})


@pytest.mark.slow
def test_the_limit_of_the_processor_needs_no_clock() -> None:
    with Sandbox(LIMITS, 10 * PLENTY) as box:
        session = box.run()
        session.ask({"source": OF_THE_PROCESSOR["limit ignored"], "entry": "f"})
        with pytest.raises(Ended, match="died"):
            session.ask({"call": [[1], {"dict": []}]})
        usage = session.close()
        assert session.out_of_time("died", usage) and 1.0 <= usage.cpu_seconds < 3.0
        assert usage.signal in (signal.SIGKILL, signal.SIGXCPU)


def test_what_a_program_sees(runner: Runner) -> None:
    source = "import os, sys\ndef f(x):\n return [os.getuid(), os.getpid(), os.getppid(), sorted(os.environ), sys.argv, sys.path]"
    with runner.programs.run() as session:
        assert session.ask({"source": source, "entry": "f"}) == {"ready": True}
        uid, pid, parent, environment, arguments, path = session.ask({"call": [[1], {"dict": []}]})["value"]
    mode = runner.programs.mode
    assert uid == (65534 if mode != "plain" or os.geteuid() == 0 else os.geteuid())
    assert environment in (["PYTHONHASHSEED"], ["LC_CTYPE", "PYTHONHASHSEED"]) and path == []
    assert not [a for a in arguments if "secret" in a.lower()]
    if mode != "plain":
        assert parent == 1 and pid < 5000, "an own pid namespace: the server is process 1"


def test_the_filter_refuses_what_limits_and_namespaces_would_allow(runner: Runner) -> None:
    source = (
        "import os, errno\ndef refused(call, *a):\n try: call(*a)\n except OSError as e: return e.errno == errno.EPERM\n"
        " return False\ndef f(x): return [refused(os.kill, os.getpid(), 0), refused(open, '/'), refused(os.getcwd), "
        "refused(os.sched_getscheduler, 0), refused(os.pipe), refused(os.getpgid, 0)]"
    )
    with runner.programs.run() as session:
        session.ask({"source": source, "entry": "f"})
        assert session.ask({"call": [[1], {"dict": []}]}) == {"value": [True] * 6}


WALL = """
import json, os, socket
from eprli_lab.grading.inside import isolate
isolate.new_namespaces(False, None)
if os.fork():
    os.wait()
    os._exit(0)
isolate.empty_root()
said = [os.getpid(), os.listdir("/"), [name for _, name in socket.if_nameindex()]]
try:
    os.mkdir("/x")
except OSError as error:
    said.append(error.strerror)
os.write(1, json.dumps(said).encode())
os._exit(0)
"""


@pytest.mark.slow
def test_behind_the_filter_there_is_nothing() -> None:
    """The second wall by itself: the first process of its namespace, an empty root to read only, no network."""
    done = subprocess.run([sys.executable, "-c", WALL], capture_output=True, text=True)
    if "PermissionError" in done.stderr or "Operation not permitted" in done.stderr:
        pytest.skip("this machine refuses namespaces to this user")
    assert done.stdout == '[1, [], ["lo"], "Read-only file system"]'


def test_the_same_program_gives_the_same_value_in_every_process() -> None:
    source = "import random\ndef f(x): return [list({'a', 'b', 'c', 'd'}), random.random(), hash('x')]"
    said = []
    for _ in range(2):
        with Sandbox(LIMITS, PLENTY) as box:
            for _ in range(2):
                with box.run() as session:
                    session.ask({"source": source, "entry": "f"})
                    said.append(session.ask({"call": [[1], {"dict": []}]}))
    assert said[0] == said[1] == said[2] == said[3] and "value" in said[0]


def test_nothing_of_one_program_is_in_the_next(runner: Runner) -> None:
    writes = "import builtins, math\nbuiltins.left = 1\nmath.pi = 3\ndef f(x): return 0"
    reads = "import math\ndef f(x): return [math.pi > 3.1, 'left' in dir(__builtins__) or 'left' in __builtins__]"
    for source, expected in ((writes, 0), (reads, [True, False])):
        with runner.programs.run() as session:
            session.ask({"source": source, "entry": "f"})
            assert session.ask({"call": [[1], {"dict": []}]}) == {"value": expected}


def test_one_sentence_says_what_is_in_force(runner: Runner) -> None:
    said = runner.programs.protections()
    assert "seccomp" in said and "\n" not in said
    assert ("own" in said and "an empty root" in said) == (runner.programs.mode != "plain")
    assert ("no namespaces, which this machine refuses" in said) == (runner.programs.mode == "plain")


def test_the_server_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    code = (
        "import sys, time; from eprli_lab.grading.sandbox import *; b = Sandbox(SandboxSpec(), 60.0); s = b.run()\n"
        "s.send({'source': 'while True: pass', 'entry': 'f'}); print(b._server.pid, flush=True); time.sleep(100)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    server = psutil.Process(int(process.stdout.readline()))
    everybody = [server, *server.children(recursive=True)]
    assert len(everybody) >= 2
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(everybody, timeout=20)
    assert not alive


def test_a_server_that_was_killed_is_replaced(runner: Runner) -> None:
    assert runner.verdict(RIGHT, CHECKS) == "exact"
    assert runner.programs._server is not None
    runner.programs._server.kill()
    runner.programs._server.wait()
    assert runner.verdict(f"{RIGHT} # once more", CHECKS) == "exact"


def test_a_machine_without_the_sandbox_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(UserError, match="programs are run in a sandbox of Linux on x86_64 or aarch64, this is"):
        Sandbox(LIMITS, PLENTY).run()


def test_the_filter_lists_each_call_once_and_ends_in_a_refusal() -> None:
    for machine, (column, _) in seccomp.MACHINES.items():
        numbers = [pair[column] for pair in seccomp.CALLS.values() if pair[column] is not None]
        assert len(set(numbers)) == len(numbers) < 250
        code = seccomp.instructions(machine)
        assert len(code) == 8 * (len(numbers) + 6)
        assert code[-16:-8] == bytes([6, 0, 0, 0, 1, 0, 5, 0]), "EPERM for every call that is not listed"
    assert not {"openat", "clone", "execve", "socket", "kill", "tgkill", "prctl", "ioctl", "fcntl"} & set(seccomp.CALLS)


def test_sandboxes_in_threads_do_not_mix() -> None:
    wrong: list[str] = []

    def many(offset: int) -> None:
        with Sandbox(LIMITS, PLENTY) as box:
            for i in range(10):
                with box.run() as session:
                    session.ask({"source": f"def f(x): return x + {offset + i}", "entry": "f"})
                    if session.ask({"call": [[1], {"dict": []}]}) != {"value": 1 + offset + i}:
                        wrong.append(f"{offset} {i}")

    threads = [threading.Thread(target=many, args=(100 * i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and time.monotonic() > 0
