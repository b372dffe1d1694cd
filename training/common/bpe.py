"""Byte-level BPE with the pre-tokenizer of Qwen2 and Qwen3, by Hugging Face's `tokenizers`."""

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

# The pre-tokenizer that GGUF files call "qwen2".
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def empty_tokenizer(vocab, merges, pattern=QWEN2):
    """A tokenizer without special tokens: `vocab` from token to id, `merges` as pairs, most important first."""
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def with_specials(tokenizer, specials):
    """Adds `specials`, pairs of a text and its GGUF token type (3 is a control token), behind the vocabulary."""
    tokenizer.add_tokens([AddedToken(text, special=kind == 3, normalized=False) for text, kind in specials])
    return tokenizer


def byte_alphabet():
    """The 256 characters that stand for bytes."""
    return sorted(pre_tokenizers.ByteLevel.alphabet())


def from_gguf(tokens, types, merges, specials):
    """The tokenizer of a GGUF file, so that a check reads what an engine reads."""
    vocab = {token: i for i, (token, kind) in enumerate(zip(tokens, types, strict=True)) if kind == 1}
    tokenizer = with_specials(empty_tokenizer(vocab, [tuple(merge.split(" ")) for merge in merges]), specials)
    for token, i in ((token, i) for i, (token, kind) in enumerate(zip(tokens, types, strict=True)) if kind != 1):
        assert tokenizer.token_to_id(token) == i, token
    return tokenizer
