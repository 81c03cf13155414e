"""The three checks that readers of the paper ask for, each one command with its figure.

    python -m analysis.check levels     # one level against two (study levels)
    python -m analysis.check sharing    # one shared policy against one a level (study sharing)
    python -m analysis.check buffer     # utilisation and reward variance across difficulty levels (study levels)

    [preset=smoke] [study=NAME] [arms=l1,l2] [out=DIR] [margin=0.03] [tracking.uri=URI]

Each reads what its sweep logged (run it first: python -m eprli_lab.run -m sweep=levels), prints what was found, and
writes figures to reports/check-<check>/.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from analysis import options
from analysis.diagnosis import smallest_that_matters
from analysis.effects import last_by_seed, suite_effects
from analysis.power import equivalence
from analysis.statistics import mean
from analysis.store import StudyData, load_study
from analysis.table import ALPHA, ablation_table, difference_text, fraction, number, p_text
from eprli_lab.errors import UserError, nearest

# check -> its sweep, the arms that it is about (the first of each pair is the reference)
CHECKS = {"levels": ("levels", ("l1", "l2")), "sharing": ("sharing", ()), "buffer": ("levels", ())}
USAGE = f"usage: python -m analysis.check {{{','.join(CHECKS)}}} [preset=NAME] [study=NAME]; --help says more"
KEYS = (*(k for k in options.COMMON if k != "baseline"), "arms", "out", "margin")


def restricted(study: StudyData, arms: Sequence[str]) -> StudyData:
    """The study with these arms only, its baseline the first of them. Raises UserError for an arm without runs."""
    for arm in arms:
        if arm not in study.arms:
            raise UserError(f"arms={arm}: {study.name} has no such arm{nearest(arm, study.arms)}")
        if not study.of(arm):
            raise UserError(f"arms={arm}: {study.name} has no finished run of it: run the sweep again, it goes on")
    named = {**study.description, "arms": list(arms), "baseline": arms[0], "arm_baselines": {}}
    runs = [r for r in study.runs if r.arm in arms]
    return replace(study, description=named, runs=runs, unfinished=[u for u in study.unfinished if u.arm in arms])


def compare(study: StudyData, margin: float | None = None) -> list[str]:
    """A line an arm and metric: paired difference, and whether a difference or its absence is shown.

    p is Holm-corrected: of the objective over the arms, of the suites over arms and suites.
    """
    table, by_suite, lines = ablation_table(study), suite_effects(study), []
    for row in table.rows:
        if row.difference is None:
            continue
        found = [(study.objective, row.difference, row.p_holm)]
        found += [(f"eval/{e.suite}/{e.metric}", e.difference, e.p_holm) for e in by_suite if e.arm == row.arm]
        for metric, d, p in found if row.difference.n else ():
            mine, theirs = (last_by_seed(study, a, metric) for a in (row.arm, row.against))
            least = smallest_that_matters(study, metric, margin)
            same = equivalence(mine, theirs, least)
            said = "no difference shown" if d.n > 1 else "one seed shows nothing"
            if d.distinguishable:
                said = "different" if p < ALPHA else "different by itself, not after correction"
                said += f" (p {p_text(p)})"
            if d.identical:
                said = "identical at every seed"
            elif same.equivalent:
                said = f"{said}, but by less than {least:g}" if d.distinguishable else f"no difference beyond {least:g}"
            seeds = f"{d.n} common seed{'s' if d.n != 1 else ''}"
            lines.append(f"{row.arm} - {row.against}, {metric}: {difference_text(d)} over {seeds}: {said}")
        if not row.difference.n:
            lines.append(f"{row.arm} - {row.against}: no seed in common, so nothing is compared")
            continue
        updates = [mean(list(last_by_seed(study, a, "progress/updates").values())) for a in (row.arm, row.against)]
        lines.append(f"{row.arm} - {row.against}, updates made: {number(updates[0], 1)} and {number(updates[1], 1)}")
    return lines


def utilisation(study: StudyData) -> list[str]:
    """A line an arm and level: shares of the verdicts, and the variance of rewards within and between groups."""
    lines = []
    for arm in study.arms:
        runs = study.of(arm)
        for level in study.levels:
            counts = {
                v: math.fsum(t for r in runs if math.isfinite(t := r.total(f"buffer/{level}/groups/{v}")))
                for v in ("generated", "admitted", "too_hard", "too_easy", "no_signal")
            }
            if not counts["generated"]:
                continue
            generated = counts.pop("generated")
            shares = ", ".join(f"{v.replace('_', ' ')} {fraction(n / generated)}" for v, n in counts.items())
            kinds = ("within", "between")
            within, between = (mean([r.mean(f"buffer/{level}/reward_variance/{k}") for r in runs]) for k in kinds)
            groups = f"{arm}, level {level}: {generated:.0f} groups: {shares}"
            lines.append(f"{groups}; reward variance within {fraction(within)}, between {fraction(between)}")
    return lines


def _command(arguments: Sequence[str]) -> None:
    from analysis import figures

    check = arguments[0] if arguments else ""
    if check not in CHECKS:
        raise UserError(f"which check? {USAGE}{nearest(check, CHECKS) if check else ''}")
    given = options.parse(arguments[1:], KEYS, USAGE)
    margin = options.margin(given["margin"]) if "margin" in given else None
    sweep, arms = CHECKS[check]
    where = options.tracking(given)
    name = options.study_name(given if "study" in given else {"sweep": sweep} | given, USAGE)
    study = load_study(where.uri, where.experiment, name, figures.wanted)
    chosen = tuple(given["arms"].split(",")) if "arms" in given else arms
    study = restricted(study, chosen) if chosen else study
    lines = utilisation(study) if check == "buffer" else compare(study, margin)
    if not lines or not study.runs:
        raise UserError(f"study={name} has nothing to check: no finished run of two arms, or nothing was logged")
    print("\n".join(lines))
    out = Path(given.get("out", Path("reports") / f"check-{check}"))
    wanted = ("buffer", "reward_variance") if check == "buffer" else ("effects", "learning_curves", "forgetting")
    try:
        out.mkdir(parents=True, exist_ok=True)
        files = [f for p in figures.pictures(study, only=wanted) for f in figures.write(p, out)]
    except OSError as error:
        raise UserError(f"out={out} cannot be written ({error.strerror}): give another directory") from None
    if files:
        print("figures: " + " ".join(map(str, files)))


def main(arguments: Sequence[str]) -> int:
    """Exit code 0, or 2 with one sentence."""
    return options.command(_command, arguments, __doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
