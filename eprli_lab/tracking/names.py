"""Every metric name of a run and of a study's parent, made and taken apart here alone. Pure: strings in, strings out.

A name is `family/...`: train, buffer, policy, process, sampler, admission and heldout are of a level, schedule and
curriculum where they have a third part, eval is of a suite; the rest are of the whole run.
What each means is training/metrics.py's catalogue, which is made with these functions from `{l}` and `{suite}`.
"""

from __future__ import annotations

import re
from collections.abc import Collection

SCORE = "score"  # mean over suites of avg_at_k
RESPONSE_TOKENS = "response_tokens"  # mean over suites of their mean response length
IMPORTED = "imported"  # the family of what another trainer logged and we have no name for
_OF_A_LEVEL = ("train", "buffer", "policy", "process", "sampler", "admission", "heldout", "schedule", "curriculum")


# --- a level's ---------------------------------------------------------------------------------------------------


def sampled(level: str, which: str, quantity: str) -> str:
    """Of a step's groups. `which`: all, admitted; `quantity`: accuracy, truncation_rate, response_tokens/p90, ..."""
    return f"train/{level}/{which}/{quantity}"


def buffer(level: str, quantity: str) -> str:
    """Of a level's buffer: fill_fraction, rounds, staleness, ..."""
    return f"buffer/{level}/{quantity}"


def groups(level: str, verdict: str) -> str:
    """Groups of a step: generated, one of the verdicts, surplus, stale_dropped."""
    return buffer(level, f"groups/{verdict}")


def generated(level: str) -> str:
    """Groups of a step, whatever their verdict: logged whenever the level was sampled."""
    return groups(level, "generated")


def admitted(level: str) -> str:
    """Groups of a step that were admitted."""
    return groups(level, "admitted")


def reward_variance(level: str, kind: str) -> str:
    """`kind`: within (a group), between (the groups' means)."""
    return buffer(level, f"reward_variance/{kind}")


def policy(level: str, quantity: str) -> str:
    """Of an update: loss, entropy, approx_kl, kl_ref, ..."""
    return f"policy/{level}/{quantity}"


def process(level: str, quantity: str) -> str:
    """Of the model that learns process rewards: cross_entropy, accuracy, step_auc."""
    return f"process/{level}/{quantity}"


def sampler(level: str, name: str) -> str:
    """What a level's problem sampler says of itself."""
    return f"sampler/{level}/{name}"


def admission(level: str, name: str) -> str:
    """What a level's admission rule says of itself."""
    return f"admission/{level}/{name}"


def stratum(level: str, quantity: str) -> str:
    """Of a level's stratum after its problems were measured anew: problems, difficulty, kept."""
    return f"curriculum/{level}/{quantity}"


def remeasured(quantity: str) -> str:
    """Of a measurement of difficulty on the way: measured, moved, outside, pass_rate, tokens."""
    return f"curriculum/{quantity}"


def clip_fraction(level: str, side: str) -> str:
    """Fraction of an update's tokens at a clip bound; `side`: low, high."""
    return policy(level, f"clip_fraction/{side}")


def is_weight(level: str, quantity: str) -> str:
    """Of the weights of an update's tokens, trainer against sampler; `quantity`: mean, cut, max."""
    return policy(level, f"is_weight/{quantity}")


def heldout(level: str, quantity: str) -> str:
    """Of an evaluation, over the held-out problems whose difficulty lies in D_l: avg_at_k, problems, ..."""
    return f"heldout/{level}/{quantity}"


def heldout_accuracy(level: str) -> str:
    """avg_at_k over the held-out problems of D_l."""
    return heldout(level, "avg_at_k")


def common_accuracy(level: str) -> str:
    """The same over those of them that every evaluation of the run asks."""
    return heldout(level, "common/avg_at_k")


# --- a suite's ---------------------------------------------------------------------------------------------------


def evaluation(suite: str, measure: str) -> str:
    """Of an evaluation: avg_at_k, pass_at_k, maj_at_k, response_tokens, truncation_rate, valid_truncation_rate."""
    return f"eval/{suite}/{measure}"


def accuracy(suite: str) -> str:
    """A suite's avg_at_k: mean over its problems of the share of k samples that are correct."""
    return evaluation(suite, "avg_at_k")


# --- the whole run's, and the parent's -----------------------------------------------------------------------------


def schedule(name: str) -> str:
    """What the schedule says of itself."""
    return f"schedule/{name}"


def optim(quantity: str) -> str:
    """Of the optimizer: lr, grad_norm."""
    return f"optim/{quantity}"


def seconds(part: str) -> str:
    """Seconds of a part of a step (generate, verify, process, update, step, continue, remeasure), of an evaluation.

    total: of the run; verify_lost: those that workers spent on answers that timed out.
    """
    return f"time/{part}"


def engine_seconds(phase: str) -> str:
    """Seconds of an OpenRLHF phase."""
    return seconds(f"engine/{phase}")


def performance(quantity: str) -> str:
    """Rates: tokens_per_second."""
    return f"perf/{quantity}"


def progress(quantity: str) -> str:
    """So far, for training: tokens, responses, problems, updates. The x axes."""
    return f"progress/{quantity}"


def verification(status: str) -> str:
    """Responses so far that were graded with this status: timeout, error, no_answer."""
    return f"verify/{status}"


def summary(arm: str, quantity: str) -> str:
    """Of a study's parent run: an arm's value in the table."""
    return f"summary/{arm}/{quantity}"


def search(quantity: str) -> str:
    """Of a search's parent run: complete, pruned, fail, runs, seconds."""
    return f"search/{quantity}"


def imported(key: str) -> str:
    """What another trainer logged, under its own key, with the characters that MLflow takes: `@` as `_at_`, as verl."""
    known = re.sub(r"[^A-Za-z0-9_\-. /]", "_", key.replace("@", "_at_"))
    return "/".join([IMPORTED, *(part for part in known.split("/") if part.strip(" ."))])


COMMON_SCORE = "common/score"  # the score over the problems that every evaluation of the run asks
PARAMETERS = "model/parameters"  # of all networks of a run together
TOKENS = progress("tokens")
UPDATES = progress("updates")
TOTAL_SECONDS = seconds("total")
PARAMETERS = "model/parameters"  # of all networks that a run trains


# --- taken apart -------------------------------------------------------------------------------------------------


def family(name: str) -> str:
    """The first part: eval, buffer, ...; "" of a name that has one part only."""
    return name.partition("/")[0] if "/" in name else ""


def level_of(name: str) -> str | None:
    """The level that a metric is of; None for one that is of no level."""
    parts = name.split("/")
    return parts[1] if parts[0] in _OF_A_LEVEL and len(parts) > 2 else None


def suite_of(name: str) -> str | None:
    """The suite that a metric is of; None for one that is no evaluation's."""
    parts = name.split("/")
    return parts[1] if parts[0] == "eval" and len(parts) > 2 else None


def quantity_of(name: str) -> str:
    """What is measured, without the level or suite that it is of: groups/admitted, avg_at_k, score, progress/tokens."""
    return name if level_of(name) is None and suite_of(name) is None else name.split("/", 2)[2]


def measure_of(name: str) -> str:
    """The last part: avg_at_k, truncation_rate, score."""
    return name.rpartition("/")[2]


def is_evaluation(name: str) -> bool:
    """Is it logged by evaluations, of one suite?"""
    return suite_of(name) is not None


def is_buffer(name: str, quantities: Collection[str] = ()) -> bool:
    """Is it of a level's buffer, and if quantities are given, one of those?"""
    known = family(name) == "buffer" and level_of(name) is not None
    return known and (not quantities or quantity_of(name) in quantities)


def is_sampled(name: str, quantities: Collection[str] = ()) -> bool:
    """Is it of the groups that a level sampled in a step, and if quantities are given, one of those?"""
    known = family(name) == "train" and level_of(name) is not None
    return known and (not quantities or quantity_of(name) in quantities)


def is_policy(name: str, quantities: Collection[str] = ()) -> bool:
    """Is it of a level's updates, and if quantities are given, one of those?"""
    known = family(name) == "policy" and level_of(name) is not None
    return known and (not quantities or quantity_of(name) in quantities)


def is_heldout(name: str) -> bool:
    """Is it logged by evaluations, of one level's held-out problems?"""
    return family(name) == "heldout" and level_of(name) is not None


def is_generated(name: str) -> bool:
    """Is it the count of a level's generated groups, which tells that the level was sampled?"""
    return is_buffer(name, ("groups/generated",))


def is_of_the_clock(name: str) -> bool:
    """Is it seconds or a rate, which no two runs have alike?"""
    return family(name) in ("time", "perf")


def is_summary(name: str) -> bool:
    """Is it of one number for the whole run: score, response_tokens, or of the user's own?"""
    return "/" not in name
