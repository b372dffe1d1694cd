"""The trained weights as a GGUF file of architecture qwen3, and back. Matrices and embeddings are Q8_0, norms F32."""

import gguf
import numpy as np
import torch

from . import bpe

# Names of network.py <-> names of GGUF.
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
TOP_NAMES = {"embedding.weight": "token_embd.weight", "norm.weight": "output_norm.weight"}


def gguf_name(name):
    parts = name.split(".")
    return f"blk.{parts[1]}.{BLOCK_NAMES[parts[2]]}.weight" if parts[0] == "blocks" else TOP_NAMES[name]


def own_name(name):
    parts = name.split(".")
    if parts[0] == "blk":
        return f"blocks.{parts[1]}.{next(own for own, theirs in BLOCK_NAMES.items() if theirs == parts[2])}.weight"
    return next(own for own, theirs in TOP_NAMES.items() if theirs == name)


def add_metadata(writer, shape, context_length, name, description, size_label):
    writer.add_type("model")
    writer.add_name(name)
    writer.add_description(description)
    writer.add_license("MIT OR Apache-2.0")
    writer.add_size_label(size_label)
    writer.add_languages(["en"])
    # For both models the most likely token is the right one.
    writer.add_sampling_temp(0.0)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)

    writer.add_context_length(context_length)
    writer.add_embedding_length(shape["embedding"])
    writer.add_block_count(shape["blocks"])
    writer.add_feed_forward_length(shape["feed_forward"])
    writer.add_head_count(shape["heads"])
    writer.add_head_count_kv(shape["heads_kv"])
    writer.add_key_length(shape["head"])
    writer.add_value_length(shape["head"])
    writer.add_layer_norm_rms_eps(shape["epsilon"])
    writer.add_rope_freq_base(shape["rope_base"])


def add_tokenizer(writer, model, specials, template):
    """The vocabulary, from the JSON form of the `tokenizers` package, under the keys that Qwen3's files have."""
    kinds = dict(specials)
    ids = dict(model["model"]["vocab"])
    ids.update({token["content"]: token["id"] for token in model["added_tokens"]})
    tokens = sorted(ids, key=ids.get)
    assert [ids[token] for token in tokens] == list(range(len(tokens)))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([kinds.get(token, gguf.TokenType.NORMAL) for token in tokens])
    writer.add_token_merges([" ".join(merge) for merge in model["model"]["merges"]])
    writer.add_bos_token_id(ids["<|endoftext|>"])
    writer.add_eos_token_id(ids["<|im_end|>"])
    writer.add_pad_token_id(ids["<|endoftext|>"])
    writer.add_add_bos_token(False)
    writer.add_chat_template(template)


def write(path, state, shape, tokenizer, specials, template, **metadata):
    """`state` is network.py's, `tokenizer` the JSON of the `tokenizers` package, parsed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, "qwen3")
    add_metadata(writer, shape, **metadata)
    add_tokenizer(writer, tokenizer, specials, template)
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
    print(f"{path}: {path.stat().st_size:,} bytes")


def fields(path):
    return {name: field.contents() for name, field in gguf.GGUFReader(path).fields.items()}


def tensors(path):
    """Pairs of a tensor's GGUF name and its values, dequantised by gguf-py."""
    for tensor in gguf.GGUFReader(path).tensors:
        yield tensor.name, torch.tensor(gguf.quants.dequantize(tensor.data, tensor.tensor_type).copy(), dtype=torch.float32)


def shape(metadata):
    key = lambda name: metadata[f"qwen3.{name}"]  # noqa: E731
    return {
        "vocab": len(metadata["tokenizer.ggml.tokens"]),
        "embedding": key("embedding_length"),
        "blocks": key("block_count"),
        "heads": key("attention.head_count"),
        "heads_kv": key("attention.head_count_kv"),
        "head": key("attention.key_length"),
        "feed_forward": key("feed_forward_length"),
        "rope_base": key("rope.freq_base"),
        "epsilon": key("attention.layer_norm_rms_epsilon"),
    }


def tokenizer(metadata, specials):
    return bpe.from_gguf(*(metadata[f"tokenizer.ggml.{key}"] for key in ("tokens", "token_type", "merges")), specials)
