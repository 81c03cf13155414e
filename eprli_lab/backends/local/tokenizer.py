r"""Character tokenizers for the generated families, each as a real PreTrainedTokenizerFast.

`arithmetic` has 32 entries, `text` has 104: printable ASCII and the line feed. `\boxed{` is one token in both. Saved
beside the weights, it opens with AutoTokenizer anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

CHARACTERS = "0123456789+-=?}abcdefgh;*i"  # appended to, never reordered: shipped weights know these ids
BOXED = "\\boxed{"
SPECIAL = ("<pad>", "<eos>", "<bos>")
TEXT = "".join(map(chr, range(32, 127))) + "\n"


@dataclass(frozen=True)
class Alphabet:
    """The characters of a tokenizer, and how many entries its vocabulary has."""

    characters: str
    size: int


ALPHABETS = {"arithmetic": Alphabet(CHARACTERS, 32), "text": Alphabet(TEXT, 104)}
SIZE = ALPHABETS["arithmetic"].size


def vocabulary(name: str = "arithmetic") -> dict[str, int]:
    """Token -> id; unused entries fill up to the alphabet's size."""
    alphabet = ALPHABETS[name]
    tokens = [*SPECIAL, BOXED, *alphabet.characters]
    tokens += [f"<unused{i}>" for i in range(alphabet.size - len(tokens))]
    return {token: i for i, token in enumerate(tokens)}


def _core(name: str) -> Any:
    """`<pad>` doubles as the unknown token (a generated prompt has no unknown characters)."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    core = Tokenizer(models.WordLevel(vocabulary(name), unk_token="<pad>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"\\boxed\{|(?m:.)"), behavior="isolated")
    core.decoder = decoders.Fuse()
    return core


class CharacterTokenizer:
    """The encoding half of `build_tokenizer`, without the seconds that transformers takes to import."""

    chat_template = None
    bos_token_id = 2

    def __init__(self, name: str = "arithmetic") -> None:
        self._core = _core(name)

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        """Token ids, without BOS."""
        return list(self._core.encode(text).ids)


def build_tokenizer(name: str = "arithmetic") -> Any:
    """The tokenizer of an alphabet, as one of transformers."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=_core(name),
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        clean_up_tokenization_spaces=False,
    )
