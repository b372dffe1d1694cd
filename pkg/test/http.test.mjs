// The HTTP API inside the page, over a model that says what the test wants.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FanlightError } from '../dist/errors.js';
import { fetchFor } from '../dist/http.js';

const url = 'https://anywhere.example/some/base/chat/completions';

/** @param {(params: any, options: any) => unknown} create */
function fetchOf(create) {
  const completions = { create: async (/** @type {any} */ params, /** @type {any} */ options) => create(params, options) };
  return fetchFor(/** @type {any} */ ({ chat: { completions }, completions, info: () => ({ name: 'Any' }) }));
}

/** @param {unknown} body @param {object} [more] */
const post = (body, more) => ({ method: 'POST', body: JSON.stringify(body), ...more });

test('a stream becomes server-sent events, and a failure on the way the last of them', async () => {
  const good = fetchOf(async function* () {
    yield { n: 1 };
    yield { n: 2, text: 'line\nline' };
  });
  const response = await good(url, post({ stream: true }));
  assert.equal(response.headers.get('content-type'), 'text/event-stream');
  assert.equal(await response.text(), 'data: {"n":1}\n\ndata: {"n":2,"text":"line\\nline"}\n\ndata: [DONE]\n\n');

  const bad = fetchOf(async function* () {
    yield { n: 1 };
    throw new FanlightError('worker-crashed', 'It died.');
  });
  const [first, second, end] = (await (await bad(url, post({}))).text()).split('\n\n');
  assert.deepEqual([first, end], ['data: {"n":1}', '']);
  assert.deepEqual(JSON.parse(second?.slice(6) ?? '').error, {
    message: 'It died.',
    type: 'server_error',
    param: null,
    code: 'worker-crashed',
  });
});

test('an abort is heard before, during and after the answer begins', async () => {
  const controller = new AbortController();
  let ended = false;
  const endless = fetchOf(async function* (_, /** @type {any} */ { signal }) {
    try {
      for (let n = 0; ; n++) {
        if (signal.aborted) throw new FanlightError('aborted', 'Stopped by the caller.');
        yield { n };
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    } finally {
      ended = true;
    }
  });
  const response = await endless(url, post({}, { signal: controller.signal }));
  const reader = response.body?.getReader();
  assert.ok(reader);
  await reader.read();
  controller.abort();
  await assert.rejects(async () => {
    while (!(await reader.read()).done);
  }, { name: 'AbortError' });
  assert.equal(ended, true);
  await assert.rejects(endless(url, post({}, { signal: controller.signal })), { name: 'AbortError' });

  const slow = fetchOf((_, { signal }) => {
    return new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(new FanlightError('aborted', 'Stopped by the caller.')));
    });
  });
  const later = new AbortController();
  setTimeout(() => later.abort(new DOMException('Late.', 'TimeoutError')), 5);
  await assert.rejects(slow(url, post({}, { signal: later.signal })), { name: 'TimeoutError' });
});

test('to stop reading stops the answer', async () => {
  let ended = false;
  const endless = fetchOf(async function* () {
    try {
      for (;;) yield {};
    } finally {
      ended = true;
    }
  });
  const response = await endless(url, post({}));
  await response.body?.cancel();
  assert.equal(ended, true);
});

test('failures have the statuses and bodies of the API', async () => {
  for (const [code, message, status, type, param] of /** @type {const} */ ([
    ['invalid-argument', 'top_p: expected less.', 400, 'invalid_request_error', 'top_p'],
    ['template', 'It refused.', 400, 'invalid_request_error', null],
    ['context-full', 'Too long.', 400, 'invalid_request_error', null],
    ['closed', 'Gone.', 503, 'server_error', null],
    ['worker-crashed', 'Dead.', 500, 'server_error', null],
  ])) {
    const fails = fetchOf(() => {
      throw new FanlightError(code, message);
    });
    const response = await fails(url, post({}));
    const { error } = await response.json();
    assert.equal(response.status, status);
    assert.equal(response.headers.get('x-should-retry'), 'false');
    const told = code === 'context-full' ? 'context_length_exceeded' : code;
    assert.deepEqual(error, { message, type, param, code: told });
  }
});

test('what only servers have a use for is ignored, and the rest passed on', async () => {
  /** @type {any} */
  let seen;
  const fetch = fetchOf((params) => {
    seen = params;
    return {};
  });
  const options = { include_usage: true, include_obfuscation: false };
  await fetch(url, post({ messages: [], store: true, reasoning_effort: 'none', stream_options: options }));
  assert.deepEqual(seen, { messages: [], enable_thinking: false, stream_options: { include_usage: true } });
  assert.deepEqual(await (await fetch('https://x.example/v1/models')).json(), {
    object: 'list',
    data: [{ id: 'Any', object: 'model', created: 0, owned_by: 'fanlight' }],
  });
});
