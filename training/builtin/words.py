"""Words for the documents: large pools, each cut in two parts that share nothing, one for training and one for the test.

Most names are made up from syllables, so that copying is the only way to get them right. Every pool is cut by a hash of the word
itself: a word belongs to the same part in every run, on every machine.
"""

import hashlib
import random
from collections import deque

# Of ten words, these go to the test.
TEST_TENTHS = (3, 7)


def is_for_test(text):
    """Whether `text` is kept from training."""
    return int.from_bytes(hashlib.blake2b(text.lower().encode(), digest_size=4).digest(), "big") % 10 in TEST_TENTHS


def pool(text):
    """A list of words, or of phrases divided by commas, as the two parts (training, test)."""
    words = [word.strip() for word in (text.split(",") if "," in text else text.split())]
    return [word for word in words if not is_for_test(word)], [word for word in words if is_for_test(word)]


def common(text):
    """A list of words that say what a name is the name of, the same in both parts: without them, nobody could tell a shop from a person."""
    words = sum(pool(text), [])
    return words, words


FIRST = pool("""
Anna Maria Petra Julia Sofia Emma Olivia Hannah Laura Lena Clara Ida Freya Astrid Ingrid Karin Eva Nora Sara Elena Irina Olga Nadia Yana Zofia Agata
Marta Beata Lucia Chiara Giulia Paola Carmen Ines Pilar Rosa Amelie Camille Chloe Manon Aisha Fatima Leila Yasmin Zeynep Elif Ayse Priya Anjali Divya
Meera Kavita Mei Lin Xiu Yuki Hana Aiko Sakura Minji Jiwoo Linh Thuy Ngoc Amina Zuri Adaeze Chioma Wanjiru Thandi Naledi Grace Ruth Joy Faith Alice Helen Jane
Mary Susan Karen Linda Emily Lucy Zoe Ruby Tara Maeve Siobhan Aoife Rhian Bronwen Isla Fiona Morag Peter Paul Hans Jonas Felix Lukas Max Erik Lars Sven Nils
Magnus Mikkel Anders Ole Jan Piotr Pawel Tomasz Marek Jakub Ivan Dmitri Sergei Oleg Boris Viktor Milan Goran Luka Marco Luca Matteo Giorgio Carlos Diego Pablo
Javier Miguel Rafael Tiago Bruno Pierre Jean Louis Hugo Antoine Omar Ali Hassan Karim Youssef Mehmet Emre Can Arjun Ravi Vikram Rahul Sanjay Wei Jun Hao Kenji
Hiro Taro Ken Minho Duc Minh Kwame Kofi Chidi Emeka Tunde Sipho Thabo John James Robert Michael David Thomas George Harry Oliver Jack Noah Liam Ethan Owen Rhys
Callum Angus Declan Sean Patrick Brian Kevin Dennis Walter Frank Otto Emil Oscar Theo Arthur Henry Samuel Daniel Adam Simon Mark Steven Gary Nigel Colin Trevor
""")

LAST = pool("""
Smith Jones Taylor Brown Williams Wilson Johnson Davies Robinson Wright Thompson Evans Walker White Roberts Green Hall Wood Jackson Clarke Hill Cooper Ward
Turner Moore Carter Parker Bennett Murphy Kelly Byrne Ryan Walsh Campbell Stewart Fraser Morgan Lloyd Price Hughes Schmidt Weber Fischer Becker Hoffmann Koch
Richter Wolf Neumann Schwarz Zimmermann Braun Hartmann Lange Krause Vogel Keller Gruber Huber Steiner Moser Novak Dvorak Svoboda Horvat Kovacs Nagy Szabo Toth
Kowalski Nowak Wisniewski Lewandowski Popescu Ionescu Petrov Ivanov Volkov Sokolov Morozov Rossi Russo Ferrari Bianchi Romano Colombo Ricci Marino Greco Conti
Garcia Lopez Martinez Sanchez Torres Ramirez Flores Vega Ortiz Silva Santos Costa Pereira Oliveira Almeida Dubois Moreau Laurent Lefebvre Roux Fournier Girard
Lambert Janssen Bakker Visser Smit Meijer Mulder Jansen Hansen Olsen Larsen Berg Dahl Lund Holm Lindqvist Nyberg Ekman Virtanen Korhonen Laine Yilmaz Demir Kaya
Celik Arslan Haddad Khoury Nasser Rahman Khan Hussain Malik Sharma Patel Gupta Nair Iyer Reddy Das Chen Wang Zhang Liu Yang Huang Zhou Tanaka Suzuki Sato Ito
Yamamoto Nakamura Kim Park Choi Jung Nguyen Tran Pham Okafor Adeyemi Mensah Boateng Mwangi Otieno Ndlovu Dlamini Botha Naidoo Abebe Tesfaye
""")

CITY = pool("""
London, Leeds, Bristol, York, Bath, Oxford, Cardiff, Dublin, Cork, Galway, Belfast, Glasgow, Perth, Berlin, Hamburg, Bremen, Kiel, Ulm, Mainz, Trier, Jena, Vienna, Graz, Linz,
Zurich, Basel, Bern, Geneva, Paris, Lyon, Lille, Nantes, Nice, Brest, Rome, Milan, Turin, Pisa, Verona, Parma, Madrid, Bilbao, Seville, Malaga, Lisbon, Porto, Braga, Prague,
Brno, Warsaw, Gdansk, Lodz, Krakow, Budapest, Pecs, Zagreb, Split, Athens, Patras, Oslo, Bergen, Malmo, Lund, Uppsala, Aarhus, Odense, Turku, Tampere, Riga, Tartu, Boston,
Austin, Denver, Dallas, Portland, Seattle, Chicago, Omaha, Tucson, Fresno, Salem, Toronto, Ottawa, Calgary, Halifax, Sydney, Hobart, Cairns, Auckland, Nelson, Mumbai, Pune,
Chennai, Jaipur, Kochi, Tokyo, Osaka, Kyoto, Nagoya, Seoul, Busan, Hanoi, Hue, Nairobi, Kampala, Accra, Lagos, Durban, Lusaka, Santiago, Lima, Quito, Bogota, Recife, Cusco,
New York, Cape Town, San Jose, Santa Fe, Long Beach, Port Louis, St Ives, Le Havre, Den Haag, Novi Sad, Sao Paulo, Bad Homburg
""")

STREET = pool("""
High Street, Station Road, Church Lane, Mill Road, Park Avenue, Queen Street, King Street, Market Square, Bridge Street, North Road, South Parade, West End, Green Lane, River Walk,
Harbour Way, Castle Street, Orchard Close, Victoria Road, Albert Street, Garden Row, Hauptstrasse, Bahnhofstrasse, Lindenweg, Gartenweg, Ringstrasse, Marktplatz, Schulgasse,
Rue Neuve, Rue du Port, Avenue Foch, Place Royale, Via Roma, Via Dante, Corso Italia, Calle Mayor, Calle Real, Gran Via, Rua Nova, Rua Direita, Dorpsstraat, Kerkstraat,
Storgata, Kungsgatan, Elm Street, Oak Avenue, Maple Drive, Main Street, Broadway, Sunset Blvd, Pine Court, Cedar Lane, Lake View, Hillcrest, Second Avenue, Third Street
""")

SHOP = common("""
Market Store Shop Bakery Cafe Bistro Kitchen Books Garden Hardware Pharmacy Deli Grocery Foods Supplies Tools Electronics Fashion Shoes Toys Sports Bikes Flowers
Coffee Tea Wines Butcher Fish Farm Dairy Outlet Corner Express Mart Traders Boutique Studio Gallery Optics Stationery Paper Music Records Furniture Living Home Interiors
Lighting Ceramics Textiles Leather Jewellers Watches Perfume Cosmetics Salon Spa Fitness Outdoor Camping Marine Motors Garage Tyres Petrol Energy Laundry Cleaners Repairs
""")

COMPANY = common("""
Ltd, Inc, LLC, GmbH, AG, KG, SA, SARL, SpA, BV, NV, AB, AS, Oy, Plc, Co, Corp, Group, Partners, Consulting, Systems, Software, Solutions, Services, Logistics, Engineering, Design,
Media, Labs, Analytics, Networks, Holdings, Industries, Trading, Works, Ventures, Capital, Robotics, Biotech, Pharma, Foods, Textiles, Steel, Plastics, Solar, Wind, Water,
& Sons, & Co, Brothers, Studio, Agency, Institute, Technologies, Dynamics, Instruments, Packaging, Printing, Construction, Architects, Legal, Insurance, Travel, Transport
""")

NOUN = pool("""
Apple Apples Bread Butter Milk Cheese Honey Jam Rice Pasta Flour Sugar Salt Pepper Oil Vinegar Coffee Tea Juice Water Soda Beer Wine Cider Soup Salad Pizza Burger Sandwich Wrap
Muffin Cake Cookie Croissant Bagel Donut Chocolate Candy Chips Nuts Almonds Yogurt Cream Eggs Bacon Ham Sausage Chicken Beef Fish Salmon Tuna Tofu Beans Lentils Tomato Potato Onion
Garlic Carrot Cucumber Lettuce Spinach Mushroom Banana Orange Lemon Grapes Melon Pear Plum Cherry Mango Shampoo Soap Lotion Toothpaste Towel Sponge Brush Comb Razor Candle Lamp Bulb
Battery Cable Charger Adapter Mouse Keyboard Monitor Webcam Headset Speaker Router Switch Printer Toner Paper Notebook Folder Pen Pencil Marker Stapler Tape Glue Scissors Ruler Desk
Chair Table Shelf Sofa Bed Pillow Blanket Sheet Curtain Rug Mirror Clock Vase Bowl Plate Cup Mug Glass Fork Spoon Knife Pan Pot Kettle Toaster Blender Mixer Oven Filter Hammer Drill
Saw Screws Nails Bolt Wrench Pliers Ladder Paint Varnish Primer Tile Brick Cement Pipe Valve Hose Pump Fan Heater Shirt Jacket Coat Scarf Hat Gloves Socks Shoes Boots Belt Wallet Bag
Backpack Suitcase Umbrella Watch Ring Necklace Glasses Ball Racket Helmet Bike Tent Stove Rope Compass Book Magazine Map Puzzle Doll Kite Drum Guitar Flute Plant Seeds Soil Planter
""")

ADJECTIVE = pool("""
Red Blue Green Black White Grey Brown Pink Yellow Purple Golden Silver Small Large Big Mini Maxi Organic Fresh Dried Frozen Smoked Roasted Salted Sweet Sour Spicy Hot Cold Iced Classic
Premium Basic Deluxe Eco Natural Soft Hard Light Dark Extra Double Single Wooden Steel Glass Cotton Wool Leather Plastic Paper Digital Wireless Portable Folding Garden Kitchen Office
Travel Sport Winter Summer Kids Mens Womens Vintage Modern Round Square Long Short Thin Thick Heavy Plain Striped Local Whole Half Crispy Creamy Herbal Vegan
""")

JOB = common("""
Engineer, Designer, Developer, Manager, Director, Analyst, Consultant, Architect, Accountant, Editor, Translator, Photographer, Baker, Chef, Carpenter, Electrician, Plumber, Nurse,
Dentist, Teacher, Researcher, Librarian, Lawyer, Notary, Broker, Buyer, Planner, Technician, Operator, Assistant, Secretary, Producer, Writer, Gardener, Florist, Tailor, Pilot,
Captain, Chemist, Biologist, Physicist, Geologist, Surveyor, Inspector, Trainer, Coach, Therapist, Founder, Owner, President, Partner, Treasurer
""")
JOB_FIELD = pool("""
Sales, Marketing, Product, Project, Senior, Junior, Chief, Lead, Head, Regional, Technical, Creative, Quality, Finance, Legal, Research, Software, Hardware, Data, Network, Security,
Support, Service, Export, Purchasing, Operations, Human Resources, Public Relations, Customer Care, Mechanical, Civil, Electrical, Interior, Graphic, Web, Mobile, Cloud, Clinical
""")

# How streets and towns are called beyond the pools: for training alone, so that it learns where they stand rather than these names.
STREET_KINDS = """Street Road Lane Avenue Way Square Court Close Drive Crescent Terrace Hill Row Walk Park Gardens Place Blvd Parade Alley Quay Mews Grove Rise""".split()
STREET_ENDS = """strasse str. gasse weg platz allee straat laan gatan vej gata plein ring damm ufer hof steig""".split()
STREET_BEGINNINGS = pool("""
Rue, Rue de, Rue des, Avenue, Boulevard, Place, Impasse, Quai, Chemin du, Via, Viale, Piazza, Corso, Largo, Calle, Calle del, Avenida, Plaza, Paseo, Rua, Rua do, Travessa, Ulica, Ul., Am, An der, Zum, Im
""")[0]
TOWN_BEGINNINGS = pool("San, Santa, Saint, Bad, New, Port, Fort, Lake, El, La, Los, Le, Upper, Lower, Great, North, South, Mount, Castle, Villa, Nova, Nowy, Stary, Sankt")[0]

# The syllables of made-up words: onset, vowel, coda.
ONSETS = [*"b c d f g h j k l m n p r s t v w y z".split() * 3, *"br ch cl cr dr fl fr gl gr kl kr pl pr qu sc sh sk sl sn sp st str th tr tw zh".split()]
VOWELS = [*"aeiou" * 4, *"ai au ea ee ie io oa oo ou y".split()]
CODAS = ["", "", "", "", "", "", *"n r l s t m d k x".split(), *"b g p ck nd nt rd rk rn st th ll ss ng mp lt sk ff".split()]


class Words:
    """Draws words of one part of the pools with its own generator of chances."""

    def __init__(self, seed, test=False, invented=()):
        self.chance = random.Random(seed)
        self.test = test
        # Words made of a vocabulary's tokens, for training: so that every token is copied now and then, not only those of frequent names.
        self.invented = () if test else invented
        self.lately = {}
        # 0 for short documents in few forms, 1 for everything.
        self.level = 1.0

    def pick(self, choices):
        return choices[int(self.chance.random() * len(choices))]

    def maybe(self, probability):
        return self.chance.random() < probability

    def number(self, low, high):
        return low + int(self.chance.random() * (high - low + 1))

    def of(self, pool):
        return self.pick(pool[self.test])

    def made_up(self):
        """A word nobody knows, in lower case, of this part."""
        while True:
            if self.invented and self.maybe(0.6):
                word = self.pick(self.invented)
            else:
                syllables = self.pick((1, 2, 2, 2, 2, 3, 3))
                word = "".join(self.pick(ONSETS) + self.pick(VOWELS) + self.pick(CODAS) for _ in range(syllables))
            if 3 <= len(word) <= 11 and is_for_test(word) == self.test:
                return word

    def name_word(self):
        """A made-up word as names are written."""
        word = self.made_up()
        style = self.chance.random()
        if style < 0.80:
            return word.capitalize()
        return word.upper() if style < 0.95 else word

    def first(self):
        return self.of(FIRST) if self.maybe(0.45) else self.made_up().capitalize()

    def last(self):
        if self.maybe(0.45):
            return self.of(LAST)
        word = self.made_up().capitalize()
        return self.pick(("O'", "Mc", "van ", "de ", "Al-")) + word if self.maybe(0.06) else word

    def person(self):
        first, last, style = self.first(), self.last(), self.chance.random()
        if style < 0.84:
            return f"{first} {last}"
        if style < 0.92:
            return f"{first} {self.pick('ABCDEFGHJKLMNPRSTW')}. {last}"
        return f"{first}-{self.first()} {last}" if style < 0.96 else f"{first[0]}. {last}"

    def merchant(self):
        name = self.plain_merchant()
        return name.upper() if self.maybe(0.12) else name

    def plain_merchant(self):
        style, name = self.chance.random(), self.name_word()
        if style < 0.10:
            return name
        if style < 0.20:
            return f"{name} {self.name_word()}"
        if style < 0.60:
            return f"{name} {self.of(SHOP)}"
        if style < 0.68:
            return f"The {name} {self.of(SHOP)}"
        if style < 0.76:
            return f"{self.first()}'s {self.of(SHOP)}"
        if style < 0.84:
            return f"{name} {self.of(SHOP)} {self.of(COMPANY)}"
        if style < 0.90:
            return self.pick((f"{name} & {self.name_word()}", f"{name} & Sons {self.of(SHOP)}", f"{self.last()} & Sons"))
        return f"{name} {self.number(2, 99)}" if style < 0.95 else f"{self.of(SHOP)} {name}"

    def company(self):
        style, name = self.chance.random(), self.name_word()
        if style < 0.65:
            return f"{name} {self.of(COMPANY)}"
        if style < 0.80:
            return f"{name} {self.name_word()} {self.of(COMPANY)}"
        return f"{self.last()} & {self.last()}" if style < 0.90 else f"{name}-{self.name_word()}"

    def again(self, of, word):
        """The word; for training, now and then one of the last few instead, so that things of one list begin or end alike."""
        if self.test:
            return word
        lately = self.lately.setdefault(of, deque(maxlen=4))
        if lately and self.maybe(0.25):
            return self.pick(lately)
        lately.append(word)
        return word

    def item(self):
        """What a line of a receipt sells."""
        style = self.chance.random()
        noun = self.again("noun", self.of(NOUN) if self.maybe(0.6) else self.name_word())
        kind = self.again("kind", self.any_word().capitalize() if not self.test and self.maybe(0.5) else self.of(ADJECTIVE))
        if style < 0.26:
            name = noun
        elif style < 0.46:
            name = f"{kind} {noun}"
        elif style < 0.58:
            name = f"{kind} {noun.lower()}"
        elif style < 0.72:
            name = f"{self.name_word()} {noun}"
        elif style < 0.78:
            name = f"{self.of(NOUN)} {self.made_up()}"
        elif style < 0.87:
            amount = self.number(2, 99) * self.pick((1, 5, 10)) if self.maybe(0.7) else self.pick(("0.5", "1.5", "0.75", "2.5", "0.33"))
            name = f"{noun} {amount}{self.pick(('', '', ' '))}{self.pick(('g', 'ml', 'cm', 'W', 'l', 'kg', 'mm'))}"
        elif style < 0.91:
            name = f"{kind} {self.name_word()} {noun}"
        elif style < 0.94:
            name = f"{self.pick(('Box', 'Pack', 'Roll', 'Bag', 'Set', 'Bottle'))} of {noun.lower()}"
        elif style < 0.955:
            name = f'{noun} "{self.made_up().capitalize()}"'
        else:
            name = f"{noun} {self.pick('ABCDEFGKLMNPRSTVX')}{self.number(1, 99)}"
        return name.upper() if self.maybe(0.12) else name

    def job(self):
        style = self.chance.random()
        field = self.any_word().capitalize() if not self.test and self.maybe(0.6) else self.of(JOB_FIELD)
        if style < 0.6:
            return f"{field} {self.of(JOB)}"
        if style < 0.7:
            return f"Head of {field}"
        return self.of(JOB) if style < 0.92 else f"{self.of(JOB)} {self.name_word()}"

    def any_word(self):
        """A word of any kind, for training: what stands first says nothing of what follows."""
        return self.of(self.pick((NOUN, ADJECTIVE, LAST, FIRST))) if self.maybe(0.5) else self.made_up()

    def city(self):
        if not self.test and self.maybe(0.3):
            beginning = self.pick(TOWN_BEGINNINGS) if self.maybe(0.5) else self.made_up()[: self.number(2, 8)].capitalize()
            return f"{beginning}{self.pick((' ', ' ', ' ', '-', ' am ', ' upon ', ' de '))}{self.made_up().capitalize()}"
        return self.of(CITY) if self.maybe(0.6) else self.made_up().capitalize()

    def street(self):
        if not self.test and self.maybe(0.45):
            name = self.odd_street()
            return self.pick((f"{name} {self.number(1, 199)}", f"{self.number(1, 199)} {name}", f"{name} {self.number(1, 99)}{self.pick('abc')}", f"{self.number(1, 199)}, {name}"))
        name = self.of(STREET) if self.maybe(0.5) else f"{self.name_word()} {self.pick(('Street', 'Road', 'Lane', 'Avenue', 'Way', 'Square', 'Court'))}"
        return f"{name} {self.number(1, 199)}" if self.maybe(0.5) else f"{self.number(1, 199)} {name}"

    def odd_street(self):
        """A name of a street as there are many, for training."""
        style, word = self.chance.random(), self.any_word().capitalize()
        if style < 0.25:
            return f"{word} {self.pick(STREET_KINDS)}"
        if style < 0.5:
            return word + self.pick(STREET_ENDS)
        if style < 0.75:
            return f"{self.pick(STREET_BEGINNINGS)} {word}"
        return word if style < 0.9 else f"{word} {self.made_up().capitalize()}"

    def digits(self, count):
        return "".join(self.pick("0123456789") for _ in range(count))

    def letters(self, count):
        return "".join(self.pick("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(count))

    def code(self):
        """A number of an invoice, a receipt or an order."""
        style = self.number(0, 9)
        if style < 3:
            return self.digits(self.number(4, 7))
        if style < 5:
            return f"{self.letters(self.number(1, 3))}-{self.digits(self.number(3, 6))}"
        if style < 6:
            return f"{self.letters(2)}{self.digits(self.number(3, 6))}"
        if style < 7:
            return f"{self.number(2019, 2029)}-{self.digits(self.number(3, 5))}"
        if style < 8:
            return f"{self.number(2019, 2029)}/{self.digits(self.number(2, 4))}"
        return f"{self.letters(2)}-{self.number(2019, 2029)}-{self.digits(4)}" if style < 9 else f"{self.digits(3)}-{self.digits(4)}-{self.digits(2)}"

    def phone(self):
        style = self.number(0, 7)
        if style == 6:
            return f"{self.digits(3)}-{self.digits(4)}"
        if style == 7:
            return f"+{self.number(1, 99)} {self.digits(3)} {self.digits(4)}"
        if style == 0:
            return f"+{self.number(1, 99)} {self.digits(3)} {self.digits(3)} {self.digits(4)}"
        if style == 1:
            return f"({self.digits(3)}) {self.digits(3)}-{self.digits(4)}"
        if style == 2:
            return f"0{self.digits(3)} {self.digits(6)}"
        if style == 3:
            return f"+{self.number(1, 99)} {self.digits(2)} {self.digits(4)} {self.digits(4)}"
        return f"{self.digits(3)}-{self.digits(3)}-{self.digits(4)}" if style == 4 else f"0{self.digits(2)}/{self.digits(7)}"

    def domain(self, of=None):
        word = "".join(c for c in (of or self.made_up()).lower() if c.isascii() and c.isalnum())[:14] or self.made_up()
        return f"{word}.{self.pick(('com', 'com', 'net', 'org', 'eu', 'de', 'co.uk', 'io', 'fr', 'it', 'shop', 'example'))}"

    def email(self, person=None, domain=None):
        person = (person or self.person()).lower().replace("'", "").replace(".", "").split()
        style = self.number(0, 4)
        user = f"{person[0]}.{person[-1]}" if style < 2 else person[0] if style == 2 else f"{person[0][0]}{self.pick(('', '.'))}{person[-1]}"
        if style == 4:
            user = self.pick(("info", "hello", "contact", "sales", "mail", self.made_up()))
        return f"{user}@{domain or self.domain()}"
