"""Are flags taken by OpenRLHF's real parser? Asked in a process of its own, as OpenRLHF's imports are heavy."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence

from eprli_lab.backends.openrlhf.flags import Flag, parse
from eprli_lab.errors import UserError

Question = tuple[tuple[Flag, ...], bool]  # flags, and whether they are a rehearsal's
_answers: dict[Question, str] = {}  # what is refused, in a sentence; "": taken


def check(emitted: tuple[Flag, ...], rehearsal: bool) -> None:
    """Raises UserError with what the parser does not take."""
    ask([(emitted, rehearsal)])
    if refused := _answers[emitted, rehearsal]:
        raise UserError(refused)


def ask(questions: Iterable[Question]) -> None:
    """All that is not known yet in one process: the imports take ten seconds and more, all the parsing none."""
    new = [q for q in dict.fromkeys(questions) if q not in _answers]
    for kind in (True, False):
        asked = [emitted for emitted, rehearsal in new if rehearsal is kind]
        if asked:
            _answers.update(zip([(emitted, kind) for emitted in asked], _answered(asked, kind), strict=True))


def _answered(asked: Sequence[tuple[Flag, ...]], rehearsal: bool) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "eprli_lab.backends.openrlhf.flag_check"],
        input=json.dumps({"asked": asked, "rehearsal": rehearsal}),
        capture_output=True,
        text=True,
    )
    if done.returncode == 0:
        answers: list[str] = json.loads(done.stdout.splitlines()[-1])
        return answers
    reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
    return [f"backend: OpenRLHF cannot be imported here: {reason}"] * len(asked)


def _main() -> None:
    request = json.loads(sys.stdin.read())
    if request["rehearsal"]:
        from eprli_lab.backends.openrlhf.rehearsal import install

        install()
    answers = []
    with contextlib.redirect_stdout(sys.stderr):  # whatever the imports say
        for emitted in request["asked"]:
            try:
                parse([tuple(flag) for flag in emitted])
                answers.append("")
            except UserError as error:
                answers.append(str(error))
    print(f"\n{json.dumps(answers)}")


if __name__ == "__main__":
    _main()
