"""Measures the GGUF file on documents that training never saw, by network.py on the dequantised weights: greedy, free-running, without constraints.

    python -m builtin.evaluate [--count 600] [--train] [--show 20]

The same by the package in Chromium, with or without constraints, from the repository's root, after `make js`:

    (cd training && .venv/bin/python -m builtin.evaluate --requests /tmp/requests.jsonl [--constrained])
    node training/builtin/in_browser.mjs /tmp/requests.jsonl /tmp/answers.jsonl
    (cd training && .venv/bin/python -m builtin.evaluate --answers /tmp/answers.jsonl)

By the engine as a native program: `cargo run --release --example batch -- www/models/fanlight-builtin-q8_0.gguf < … > …` in place of the second line.
"""

import argparse
import json
import re
from collections import defaultdict
from pathlib import Path

import torch
from jinja2.sandbox import ImmutableSandboxedEnvironment

from common import gguf_file
from common.network import Model

from . import tasks, vocabulary
from .documents import Figure

ROOT = Path(__file__).parent.parent.parent
LONGEST_ANSWER = 320


class Reader:
    """The model of a GGUF file, with the file's own vocabulary and template."""

    def __init__(self, path, device):
        self.fields = gguf_file.fields(path)
        self.tokenizer = gguf_file.tokenizer(self.fields, vocabulary.SPECIALS)
        self.chats = vocabulary.Chats(self.tokenizer)
        self.model = Model(gguf_file.shape(self.fields))
        self.model.load_state_dict({gguf_file.own_name(name): data for name, data in gguf_file.tensors(path)})
        self.model.to(device).eval()
        self.template = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(self.fields["tokenizer.chat_template"])

    def prompt(self, made):
        text = self.template.render(messages=messages(made), add_generation_prompt=True)
        ids = self.tokenizer.encode(text, add_special_tokens=False).ids
        trained, weights = self.chats.conversation(made.turns[:1], made.system)
        assert ids == trained[: next(i for i, weight in enumerate(weights) if weight)], "training spells the template differently"
        return ids

    def answers(self, examples, most=LONGEST_ANSWER, rows=24):
        prompts = [self.prompt(made) for made in examples]
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        answers = [None] * len(prompts)
        for start in range(0, len(order), rows):
            group = order[start : start + rows]
            for i, ids in zip(group, self.model.greedy([prompts[i] for i in group], most, self.chats.end), strict=True):
                answers[i] = self.tokenizer.decode(ids, skip_special_tokens=False)
        return answers


def draw(count, test=True, seed="evaluation"):
    """`count` conversations; only their first turns are asked."""
    source = tasks.stream(seed, test)
    return [source() for _ in range(count)]


def messages(made):
    """The first turn as a chat."""
    system = [{"role": "system", "content": made.system}] if made.system is not None else []
    return [*system, {"role": "user", "content": made.turns[0][0]}]


def same(given, wanted):
    """Whether a parsed JSON value is the wanted one; numbers compare as numbers."""
    if isinstance(wanted, Figure):
        return isinstance(given, (int, float)) and not isinstance(given, bool) and float(given) == float(wanted)
    return given == wanted


def fits(value, schema):
    """Whether a value follows a schema of `tasks.schema_of`; keys in its order."""
    if schema["type"] == "object":
        return isinstance(value, dict) and list(value) == schema["required"] and all(fits(value[k], s) for k, s in schema["properties"].items())
    if schema["type"] == "array":
        return isinstance(value, list) and all(fits(item, schema["items"]) for item in value)
    allowed = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    kind = "null" if value is None else "string" if isinstance(value, str) else "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else ""
    return kind in allowed


def constraint(made):
    """What an answer has to obey, as the page asks for it: dates are dates, and texts and lists come to an end."""
    if made.task == "classify":
        return {"regex": "|".join(map(re.escape, made.asked[0][0]))}
    schema = tasks.schema_of(made.asked)
    for key, name, columns in made.asked:
        part = schema["properties"][key]
        if name == "items":
            part["maxItems"] = 40
            for shown, column in columns:
                part["items"]["properties"][shown].update({"maxLength": 120} if column == "name" else {})
        elif "string" in part["type"]:
            part.update({"format": "date"} if name in ("date", "due") else {"maxLength": 120})
    return {"schema": schema}


class Score:
    def __init__(self):
        self.right, self.of = defaultdict(int), defaultdict(int)

    def count(self, name, good):
        self.right[name] += bool(good)
        self.of[name] += 1

    def extraction(self, made, answer):
        try:
            value = json.loads(answer)
        except ValueError:
            value = None
        self.count("valid JSON with the schema", value is not None and fits(value, tasks.schema_of(made.asked)))
        value = value if isinstance(value, dict) else {}
        layout = "new layouts" if made.document.new_layout else "known forms of layout"
        whole = True
        for key, name, columns in made.asked:
            wanted = made.document.fields.get(name)
            if name == "items":
                wanted, given = wanted or [], value.get(key)
                given = [item for item in given if isinstance(item, dict)] if isinstance(given, list) else []
                good = len(given) == len(wanted)
                for n, item in enumerate(wanted):
                    for shown, column in columns:
                        exact = n < len(given) and same(given[n].get(shown), item[column])
                        good &= exact
                        self.count(f"items: {column}", exact)
                        for total in ("fields", f"fields, {layout}", f"fields of: {made.document.kind}"):
                            self.count(total, exact)
                self.count("items: whole list", good)
            else:
                good = key in value and same(value[key], wanted)
                self.count(f"field: {name}", good)
                if wanted is None:
                    self.count("fields that the text does not have", good)
                for total in ("fields", f"fields, {layout}", f"fields of: {made.document.kind}"):
                    self.count(total, good)
            whole &= good
        self.count("whole documents", whole)
        return whole

    def add(self, made, answer):
        good = self.extraction(made, answer) if made.task == "extract" else answer == made.answer()
        if made.system is not None:
            self.count(f"asked by the verb {made.task}", good)
        if made.task == "classify":
            self.count("labels", good)
            self.count(f"labels: {made.asked[0][1]}", good)
        elif made.task != "extract":
            self.count({"question": "questions", "small talk": "small talk"}[made.task], good)
        return good

    def lines(self):
        width = max(map(len, self.of))
        for name in sorted(self.of, key=lambda name: (":" in name, "," in name, name)):
            yield f"{name:{width}}  {self.right[name]:5} of {self.of[name]:5}  {100 * self.right[name] / self.of[name]:6.1f} %"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "www" / "models" / "fanlight-builtin-q8_0.gguf")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--count", type=int, default=700, help="conversations, of which six in ten are extractions")
    parser.add_argument("--draw", default="sixth evaluation", help="another name, other conversations")
    parser.add_argument("--train", action="store_true", help="documents from the pools of training instead, to compare")
    parser.add_argument("--show", type=int, default=0, help="how many wrong answers to print")
    parser.add_argument("--requests", type=Path, help="write the requests in the engine's own form as JSON lines, and do nothing else")
    parser.add_argument("--constrained", action="store_true", help="with --requests: answers must follow the schema, or be one of the labels")
    parser.add_argument("--answers", type=Path, help="score the answers in this file (JSON lines with `answer`) instead of asking the model")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    examples = draw(options.count, test=not options.train, seed="evaluation, training pools" if options.train else options.draw)
    if options.requests:
        with options.requests.open("w", encoding="utf-8") as file:
            for made in examples:
                line = {"messages": messages(made), "maxTokens": LONGEST_ANSWER}
                if options.constrained and made.task in ("extract", "classify"):
                    line["constraint"] = constraint(made)
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        return
    if options.answers:
        answers = [json.loads(line)["answer"] for line in options.answers.read_text(encoding="utf-8").splitlines()]
    else:
        answers = Reader(options.model, options.device).answers(examples)
    score, shown = Score(), 0
    for made, answer in zip(examples, answers, strict=True):
        if not score.add(made, answer) and shown < options.show:
            shown += 1
            print(f"--- {made.task}\n{made.system or ''}\n{made.turns[0][0]}\nwanted {made.answer()}\ngot    {answer}\n")
    print("\n".join(score.lines()))


if __name__ == "__main__":
    main()
