"""The byte-level BPE vocabulary of tiny-chat, and its chat prompts, both by Hugging Face's own code."""

import json

from tokenizers import trainers
from transformers import PreTrainedTokenizerFast

from common import bpe

from . import corpus

SIZE = 1536


def texts():
    """What the merges are learnt from: the replies often, so that they are short, and everything else once."""
    lists = [corpus.TOOL, *corpus.CHATS["other_tools"]]
    for answer in [*corpus.ANSWERS.values(), corpus.CHATS["unknown"]]:
        yield from [answer["reply"], answer["think"], answer.get("brief", "")] * 4
        yield from answer.get("ask", [])
    for chat in corpus.exact_chats():
        yield from [message["content"] for message in chat["messages"]]
    for tool in lists:
        yield from [json.dumps(tool, ensure_ascii=False)] * 4
    yield from corpus.CHATS["completions"] * 3
    for systems in corpus.CHATS["systems"].values():
        yield from systems
    yield from ["\n\n"] * 100
    yield from corpus.UNKNOWN["questions"]
    yield from corpus.TEMPLATE.replace("\\n", "\n").split("'")
    sampler = corpus.Sampler(seed=1)
    for _ in range(600):
        messages, _, _ = sampler.conversation()
        yield from [message["content"] for message in messages if message["role"] != "assistant"]


def learn():
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE - len(corpus.SPECIALS), min_frequency=2, show_progress=False, initial_alphabet=bpe.byte_alphabet()
    )
    tokenizer = bpe.empty_tokenizer({}, [])
    tokenizer.train_from_iterator(texts(), trainer)
    bpe.with_specials(tokenizer, corpus.SPECIALS)
    assert tokenizer.get_vocab_size() == SIZE, tokenizer.get_vocab_size()
    return tokenizer


class Prompts:
    """Renders chats as transformers' `apply_chat_template` does, and encodes them."""

    def __init__(self, tokenizer, template=corpus.TEMPLATE):
        self.tokenizer = tokenizer
        self.hf = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", chat_template=template)

    def render(self, messages, tools=None, thinking=False, generate=True):
        return self.hf.apply_chat_template(
            messages, tools=tools, tokenize=False, add_generation_prompt=generate, enable_thinking=thinking
        )

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids
