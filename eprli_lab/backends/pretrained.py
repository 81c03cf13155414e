"""What is known of a model before its weights are loaded: its tokenizer, its context."""

from __future__ import annotations

from typing import Any

from eprli_lab.backends.local.policy import check_source
from eprli_lab.config.data import ModelSpec
from eprli_lab.errors import UserError, reason

SCALED = ("yarn", "linear", "dynamic")  # kinds of RoPE whose factor lengthens the context


def read_tokenizer(model: ModelSpec, family: str | None) -> Any:
    """The tokenizer of a model by path or id; of a warm-started one the same without transformers. Raises UserError."""
    where = check_source(model, family)
    if where is None:
        from eprli_lab.backends.local.tokenizer import CharacterTokenizer

        return CharacterTokenizer(model.tokenizer)
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(where, trust_remote_code=model.trust_remote_code)
    except Exception as error:  # whatever a file, or the code beside it, makes the library raise
        raise UserError(f"model.path: {model.path} cannot be loaded: {reason(error)}") from None
    if not set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens):  # what transformers makes of no files
        raise UserError(
            f"model.path: {model.path} holds no tokenizer: save it beside the weights (tokenizer.save_pretrained)"
        )
    return tokenizer


def read_generation_config(where: str) -> Any:
    """The generation config of a checkpoint (directory or id); None where there is none."""
    from transformers import GenerationConfig

    try:
        return GenerationConfig.from_pretrained(where)
    except OSError:
        return None


def context_tokens(model: ModelSpec) -> int | None:
    """Prompt and response tokens that the model has positions for; None where its config says nothing of it."""
    if model.config is not None and "max_position_embeddings" in model.config:
        given = model.config["max_position_embeddings"]
        if type(given) is not int or given < 1:
            raise UserError(
                f"model.config.max_position_embeddings: a whole number of at least 1 is needed, not {given!r}"
            )
        return given
    from transformers import AutoConfig

    try:
        if model.config is not None:
            values = dict(model.config)
            config = AutoConfig.for_model(values.pop("model_type"), **values)
        else:
            where = check_source(model, None)
            assert where is not None
            config = AutoConfig.from_pretrained(where, trust_remote_code=model.trust_remote_code)
    except UserError:
        raise
    except Exception as error:  # as above
        source = "model.config" if model.config is not None else f"model.path: {model.path}"
        raise UserError(f"{source} cannot be loaded: {reason(error)}") from None
    return context_of(config)


def context_of(config: Any) -> int | None:
    """Positions of a transformers config; a scaled RoPE has factor times those that it was trained on."""
    text = config.get_text_config()
    positions = getattr(text, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions < 1:
        return None
    rope = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None) or {}
    if rope.get("rope_type", rope.get("type")) in SCALED:
        trained = rope.get("original_max_position_embeddings") or positions
        return max(positions, int(trained * float(rope.get("factor") or 1.0)))
    return positions
