"""What is noted of how a run was made."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

from eprli_lab import __version__
from eprli_lab.tracking.provenance import command, provenance

REPO = Path(__file__).resolve().parents[2]


def test_the_command_is_what_a_person_types():
    argv = ["/somewhere/venv/bin/python", "-m", "eprli_lab.run", "-m", "sweep=levels", "study.only=[l2]"]
    assert command(argv) == "python -m eprli_lab.run -m sweep=levels 'study.only=[l2]'"
    argv = ["/somewhere/venv/bin/python", "/somewhere/venv/bin/eprli-lab", "report", "study=my study"]
    assert command(argv) == "eprli-lab report 'study=my study'"
    assert command(["python", "-c", "from multiprocessing.spawn import spawn_main"]) == ""
    assert command([]) == ""


def test_versions_and_hardware_of_a_fresh_process():
    code = "import json; from eprli_lab.tracking.provenance import provenance; print(json.dumps(provenance()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["python"] == platform.python_version()
    import torch

    assert found["packages"]["torch"] == torch.__version__ and found["hardware"]["cores"] >= 1
    assert "torch" not in subprocess.run(
        [sys.executable, "-c", "import sys, eprli_lab.tracking.provenance as p; p.provenance(); print('torch' in sys.modules or '')"],
        cwd=REPO, capture_output=True, text=True, check=True,
    ).stdout.replace("True", "torch")  # fmt: skip
    assert __version__ and "host" not in found, "no machine's name"


def test_the_commit_is_that_of_the_checkout():
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=REPO, capture_output=True, text=True)
    if head.returncode == 0:
        assert head.stdout.startswith(provenance()["commit"].removesuffix("-dirty"))


def test_a_run_says_which_decode_loop_sampled(tmp_path):
    from engines import SPEC, backend
    from helpers import ScriptedBackend

    from eprli_lab.backends.build import described
    from eprli_lab.tracking.header import run_header

    engine = described(backend(decode="torch"))
    assert engine == {"decode": "torch"} and described(ScriptedBackend()) == {}
    tags = [run_header(SPEC, None, None, tmp_path, e)["tags"] for e in (engine, {})]
    said = [json.loads(t["eprli.provenance"]) for t in tags]
    assert said[0]["engine"] == engine and "engine" not in said[1]
    assert tags[0]["fingerprint"] == tags[1]["fingerprint"]
