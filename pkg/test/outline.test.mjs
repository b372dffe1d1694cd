// A schema in few words. What is expected was written by hand, from what JSON Schema says the keywords mean.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { outline, outlined } from '../dist/outline.js';

test('each keyword has its words', () => {
  for (const [schema, words] of /** @type {[unknown, string][]} */ ([
    [true, 'any'],
    [{ type: 'string', minLength: 2, maxLength: 5 }, 'string (2 to 5 characters)'],
    [{ type: 'string', maxLength: 5, pattern: '^a', description: ' The code. ' }, 'string (The code., at most 5 characters, pattern ^a)'],
    [{ type: 'string', format: 'date', title: 'Day' }, 'string (Day, format date)'],
    [{ type: 'integer', minimum: 0 }, 'integer (at least 0)'],
    [{ type: 'number', exclusiveMinimum: 0, maximum: 1, multipleOf: 0.5 }, 'number (at most 1, more than 0, a multiple of 0.5)'],
    [{ type: ['string', 'null'] }, 'string | null'],
    [{ enum: ['a "b"', 2, null] }, '"a \\"b\\"" | 2 | null'],
    [{ const: 'x', type: 'string' }, '"x"'],
    [{ anyOf: [{ type: 'boolean' }, { type: 'array' }] }, 'boolean | any[]'],
    [{ type: 'array', items: { type: 'string' }, minItems: 3, maxItems: 3 }, 'string[] (3 items)'],
    [{ type: 'array', items: { type: 'string', maxLength: 9 } }, '(string (at most 9 characters))[]'],
    [{ type: 'array', items: { enum: [1, 2] }, maxItems: 2 }, '(1 | 2)[] (at most 2 items)'],
    [
      { type: 'object', properties: { a: { type: 'null' }, 'b c': { type: 'object', properties: {} } }, required: ['a'], additionalProperties: false },
      '{a: null, "b c"?: {}}',
    ],
    [{ type: 'object', additionalProperties: { type: 'integer' } }, '{[name: string]: integer}'],
    [
      { type: 'object', properties: { to: { $ref: '#/$defs/place' } }, $defs: { place: { type: 'object', properties: { near: { $ref: '#/$defs/place' } } } } },
      '{to?: place}\nwhere place = {near?: place}',
    ],
  ])) {
    assert.equal(outlined(schema), words);
  }
});

test('what has no words is left to JSON', () => {
  /** @type {any} */
  let deep = { type: 'null' };
  for (let n = 0; n < 40; n++) deep = { type: 'array', items: deep };
  for (const schema of [
    false,
    {},
    { type: 'strnig' },
    { type: 'string', not: { const: 'a' } },
    { type: 'string', default: 'a' },
    { allOf: [{ type: 'string' }] },
    { $ref: '#/properties/a', properties: { a: { type: 'null' } } },
    { $ref: '#/$defs/no', $defs: { yes: true } },
    { type: 'integer', anyOf: [{ type: 'integer' }] },
    { enum: [] },
    { type: 'integer', minimum: '1' },
    { type: 'string', minimum: 1, format: 3 },
    { type: 'object', properties: {}, required: ['constructor'] },
    { type: 'object', patternProperties: { a: true } },
    { type: 'null', $defs: { 'a b': true } },
    deep,
  ]) {
    assert.equal(outlined(schema), undefined, JSON.stringify(schema));
  }
});

test('a short schema is shown as it is, a long one in words, and a long one without words as it is', () => {
  const short = { type: 'object', properties: { a: { type: 'string' } } };
  assert.equal(outline(short), `The JSON follows this schema: ${JSON.stringify(short)}`);
  const names = Array.from({ length: 40 }, (_, n) => `property_${n}`);
  const properties = Object.fromEntries(names.map((name) => [name, { type: 'string' }]));
  assert.equal(outline({ type: 'object', properties, required: names }), `The JSON has this form: {${names.map((name) => `${name}: string`).join(', ')}}`);
  const odd = { type: 'object', properties, not: {} };
  assert.equal(outline(odd), `The JSON follows this schema: ${JSON.stringify(odd)}`);
});
