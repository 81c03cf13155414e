"""`eprli-lab`: every command's help, words, mistakes and exit codes; the doors; completion."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.shell_completion import BashComplete, ShellComplete
from click.testing import CliRunner, Result
from conftest import REPO, rest_exhaustive

from eprli_lab import __version__
from eprli_lab.cli import check, data, difficulty, report, status, table, upload, warmstart
from eprli_lab.cli import main as main_module
from eprli_lab.cli import run as run_module
from eprli_lab.cli.command import Command
from eprli_lab.cli.completion import KeysInBash
from eprli_lab.cli.errors import exit_code
from eprli_lab.cli.main import COMMANDS, GROUPS, group, main, module_of
from eprli_lab.cli.words import candidates, parse
from eprli_lab.config.compose import compose_data, compose_spec
from eprli_lab.config.overrides import expand_shortcuts
from eprli_lab.errors import NonFiniteError, UserError

pytestmark = pytest.mark.slow  # one of many

OF_HYDRA = ("run", "sweeps", "data", "difficulty", "warmstart")
KEYED = {"status": status, "report": report, "table": table, "check": check, "upload": upload}


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def command_of(name: str) -> Command:
    command = importlib.import_module(module_of(name)).command
    assert isinstance(command, Command)
    return command


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(group, list(arguments), prog_name="eprli-lab")


def process(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )


# --- help ----------------------------------------------------------------------------------------------------------


def test_the_group_lists_every_command_by_its_purpose_and_how_completion_is_switched_on():
    done = invoke("--help")
    assert done.exit_code == 0
    listed = done.output.partition("\nRun:")[2]
    assert tuple(re.findall(r"^  (\w+)  ", listed, flags=re.M)) == COMMANDS
    assert re.findall(r"^(\w[\w ]+):$", f"Run:{listed}", flags=re.M) == list(GROUPS)
    assert 'eval "$(_EPRLI_LAB_COMPLETE=bash_source eprli-lab)"' in done.output
    assert "..." not in listed, "no sentence is cut"
    assert max(map(len, done.output.splitlines())) <= 80


@pytest.mark.parametrize("name", [n for n in COMMANDS if n != "run"])
def test_a_help_has_a_sentence_the_keys_and_examples(name):
    done = invoke(name, "--help")
    assert done.exit_code == 0 and done.output.startswith(f"Usage: eprli-lab {name} ")
    text = done.output
    command = command_of(name)
    assert not command.keys or text.index("Keys:") < text.index("Options:")
    assert text.index("Options:") < text.index("Examples:")
    for key in command.keys:
        assert f"  {key.name}={key.example}" in text
    for words, meaning in command.examples:
        assert f"  # {meaning}\n  eprli-lab {name} {words}".rstrip() in text
    assert invoke(name, "-h").output == text


def test_run_gives_every_word_to_hydra(monkeypatch):
    given: list[list[str]] = []

    def application(arguments):
        given.append(list(arguments))
        return 0

    monkeypatch.setattr(run_module, "application", application)
    for words in (["-m", "sweep=levels"], ["--cfg", "job", "--"], ["--help"], ["curriculum=l3"], ["~budget"], ["-h=1"]):
        assert main(["run", *words]) == 0 and given[-1] == words
        if words != ["--help"]:  # that of all commands
            assert main(words) == 0 and given[-1] == words
    assert main(["run"]) == 0 and given[-1] == []


# --- words ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KEYED)
def test_the_words_of_the_examples_are_taken(name):
    for words, _ in KEYED[name].command.examples:
        given = [w for w in shlex.split(words.partition(" > ")[0]) if "=" in w]
        parsed = parse(given, [key.name for key in KEYED[name].KEYS], "")
        assert len(parsed) == len(given)


def test_hydra_composes_the_words_of_the_examples():
    for name in ("run", "sweeps", "warmstart"):
        for words, _ in command_of(name).examples:
            ours = ("-m", "--cfg", "job", "out=", "only=")
            overrides = [w for w in words.split() if not w.startswith(ours)]
            compose_spec(expand_shortcuts(overrides))
    for words, _ in difficulty.command.examples:
        _, _, _, overrides = difficulty._arguments(words.split())
        compose_data(overrides)
    for words, _ in data.command.examples:
        compose_data(["data=jsonl", *(w for w in words.split() if "=" in w), "data.source.path=x"])
    assert warmstart.command.examples


def test_options_may_stand_anywhere_among_the_overrides(capsys):
    shown = []
    for words in ("--cfg job -p budget seed=1 budget.amount=3000", "seed=1 --cfg job budget.amount=3000 -p budget"):
        assert run_module.main(words.split()) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1] and "amount: 3000" in shown[0]


MISTAKES = [
    (["tabel"], "tabel: there is no such command (did you mean 'table'?)"),
    (["levels"], "levels: there is no such command"),
    (["table", "swep=levels"], "swep: unknown key (did you mean 'sweep'?)"),
    (["table", "sweep"], "'sweep' is not key=value; usage: eprli-lab table"),
    (["table", "-x"], "'-x' is not key=value"),
    (["table", "sweep="], "'sweep=' is not key=value"),
    (["table", "study=a", "study=b"], "study: given twice (a, b)"),
    (["table", "--help=3"], "Option '--help' does not take a value"),
    (["table", "study=s", "format=xls"], "format=xls: there is text, md"),
    (["report"], "which study? usage: eprli-lab report sweep=NAME"),
    (["report", "swep=levels"], "swep: unknown key (did you mean 'sweep'?)"),
    (["check"], "which check? usage: eprli-lab check {levels,sharing,buffer}"),
    (["check", "levels", "maring=1"], "maring: unknown key (did you mean 'margin'?)"),
    (["status"], "write: eprli-lab status NAME"),
    (["status", "levels", "watch=maybe"], "watch=maybe: give true or false"),
    (["status", "levels", "--watch", "every=0"], "every=0: give seconds between two looks, at least 0.5"),
    (["status", "levels", "every=3"], "every=3: one look is no watch"),
    (["status", "--watch"], "write: eprli-lab status NAME"),
    (["open"], "write: eprli-lab open NAME"),
    (["open", "levels"], "reports/levels/report.html: there is no such report here"),
    (["open", "../x"], "open: '../x' is no name"),
    (["status", "levels", "prest=smoke"], "prest: unknown key (did you mean 'preset'?)"),
    (["sweeps", "levels"], "'levels' is not key=value; usage: eprli-lab sweeps"),
    (["difficulty", "k=0"], "k=0: a whole number of at least 1 is needed"),
    (["difficulty", "k=1", "k=2"], "k: given twice (1, 2)"),
    (["difficulty", "data.generated.problms=3"], "data.generated.problms: unknown key (did you mean 'problems'?)"),
    (["warmstart", "model=mod11"], "model=mod11: there is no such model (did you mean 'mod10'?)"),
    (["warmstart", "out="], "out=: name the directory to write"),
    (["upload"], "usage: eprli-lab upload RUN_DIR"),
    (["upload", "here", "tracking.url=x"], "tracking.url: unknown key (did you mean 'tracking.uri'?)"),
]


@pytest.mark.parametrize(("arguments", "sentence"), MISTAKES, ids=[" ".join(a) for a, _ in MISTAKES])
def test_a_mistake_is_one_sentence_and_exit_code_2(arguments, sentence, capsys):
    assert main(arguments) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.startswith("eprli_lab: ") and streams.err.count("\n") == 1 and sentence in streams.err


# --- exit codes ----------------------------------------------------------------------------------------------------


def raiser(error: BaseException):
    def work() -> int:
        raise error

    return work


def test_errors_are_sentences_and_exit_codes(capsys):
    from hydra.errors import MissingConfigException
    from omegaconf.errors import ConfigKeyError

    assert exit_code(lambda: None) == 0 and exit_code(lambda: 1) == 1
    missing = MissingConfigException("no", "sweep/levls", ["levels"])  # Hydra's is an OSError too
    cases = [
        (UserError("mend it"), 2, "mend it"),
        (missing, 2, "sweep=levls: there is no such sweep (did you mean 'levels'?)"),
        (ConfigKeyError("a key"), 2, "a key"),
        (NonFiniteError("NaN"), 1, "the run failed: NaN"),
        (KeyboardInterrupt(), 130, "interrupted; the same command begins again"),
        (OSError(28, "No space left on device"), 2, "the output cannot be written (No space left on device)"),
        (PermissionError(13, "Permission denied", "a/b"), 2, "a/b cannot be written (Permission denied)"),
        (OSError(30, "Read-only file system", "a"), 2, "a cannot be written (Read-only file system)"),
    ]
    for error, code, sentence in cases:
        assert exit_code(raiser(error)) == code
        assert capsys.readouterr().err == f"eprli_lab: {sentence}\n"
    with pytest.raises(ZeroDivisionError):
        exit_code(raiser(ZeroDivisionError()))
    with pytest.raises(FileNotFoundError):  # of the program itself
        exit_code(raiser(FileNotFoundError(2, "No such file", "x")))


def test_a_reader_who_has_gone(tmp_path):
    """`| head`: fine for an answer; a run that ends early for it was interrupted."""
    code = (
        "import sys; from eprli_lab.cli.errors import exit_code\n"
        "def work():\n"
        "    for _ in range(100000): print('a line of output')\n"
        "sys.exit(exit_code(work, unread=sys.argv[1]))"
    )
    for sentence, expected in (("", 0), ("gone", 130)):
        with subprocess.Popen(
            [sys.executable, "-c", code, sentence], cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None and child.stderr is not None
            child.stdout.readline()
            child.stdout.close()
            assert child.stderr.read() == (f"eprli_lab: {sentence}\n" if sentence else "")
        assert child.returncode == expected


def test_a_full_disk_is_one_sentence(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "eprli_lab", "--help"],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(REPO)}, stdout=full, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "eprli_lab: the output cannot be written (No space left on device)\n"


def test_version():
    done = invoke("--version")
    assert (done.exit_code, done.output) == (0, f"eprli-lab {__version__}\n")


# --- weight, doors, the wheel --------------------------------------------------------------------------------------


def test_no_command_imports_what_is_heavy(tmp_path):
    modules = ", ".join(module_of(name) for name in (*COMMANDS, "main"))
    heavy = ("torch", "mlflow", "optuna", "pandas", "numpy", "pydantic", "hydra", "transformers", "matplotlib")
    code = f"import sys, {modules}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("door", "command"),
    rest_exhaustive(
        [
            (["eprli_lab.sweeps", "status", "levels"], ["status", "levels"]),
            (["eprli_lab.difficulty", "k=0"], ["difficulty", "k=0"]),
            (["eprli_lab.run", "-m", "sweep=levls"], ["-m", "sweep=levls"]),
            (["analysis.check", "levls"], ["check", "levls"]),
            (["eprli_lab.sweeps", "budget.amount=-1"], ["sweeps", "budget.amount=-1"]),
            (["eprli_lab.warmstart", "data=jsonl"], ["warmstart", "data=jsonl"]),
            (["eprli_lab.tracking", "upload", "nowhere"], ["upload", "nowhere"]),
            (["eprli_lab.tracking"], ["upload"]),
            (["eprli_lab.run", "--cfg", "job"], ["--cfg", "job"]),
            (["eprli_lab.run", "--cfg", "hydra"], ["run", "--cfg", "hydra"]),
            (["eprli_lab.run", "--hydra"], ["run", "--hydra"]),
            (["analysis.report", "sweep=levels"], ["report", "sweep=levels"]),
            (["analysis.table", "--help"], ["table", "--help"]),
        ],
        4,
    ),
    ids=lambda words: " ".join(words),
)
def test_a_door_is_the_command(tmp_path, door, command):
    through = process(*door, cwd=tmp_path)
    itself = process("eprli_lab", *command, cwd=tmp_path)
    assert (through.returncode, through.stdout, through.stderr) == (itself.returncode, itself.stdout, itself.stderr)
    assert through.returncode in (0, 2) and through.stdout + through.stderr != ""


def test_what_is_installed():
    project = tomllib.loads((REPO / "pyproject.toml").read_text())
    assert project["project"]["scripts"] == {"eprli-lab": "eprli_lab.cli.main:main"}
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["eprli_lab", "hydra_plugins"]
    assert any(d.startswith("click") for d in project["project"]["dependencies"])
    assert main_module.main is main


# --- completion ----------------------------------------------------------------------------------------------------


def complete(*words: str, shell: type[ShellComplete] = BashComplete) -> list[str]:
    """What stands for the last word, as the shell is told."""
    completer = shell(group, {}, "eprli-lab", "_EPRLI_LAB_COMPLETE")
    *before, incomplete = words
    return [item.value for item in completer.get_completions(list(before), incomplete)]


def test_commands_keys_and_values_are_completed(tmp_path):
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "levelling.yaml").write_text("")
    assert complete("ta") == ["table"] and complete("") == list(COMMANDS)
    assert complete("table", "swe") == ["sweep="]
    assert complete("table", "sweep=lev") == ["sweep=levelling", "sweep=levels"]  # zsh, fish
    assert complete("table", "sweep", "=", "lev") == ["levelling", "levels"]  # bash
    assert complete("table", "preset", "=") == ["default", "full", "smoke"]
    assert complete("table", "sweep", "=", "levels", "p") == ["preset="]
    assert "sweep=" not in complete("table", "sweep=levels", "")
    assert complete("table", "format=c") == ["format=csv"]
    assert complete("report", "formats=png,p") == ["formats=png,pdf"]
    assert "columns=arm,difference" in complete("table", "columns=arm,")
    assert complete("check", "b") == ["buffer"] and complete("check", "buffer", "mar") == ["margin="]
    assert complete("status", "level") == ["levelling", "levels"]
    assert complete("run", "-m", "sweep=smo") == ["sweep=smoke"] == complete("-m", "sweep=smo")
    assert complete("run", "curriculum=paper") == ["curriculum=paper_l1", "curriculum=paper_l2"]
    assert complete("difficulty", "mod") == ["model="] and "KEY=" not in complete("difficulty", "")
    assert complete("upload", "out") == ["out"], "directories, which the shell finds"
    assert candidates(table.KEYS, [], "nothing=") == []


def test_bash_completes_words_that_it_split_and_adds_no_space_after_a_key(tmp_path):
    eprli_lab = tmp_path / "eprli-lab"
    eprli_lab.write_text(f'#!/bin/sh\nexec {sys.executable} -m eprli_lab "$@"\n')
    eprli_lab.chmod(0o755)
    script = (
        'eval "$(_EPRLI_LAB_COMPLETE=bash_source eprli-lab)"\n'
        'compopt() { echo "compopt $2"; }\n'
        'ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); COMPREPLY=(); _eprli_lab_completion eprli-lab; '
        'echo "${COMPREPLY[*]}"; }\n'
        "ask eprli-lab table swe\nask eprli-lab table sweep = label\n"
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(REPO)}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.splitlines() == ["compopt nospace", "sweep=", "label_noise"], done.stderr
    assert KeysInBash.source_template != BashComplete.source_template


@pytest.mark.parametrize("words", [["difficulty", "study.only=[l1]"], ["warmstart", "sweep=levels"]], ids=" ".join)
def test_a_word_of_a_study_is_refused_where_there_is_none(words):
    done = invoke(*words)
    assert done.exit_code == 2 and f"{words[1]}: there is no study here" in done.stderr
