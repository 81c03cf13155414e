"""`eprli-lab`: the group of all commands. A command's module is imported when it is needed, and is light itself."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import click

from eprli_lab import __version__
from eprli_lab.cli import completion  # noqa: F401  bash's own
from eprli_lab.cli.command import PROGRAM
from eprli_lab.cli.errors import exit_code
from eprli_lab.errors import UserError, nearest

GROUPS = {  # what a command is for -> commands, as --help lists them
    "Run": ("run", "sweeps", "plan"),
    "Watch and read": ("status", "open", "report", "table", "check"),
    "Trust": ("doctor", "calibrate", "verify"),
    "Data and policies": ("data", "difficulty", "warmstart"),
    "Tracking": ("import", "upload"),
}
COMMANDS = tuple(name for names in GROUPS.values() for name in names)
MODULES = {"import": "importing"}  # commands whose name no module can have
ABOUT = """GRPO with a hierarchical difficulty curriculum: single runs, ablations, and their reports.

COMMAND --help says what a command takes, with examples. Words are key=value, as in Hydra.

\b
  eprli-lab run                       one run
  eprli-lab run -m sweep=levels       one ablation: arms x seeds, then a table
  eprli-lab run -m curriculum=l1,l2   the same without a file: values are arms
  eprli-lab open levels               its report in the browser

`run` may be left out before Hydra's words: eprli-lab -m sweep=levels.

\b
Completion of commands, keys, sweeps and presets (zsh and fish: their names):
  eval "$(_EPRLI_LAB_COMPLETE=bash_source eprli-lab)"
"""


def module_of(command: str) -> str:
    """The dotted name of a command's module."""
    return f"eprli_lab.cli.{MODULES.get(command, command)}"


def is_of_hydra(word: str) -> bool:
    """Whether a first word is one for Hydra (an option, an override, a deletion) and no command's name."""
    return "=" in word or word.startswith(("-", "~", "+"))


class _Group(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for purpose, names in GROUPS.items():
            with formatter.section(purpose):
                found = [(name, self.get_command(ctx, name)) for name in names]
                formatter.write_dl([(name, c.get_short_help_str(200)) for name, c in found if c is not None])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(module_of(cmd_name)).command
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and is_of_hydra(args[0]) and args[0] not in ("-h", "--help", "--version"):
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not ctx.resilient_parsing:
            raise UserError(f"{args[0]}: there is no such command{nearest(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Group,
    help=ABOUT,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    subcommand_metavar="COMMAND [WORDS]",
)
@click.version_option(__version__, prog_name=PROGRAM, message="%(prog)s %(version)s")
@click.pass_context
def group(ctx: click.Context) -> int:
    if ctx.invoked_subcommand is None:
        from eprli_lab.cli.welcome import welcome

        welcome()
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The console command; the exit code: 0, 1 (a run failed), 2 (the user's mistake, one sentence), 130."""
    given: list[str] = sys.argv[1:] if arguments is None else list(arguments)
    work: Any = lambda: group.main(given, prog_name=PROGRAM, standalone_mode=False)  # noqa: E731
    return exit_code(work)
