"""Runs every command that README and docs/ show, page by page, as a reader would: `python tests/docs_commands.py [PAGE ...]`.

A page is read from its top, in an empty directory of its own. Each line of a ```sh block is one command; it must end with exit
code 0. HTML comments right above a block, which no reader sees, say what is done with it:

`<!-- file: PATH -->`        the block is not run, it is written to PATH (any language)
`<!-- given: COMMAND -->`    run first: what the page takes for granted
`<!-- with: NAME=TEXT -->`   a placeholder in the block (DIR, FILE) is replaced; $REPO is the repository
`<!-- smaller: WORDS -->`    the command is composed as written, then run with these words behind it: the same run, shorter
`<!-- exit: N -->`           the exit code that is expected
`<!-- not run: REASON -->`   what this machine cannot do: Bash parses the block, and its runs and sweeps are composed, not started
`<!-- NAME command -->`      (README) its installation is CI's; what stands behind the last `&&` is treated as a command

A block that is never marked is run as it stands. `mlflow ui` and other servers are started, asked once, and ended.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
PAGES = [REPO / "README.md", *sorted(REPO.glob("docs/*.md"))]
LONGEST = 600  # seconds a command may take; 60 for a server to answer
FENCE = re.compile(r"((?:^<!-- [^\n]*-->\n)*)^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
MARK = re.compile(r"^<!-- (file|given|with|smaller|exit|not run): (.*) -->$|^<!-- (\w+) command -->$")
SERVER = re.compile(r"^(?:\w+=\S+ )*(?:mlflow (?:ui|server)|optuna-dashboard|tensorboard)\b")
PLAN = (
    "import sys; from plans import plan_of; from eprli_lab.config.overrides import expand_shortcuts; "
    "plan_of(*expand_shortcuts(['-m', *sys.argv[1:]])[1:])"
)
SWEEP = re.compile(r"(?:python -m eprli_lab\.run|eprli-lab run) -m ")
RUN = re.compile(r"(?:\w+=\S+ )*(?:python -m eprli_lab\.run|eprli-lab run)\b")
OURS = re.compile(r"^(?:python|eprli-lab|mlflow|ray|pip|make|sbatch|optuna-dashboard|trackio)\b")


@dataclass(frozen=True)
class Block:
    """A fenced block: where it begins, its language, its text, its marks as (name, value)."""

    page: Path
    line: int
    language: str
    text: str
    marks: tuple[tuple[str, str], ...]

    def all(self, name: str) -> list[str]:
        """Values of the marks of that name."""
        return [value for key, value in self.marks if key == name]


@dataclass(frozen=True)
class Outcome:
    """What became of one command: `run`, `composed` or `parsed`; its exit code, seconds, and what it said when it failed."""

    page: str
    line: int
    command: str
    how: str
    code: int
    expected: int
    seconds: float
    said: str = ""

    @property
    def good(self) -> bool:
        """Did it end as expected?"""
        return self.code == self.expected


def blocks(page: Path) -> list[Block]:
    """Every fenced block of a page. Raises ValueError for a mark that nobody reads."""
    text = page.read_text()
    found = []
    for match in FENCE.finditer(text):
        marks = []
        for comment in match[1].splitlines():
            mark = MARK.match(comment)
            if mark is None:
                raise ValueError(
                    f"{page.name}: {comment!r} above a block is no mark (tests/docs_commands.py lists them)"
                )
            marks.append((mark[1] or "command", mark[2] or mark[3]))
        line = text.count("\n", 0, match.start(2)) + 1
        found.append(Block(page, line, match[2], match[3], tuple(marks)))
    return found


def commands(block: Block) -> list[tuple[int, str]]:
    """(line, command) of a block: continued lines joined, comments left out, placeholders replaced."""
    text = block.text
    for pair in block.all("with"):
        name, _, value = pair.partition("=")
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", lambda _, value=value: value, text)
    found, held, start = [], "", 0
    for i, line in enumerate(text.splitlines()):
        start = start if held else block.line + i + 1
        held += line.removesuffix("\\") + (" " if line.endswith("\\") else "")
        loop = re.search(r"\bdo$", held, re.MULTILINE) and not re.search(r"^done\b", held, re.MULTILINE)
        if loop and not line.endswith("\\"):
            held += "\n"
        if loop or line.endswith("\\") or held.count('"') % 2:
            continue
        command, held = without_comment(held).strip(), ""
        if command and block.all("command"):
            command = command.rpartition(" && ")[2]
        if command:
            found.append((start, command))
    return found


def without_comment(line: str) -> str:
    """A command without what stands behind an unquoted `#`."""
    quote = ""
    for i, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == "#" and (i == 0 or line[i - 1].isspace()):
            return line[:i]
    return line


def unlabelled(page: Path) -> list[int]:
    """Lines of blocks that hold our commands and are not marked as `sh`, so that nobody would run them."""
    return [b.line for b in blocks(page) if b.language in ("", "bash", "console", "shell") and OURS.match(b.text)]


class Reader:
    """Someone who follows one page in one directory."""

    def __init__(self, directory: Path, cache: Path) -> None:
        self.directory = directory
        self.environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPO),
            "REPO": str(REPO),
            "EPRLI_LAB_CACHE": str(cache),
            "HF_HUB_OFFLINE": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "EPRLI_LAB_EVALUATIONS": "1",
        }

    def follow(self, page: Path) -> Iterator[Outcome]:
        """Every command of a page, in order; what fails does not stop what follows."""
        for block in blocks(page):
            for path in block.all("file"):
                target = self.directory / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(block.text)
            if block.all("file") or block.language != "sh":
                continue
            for command in block.all("given"):
                yield self.outcome(block, block.line, command, "run")
            for line, command in commands(block):
                yield from self.one(block, line, command)

    def one(self, block: Block, line: int, command: str) -> Iterator[Outcome]:
        """One command, as its block's marks say."""
        runs = [part for part in re.split(r" && |; ", command) if RUN.match(part) and "--cfg" not in part]
        smaller = " ".join(block.all("smaller")) if runs else ""
        if smaller or block.all("not run"):
            for run in runs:
                yield self.outcome(block, line, composition(run), "composed")
        if not block.all("not run"):
            yield self.outcome(block, line, f"{command} {smaller}".strip(), "run")
        elif not runs:
            yield self.outcome(block, line, f"bash -n -c {shlex.quote(command)}", "parsed")

    def outcome(self, block: Block, line: int, command: str, how: str) -> Outcome:
        """Run it in Bash."""
        began = time.monotonic()
        expected = int((block.all("exit") or ["0"])[0]) if how == "run" else 0
        if how == "run" and SERVER.match(command):
            code, said = self.served(command)
        else:
            code, said = self.done(command)
        name = str(block.page.relative_to(REPO)) if block.page.is_relative_to(REPO) else block.page.name
        return Outcome(name, line, command, how, code, expected, time.monotonic() - began, said[-3000:])

    def done(self, command: str) -> tuple[int, str]:
        """(exit code, output); 124 after `LONGEST` seconds."""
        process = self.start(command, self.environment)
        try:
            said, _ = process.communicate(timeout=LONGEST)
        except subprocess.TimeoutExpired:
            end(process)
            return 124, f"not done after {LONGEST} s"
        return process.returncode, said

    def served(self, command: str) -> tuple[int, str]:
        """(0, "") once a server answers; it is ended then. It listens on a free port."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        listening = "" if "mlflow" in command else f" --port {port}"
        process = self.start(command + listening, self.environment | {"MLFLOW_PORT": str(port)})
        until = time.monotonic() + LONGEST / 10
        try:
            while process.poll() is None and time.monotonic() < until:
                with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
                    return 0, ""
                time.sleep(0.5)
        finally:
            end(process)
        return process.returncode or 1, "the server never answered"

    def start(self, command: str, environment: dict[str, str]) -> subprocess.Popen[str]:
        """In the page's directory, in a session of its own."""
        return subprocess.Popen(
            ["bash", "-c", command],
            cwd=self.directory,
            env=environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def composition(run: str) -> str:
    """A command that composes and validates what a run, or every arm of a sweep, would be given, and starts nothing."""
    if SWEEP.search(run) and "sweep=" not in run:
        return f"bash -n -c {shlex.quote(run)}"  # its arms are values on the command line
    if SWEEP.search(run):
        return SWEEP.sub(f"PYTHONPATH={REPO}:{REPO}/tests python -c {shlex.quote(PLAN)} ", run)
    return f"{run} --cfg job > /dev/null"


def end(process: subprocess.Popen[str]) -> None:
    """A command with all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def follow(page: Path, cache: Path | None = None) -> Iterator[Outcome]:
    """What becomes of every command of a page, in a directory that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix=f"{page.stem}-") as directory:
        work = Path(directory) / "work"
        work.mkdir()
        yield from Reader(work, cache or Path(directory) / "cache").follow(page)


def row(outcome: Outcome) -> str:
    """A line of the table."""
    verdict = "ok" if outcome.good else f"exit code {outcome.code}, expected {outcome.expected}"
    where = f"{outcome.page}:{outcome.line}"
    return f"{where:28} {outcome.how:9} {outcome.seconds:7.1f} s  {verdict:5}  {outcome.command}"


def main(names: list[str]) -> int:
    """Print a table while the pages are followed; 1 if a command failed."""
    pages = [Path(n).resolve() for n in names] or PAGES
    failed, count, began = [], 0, time.monotonic()
    with tempfile.TemporaryDirectory(prefix="docs-cache-") as cache:
        for page in pages:
            for outcome in follow(page, Path(cache)):
                print(row(outcome), flush=True)
                count += 1
                if not outcome.good:
                    failed.append(outcome)
                    print("    " + outcome.said.strip().replace("\n", "\n    "), flush=True)
    print(f"{count} commands of {len(pages)} pages in {time.monotonic() - began:.0f} s; {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
