"""The vocabulary of the built-in model, and its chats as ids.

Letters merge with letters only, and a few signs of JSON with each other; digits stand alone. So a name has the same tokens after a
space, a new line or a quotation mark, and copying it is copying ids.
"""

import json
import random
from collections import Counter
from functools import cached_property
from pathlib import Path

from tokenizers import Tokenizer, trainers

from common import bpe

from . import tasks
from .words import is_for_test

SIZE = 2048
# Type 3 is a control token.
SPECIALS = [("<|endoftext|>", 3), ("<|im_start|>", 3), ("<|im_end|>", 3)]
TEMPLATE = (Path(__file__).parent / "template.jinja").read_text(encoding="utf-8").rstrip("\n")

# Merges by hand, most important first; in byte-level spelling a space is "Ġ" and a new line "Ċ". No sign merges with a bracket of a list:
# whether a list goes on is for the model to say after each bracket that a schema has forced.
SIGNS = [
    *[('"', ","), ('"', ":"), ("{", '"'), ("Ġ", '{"'), ("Ġ", '"'), ('"', "}"), ("}", ","), ('"}', ",")],
    *[("-", "-"), ("--", "--"), (".", "."), ("..", ".."), ("=", "="), ("==", "=="), ("*", "*"), ("Ġ", "Ġ"), ("ĠĠ", "ĠĠ"), ("Ċ", "Ċ")],
]  # fmt: skip


def texts(count=30_000):
    """What the merges are learnt from."""
    draw = tasks.stream("vocabulary")
    for _ in range(count):
        made = draw()
        for turn, (request, _) in enumerate(made.turns):
            yield request
            yield made.answer(turn)
    yield from ["user assistant system"] * 500
    for text in [*tasks.SMALL_TALK["replies"].values(), tasks.SMALL_TALK["unknown"]]:
        yield from [text] * 40


def learn():
    size = SIZE - len(SPECIALS) - len(SIGNS)
    trainer = trainers.BpeTrainer(vocab_size=size, min_frequency=2, show_progress=False, initial_alphabet=bpe.byte_alphabet())
    letters = bpe.empty_tokenizer({}, [], pattern=r"\p{L}+|[^\p{L}]")
    letters.train_from_iterator(texts(), trainer)
    learnt = json.loads(letters.to_str())["model"]
    vocab = dict(learnt["vocab"])
    for a, b in SIGNS:
        vocab[a + b] = len(vocab)
    tokenizer = bpe.with_specials(bpe.empty_tokenizer(vocab, SIGNS + [tuple(merge) for merge in learnt["merges"]]), SPECIALS)
    assert tokenizer.get_vocab_size() == SIZE, tokenizer.get_vocab_size()
    return tokenizer


def saved(path):
    """The vocabulary kept at `path`, learnt now if there is none."""
    if not path.exists():
        learn().save(str(path))
    return Tokenizer.from_file(str(path))


def invented(chats, count=30_000):
    """
    Words that nobody knows, in lower case, put together from tokens, those that answers seldom have more often: a token that was never
    copied in training is not copied later.
    """
    draw, tokenizer, chance = tasks.stream("invented"), chats.tokenizer, random.Random("invented")
    seen = Counter()
    for _ in range(1500):
        made = draw()
        for ids, weights in (chats.turn(*turn) for turn in made.turns):
            seen.update(token for token, weight in zip(ids, weights, strict=True) if weight)
    tokens = sorted((token, number) for token, number in tokenizer.get_vocab().items() if len(token) > 1 and token.isascii() and token.isalpha())
    texts = [token for token, _ in tokens]
    shares = [1 / (2 + seen[number]) for _, number in tokens]
    words = []
    for wanted in chance.choices(tokens, shares, k=4 * count):
        text, number = wanted
        before = "" if text[0].isupper() else chance.choice(["", "", *texts]) if chance.random() < 0.3 else chance.choice(texts)
        word = (before + text + (chance.choice(texts) if chance.random() < 0.5 else "")).lower()
        written = word.upper() if text.isupper() else word.capitalize()
        if 3 <= len(word) <= 11 and not is_for_test(word) and number in tokenizer.encode(written, add_special_tokens=False).ids:
            words.append(word)
    assert len(words) >= count, len(words)
    return words[:count]


class Chats:
    """Conversations -> ids, and how much each is worth learning. The template is spelled out here; `evaluate.py` compares."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.start, self.end = tokenizer.token_to_id("<|im_start|>"), tokenizer.token_to_id("<|im_end|>")
        self.system, self.user, self.assistant, self.line = (tokenizer.encode(text).ids for text in ("system\n", "user\n", "assistant\n", "\n"))

    @cached_property
    def invented(self):
        return invented(self)

    def prompt(self, request):
        return [self.start, *self.user, *self.tokenizer.encode(request, add_special_tokens=False).ids, self.end, *self.line, self.start, *self.assistant]

    def turn(self, request, answer):
        """Ids and weights of one turn of a conversation."""
        ids = self.prompt(request)
        weights = [0.0] * len(ids)
        by_character = [weight for text, weight in answer for _ in text]
        encoded = self.tokenizer.encode("".join(text for text, _ in answer), add_special_tokens=False)
        ids += encoded.ids
        weights += [max(by_character[a:b]) for a, b in encoded.offsets]
        return [*ids, self.end], [*weights, by_character[-1]]

    def conversation(self, turns, system=None):
        ids, weights = [], []
        if system is not None:
            ids = [self.start, *self.system, *self.tokenizer.encode(system, add_special_tokens=False).ids, self.end]
            weights = [0.0] * len(ids)
        for request, answer in turns:
            if ids:
                ids += self.line
                weights += [0.0] * len(self.line)
            more, worth = self.turn(request, answer)
            ids += more
            weights += worth
        return ids, weights
