// The two exchanges, with engines that notice wrong bytes. Shared memory is tested between real threads: its wait blocks.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { Step } from '../dist/engine.js';
import { connect, makeLinks, SharedControl } from '../dist/exchange.js';
import { FakeEngine } from './support/fake-engine.mjs';

/**
 * Shards in this process, connected by messages.
 * @param {import('node:test').TestContext} t
 * @param {number} shards
 */
function connected(t, shards) {
  const { links } = makeLinks(shards, 'messages');
  t.after(() => links.forEach((link) => link.kind === 'messages' && link.ports.forEach((port) => port?.close())));
  return links.map((link, shard) => ({
    link,
    engine: new FakeEngine(shard, shards),
    exchange: connect(link, shard, shards),
  }));
}

/**
 * Runs one shard to the end of a request.
 * @param {Pick<ReturnType<typeof connected>[number], 'engine' | 'exchange'>} shard
 * @param {number} epoch
 * @param {AbortSignal} [signal]
 */
async function run({ engine, exchange }, epoch, signal = new AbortController().signal) {
  exchange.begin(epoch, signal);
  return toTheEnd({ engine, exchange }).finally(() => exchange.end());
}

/** @param {Pick<ReturnType<typeof connected>[number], 'engine' | 'exchange'>} shard */
async function toTheEnd({ engine, exchange }) {
  if (engine.shard === 0)
    engine.start({ prompt: '5 tokens', sampling: {}, now: { unixSeconds: 0, utcOffsetMinutes: 0 } });
  else engine.follow();
  let text = '';
  for (;;) {
    const step = engine.run();
    if (step === Step.Done) return text;
    if (step === Step.Exchange) await exchange.deliver(engine, engine.memory);
    if (step === Step.Output) text += engine.takeOutput().text;
  }
}

for (const shards of [2, 3, 5]) {
  test(`${shards} shards exchange by messages`, async (t) => {
    const all = connected(t, shards);
    const [text] = await Promise.all(all.map((shard) => run(shard, 1)));
    assert.equal(text, 't0 t1 t2 t3 t4 ');
  });
}

test('one shard has nothing to exchange', () => {
  const { links, control } = makeLinks(1, 'shared');
  assert.deepEqual(links, [{ kind: 'none' }]);
  assert.equal(control, undefined);
});

test('slices of a cancelled request are leftovers', async (t) => {
  const [leader, follower] = connected(t, 2);
  assert.ok(leader && follower);
  const abort = new AbortController();
  const cancelled = run(leader, 1, abort.signal); // its first slice is on the way; nobody takes it
  abort.abort();
  await assert.rejects(cancelled, { code: 'aborted' });
  leader.engine.cancel();
  const [text] = await Promise.all([run(leader, 2), run(follower, 2)]);
  assert.equal(text, 't0 t1 t2 t3 t4 ');
});

test('a slice that comes before its request is kept', async (t) => {
  const [leader, follower] = connected(t, 2);
  assert.ok(leader && follower);
  const first = run(leader, 7);
  await new Promise((resolve) => setTimeout(resolve, 20));
  const [text] = await Promise.all([first, run(follower, 7)]);
  assert.equal(text, 't0 t1 t2 t3 t4 ');
});

test('shards that are out of step are found out', async (t) => {
  const [leader, follower] = connected(t, 2);
  assert.ok(leader && follower);
  const stop = new AbortController();
  const ends = [
    run(leader, 1, stop.signal),
    run({ engine: new FakeEngine(1, 2, 16), exchange: follower.exchange }, 1, stop.signal), // longer slices than the leader's
  ];
  await assert.rejects(Promise.race(ends), { code: 'worker-crashed', message: /out of step/ });
  stop.abort();
  await Promise.allSettled(ends);
});

test('a shard that is lost is noticed by those who wait for it', async (t) => {
  const all = connected(t, 3);
  const [, , last] = all;
  let exchanges = 0;
  const deliver = last?.exchange.deliver.bind(last.exchange);
  if (!last || !deliver) throw new Error('no shards');
  last.exchange.deliver = (engine, memory) => {
    if (++exchanges < 3) return deliver(engine, memory);
    if (last.link.kind === 'messages') for (const port of last.link.ports) port?.close();
    last.exchange.end();
    return new Promise(() => {});
  };
  const [leader, other] = all.map((shard) => run(shard, 1));
  await assert.rejects(leader ?? Promise.resolve(), { code: 'worker-crashed', message: /Shard 2/ });
  await assert.rejects(other ?? Promise.resolve(), { code: 'worker-crashed', message: /Shard 2/ });
});

test('a slice that is lost is noticed, though everybody lives', async (t) => {
  const [leader, follower] = connected(t, 2);
  assert.ok(leader && follower?.link.kind === 'messages');
  const [port] = follower.link.ports;
  assert.ok(port);
  const post = port.postMessage.bind(port);
  let slices = 0;
  port.postMessage = (/** @type {any} */ message, /** @type {any} */ transfer) => {
    if (message instanceof ArrayBuffer && ++slices === 2) return;
    post(message, transfer);
  };
  const stop = new AbortController();
  const ends = [run(leader, 1, stop.signal), run(follower, 1, stop.signal)];
  await assert.rejects(Promise.race(ends), { code: 'worker-crashed' });
  stop.abort();
  await Promise.allSettled(ends);
});

test('a shard that takes its time is waited for', async (t) => {
  const all = connected(t, 2);
  const [, slow] = all;
  const deliver = slow?.exchange.deliver.bind(slow.exchange);
  if (!slow || !deliver) throw new Error('no shards');
  let exchanges = 0;
  slow.exchange.deliver = async (engine, memory) => {
    if (++exchanges === 3) await new Promise((resolve) => setTimeout(resolve, 2_000)); // it lives: its ports answer
    return deliver(engine, memory);
  };
  const [text] = await Promise.all(all.map((shard) => run(shard, 1)));
  assert.equal(text, 't0 t1 t2 t3 t4 ');
});

// ---- Shared memory, between threads ----------------------------------------------------------------------------

/**
 * @param {import('node:test').TestContext} t
 * @param {number} shards
 * @param {{ prompt: string, sliceBytes?: number }} what
 */
function threads(t, shards, what) {
  const { links, control } = makeLinks(shards, 'shared');
  const workers = links.map((link, shard) => {
    const worker = new Worker(new URL('./support/shared-shard.mjs', import.meta.url), {
      workerData: { link, shard, shards, ...what },
    });
    t.after(() => worker.terminate());
    return once(worker, 'message').then(([message]) => message);
  });
  assert.ok(control instanceof SharedControl);
  return { control, ends: Promise.all(workers) };
}

for (const shards of [2, 3]) {
  test(`${shards} shards exchange by shared memory`, async (t) => {
    const { ends } = threads(t, shards, { prompt: '50 tokens' });
    const all = await ends;
    assert.equal(all[0].text.split(' ').length, 51);
    assert.ok(
      all.every(({ error }) => error === undefined),
      JSON.stringify(all),
    );
  });
}

test('slices longer than a region of shared memory go in several rounds', async (t) => {
  const { ends } = threads(t, 2, { prompt: '3 tokens', sliceBytes: 2_500_000 });
  const all = await ends;
  assert.deepEqual(
    all.map(({ error }) => error),
    [undefined, undefined],
  );
  assert.equal(all[0].text, 't0 t1 t2 ');
});

test('shards that sleep in shared memory hear the page cancel', async (t) => {
  const { control, ends } = threads(t, 3, { prompt: '1 tokens, then endless' });
  await new Promise((resolve) => setTimeout(resolve, 200));
  control.cancel();
  const all = await ends;
  assert.deepEqual(
    all.map(({ error }) => error),
    ['aborted', 'aborted', 'aborted'],
  );
});

test('a shard that is lost in shared memory is noticed by those who wait for it', async (t) => {
  const { links } = makeLinks(3, 'shared');
  const workers = links.map((link, shard) => {
    const workerData = { link, shard, shards: 3, prompt: '1 tokens, then endless' };
    return new Worker(new URL('./support/shared-shard.mjs', import.meta.url), { workerData });
  });
  t.after(() => Promise.all(workers.map((worker) => worker.terminate())));
  const ends = workers.slice(0, 2).map((worker) => once(worker, 'message'));
  const rounds = new Int32Array(links[0]?.kind === 'shared' ? links[0].buffer : new ArrayBuffer(0));
  while ((rounds[0] ?? 0) < 10) await new Promise((resolve) => setTimeout(resolve, 20)); // in the middle of it
  await workers[2]?.terminate();
  for (const end of ends) assert.equal((await end)[0].error, 'worker-crashed');
});

test('a shard that waits for one that never comes hears the page cancel', async (t) => {
  const { links, control } = makeLinks(2, 'shared');
  const worker = new Worker(new URL('./support/shared-shard.mjs', import.meta.url), {
    workerData: { link: links[0], shard: 0, shards: 2, prompt: '5 tokens' },
  });
  t.after(() => worker.terminate());
  await once(worker, 'online');
  await new Promise((resolve) => setTimeout(resolve, 200));
  const end = once(worker, 'message');
  const began = performance.now();
  control?.cancel();
  assert.equal((await end)[0].error, 'aborted');
  assert.ok(performance.now() - began < 5000);
});
