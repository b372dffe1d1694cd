// The parts of the page that need no browser.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readCsv, writeCsv } from '../../www/csv.js';
import { partialJson } from '../../www/partial-json.js';
import { request, schemaOf } from '../../www/schema.js';

test('JSON that breaks off anywhere is read as far as it goes, and never more than it says', () => {
  const whole = { shop: 'Mirlo "& Sons" \u00e9\n', total: 16.01, paid: true, none: null, items: [{ name: 'Rye', qty: 2 }, {}], no: [] };
  const text = JSON.stringify(whole, null, 1).replace('é', '\\u00e9');
  for (let end = 0; end < text.length; end++) {
    const value = /** @type {any} */ (partialJson(text.slice(0, end)));
    if (value === undefined) continue;
    for (const [key, part] of Object.entries(value)) {
      const full = /** @type {any} */ (whole)[key];
      if (typeof full === 'string') assert.ok(full.startsWith(part), text.slice(0, end));
      else if (key !== 'items') assert.deepEqual(part, full, text.slice(0, end));
    }
  }
  assert.deepEqual(partialJson(text), whole);
  assert.deepEqual(partialJson('{"total": 1'), {}); // it may be 16
  assert.deepEqual(partialJson('{"a": "x\\u00'), { a: 'x' });
  assert.deepEqual(partialJson('{"a": [1, 2'), { a: [1] });
  assert.equal(partialJson(''), undefined);
  assert.equal(partialJson('tru'), undefined);
  assert.deepEqual(Object.keys(/** @type {any} */ (partialJson('{"__proto__": {"x": 1}, "a'))), ['__proto__']);
});

test('CSV is read with its quotes and whatever divides it, and what is written reads back', () => {
  assert.deepEqual(readCsv('\ufeffid;text\r\n1;"a; ""b""\nc"\r\n\r\n2;d'), [
    ['id', 'text'],
    ['1', 'a; "b"\nc'],
    ['2', 'd'],
  ]);
  assert.deepEqual(readCsv('a\tb\n1,5\t2\n'), [
    ['a', 'b'],
    ['1,5', '2'],
  ]);
  const rows = [
    ['text', 'label'],
    ['one, "two"\nthree', 'billing'],
  ];
  assert.deepEqual(readCsv(writeCsv(rows)), rows);
  assert.equal(writeCsv([['=1+1', -2, '-2', null, { a: 1 }]]), `'=1+1,-2,'-2,,"{""a"":1}"\r\n`);
});

test('fields make a schema, and the request that goes with it', () => {
  const schema = schemaOf([
    { name: 'shop', type: 'text' },
    { name: ' ', type: 'number' },
    { name: 'items', type: 'rows', more: 'name, qty: number' },
    { name: 'paid', type: 'choice', more: 'cash, card' },
  ]);
  assert.deepEqual(schema.required, ['shop', 'items', 'paid']);
  assert.deepEqual(Object.keys(schema.properties), ['shop', 'items', 'paid']);
  assert.deepEqual(/** @type {any} */ (schema.properties)['items'].items.properties, {
    name: { type: ['string', 'null'], maxLength: 120 },
    qty: { type: ['number', 'null'] },
  });
  assert.equal(request(schema, ' A text. '), 'Extract shop, items (name, qty), paid.\n\nA text.');
});
