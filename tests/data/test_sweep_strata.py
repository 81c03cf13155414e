"""The strata of `sweep=spectrum` and `sweep=label_noise`: as many problems in every arm, where the files say they are."""

from __future__ import annotations

from collections import Counter

import pytest
from plans import plan_of

from eprli_lab.config.spec import RunSpec
from eprli_lab.data.load import load_training
from eprli_lab.data.strata import stratify


def arms(sweep: str) -> dict[str, RunSpec]:
    """The spec of each arm at its first seed."""
    runs = plan_of(f"sweep={sweep}", "preset=smoke").runs
    return {str(run.spec.arm): run.spec for run in reversed(runs)}


def rungs(spec: RunSpec) -> list[dict[int, int]]:
    """Of each level: number of operations -> problems."""
    by_level = stratify(load_training(spec.data, spec.rng_seed), spec.curriculum).levels
    return [dict(Counter(int(p.id.split("-")[1]) for p in problems)) for problems in by_level.values()]


SPECTRA = {
    "smooth": [dict.fromkeys((1, 2), 80), dict.fromkeys((3, 4), 80), dict.fromkeys((5, 6, 7, 8), 80)],
    "gap": [{1: 160}, {2: 160}, {7: 160, 8: 160}],
    "bimodal": [dict.fromkeys((1, 2), 120), dict.fromkeys((3, 4, 5, 6), 40), dict.fromkeys((7, 8), 120)],
    "narrow": [{3: 214}, {4: 213}, {5: 213}],
}


def test_every_spectrum_has_its_problems_in_its_own_three_levels() -> None:
    specs = arms("spectrum")
    assert set(specs) == {f"{name}_{levels}" for name in SPECTRA for levels in ("l1", "l3")}
    for name, expected in SPECTRA.items():
        assert rungs(specs[f"{name}_l3"]) == expected, name
        assert rungs(specs[f"{name}_l1"]) == [{n: count for level in expected for n, count in level.items()}], name
        assert sum(count for level in expected for count in level.values()) == 640
    assert len({spec.evaluation.model_dump_json() for spec in specs.values()}) == 1


@pytest.mark.slow
def test_labels_of_other_policies_cut_other_strata_of_about_the_true_sizes() -> None:
    specs = arms("label_noise")
    true = rungs(specs["noise_0"])
    assert true == SPECTRA["smooth"]
    for name in ("by_smaller", "by_other"):
        strata = rungs(specs[name])
        assert [sum(level.values()) for level in strata] == {
            "by_smaller": [146, 211, 283],
            "by_other": [107, 122, 411],
        }[name]
        shares = [sum(level.get(n, 0) for n in (1, 2)) / sum(level.values()) for level in strata]
        assert shares[0] > shares[1] > shares[2], "right on the whole"
        assert 0.4 < shares[0] < 0.8, "and biased: of the first level's problems some are long chains"
    assert {sum(sum(level.values()) for level in rungs(spec)) for spec in specs.values()} == {640}
