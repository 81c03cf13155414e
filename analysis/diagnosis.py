"""What a person should look at in a study, in words. Pure: logged histories and params in, sentences out.

Every threshold is a constant here with its reason. A finding is a reason to look, not a test: those that compare
noisy numbers ask for several standard errors, since a study has many arms, levels and suites.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from analysis.effects import baselines, difference, last_by_seed
from analysis.power import (
    comparisons,
    equivalence,
    minimum_detectable_effect,
    paired_sd,
    seeds_needed,
    seeds_range,
    seeds_text,
)
from analysis.statistics import holm, mean
from analysis.store import RunData, StudyData, difficulty_rank

Rows = Mapping[str, Sequence[Mapping[str, Any]]]  # run id -> rows of its artifact ledger or outcomes

SKIPPED_SHARE = 0.2  # steps of a level without an update; below, a fifth more sampling is the price, not a fault
SKIPPED_STEPS = 3  # at least, in one run: the default max_skipped_updates ends a level after so many
ADMITTED_SHARE = 0.1  # groups admitted / generated; below, nine tenths of the tokens teach nothing
ENTROPY_SHARE = 0.1  # of its first value: a policy that lost 90% of its entropy explores one path only
ENTROPY_FLOOR = 0.02  # nats a token: exp(-.02 * 50) = a third of 50-token responses are the same one; see _collapse
WINDOW = 5  # updates that a first or last value is the mean of: single updates swing by a third
FORGOTTEN_ERRORS = 3.0  # standard errors; with 5 arms x 3 levels x 3 suites 0.06 false alarms a study (from 2 seeds)
FORGOTTEN_DROP = 0.02  # accuracy; a smaller fall is not worth a reader's time, however certain
CLIP_INERT = 1e-5  # fraction of tokens, mean over updates: under one token of 10^5, none at all in a small run
CLIP_UPDATES = 5  # updates, at least, before "never" means anything
VARIANCE_RATIO = 4.0  # of reward variance within groups: twice the standard deviation that group_norm divides by
UNEQUAL_UPDATES = 0.10  # relative; 37% more updates explained half of a curriculum's gain in FIELD_NOTES' runs
EQUAL_TOKENS = 0.05  # relative; arms that spent the same budget differ by the overshoot of a step
MARGIN = 0.03  # score; the smallest difference that matters: one binomial standard error of 256 problems
FRACTIONS = ("score", "avg_at_k", "pass_at_k", "maj_at_k", "accuracy", "truncation_rate")
ORDER_ERRORS = 2.0  # standard errors by which a harder suite or label must be easier than it claims
MIN_GROUPS = 100  # of a ledger, or problems, before a rank correlation says anything (its error is 0.1)


@dataclass(frozen=True)
class Finding:
    """One thing to look at. `arm` or `level` is empty where it concerns all."""

    kind: str  # one of KINDS
    arm: str
    level: str
    sentence: str


def diagnose(
    study: StudyData,
    ledger: Rows | None = None,
    outcomes: Rows | None = None,
    baseline: str | None = None,
    margin: float | None = None,
) -> list[Finding]:
    """All findings, by kind in the order of KINDS, then by arm and level; an empty list when nothing stands out.

    `ledger`, `outcomes`: rows of those artifacts by run id, as eprli_lab.rollout and eprli_lab.evaluate log them;
    optional, they sharpen what is said of labels and forgetting. `margin`: the smallest difference in the objective
    that matters; None: what `smallest_that_matters` says. What was not logged gives no finding. Raises UserError when
    the baseline is no arm of the study.
    """
    out: list[Finding] = []
    for arm in study.arms:
        runs = study.of(arm)
        for level in _levels(runs):
            for look in (_starved, _clips):
                out += look(runs, arm, level)
        out += _collapse(runs, arm)
        out += _forgetting(study, runs, arm, outcomes or {})
        out += _variance(runs, arm)
    out += _inert(study, baseline)
    out += _updates(study, baseline)
    out += _seeds(study, baseline, smallest_that_matters(study, study.objective, margin))
    out += _suite_order(study)
    out += _label_order(study, ledger or {}, outcomes or {})
    return sorted(out, key=lambda f: KINDS.index(f.kind))


def smallest_that_matters(study: StudyData, metric: str, given: float | None = None) -> float:
    """The margin that was given, else MARGIN: of a fraction as it is, of any other metric as a share of its mean."""
    if given is not None:
        return given
    name = metric.rpartition("/")[2]
    if name in FRACTIONS:
        return MARGIN
    size = abs(mean([r.last(metric) for r in study.runs]))
    return MARGIN * size if size > 0 else MARGIN


KINDS = (
    "starved",
    "entropy_collapse",
    "forgetting",
    "inert_arm",
    "clip_never_binds",
    "reward_variance",
    "unequal_updates",
    "few_seeds",
    "difficulty_order",
)


# --- levels ------------------------------------------------------------------------------------------------------


def _starved(runs: Sequence[RunData], arm: str, level: str) -> list[Finding]:
    """Too many steps without an update, or next to nothing admitted; and the threshold that did it."""
    skipped = [_skipped(run, level) for run in runs]
    hit = sum(n >= SKIPPED_STEPS and n >= SKIPPED_SHARE * steps for n, steps in skipped)
    counts = {v: _sum(runs, f"buffer/{level}/groups/{v}") for v in ("generated", "admitted", *ADVICE)}
    generated = counts["generated"]
    rate = counts["admitted"] / generated if generated else math.nan
    if not hit and not rate < ADMITTED_SHARE:
        return []
    missing, steps = sum(n for n, _ in skipped), sum(n for _, n in skipped)
    rejected = {v: counts[v] for v in ADVICE}
    worst = max(rejected, key=lambda v: rejected[v])
    if generated and counts["admitted"] >= rejected[worst]:
        how = "more groups were admitted than rejected for any one reason: raise {p}.admission.max_rounds{max_rounds} "
        how += "or lower {p}.buffer_groups{buffer_groups}"
    else:
        share = rejected[worst] / generated if generated else math.nan
        how = f"{share:.0%} of all groups were {worst.replace('_', ' ')}: {ADVICE[worst]}"
    path = f"curriculum.levels.{level}"
    names = ("accuracy_min", "accuracy_max", "max_rounds", "quality_threshold", "buffer_groups", "group_size")
    where = {n: n if n in ("quality_threshold", "buffer_groups", "group_size") else f"admission.{n}" for n in names}
    now = {n: _now(runs, f"{path}.{where[n]}") for n in names}
    sentence = (
        f"{arm}: level {level} starved in {hit or len(runs)} of {len(runs)} runs ({missing} of {steps} steps without "
        f"an update, {rate:.0%} of groups admitted); {how.format(p=path, **now)}"
    )
    return [Finding("starved", arm, level, sentence)]


ADVICE = {
    "too_hard": "lower {p}.admission.accuracy_min{accuracy_min} or {p}.quality_threshold{quality_threshold}",
    "too_easy": "raise {p}.admission.accuracy_max{accuracy_max} or {p}.quality_threshold{quality_threshold}",
    "no_signal": "narrow {p}.admission.accuracy_min{accuracy_min} to accuracy_max{accuracy_max}, or raise "
    "{p}.group_size{group_size}",
    "errored": "the grader failed, see verify/*",
}


def _skipped(run: RunData, level: str) -> tuple[int, int]:
    """(steps of a level whose buffer was not filled, steps); a last one alone is the budget's end and not counted."""
    fill = sorted(run.by_step(f"buffer/{level}/fill_fraction").items())
    short = [value < 1 for _, value in fill]
    if short and short[-1] and not any(short[-2:-1]):
        short = short[:-1]
    return sum(short), len(short)


def _clips(runs: Sequence[RunData], arm: str, level: str) -> list[Finding]:
    """A clip bound that no token met."""
    path, out, inert = f"curriculum.levels.{level}", [], []
    for side in ("low", "high"):
        values = [v for r in runs for v in r.by_step(f"policy/{level}/clip_fraction/{side}").values()]
        if len(values) >= CLIP_UPDATES and mean(values) < CLIP_INERT:
            inert.append(f"{path}.clip.{side}{_now(runs, f'{path}.clip.{side}')}")
    if inert:
        both = len(inert) == 2
        why = ": one pass over fresh samples keeps the ratio at 1; see inner_iterations and minibatches" if both else ""
        bounds = (
            f"the clip bounds {' and '.join(inert)} never bind" if both else f"the clip bound {inert[0]} never binds"
        )
        sentence = f"{arm}: {bounds}, so a sweep of {'them' if both else 'it'} shows nothing{why}"
        out.append(Finding("clip_never_binds", arm, level, sentence))
    return out


def _variance(runs: Sequence[RunData], arm: str) -> list[Finding]:
    """Levels whose groups spread so differently that a normalised advantage means different rewards."""
    if any(_param(r, "algorithm.advantage", "group_norm") != "group_norm" for r in runs):
        return []
    within = {lv: mean([r.mean(f"buffer/{lv}/reward_variance/within") for r in runs]) for lv in _levels(runs)}
    known = {lv: v for lv, v in within.items() if math.isfinite(v)}
    if len(known) < 2:
        return []
    least, most = min(known, key=lambda lv: known[lv]), max(known, key=lambda lv: known[lv])
    if known[most] <= VARIANCE_RATIO * known[least]:
        return []
    sentence = (
        f"{arm}: rewards vary within groups by {known[most]:.3g} at level {most} and {known[least]:.3g} at level "
        f"{least}: group_norm divides both to one, so the same advantage stands for a "
        f"{_times(known[most], known[least])} smaller reward at {least}; compare algorithm.advantage=mean_only"
    )
    return [Finding("reward_variance", arm, least, sentence)]


def _times(most: float, least: float) -> str:
    return f"{math.sqrt(most / least):.1f} times" if least > 0 else "infinitely"


# --- a run over time ---------------------------------------------------------------------------------------------


def _collapse(runs: Sequence[RunData], arm: str) -> list[Finding]:
    """Entropy that fell below a share of its first value and below a floor, in the mean over seeds.

    Both: a policy that becomes right on a deterministic task rightly loses most of its entropy; below the floor its
    samples of one problem are mostly identical, and a group of identical responses has no advantage.
    """
    fallen: dict[str, list[tuple[float, float]]] = {}
    for run in runs:
        points = sorted(
            (step, level, value)
            for level in _levels(runs)
            for step, value in run.by_step(f"policy/{level}/entropy").items()
            if math.isfinite(value)
        )
        if len(points) < 2 * WINDOW:
            continue
        first = mean([v for _, _, v in points[:WINDOW]])
        for i in range(2 * WINDOW, len(points) + 1):
            now = mean([v for _, _, v in points[i - WINDOW : i]])
            if now < ENTROPY_FLOOR and now < ENTROPY_SHARE * first:
                fallen.setdefault(points[i - 1][1], []).append((first, now))
                break
    out = []
    for level, pairs in fallen.items():
        first, now = mean([a for a, _ in pairs]), mean([b for _, b in pairs])
        sentence = (
            f"{arm}: the policy's entropy collapsed at level {level} in {len(pairs)} of {len(runs)} runs (from "
            f"{first:.3f} to {now:.3f} nats a token): later groups are near copies of one response; raise "
            f"curriculum.levels.{level}.clip.high{_now(runs, f'curriculum.levels.{level}.clip.high')}, lower the "
            f"learning rate, or set algorithm.kl_coef"
        )
        out.append(Finding("entropy_collapse", arm, level, sentence))
    return out


@dataclass(frozen=True)
class Fall:
    """A suite's accuracy at both ends of a stretch that trained one level only."""

    before: float
    after: float
    error: float  # standard error of the difference, from the number of problems


def _forgetting(study: StudyData, runs: Sequence[RunData], arm: str, outcomes: Rows) -> list[Finding]:
    """A suite that fell while one of several levels trained, beyond what the number of problems explains."""
    if len(_levels(runs)) < 2:
        return []
    falls: dict[tuple[str, str], list[Fall]] = {}
    for run in runs:
        for suite in study.suites:
            for level, start, end in _stretches(run, suite):
                fall = _fall(run, suite, start, end, outcomes.get(run.run_id, ()))
                if fall is not None:
                    falls.setdefault((level, suite), []).append(fall)
    out = []
    for (level, suite), found in sorted(falls.items()):
        before, after = mean([f.before for f in found]), mean([f.after for f in found])
        error = max(math.sqrt(math.fsum(f.error**2 for f in found)) / len(found), _error_over_seeds(found))
        if before - after > max(FORGOTTEN_DROP, FORGOTTEN_ERRORS * error):
            sentence = (
                f"{arm}: {suite} fell from {before:.3f} to {after:.3f} while level {level} trained (mean of "
                f"{len(found)} run{'s' if len(found) > 1 else ', another seed may not show it'}, "
                f"{(before - after) / error:.1f} standard errors): that level's training damaged it; "
                f"compare curriculum.schedule=mixed or curriculum.strata=cumulative"
            )
            out.append(Finding("forgetting", arm, level, sentence))
    return out


def _error_over_seeds(found: Sequence[Fall]) -> float:
    """Standard error of the mean fall from its spread over seeds, widened so that FORGOTTEN_ERRORS of it hold by t.

    The number of problems alone knows nothing of the luck of training. 0 for one run, which shows no spread.
    """
    if len(found) < 2:
        return 0.0
    from scipy import stats

    falls = [f.before - f.after for f in found]
    wider = float(stats.t.isf(stats.norm.sf(FORGOTTEN_ERRORS), len(falls) - 1)) / FORGOTTEN_ERRORS
    return wider * statistics.stdev(falls) / math.sqrt(len(falls))


def _stretches(run: RunData, suite: str) -> Iterator[tuple[str, int, int]]:
    """(level, step of the evaluation before, and after) of every unbroken stretch in which one level trained."""
    trained = {s: lv for lv in _levels([run]) for s in run.by_step(f"buffer/{lv}/groups/generated")}
    points = sorted(run.by_step(f"eval/{suite}/avg_at_k"))
    current: tuple[str, int, int] | None = None
    for start, end in pairwise(points):
        levels = {trained[s] for s in range(start + 1, end + 1) if s in trained}
        level = levels.pop() if len(levels) == 1 else None
        if current is not None and current[0] == level and current[2] == start:
            current = (current[0], current[1], end)
            continue
        if current is not None:
            yield current
        current = (level, start, end) if level is not None else None
    if current is not None:
        yield current


def _fall(run: RunData, suite: str, start: int, end: int, rows: Sequence[Mapping[str, Any]]) -> Fall | None:
    """Problem by problem where the outcomes are at hand, else binomial with the problem as the unit."""
    by_step: dict[int, dict[str, float]] = {start: {}, end: {}}
    for row in rows:
        if row["suite"] == suite and row["step"] in by_step:
            by_step[row["step"]][row["problem"]] = row["correct"] / row["samples"]
    common = sorted(by_step[start].keys() & by_step[end].keys())
    if len(common) > 1:
        before, after = (mean([by_step[s][p] for p in common]) for s in (start, end))
        changes = [by_step[end][p] - by_step[start][p] for p in common]
        centre = mean(changes)
        variance = math.fsum((c - centre) ** 2 for c in changes) / (len(changes) - 1)
        # one problem changed by one sample, at least: no spread among few problems is no certainty
        return Fall(before, after, math.sqrt(max(variance, 1 / len(common)) / len(common)))
    history = run.by_step(f"eval/{suite}/avg_at_k")
    steps, before, after = sorted(history), history[start], history[end]
    sizes = [_problems(run, suite, partial=s not in (steps[0], steps[-1])) for s in (start, end)]
    if not all(sizes):
        return None
    parts = [max(p * (1 - p), 1 / n) / n for p, n in zip((before, after), sizes, strict=True)]
    return Fall(before, after, math.sqrt(math.fsum(parts)))


def _problems(run: RunData, suite: str, *, partial: bool) -> int:
    """How many problems an evaluation of a suite had, from the params; 0 when they do not say."""
    path = f"evaluation.suites.{suite}"
    sizes = [_param(run, f"{path}.{key}", None) for key in ("generated.problems", "source.limit")]
    known = [int(s) for s in sizes if isinstance(s, int | float)]
    few = _param(run, "evaluation.boundary_problems", 0)
    if partial and isinstance(few, int) and few > 0:
        return min([few, *known])
    return known[0] if known else 0


# --- between arms ------------------------------------------------------------------------------------------------


def _inert(study: StudyData, baseline: str | None) -> list[Finding]:
    """Arms whose runs are the baseline's, number for number: what they change never acted."""
    out = []
    metrics = [study.objective, *(f"eval/{s}/avg_at_k" for s in study.suites), "progress/tokens", "progress/updates"]
    for arm, base in baselines(study, baseline).items():
        pairs = [(last_by_seed(study, arm, m), last_by_seed(study, base, m)) for m in metrics]
        common = pairs[0][0].keys() & pairs[0][1].keys()
        known = [(a[s], b[s]) for a, b in pairs for s in common if not math.isnan(a[s]) or not math.isnan(b[s])]
        if known and all(a == b for a, b in known):
            seeds = f"{len(common)} common seed{'s' if len(common) > 1 else ''}"
            sentence = (
                f"{arm}: ended with the numbers of {base} at all {seeds} (scores, tokens, updates): what it changes "
                f"never acted, so it says nothing of it; see how the arms differ in their configuration"
            )
            out.append(Finding("inert_arm", arm, "", sentence))
    return out


def _updates(study: StudyData, baseline: str | None) -> list[Finding]:
    """Arms that spent as many tokens as their baseline and made more or fewer updates."""
    out = []
    for arm, base in baselines(study, baseline).items():
        common = {r.seed for r in study.of(arm)} & {r.seed for r in study.of(base)}
        tokens, updates = (
            [
                mean([v for s, v in last_by_seed(study, a, f"progress/{what}").items() if s in common])
                for a in (arm, base)
            ]
            for what in ("tokens", "updates")
        )
        if not all(v > 0 for v in tokens + updates) or abs(tokens[0] / tokens[1] - 1) > EQUAL_TOKENS:
            continue
        ratio, over_seeds = updates[0] / updates[1] - 1, difference(study, arm, base, "progress/updates")
        # 13% apart were two arms of the same config at four seeds; one seed shows nothing
        luck = over_seeds.n < 2 or over_seeds.low <= 0 <= over_seeds.high
        if abs(ratio) > UNEQUAL_UPDATES and not luck:
            sentence = (
                f"{arm} made {abs(ratio):.0%} {'more' if ratio > 0 else 'fewer'} updates than {base} ({updates[0]:.1f} "
                f"against {updates[1]:.1f}) on as many tokens: part of its difference may be the number of updates; "
                f"compare an arm with as many updates"
            )
            out.append(Finding("unequal_updates", arm, "", sentence))
    return out


def _seeds(study: StudyData, baseline: str | None, margin: float) -> list[Finding]:
    """Arms of which neither a difference nor its absence is shown, and what it would take."""
    pairs = baselines(study, baseline)
    found = {arm: difference(study, arm, base, study.objective) for arm, base in pairs.items()}
    adjusted = dict(zip(found, holm([d.p for d in found.values()]), strict=True))
    out = []
    for arm, d in found.items():
        mine, theirs = (last_by_seed(study, a, study.objective) for a in (arm, pairs[arm]))
        if d.n == 0 or adjusted[arm] < 0.05 or equivalence(mine, theirs, margin).equivalent:
            continue
        head = f"{arm} against {pairs[arm]}: {d.mean:+.3f} in {study.objective} over {d.n} common seed"
        if d.n == 1 or math.isnan(d.p):
            why = ": one seed shows nothing; run three or more" if d.n == 1 else "s without spread shows nothing"
            out.append(Finding("few_seeds", arm, "", head + why))
            continue
        sd, many = paired_sd(mine, theirs), comparisons(found.values())
        least = minimum_detectable_effect(sd, d.n, comparisons=many)
        needed = seeds_needed(margin, sd, comparisons=many)
        low, high = seeds_range(margin, sd, d.n, many)
        sentence = (
            f"{head}s shows neither a difference nor, within {margin:g}, its absence: so few seeds find one of "
            f"{least:.3f} in four studies of five (after Holm over {many}); for {margin:g} it takes about "
            f"{seeds_text(needed)} seeds ({seeds_text(low)} to {seeds_text(high)}, as far as {d.n} differences know "
            f"their spread)"
        )
        out.append(Finding("few_seeds", arm, "", sentence))
    return out


# --- labels ------------------------------------------------------------------------------------------------------


def _suite_order(study: StudyData) -> list[Finding]:
    """Suites named easy, medium, hard whose accuracy before training says otherwise."""
    ranked = [s for s in study.suites if difficulty_rank(s)[0] > 0]
    out = []
    for easier, harder in pairwise(ranked):
        if difficulty_rank(easier)[0] >= difficulty_rank(harder)[0]:
            continue
        # the same policy and problems start every run of a study that changes no model: not more than one run's data
        start = {s: mean([r.first(f"eval/{s}/avg_at_k") for r in study.runs]) for s in (easier, harder)}
        sizes = {s: max((_problems(r, s, partial=False) for r in study.runs), default=0) for s in start}
        if not all(sizes.values()) or any(math.isnan(v) for v in start.values()):
            continue
        error = math.sqrt(math.fsum(max(p * (1 - p), 1 / sizes[s]) / sizes[s] for s, p in start.items()))
        if start[harder] - start[easier] > ORDER_ERRORS * error:
            sentence = (
                f"before training {harder} is easier ({start[harder]:.3f} correct) than {easier} "
                f"({start[easier]:.3f}): the difficulty labels do not order accuracy; measure them "
                f"(python -m eprli_lab.difficulty)"
            )
            out.append(Finding("difficulty_order", "", "", sentence))
    return out


def _label_order(study: StudyData, ledger: Rows, outcomes: Rows) -> list[Finding]:
    """Difficulty labels of single problems that do not go down with accuracy: held-out before training, and trained."""
    out = []
    for arm in study.arms:
        ids = [r.run_id for r in study.of(arm)]
        # before training every seed has the same policy, problems and samples: they are one evaluation
        first = next((outcomes[i] for i in ids if any(row["step"] == 0 for row in outcomes.get(i, ()))), ())
        held = [[(row["difficulty"], row["correct"] / row["samples"]) for row in first if row["step"] == 0]]
        trained: dict[str, list[list[tuple[Any, float]]]] = {}
        for i in ids:
            rows = [r for r in ledger.get(i, ()) if r["verdict"] != "errored"]
            for level in dict.fromkeys(r["level"] for r in rows):
                pairs = [(r["difficulty"], r["accuracy"]) for r in rows if r["level"] == level]
                trained.setdefault(level, []).append(pairs)
        for level, groups in [("", held), *trained.items()]:
            found = _rank_correlation(groups)
            if found is None or not found[0] > -ORDER_ERRORS / math.sqrt(found[1]):
                continue
            what = f"at level {level}" if level else "of the held-out problems before training"
            error = ORDER_ERRORS / math.sqrt(found[1])
            not_shown = "order accuracy the wrong way round" if found[0] > error else "are not shown to order accuracy"
            sentence = (
                f"{arm}: the difficulty labels {what} {not_shown} (rank correlation {found[0]:+.2f} ± {error:.2f} over "
                f"{found[1]} {'groups' if level else 'problems'}; labels that mean something are negative)"
            )
            out.append(Finding("difficulty_order", arm, level, sentence))
    return out


def _rank_correlation(groups: Sequence[Sequence[tuple[Any, float]]]) -> tuple[float, int] | None:
    """(Spearman's rho of difficulty and accuracy, mean over runs weighted by size; pairs); None if there are too few.

    Runs apart, since their policies differ; a run whose labels or accuracies are all equal says nothing.
    """
    from scipy import stats

    total, weight = 0.0, 0
    for pairs in groups:
        known = [(float(d), a) for d, a in pairs if d is not None]
        if len({d for d, _ in known}) < 2 or len({a for _, a in known}) < 2:
            continue
        total += len(known) * float(stats.spearmanr(*zip(*known, strict=True)).statistic)
        weight += len(known)
    return (total / weight, weight) if weight >= MIN_GROUPS else None


# --- what was logged ---------------------------------------------------------------------------------------------


def _levels(runs: Sequence[RunData]) -> list[str]:
    """Levels that any of these runs sampled."""
    ends: Callable[[str], bool] = lambda k: k.startswith("buffer/") and k.endswith("/groups/generated")  # noqa: E731
    return sorted({k.split("/")[1] for r in runs for k in r.histories if ends(k)})


def _sum(runs: Sequence[RunData], metric: str) -> float:
    """Over all steps of all runs; what was not logged is nothing."""
    totals = [r.total(metric) for r in runs]
    return math.fsum(t for t in totals if not math.isnan(t))


def _param(run: RunData, path: str, default: Any) -> Any:
    """A param as the value that was dumped; the text where it is no JSON."""
    text = run.params.get(path)
    if text is None:
        return default
    try:
        return json.loads(text)
    except ValueError:
        return text


def _now(runs: Sequence[RunData], path: str) -> str:
    """` (now 0.2)`, or nothing when no param says."""
    values = list(dict.fromkeys(r.params[path] for r in runs if path in r.params))
    return f" (now {', '.join(values)})" if values else ""
