import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Caller, serve } from '../dist/channel.js';
import { FanlightError, invalidArgument } from '../dist/errors.js';

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
