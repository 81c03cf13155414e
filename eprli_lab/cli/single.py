"""One run in this process, with progress lines."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from eprli_lab.config.compose import spec_tree, study_node
from eprli_lab.errors import Interrupted, UserError

if TYPE_CHECKING:
    from eprli_lab.config.spec import TrackingSpec


def run_single(cfg: DictConfig) -> int:
    """One run in this process, with progress lines; 0, or 130 when interrupted."""
    from eprli_lab.backends.toy_settings import toy_settings
    from eprli_lab.config.parse import parse_spec
    from eprli_lab.sweeping.command import again
    from eprli_lab.sweeping.run_progress import RunProgress
    from eprli_lab.training.execute import execute
    from eprli_lab.training.preflight import check_writable, dry_run
    from eprli_lab.training.single import has_checkpoint, start_run

    study = study_node(cfg)
    if study.get("job"):
        from hydra.core.hydra_config import HydraConfig

        from eprli_lab.sweeping.launchers import job

        hydra_node: Any = HydraConfig.get()
        return job(study, str(hydra_node.runtime.choices.get("preset")), _words())
    if study.get("arms"):
        raise UserError(f"sweep={study.get('name')} is a sweep of several runs: add -m to the command line")
    _refuse_study_words()
    spec = parse_spec(spec_tree(cfg))
    check_writable(Path.cwd())
    if dry_run([spec]):
        return 0
    directory, prompts = start_run(spec)
    if has_checkpoint(directory):
        print(f"resuming {directory} (remove it to start over)", flush=True)
    for sentence in toy_settings(spec):
        print(f"warning: {sentence}", flush=True)
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda n, _: _ask_to_stop(asked, n))
    print(
        f"run {directory.name}: {spec.model.name}, levels {', '.join(spec.curriculum.levels)}, seed {spec.seed}",
        flush=True,
    )
    print("\n".join(prompts.lines()), flush=True)
    try:
        with RunProgress(f"run, seed {spec.seed}", spec.objective) as progress:
            result = execute(spec.model_dump_json(), str(directory), None, lambda: bool(asked), progress.show)
    except Interrupted as error:
        print(f"{again()}{error} in {directory}; the same command resumes", file=sys.stderr)
        return 130
    print(_summary(directory, result, spec.tracking))
    return 0


def _words() -> list[str]:
    """The overrides of the command line as they were typed: an interpolation in one of them is not resolved."""
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return []
    words: Any = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    return [str(word) for word in words]


def _refuse_study_words() -> None:
    """Raises UserError for `study.seeds=[1,2]` of a single run: it has no study, and one seed."""
    from eprli_lab.config.overrides import key_of

    word = next((w for w in _words() if key_of(w).partition(".")[0] == "study"), None)
    if word is not None:
        raise UserError(
            f"{word}: one run has no study, so it would change nothing: add -m and sweep=NAME, or leave it out"
        )


def _ask_to_stop(asked: list[int], number: int) -> None:
    if asked:  # a second one does not wait for a safe point
        if sys.stdout.isatty():
            os.write(sys.stdout.fileno(), b"\x1b[?25h\n")  # the cursor, which the bar may have hidden
        os._exit(128 + number)
    asked.append(number)
    print("stopping at the next safe point ...", file=sys.stderr, flush=True)


def _summary(directory: Path, result: dict[str, Any], tracking: TrackingSpec) -> str:
    """What a person wants to see after one run: each suite before and after, and where the rest is."""
    from eprli_lab.tracking.commands import where_to_look
    from eprli_lab.training.single import end_run, policy_of

    lines = [f"{'suite':<18}{'start':>8}{'final':>8}"]
    lines += [f"{suite:<18}{start:>8.3f}{final:>8.3f}" for suite, (start, final) in end_run(directory).items()]
    m = result["metrics"]
    lines.append(
        f"score {m['score']:.3f} after {m['progress/tokens']:.0f} tokens, {m['progress/updates']:.0f} updates, "
        f"{m['time/total']:.1f} s"
    )
    lines += [f"warning: {sentence}" for sentence in result["starved"]]
    lines.append(f"checkpoint: {policy_of(directory)}")
    lines += where_to_look(tracking)
    return "\n".join(lines)
