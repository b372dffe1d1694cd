// Documents to try, each with what to find in it; and texts to put in a class. All of it is invented.

/** @typedef {import('./schema.js').Field} Field */
/** @typedef {{ name: string, text: string, fields: Field[] }} Sample */

/** @type {Sample[]} */
export const documents = [
  {
    name: 'Receipt',
    text: `MIRLO & SONS GROCERS
14 Harbour Street, Lowton
Tel 555-0142

Receipt no. 20481        2026-03-14 17:52

2 x Rye bread            3.80   7.60
1 x Olive oil 0.5 l             6.45
3 x Lemon                0.40   1.20

Subtotal                       15.25
VAT 5 %                         0.76
TOTAL EUR                      16.01
Card ****3310
Thank you!`,
    fields: [
      { name: 'merchant', type: 'text' },
      { name: 'date', type: 'date' },
      { name: 'items', type: 'rows', more: 'name, qty: number, price: number' },
      { name: 'tax', type: 'number' },
      { name: 'total', type: 'number' },
      { name: 'currency', type: 'text' },
    ],
  },
  {
    name: 'Invoice',
    text: `Varnholt Lighting Ltd
Invoice No: VL-7731
Date: 5 Mar 2026        Due: 4 Apr 2026

Bill to: Priya Osei

Description         Qty    Price
Desk lamp "Ori"       4    39.00
Spare bulb           10     2.50

Net                       181.00
Tax (20 %)                 36.20
Total GBP                 217.20`,
    fields: [
      { name: 'merchant', type: 'text' },
      { name: 'customer', type: 'text' },
      { name: 'number', type: 'text' },
      { name: 'date', type: 'date' },
      { name: 'due', type: 'date' },
      { name: 'total', type: 'number' },
    ],
  },
  {
    name: 'Business card',
    text: `Tomasz Ferrante
Head of Purchasing
Quillmark Paper Works
8 Mill Lane, Dunmere
+44 555 0199
t.ferrante@quillmark.example
www.quillmark.example`,
    fields: [
      { name: 'name', type: 'text' },
      { name: 'title', type: 'text' },
      { name: 'company', type: 'text' },
      { name: 'email', type: 'text' },
      { name: 'phone', type: 'text' },
    ],
  },
  {
    name: 'Order by mail',
    text: `Hello,

please send us 3 boxes of envelopes and 12 rolls of tape by 21 May 2026.
Deliver to 5 Canal Road, Estbury.

Many thanks
Noor Adeyemi`,
    fields: [
      { name: 'customer', type: 'text' },
      { name: 'date', type: 'date' },
      { name: 'items', type: 'rows', more: 'name, qty: number' },
      { name: 'street', type: 'text' },
      { name: 'city', type: 'text' },
    ],
  },
];

/** @type {{ name: string, labels: string[], texts: string[] }[]} */
export const classes = [
  {
    name: 'What a message is about',
    labels: ['billing', 'bug', 'delivery', 'praise'],
    texts: [
      'I was charged twice for the same order this month. Please give me one of them back.',
      'The app closes by itself as soon as I open the settings.',
      'My parcel was promised for Monday and is still not here.',
      'The best support I have ever had. Thank you!',
    ],
  },
  {
    name: 'Mood of a review',
    labels: ['positive', 'negative', 'neutral'],
    texts: ['Broke after two days, and nobody answers my mails.', 'Does what it should, nothing more.', 'I love this lamp!'],
  },
  {
    name: 'Kind of document',
    labels: ['receipt', 'invoice', 'business card', 'order', 'review'],
    texts: documents.map(({ text }) => text),
  },
];
