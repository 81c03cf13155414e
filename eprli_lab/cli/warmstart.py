"""`eprli-lab warmstart`: make the initial policy of a generated family from nothing, by one seeded recipe."""

from __future__ import annotations

from pathlib import Path

from eprli_lab.cli.command import Command
from eprli_lab.cli.words import ANY, Key, split
from eprli_lab.errors import UserError

ABOUT = """Make the initial policy of a generated family from nothing, by one seeded recipe.

SFT on worked chains to near-competence, then SFT on noisy demonstrations (each step's result wrong with probability
`noise`, the error carried on). That gives a policy that knows how but is unsure, and RL something to do; what RL does
here is mostly sharpening of this latent skill."""


def _warmstart(words: list[str]) -> None:
    from eprli_lab.backends.local.warmstart import make
    from eprli_lab.config.compose import compose_spec
    from eprli_lab.config.extensions import is_path
    from eprli_lab.config.paths import ASSETS_DIR

    given, overrides = split(words, ("out",))
    if given.get("out") == "":
        raise UserError("out=: name the directory to write, for instance out=policy")
    spec = compose_spec(overrides)
    if spec.model.config is None or spec.data.generated is None:
        raise UserError("a warm start needs a model built from a config and a generated data family")
    family = spec.data.generated.family
    if is_path(family) and "out" not in given:
        raise UserError(f"out: a family of your own ({family}) needs a directory of its own: give out=DIR")
    directory = Path(given["out"]) if "out" in given else ASSETS_DIR / family
    provenance = make(spec.model, family, directory, " ".join(["eprli-lab warmstart", *overrides]))
    print(f"{directory}: sha256 {provenance['sha256'][:12]}, start accuracy {provenance['start_accuracy']}")


command = Command(
    "warmstart",
    _warmstart,
    ABOUT,
    usage="[KEY=VALUE]...",
    keys=(
        Key("out", "the directory to write (default: the package's assets)", example="DIR"),
        ANY,
    ),
    examples=(
        ("model=mod10 data=mod10", "into eprli_lab/assets/mod10"),
        ("model=int data=int out=somewhere", "into a directory of yours"),
    ),
    overrides=True,
)
