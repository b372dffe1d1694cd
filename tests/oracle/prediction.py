#!/usr/bin/env python3
"""Records what the block for multi-token prediction of qwen35_mtp says: tests/golden/prediction.npy.

A plain reading of the published definition (DeepSeek-AI, 2024, section 2.2, with Qwen 3.5's gated attention), in f64, over the
hidden states that transformers recorded for the layers before it. `--steps` guesses follow the last token, each from the
block's own result.

  python3 tests/oracle/prediction.py ../shared/fixtures/arch/qwen35_mtp       (numpy, gguf)
"""
import json
import sys
from pathlib import Path

import gguf
import numpy as np

STEPS = 3
folder = Path(sys.argv[1])
reader = gguf.GGUFReader(folder / "model-f32.gguf")
weights = {t.name: np.array(t.data, dtype=np.float64) for t in reader.tensors}


def key(name):
    return reader.fields[f"qwen35.{name}"].contents()


layers = key("block_count") - key("nextn_predict_layers")
heads, kv_heads = key("attention.head_count"), key("attention.head_count_kv")
length, rotated = key("attention.key_length"), key("rope.dimension_count")
epsilon, base = key("attention.layer_norm_rms_epsilon"), key("rope.freq_base")


def block(name):
    return weights[f"blk.{layers}.{name}.weight"]


def norm(x, w):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + epsilon) * w


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def rotate(x, positions):
    """x: [tokens, heads, length]; the first `rotated` dimensions, halves paired."""
    half = rotated // 2
    angles = positions[:, None] * base ** (-2.0 * np.arange(half) / rotated)
    cos, sin = np.cos(angles)[:, None, :], np.sin(angles)[:, None, :]
    a, b = x[..., :half], x[..., half:rotated]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin, x[..., rotated:]], axis=-1)


def predict(tokens, states):
    """tokens: those after each position; states: final vectors of each position. Final vectors and logits of the block."""
    count = len(tokens)
    embedded = weights["token_embd.weight"][tokens]
    x = np.concatenate([norm(embedded, block("nextn.enorm")), norm(states, block("nextn.hnorm"))], axis=-1)
    x = x @ block("nextn.eh_proj").T
    y = norm(x, block("attn_norm"))
    joined = (y @ block("attn_q").T).reshape(count, heads, 2 * length)
    q, gate = joined[..., :length], joined[..., length:]
    k = (y @ block("attn_k").T).reshape(count, kv_heads, length)
    v = (y @ block("attn_v").T).reshape(count, kv_heads, length)
    positions = np.arange(count, dtype=np.float64)
    q = rotate(norm(q, block("attn_q_norm")), positions)
    k = rotate(norm(k, block("attn_k_norm")), positions)
    k, v = (np.repeat(part, heads // kv_heads, axis=1) for part in (k, v))
    scores = np.einsum("thd,shd->hts", q, k) / np.sqrt(length)
    scores = np.where(np.tril(np.ones((count, count), bool)), scores, -np.inf)
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    mixed = np.einsum("hts,shd->thd", shares, v) * sigmoid(gate)
    x = x + mixed.reshape(count, -1) @ block("attn_output").T
    y = norm(x, block("post_attention_norm"))
    up = y @ block("ffn_gate").T
    x = x + (up * sigmoid(up) * (y @ block("ffn_up").T)) @ block("ffn_down").T
    states = norm(x, block("nextn.shared_head_norm"))
    return states, states @ weights["token_embd.weight"].T


prompt = next(p for p in json.loads((folder / "prompts.json").read_text())["prompts"] if p["name"] == "p1")
hidden = np.load(folder / "hf_hidden_p1.npy").astype(np.float64)[-1]
# Is it what the output matrix is applied to? Then it gives the recorded logits.
recorded = np.load(folder / "hf_logits.npy")[-len(hidden):]
assert np.abs(hidden @ weights["token_embd.weight"].T - recorded).max() < 1e-3

tokens, states, rows = prompt["ids"][1:], hidden[:-1], []
_, rows_of_prompt = predict(tokens, states)
rows.extend(rows_of_prompt[::8])
for _ in range(STEPS):
    made, logits = predict(tokens, states)
    rows.append(logits[-1])
    tokens, states = tokens + [int(logits[-1].argmax())], np.concatenate([states, made[-1:]])
out = Path(__file__).parent.parent / "golden/prediction.npy"
np.save(out, np.array(rows, dtype=np.float32))
print(f"{out}: {len(rows)} rows; guesses {tokens[-STEPS:]}")
