"""Receipts and invoices: a head, lines of items, sums."""

from .documents import Figure, Page

TAX_LABELS = ("VAT", "Tax", "Sales tax", "GST", "MwSt", "TVA", "IVA", "Incl. VAT")
TOTAL_LABELS = ("Total", "Total", "TOTAL", "Grand total", "Amount due", "Sum", "To pay", "Total amount", "Balance due", "Total due")
SUBTOTAL_LABELS = ("Subtotal", "Sub-total", "Net", "Net amount", "Sum of items")

# How an item is printed. {p} is the amount printed for it; {n} counts the lines. With {u}, the price of one and the amount
# are printed both, and the price of one is what counts as its price.
ITEM_FORMS = {
    "name price": "{name}{gap}{p}",
    "name dots price": "{name} {dots} {p}",
    "name colon price": "{name}: {p}",
    "dash name price": "- {name} {p}",
    "name bar price": "{name} | {p}",
    "qty x name price": "{qty} x {name}{gap}{p}",
    "qtyx name price": "{qty}x {name}{gap}{p}",
    "qty name price": "{qty} {name}{gap}{p}",
    "name qty price": "{name}{gap}{qty}{gap}{p}",
    "qty x name unit amount": "{qty} x {name}{gap}{u}{gap}{p}",
    "qty name unit amount": "{qty} {name}{gap}{u}{gap}{p}",
    "name qty unit amount": "{name}{gap}{qty}{gap}{u}{gap}{p}",
    "name bar qty bar unit bar amount": "{name} | {qty} | {u} | {p}",
    "name xqty price": "{name} x{qty}{gap}{p}",
    "name x qty price": "{name} x {qty}{gap}{p}",
    "name (qty) price": "{name} ({qty}) {p}",
    "name bar qty bar price": "{name} | {qty} | {p}",
    "qty bar name bar price": "{qty} | {name} | {p}",
    "n name qty price": "{n}. {name}, {qty} pcs, {p}",
    "name semicolon": "{name};{qty};{p}",
    "name, qty at price": "{name}, {qty} at {p}",
    "name newline price": "{name}\n   {qty} @ {p}",
    "name newline": "{name}\n{qty} x {p}",
    "star name price": "* {name} = {p}",
    "qty pcs name price": "{qty} pcs {name} - {p}",
    "n bar name": "{n} | {name} | {qty} | {p}",
}
ITEM_FORMS_ODD = (
    *("+ {name} : {p}", "> {name}{gap}{p}", "~ {name} ~ {p}", "{name} -> {p}", "{n}) {name}{gap}{p}", "[{n}] {name} {p}", "o {name} - {p}"),
    *("{qty} units {name}{gap}{p}", "{qty}pc {name}{gap}{p}", "{qty} pieces of {name}: {p}", "{name}, {qty} pieces, {p}", "- {qty} {name} = {p}", "{qty} * {name}{gap}{p}"),
    *("{n}) {name} / {qty} / {p}", "{n};{name};{qty};{p}", "{name} / {qty} / {p}", "{n}{gap}{name}{gap}{qty}{gap}{p}", "{name}\t{p}\t{qty} pcs", "{n}. {qty} x {name}{gap}{p}"),
)
ITEM_FORMS_NEW = ("star name price", "qty pcs name price", "n bar name")

COLUMNS = {
    "name bar qty bar price": ("Item | Qty | Price", "Description | Quantity | Amount", "Article | Pcs | Price"),
    "qty bar name bar price": ("Qty | Item | Price", "Quantity | Description | Amount"),
    "name bar price": ("Item | Price", "Description | Amount"),
    "name semicolon": ("item;qty;price", "name;quantity;amount"),
    "n bar name": ("No | Item | Qty | Price",),
    "name price": ("Item   Price", "Description   Amount"),
    "qty name price": ("Qty Item   Price", "Pcs Article   Amount"),
    "name qty price": ("Item   Qty   Price", "Description   Quantity   Price", "Article   Pcs   Amount"),
    "qty name unit amount": ("Qty Item   Price   Amount", "Pcs Article   Unit price   Total"),
    "name qty unit amount": ("Item   Qty   Price   Amount", "Description   Quantity   Unit price   Total"),
    "name bar qty bar unit bar amount": ("Item | Qty | Price | Amount", "Description | Quantity | Unit price | Total"),
}


def items(page, most):
    """Draws the items and their lines. Returns (lines, sum in cents)."""
    words, money = page.words, page.money
    count = words.number(1, max(1, round(1 + (most - 1) * page.level)))
    forms = {name: (name, form) for name, form in ITEM_FORMS.items()}
    name, form = page.form(forms, new=ITEM_FORMS_NEW, more=[("odd", form) for form in ITEM_FORMS_ODD], odd=0.45)
    header = None
    if name == "odd" and words.maybe(0.6):
        form, header = odd_form(words)
    signed = words.maybe(0.3)
    gap, dots = words.pick(("  ", "   ", " ", "     ", "\t")), "." * words.number(2, 8)
    lines, truth, total = [], [], 0
    if name in COLUMNS and words.maybe(0.6):
        lines.append(page.case(words.pick(COLUMNS[name])))
    elif header and words.maybe(0.5):
        lines.append(page.case(header))
    for n in range(count):
        item = words.item()
        quantity = words.pick((1, 1, 1, 2, 2, 3, 4, 5, 6, words.number(1, 48))) if "{qty}" in form else 1
        cents = words.pick((words.number(49, 999), words.number(100, 4999), words.number(1, 99) * 100 + words.pick((0, 50, 95, 99)), words.number(100, 39999)))
        write = money.signed if signed else money.bare
        if "{u}" in form:
            # The price of one is often left out where there is only one.
            unit = "" if quantity == 1 and "|" not in form and words.maybe(0.4) else write(cents)
            fitted = form if unit else form.replace("{u}{gap}", "")
            lines.append(item_line(page, fitted, gap, name=item, qty=quantity, u=unit, p=write(cents * quantity), n=n + 1, dots=dots))
            total += cents * quantity
        else:
            lines.append(item_line(page, form, gap, name=item, qty=quantity, p=write(cents), n=n + 1, dots=dots))
            total += cents * quantity if any(sign in form for sign in ("@ {p}", " x {p}", " at {p}")) else cents
        truth.append({"name": item, "qty": Figure(quantity), "price": Figure(money.value(cents))})
    page.fields["items"] = truth
    return lines, total


def odd_form(words):
    """A form of items put together by chance, never one that is kept for the test, and the line above it, if its parts are columns."""
    mark = words.pick(("+ ", "> ", "~ ", ". ", "> > ", "# ", "({n}) ", "{n}: ", "", "", ""))
    between = words.pick((" - ", " : ", " ~ ", " / ", " -> ", ", ", "; ", "{gap}", " .. ", "\t", " || ", ";", " > "))
    parts = words.pick((["{name}", "{p}"], ["{qty} {unit}{name}", "{p}"], *[["{name}", "{qty}{unit}", "{p}"], ["{qty}{unit}", "{name}", "{p}"]] * 3, ["{name} ({qty}{unit})", "{p}"], ["{p}", "{qty}{unit}", "{name}"]))
    unit = words.pick(("", "", "", " x", "x", " units", " st", " pk", " times", "*", " ea", " no."))
    columns = len(parts) == 3
    if columns and words.maybe(0.4):
        # The number of the line is a column too.
        mark, parts = "", ["{n}", *parts]
    form = (mark + between.join(parts)).replace("{unit}", unit + " " if "} {unit}{name" in "".join(parts) and unit else unit)
    heads = {"{n}": ("No", "Pos", "#", "Line"), "{name}": ("Item", "Article", "Description", "What"), "{q": ("Qty", "Pcs", "Quantity", "Count"), "{p}": ("Price", "Amount", "Cost")}
    header = between.replace("{gap}", "   ").join(words.pick(next(heads[start] for start in heads if part.startswith(start))) for part in parts) if columns else None
    return form.replace("{qty}  ", "{qty} "), header


def item_line(page, form, gap, **values):
    """Writes one line; a document that aligns puts the last column at its right edge, and those before it in columns."""
    if not page.width or "{gap}" not in form or "\n" in form:
        return form.format(gap=gap, **values)
    *left, last = form.split("{gap}")
    text = left[0].format(**values)
    for n, part in enumerate(left[1:]):
        # Columns of figures before the last one.
        text = text.ljust(page.width - 9 * (len(left) - n)) + "  " + part.format(**values)
    return page.spread(text, last.format(**values))


def sums(page, total):
    """The lines below the items."""
    words, money = page.words, page.money
    lines = []
    rate = words.pick((5, 6, 7, 8, 10, 12, 19, 20, 21, 25))
    with_tax = words.maybe(0.6)
    tax = round(total * rate / 100)
    signed = words.maybe(0.6)
    write = money.signed if signed else money.bare
    if with_tax:
        if words.maybe(0.6):
            lines.append(page.figure(page.label(*SUBTOTAL_LABELS), page.amount("subtotal", total, write(total))))
        label = page.label(*TAX_LABELS)
        if words.maybe(0.5):
            label += words.pick((f" {rate}%", f" ({rate}%)", f" {rate} %"))
        lines.append(page.figure(label, page.amount("tax", tax, write(tax))))
        total += tax
    printed = page.amount("total", total)
    label = page.label(*TOTAL_LABELS)
    if money.place == "none" and words.maybe(0.75):
        # The currency is told once, beside the word for the sum, or on a line of its own.
        if words.maybe(0.6):
            label += words.pick((f" {money.sign}", f" ({money.sign})"))
        else:
            page.lines.append(page.pair(page.label("Currency", "All prices in", "Prices in"), money.sign))
        page.know("currency", money.code, money.sign)
    elif money.place != "none":
        page.know("currency", money.code, money.sign)
    lines.append(page.figure(label, printed))
    return lines, total


def place(page):
    """Lines that say where somebody is; the street and the town are fields."""
    words = page.words
    street = page.know("street", words.street()) if words.maybe(0.8) else None
    city = page.know("city", words.city()) if words.maybe(0.8) else None
    code = words.pick((words.digits(4), words.digits(5), f"{words.letters(2)}{words.digits(1)} {words.digits(1)}{words.letters(2)}"))
    town = city and words.pick((city, f"{code} {city}", f"{city} {code}"))
    if street and town:
        return [f"{street}, {town}"] if words.maybe(0.4) else [street, town]
    return [line for line in (street, town) if line]


def receipt(words, level=1.0):
    page = Page(words, "receipt", level)
    merchant = page.know("merchant", words.merchant())
    _, date = page.date("date")
    date_line = page.pair(page.label("Date", "Date", "Date of sale", "Printed"), date) if words.maybe(0.5) else date
    if words.maybe(0.45):
        time = page.know("time", f"{words.number(0, 23):02d}:{words.number(0, 59):02d}")
        date_line += words.pick((" ", "  ", ", ")) + time
    number_line = None
    if words.maybe(0.6):
        number = page.know("number", words.code())
        number_line = page.pair(page.label("Receipt", "Receipt no", "Receipt No.", "Bill", "Ticket", "Transaction", "No.", "Ref", "Receipt #"), number)
    extra = []
    if words.maybe(0.35 * level + 0.1):
        cashier = page.know("cashier", words.first() if words.maybe(0.6) else words.person())
        extra.append(page.pair(page.label("Cashier", "Served by", "Your host", "Server", "Clerk"), cashier))
    if words.maybe(0.2 * level):
        extra.append(page.pair(page.label("Table", "Till", "Terminal", "Register"), words.number(1, 40)))

    name_line = page.form(
        {
            "plain": merchant,
            "stars": f"*** {merchant} ***",
            "welcome": f"{words.pick(('Welcome to', 'Welcome at'))} {merchant}",
            "label": page.pair(page.label("Store", "Shop", "Merchant", "Seller", "Sold by"), merchant),
            "kind": f"{merchant}\n{page.label('Receipt', 'Sales receipt', 'Cash receipt', 'Bill')}",
            "rule": f"{merchant}\n{words.pick('-=*_') * words.number(6, 20)}",
            "from": f"{page.label('Receipt from', 'Your receipt from', 'Your purchase at')} {merchant}",
            "hash": f"# {merchant} #",
            "thanks": None,
        },
        new=("hash", "from"),
        usual="plain",
        more=[form.format(merchant, mark=words.pick("+~=>|%:@")) for form in ("{mark} {} {mark}", "{mark}{mark} {}", "{} {mark}", "[{}]", "Bought at {}", "This is your bill, {}", "{} thanks you")],
    )
    head = [line for line in (date_line, number_line) if line] + extra
    words.chance.shuffle(head)
    head = page.gather(head)
    where = place(page) if words.maybe(0.55) else []
    if words.maybe(0.25 * level):
        phone = page.know("phone", words.phone())
        where.append(page.pair(page.label("Tel", "Phone", "Tel."), phone))
    lines, total = items(page, 5 if words.test else 7)
    late = words.maybe(0.2)
    page.put(*([name_line] if name_line else []), *(where if name_line else []), *([] if late else head))
    if words.maybe(0.3):
        page.put(words.pick(("", "-" * words.number(5, 24), "=" * words.number(5, 24))))
    page.put(*lines)
    if words.maybe(0.3):
        page.put(words.pick(("", "-" * words.number(5, 24))))
    sum_lines, total = sums(page, total)
    page.put(*sum_lines)
    page.put(*payment(page, total), *(head if late else []))
    if not name_line:
        page.put(f"{words.pick(('Thank you for shopping at', 'Thanks for visiting', 'See you again at', 'You shopped at'))} {merchant}", *where)
    elif words.maybe(0.3):
        page.put(words.pick(("Thank you!", "Thanks, come again", "Have a nice day", "THANK YOU FOR YOUR VISIT", "Goods can be returned within 14 days", "Keep this receipt")))
    return page.finish()


def payment(page, total):
    words = page.words
    style = words.chance.random()
    if style < 0.3:
        card = words.pick(("Visa", "VISA", "Mastercard", "Maestro", "Amex", "Debit card", "Girocard"))
        page.know("payment", card)
        return [words.pick((f"{card} **** {words.digits(4)}", page.pair(page.label("Paid by", "Payment", "Card"), card), f"{page.label('Paid with')} {card}"))]
    if style < 0.45:
        page.know("payment", "Cash")
        given = (total // 1000 + 1) * 1000
        lines = [page.figure("Cash", page.money.bare(given))]
        return [*lines, page.figure(page.label("Change", "Change due"), page.money.bare(given - total))] if words.maybe(0.7) else lines
    return []


def invoice(words, level=1.0):
    page = Page(words, "invoice", level)
    merchant = page.know("merchant", words.company() if words.maybe(0.6) else words.merchant())
    customer = page.know("customer", words.person() if words.maybe(0.55) else words.company())
    issued, date = page.date("date")
    number = page.know("number", words.code())
    title = page.label("Invoice", "INVOICE", "Tax invoice", "Bill", "Invoice")
    number_line = page.pair(page.label("Invoice no", "Invoice number", "Invoice No.", "No.", "Invoice #", "Number", "Ref"), number)
    if words.maybe(0.25):
        title, number_line = f"{title} {number}", None
    facts = [number_line, page.pair(page.label("Date", "Invoice date", "Date of issue", "Issued", "Issued on"), date)]
    if words.maybe(0.45):
        _, due = page.date("due", after=issued)
        facts.append(page.pair(page.label("Due", "Due date", "Payment due", "Pay by", "Payable until"), due))
    if words.maybe(0.2 * level):
        facts.append(page.pair(page.label("Your order", "Order", "Customer no", "Project"), words.code()))
    facts = page.gather([fact for fact in facts if fact])
    where = place(page) if words.maybe(0.4) else []
    contact = []
    if words.maybe(0.35 * level):
        contact.append(page.pair(page.label("Email", "E-mail", "Mail"), page.know("email", words.email(domain=words.domain(merchant) if words.maybe(0.5) else None))))
    if words.maybe(0.25 * level):
        contact.append(page.pair(page.label("Tel", "Phone"), page.know("phone", words.phone())))
    to = page.label("Bill to", "Customer", "Invoice to", "Billed to", "Client", "Sold to", "For")
    to_line = words.pick((page.pair(to, customer), f"{to}:\n{customer}", f"{to}\n{customer}"))
    by = page.label("From", "Seller", "Supplier", "Vendor", "Issued by", "Company")
    lines, total = items(page, 4 if words.test else 6)
    sum_lines, total = sums_after(page, total)
    body = [*lines, *sum_lines]
    order = page.form({"seller first": 0, "title first": 1, "facts first": 2, "buyer first": 3, "seller last": 4, "pairs": 5, "sums first": 6}, new=("buyer first", "sums first"), more=(7, 8, 9))
    seller = [merchant, *where, *contact]
    if order == 0:
        page.put(*seller, title, *facts, to_line, *body)
    elif order == 1:
        page.put(title, page.pair(by, merchant), *where, *contact, to_line, *facts, *body)
    elif order == 2:
        page.put(title, *facts, page.pair(by, merchant), *where, *contact, to_line, *body)
    elif order == 3:
        page.put(title, to_line, page.pair(by, merchant), *where, *contact, *facts, *body)
    elif order == 4:
        page.put(title, *facts, to_line, *body, words.pick((f"{by}: {merchant}", f"Please pay to {merchant}", f"Regards, {merchant}")), *where, *contact)
    elif order == 5:
        pairs = [page.pair(by, merchant), to_line, *facts]
        words.chance.shuffle(pairs)
        page.put(title, *pairs, *where, *contact, *body)
    elif order == 6:
        page.put(title, page.pair(by, merchant), *where, *contact, *facts, *sum_lines, to_line, *lines)
    elif order == 7:
        page.put(to_line, title, *facts, page.pair(by, merchant), *where, *contact, *body)
    elif order == 8:
        page.put(title, *lines, page.pair(by, merchant), *where, *contact, to_line, *sum_lines, *facts)
    else:
        page.put(*facts, to_line, title, *body, page.pair(by, merchant), *where, *contact)
    if words.maybe(0.2):
        page.put(words.pick(("Thank you for your business.", "Payable without deduction.", "Please transfer the amount to our account.", "Payment within 30 days.")))
    return page.finish()


def sums_after(page, total):
    """The sums, with the line that tells the currency, if there is one, before them."""
    before = len(page.lines)
    lines, total = sums(page, total)
    told = page.lines[before:]
    del page.lines[before:]
    return [*told, *lines], total
