// Classify, extract and embed, for one text and for many: the same results, in the order of the texts; and what cannot be asked.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lab, launch, serve, TINY } from './support/browser.mjs';

const LABELS = ['delivery', 'billing', 'praise', 'praise and thanks', 'other'];
const TEXTS = Array.from({ length: 18 }, (_, n) => `Parcel ${n} ${['is late', 'was charged twice', 'came early, thank you'][n % 3]}.${' Really.'.repeat(n % 5)}`);
const SCHEMA = {
  type: 'object',
  properties: { parcel: { type: 'integer', minimum: 0, maximum: 99 }, mood: { enum: ['good', 'bad'] }, words: { type: 'string', maxLength: 12 } },
  required: ['parcel', 'mood', 'words'],
  additionalProperties: false,
};

/** @param {import('node:test').TestContext} t @param {Record<string, unknown>} options */
async function open(t, options) {
  const lab = await Lab.open(await launch(t), await serve(t));
  await lab.load(TINY, options);
  return lab;
}

test('many texts give what each of them gives alone', async (t) => {
  const lab = await open(t, { threads: 2 });
  const classified = await lab.get('model', ['classify', TEXTS, LABELS, { calibrate: true }]);
  const extracted = await lab.get('model', ['extract', TEXTS, SCHEMA]);
  const several = await lab.get('model', ['classify', TEXTS.slice(0, 3), LABELS, { multi: true }]);
  assert.deepEqual([classified.length, extracted.length, several.length], [18, 18, 3]);
  for (const at of [2, 17]) {
    assert.deepEqual(await lab.get('model', ['classify', TEXTS[at], LABELS, { calibrate: true }]), classified[at]);
    assert.deepEqual(await lab.get('model', ['extract', TEXTS[at], SCHEMA]), extracted[at]);
  }
  assert.deepEqual(await lab.get('model', ['classify', TEXTS[1], LABELS, { multi: true }]), several[1]);
  for (const { label, labels, probabilities, confidence } of classified) {
    assert.deepEqual(Object.keys(probabilities).sort(), [...LABELS].sort());
    const all = Object.values(probabilities).map(Number);
    assert.ok(Math.abs(all.reduce((a, b) => a + b, 0) - 1) < 1e-6);
    assert.deepEqual([labels, probabilities[label], Math.max(...all)], [[label], confidence, confidence]);
  }
  for (const { parcel, mood, words } of extracted) {
    assert.ok(Number.isInteger(parcel) && parcel <= 99 && ['good', 'bad'].includes(mood) && [...words].length <= 12);
  }
  // Typed arrays do not cross as such.
  const vectors = await lab.page.evaluate(
    async ([source, texts]) => {
      const { Fanlight } = await import(/** @type {any} */ ('/pkg/dist/index.js'));
      const model = await Fanlight.load(source, { threads: 1 });
      const many = await model.embed(texts);
      const alone = await model.embed(texts[2]);
      await model.dispose();
      return { many: many.map((/** @type {Float32Array} */ vector) => [...vector]), alone: [...alone] };
    },
    /** @type {const} */ ([TINY, TEXTS.slice(0, 5)]),
  );
  assert.deepEqual(vectors.many[2], vectors.alone);
  assert.ok(vectors.many.every((/** @type {number[]} */ vector) => Math.abs(vector.reduce((sum, x) => sum + x * x, 0) - 1) < 1e-4));
});

test('results come in order, tell how far they are, and stop when nobody reads on', async (t) => {
  const lab = await open(t, { threads: 2 });
  const seen = await lab.page.evaluate(
    async ([source, texts, labels]) => {
      const { Fanlight } = await import(/** @type {any} */ ('/pkg/dist/index.js'));
      const model = await Fanlight.load(source, { threads: 2 });
      /** @type {string[]} */
      const progress = [];
      const onProgress = (/** @type {{ done: number, total: number }} */ { done, total }) => progress.push(`${done}/${total}`);
      let read = 0;
      for await (const _ of model.classify(texts, labels, { onProgress })) {
        read += 1;
        if (read === 17) break;
      }
      // Cancelled by its signal, and the model goes on.
      const controller = new AbortController();
      const { signal } = controller;
      const cancelled = Promise.resolve(model.extract(texts, { type: 'array', items: { type: 'string' }, minItems: 40 }, { signal })).then(
        () => 'done',
        (/** @type {{ code: string }} */ { code }) => code,
      );
      setTimeout(() => controller.abort(), 100);
      const codes = [await cancelled];
      // One that does not fit fails when it is its turn; those before it are there.
      const some = [...texts.slice(0, 2), 'word '.repeat(9000), texts[2]];
      let whole = 0;
      try {
        for await (const _ of model.classify(some, labels)) whole += 1;
      } catch (error) {
        codes.push(/** @type {any} */ (error).code);
      }
      const cut = await model.classify(some, labels, { truncate: true });
      const after = await model.classify(texts[0], labels);
      await model.dispose();
      return { progress, read, codes, whole, cut: cut.length, after: after.label, cutFirst: cut[0].label };
    },
    /** @type {const} */ ([TINY, TEXTS, LABELS]),
  );
  assert.deepEqual(seen.progress, Array.from({ length: 17 }, (_, at) => `${at + 1}/18`));
  assert.deepEqual(seen, { ...seen, read: 17, codes: ['aborted', 'context-full'], whole: 2, cut: 4, after: seen.cutFirst });
});

test('labels and texts that make no sense are refused by name; many labels, and one that begins another, are fine', async (t) => {
  const lab = await open(t, { threads: 1 });
  for (const [args, says] of /** @type {[unknown[], RegExp][]} */ ([
    [['A text.', []], /^labels/],
    [['A text.', ['one']], /^labels/],
    [['A text.', ['one', '']], /^labels\[1\]/],
    [['A text.', ['one', '  ']], /^labels\[1\]/],
    [['A text.', ['one', 'two', 'one']], /^labels\[2\]/],
    [['A text.', ['one', 2]], /^labels\[1\]/],
    [['A text.', Array.from({ length: 1001 }, (_, n) => `l${n}`)], /^labels/],
    [['', LABELS], /^text/],
    [[['A text.', ''], LABELS], /^text\[1\]/],
    [['A text.', LABELS, { examples: [{ text: 'x', label: 'no such' }] }], /^examples/],
    [['A text.', LABELS, { onProgress: 'often' }], /^onProgress/],
  ])) {
    const error = await lab.fail('model', ['classify', ...args]);
    assert.equal(error.code, 'invalid-argument', error.message);
    assert.match(error.message, says);
  }
  const many = Array.from({ length: 500 }, (_, n) => `l${n}`);
  // They stand in the prompt, and this model's context is short.
  assert.equal((await lab.fail('model', ['classify', 'The text is l7.', many.map((label) => `${label}, which is a long one`)])).code, 'context-full');
  const [first, second] = await lab.get('model', ['classify', ['The text is l7.', 'l42'], many.slice(0, 150)]);
  for (const { probabilities } of [first, second]) {
    assert.equal(Object.keys(probabilities).length, 150);
    assert.ok(Math.abs(Object.values(probabilities).reduce((sum, p) => sum + p, 0) - 1) < 1e-6);
  }
  assert.equal((await lab.fail('model', ['classify', 'word '.repeat(9000), LABELS])).code, 'context-full');
  assert.ok(LABELS.includes((await lab.get('model', ['classify', 'word '.repeat(9000), LABELS, { truncate: true }])).label));
  assert.equal((await lab.fail('model', ['extract', 'A text.', 'no schema'])).code, 'invalid-argument');
  for (const schema of [false, { $ref: '#' }, { type: 'object', properties: { next: { $ref: '#' } }, required: ['next'] }, { type: 'strnig' }]) {
    assert.equal((await lab.fail('model', ['extract', 'A text.', schema])).code, 'schema');
    assert.equal((await lab.fail('model', ['extract', ['A text.', 'Another.'], schema])).code, 'schema');
  }
});
