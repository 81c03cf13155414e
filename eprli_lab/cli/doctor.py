"""`eprli-lab doctor`: does it work here? The first thing to run on a machine or a cluster."""

from __future__ import annotations

from collections.abc import Sequence

import click

from eprli_lab.cli.command import Command
from eprli_lab.cli.words import ANY, Key, split
from eprli_lab.errors import UserError

ABOUT = """Does it work here? The first thing to run on a cluster.

Runs every part once, in minutes, and says what works:

\b
  versions, room on the disk, devices, the names of vLLM that are used
  whole groups, the mismatch between trainer and sampler, an update that reaches the sampler
  (on OpenRLHF) weights of trainer and engines by digest, sleep and wake
  a run of two levels through the ordinary command, and the same run killed and resumed

Without backend=... the engine is OpenRLHF where it is installed (its rehearsal where torch sees no GPU), else the local
one. Everything is done in a directory that is removed again; with out=DIR it is kept.

--engine looks up every name of vLLM that OpenRLHF or this package uses in the sources of vLLM and starts nothing: of
the installed package, or of a wheel or a directory, on any machine."""
COLORS = {"ok": "green", "FAULT": "red", "-": "yellow"}


def _doctor(words: list[str]) -> int:
    names, words = _engine_words(words)
    given, overrides = split(words, ("engine", "openrlhf", "out"))
    if empty := [key for key, value in given.items() if not value]:
        raise UserError(f"{empty[0]}=: give a directory{'' if empty[0] == 'out' else ' or a wheel'}")
    if names is not None or "engine" in given:
        if overrides or "out" in given:
            raise UserError(f"{(overrides or ['out'])[0]}: --engine reads sources and starts nothing: leave it out")
        return _names(given.get("engine", names or None), given.get("openrlhf"))
    if "openrlhf" in given:
        raise UserError("openrlhf: is where the sources of OpenRLHF are, for --engine")
    from eprli_lab.config.credentials import hide_words
    from eprli_lab.training.doctor import examine
    from eprli_lab.training.doctor_finding import Finding

    def show(finding: Finding) -> None:
        verdict = click.style(f"{finding.verdict:<6}", fg=COLORS[finding.verdict], bold=True)
        click.echo(f"{finding.check:<22}{verdict} {finding.measured}")
        if finding.advice:
            click.echo(f"{'':<22}{'':<6} -> {finding.advice}")

    click.echo(f"{'check':<22}{'':<6} measured")
    findings = examine(hide_words(overrides), show, given.get("out"))
    faults = [f for f in findings if f.verdict == "FAULT"]
    said = f"{len(faults)} of {len(findings)} checks found a fault: {', '.join(f.check for f in faults)}"
    click.echo(said if faults else f"all {len(findings)} checks passed, or have nothing to check here (-)")
    return 1 if faults else 0


def _engine_words(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """What stands after `--engine` ('': nothing; None: no `--engine`), and the other words."""
    rest = list(words)
    if "--engine" not in rest:
        unknown = next((w for w in rest if w.startswith("--")), None)
        if unknown and unknown.startswith("--engine="):
            rest[rest.index(unknown)] = unknown.removeprefix("--")
        elif unknown:
            raise UserError(f"{unknown}: there is no such option (did you mean '--engine'?)")
        return None, rest
    place = rest.index("--engine")
    del rest[place]
    if place < len(rest) and "=" not in rest[place]:
        return rest.pop(place), rest
    return "", rest


def _names(engine: str | None, openrlhf: str | None) -> int:
    """The table of names; 1 where one is missing."""
    from eprli_lab.backends.openrlhf.engine_names import check_names, pinned
    from eprli_lab.backends.openrlhf.source_tree import SourceTree

    vllm, theirs = SourceTree(engine, "vllm"), SourceTree(openrlhf, "openrlhf")
    rows = check_names(vllm, theirs)
    wide = max(len(row.name) for row in rows)
    for row in rows:
        mark = click.style("MISSING", fg="red", bold=True) if row.fault else click.style("ok     ", fg="green")
        click.echo(f"{mark} {row.name:<{wide}}  used {row.used}  {row.fault or f'found {row.found}'}")
    missing = [row for row in rows if row.fault]
    there, wanted = vllm.version(), pinned()
    click.echo(
        f"vLLM {there}{f', OpenRLHF pins {wanted}' if wanted else ''}: {len(rows)} names, {len(missing)} missing"
    )
    if wanted and there and there.split("+")[0] != wanted:
        click.echo(f"these are not the sources of the pinned version: pip download --no-deps vllm=={wanted}")
    return 1 if missing else 0


command = Command(
    "doctor",
    _doctor,
    ABOUT,
    usage="[--engine [WHEEL_OR_DIRECTORY]] [KEY=VALUE]...",
    keys=(
        Key(
            "engine", "the sources of vLLM for --engine (default: the installed package)", example="WHEEL_OR_DIRECTORY"
        ),
        Key("openrlhf", "the sources of OpenRLHF for --engine (default: the installed package)", example="DIR"),
        Key("out", "keep what the checks write in this directory", example="DIR"),
        ANY,
    ),
    examples=(
        ("", "everything, on the engine that this machine has"),
        ("backend=openrlhf backend.gpus_per_node=2", "on two GPUs"),
        ("backend=openrlhf_cpu", "the rehearsal"),
        ("model=path model.path=DIR", "with a model of yours"),
        (
            "--engine vllm-0.29.0-cp38-abi3-manylinux_2_28_x86_64.whl",
            "the names of vLLM, from a wheel that is not installed",
        ),
    ),
    overrides=True,
)
