"""Writes the built-in model's trained weights as a GGUF file."""

import argparse
import json
from pathlib import Path

import torch

from common import gguf_file

from . import vocabulary

ROOT = Path(__file__).parent.parent.parent


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=ROOT / "training" / "out" / "builtin", help="the folder that train.py wrote to")
    parser.add_argument("--out", type=Path, default=ROOT / "www" / "models" / "fanlight-builtin-q8_0.gguf")
    options = parser.parse_args()

    state = torch.load(options.weights / "weights.pt", weights_only=True)
    gguf_file.write(
        options.out,
        state,
        json.loads((options.weights / "training.json").read_text())["shape"],
        json.loads((options.weights / "tokenizer.json").read_text(encoding="utf-8")),
        vocabulary.SPECIALS,
        vocabulary.TEMPLATE,
        context_length=1024,
        name="Fanlight built-in",
        description="A demonstration of the engine: reads short made-up receipts, invoices, cards and messages; no general assistant",
        size_label=f"{sum(weight.numel() for weight in state.values()) / 1e6:.0f}M",
    )


if __name__ == "__main__":
    main()
