"""Who grades the problems of reasoning-gym: the set's own scorer, asked with the answer that was given."""

from __future__ import annotations

from collections.abc import Sequence

from eprli_lab.data.gym import RIGHT, score, source_of
from eprli_lab.data.gym_levels import factory
from eprli_lab.records import Grade


class Verifier:
    """`(answer, (checks,)) -> Grade`; the registered verifier `reasoning_gym`."""

    reads_answer = True  # not the whole response: the Grader looks where the run's format says that it stands

    def prepare(self) -> None:
        """Import reasoning-gym: a second, which no answer should be charged with."""
        factory()

    def __call__(self, answer: str, checks: Sequence[str]) -> Grade:
        """Right where the scorer gives 1; a part of that is wrong. Raises what the scorer raises: an error."""
        right = score(answer, source_of(checks[0])) >= RIGHT
        return Grade(right, "exact" if right else "wrong", answer)


verify = Verifier()
