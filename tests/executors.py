"""Executors for tests of the sweep engine: real small work in the worker process, chosen by the run's directory."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

from eprli_lab.errors import Interrupted, UserError


def score_of(spec: dict) -> float:
    return spec["seed"] + len(spec["curriculum"]["levels"]) / 10


def work(spec_json, run_dir, parent, stop, on_progress):
    """Ten small steps with a position on disk; a file `plan.json` in the working directory says what goes wrong."""
    spec, directory = json.loads(spec_json), Path(run_dir)
    note = Path("plan.json")
    trouble = json.loads(note.read_text()).get(f"{spec['arm']}/{spec['seed']}") if note.is_file() else None
    with open(directory / "starts", "a") as f:
        f.write("x")
    starts = len((directory / "starts").read_text())
    place = directory / "position"
    position = int(place.read_text()) if place.is_file() else 0
    while position < 10:
        if stop():
            raise Interrupted("stopped")
        if trouble == "fail" or (trouble == "fail once" and starts == 1):
            raise UserError("this arm cannot work")
        if trouble == "crash":
            raise RuntimeError("a bug")
        if trouble == "kill once" and starts == 1 and position == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.02 if trouble != "slow" else 1.0)
        position += 1
        place.write_text(str(position))
        on_progress({"fraction": position / 10})
    metrics = {"score": score_of(spec), "progress/updates": 5.0 + spec["seed"], "amount": spec["budget"]["amount"]}
    return {"objective": metrics["score"], "metrics": metrics, "starved": []}
