"""Trains tiny-chat from scratch with plain PyTorch on a CPU, and saves its weights and vocabulary for `export.py`.

The same seed, machine and versions give the same weights.
"""

import argparse
import json
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from common.batches import by_length
from common.network import Model

from . import corpus, vocabulary

SHAPE = {
    "vocab": vocabulary.SIZE,
    "embedding": 256,
    "blocks": 3,
    "heads": 4,
    "heads_kv": 2,
    "head": 64,
    "feed_forward": 512,
    "rope_base": 10000.0,
    "epsilon": 1e-6,
}
CONTEXT_TRAINED = 1024


class Encoder:
    """Conversations -> token ids, and which of them are the assistant's own."""

    def __init__(self, prompts):
        self.prompts = prompts
        self.start = prompts.encode("<|im_start|>assistant\n")
        self.no_thought = prompts.encode("<think>\n\n</think>\n\n")
        self.end = prompts.encode("<|im_end|>")[0]

    def chat(self, messages, tools, thinking):
        ids = self.prompts.encode(self.prompts.render(messages, tools, thinking, generate=False))
        own = [False] * len(ids)
        i, size = 0, len(self.start)
        while i < len(ids):
            if ids[i : i + size] != self.start:
                i += 1
                continue
            i += size
            if ids[i : i + len(self.no_thought)] == self.no_thought:
                i += len(self.no_thought)
            stop = ids.index(self.end, i) + 1
            own[i:stop] = [True] * (stop - i)
            i = stop
        return ids, own

    def text(self, text):
        ids = self.prompts.encode(text + "<|endoftext|>")
        return ids, [i >= 4 for i in range(len(ids))]


def batches(encoder, seed, tokens):
    """Endless batches of about `tokens` tokens each, of conversations of similar length."""
    sampler, order = corpus.Sampler(seed), random.Random(seed)
    while True:
        pool = []
        for _ in range(400):
            if order.random() < 0.02:
                pool.append(encoder.text(order.choice(corpus.CHATS["completions"])))
            else:
                item = encoder.chat(*sampler.conversation())
                if len(item[0]) <= CONTEXT_TRAINED:
                    pool.append(item)
        yield from by_length(pool, tokens, order)


def tensors(group):
    width = max(len(ids) for ids, _ in group)
    ids = torch.zeros(len(group), width, dtype=torch.long)
    own = torch.zeros(len(group), width, dtype=torch.bool)
    for row, (item, mask) in enumerate(group):
        ids[row, : len(item)] = torch.tensor(item)
        own[row, : len(item)] = torch.tensor(mask)
    return ids, own


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "out" / "tiny-chat")
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--tokens", type=int, default=2048, help="tokens a step")
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)

    tokenizer = vocabulary.learn()
    tokenizer.save(str(options.out / "tokenizer.json"))
    encoder = Encoder(vocabulary.Prompts(tokenizer))
    model = Model(SHAPE)
    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
    adam = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}],
        lr=options.rate, betas=(0.9, 0.98), eps=1e-9, fused=True,
    )  # fmt: skip

    start, seen, average = time.time(), 0, None
    stream = batches(encoder, options.seed, options.tokens)
    for step in range(options.steps):
        # Warm up, stay, and fall to zero over the second half.
        pace = min(1.0, (step + 1) / 100, (options.steps - step) / (options.steps / 2))
        for group in adam.param_groups:
            group["lr"] = options.rate * pace
        ids, own = tensors(next(stream))
        # Position i predicts token i + 1; only the assistant's tokens are worth predicting.
        hidden = model.hidden(ids)[:, :-1][own[:, 1:]]
        loss = F.cross_entropy(model.logits(hidden), ids[:, 1:][own[:, 1:]])
        adam.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        seen += ids.numel()
        average = loss.item() if average is None else 0.98 * average + 0.02 * loss.item()
        if (step + 1) % 50 == 0:
            print(f"step {step + 1}  loss {average:.4f}  {seen / (time.time() - start):.0f} tokens/s  {time.time() - start:.0f} s", flush=True)
        if (step + 1) % 500 == 0 or step + 1 == options.steps:
            torch.save(model.state_dict(), options.out / "weights.pt")
            seconds = round(time.time() - start)
            report = {"shape": SHAPE, "seed": options.seed, "steps": step + 1, "tokens": seen, "loss": average, "seconds": seconds}
            (options.out / "training.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
