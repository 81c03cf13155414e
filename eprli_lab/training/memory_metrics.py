"""The catalogue's part of schedules and samplers with memory, and of difficulty that is measured anew."""

from __future__ import annotations

from eprli_lab.tracking import names


def memory_rows(level: str) -> list[tuple[str, str, str]]:
    """(name, unit, definition) of every metric; `level` stands for any level's name."""
    return [
        (names.schedule(f"{level}/draws"), "steps", "bandit, thompson: at which the level was sampled, so far"),
        (names.schedule(f"{level}/value"), "", "bandit: Q of the level"),
        (names.schedule(f"{level}/probability"), "", "bandit: of the level, were none ended"),
        (names.schedule(f"{level}/alpha"), "groups", "thompson: of the level's Beta posterior (admitted groups)"),
        (names.schedule(f"{level}/beta"), "groups", "thompson: of the level's Beta posterior (other groups)"),
        (names.schedule(f"{level}/share"), "fraction", "thompson: mean of that posterior"),
        (names.sampler(level, "pool/unseen"), "problems", "pools, snr: without a group so far"),
        (names.sampler(level, "pool/hard"), "problems", "pools: last group hard; greso: all wrong"),
        (names.sampler(level, "pool/middle"), "problems", "pools: last group between hard and easy"),
        (names.sampler(level, "pool/easy"), "problems", "pools: last group easy; greso: all right"),
        (names.sampler(level, "pool/retired"), "problems", "pools: at or above retire_at, drawn no more"),
        (names.sampler(level, "begun_anew"), "", "pools, greso: times that the stratum's memory was forgotten"),
        (names.sampler(level, "explore/easy"), "", "greso: p of problems that were all right"),
        (names.sampler(level, "explore/hard"), "", "greso: p of problems that were all wrong"),
        (names.sampler(level, "walked"), "problems", "greso: offered so far, skipped ones included"),
        (names.sampler(level, "skipped"), "problems", "greso: skipped so far"),
        (names.sampler(level, "waiting"), "problems", "vcrl: in the memory"),
        (names.sampler(level, "replayed"), "problems", "vcrl: drawn from the memory so far"),
        (names.sampler(level, "drawn"), "problems", "pools, vcrl: drawn so far"),
        (names.sampler(level, "least_variance"), "", "snr: the least variance in the top share"),
        (names.stratum(level, "problems"), "problems", "of the stratum, after difficulty was measured anew"),
        (names.stratum(level, "difficulty"), "", "their mean difficulty"),
        (names.stratum(level, "kept"), "", "1: nothing was in its band, so the stratum stays what it was; else 0"),
        (names.remeasured("measured"), "problems", "whose difficulty was measured anew, this time"),
        (names.remeasured("moved"), "problems", "of those, now in the strata of other levels"),
        (names.remeasured("outside"), "problems", "of training, in no stratum: above Q_L"),
        (names.remeasured("pass_rate"), "fraction", "mean pass rate of those that were measured"),
        (names.remeasured("tokens"), "tokens", "generated to measure, this time; in the budget and progress/tokens"),
    ]
