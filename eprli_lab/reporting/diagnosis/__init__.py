"""What a person should look at in a study, in words. Pure: logged histories and params in, sentences out.

Every threshold is a constant here with its reason. A finding is a reason to look, not a test: those that compare
noisy numbers ask for several standard errors, since a study has many arms, levels and suites.
"""

from __future__ import annotations

from functools import partial

from eprli_lab.reporting.derived import sampled_levels
from eprli_lab.reporting.diagnosis.between_arms import inactive_arms, too_few_seeds, unequal_updates
from eprli_lab.reporting.diagnosis.finding import KINDS, Finding, Rows, equivalence_margin
from eprli_lab.reporting.diagnosis.labels import label_order, suite_order
from eprli_lab.reporting.diagnosis.levels import starved_levels, unequal_variance, unused_clip_bounds
from eprli_lab.reporting.diagnosis.limits import unused_limits
from eprli_lab.reporting.diagnosis.over_time import entropy_collapse, forgetting
from eprli_lab.reporting.load import StudyData
from eprli_lab.tracking import names


def wanted(metric: str) -> bool:
    """The metrics that findings read beside those of table and figures."""
    return names.is_sampled(metric, ("all/truncation_rate",))


def diagnose(
    study: StudyData,
    ledger: Rows | None = None,
    outcomes: Rows | None = None,
    baseline: str | None = None,
    margin: float | None = None,
) -> list[Finding]:
    """All findings, by kind in the order of KINDS, then by arm and level; an empty list when nothing stands out.

    `ledger`, `outcomes`: rows of those artifacts by run id, as training/rollout.py and training/evaluate.py log them;
    optional, they sharpen what is said of labels and forgetting. `margin`: the smallest difference in the objective
    that matters; None: what `equivalence_margin` says. What was not logged gives no finding. Raises UserError when
    the baseline is no arm of the study.
    """
    out: list[Finding] = []
    for arm in study.arms:
        runs = study.of(arm)
        for level in sampled_levels(runs):
            for look in (starved_levels, partial(unused_clip_bounds, study)):
                out += look(runs, arm, level)
        out += entropy_collapse(study, runs, arm)
        out += forgetting(study, runs, arm, outcomes or {})
        out += unequal_variance(study, runs, arm)
    out += unused_limits(study)
    out += inactive_arms(study, baseline, outcomes or {})
    out += unequal_updates(study, baseline)
    out += too_few_seeds(study, baseline, equivalence_margin(study, study.objective, margin))
    out += suite_order(study)
    out += label_order(study, ledger or {}, outcomes or {})
    return sorted(out, key=lambda f: KINDS.index(f.kind))
