// A thread that runs one shard of a fake model over shared memory, and says how it ended.

import { parentPort, workerData } from 'node:worker_threads';
import { Step } from '../../dist/engine.js';
import { connect } from '../../dist/exchange.js';
import { FakeEngine } from './fake-engine.mjs';

const { link, shard, shards, prompt, sliceBytes } = workerData;
const engine = new FakeEngine(shard, shards, sliceBytes);
const exchange = connect(link, shard, shards);
let text = '';

try {
  exchange.begin(1, new AbortController().signal);
  if (shard === 0) engine.start(/** @type {any} */ ({ prompt }));
  else engine.follow();
  for (let step = engine.run(); step !== Step.Done; step = engine.run()) {
    if (exchange.cancelled()) throw { code: 'aborted' };
    exchange.alive();
    if (step === Step.Exchange) exchange.deliver(engine, engine.memory);
    if (step === Step.Output) text += engine.takeOutput().text;
  }
  parentPort?.postMessage({ text });
} catch (error) {
  const { code, message } = /** @type {{ code?: string, message?: string }} */ (error);
  parentPort?.postMessage({ text, error: code ?? message });
}
