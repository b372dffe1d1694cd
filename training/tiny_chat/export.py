"""Writes the trained weights as a GGUF file of architecture qwen3: matrices and embeddings Q8_0, norms F32."""

import argparse
import json
from pathlib import Path

import torch

from common import gguf_file

from . import corpus

ROOT = Path(__file__).parent.parent.parent


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=ROOT / "training" / "out" / "tiny-chat")
    parser.add_argument("--out", type=Path, default=ROOT / "www" / "models" / "tiny-chat-q8_0.gguf")
    options = parser.parse_args()

    gguf_file.write(
        options.out,
        torch.load(options.weights / "weights.pt", weights_only=True),
        json.loads((options.weights / "training.json").read_text())["shape"],
        json.loads((options.weights / "tokenizer.json").read_text(encoding="utf-8")),
        corpus.SPECIALS,
        corpus.TEMPLATE,
        context_length=2048,
        name="Fanlight tiny-chat",
        description="A tiny demonstration model that knows about twenty answers by heart",
        size_label="2M",
    )


if __name__ == "__main__":
    main()
