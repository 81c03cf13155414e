"""A chat model that anybody could have tuned: byte-level BPE, ChatML, SFT on sums; made in seconds, saved as usual."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{% endif %}"
)
SUMS = [(a, b) for a in range(10) for b in range(10)]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
# Qwen's: transformers gives every Qwen2 checkpoint this one, whatever its own tokenizer file says
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
VOCABULARY = 384  # of the model: padded to a multiple of 64
CONTEXT = 128
# heads of 16: the rotary kernel of vLLM's CPU build reads so many at once
SHAPE = {"hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 6, "num_key_value_heads": 2}


def question(a: int, b: int) -> str:
    return f"What is {a} plus {b}?"


def chat_tokenizer(template: str | None = CHATML, *, bos: str | None = None, pad: str = "<|endoftext|>") -> Any:
    """Trained on the questions and on other strings; its end of sequence is the end of a turn."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=360,
        special_tokens=[*SPECIAL, *([bos] if bos else [])],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [question(a, b) for a, b in SUMS] + [f"user\nassistant\nsystem\n\\boxed{{{n}}}" for n in range(200)]
    core.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token=pad,
        bos_token=bos,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = template
    return tokenizer


def _config(kind: str, tokenizer: Any) -> Any:
    from transformers import AutoConfig

    more: dict[str, Any] = {"head_dim": 16} if kind == "qwen3" else {}
    return AutoConfig.for_model(
        kind,
        vocab_size=VOCABULARY,
        intermediate_size=176,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        initializer_range=0.06,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        **SHAPE,
        **more,
    )


def make_untrained(directory: Path) -> Path:
    """Config and tokenizer of the chat model, without weights: what is read before a start."""
    tokenizer = chat_tokenizer()
    tokenizer.save_pretrained(directory)
    _config("qwen2", tokenizer).save_pretrained(directory)
    return directory


def make_chat_model(directory: Path, kind: str = "qwen2", *, pad: str = "<|endoftext|>", enough: float = 0.003) -> Path:
    """A checkpoint that answers `question` with a box, inside ChatML; about 10 CPU-seconds on one thread.

    `enough`: the loss, in nats a token, at which its training ends; .003 knows every sum.
    """
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = chat_tokenizer(pad=pad)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(_config(kind, tokenizer))
    ids, targets = _demonstrations(tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.0)
    for step in range(600):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1.0, (step + 1) / 20)
        optimizer.zero_grad()
        loss = model(input_ids=ids, labels=targets).loss
        if loss.item() < enough:
            break
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    else:
        raise AssertionError(f"the {kind} model did not learn its sums: loss {loss.item():.4f}")
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def _demonstrations(tokenizer: Any) -> tuple[Any, Any]:
    """(ids, targets) [100, T], padded on the right; the loss is the answers' alone."""
    import torch

    rows = []
    for a, b in SUMS:
        message = [{"role": "user", "content": question(a, b)}]
        prompt = tokenizer.apply_chat_template(message, add_generation_prompt=True, tokenize=False)
        before = tokenizer.encode(prompt, add_special_tokens=False)
        after = tokenizer.encode(f"\\boxed{{{a + b}}}<|im_end|>", add_special_tokens=False)
        rows.append((before, after))
    length = max(len(p) + len(r) for p, r in rows)
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    targets = torch.full_like(ids, -100)
    for i, (p, r) in enumerate(rows):
        ids[i, : len(p) + len(r)] = torch.tensor(p + r)
        targets[i, len(p) : len(p) + len(r)] = torch.tensor(r)
    return ids, targets


def write_sums(path: Path) -> Path:
    """The questions as a data file; the difficulty is the larger number over ten."""
    rows = [
        {"id": f"{a}+{b}", "problem": question(a, b), "answer": a + b, "difficulty": max(a, b) / 10} for a, b in SUMS
    ]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def overrides(model: Path, data: Path) -> list[str]:
    """A run of this model on its sums: one level, one suite, a few hundred tokens."""
    source = f"{{path: '{data}', columns: {{id: id, prompt: problem, answer: answer}}}}"
    return [
        *("model=path", f"model.path={model}", "data=jsonl", f"data.source.path={data}"),
        "data.allow_overlap=true",  # the policy is evaluated on the very sums that it trains on
        *("data.source.columns.difficulty=difficulty", "curriculum=l1", "evaluation=benchmarks"),
        "~evaluation.suites.aime24",
        "~evaluation.suites.amc23",
        "~evaluation.suites.math500",
        f"+evaluation.suites.sums.source={source}",
        *("evaluation.max_response_tokens=12", "curriculum.levels.l1.max_response_tokens=12"),
        *("evaluation.samples=1", "evaluation.temperature=1.0", "budget.amount=600", "optim.learning_rate=1e-4"),
        *("curriculum.levels.l1.group_size=4", "curriculum.levels.l1.buffer_groups=2"),
    ]


if __name__ == "__main__":  # docs/own_data.md: python tests/chat_model.py DIR
    import torch

    torch.set_num_threads(1)  # its matrices are too small for more
    print(make_chat_model(Path(sys.argv[1]), "qwen3", enough=0.2))
