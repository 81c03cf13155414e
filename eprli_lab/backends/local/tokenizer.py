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


def build_tokenizer() -> Any:
    """The tokenizer; `<pad>` doubles as the unknown token (a generated prompt has no unknown characters)."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.WordLevel(vocabulary(), unk_token="<pad>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"\\boxed\{|."), behavior="isolated")
    core.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        clean_up_tokenization_spaces=False,
    )
