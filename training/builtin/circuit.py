"""A copying circuit, set by hand in a fresh network.

Copying a name means: find where the last tokens stood before, and say what followed. A network of this size takes very long to
discover that, so it begins with it; everything stays an ordinary weight, and training bends it to its needs.

  * Every token's embedding has a constant part and a random code.
  * Layer 0: heads that look one and two tokens back (constant queries and keys; rotation makes the score peak at that distance)
    write the code of that token into two spaces of the residual stream.
  * Layer 1: a head whose query is the code of the present token and of the one before, and whose key is what layer 0 wrote at
    each place: the codes of the two tokens before it. Where they match, it copies the code of that place's token to the output.
"""

import math

import torch


def orthonormal(rows, columns, generator):
    """`rows` orthonormal rows."""
    q, _ = torch.linalg.qr(torch.randn(columns, rows, generator=generator))
    return q.T


@torch.no_grad()
def install(model, seed=0):
    s, g = model.s, torch.Generator().manual_seed(seed)
    d, head, pairs = s["embedding"], s["head"], s["head"] // 2
    group = s["heads"] // s["heads_kv"]
    assert group >= 2 and d >= 3 * head
    codes = d - 2 * head - 1
    # Dimensions of the residual stream: 0 is the constant; then the codes; then what stood one and two tokens back.
    own, back = slice(1, 1 + codes), [slice(1 + codes, 1 + codes + head), slice(1 + codes + head, d)]
    e = model.embedding.weight
    e.normal_(std=0.002, generator=g)
    e[:, own] = torch.randn(s["vocab"], codes, generator=g) / math.sqrt(codes)
    e[:, 0] = 1.0
    e *= 0.5
    for block in model.blocks:
        block.o.weight.mul_(0.05)
        block.down.weight.mul_(0.05)

    # Layer 0. The three fastest pairs are enough to tell distances apart.
    first, fast = model.blocks[0], 3
    frequencies = s["rope_base"] ** (-torch.arange(0, head, 2).float() / head)
    read = orthonormal(head, codes, g)
    first.q_norm.weight.fill_(2.0)
    first.k_norm.weight.fill_(2.0)
    first.k.weight[:head].zero_()
    first.k.weight[:fast, 0] = 1.0
    first.v.weight[:head].zero_()
    first.v.weight[:head, own] = read
    for n in range(2):
        # The query is the key turned back by the distance.
        q = first.q.weight[n * head : (n + 1) * head]
        q.zero_()
        q[:fast, 0] = torch.cos(frequencies[:fast] * (n + 1))
        q[pairs : pairs + fast, 0] = -torch.sin(frequencies[:fast] * (n + 1))
        o = first.o.weight[:, n * head : (n + 1) * head]
        o.zero_()
        o[back[n]] = torch.eye(head) * 0.5

    # Layer 1. The pairs that hardly turn within a document hold the codes to compare.
    second = model.blocks[1]
    slow = torch.cat([torch.arange(pairs * 3 // 8, pairs), torch.arange(pairs * 3 // 8, pairs) + pairs])
    match = [orthonormal(len(slow), head, g), orthonormal(len(slow), head, g) * 0.7]
    second.q_norm.weight.fill_(2.0)
    second.k_norm.weight.fill_(2.0)
    q, k = second.q.weight[:head], second.k.weight[:head]
    q.zero_()
    k.zero_()
    # Layer 0 wrote `read` of a token's code; the present token's own code is read the same way.
    q[slow[:, None], torch.arange(d)[own]] = match[0] @ read
    q[slow[:, None], torch.arange(d)[back[0]]] = match[1]
    k[slow[:, None], torch.arange(d)[back[0]]] = match[0]
    k[slow[:, None], torch.arange(d)[back[1]]] = match[1]
    copy = orthonormal(head, codes, g)
    second.v.weight[:head].zero_()
    second.v.weight[:head, own] = copy
    o = second.o.weight[:, :head]
    o.zero_()
    o[own] = copy.T * 3.0
