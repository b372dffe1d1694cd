"""Turns documents into conversations: what is asked, and the answer.

An answer is a list of (text, weight): training cares more for values than for the braces between them.
JSON is written as `{"key": "value", "other": 1.50}`: one line in the order of the request, as the engine's constraint has it, with `null` for
what the text does not say.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

from . import letters, trade
from .documents import Document, Figure
from .words import Words

HERE = Path(__file__).parent
SMALL_TALK = json.loads((HERE / "smalltalk.json").read_text(encoding="utf-8"))
# How people say these things is known from the other model of this folder.
TINY_CHAT = json.loads((HERE.parent / "tiny_chat" / "chats.json").read_text(encoding="utf-8"))["answers"]
UNKNOWN = json.loads((HERE.parent / "tiny_chat" / "unknown.json").read_text(encoding="utf-8"))

MAKERS = {
    "receipt": (trade.receipt, 5),
    "invoice": (trade.invoice, 5),
    "business card": (letters.card, 4),
    "order": (letters.order, 3),
    "support message": (letters.support, 4),
    "review": (letters.review, 2),
}
# What is hard to learn comes more often in training.
MORE = {"business card": 2, "order": 1}

# Field -> the keys under which it is asked for. The first is the usual one.
KEYS = {
    "merchant": ("merchant", "store", "shop", "seller", "vendor"),
    "customer": ("customer", "client", "buyer"),
    "date": ("date", "day"),
    "due": ("due", "due_date", "pay_by"),
    "time": ("time",),
    "number": ("number", "no", "reference"),
    "cashier": ("cashier", "served_by"),
    "street": ("street", "street_address"),
    "city": ("city", "town"),
    "phone": ("phone", "telephone", "phone_number"),
    "email": ("email", "mail", "email_address"),
    "website": ("website", "url"),
    "items": ("items", "lines", "products", "articles"),
    "subtotal": ("subtotal", "net"),
    "tax": ("tax", "vat"),
    "total": ("total", "total_amount", "sum"),
    "currency": ("currency", "currency_code"),
    "payment": ("payment", "paid_with"),
    "name": ("name", "person", "full_name"),
    "company": ("company", "employer", "firm"),
    "title": ("title", "job", "job_title", "position"),
    "product": ("product", "article", "product_name"),
    "author": ("author", "reviewer"),
    "rating": ("rating", "stars", "score"),
}
SPECIAL_KEYS = {
    ("receipt", "number"): ("receipt_number", "receipt_no"),
    ("invoice", "number"): ("invoice_number", "invoice_no"),
    ("support message", "number"): ("order_number", "order_no"),
    ("order", "date"): ("delivery_date", "deadline"),
    ("invoice", "date"): ("invoice_date",),
}
COLUMNS = {
    "name": ("name", "name", "item", "description"),
    "qty": ("qty", "qty", "quantity", "count"),
    "price": ("price", "price", "amount"),
}
# What may be asked of each kind of document.
ASKED = {
    "receipt": "merchant date total currency items tax number time subtotal cashier street city phone payment".split(),
    "invoice": "merchant customer number date due total currency items tax subtotal street city phone email".split(),
    "business card": "name title company email phone website street city".split(),
    "order": "customer items date street city phone email".split(),
    "support message": "customer number product phone email".split(),
    "review": "product rating author date".split(),
}

WORDINGS = ("Extract {}.", "Extract {}.", "Extract {}.", "Extract: {}", "JSON: {}", "As JSON: {}", "Give me {} as JSON.", "Read {}.", "Find {}.", "Extract {} from this text.")

QUESTIONS = {
    "merchant": (("Which shop is it?", "Who is the seller?", "What is the name of the shop?", "Who sold this?", "Where was it bought?"), "It is {}."),
    "customer": (("Who is the customer?", "Who wrote this?", "Who is the buyer?", "What is the customer's name?"), "It is {}."),
    "date": (("What is the date?", "Which date is it?", "What date does it say?", "When is it?"), "The date is {}."),
    "due": (("When is it due?", "When must it be paid?", "What is the due date?", "Until when must I pay?"), "It is due on {}."),
    "number": (("What is the number?", "Which number does it have?", "What is the reference?", "Tell me the number."), "The number is {}."),
    "total": (("What is the total?", "How much is it?", "How much is it in total?", "What is the sum?", "How much must be paid?"), "The total is {}."),
    "tax": (("How much is the tax?", "What is the tax?", "How much tax is in it?", "How much VAT is it?"), "The tax is {}."),
    "city": (("Which city is it?", "In which town is it?", "What is the city?"), "It is {}."),
    "phone": (("What is the phone number?", "Which number can I call?", "What is the telephone number?"), "The phone number is {}."),
    "email": (("What is the email address?", "Which email is given?", "Where can I write to?"), "The email is {}."),
    "company": (("Which company is it?", "Where does this person work?", "What is the company?"), "It is {}."),
    "name": (("Whose card is this?", "What is the name?", "Who is it?"), "It is {}."),
    "title": (("What is the job?", "What does this person do?", "What is the title?"), "The title is {}."),
    "product": (("Which product is it about?", "What is the product?", "What is it about?"), "It is about {}."),
    "author": (("Who wrote the review?", "Who is the author?"), "It is {}."),
    "payment": (("How was it paid?", "What was the payment method?"), "It was paid with {}."),
    "website": (("What is the website?", "Is there a website?"), "The website is {}."),
}
ABSENT = "The text does not say."
COUNT_ITEMS = (("How many items are there?", "How many different things are listed?", "How many lines of items are there?"), "{}")

TASKS = (
    ("Classify: {}", ", "), ("Classify: {}", ", "), ("Classify: {}", ", "), ("Labels: {}", ", "), ("Which label fits? {}", ", "), ("Choose one: {}", " | "), ("Choose a label: {}", ", "),
    ("What is it about: {}?", ", "),
)  # fmt: skip
MOODS = {"positive": ("positive", "good", "happy"), "negative": ("negative", "bad", "unhappy"), "neutral": ("neutral", "mixed", "neutral")}
KINDS = {
    "receipt": ("receipt", "receipt", "till receipt"),
    "invoice": ("invoice", "invoice", "bill"),
    "business card": ("business card", "business card", "contact card"),
    "order": ("order", "order", "purchase order"),
    "support message": ("support message", "support request", "message to support"),
    "review": ("review", "product review", "review"),
}

# Weights of an answer's tokens. Where a value starts is the question; the rest mostly follows.
FORCED, VALUE, START, LABEL = 0.2, 1.0, 2.5, 3.0


@dataclass
class Example:
    """Turns of a conversation: (what is asked, the answer in weighted pieces)."""

    task: str
    turns: list
    document: Document = None
    # For extraction: the keys in order, each with the field it stands for, and the columns of the items.
    asked: list = field(default_factory=list)
    # A system message before the turns.
    system: str | None = None
    # The turn that asks for the task.
    first: int = 0

    def answer(self, turn=None):
        return "".join(text for text, _ in self.turns[self.first if turn is None else turn][1])


def write_value(value):
    """The weighted pieces of a JSON value. A string's closing quote is part of the value: where to stop is half of copying."""
    if value is None:
        return [("null", START)]
    if isinstance(value, Figure):
        return [(value[:1], START), (value[1:], VALUE)]
    text = json.dumps(value, ensure_ascii=False)
    return [(text[:1], VALUE), (text[1:2], START), (text[2:], VALUE)]


def write_object(pairs):
    """The weighted pieces of an object; `pairs` are (key, pieces)."""
    pieces = []
    for n, (key, value) in enumerate(pairs):
        pieces += [("{" if n == 0 else ", ", FORCED), (f'"{key}": ', FORCED), *value]
    return [*pieces, ("}", FORCED)]


def key_of(words, kind, name):
    if words.maybe(1 - 0.55 * words.level):
        return KEYS[name][0]
    special = SPECIAL_KEYS.get((kind, name))
    return words.pick(special) if special and words.maybe(0.5) else words.pick(KEYS[name])


def choose_fields(words, document, most=8):
    """Some of the fields that make sense, mostly those that the document has, with their keys."""
    names = [name for name in ASKED[document.kind] if name in document.fields or words.maybe(0.15 if words.test else 0.22)]
    if words.maybe(0.75):
        words.chance.shuffle(names)
    names = names[: max(words.number(1, min(most, len(names))) for _ in range(2))] if names else ["date"]
    if not words.test and "items" in document.fields and "items" not in names and words.maybe(0.35):
        # Rows are what is hardest to read.
        names[words.number(0, len(names) - 1)] = "items"
    chosen, used = [], set()
    for name in names:
        key = key_of(words, document.kind, name)
        if key not in used:
            used.add(key)
            chosen.append((key, name))
    return chosen


def request_fields(words, document, chosen):
    """The request for the `chosen` (key, field) as JSON, the answer, and what was asked."""
    wanted, pairs, asked = [], [], []
    for key, name in chosen:
        value, columns = document.fields.get(name), None
        if name == "items":
            columns = [column for column in ("name", "qty", "price") if words.maybe(0.7) and (document.kind != "order" or column != "price")] or ["name"]
            if words.maybe(0.3):
                words.chance.shuffle(columns)
            columns = [(COLUMNS[c][0] if words.maybe(1 - 0.45 * words.level) else words.pick(COLUMNS[c]), c) for c in columns]
            wanted.append(f"{key} ({', '.join(shown for shown, _ in columns)})")
            pieces = [("[", FORCED)]
            for n, item in enumerate(value or []):
                pieces += [(", ", START)] if n else []
                pieces += write_object([(shown, write_value(item[c])) for shown, c in columns])
            pairs.append((key, [*pieces, ("]", START)]))
        else:
            wanted.append(key)
            pairs.append((key, write_value(value)))
        asked.append((key, name, columns))
    return words.pick(WORDINGS).format(", ".join(wanted)), write_object(pairs), asked


def extract(words, document):
    """Asks for fields as JSON."""
    request, answer, asked = request_fields(words, document, choose_fields(words, document))
    return Example("extract", [(join(words, request, document.text, 0.08), answer)], document, asked)


def schema_of(asked, null=True):
    """The JSON Schema of an extraction; with `null`, what the text does not say may be null."""
    properties = {}
    for key, name, columns in asked:
        if name == "items":
            item = {shown: {"type": "string" if column == "name" else "number"} for shown, column in columns}
            properties[key] = {"type": "array", "items": object_schema(item)}
        else:
            kind = "number" if name in ("subtotal", "tax", "total", "rating") else "string"
            properties[key] = {"type": [kind, "null"] if null else kind}
    return object_schema(properties)


def object_schema(properties):
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def by_schema(words, made):
    """Asks as the package's `extract` does: the schema in a system message, and the text alone."""
    schema = schema_of(made.asked, null=words.maybe(0.5))
    for part in (schema, *(each["items"] for each in schema["properties"].values() if "items" in each)):
        if words.maybe(0.4):
            del part["additionalProperties"]
    written = json.dumps(schema, separators=(",", ":"), ensure_ascii=False)
    made.system = f"Read the text and write down what it says as JSON.\nThe JSON follows this schema: {written}"
    made.turns[0] = (made.document.text, made.turns[0][1])


def by_classes(made):
    """Asks as the package's `classify` does."""
    made.system = f"Say which class the text belongs to.\nClasses: {', '.join(made.asked[0][0])}\nAnswer with one class and nothing else."
    made.turns[0] = (made.document.text, made.turns[0][1])


def join(words, request, text, after):
    """The request before the text, or now and then after it."""
    return f"{text}\n\n{request}" if words.maybe(after) else f"{request}\n\n{text}"


def question(words, document, known=()):
    """Asks for one fact in words, none of those in `known`."""
    names = [name for name in QUESTIONS if name in ASKED[document.kind] and name not in known and (name in document.fields or words.maybe(0.2))]
    if not names or (document.kind in ("receipt", "invoice") and words.maybe(0.06)):
        if not document.fields.get("items"):
            return None
        asks, answer = COUNT_ITEMS
        return words.pick(asks), [(answer.format(len(document.fields["items"])), LABEL)]
    name = words.pick(names)
    asks, frame = QUESTIONS[name]
    if document.printed.get(name) is None:
        return words.pick(asks), [(ABSENT[:3], START), (ABSENT[3:], FORCED)]
    before, after = frame.split("{}")
    return words.pick(asks), [(before, VALUE), (document.printed[name][:1], START), (document.printed[name][1:] + after, VALUE)]


def choose_label(words, document):
    """Asks for the topic or mood of a text, or for the kind of document it is: the request, the answer, all labels, what they are about."""
    if "topic" in document.fields and words.maybe(0.9):
        names, truth = {topic: entry["labels"] for topic, entry in letters.TOPICS.items()}, document.fields["topic"]
    elif "mood" in document.fields and words.maybe(0.8):
        names, truth = MOODS, document.fields["mood"]
    else:
        names, truth = KINDS, document.kind
    others = [name for name in names if name != truth]
    words.chance.shuffle(others)
    chosen = [truth, *others[: words.number(1, 5)]]
    words.chance.shuffle(chosen)
    styled = words.pick((str, str, str, str.capitalize))
    shown = {name: styled(names[name][0] if words.maybe(0.4) else words.pick(names[name])) for name in chosen}
    wording, divider = words.pick(TASKS)
    request = wording.format(divider.join(shown[name] for name in chosen))
    about = "kind" if names is KINDS else "mood" if names is MOODS else "topic"
    return request, [(shown[truth], LABEL)], list(shown.values()), about


def classify(words, document):
    request, answer, labels, about = choose_label(words, document)
    return Example("classify", [(join(words, request, document.text, 0.08), answer)], document, [(labels, about, None)])


def follow_up(words, document, known):
    """A further turn about the same text. It asks for nothing in `known`, so that nothing can be copied from an earlier answer."""
    if words.maybe(0.06):
        return small_talk(words).turns[0]
    if ("topic" in document.fields or "mood" in document.fields or words.maybe(0.15)) and "label" not in known and words.maybe(0.7):
        known.add("label")
        return choose_label(words, document)[:2]
    if words.maybe(0.25):
        turn = question(words, document, known)
        known.update(QUESTIONS)
        return turn
    rest = [name for name in document.fields if name in ASKED[document.kind] and name not in known]
    if not rest:
        return None
    words.chance.shuffle(rest)
    made = request_fields(words, document, [(key_of(words, document.kind, name), name) for name in rest[: words.number(1, 4)]])
    known.update(name for _, name, _ in made[2])
    return made[:2]


def small_talk(words):
    def part(asks):
        return [ask for i, ask in enumerate(asks) if (i % 6 == 5) == words.test] or asks

    if words.maybe(0.3):
        asks = UNKNOWN["held_out" if words.test else "questions"]
        if not words.test and words.maybe(0.5):
            noun = words.made_up() if words.maybe(0.3) else words.pick(UNKNOWN["nouns"])
            asks = [words.pick(UNKNOWN["patterns"]).format(n=noun, m=words.pick(UNKNOWN["nouns"]), v=words.pick(UNKNOWN["verbs"]), d=words.number(0, 999), e=words.number(0, 99))]
        return Example("small talk", [(words.pick(asks), [(SMALL_TALK["unknown"], 0.5)])], None, ["unknown"])
    topic = words.pick(list(SMALL_TALK["replies"]))
    return Example("small talk", [(words.pick(part(TINY_CHAT[topic]["ask"])), [(SMALL_TALK["replies"][topic], 0.5)])], None, [topic])


def example(words, level=1.0, kind=None, task=None):
    """One conversation: `level` 0 for short documents and few fields, 1 for everything."""
    words.level = level
    task = task or words.pick(("extract",) * 55 + ("classify",) * 34 + ("question",) * 6 + ("small talk",) * 5)
    if task == "small talk":
        return small_talk(words)
    if task == "classify" and not kind:
        kind = words.pick(("support message",) * 6 + ("review",) * 3 + tuple(MAKERS))
    kind = kind or words.pick([name for name, (_, share) in MAKERS.items() for _ in range(share + (0 if words.test else MORE.get(name, 0)))])
    document = MAKERS[kind][0](words, level)
    if task == "classify":
        made = classify(words, document)
    elif task == "question":
        asked = question(words, document)
        if not asked:
            return example(words, level, kind, "extract")
        made = Example("question", [(join(words, asked[0], document.text, 0.4), asked[1])], document)
    else:
        made = extract(words, document)
    # As the verbs of the package ask, which is how the page does.
    if task == "extract" and len(made.asked) <= 7 and words.maybe(0.25):
        by_schema(words, made)
    elif task == "classify" and words.maybe(0.3):
        by_classes(made)
    # Further turns about the same text: more to learn from each document.
    known = {name for _, name, _ in made.asked} if task == "extract" else {"label"} if task == "classify" else set(QUESTIONS)
    while words.maybe(0.65) and len(made.turns) < 6:
        turn = follow_up(words, document, known)
        if turn:
            made.turns.append(turn)
    if not words.test and words.maybe(0.06):
        # A talk may begin with something else; the test looks at first turns.
        made.turns.insert(0, small_talk(words).turns[0])
        made.first = 1
    return made


def stream(seed, test=False, invented=()):
    """An endless source of conversations; its level can be set between draws. `invented`: see `Words`."""
    words = Words(seed, test, invented)

    def draw(level=1.0):
        return example(words, level)

    return draw
