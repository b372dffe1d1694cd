#!/usr/bin/env python3
"""Records tests/golden/quants/iq_components.bin: every codebook vector of the IQ formats, one byte per component.

The books stand in the order IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S, IQ1 (shared by IQ1_S and IQ1_M); vectors in the
order of their numbers. The components are read back through the dequantizers of the `gguf` package, from blocks
that name every vector once, so that the recording is independent of how the package or we store the books.

usage: pip install gguf && python3 tests/oracle/iq_components.py
"""

import sys
from pathlib import Path

OUT = Path(__file__).parent.parent / "golden" / "quants" / "iq_components.bin"


def main() -> None:
    if len(sys.argv) > 1:
        sys.exit(__doc__)
    import numpy as np
    from gguf import GGMLQuantizationType as Type
    from gguf.quants import dequantize

    def f16(x):
        return np.frombuffer(np.float16(x).tobytes(), np.uint8)

    def components(ty, blocks, scale):
        """The values of `blocks`, times `scale`, which makes them the components themselves."""
        values = dequantize(np.stack(blocks).reshape(1, -1), ty).reshape(-1) * scale
        assert (values == np.round(values)).all(), ty.name
        return values.astype(np.int8).tobytes()

    def u8(numbers):
        return np.array(numbers, np.uint8)

    def zeros(n):
        return np.zeros(n, np.uint8)

    out = b""
    # IQ2_XXS: 8 sub-blocks of 4 indices, then 4 bytes of signs and scale.
    blocks = []
    for b in range(256 // 32):
        subs = [np.concatenate([u8(range(32 * b + 4 * s, 32 * b + 4 * s + 4)), zeros(4)]) for s in range(8)]
        blocks.append(np.concatenate([f16(8), *subs]))
    out += components(Type.IQ2_XXS, blocks, 1)
    # IQ2_XS: 32 words of 9 bits of index.
    blocks = []
    for b in range(512 // 32):
        words = np.arange(32 * b, 32 * b + 32, dtype="<u2").view(np.uint8)
        blocks.append(np.concatenate([f16(8), words, zeros(8)]))
    out += components(Type.IQ2_XS, blocks, 1)
    # IQ2_S: low bytes, signs, top bits (two per group), scales.
    blocks = []
    for b in range(1024 // 32):
        n = np.arange(32 * b, 32 * b + 32)
        top = (n >> 8).reshape(8, 4)
        qh = top[:, 0] | top[:, 1] << 2 | top[:, 2] << 4 | top[:, 3] << 6
        blocks.append(np.concatenate([f16(8), u8(n & 255), zeros(32), u8(qh), zeros(8)]))
    out += components(Type.IQ2_S, blocks, 1)
    # IQ3_XXS: 64 indices, then scales and signs.
    blocks = [np.concatenate([f16(4), u8(range(64 * b, 64 * b + 64)), zeros(32)]) for b in range(256 // 64)]
    out += components(Type.IQ3_XXS, blocks, 1)
    # IQ3_S: low bytes, ninth bits (one byte for 8 vectors), signs, scales.
    blocks = []
    for b in range(512 // 64):
        n = np.arange(64 * b, 64 * b + 64)
        qh = np.packbits((n >> 8).astype(np.uint8), bitorder="little")
        blocks.append(np.concatenate([f16(1), u8(n & 255), qh, zeros(32), zeros(4)]))
    out += components(Type.IQ3_S, blocks, 1)
    # IQ1_S: low bytes, and words with three top bits per group. The shift of 1/8 is taken off.
    blocks = []
    for b in range(2048 // 32):
        n = np.arange(32 * b, 32 * b + 32)
        top = (n >> 8).reshape(8, 4)
        qh = (top[:, 0] | top[:, 1] << 3 | top[:, 2] << 6 | top[:, 3] << 9).astype("<u2").view(np.uint8)
        blocks.append(np.concatenate([f16(1), u8(n & 255), qh]))
    values = dequantize(np.stack(blocks).reshape(1, -1), Type.IQ1_S).reshape(-1) - 0.125
    assert set(values.tolist()) == {-1.0, 0.0, 1.0}
    out += values.astype(np.int8).tobytes()

    OUT.write_bytes(out)
    print(f"{OUT}: {len(out)} bytes")


if __name__ == "__main__":
    main()
