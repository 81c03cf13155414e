"""`eprli-lab import`: logs of other trainers into a study, so that tables, intervals and reports work on them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from eprli_lab.cli import options
from eprli_lab.cli.command import Command
from eprli_lab.cli.words import Key
from eprli_lab.errors import UserError, nearest

if TYPE_CHECKING:
    from eprli_lab.importing.runs import ImportedRun

SOURCES = ("trl", "verl", "openrlhf", "csv", "wandb-export")
FLAGS = {
    "replace": "a run of the same arm and seed gives way",
    "resumed": "the log is of a run that was resumed: of a step that stands twice, the last counts",
    "incomplete": "a file that was cut off: what is whole of it counts, and the report says so",
}
STUDY = "imported"  # where no study is named
KEYS = (
    Key("from", f"who wrote the files: {', '.join(SOURCES)}", lambda: SOURCES, "trl"),
    Key("arm", "what the run is an arm of (csv: where the file has no column arm)", example="NAME"),
    Key("seed", "its seed; a list, one a file, brings several runs in at once", example="0"),
    Key("study", f"the study that it becomes a part of (default: {STUDY})", example="NAME"),
    Key("score", "the key of the log that arms are compared by (default: the mean over suites)", example="eval_reward"),
    Key("suite", "a suite and the key of its accuracy; may stand several times", example="NAME=KEY"),
    Key("config", "what it was trained with, as JSON or YAML: arms are told by it", example="FILE"),
    Key("baseline", "the arm that the others are compared with (default: the first)", example="ARM"),
    Key("question", "what the study asks", example="TEXT"),
    Key("contrast", "two arms whose difference answers it; may stand several times", example="'ARM - ARM'"),
    *(Key(name, meaning, lambda: ("true",), "true") for name, meaning in FLAGS.items()),
    Key("force", "as replace", lambda: ("true",), "true"),
    *options.TRACKING,
)
LISTS = ("suite", "contrast")
USAGE = "usage: eprli-lab import --from trl FILE... --arm NAME --seed 0 [--study NAME]; --help says more"
ABOUT = """Logs of other trainers into a study: tables, intervals, power and reports work on them.

\b
  trl           trainer_state.json, or a run's directory; TensorBoard events
  verl          JSON lines (logger: file), TensorBoard events, the console's output
  openrlhf      TensorBoard events, or their directory
  csv           columns arm, seed, suite, score[, step]
  wandb-export  a history as CSV or JSON lines, a chart as CSV

Every key may be written key=value, --key value or --key=value. Metrics that mean what ours mean take our names
(docs/import.md), the others stand under imported/. Runs of one arm, then of another, are paired by the seeds that you
give. Nothing is written before all files are read."""


@dataclass
class _Given:
    """The words of a command line."""

    keys: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in LISTS})
    files: list[str] = field(default_factory=list)


def _import(words: list[str]) -> None:
    from eprli_lab.importing.study import import_runs
    from eprli_lab.tracking.commands import tracking_command

    given = parse(words)
    keys = given.keys
    tracking = options.tracking(keys)
    study = keys.get("study", STUDY)
    runs = _configured(_runs(given), keys.get("config"))
    description = import_runs(
        tracking,
        study,
        runs,
        baseline=keys.get("baseline"),
        question=keys.get("question"),
        contrasts=given.lists["contrast"],
        replace="true" in (keys.get("replace"), keys.get("force")),
    )
    for run in runs:
        print(_line(run))
    print(f"study {study}: arms {', '.join(description.arms)}; seeds {', '.join(map(str, description.seeds))}")
    for what in ("table", "report"):
        print(f"{what}: {tracking_command(['eprli-lab', what, f'study={study}'], tracking)}")


def parse(words: Sequence[str]) -> _Given:
    """Words as key=value, --key value, --key=value, flags and files. Raises UserError."""
    names = [key.name for key in KEYS]
    given = _Given()
    rest = list(words)
    while rest:
        word = rest.pop(0)
        bare = word.removeprefix("--")
        key, equals, value = bare.partition("=")
        if not word.startswith("--") and (not equals or os.path.exists(word)):
            given.files.append(word)
            continue
        if key not in names:
            raise UserError(f"{word.partition('=')[0]}: unknown key{nearest(key, names)}")
        if not equals:
            value = "true" if key in (*FLAGS, "force") else rest.pop(0) if rest else ""
        if not value or (not equals and value.startswith("--")):
            raise UserError(f"{word}: say its value; {USAGE}")
        if key in LISTS:
            given.lists[key].append(value)
        elif key in given.keys:
            raise UserError(f"{key}: given twice ({given.keys[key]}, {value})")
        else:
            given.keys[key] = value
    for flag in (*FLAGS, "force"):
        if given.keys.get(flag, "false") not in ("true", "false"):
            raise UserError(f"{flag}={given.keys[flag]}: true or false")
    return given


def _runs(given: _Given) -> list[ImportedRun]:
    """What the files hold. Raises UserError."""
    from eprli_lab.importing.runs import read_run, read_score_runs

    keys, files = given.keys, [Path(name) for name in given.files]
    source = keys.get("from")
    if source not in SOURCES:
        what = "which trainer wrote them?" if source is None else f"from={source}: is none of them"
        raise UserError(f"{what}{nearest(source or '', SOURCES)}; {USAGE}")
    if not files:
        raise UserError(f"no file was named; {USAGE}")
    seeds = _seeds(keys["seed"]) if "seed" in keys else []
    if source == "csv":
        idle = [k for k in ("score", "resumed", "incomplete") if k in keys] + [k for k in ("suite",) if given.lists[k]]
        if idle:
            raise UserError(f"{idle[0]}: has no meaning for a CSV of scores, whose columns say it: leave it out")
        if len(seeds) > 1:
            raise UserError(f"seed={keys['seed']}: a CSV of several seeds has a column seed: leave --seed out")
        read = [run for path in files for run in read_score_runs(path, keys.get("arm"), seeds[0] if seeds else None)]
        return _each_once(read)
    for needed in ("arm", "seed"):
        if needed not in keys:
            raise UserError(f"which {needed}? The log does not say it: give --{needed}; {USAGE}")
    if len(seeds) > 1 and len(seeds) != len(files):
        raise UserError(f"seed={keys['seed']}: {len(seeds)} seeds and {len(files)} files: give one file a seed")
    parts = [[path] for path in files] if len(seeds) > 1 else [files]
    flags = {name: keys.get(name) == "true" for name in ("resumed", "incomplete")}
    suites = _suites(given.lists["suite"])
    return [
        read_run(source, paths, keys["arm"], seed, score=keys.get("score"), suites=suites, **flags)
        for seed, paths in zip(seeds, parts, strict=True)
    ]


def _configured(runs: list[ImportedRun], file: str | None) -> list[ImportedRun]:
    """The runs with the configuration of that file. Raises UserError, also where they are of several arms."""
    from eprli_lab.importing.runs import with_settings
    from eprli_lab.importing.settings import read_settings

    if file is None:
        return runs
    arms = list(dict.fromkeys(run.arm for run in runs))
    if len(arms) > 1:
        raise UserError(
            f"config={file}: the files hold {len(arms)} arms ({', '.join(arms[:5])}): import one arm with it"
        )
    params = read_settings(Path(file))
    return [with_settings(run, params) for run in runs]


def _each_once(runs: list[ImportedRun]) -> list[ImportedRun]:
    """Raises UserError where two files hold the same arm and seed."""
    known: dict[tuple[str, int], ImportedRun] = {}
    for run in runs:
        other = known.setdefault((run.arm, run.seed), run)
        if other is not run:
            both = ", ".join([*other.record.files, *run.record.files])
            raise UserError(f"{both}: both hold {run.arm} seed {run.seed}: put them into one file")
    return runs


def _seeds(text: str) -> list[int]:
    """Raises UserError for what is no list of different whole numbers."""
    parts = text.split(",")
    if not all(part.isascii() and part.isdecimal() and len(part) <= 15 for part in parts):
        raise UserError(f"seed={text}: a seed is a whole number from 0; several: 0,1,2")
    seeds = [int(part) for part in parts]
    if len(set(seeds)) < len(seeds):
        raise UserError(f"seed={text}: a seed stands twice")
    return seeds


def _suites(texts: Sequence[str]) -> dict[str, str]:
    """NAME=KEY each. Raises UserError."""
    out: dict[str, str] = {}
    for text in texts:
        name, _, key = text.partition("=")
        if not name or not key:
            raise UserError(f"suite={text}: write NAME=KEY, a name of yours and a key of the log")
        if name in out:
            raise UserError(f"suite={text}: {name} has the key {out[name]} already")
        out[name] = key
    return out


def _line(run: ImportedRun) -> str:
    start, end = run.ends()
    ours = sum(not name.startswith("imported/") for name in run.metrics)
    walk = f"{end:.3f}" if start != start else f"{start:.3f} -> {end:.3f}"
    return (
        f"{run.arm} seed {run.seed}: score {walk} ({run.record.score}); {ours} metrics by our names, "
        f"{len(run.metrics) - ours} as imported/..."
    )


command = Command(
    "import",
    _import,
    ABOUT,
    usage="--from SOURCE FILE... --arm NAME --seed N [KEY=VALUE]...",
    keys=KEYS,
    examples=(
        ("--from trl runs/grpo-0 --arm grpo --seed 0 --study mine", "a run of TRL's GRPOTrainer"),
        ("--from trl runs/*/trainer_state.json --arm grpo --seed 0,1,2", "three at once"),
        ("--from verl metrics.jsonl --arm dapo --seed 0 --baseline grpo", "another arm, of another trainer"),
        (
            "--from openrlhf tb/run --arm tight --seed 0 --suite math=eval/eval_math_pass1",
            "with a suite's name of yours",
        ),
        ("--from csv scores.csv --study mine", "final scores alone"),
    ),
    files=True,
)
