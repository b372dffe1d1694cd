"""Business cards, mails that order something, messages to a shop's support, and reviews."""

import json
import re
from pathlib import Path

from .documents import Figure, Page
from .trade import place
from .words import pool

def halves(phrases, more=()):
    """Every fifth phrase is kept for the test; `more` are for training alone."""
    return [p for i, p in enumerate(phrases) if i % 5 != 4] + list(more), [p for i, p in enumerate(phrases) if i % 5 == 4]


PHRASES = json.loads((Path(__file__).parent / "phrases.json").read_text(encoding="utf-8"))
TOPICS = PHRASES["topics"]
OPENERS = pool("Hello, Hi, Hi there, Dear team, Dear Sir or Madam, Good morning, Good afternoon, Hello team, Dear support, To whom it may concern, Hey, Dear all, Good evening")
CLOSERS = pool("Regards, Best regards, Kind regards, Thanks, Many thanks, Thank you, Best, Cheers, Yours sincerely, Greetings, All the best, Best wishes, Yours, Warm regards")

# Common words, of the phrases for training.
COMMON = sorted({word for phrase in sum([topic["more"] for topic in TOPICS.values()] + list(PHRASES["more reviews"].values()), []) for word in re.findall(r"\b[a-z]{2,}\b", re.sub(r"<\w+>", "", phrase))})

# More ways to begin and to end, put together, for training alone.
ODD_OPENERS = (
    "{Good|Dear|Hello|My dear} {people|friends|shop|colleagues|madam|sir|customer service|Mrs Smith|Mr Jones} [there]",
    "{Greetings|Hello again|Good day|Excuse me|Salut|Ahoy|Moin|To the team|Attention|Urgent|Once more}",
)
ODD_CLOSERS = (
    "{With|In} {kind|best|deep|sincere|my|our} {thanks|wishes|gratitude|greetings|regards|appreciation}",
    "Yours {faithfully|truly|as ever|cordially|respectfully}",
    "{Thanks|Thank you} {again|a lot|so much|in advance|for your help|for reading|and bye|very much}",
    "{Until soon|Take care|See you|See you soon|Bye|Goodbye|Respectfully|Cordially|Sincerely|Have a nice day|Have a good week|So long|Yours|Cordial greetings|Love|Hugs}",
    "{Looking forward to|Waiting for|Hoping for} {your answer|a quick reply|good news|it}",
    "{Sent by|This was|It is|Signed|Signed by|From|Here is|I remain} ",
)


def spin(words, text, values=None):
    """Writes out a phrase: `{a|b}` is one of these, `[x]` may be left out, `<name>` is a value."""
    while True:
        text, count = re.subn(r"\[([^\[\]{}]*)\]", lambda m: m[1] if words.maybe(0.5) else "", text)
        text, more = re.subn(r"\{([^\[\]{}]*)\}", lambda m: words.pick(m[1].split("|")), text)
        if not count and not more:
            break
    text = re.sub(r"<(\w+)>", lambda m: str(values[m[1]]), text)
    return re.sub(r" +([.,?!])(?= |$)", r"\1", re.sub(r" +", " ", text)).strip()


def card(words, level=1.0):
    page = Page(words, "business card", level)
    person, company = page.know("name", words.person()), page.know("company", words.company() if words.maybe(0.7) else words.merchant())
    person_line = person if words.maybe(0.85) else words.pick((f"Dr. {person}", page.pair(page.label("Name"), person)))
    title = [page.know("title", words.job())] if words.maybe(0.8) else []
    domain = words.domain(company) if words.maybe(0.7) else words.domain()
    contact = []
    if words.maybe(0.85):
        email = page.know("email", words.email(person, domain))
        contact.append(words.pick((email, email, page.pair(page.label("Email", "E-mail", "Mail", "E", "M"), email))))
    if words.maybe(0.85):
        phone = page.know("phone", words.phone())
        contact.append(words.pick((phone, page.pair(page.label("Tel", "Phone", "Mobile", "T", "P", "Cell", "Call"), phone))))
    if words.maybe(0.5):
        site = page.know("website", words.pick(("www.", "", "https://")) + domain)
        contact.append(words.pick((site, page.pair(page.label("Web", "Website", "W"), site))))
    where = place(page) if words.maybe(0.6) else []
    words.chance.shuffle(contact)
    order = page.form({"person first": 0, "company first": 1, "company last": 2, "one line": 3, "title first": 4, "contact first": 5}, new=("title first", "contact first"), usual="person first", more=(6, 6, 6, 7, 8), odd=0.3)
    if order == 0:
        page.put(person_line, *title, company, *where, *contact)
    elif order == 1:
        page.put(company, person_line, *title, *where, *contact)
    elif order == 2:
        page.put(person_line, *title, *contact, company, *where)
    elif order == 3:
        page.put(f"{person_line}, {title[0]}" if title else person_line, company, *contact, *where)
    elif order == 4:
        page.put(*title, person_line, *where, company, *contact)
    elif order == 5:
        page.put(*contact, company, person_line, *title, *where)
    elif order == 6:
        # Any order but those that are kept for the test.
        parts = {"p": [person_line], "t": title, "c": [company], "w": where, "m": contact}
        while True:
            names = list(parts)
            words.chance.shuffle(names)
            if "".join(names) not in ("tpwcm", "mcptw"):
                break
        page.put(*(line for name in names for line in parts[name]))
    elif order == 7:
        page.put(person_line, *contact, *title, company, *where)
    else:
        page.put(company, *contact, *where, person_line, *title)
    return page.finish()


def any_words(words):
    """A few words that mean nothing together."""
    return " ".join(words.pick(COMMON) if words.maybe(0.7) else words.made_up() for _ in range(words.number(1, 4))).capitalize()


def among_any(words, phrase):
    """The phrase; for training, now and then with other common words beside the product, so that its end is not where known words follow."""
    if words.test or not words.maybe(0.35):
        return phrase
    beside = " ".join(words.pick(COMMON) for _ in range(words.number(1, 3)))
    return phrase.replace("<product>", words.pick((f"<product> {beside}", f"<product> {beside}", f"{beside} <product>")))


def sentence(words, key, values):
    """A phrase of the pool `key` with its one value; for training, now and then any words around the value."""
    if not words.test and words.maybe(0.4):
        (value,) = values.values()
        # Where the things begin that are ordered in one line, nothing else would tell.
        between = ": " if key == "order" and "\n" not in value else words.pick((" ", " ", " ", ": "))
        return f"{any_words(words)}{between}{value}" + words.pick(("", ".", f" {any_words(words).lower()}."))
    return spin(words, words.pick(halves(PHRASES[key], PHRASES["more orders"][key])[words.test]), values)


def letter(page, person, sentences):
    """A message: greeting, sentences, the name below."""
    words = page.words
    greeting, closer = words.of(OPENERS), words.of(CLOSERS)
    # Any words may stand there, for training.
    odd = not words.test and words.maybe(0.35)
    if not words.test:
        greeting = any_words(words) if words.maybe(0.35) else spin(words, words.pick(ODD_OPENERS)) if words.maybe(0.4) else greeting
        closer = any_words(words) if odd else spin(words, words.pick(ODD_CLOSERS)) if words.maybe(0.4) else closer
    greeting += words.pick((",", ",", "!", ""))
    closer += words.pick((",", ",", ""))
    body = words.pick((" ", " ", "\n")).join(sentences).replace("\n ", "\n").rstrip()
    head = []
    if words.maybe(0.8):
        head.append(greeting)
    if words.maybe(0.15):
        page.put(" ".join([*head, body]))
    else:
        page.put(*head, body)
    if person:
        # Nobody could tell a name from any words before it.
        together = (closer, person) if odd else (f"{closer} {person}",)
        page.put(*words.pick(((closer, person), (person,), together, (f"- {person}",))))
    return page.finish()


def order(words, level=1.0):
    """A mail that orders some things."""
    page = Page(words, "order", level)
    count = words.number(1, max(1, round(1 + (3 if words.test else 5) * level)))
    listed = page.form({"prose": 0, "lines": 1, "stars": 2}, new=("stars",), more=("+ ", "> ", "o ", "~ ", ""))
    truth, parts = [], []
    style = words.pick(("{q} {n}", "{q} x {n}", "{q}x {n}", "{n} x{q}", "{n} ({q})"))
    for _ in range(count):
        item, quantity = words.item(), words.pick((1, 2, 2, 3, 4, 5, 6, 8, 10, 12, words.number(2, 60)))
        truth.append({"name": item, "qty": Figure(quantity)})
        parts.append(style.format(q=quantity, n=item))
    page.fields["items"] = truth
    if listed == 0:
        things = ", ".join(parts[:-1]) + " and " + parts[-1] if count > 1 else parts[0]
    else:
        mark = {1: "- ", 2: "* "}.get(listed, listed)
        things = "\n" + "\n".join(mark + part for part in parts) + "\n"
    values = {"things": things}
    person = page.know("customer", words.person()) if words.maybe(0.9) else None
    first = sentence(words, "order", values)
    sentences = [first + ("." if listed == 0 else "\n")]
    if words.maybe(0.5):
        _, by = page.date("date")
        sentences.append(sentence(words, "order by", {"date": by}))
    if words.maybe(0.5):
        where = ", ".join(place(page))
        if where:
            sentences.append(sentence(words, "order to", {"place": where}))
    contacts(page, person, sentences)
    return letter(page, person, sentences)


def contacts(page, person, sentences):
    words = page.words
    if words.maybe(0.3):
        sentences.append(spin(words, "{You can call me at|Please call me at|My phone is|Call me:|My number:} <phone>.", {"phone": page.know("phone", words.phone())}))
    if words.maybe(0.25):
        sentences.append(spin(words, "{My email is|Please answer to|Write to me at|Reply to} <email>", {"email": page.know("email", words.email(person))}))


def support(words, level=1.0):
    """A message to the support of a shop. Its topic is the field `topic`."""
    page = Page(words, "support message", level)
    topic = words.pick(list(TOPICS))
    product = words.item()
    used = {"product": product, "company": words.merchant(), "code": words.code(), "date": page.dates.write(page.dates.draw()), "amount": page.money.certain(words.number(199, 29999))}
    phrases = halves(TOPICS[topic]["phrases"], TOPICS[topic]["more"])[words.test]
    sentences = [words.pick(phrases)]
    if words.maybe(0.4 * level):
        other = words.pick(phrases)
        if other != sentences[0]:
            sentences.append(other)
    said = " ".join(sentences)
    for name, key in (("product", "product"), ("amount", None), ("code", "number"), ("date", None)):
        if f"<{name}>" in said and key:
            page.know(key, used[name])
    sentences = [spin(words, among_any(words, sentence), used) for sentence in sentences]
    # What a phrase may leave out is not known.
    text = " ".join(sentences)
    for name, key in (("product", "product"), ("code", "number")):
        if key in page.fields and used[name] not in text:
            del page.fields[key], page.printed[key]
    if "number" not in page.fields and words.maybe(0.35):
        extra = sentence(words, "order number", {"code": page.know("number", used["code"])})
        sentences.insert(words.number(0, len(sentences)), extra)
    person = page.know("customer", words.person()) if words.maybe(0.75) else None
    contacts(page, person, sentences)
    page.fields["topic"] = topic
    return letter(page, person, sentences)


def review(words, level=1.0):
    page = Page(words, "review", level)
    mood = words.pick(("positive", "negative", "neutral"))
    product = words.item() if words.maybe(0.7) else words.merchant()
    stars = words.number(4, 5) if mood == "positive" else words.number(1, 2) if mood == "negative" else 3
    values = {"product": product}
    phrases = halves(PHRASES["reviews"][mood], PHRASES["more reviews"][mood])[words.test]
    picked = [words.pick(phrases)]
    for _ in range(words.number(0, 2)):
        other = words.pick(phrases)
        if other not in picked:
            picked.append(other)
    sentences = [spin(words, among_any(words, phrase), values) for phrase in picked]
    # The product is named by a sentence, or above.
    lines = []
    titled = product not in " ".join(sentences) or words.maybe(0.3)
    if titled:
        lines.append(words.pick((product, page.pair(page.label("Product", "Review of", "Review", "Item"), product))))
    page.know("product", product)
    if words.maybe(0.6):
        page.know("rating", Figure(stars))
        shown = words.pick((f"{stars}/5", f"{stars} stars", f"{stars} out of 5", "★" * stars + "☆" * (5 - stars), page.pair(page.label("Rating", "Stars"), stars)))
        if stars == 1:
            shown = shown.replace("stars", "star") if shown[0] == "1" else shown
        lines.append(shown)
    author = None
    if words.maybe(0.6):
        author = page.know("author", words.person() if words.maybe(0.6) else words.first())
    if words.maybe(0.35):
        lines.append(page.date("date")[1])
    page.fields["mood"] = mood
    body = " ".join(sentences)
    by = [words.pick((f"by {author}", f"- {author}", author, f"{author}", page.pair(page.label("Author", "Reviewer", "Name"), author)))] if author else []
    order = page.form({"top": 0, "bottom": 1, "author top": 2}, new=("author top",), more=(3, 4))
    if order == 0:
        page.put(*lines, body, *by)
    elif order == 1:
        page.put(*lines[:1], body, *lines[1:], *by) if titled else page.put(body, *lines, *by)
    elif order == 2:
        page.put(*lines[:1], *by, *lines[1:], body) if titled else page.put(*by, *lines, body)
    elif order == 3:
        page.put(body, *by, *lines)
    else:
        page.put(*lines[::-1], *by, body)
    return page.finish()
