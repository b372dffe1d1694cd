import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Caller, serve } from '../dist/channel.js';
import { FanlightError, invalidArgument } from '../dist/errors.js';
import { PATIENCE, Silence } from '../dist/silence.js';

/**
 * @typedef {{
 *   double: { params: number, result: number, event: number },
 *   fail: { params: string, result: never, event: never },
 *   wait: { params: null, result: string, event: never },
 * }} TestCalls
 */

/** Both ends of a conversation in this process. @param {import('node:test').TestContext} t */
function pair(t) {
  const { port1, port2 } = new MessageChannel();
  t.after(() => port1.close());
  /** @type {import('../dist/channel.js').Handlers<TestCalls>} */
  const handlers = {
    double(value, { emit }) {
      emit(value);
      emit(value + 1);
      return value * 2;
    },
    fail(kind) {
      if (kind === 'ours') throw invalidArgument('kind', kind, 'another');
      if (kind === 'theirs') throw { code: 'context-full', message: 'full' };
      if (kind === 'memory') throw new RangeError('WebAssembly.Memory(): could not allocate memory');
      throw new TypeError('a bug');
    },
    wait: (_, { signal }) => new Promise((resolve) => signal.addEventListener('abort', () => resolve('cancelled'))),
  };
  serve(port2, handlers);
  /** @type {Caller<TestCalls>} */
  const caller = new Caller(port1);
  return caller;
}

test('a call is answered once, after its events', async (t) => {
  const caller = pair(t);
  /** @type {number[]} */
  const events = [];
  const results = await Promise.all([
    caller.call('double', 4, { onEvent: (event) => events.push(event) }),
    caller.call('double', 5),
  ]);
  assert.deepEqual(results, [8, 10]);
  assert.deepEqual(events, [4, 5]);
});

test('an error arrives with its code; what has none is a crash, or memory that could not be had', async (t) => {
  const caller = pair(t);
  const codes = { ours: 'invalid-argument', theirs: 'context-full', memory: 'out-of-memory', bug: 'worker-crashed' };
  for (const [kind, code] of Object.entries(codes)) {
    await assert.rejects(
      caller.call('fail', kind),
      (error) => error instanceof FanlightError && error.code === code,
      kind,
    );
  }
});

test('a cancelled call is still answered', async (t) => {
  const abort = new AbortController();
  const waiting = pair(t).call('wait', null, { signal: abort.signal });
  abort.abort();
  assert.equal(await waiting, 'cancelled');
});

test('what is given up is cancelled over there, and its late answer is an answer to nothing else', async (t) => {
  const { port1, port2 } = new MessageChannel();
  t.after(() => port1.close());
  /** @type {any[]} */
  const heard = [];
  port2.addEventListener('message', ({ data }) => heard.push(data));
  port2.start();
  /** @type {Caller<TestCalls>} */
  const before = new Caller(port1);
  const given = before.call('wait', null);
  before.abandon(new FanlightError('closed', 'Another is asked.'));
  await assert.rejects(given, { code: 'closed' });
  /** @type {Caller<TestCalls>} */
  const after = new Caller(port1);
  const answer = after.call('wait', null);
  while (heard.length < 3) await new Promise((resolve) => setTimeout(resolve, 1));
  const [old, cancel, call] = heard;
  assert.deepEqual([cancel, call.kind], [{ id: old.id, cancel: true }, 'wait']);
  port2.postMessage({ id: old.id, kind: 'result', result: 'late' });
  port2.postMessage({ id: call.id, kind: 'result', result: 'right' });
  assert.equal(await answer, 'right');
});

test('a call that is cancelled before it was made is not made', async (t) => {
  await assert.rejects(pair(t).call('wait', null, { signal: AbortSignal.abort() }), { code: 'aborted' });
});

test('when the other end is gone, everything rejects with the reason', async (t) => {
  const caller = pair(t);
  const waiting = caller.call('wait', null);
  caller.fail(new FanlightError('worker-crashed', 'gone'));
  await assert.rejects(waiting, { code: 'worker-crashed', message: 'gone' });
  await assert.rejects(caller.call('double', 1), { code: 'worker-crashed' });
});

test('what cannot be sent is refused', async (t) => {
  const caller = pair(t);
  const unsendable = /** @type {any} */ (() => 1);
  await assert.rejects(caller.call('double', unsendable), { code: 'invalid-argument' });
  assert.equal(await caller.call('double', 3), 6);
});

// ---- An end that does not answer -------------------------------------------------------------------------------

/**
 * A clock that the test moves: so many looks, which are so many milliseconds apart.
 * @param {import('node:test').TestContext} t
 */
function clock(t) {
  t.mock.timers.enable({ apis: ['setInterval'] });
  let time = 0;
  const looks = (/** @type {number} */ count, ms = 100) => {
    for (let look = 0; look < count; look++) {
      time += ms;
      t.mock.timers.tick(100);
    }
  };
  return { now: () => time, looks };
}

/**
 * A watch over an end that answers when `answers` says so.
 * @param {import('node:test').TestContext} t
 * @param {(asked: number) => boolean} answers
 * @param {boolean} hidden
 */
function watched(t, answers = () => false, hidden = false) {
  const { now, looks } = clock(t);
  let asked = 0;
  let lost = 0;
  const what = {
    patience: () => PATIENCE.inSteps,
    ask: () => void (answers(++asked) && silence.heard()),
    lost: () => (lost += 1),
  };
  const silence = new Silence(what, now, () => hidden);
  return { silence, seen: () => ({ asked, lost }), looks };
}

const SHORT = PATIENCE.inSteps / 100;

test('a silent end is asked, and then given up once', (t) => {
  const { silence, seen, looks } = watched(t);
  silence.begin();
  silence.heard();
  looks(3);
  assert.deepEqual(seen(), { asked: 0, lost: 0 });
  looks(SHORT - 3);
  assert.deepEqual(seen(), { asked: 1, lost: 0 });
  looks(1);
  assert.deepEqual(seen(), { asked: 1, lost: 1 });
});

test('a hidden page, which may look once a second, gives it up after two; one that slept has not waited', (t) => {
  const { silence, seen, looks } = watched(t, () => false, true);
  silence.begin();
  silence.heard();
  looks(1, 1000);
  assert.deepEqual(seen(), { asked: 1, lost: 0 });
  looks(1, 1000);
  assert.deepEqual(seen(), { asked: 1, lost: 1 });
  silence.begin();
  looks(1, 3_600_000);
  assert.deepEqual(seen(), { asked: 2, lost: 1 });
});

test('a page that is held up itself has not waited so long', (t) => {
  const { silence, seen, looks } = watched(t);
  silence.begin();
  silence.heard();
  looks(1, 5_000);
  assert.deepEqual(seen(), { asked: 0, lost: 0 });
  looks(1, 5_000);
  assert.deepEqual(seen(), { asked: 1, lost: 0 });
});

test('an end that answers is waited for, however long it takes', (t) => {
  const { silence, seen, looks } = watched(t, () => true);
  silence.begin();
  silence.heard();
  looks(4000);
  assert.deepEqual(seen(), { asked: 1000, lost: 0 });
});

test('nobody looks before the first word, nor when there is nothing to wait for', (t) => {
  const { silence, seen, looks } = watched(t);
  silence.begin();
  looks(1000);
  silence.heard();
  silence.end();
  looks(1000);
  silence.begin();
  looks(SHORT);
  assert.deepEqual(seen(), { asked: 1, lost: 0 });
});

test('where answers take long, they may take long', (t) => {
  const { silence, seen, looks } = watched(t);
  silence.begin();
  silence.heard();
  looks(12); // asked at the fourth, it answers at the twelfth
  silence.heard();
  looks(3 * 8);
  assert.equal(seen().lost, 0);
  looks(1);
  assert.equal(seen().lost, 1);
});

test('what the other end is at decides how long it may be silent', async (t) => {
  const { now, looks } = clock(t);
  /** @type {(event: MessageEvent) => void} */
  let hear = () => {};
  let lost = 0;
  let id = 0;
  const port = {
    /** @param {any} message */
    postMessage: (message) => (id = message.id),
    addEventListener: (/** @type {string} */ _, /** @type {typeof hear} */ listener) => (hear = listener),
  };
  const caller = new Caller(port, () => (lost += 1), now);
  const say = (/** @type {object} */ data) => hear(new MessageEvent('message', { data }));
  say({}); // it is there
  const abort = new AbortController();
  const first = caller.call('work', 1, { signal: abort.signal });
  say({ id, kind: 'alive' });
  looks(PATIENCE.cancelled / 100 + 1);
  abort.abort();
  say({ id, kind: 'event' });
  looks(PATIENCE.cancelled / 100);
  say({ id, kind: 'result', result: 'done' });
  assert.equal(await first, 'done');
  looks(PATIENCE.atOnce / 100);
  void caller.call('work', 2, { inSteps: true });
  say({ id, kind: 'alive' });
  looks(PATIENCE.atOnce / 100);
  say({ id, kind: 'event' });
  looks(SHORT);
  assert.equal(lost, 0);
  looks(1);
  assert.equal(lost, 1);
});
