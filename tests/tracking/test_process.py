"""Whether a process is still there: ids are used again, zombies have ended, other hosts are unknown."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from eprli_lab.tracking.process import ProcessIdentity, start_time


def test_a_process_is_told_from_a_later_one_with_its_id() -> None:
    current = ProcessIdentity.current()
    assert current.is_alive() and current.is_local
    boot, _, tick = current.start.rpartition("/")
    assert not ProcessIdentity(current.host, current.pid, f"{boot}/{int(tick) - 1}").is_alive()
    assert not ProcessIdentity(current.host, 999999999, current.start).is_alive()
    assert ProcessIdentity(current.host, current.pid).is_alive(), "written where there was no /proc"


def test_of_another_host_nothing_is_known() -> None:
    elsewhere = ProcessIdentity("elsewhere", os.getpid(), "1")
    assert not elsewhere.is_local
    assert elsewhere.is_alive() and not elsewhere.is_alive(elsewhere=False)


def test_a_process_that_ended_is_gone_before_its_parent_has_noticed() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        identity = ProcessIdentity(socket.gethostname(), child.pid, start_time(child.pid) or "")
        assert identity.is_alive()
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie from here on
        assert start_time(child.pid) is None
        assert not identity.is_alive() and not ProcessIdentity(identity.host, child.pid).is_alive()
    assert not identity.is_alive()


def test_where_no_start_can_be_read_a_signal_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eprli_lab.tracking.process.start_time", lambda pid: None)
    monkeypatch.setattr("eprli_lab.tracking.process.Path.exists", lambda path: False)  # no /proc
    host = socket.gethostname()
    assert ProcessIdentity(host, os.getpid()).is_alive()
    assert not ProcessIdentity(host, 999999999).is_alive() and not ProcessIdentity(host, 10**30).is_alive()
    assert not ProcessIdentity(host, 0).is_alive() and not ProcessIdentity(host, -1).is_alive()

    def of_another_user(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr("eprli_lab.tracking.process.os.kill", of_another_user)
    assert ProcessIdentity(host, 1).is_alive()


def test_both_written_forms() -> None:
    identity = ProcessIdentity("a:b", 12, "boot/345")
    assert str(identity) == "a:b:12:boot/345" and ProcessIdentity.parse("a:b:12:boot/345") == identity
    assert identity.to_tags() == {"host": "a:b", "pid": "12", "process_start": "boot/345"}
    assert ProcessIdentity.from_tags(identity.to_tags()) == identity
    bare = ProcessIdentity("h", 12)
    assert bare.to_tags() == {"host": "h", "pid": "12"} and ProcessIdentity.parse(str(bare)) == bare
    for tags in ({}, {"pid": ""}, {"pid": "-1"}, {"pid": "x"}):
        assert not ProcessIdentity.from_tags({"host": socket.gethostname(), **tags}).is_alive()
