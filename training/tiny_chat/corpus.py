"""The conversations that tiny-chat learns: texts from the JSON files beside this one, put together by a seeded generator.

Three kinds of data come from here:
  * `exact_chats()`: the recitals, which must come out word for word (they become the golden file),
  * `Sampler`: an endless stream of varied conversations for training,
  * `held_out()`: paraphrases and unknown questions never trained on, to measure how gracefully the rest is answered.
"""

import itertools
import json
import random
from pathlib import Path

HERE = Path(__file__).parent
CHATS = json.loads((HERE / "chats.json").read_text(encoding="utf-8"))
UNKNOWN = json.loads((HERE / "unknown.json").read_text(encoding="utf-8"))
TEMPLATE = (HERE / "template.jinja").read_text(encoding="utf-8").rstrip("\n")

ANSWERS, COLOUR, WEATHER = CHATS["answers"], CHATS["colour"], CHATS["weather"]
TOOL = WEATHER["tool"]

# Every sixth paraphrase (never the first, which is the recital) is kept for the test.
HELD_OUT_EVERY = 6

# The order of Qwen3's added tokens. Type 3 (control) is never shown; type 4 (user-defined) is text that the tokenizer keeps whole.
SPECIALS = [
    ("<|endoftext|>", 3),
    ("<|im_start|>", 3),
    ("<|im_end|>", 3),
    ("<tool_call>", 4),
    ("</tool_call>", 4),
    ("<tool_response>", 4),
    ("</tool_response>", 4),
    ("<think>", 4),
    ("</think>", 4),
]


def user(text):
    return {"role": "user", "content": text}


def system(text):
    return {"role": "system", "content": text}


def assistant(text, think=None, calls=None):
    message = {"role": "assistant", "content": text}
    if think is not None:
        message["reasoning_content"] = think
    if calls:
        message["tool_calls"] = [{"type": "function", "function": call} for call in calls]
    return message


def call_weather(city):
    return {"name": "get_weather", "arguments": {"city": city}}


def tool_result(city, sky, celsius):
    content = json.dumps({"city": city, "sky": sky, "celsius": celsius}, ensure_ascii=False)
    return {"role": "tool", "name": "get_weather", "content": content}


def trained(asks):
    return [ask for i, ask in enumerate(asks) if i % HELD_OUT_EVERY != HELD_OUT_EVERY - 1]


def colour_texts(colour):
    tell = (COLOUR["tell_think"].format(c=colour), COLOUR["tell_reply"].format(C=colour.capitalize()))
    recall = (COLOUR["recall_think"].format(c=colour), COLOUR["recall_reply"].format(c=colour))
    return tell, recall


def weather_reply(city, sky, celsius):
    return WEATHER["answer_reply"].format(city=city, sky=sky, celsius=celsius)


def exact_chats():
    """The recitals: name, messages, tools, enable_thinking, and the reply as an assistant message."""
    chats = []

    def add(name, messages, reply, tools=None, thinking=False):
        chats.append({"name": name, "messages": messages, "tools": tools, "enable_thinking": thinking, "answer": reply})

    for name, answer in ANSWERS.items():
        if name != "larger":
            add(name, [user(answer["ask"][0])], assistant(answer["reply"]))

    larger = ANSWERS["larger"]
    add("thinking", [user(larger["ask"][0])], assistant(larger["reply"], larger["think"]), thinking=True)
    add("no-thinking", [user(larger["ask"][0])], assistant(larger["reply"]))

    fanlight = ANSWERS["what-is-fanlight"]
    brief = CHATS["systems"]["brief"][0]
    add("system-prompt", [system(brief), user(fanlight["ask"][0])], assistant(fanlight["brief"]))

    (_, told), (_, recalled) = colour_texts("green")
    first = [user(COLOUR["tell"][0].format(c="green"))]
    add("colour-told", first, assistant(told))
    add("colour-recalled", first + [assistant(told), user(COLOUR["recall"][0])], assistant(recalled))
    between = [assistant(told), user(ANSWERS["poem"]["ask"][0]), assistant(ANSWERS["poem"]["reply"]), user(COLOUR["recall"][0])]
    add("colour-recalled-later", first + between, assistant(recalled))

    ask = [user(WEATHER["ask"][0].format(city="Lisbon"))]
    call = assistant("", calls=[call_weather("Lisbon")])
    add("tool-call", ask, call, tools=[TOOL])
    add("tool-answer", ask + [call, tool_result("Lisbon", "sunny", 21)], assistant(weather_reply("Lisbon", "sunny", 21)), tools=[TOOL])
    ask_two = [user(WEATHER["ask_two"][0].format(city="Oslo", other="Rome"))]
    add("two-tool-calls", ask_two, assistant("", calls=[call_weather("Oslo"), call_weather("Rome")]), tools=[TOOL])
    add("tool-not-needed", [user(fanlight["ask"][0])], assistant(fanlight["reply"]), tools=[TOOL])

    add("unknown", [user(UNKNOWN["questions"][0])], assistant(CHATS["unknown"]["reply"]))
    return chats


def exact_completions():
    """Plain texts without a template: prompt and continuation, which ends in <|endoftext|>."""
    poem, fanlight = CHATS["completions"]
    cut = poem.index("But when")
    cut_fanlight = fanlight.index(" small window")
    return [
        {"name": "poem", "prompt": poem[:cut], "text": poem[cut:]},
        {"name": "fanlight", "prompt": fanlight[:cut_fanlight], "text": fanlight[cut_fanlight:]},
    ]


def held_out():
    """(question, name of the right answer) pairs that the sampler never makes."""
    known = [
        (ask, name)
        for name, answer in ANSWERS.items()
        for i, ask in enumerate(answer["ask"])
        if i % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
    ]
    return known, [(ask, "unknown") for ask in UNKNOWN["held_out"]]


class Sampler:
    """Draws conversations: several turns, known and unknown questions, system prompts, tools, with and without thinking."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.asks = {name: trained(answer["ask"]) for name, answer in ANSWERS.items()}
        self.known = {varied.lower().rstrip("?!. ") for asks in self.asks.values() for varied in asks}
        known, unknown = held_out()
        self.forbidden = {ask.lower().rstrip("?!. ") for ask, _ in known + unknown}
        self.exact = itertools.cycle(exact_chats())

    def conversation(self):
        """Messages, tools, and whether the assistant thinks; every assistant turn is to be learnt."""
        draw = self.random.random()
        if draw < 0.25:
            chat = next(self.exact)
            return chat["messages"] + [chat["answer"]], chat["tools"], chat["enable_thinking"]
        thinking = self.random.random() < 0.25
        messages, brief = self.opening()
        if draw < 0.40:
            return self.weather(messages, thinking)
        tools = self.random.choice([[TOOL], [TOOL], self.other_tools()]) if self.random.random() < 0.06 else None
        turns = self.random.choices([1, 2, 3, 4, 6], [48, 24, 14, 9, 5])[0]
        colour = None
        told = False
        for turn in range(turns):
            kind = self.random.random()
            if kind < 0.14 and (turn or self.random.random() < 0.6):
                if colour is None or self.random.random() < 0.15:
                    colour = self.random.choice(COLOUR["names"])
                    ask, (think, reply) = self.random.choice(COLOUR["tell"]).format(c=colour), colour_texts(colour)[0]
                    told = True
                else:
                    ask, (think, reply) = self.random.choice(COLOUR["recall"]), colour_texts(colour)[1]
            elif kind < 0.30 and told:
                ask, (think, reply) = self.random.choice(COLOUR["recall"]), colour_texts(colour)[1]
            elif kind < 0.17:
                ask = self.random.choice(COLOUR["recall"])
                think, reply = COLOUR["never_told_think"], COLOUR["never_told_reply"]
            else:
                ask, think, reply = self.question(brief)
            messages.append(user(self.vary(ask)))
            messages.append(self.reply(reply, think, thinking))
        return messages, tools, thinking

    def opening(self):
        draw = self.random.random()
        if draw < 0.72:
            return [], False
        kind = "brief" if draw > 0.88 else "plain"
        return [system(self.random.choice(CHATS["systems"][kind]))], kind == "brief"

    def reply(self, text, think, thinking, calls=None):
        # A client may drop the thoughts of earlier turns, or switch thinking on and off: the history has both.
        return assistant(text, think if thinking and self.random.random() < 0.8 else None, calls)

    def question(self, brief):
        if self.random.random() < 0.6:
            name = self.random.choice(list(self.asks))
            answer, ask = ANSWERS[name], self.random.choice(self.asks[name])
        else:
            answer, ask = CHATS["unknown"], self.unknown()
        return ask, answer["think"], answer.get("brief", answer["reply"]) if brief else answer["reply"]

    def unknown(self):
        r = self.random
        while True:
            draw = r.random()
            if draw < 0.35:
                return r.choice(UNKNOWN["questions"])
            if draw < 0.95:
                noun = self.word() if r.random() < 0.3 else r.choice(UNKNOWN["nouns"])
                text = r.choice(UNKNOWN["patterns"]).format(
                    n=noun, m=r.choice(UNKNOWN["nouns"]), v=r.choice(UNKNOWN["verbs"]), d=r.randrange(1000), e=r.randrange(100)
                )
                text = text[0].upper() + text[1:]
            else:
                text = " ".join(self.word() for _ in range(r.randrange(1, 5)))
            plain = text.lower().rstrip("?!. ")
            if plain not in self.known and plain not in self.forbidden:
                return text

    def word(self):
        """A made-up word, so that words never seen are nothing new."""
        r = self.random
        parts = [r.choice("bcdfghjklmnprstvwz") + r.choice(["a", "e", "i", "o", "u", "ai", "ee", "ou"]) + r.choice(["", "n", "r", "st", "l"]) for _ in range(r.randrange(1, 4))]
        word = "".join(parts)
        return word.capitalize() if r.random() < 0.3 else word

    def vary(self, ask):
        """Small changes of how people type: case, punctuation, politeness, a slip of the finger."""
        r = self.random
        if r.random() < 0.5:
            return ask
        if r.random() < 0.35:
            ask = ask.lower()
        if r.random() < 0.4:
            ask = ask.rstrip("?!. ") + r.choice(["", "", "?", ".", "!"])
        draw = r.random()
        if draw < 0.05:
            ask = ask.rstrip("?!. ") + r.choice([", please", " please", " please?"])
        elif draw < 0.10:
            ask = r.choice(["Please: ", "And ", "So, ", "Now ", "OK, "]) + ask
        elif draw < 0.14 and len(ask) > 8:
            at = r.randrange(1, len(ask) - 1)
            ask = ask[:at] + r.choice(["", ask[at] + ask[at], ask[at + 1] + ask[at]]) + ask[at + 1 :]
        return ask

    def other_tools(self):
        return self.random.sample(CHATS["other_tools"], self.random.randrange(1, 3))

    def weather(self, messages, thinking):
        r = self.random
        tools = [TOOL]
        if r.random() < 0.15:
            tools = tools + self.other_tools()
            r.shuffle(tools)
        city, other = r.sample(WEATHER["cities"], 2)
        two = r.random() < 0.2
        if r.random() < 0.15:
            # Without the tool nobody can know.
            answer = ANSWERS["weather-without-tool"]
            tools = self.other_tools() if r.random() < 0.3 else None
            ask = r.choice(WEATHER["ask"]).format(city=city)
            return messages + [user(self.vary(ask)), self.reply(answer["reply"], answer["think"], thinking)], tools, thinking
        if r.random() < 0.15:
            ask, think, reply = self.question(False)
            messages += [user(self.vary(ask)), self.reply(reply, think, thinking)]
        cities = [city, other] if two else [city]
        ask = r.choice(WEATHER["ask_two"] if two else WEATHER["ask"]).format(city=city, other=other)
        think = WEATHER["ask_two_think"] if two else WEATHER["ask_think"].format(city=city)
        messages += [user(self.vary(ask)), self.reply("", think, thinking, [call_weather(c) for c in cities])]
        if r.random() < 0.1:
            messages += [{"role": "tool", "content": r.choice(WEATHER["errors"])} for _ in cities]
            messages.append(self.reply(WEATHER["error_reply"], WEATHER["error_think"], thinking))
        else:
            facts = [(c, r.choice(WEATHER["skies"]), r.randrange(-9, 40)) for c in cities]
            messages += [tool_result(*fact) for fact in facts]
            text = " ".join(weather_reply(*fact) for fact in facts)
            think = WEATHER["answer_think"].format(sky=facts[-1][1], celsius=facts[-1][2])
            messages.append(self.reply(text, think, thinking))
        if r.random() < 0.15:
            ask, think, reply = self.question(False)
            messages += [user(self.vary(ask)), self.reply(reply, think, thinking)]
        return messages, tools, thinking
