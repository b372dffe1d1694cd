/** The worker: a thin shell that joins the calls of `protocol.ts` to what answers them. */

/// <reference path="./ambient.d.ts" />

import { serve } from './channel.js';
import type { EngineModule } from './engine.js';
import type { Build, ShardCalls, StorageCalls } from './protocol.js';
import { openFile } from './files.js';
import { shardHandlers } from './shard.js';
import { isLifeLine } from './spawn.js';
import { storageHandlers } from './storage.js';

/** The paths are spelled out, so that bundlers find them. */
function importEngine(build: Build): Promise<EngineModule> {
  return build === 'relaxed' ? import('../wasm/relaxed/fanlight.js') : import('../wasm/simd128/fanlight.js');
}

// Here from the beginning, as after loading there are no requests; but nothing waits for it that needs no constraints.
const constraints = import('../wasm/constraints/constraints.js');
constraints.catch(() => {}); // whoever needs it hears why
const importConstraints = () => constraints;

serve<StorageCalls & ShardCalls>(self, { ...storageHandlers({ importEngine }), ...shardHandlers({ importEngine, openFile, importConstraints }) });

self.addEventListener('message', ({ data }: MessageEvent) => {
  if (!isLifeLine(data)) return;
  void navigator.locks.request(data.lock, () => {
    self.postMessage(data);
    return new Promise(() => {}); // held until the end
  });
});
