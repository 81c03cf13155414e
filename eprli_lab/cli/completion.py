"""Completion in bash: as click gives it, but no space after a key, whose value follows."""

from __future__ import annotations

from click.shell_completion import BashComplete, add_completion_class


class KeysInBash(BashComplete):
    """click's, with one line more in the function that the shell runs."""

    source_template = BashComplete.source_template.replace(
        "\n    return 0\n",
        "\n    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace\n    return 0\n",
    )


add_completion_class(KeysInBash)
