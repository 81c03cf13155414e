"""`eprli-lab run`: Hydra's application. Config -> spec -> train -> score, or a sweep with `-m`.

Only click is imported at the top; Hydra when it is called: `--help`, `--cfg job` and a refused config answer before
torch could load.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eprli_lab.cli.command import PROGRAM, Command
from eprli_lab.cli.errors import exit_code
from eprli_lab.cli.words import Key, sweep_names
from eprli_lab.config.paths import CONF_DIR
from eprli_lab.errors import NonFiniteError, UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

ABOUT = """One run, or with -m one ablation: arms x seeds, a table and a report at the end.

Every word goes to Hydra: overrides of the config, and Hydra's own options (--cfg job, --info, --hydra-help)."""
EXAMPLES = (
    ("", "one run of the default config"),
    ("curriculum=l3 optim.learning_rate=3e-4", "one run of another config"),
    ("--cfg job preset=smoke", "the config, composed and not run"),
    ("-m sweep=levels", "one ablation"),
    ("-m sweep=levels preset=smoke study.only=[l2]", "one arm of it, at the smallest scale"),
)
# Hydra's words for which it answers and starts nothing.
ANSWERS = {"--help", "--hydra-help", "--version", "--cfg", "-c", "--info", "-i", "--shell-completion", "-sc"}

_exit_codes: list[int] = []
_errors: list[Exception] = []  # of jobs; raised in Hydra's job they would be printed by Hydra as well


def job(cfg: DictConfig) -> None:
    """Hydra's task: one run in this process, or what a launcher's process does."""
    from eprli_lab.cli.single import run_single

    _mask_kept_config()
    try:
        _exit_codes.append(run_single(cfg))
    except (UserError, NonFiniteError, OSError) as error:
        if getattr(cfg.get("study"), "job", None):  # in another process: the launcher carries it home
            raise
        _errors.append(error)


def _mask_kept_config() -> None:
    """What Hydra has written of the config (hydra.output_subdir), without the credentials that a YAML file gave it."""
    from hydra.core.hydra_config import HydraConfig

    from eprli_lab.masking import mask

    node: Any = HydraConfig.get()
    if node.output_subdir is None:
        return
    for file in (Path(node.runtime.output_dir) / str(node.output_subdir)).glob("*.yaml"):
        text = file.read_text(encoding="utf-8")
        if mask(text) != text:
            file.write_text(mask(text), encoding="utf-8")


def application(arguments: Sequence[str]) -> int:
    """Hydra's main over these words; the exit code of the run or the study. Raises what kept it from an end."""
    import hydra

    from eprli_lab.config.compose import composing
    from eprli_lab.config.credentials import hide_words
    from eprli_lab.config.overrides import defer_level_overrides, expand_shortcuts
    from eprli_lab.config.several import defer_values

    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions come here instead of being printed by Hydra
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    words = defer_level_overrides(defer_values(expand_shortcuts(hide_words(arguments))))
    options = _options(words)
    sys.argv = [f"{PROGRAM} run", *_options_first(words, options.overrides)]
    _exit_codes.clear()
    _errors.clear()
    start = hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="config")(job)
    with composing():
        if options.package is None:
            start()
        else:
            _show_package(start)
    for error in _errors:
        raise error
    return max(_exit_codes, default=0)


def _options_first(words: list[str], overrides: list[str]) -> list[str]:
    """`backend=local -m sweep=levels` as `-m backend=local sweep=levels`: Hydra wants all overrides in one piece."""
    left = list(overrides)
    options = []
    for word in words:
        if word in left:
            left.remove(word)
        else:
            options.append(word)
    return [*options, *overrides]


def _options(words: list[str]) -> Any:
    """Hydra's options in the words. Raises UserError for those that it does not have: it would print its usage."""
    from hydra._internal.utils import get_args_parser

    def refuse(message: str) -> None:
        raise UserError(f"{message}; eprli-lab run --help says more")

    parser: Any = get_args_parser()
    parser.error = refuse
    options, unknown = parser.parse_known_intermixed_args(words)
    if unknown:
        refuse(f"unrecognized arguments: {' '.join([w for w in unknown if w.startswith('-')] or unknown)}")
    if options.experimental_rerun is not None:
        raise UserError("--experimental-rerun reads a pickle, which could run anything: give the overrides themselves")
    return options


def _show_package(start: Callable[[], Any]) -> None:
    """`--package`: of one that is not there, Hydra prints a line and exits. Raises UserError for that."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            start()
    except SystemExit:
        raise UserError(f"--package: {said.getvalue().strip() or 'cannot be shown'}") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m eprli_lab.run`; the exit code: 0, 1 (a run failed), 2 (the user's mistake), 130 (interrupted)."""
    given = sys.argv[1:] if arguments is None else arguments
    return exit_code(
        lambda: application(given),
        interrupted="interrupted before anything was started",  # a run or a study takes over the signal
        output=str(Path.cwd()),
        unread=""
        if ANSWERS & set(given)
        else "interrupted: nobody reads the output any more; the same command resumes",
    )


class _Unparsed(Command):
    """Every word to Hydra, its `--help` and `--` too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.params["words"] = tuple(args)
        return []

    def invoke(self, ctx: click.Context) -> int:
        code = main(list(ctx.params["words"]))
        if code:
            ctx.exit(code)
        return code


command = _Unparsed(
    "run",
    application,
    ABOUT,
    usage="[-m] [KEY=VALUE]...",
    keys=(Key("sweep", "an ablation, with -m", sweep_names, "levels"),),
    examples=EXAMPLES,
    overrides=True,
)
