"""Everything that a run reads, read before anything is started."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from eprli_lab.data.conversation import at_level
from eprli_lab.errors import UserError, nearest

if TYPE_CHECKING:
    from eprli_lab.config.data import SourceSpec
    from eprli_lab.config.spec import RunSpec
    from eprli_lab.records import Problem
    from eprli_lab.training.problems import RunProblems
    from eprli_lab.training.prompts import PromptReport


def preflight(spec: RunSpec) -> PromptReport:
    """Everything a run reads, read before anything is started; its first prompts. Raises UserError."""
    prompts = check_inputs(spec)
    check_launch(spec)
    return prompts


def check_launch(spec: RunSpec) -> None:
    """Raises UserError for what OpenRLHF would refuse; slow, but after `foresee_launches` of several runs."""
    from eprli_lab.config.backend import OpenRLHFSpec

    if isinstance(spec.backend, OpenRLHFSpec):
        from eprli_lab.backends.openrlhf import dry_run

        dry_run.check_launch(spec)


def foresee_launches(specs: Sequence[RunSpec]) -> None:
    """What `check_launch` asks about each run, asked about all of them at once."""
    from eprli_lab.config.backend import OpenRLHFSpec

    theirs = [spec for spec in specs if isinstance(spec.backend, OpenRLHFSpec)]
    if theirs:
        from eprli_lab.backends.openrlhf import dry_run

        dry_run.foresee_launches(theirs)


def check_inputs(spec: RunSpec) -> PromptReport:
    """All of `preflight` but the launch."""
    from eprli_lab.tracking.mirrors.check import check_mirrors
    from eprli_lab.training.extensions import check_extensions
    from eprli_lab.training.problems import check_window, read_problems
    from eprli_lab.training.prompts import prompt_report

    check_extensions(spec)
    check_mirrors(spec.tracking, spec.study)
    check_logged("objective", spec.objective, spec)
    problems = read_problems(spec)
    check_format(spec, problems)
    check_window(spec)
    return prompt_report(spec, problems)


def check_format(spec: RunSpec, problems: RunProblems) -> None:
    """Raises UserError where prompts ask for another answer format than is read there: all answers would be lost."""
    for name, level in spec.curriculum.levels.items():
        found = at_level(problems.strata.levels[name], level.prompts)
        _refuse(format_fault(spec, f"level {name}", "data", spec.data.source, found))
    for name, suite in spec.evaluation.suites.items():
        key = f"evaluation.suites.{name}"
        _refuse(format_fault(spec, f"suite {name}", key, suite.source, problems.suites[name]))


def _refuse(sentence: str | None) -> None:
    if sentence is not None:
        raise UserError(sentence)


def asked_texts(spec: RunSpec, problems: Sequence[Problem]) -> list[str]:
    """All that each prompt says to the policy, in one text."""
    given = (spec.prompts.system, spec.prompts.suffix)
    return [
        "\n".join([*(p.system or given[0], p.prompt, p.suffix or given[1]), *(text for _, text in p.messages)])
        for p in problems
    ]


def format_fault(
    spec: RunSpec, where: str, key: str, source: SourceSpec | None, problems: Sequence[Problem]
) -> str | None:
    """A sentence where most prompts ask for another answer format than is read. `key`: of the config, of the source."""
    from eprli_lab.config.extensions import is_path
    from eprli_lab.grading.formats import mismatch

    chosen = spec.format_of(source)
    other = None if is_path(spec.verify.grader) else mismatch(asked_texts(spec, problems), chosen)
    if other is None:
        return None
    name, words, count, total = other
    own = f"{key}.source.format"
    chosen_by, better = (own if source and source.format else "verify.format"), (own if source else "verify.format")
    return (
        f"{chosen_by} is {chosen}, but {count} of {total} prompts of {where} ask for {words}: set {better}={name}, or "
        "ask for the format in prompts.suffix"
    )


def dry_run(specs: Sequence[RunSpec]) -> bool:
    """Print the launch of each OpenRLHF run whose backend.dry_run is on; were there any? Raises UserError."""
    from eprli_lab.config.backend import OpenRLHFSpec

    asked = [s for s in specs if isinstance(s.backend, OpenRLHFSpec) and s.backend.dry_run]
    foresee_launches(asked)
    for spec in asked:
        from eprli_lab.backends.openrlhf.dry_run import describe_launch

        check_launch(spec)
        print((f"== {spec.arm}\n" if spec.arm else "") + describe_launch(spec))
    return bool(asked)


def check_logged(where: str, metric: str, spec: RunSpec) -> None:
    """Raises UserError for a metric that a run of this spec never logs: levels, suites, hints, reference are known."""
    names = logged_names(spec)
    if metric not in names:
        raise UserError(f"{where}: no run logs '{metric}'{nearest(metric, names)}")


def logged_names(spec: RunSpec) -> list[str]:
    """The metrics of the catalogue that a run of this spec may log."""
    from eprli_lab.tracking.names import sampled
    from eprli_lab.training.metrics import CATALOGUE

    levels, suites = spec.curriculum.levels, list(spec.evaluation.suites)
    off = set() if spec.algorithm.kl_coef > 0 else {"kl_ref"}
    off |= set() if spec.evaluation.continue_truncated else {"valid_truncation_rate", "continue"}
    names = [m.name for m in CATALOGUE if m.name.rpartition("/")[2] not in off and _learned(m.name, spec)]
    names = [n.replace("{l}", level) for n in names for level in (levels if "{l}" in n else [""])]
    for level, own in levels.items():
        if own.hint.fraction == 0 or own.hint.when != "all_wrong":
            names.remove(sampled(level, "all", "resampled"))
        if own.hint.fraction == 0:
            names.remove(sampled(level, "all", "hint_steps"))
    return [n.replace("{suite}", suite) for n in names for suite in (suites if "{suite}" in n else [""])]


def _learned(metric: str, spec: RunSpec) -> bool:
    """Is this of the run as it learns process rewards, or of no such thing? A level's AUC needs steps to check."""
    from eprli_lab.tracking.names import family, seconds

    if metric != seconds("process") and family(metric) != "process":
        return True
    implicit = spec.algorithm.reward_density == "implicit"
    return implicit and (spec.checks_steps or not metric.endswith("step_auc"))


def check_writable(directory: Path) -> None:
    """Raises UserError unless files can be made here."""
    probe = directory / f".eprli-{uuid.uuid4().hex}"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"the working directory {directory} cannot be written to ({error.strerror}): change to a directory of yours"
        ) from None
