"""`eprli-lab` alone, and `eprli-lab open`: what is in this directory."""

from __future__ import annotations

import http.server
import os
import shlex
import stat
import threading
from pathlib import Path

import pytest
from sweeping_work import arms, make_plan, one_run_done

from eprli_lab.cli.main import main
from eprli_lab.sweeping.found import FoundStudy, studies_here, study_here
from eprli_lab.tracking import served


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


def write_page(study: str) -> Path:
    page = Path("reports") / study / "report.html"
    page.parent.mkdir(parents=True)
    page.write_text("<p>")
    return page


def test_alone_it_says_what_it_is_and_what_to_type(capsys):
    assert main([]) == 0
    text = capsys.readouterr().out
    assert text.startswith("EPRLI Lab ") and "In this directory" not in text
    assert max(map(len, text.splitlines())) <= 80
    for step in ("doctor", "run", "run -m sweep=smoke", "--help"):
        assert f" {step}" in text


def test_and_what_is_here_already(capsys):
    one_run_done(make_plan({"arms": arms("a", "b"), "seeds": [0, 1]}))
    (page := write_page("study")) and write_page("elsewhere") and write_page("compare-a-b")
    os.utime(page, (2e9, 2e9))
    (Path("studies") / "broken.journal").write_bytes(b"\xff\xfe{")
    found = {s.name: s for s in studies_here()}
    assert sorted(found) == ["elsewhere", "study"]
    study = found["study"]
    assert (study.kind, study.complete, study.total, study.is_over) == ("arms", 1, 4, False)
    assert study.report == page and study_here("nothing") is None
    assert main([]) == 0
    text = capsys.readouterr().out
    assert "study      1 of 4 runs, report" in text and "elsewhere  kept elsewhere, report" in text
    assert ": eprli-lab open study" in text.replace("python -m eprli_lab", "eprli-lab")
    assert "status study --watch" in text and max(map(len, text.splitlines())) <= 80


def test_a_study_that_is_started_again_and_again_counts_once():
    for _ in range(2):
        one_run_done(make_plan({"arms": arms("a", "b"), "seeds": [0, 1]}))
    assert study_here("study") == FoundStudy("study", "arms", 2, 4, None, study_here("study").changed)


def test_open_prints_the_path_where_there_is_no_browser(capsys, monkeypatch):
    monkeypatch.setattr(served, "answers", lambda page=served.PAGE: False)  # whatever runs on this machine
    page = write_page("levels-smoke")
    assert main(["open", "levels", "preset=smoke"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"report: {page.resolve()}   (no browser here")
    assert lines[1].startswith("runs: no MLflow server answers here")


def test_open_gives_the_browser_the_page(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(served, "answers", lambda page=served.PAGE: False)
    page = write_page("levels")
    browser = tmp_path / "browser.sh"
    browser.write_text('#!/bin/sh\necho "$1" > opened\n')
    browser.chmod(browser.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("BROWSER", f"{shlex.quote(str(browser))} %s")
    assert main(["open", "levels"]) == 0
    assert Path("opened").read_text().strip() == page.resolve().as_uri()
    assert capsys.readouterr().out.splitlines()[0] == f"report: {page.resolve()}"


def test_a_study_without_a_report_says_what_makes_it(capsys):
    one_run_done(make_plan({"arms": arms("a", "b"), "seeds": [0, 1]}))
    assert main(["open", "study", "tracking.uri=sqlite:///a b.db"]) == 2
    error = capsys.readouterr().err
    assert "there is no report of study yet (1 of 4 runs are complete)" in error
    assert error.rstrip().endswith("eprli-lab report study=study 'tracking.uri=sqlite:///a b.db'")
    assert main(["open", "studi"]) == 2
    assert "did you mean 'study'" in capsys.readouterr().err


def test_a_server_is_asked_and_none_is_started():
    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>another program")

        def log_message(self, *_: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = f"http://127.0.0.1:{server.server_port}"
        assert not served.answers(page) and not served.holds("levels", "eprli_lab", page)
        server.shutdown()
    assert not served.answers(page)


def test_status_elsewhere_than_in_a_terminal_is_lines(capsys):
    plan = make_plan({"arms": arms("a"), "seeds": [0]})
    one_run_done(plan)
    assert main(["status", "study", "--watch"]) == 0  # it is over, so it ends
    assert capsys.readouterr().out.startswith("study study: 1 of 1 runs complete")
    assert main(["status", "study", "watch=true"]) == 0 == main(["status", "study", "watch=false"])
