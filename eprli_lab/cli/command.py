"""What all commands are made of: words in, an exit code out, a help with keys and examples, completion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

from eprli_lab.cli.errors import exit_code
from eprli_lab.cli.words import ANY, Key, candidates, config_groups

PROGRAM = "eprli-lab"


class Command(click.Command):
    """`eprli-lab NAME WORDS`.

    `work` takes the words and returns an exit code, or None for 0; what it raises becomes a sentence (cli/errors.py).
    `examples` are (words, what they do). `overrides`: Hydra's words are taken too. `first`: what the words without a
    `=` may be. `sentences`: those of `exit_code`, where they are other ones.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[list[str]], int | None],
        about: str,
        *,
        usage: str,
        keys: Sequence[Key] = (),
        examples: Sequence[tuple[str, str]],
        overrides: bool = False,
        first: Callable[[], Sequence[str]] | None = None,
        files: bool = False,
        sentences: dict[str, str] | None = None,
    ) -> None:
        words = click.Argument(
            ["words"], nargs=-1, type=click.UNPROCESSED, metavar=usage, shell_complete=self._complete, required=False
        )
        super().__init__(
            name,
            params=[words],
            help=about,
            short_help=about.partition("\n\n")[0],
            context_settings={"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]},
            options_metavar="",
        )
        self.work = work
        self.usage = usage
        self.keys = tuple(keys)
        self.examples = tuple(examples)
        self._overrides = overrides
        self._first = first
        self._files = files
        self._sentences = sentences or {}

    def run(self, arguments: Sequence[str]) -> int:
        """The command by itself, as the modules behind `python -m` call it; the exit code."""
        name = f"{PROGRAM} {self.name}"
        code: int = exit_code(lambda: self.main(list(arguments), prog_name=name, standalone_mode=False))
        return code

    def invoke(self, ctx: click.Context) -> int:
        words = list(ctx.params["words"])
        code = exit_code(lambda: self.work(words), **self._sentences)
        if code:
            ctx.exit(code)
        return code

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.keys:
            with formatter.section("Keys"):
                formatter.write_dl([(f"{key.name}={key.example}", key.meaning) for key in self.keys])
        super().format_options(ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples"):
            for words, meaning in self.examples:
                formatter.write(f"  # {meaning}\n  {' '.join([PROGRAM, self.name or '', words]).rstrip()}\n")

    def _complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[Any]]:
        before = [str(word) for word in ctx.params.get("words") or ()]
        keys = [*(k for k in self.keys if k != ANY), *(config_groups() if self._overrides else ())]
        keys = list({key.name: key for key in reversed(keys)}.values())[::-1]  # the command's own meaning wins
        names = candidates(keys, before, incomplete)
        if self._first is not None and not before and "=" not in incomplete:
            names = [name for name in self._first() if name.startswith(incomplete)] or names
        if self._files and (not names or not incomplete):
            return [CompletionItem(incomplete, type="dir")]
        return [CompletionItem(name) for name in names]
