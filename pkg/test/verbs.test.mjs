// The verbs over a crew that answers by rule: what they ask, what they make of the answers, and what they refuse.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FanlightError } from '../dist/errors.js';
import * as verbs from '../dist/verbs.js';

/**
 * A model that answers each request by this rule.
 * @param {(request: any) => object} rule
 * @param {object} [more]
 */
function fake(rule, more) {
  /** @type {any[]} */
  const requests = [];
  const crew = {
    /** @param {any} request @param {any} options */
    async generate(request, { onEvent }) {
      const { together = [request] } = request;
      requests.push(...together);
      for (const [index, each] of together.entries()) onEvent({ kind: 'output', output: { index, ...rule(each) } });
    },
    leader: {
      /** @param {string} kind @param {any} params */
      call: async (kind, params) => {
        if (kind === 'tokenize') return Uint32Array.from(params.text, (/** @type {string} */ c) => c.codePointAt(0) ?? 0);
        return String.fromCodePoint(...params.ids);
      },
    },
  };
  const model = /** @type {any} */ ({ crew, contextLength: 100, embeds: false, ...more });
  return { model, requests };
}

/** Likes the labels that are in the text. @param {any} request */
const byText = (request) => {
  const text = request.messages.at(-1).content;
  return { scores: request.score.texts.map((/** @type {string} */ label) => (text.includes(label) ? [-0.1, -0.1] : [-4])) };
};

test('classify: the likeliest label, with probabilities that sum up to one', async () => {
  const { model, requests } = fake(byText);
  const [found] = await verbs.classify(model, ['a bug in it'], ['praise', 'bug', 'billing'], { instruction: 'Sort mail.' });
  assert.equal(found?.label, 'bug');
  assert.deepEqual(found?.labels, ['bug']);
  const sum = Object.values(found?.probabilities ?? {}).reduce((a, b) => a + b, 0);
  assert.ok(Math.abs(sum - 1) < 1e-9);
  assert.equal(found?.confidence, found?.probabilities['bug']);
  // Likelihoods are per token: two of -0.1 are better than one of -4, and as good as one of -0.1.
  assert.ok(Math.abs((found?.confidence ?? 0) - 1 / (1 + 2 * Math.exp(-3.9))) < 1e-9);
  const [request] = requests;
  assert.equal(request.messages.at(-1).content, 'a bug in it');
  assert.match(request.messages[0].content, /^Sort mail\./);
  assert.equal(request.score.withEnd, false);
  assert.equal(request.thinkingBudget, 0);
});

test('classify: a label that begins another is weighed with its end', async () => {
  const { model, requests } = fake(() => ({ scores: [[-1, -3], [-1, -0.2, -0.1]] }));
  const [found] = await verbs.classify(model, ['x'], ['bug', 'bug report'], undefined);
  assert.equal(requests[0].score.withEnd, true);
  assert.equal(found?.label, 'bug report');
});

test('classify: several labels may apply, each judged by itself', async () => {
  const { model, requests } = fake((request) => {
    const about = request.messages[0].content;
    return { scores: about.includes('"red"') ? [[-0.1], [-3]] : [[-3], [-0.1]] };
  });
  const [found] = await verbs.classify(model, ['x'], ['red', 'blue'], { multi: true });
  assert.deepEqual(found?.labels, ['red']);
  assert.ok((found?.probabilities['red'] ?? 0) > 0.9 && (found?.probabilities['blue'] ?? 1) < 0.1);
  assert.deepEqual(requests[0].score.texts, ['yes', 'no']);
});

test('classify: calibration takes out what is said of a text without content, asked once', async () => {
  const { model, requests } = fake((request) => ({
    scores: request.messages.at(-1).content === 'N/A' ? [[-0.1], [-5]] : [[-0.2], [-2]],
  }));
  const found = await verbs.classify(model, ['x', 'y'], ['often', 'seldom'], { calibrate: true });
  assert.deepEqual(found.map(({ label }) => label), ['seldom', 'seldom']);
  assert.equal(requests.length, 3);
});

test('classify: 500 labels, and examples as turns of the conversation', async () => {
  const labels = Array.from({ length: 500 }, (_, n) => `label ${n}`);
  const { model, requests } = fake(byText);
  const examples = [{ text: 'one', label: 'label 1' }];
  const [found] = await verbs.classify(model, ['about label 499'], labels, { examples });
  assert.ok(found?.label.endsWith('499') || found?.probabilities['label 499'] === found?.confidence);
  assert.deepEqual(requests[0].messages.slice(1, 3), [
    { role: 'user', content: 'one' },
    { role: 'assistant', content: 'label 1' },
  ]);
});

test('many texts: in order, sixteen at a time, with progress; leaving the loop asks for no more', async () => {
  const { model, requests } = fake(byText);
  /** @type {number[]} */
  const progress = [];
  const texts = ['bug', 'praise', ...Array.from({ length: 38 }, () => 'bug')];
  const onProgress = (/** @type {{ done: number }} */ { done }) => progress.push(done);
  const seen = [];
  for await (const { label } of verbs.classify(model, texts, ['bug', 'praise'], { onProgress })) {
    seen.push(label);
    if (seen.length === 2) break;
  }
  assert.deepEqual([seen, progress, requests.length], [['bug', 'praise'], [1, 2], 16]);
  const stop = new AbortController();
  stop.abort();
  await assert.rejects(async () => verbs.classify(model, texts, ['bug', 'praise'], { signal: stop.signal }), {
    code: 'aborted',
  });
});

test('extract: the value of the JSON; one that was cut short is an error', async () => {
  const schema = { type: 'object' };
  const { model, requests } = fake(() => ({ text: '{"a": 1}', finishReason: 'stop' }));
  assert.deepEqual(await verbs.extract(model, ['x'], schema, { max_tokens: 9 }), [{ a: 1 }]);
  assert.deepEqual([requests[0].constraint, requests[0].maxTokens], [{ schema }, 9]);
  const { model: cut } = fake(() => ({ text: '{"a": 1}', finishReason: 'length' }));
  await assert.rejects(async () => verbs.extract(cut, ['x'], schema, {}), { code: 'context-full' });
});

test('a text that does not fit is an error, or cut where that was asked for', async () => {
  const { model } = fake((request) => {
    if (request.prompt.length > 60) throw new FanlightError('context-full', 'too long');
    return { vector: [1, 0] };
  });
  const long = 'x'.repeat(300);
  await assert.rejects(async () => verbs.embed(model, [long], {}), { code: 'context-full' });
  const [vector] = await verbs.embed(model, [long], { truncate: true });
  assert.deepEqual(vector, Float32Array.of(1, 0));
});

test('rerank: by vectors where the model makes them, else by judgement', async () => {
  const docs = ['cats', 'dogs', 'cars'];
  const { model: made } = fake(
    ({ prompt }) => ({ vector: prompt.includes('dog') ? [0, 1] : prompt.includes('cat') ? [0.6, 0.8] : [1, 0] }),
    { embeds: true },
  );
  const byVector = await verbs.rerank(made, 'my dog', docs, { top_n: 2 });
  assert.deepEqual(byVector.map(({ document }) => document), ['dogs', 'cats']);
  const { model: judge } = fake((request) => ({
    scores: request.messages.at(-1).content === 'cars' ? [[-0.1], [-2]] : [[-2], [-0.1]],
  }));
  const [best] = await verbs.rerank(judge, 'engines', docs, undefined);
  assert.deepEqual([best?.index, best?.document], [2, 'cars']);
});

test('score: sums and means over tokens', async () => {
  const { model } = fake(() => ({ scores: [[-1, -2], [-4]] }));
  assert.deepEqual(await verbs.score(model, 'The', ['a', 'b'], undefined), [
    { logprob: -3, tokens: [-1, -2], mean: -1.5 },
    { logprob: -4, tokens: [-4], mean: -4 },
  ]);
});

const { model: any } = fake(() => ({}));
for (const [option, call] of /** @type {[string, () => unknown][]} */ ([
  ['labels', () => verbs.classify(any, ['x'], [], {})],
  ['labels', () => verbs.classify(any, ['x'], ['one'], {})],
  ['labels', () => verbs.classify(any, ['x'], 'one', {})],
  ['labels[1]', () => verbs.classify(any, ['x'], ['a', ''], {})],
  ['labels[2]', () => verbs.classify(any, ['x'], ['a', 'b', 'a'], {})],
  ['labels', () => verbs.classify(any, ['x'], Array.from({ length: 1001 }, (_, n) => `${n}`), {})],
  ['examples', () => verbs.classify(any, ['x'], ['a', 'b'], { examples: [{ text: 't', label: 'c' }] })],
  ['examples[0]', () => verbs.classify(any, ['x'], ['a', 'b'], { examples: [{ text: 't' }] })],
  ['calibrate', () => verbs.classify(any, ['x'], ['a', 'b'], { calibrate: 1 })],
  ['lables', () => verbs.classify(any, ['x'], ['a', 'b'], { lables: 1 })],
  ['onProgress', () => verbs.classify(any, ['x'], ['a', 'b'], { onProgress: 1 })],
  ['schema', () => verbs.extract(any, ['x'], 'object', {})],
  ['max_tokens', () => verbs.extract(any, ['x'], {}, { max_tokens: 0 })],
  ['text[1]', () => verbs.checkTexts('text', ['x', ''])],
  ['text', () => verbs.checkTexts('text', 'x')],
])) {
  test(`${option} is refused by name: ${call.toString().slice(6, 90)}`, () => {
    assert.throws(call, (error) => {
      const { code, message } = /** @type {FanlightError} */ (error);
      return code === 'invalid-argument' && message.startsWith(`${option}:`);
    });
  });
}

test('a schema without a bottom is refused', () => {
  /** @type {any} */
  const schema = { type: 'array' };
  schema.items = schema;
  assert.throws(() => verbs.extract(any, ['x'], schema, {}), { code: 'schema' });
});
