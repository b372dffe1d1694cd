"""Qwen3's network in plain PyTorch: RMSNorm before each block and on every query and key head, grouped-query attention with
rotary positions (two halves of a head rotate), SwiGLU, tied embeddings.

A shape is a dictionary: `vocab`, `embedding`, `blocks`, `heads`, `heads_kv`, `head`, `feed_forward`, `rope_base`, `epsilon`.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

# Positions for which the angles are kept.
LONGEST = 2048


def rotate(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


class Block(nn.Module):
    def __init__(self, s):
        super().__init__()
        d, eps = s["embedding"], s["epsilon"]
        self.s = s
        self.attn_norm = nn.RMSNorm(d, eps)
        self.q = nn.Linear(d, s["heads"] * s["head"], bias=False)
        self.k = nn.Linear(d, s["heads_kv"] * s["head"], bias=False)
        self.v = nn.Linear(d, s["heads_kv"] * s["head"], bias=False)
        self.o = nn.Linear(s["heads"] * s["head"], d, bias=False)
        self.q_norm = nn.RMSNorm(s["head"], eps)
        self.k_norm = nn.RMSNorm(s["head"], eps)
        self.ffn_norm = nn.RMSNorm(d, eps)
        self.gate = nn.Linear(d, s["feed_forward"], bias=False)
        self.up = nn.Linear(d, s["feed_forward"], bias=False)
        self.down = nn.Linear(s["feed_forward"], d, bias=False)

    def heads(self, x):
        """`[n, t, heads * head]` -> `[n, heads, t, head]`"""
        n, t, _ = x.shape
        return x.view(n, t, -1, self.s["head"]).transpose(1, 2)

    def forward(self, x, cos, sin):
        h = self.attn_norm(x)
        q = rotate(self.q_norm(self.heads(self.q(h))), cos, sin)
        k = rotate(self.k_norm(self.heads(self.k(h))), cos, sin)
        a = F.scaled_dot_product_attention(q, k, self.heads(self.v(h)), is_causal=True, enable_gqa=True)
        return self.rest(x, a)

    def at(self, x, cos, sin, positions):
        """The block's output at some positions only, `[n, m]` of them."""
        h = self.attn_norm(x)
        k = rotate(self.k_norm(self.heads(self.k(h))), cos, sin)
        v = self.heads(self.v(h))
        index = positions[:, :, None].expand(-1, -1, x.shape[2])
        x, h = x.gather(1, index), h.gather(1, index)
        q = rotate(self.q_norm(self.heads(self.q(h))), cos[positions][:, None], sin[positions][:, None])
        mask = (torch.arange(k.shape[2], device=x.device) <= positions[:, :, None])[:, None]
        return self.rest(x, F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True))

    def step(self, x, cos, sin, cache, start, mask):
        """The block for tokens whose keys and values go to `cache` from column `start` on; `mask` says what each may see."""
        h = self.attn_norm(x)
        q = rotate(self.q_norm(self.heads(self.q(h))), cos, sin)
        t = x.shape[1]
        cache[0][:, :, start : start + t] = rotate(self.k_norm(self.heads(self.k(h))), cos, sin)
        cache[1][:, :, start : start + t] = self.heads(self.v(h))
        k, v = (c[:, :, : start + t] for c in cache)
        return self.rest(x, F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True))

    def rest(self, x, a):
        n, t, _ = x.shape
        x = x + self.o(a.transpose(1, 2).reshape(n, t, -1))
        h = self.ffn_norm(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Model(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.s = s
        self.embedding = nn.Embedding(s["vocab"], s["embedding"])
        self.blocks = nn.ModuleList(Block(s) for _ in range(s["blocks"]))
        self.norm = nn.RMSNorm(s["embedding"], s["epsilon"])
        frequencies = s["rope_base"] ** (-torch.arange(0, s["head"], 2).float() / s["head"])
        angles = torch.arange(LONGEST).float()[:, None] * frequencies
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                writer = name.endswith(("o.weight", "down.weight"))
                nn.init.normal_(weight, std=0.04 / (math.sqrt(2 * s["blocks"]) if writer else 1))

    def hidden(self, ids, positions=None):
        """What the last block leaves for the ids `[n, t]`; with `positions` `[n, m]`, only there, which is cheaper."""
        x = self.embedding(ids)
        cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]
        for block in self.blocks[:-1] if positions is not None else self.blocks:
            x = block(x, cos, sin)
        if positions is not None:
            x = self.blocks[-1].at(x, cos, sin, positions)
        return self.norm(x)

    def logits(self, hidden):
        return hidden @ self.embedding.weight.T

    @torch.no_grad()
    def greedy(self, prompts, most, end):
        """The likeliest answers to several prompts (lists of ids), each up to the id `end`, which is left out, or `most` ids long."""
        device, n, t = self.embedding.weight.device, len(prompts), max(map(len, prompts))
        lengths = torch.tensor([len(p) for p in prompts], device=device)
        ids = torch.zeros(n, t, dtype=torch.long, device=device)
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt)] = torch.tensor(prompt, device=device)
        width = t + most
        caches = [torch.zeros(2, n, self.s["heads_kv"], width, self.s["head"], device=device) for _ in self.blocks]
        columns = torch.arange(width, device=device)
        mask = (columns[:t] <= columns[:t, None])[None, None]
        x = self.run(ids, self.cos[:t], self.sin[:t], caches, 0, mask)
        last = self.logits(x[torch.arange(n, device=device), lengths - 1]).argmax(-1)
        answers, open_rows = [[] for _ in prompts], set(range(n))
        for step in range(most):
            for row in list(open_rows):
                token = int(last[row])
                if token == end:
                    open_rows.discard(row)
                else:
                    answers[row].append(token)
            if not open_rows or step == most - 1:
                break
            seen = (columns[: t + step + 1] < lengths[:, None]) | (columns[: t + step + 1] >= t)
            at = lengths + step
            x = self.run(last[:, None], self.cos[at][:, None, None], self.sin[at][:, None, None], caches, t + step, seen[:, None, None])
            last = self.logits(x[:, 0]).argmax(-1)
        return answers

    def run(self, ids, cos, sin, caches, start, mask):
        x = self.embedding(ids)
        for block, cache in zip(self.blocks, caches, strict=True):
            x = block.step(x, cos, sin, cache, start, mask)
        return self.norm(x)
