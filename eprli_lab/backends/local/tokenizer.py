r"""A 32-entry character tokenizer for the generated families, as a real PreTrainedTokenizerFast.

`\boxed{` is one token. Saved beside the weights, it opens with AutoTokenizer anywhere.
"""

from __future__ import annotations

from typing import Any

CHARACTERS = "0123456789+-=?}abcdefgh;*i"  # appended to, never reordered: shipped weights know these ids
BOXED = "\\boxed{"
SPECIAL = ("<pad>", "<eos>", "<bos>")
SIZE = 32


def vocabulary() -> dict[str, int]:
    """Token -> id; unused entries fill up to 32."""
    tokens = [*SPECIAL, BOXED, *CHARACTERS]
    tokens += [f"<unused{i}>" for i in range(SIZE - len(tokens))]
    return {token: i for i, token in enumerate(tokens)}


def _core() -> Any:
    """`<pad>` doubles as the unknown token (a generated prompt has no unknown characters)."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    core = Tokenizer(models.WordLevel(vocabulary(), unk_token="<pad>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"\\boxed\{|."), behavior="isolated")
    core.decoder = decoders.Fuse()
    return core


class CharacterTokenizer:
    """The encoding half of `build_tokenizer`, without the seconds that transformers takes to import."""

    chat_template = None
    bos_token_id = 2

    def __init__(self) -> None:
        self._core = _core()

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        """Token ids, without BOS."""
        return list(self._core.encode(text).ids)


def build_tokenizer() -> Any:
    """The tokenizer, as one of transformers."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=_core(),
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        clean_up_tokenization_spaces=False,
    )
