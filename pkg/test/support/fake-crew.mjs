// A crew whose workers are in this process: the real handlers around fake engines, over message ports.

import { serve } from '../../dist/channel.js';
import { Crew } from '../../dist/client.js';
import { FanlightError } from '../../dist/errors.js';
import { Model } from '../../dist/model.js';
import { shardHandlers } from '../../dist/shard.js';
import { fakeConstraints, fakeModule } from './fake-engine.mjs';

/** @typedef {import('./fake-engine.mjs').FakeEngine} FakeEngine */

/** The smallest wasm module there is. */
const module = new WebAssembly.Module(new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]));

/**
 * @param {import('node:test').TestContext} t
 * @param {number} shards
 * @param {() => Promise<WebAssembly.Module>} [compileConstraints]
 */
export async function fakeCrew(t, shards, compileConstraints = async () => module) {
  /** @type {FakeEngine[]} */
  const engines = [];
  /** @type {((reason: FanlightError) => void)[]} */
  const deaths = [];
  let alive = 0;
  const spawn = () => {
    const { port1, port2 } = new MessageChannel();
    const world = {
      importEngine: async () => fakeModule((made) => (engines[made.shard] = made)),
      openFile: async () => ({ length: 0, read: () => {}, close: () => {} }),
      importConstraints: async () => fakeConstraints,
    };
    const handlers = shardHandlers(world);
    /** @type {MessagePort[]} */
    const ports = [port1];
    const death = new AbortController();
    /** @type {typeof handlers} */
    const mortal = {
      ...handlers,
      open(params, call) {
        if (params.link.kind === 'messages') ports.push(...params.link.ports.filter((port) => port !== undefined));
        return handlers.open(params, call);
      },
      generate: (params, call) =>
        handlers.generate(params, { ...call, signal: AbortSignal.any([call.signal, death.signal]) }),
    };
    serve(port2, mortal);
    alive += 1;
    return {
      port: port1,
      /** @param {(reason: FanlightError) => void} listener */
      onDeath: (listener) => deaths.push(listener),
      terminate() {
        alive -= 1;
        // A real worker takes its work and its ports with it.
        death.abort();
        for (const port of ports) port.close();
      },
    };
  };
  const crew = new Crew(spawn, compileConstraints);
  t.after(() => crew.end(new FanlightError('closed', 'The test is over.')));
  /** @type {[number, number][]} */
  const progress = [];
  const [info] = await crew.open(
    { engine: { build: 'simd128', module }, files: [], shards, transport: 'messages', contextLength: undefined, kvType: undefined, predict: undefined },
    { signal: new AbortController().signal, onProgress: (loaded, total) => progress.push([loaded, total]) },
  );
  if (!info) throw new Error('no shards');
  const model = new Model(crew, {
    ...info,
    fileBytes: 0,
    shards,
    transport: 'messages',
    build: 'simd128',
    source: 'file',
  });
  return {
    crew,
    model,
    engines,
    progress,
    alive: () => alive,
    /** A worker dies by itself. */
    kill: (/** @type {number} */ shard) => deaths[shard]?.(new FanlightError('worker-crashed', 'It died.')),
  };
}
