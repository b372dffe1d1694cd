"""Writes the trained weights as a GGUF file of architecture qwen3: matrices and embeddings Q8_0, norms F32."""

import argparse
import json
from pathlib import Path

import gguf
import numpy as np
import torch

import corpus

ROOT = Path(__file__).parent.parent.parent
CONTEXT_LENGTH = 2048

# Names of train.py -> names of GGUF.
BLOCK_NAMES = {
    "attn_norm": "attn_norm",
    "q": "attn_q",
    "k": "attn_k",
    "v": "attn_v",
    "o": "attn_output",
    "q_norm": "attn_q_norm",
    "k_norm": "attn_k_norm",
    "ffn_norm": "ffn_norm",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
}


def gguf_name(name):
    parts = name.split(".")
    if parts[0] == "blocks":
        return f"blk.{parts[1]}.{BLOCK_NAMES[parts[2]]}.weight"
    return {"embedding.weight": "token_embd.weight", "norm.weight": "output_norm.weight"}[name]


def add_metadata(writer, shape):
    writer.add_type("model")
    writer.add_name("Fanlight tiny-chat")
    writer.add_description("A tiny demonstration model that knows about twenty answers by heart")
    writer.add_license("MIT OR Apache-2.0")
    writer.add_size_label("2M")
    writer.add_languages(["en"])
    # It recites: the most likely token is the right one.
    writer.add_sampling_temp(0.0)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)

    writer.add_context_length(CONTEXT_LENGTH)
    writer.add_embedding_length(shape["embedding"])
    writer.add_block_count(shape["blocks"])
    writer.add_feed_forward_length(shape["feed_forward"])
    writer.add_head_count(shape["heads"])
    writer.add_head_count_kv(shape["heads_kv"])
    writer.add_key_length(shape["head"])
    writer.add_value_length(shape["head"])
    writer.add_layer_norm_rms_eps(shape["epsilon"])
    writer.add_rope_freq_base(shape["rope_base"])


def add_tokenizer(writer, model):
    """The vocabulary, from the JSON form of the `tokenizers` package, under the keys that Qwen3's files have."""
    specials = dict(corpus.SPECIALS)
    ids = dict(model["model"]["vocab"])
    ids.update({token["content"]: token["id"] for token in model["added_tokens"]})
    tokens = sorted(ids, key=ids.get)
    assert [ids[token] for token in tokens] == list(range(len(tokens)))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([specials.get(token, gguf.TokenType.NORMAL) for token in tokens])
    writer.add_token_merges([" ".join(merge) for merge in model["model"]["merges"]])
    writer.add_bos_token_id(ids["<|endoftext|>"])
    writer.add_eos_token_id(ids["<|im_end|>"])
    writer.add_pad_token_id(ids["<|endoftext|>"])
    writer.add_add_bos_token(False)
    writer.add_chat_template(corpus.TEMPLATE)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=ROOT / "training" / "out" / "tiny-chat")
    parser.add_argument("--out", type=Path, default=ROOT / "www" / "models" / "tiny-chat-q8_0.gguf")
    options = parser.parse_args()

    shape = json.loads((options.weights / "training.json").read_text())["shape"]
    state = torch.load(options.weights / "weights.pt", weights_only=True)
    tokenizer = json.loads((options.weights / "tokenizer.json").read_text(encoding="utf-8"))

    options.out.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(options.out, "qwen3")
    add_metadata(writer, shape)
    add_tokenizer(writer, tokenizer)
    for name, weight in state.items():
        data = weight.numpy().astype(np.float32)
        if data.ndim == 1:
            writer.add_tensor(gguf_name(name), data)
        else:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(gguf_name(name), gguf.quants.quantize(data, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{options.out}: {options.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
