"""How a problem becomes a prompt: chat template, system prompt, suffix; of the run, and of a level."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

from pydantic import field_validator, model_validator

from eprli_lab.config.fields import Strict

# What the package itself gives a template, or transformers takes for itself.
TAKEN = {
    *("messages", "conversation", "chat_template", "add_generation_prompt", "continue_final_message", "tokenize"),
    *("padding", "truncation", "max_length", "return_tensors", "return_dict", "return_assistant_tokens_mask"),
    *("tokenizer_kwargs", "tools", "documents", "strftime_now", "raise_exception"),
}


class LevelPromptsSpec(Strict):
    """What a level says otherwise, in training only: suites are always asked with the run's prompts."""

    system: str | None = None  # null: the run's; "": none
    suffix: str | None = None  # null: the run's; "": none


class PromptsSpec(Strict):
    """The same for training and evaluation (docs/prompts.md)."""

    template: Literal["auto", "none"] = "auto"  # auto: the tokenizer's chat template, where it has one
    system: str = ""  # system message put first; needs a chat template
    suffix: str = ""  # put behind the last user message as it stands
    arguments: dict[str, Any] | None = None  # of the template, for instance {enable_thinking: false}
    date: str | None = None  # YYYY-MM-DD: what a template that asks for the day's date is told

    @field_validator("arguments")
    @classmethod
    def _names(cls, v: dict[str, Any] | None) -> dict[str, Any] | None:
        for name in v or {}:
            if name in TAKEN or not name.isidentifier():
                raise ValueError(f"'{name}' is no argument of a template that a run could set: leave it out")
        return v

    @field_validator("date")
    @classmethod
    def _day(cls, v: str | None) -> str | None:
        try:
            if v is not None and date.fromisoformat(v).isoformat() != v:
                raise ValueError
        except ValueError:
            raise ValueError(f"'{v}' is no date: write YYYY-MM-DD") from None
        return v

    @model_validator(mode="after")
    def _used(self) -> PromptsSpec:
        if self.template == "none":
            for name in ("system", "arguments", "date"):
                if getattr(self, name):
                    raise ValueError(f"{name} needs a chat template: leave it out, or set prompts.template=auto")
        return self
