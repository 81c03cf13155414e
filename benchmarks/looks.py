"""Do looks keep 5%, and do the numbers of `eprli-lab plan` hold? Simulated studies, the sweep's own decisions.

    python benchmarks/looks.py [STUDIES]        # default 2000 a row; about a minute of one core

First part: A/A studies (all arms alike), looked at as a sweep looks at its runs; the share in which anything at all was
decided, with its exact 95% binomial interval, which should not lie above 5%. Beside it the same rule (under no effect:
does any comparison cross the level of the hardest step of Holm?) over 100,000 studies at once, and the same studies
judged with p < 5% at each look, after Holm. Second part: seeds, detectable effect and power of
the plan against simulated verdicts.
"""

from __future__ import annotations

import sys

import numpy as np
from scipy import stats

from eprli_lab.reporting.stats.looks import Look, LookPlan, decided, examine, is_over
from eprli_lab.reporting.stats.paired import ALPHA, corrected, paired_difference
from eprli_lab.reporting.stats.planning import Spread, need
from eprli_lab.reporting.stats.sequential import nominal_level
from eprli_lab.tracking.description import Spending

DESIGNS: list[tuple[int, int, int, Spending]] = [  # seeds, looks, arms, spending
    (9, 3, 2, "obrien_fleming"), (9, 3, 2, "pocock"), (9, 3, 4, "obrien_fleming"), (9, 3, 4, "pocock"),
    (7, 3, 3, "obrien_fleming"), (7, 3, 3, "pocock"), (20, 5, 5, "obrien_fleming"), (20, 5, 5, "pocock"),
]  # fmt: skip


def aa_study(rng: np.random.Generator, plan: LookPlan, arms: int) -> tuple[bool, bool, int]:
    """(was anything decided, would unadjusted looks have decided anything, the look at which it was over)."""
    names = ["base", *(f"arm{i}" for i in range(1, arms))]
    pairs = [(name, "base") for name in names[1:]]
    scores = {name: dict(zip(plan.seeds, rng.normal(size=len(plan.seeds)), strict=True)) for name in names}
    taken: list[Look] = []
    naive = False
    while not taken or not is_over(scores, pairs, plan, taken):
        taken.append(Look(len(taken) + 1))
        seen = {name: {s: of[s] for s in plan.seeds_of(len(taken))} for name, of in scores.items()}
        naive |= any(p < ALPHA for p in corrected([paired_difference(seen[a], seen[b]) for a, b in pairs]))
    return any(decided(examine(scores, pairs, plan, taken))), naive, taken[-1].number


def rate(rng: np.random.Generator, plan: LookPlan, arms: int, studies: int = 100_000) -> float:
    """Share of A/A studies in which any comparison is decided, without the bookkeeping: all studies at once."""
    x = rng.standard_normal((studies, arms, len(plan.seeds)), dtype=np.float32)
    d = x[:, 1:] - x[:, :1]
    wrong = np.zeros(studies, dtype=bool)
    for k, n in enumerate(plan.sizes, start=1):
        fractions = [size / len(plan.seeds) for size in plan.sizes[:k]]
        level = nominal_level(ALPHA / (arms - 1), plan.sizes[:k], fractions, plan.spending)
        t = np.abs(d[:, :, :n].mean(axis=2)) / d[:, :, :n].std(axis=2, ddof=1) * np.sqrt(n)
        wrong |= (t > stats.t.isf(level / 2, n - 1)).any(axis=1)
    return float(wrong.mean())


def verdicts(rng: np.random.Generator, effect: float, sd: float, seeds: int, comparisons: int, studies: int) -> float:
    """Share of studies whose report finds the first of these comparisons; the others have no effect."""
    found = 0
    for _ in range(studies):
        x = rng.normal(0.0, sd, (comparisons, seeds))
        x[0] += effect
        none = dict.fromkeys(range(seeds), 0.0)
        differences = [paired_difference(dict(enumerate(row)), none) for row in x]
        found += differences[0].distinguishable and corrected(differences)[0] < ALPHA
    return found / studies


def main(studies: int) -> None:
    rng = np.random.default_rng(18)
    print(f"A/A studies, {studies} a row: the share in which anything was decided")
    for seeds, looks, arms, spending in DESIGNS:
        plan = LookPlan(tuple(range(seeds)), looks, spending)
        results = [aa_study(rng, plan, arms) for _ in range(studies)]
        wrong = sum(r[0] for r in results)
        interval = stats.binomtest(wrong, studies).proportion_ci()
        sizes = "+".join(str(b - a) for a, b in zip((0, *plan.sizes), plan.sizes, strict=False))
        print(
            f"  {sizes:<10} seeds, {arms - 1} comparison{'s' if arms > 2 else ' '}, {spending:<14}  "
            f"{wrong / studies:.4f} [{interval.low:.4f}, {interval.high:.4f}]   100,000: {rate(rng, plan, arms):.4f}   "
            f"unadjusted: {sum(r[1] for r in results) / studies:.4f}",
            flush=True,
        )
    print(f"\nplan against {studies} simulated studies: effect .05, power .80")
    for sd in (0.03, 0.05, 0.08):
        for many in (1, 4):
            planned = 5
            n = need(0.05, Spread(sd), many, planned)
            seeds = n.corrected if many > 1 else n.alone
            least = n.detectable_corrected if many > 1 else n.detectable_alone
            at_seeds, before = (verdicts(rng, 0.05, sd, k, many, studies) for k in (seeds, seeds - 1))
            at_least = verdicts(rng, least, sd, planned, many, studies)
            power = verdicts(rng, 0.05, sd, planned, many, studies)
            print(
                f"  sd {sd:.2f}, {many} comparison{'s' if many > 1 else ' '}: {seeds:>2} seeds, found {at_seeds:.3f} "
                f"(one seed less: {before:.3f}); {planned} seeds detect {least:.3f}, found {at_least:.3f}; power for "
                f".05 with {planned}: {n.power:.3f}, found {power:.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
