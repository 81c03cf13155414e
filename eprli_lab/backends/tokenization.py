"""Between problems and token ids, for every engine that has a Hugging Face tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from eprli_lab.backends.completions import check_group
from eprli_lab.backends.prompting import PromptEncoder
from eprli_lab.config.prompts import PromptsSpec
from eprli_lab.errors import EngineError
from eprli_lab.records import Completion, Problem, Response, Sampling


def _before(text: str, stop: Sequence[str]) -> str:
    """The text up to the first of the stop strings that it holds."""
    places = [i for s in stop if (i := text.find(s)) >= 0]
    return text[: min(places)] if places else text


def stop_tokens(tokenizer: Any, generation_config: Any) -> list[int]:
    """End-of-sequence ids of tokenizer and generation config."""
    more = getattr(generation_config, "eos_token_id", None)
    ids = {tokenizer.eos_token_id} | (set(more) if isinstance(more, list) else {more})
    return sorted(i for i in ids if i is not None)


class TokenizerAdapter:
    """Prompts to token ids, sampled ids to responses."""

    def __init__(
        self, tokenizer: Any, generation_config: Any = None, *, prompts: PromptsSpec | None = None, ends: bool = False
    ) -> None:
        """`ends`: say of every token where in the text it ends (needed where steps are rewarded)."""
        self.tokenizer, self.with_ends = tokenizer, ends
        self.encoder = PromptEncoder(tokenizer, prompts)
        self.stops = stop_tokens(tokenizer, generation_config)
        self._lengths: dict[int, int] = {}  # token id -> characters

    def prompt(self, problem: Problem) -> list[int]:
        """Token ids: the chat template where there is one, else plain text after BOS, and a hint (prompting.py).

        The tokens of a response that was begun follow as they stand: the policy goes on behind them.
        """
        return [*self.encoder.encode(problem), *problem.begun]

    def responses(
        self, problem: Problem, prompt: Sequence[int], group: Sequence[Completion], sampling: Sampling
    ) -> tuple[Response, ...]:
        """The n samples of one prompt as text. Raises EngineError unless they are a whole group (completions.py).

        Of a response that was begun, the text is the whole one's, from its beginning, the tokens are the new ones.
        """
        check_group(problem.id, group, sampling, self.stops)
        texts = self.tokenizer.batch_decode([[*problem.begun, *c.tokens] for c in group], skip_special_tokens=True)
        for i, (text, c) in enumerate(zip(texts, group, strict=True)):
            if c.finish == "stop" and c.tokens[-1] not in self.stops and _before(text, sampling.stop) == text:
                raise EngineError(
                    f"stop_token: response {i} to problem {problem.id} is said to have ended, with no stop"
                )
        return tuple(
            Response(
                text=_before(text, sampling.stop),
                prompt_tokens=tuple(prompt),
                tokens=c.tokens,
                logprobs=c.logprobs,
                truncated=c.finish == "length",
                ends=self._ends(c.tokens) if self.with_ends else (),
            )
            for text, c in zip(texts, group, strict=True)
        )

    def _ends(self, ids: Sequence[int]) -> tuple[int, ...]:
        """Characters of the decoded text up to and including each token (exact where tokens are whole characters)."""
        for i in set(ids) - self._lengths.keys():
            self._lengths[i] = len(self.tokenizer.decode([i], skip_special_tokens=True))
        return tuple(accumulate(self._lengths[i] for i in ids))
