"""Amounts and dates, in the ways people write them."""

import datetime

MONTHS = "January February March April May June July August September October November December".split()

# What is printed for a currency, and its ISO code. Every sign stands for one code only.
CURRENCIES = {
    "EUR": ("€", "EUR", "Euro"),
    "USD": ("$", "USD", "US$"),
    "GBP": ("£", "GBP"),
    "CHF": ("CHF", "Fr."),
    "SEK": ("SEK",),
    "PLN": ("zł", "PLN"),
    "CZK": ("Kč", "CZK"),
    "JPY": ("¥", "JPY"),
    "INR": ("₹", "INR", "Rs."),
    "TRY": ("₺", "TRY"),
    "CAD": ("CAD", "C$"),
    "AUD": ("AUD", "A$"),
    "NOK": ("NOK",),
    "DKK": ("DKK",),
}

# A slip of the reader of a scanned page, for a digit.
SLIPS = {"0": "O", "1": "l", "5": "S"}


class Money:
    """How one document writes its amounts."""

    def __init__(self, words, slips=0.0):
        self.words = words
        self.slips = slips
        self.code = words.pick(("EUR", "EUR", "USD", "USD", "GBP", *CURRENCIES))
        self.sign = words.pick(CURRENCIES[self.code])
        self.comma = words.maybe(0.3)
        self.thousands = words.pick(("", "", "", "," if not self.comma else "."))
        # Where the sign stands: before the amount, after it, or nowhere near it.
        self.place = words.pick(("before", "before", "after", "none", "none"))
        if len(self.sign) > 1 and self.sign[-1].isalnum() and self.place == "before":
            self.gap = " "
        else:
            self.gap = words.pick(("", "", " ")) if self.place == "before" else words.pick(("", " ", " "))

    def value(self, cents):
        """The amount as JSON has it: digits, a point, two digits."""
        return f"{cents // 100}.{cents % 100:02d}"

    def bare(self, cents):
        """The amount as this document prints it, without the sign."""
        whole, rest = f"{cents // 100}", f"{cents % 100:02d}"
        if len(whole) > 3:
            whole = whole[:-3] + self.thousands + whole[-3:]
        text = whole + ("," if self.comma else ".") + rest
        if self.slips and self.words.maybe(self.slips):
            text = "".join(SLIPS.get(c, c) if self.words.maybe(0.4) else c for c in text)
        return text

    def signed(self, cents):
        """The amount with the sign, where this document prints one."""
        if self.place == "before":
            return self.sign + self.gap + self.bare(cents)
        return self.bare(cents) + self.gap + self.sign if self.place == "after" else self.bare(cents)

    def certain(self, cents):
        """The amount with the sign in any case."""
        return self.bare(cents) + " " + self.sign if self.place == "none" else self.signed(cents)


class Dates:
    """How one document writes its dates."""

    FORMS = ("iso", "iso", "dots", "dots", "slashes", "slashes", "dashes", "day month", "day month", "day short", "day short", "month day", "short day", "ordinal")

    def __init__(self, words):
        self.words = words
        self.form = words.pick(self.FORMS)
        self.padded = words.maybe(0.85)

    def draw(self, after=None):
        if after:
            return after + datetime.timedelta(days=self.words.number(1, 60))
        return datetime.date(self.words.number(2015, 2031), 1, 1) + datetime.timedelta(days=self.words.number(0, 364))

    def write(self, date):
        """`date` in this document's form. With slashes, dots and dashes the day always comes before the month."""
        form, month = self.form, MONTHS[date.month - 1]
        day = f"{date.day:02d}" if self.padded else str(date.day)
        number = f"{date.month:02d}" if self.padded else str(date.month)
        if form == "iso":
            return date.isoformat()
        if form == "dots":
            return f"{day}.{number}.{date.year}"
        if form == "slashes":
            return f"{day}/{number}/{date.year}"
        if form == "dashes":
            return f"{day}-{number}-{date.year}"
        if form == "day month":
            return f"{date.day} {month} {date.year}"
        if form == "day short":
            return f"{day} {month[:3]} {date.year}"
        if form == "month day":
            return f"{month} {date.day}, {date.year}"
        if form == "short day":
            return f"{month[:3]} {date.day}, {date.year}"
        tail = "th" if 11 <= date.day <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(date.day % 10, "th")
        return f"{date.day}{tail} {month} {date.year}"
