"""Our decode loop against transformers' generate(), useful tokens a CPU-second: `python benchmarks/sampler.py`.

8 prompts x 16 responses of at most 76 tokens at temperature 1 from the trained default policy, the two alternated in
one process, one thread. Useful tokens end with the end-of-sequence token; both sides decode their text.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from trained import trained_backend

from eprli_lab.data.load import load_training
from eprli_lab.records import Sampling

REPEATS = 10


def main() -> None:
    backend, spec = trained_backend()
    problems = load_training(spec.data)[:8]
    prompts = [backend.adapter.prompt(p) for p in problems]
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(p)) + p for p in prompts])  # generate() wants padding on the left
    mask = (torch.arange(longest)[None] >= torch.tensor([longest - len(p) for p in prompts])[:, None]).long()

    def ours(seed: int) -> int:
        groups = backend.sample(problems, Sampling(16, 76), seed=seed)
        return sum(len(r.tokens) for g in groups for r in g)

    @torch.no_grad()
    def theirs(seed: int) -> int:
        torch.manual_seed(seed)
        options: dict[str, Any] = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
        out = backend.policy.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=76, num_return_sequences=16, pad_token_id=0, **options
        )[:, longest:]
        backend.tokenizer.batch_decode(out, skip_special_tokens=True)
        return int((out != 0).sum())

    rates = {}
    for name, sample in (("ours", ours), ("generate()", theirs)):
        sample(0)  # warm up
        rates[name] = [0, 0.0]
    for seed in range(1, REPEATS + 1):
        for name, sample in (("ours", ours), ("generate()", theirs)):
            began = time.process_time()
            rates[name][0] += sample(seed)
            rates[name][1] += time.process_time() - began
    speed = {name: tokens / seconds for name, (tokens, seconds) in rates.items()}
    for name, value in speed.items():
        print(f"{name:<11} {value:8.0f} useful tokens a CPU-second")
    print(f"ratio {speed['ours'] / speed['generate()']:.2f} (goal: at least 2)")


if __name__ == "__main__":
    main()
