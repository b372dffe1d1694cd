"""What a document is, and how its lines are laid out."""

from dataclasses import dataclass, field

from .figures import Dates, Money


class Figure(str):
    """A number, as the digits that JSON has for it."""


@dataclass
class Document:
    kind: str
    text: str
    # Name of a field -> what an answer has for it: a string, a Figure, None, or a list of such dictionaries.
    fields: dict
    # Name of a field -> the same as the document prints it, for answers in words.
    printed: dict = field(default_factory=dict)
    # Whether the layout has a form that training never sees.
    new_layout: bool = False


class Page:
    """Collects the lines of one document and the truth about them. `level` is 0 for short and clean, 1 for everything."""

    def __init__(self, words, kind, level=1.0):
        self.words, self.kind, self.level = words, kind, level
        self.lines, self.fields, self.printed = [], {}, {}
        self.new_layout = False
        rough = level > 0.5 and words.maybe(0.12)
        self.slips = 0.06 if rough else 0.0
        self.money = Money(words, slips=0.12 if rough else 0.0)
        self.dates = Dates(words)
        # What stands between a label and its value.
        self.colon = self.form({"colon": ": ", "space": " ", "wide": "   ", "dots": " ... ", "line": ":\n", "bar": " | ", "equals": " = ", "tight": ":"}, new=("equals",), usual="colon", more=(" - ", " : ", " > ", " ~ ", ":  ", "\t", " ", ".. ", " -> ", "; "))
        # Where the right edge of aligned figures is, if this document aligns them.
        self.width = words.number(24, 42) if words.maybe(0.35) else None
        self.case = words.pick((str, str, str, str.upper, str.upper, str.lower))

    def form(self, forms, new, usual=None, more=(), odd=0.2):
        """
        One of the named ways to lay something out. Those in `new` are kept for the test, which takes a third of its forms from them; those in
        `more` are odd ones for training, a share of `odd`, so that it learns not to rely on what is usual.
        """
        if more and not self.words.test and self.words.maybe(odd):
            return self.words.pick(more)
        if usual and self.words.maybe(0.8 - 0.3 * self.level):
            return forms[usual]
        if self.words.test and new and self.words.maybe(0.35):
            self.new_layout = True
            return forms[self.words.pick(new)]
        known = [name for name in forms if name not in new]
        return forms[self.words.pick(known[: max(3, round(len(known) * (0.3 + 0.7 * self.level)))])]

    def put(self, *lines):
        self.lines.extend(lines)

    def label(self, *choices):
        """One of the ways to say it, in this document's case, now and then as a scanner misreads it."""
        text = self.case(self.words.pick(choices))
        if self.slips and self.words.maybe(self.slips * 3):
            at = self.words.number(0, len(text) - 1)
            slip = {"o": "0", "O": "0", "l": "1", "I": "l", "i": "l", "S": "5", "B": "8", "e": "c", "t": "f"}.get(text[at], text[at])
            text = text[:at] + slip + text[at + 1 :]
        return text

    def pair(self, label, value):
        return f"{label}{self.colon}{value}"

    def spread(self, left, right, gap="  "):
        """`right` at the right edge of the document, or after a gap."""
        return left + (" " * max(2, self.width - len(left) - len(right)) if self.width else gap) + right

    def figure(self, label, value):
        """A line of the sums."""
        return self.spread(label, value) if self.width else self.pair(label, value)

    def gather(self, lines):
        """The lines, of which now and then two share one."""
        if len(lines) > 1 and self.words.maybe(0.25) and not any("\n" in line for line in lines[:2]):
            return [lines[0] + " " * self.words.pick((2, 3, 4, 8)) + lines[1], *lines[2:]]
        return lines

    def know(self, name, value, printed=None):
        """The document tells `value` for the field `name`."""
        self.fields[name] = value
        if value is not None:
            self.printed[name] = printed or value
        return printed or value

    def date(self, name, after=None):
        date = self.dates.draw(after)
        self.know(name, date.isoformat(), self.dates.write(date))
        return date, self.printed[name]

    def amount(self, name, cents, printed=None):
        return self.know(name, Figure(self.money.value(cents)), printed or self.money.signed(cents))

    def finish(self):
        blank = self.words.pick((0, 0, 0.1, 0.3))
        text = []
        for line in self.lines:
            text.append(line)
            if blank and line and self.words.maybe(blank):
                text.append("")
        while text and not text[-1]:
            text.pop()
        return Document(self.kind, "\n".join(text), self.fields, self.printed, self.new_layout)
