/** The worker: a thin shell that joins the calls of `protocol.ts` to what answers them. */

/// <reference path="./ambient.d.ts" />

import * as constraints from '../wasm/constraints/constraints.js';
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

serve<StorageCalls & ShardCalls>(self, { ...storageHandlers({ importEngine }), ...shardHandlers({ importEngine, openFile, constraints }) });

self.addEventListener('message', ({ data }: MessageEvent) => {
  if (!isLifeLine(data)) return;
  void navigator.locks.request(data.lock, () => {
    self.postMessage(data);
    return new Promise(() => {}); // held until the end
  });
});
