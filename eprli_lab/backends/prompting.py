"""A problem as the token ids of its prompt: the chat template where the tokenizer has one, plain text elsewhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from typing import Any

from eprli_lab.config.prompts import TAKEN, PromptsSpec
from eprli_lab.data.conversation import Message, conversation, suffix_of, system_of
from eprli_lab.errors import UserError, nearest
from eprli_lab.records import Problem

ADDED = 8  # more special tokens than any tokenizer puts around a text
MARKER = "forty-two"  # what an assistant is made to say, to see what ends its turn
CLOCK = "strftime_now"  # what templates call for the day's date


class PromptEncoder:
    """Renders and encodes; one rule for training, evaluation and measured difficulty."""

    def __init__(self, tokenizer: Any, prompts: PromptsSpec | None = None) -> None:
        """`tokenizer`: of transformers, or local/tokenizer.py's. Raises UserError for prompts that it cannot honour."""
        self.tokenizer = tokenizer
        self.prompts = prompts or PromptsSpec()
        self.template = _template(tokenizer) if self.prompts.template == "auto" else None
        self._check_arguments()
        self._lengths: dict[tuple[Any, ...], int] = {}
        self._most: dict[tuple[Any, ...], int | None] = {}

    def text(self, problem: Problem) -> str:
        """The prompt as text. Raises UserError for a conversation that the template refuses or cuts."""
        messages = conversation(problem, self.prompts)
        if self.template is None:
            if system_of(problem, self.prompts):
                raise UserError(
                    "prompts.system: the tokenizer of this model has no chat template, so there is no place for a "
                    "system prompt: leave it out, or write it into prompt_template"
                )
            return "\n".join(content for _, content in messages)
        return self._templated(problem, messages)

    def encode(self, problem: Problem) -> list[int]:
        """The prompt's ids, and those of a hint behind it: it begins the answer, outside of any template.

        A template writes its own special tokens; plain text gets a BOS where there is one.
        """
        hint = list(self.tokenizer.encode(problem.hint, add_special_tokens=False)) if problem.hint else []
        text = self.text(problem)
        if self.template is not None:
            return [*self.tokenizer.encode(text, add_special_tokens=False), *hint]
        ids = list(self.tokenizer.encode(text))
        bos = self.tokenizer.bos_token_id
        if bos is not None and ids[:1] != [bos]:
            ids = [bos, *ids]
        if not ids:
            raise UserError(f"data: the prompt of problem {problem.id} is empty, and this tokenizer has no start token")
        return [*ids, *hint]

    def count(self, problem: Problem) -> int:
        """Tokens of the prompt and the hint behind it, remembered."""
        key = _key(problem)
        if key not in self._lengths:
            self._lengths[key] = len(self.encode(problem))
        return self._lengths[key]

    def fits(self, problem: Problem, limit: int) -> bool:
        """Has the prompt at most `limit` tokens? Rendered in any case, so that what cannot be asked is refused here.

        Encoded only where it may be too long: a token covers at least one character of ASCII, so of 40,000 problems
        with short prompts none is (1 s instead of 16).
        """
        key = _key(problem)
        if key not in self._most:
            text = self.text(problem) + problem.hint
            self._most[key] = len(text) + ADDED if text and text.isascii() else None
        most = self._most[key]
        return (most is not None and most <= limit) or self.count(problem) <= limit

    def turn_end(self) -> int | None:
        """The special token with which the template ends an assistant's turn; None where it ends it with text."""
        if self.template is None:
            return None
        turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": MARKER}]
        try:
            text = str(self.tokenizer.apply_chat_template(turns, chat_template=self.template, tokenize=False))
        except Exception:  # a template may refuse this conversation, or ask for what is not given here
            return None
        behind = self.tokenizer.encode(text.rpartition(MARKER)[2].lstrip(), add_special_tokens=False)[:1]
        special = [i for i, token in self.tokenizer.added_tokens_decoder.items() if token.special]
        return int(behind[0]) if behind and behind[0] in special else None

    def _templated(self, problem: Problem, messages: Sequence[Message]) -> str:
        given: dict[str, Any] = dict(self.prompts.arguments or {})
        if self.template is not None and CLOCK in self.template:
            given[CLOCK] = self._date  # else the prompts of a run would be other ones tomorrow
        try:
            text = self.tokenizer.apply_chat_template(
                [{"role": role, "content": content} for role, content in messages],
                chat_template=self.template,
                add_generation_prompt=True,
                tokenize=False,
                **given,
            )
        except UserError:
            raise
        except Exception as error:  # a template is a program: it raises whatever it likes
            reason = " ".join(str(error).split())[:200]
            roles = ", ".join(role for role, _ in messages)
            advice = "leave prompts.system out" if system_of(problem, self.prompts) else "see what it takes"
            raise UserError(
                f"prompts: the model's chat template refuses problem {problem.id} (messages: {roles}): {reason}: "
                f"{advice}, or set prompts.template=none"
            ) from None
        for name, part in (("system", system_of(problem, self.prompts)), ("suffix", suffix_of(problem, self.prompts))):
            if part.strip() not in text:
                raise UserError(
                    f"prompts.{name}: the model's chat template leaves it out of the prompt of problem {problem.id}: "
                    "set prompts.template=none, or do without it"
                )
        return str(text)

    def _date(self, form: str) -> str:
        if self.prompts.date is None:
            raise UserError(
                "prompts.date: the model's chat template writes the day's date into every prompt, so that a run "
                "could not be repeated: name a day, for instance prompts.date=2025-01-01"
            )
        return date.fromisoformat(self.prompts.date).strftime(form)

    def _check_arguments(self) -> None:
        """Every argument is read by the template, and the date asked for: what is written is obeyed or refused."""
        if not self.prompts.arguments and self.prompts.date is None:
            return
        if self.template is None:
            name = "arguments" if self.prompts.arguments else "date"
            raise UserError(
                f"prompts.{name}: the tokenizer of this model has no chat template that would read it: leave it out"
            )
        known = template_variables(self.template)
        for name in self.prompts.arguments or {}:
            if name not in known:
                choices = nearest(name, known - TAKEN)
                raise UserError(f"prompts.arguments: the model's chat template never reads '{name}'{choices}")
        if self.prompts.date is not None and CLOCK not in known:
            raise UserError("prompts.date: the model's chat template asks for no date: leave it out")


def _key(problem: Problem) -> tuple[Any, ...]:
    return problem.prompt, problem.messages, problem.system, problem.suffix, problem.hint


def _template(tokenizer: Any) -> str | None:
    """The template that transformers takes for plain chat; None where there is none."""
    template = getattr(tokenizer, "chat_template", None)
    if not isinstance(template, dict):
        return template or None
    try:
        return str(tokenizer.get_chat_template())
    except ValueError as error:
        raise UserError(f"prompts.template: {' '.join(str(error).split())[:200]}: set prompts.template=none") from None


def template_variables(template: str) -> set[str]:
    """Names that a template looks up in what it is given."""
    from jinja2 import TemplateError, meta
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(extensions=["jinja2.ext.loopcontrols"])
    plain = re.sub(r"{%[-+]?\s*(end)?generation\s*[-+]?%}", "", template)  # a tag of transformers' own
    try:
        return meta.find_undeclared_variables(environment.parse(plain))
    except TemplateError as error:
        raise UserError(f"prompts.template: the model's chat template cannot be read: {error}") from None
