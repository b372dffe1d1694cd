/** `Fanlight.canRun`: whether a model will run here, before a byte of its weights is fetched. */

import { orAborted } from './client.js';
import { aborted, FanlightError, type FanlightErrorCode } from './errors.js';
import { chooseBuild, chooseTransport, detectFeatures, type Features, MOST_SHARDS } from './features.js';
import { judge, megabytes, type ShardBytes, SHARD_LIMIT } from './fit.js';
import { compileEngine } from './module.js';
import { checkSignal, flag, known, number, oneOf } from './params.js';
import type { KvType, MeasuredModel, Use } from './protocol.js';
import { checkSource, type ModelPart } from './sources.js';
import { withWorker } from './spawn.js';

/** How the model would be loaded: what `Fanlight.load` takes, as far as its size depends on it. */
export interface CanRunOptions {
  threads?: number | 'auto';
  contextLength?: number;
  kvType?: KvType;
  predict?: boolean;
  transport?: 'auto' | 'shared' | 'messages';
  /** Whether the file would be kept in storage. */
  cache?: boolean;
  /** Bytes that the model may take in memory. Without it, what the browser says of the device, where it does. */
  memory?: number;
  signal?: AbortSignal;
}

/** Whether a model will run here, and what it will take. */
export interface Fit {
  readonly runs: boolean;
  /**
   * What is in the way: `file` (no model that the engine can run), `browser`, `shard-memory` (one worker would need more than
   * it can have), `memory` (all of them would), or `storage` (no room for the file).
   */
  readonly limit: 'none' | 'file' | 'browser' | 'shard-memory' | 'memory' | 'storage';
  /** The code that `load` would fail with. */
  readonly code: FanlightErrorCode | undefined;
  /** In words: what was found, and what would help. */
  readonly reason: string;
  /** What the header says; nothing when the file is none that the engine can run. */
  readonly model: FitModel | undefined;
}

/** What a model will take. */
export interface FitModel {
  readonly name: string;
  readonly architecture: string;
  readonly quantization: string;
  readonly parameters: number;
  readonly fileBytes: number;
  /** It is in storage, or a file of the visitor's: nothing has to be fetched. */
  readonly isHere: boolean;
  /** Bytes of memory at most, of all workers together, with a full context. */
  readonly peakBytes: number;
  readonly shards: readonly ShardBytes[];
  readonly contextLength: number;
  /** The longest context that fits with so many workers; 0 when not even one token does. */
  readonly largestContextLength: number;
  /** The fewest workers with which this context fits; nothing when none do. */
  readonly fewestShards: number | undefined;
  /** Bytes that storage still needs, and those it has, as far as the browser says. */
  readonly storage: { readonly needed: number; readonly available: number | undefined };
}

const OPTIONS = new Set(['threads', 'contextLength', 'kvType', 'predict', 'transport', 'cache', 'memory', 'signal']);

/** Says whether a model will run here, and what it will take: reads only the headers of its files. */
export async function canRun(source: ModelPart | readonly ModelPart[], options: CanRunOptions = {}): Promise<Fit> {
  const given = known('Fanlight.canRun', options, OPTIONS);
  const signal = checkSignal(given['signal']);
  const cache = flag(given, 'cache') ?? true;
  const wanted = {
    threads: given['threads'] === 'auto' ? undefined : number(given, 'threads', { min: 1, max: MOST_SHARDS, whole: true }),
    contextLength: number(given, 'contextLength', { min: 1, max: 2 ** 31, whole: true }),
    kvType: oneOf(given, 'kvType', ['f32', 'f16', 'q16', 'q8'] as const),
    predict: flag(given, 'predict'),
    memory: number(given, 'memory', { min: 1, max: Number.MAX_SAFE_INTEGER }),
  };
  const parts = checkSource(source).map((part) => (part instanceof URL ? part.href : part));
  const transport = oneOf(given, 'transport', ['auto', 'shared', 'messages'] as const) ?? 'auto';
  if (signal?.aborted) throw aborted(signal.reason);
  try {
    const features = detectFeatures();
    const use = useOf({ ...wanted, transport: chooseTransport(transport, features) }, features);
    return await fit(await measure(parts, use, signal), use, cache);
  } catch (error) {
    if (!(error instanceof FanlightError)) throw error;
    const limit = error.code === 'unsupported-browser' ? 'browser' : 'file';
    if (limit === 'file' && !FILE_CODES.has(error.code)) throw error;
    return { runs: false, limit, code: error.code, reason: error.message, model: undefined };
  }
}

const FILE_CODES = new Set<FanlightErrorCode>([
  'unsupported-architecture',
  'unsupported-quantization',
  'malformed-file',
  'not-a-gguf',
]);

/** How a model is to be used, and what there is for it. */
export function useOf(
  wanted: Pick<Use, 'threads' | 'transport' | 'contextLength' | 'kvType' | 'predict'> & { readonly memory?: number | undefined },
  { cores, memory }: Features,
): Use {
  const { threads, transport, contextLength, kvType, predict } = wanted;
  return { threads, transport, cores, contextLength, kvType, predict, limits: { shard: SHARD_LIMIT, total: wanted.memory ?? memory } };
}

/** What the headers of these files say. */
export async function measure(parts: readonly (string | Blob)[], use: Use, signal: AbortSignal | undefined) {
  const engine = await compileEngine(chooseBuild('auto', detectFeatures()));
  const stop = new AbortController();
  return withWorker((worker) => {
    const work = worker.call('measure', { parts, engine, use }, { signal: stop.signal });
    return orAborted(work, signal, () => stop.abort());
  });
}

/** Whether what was measured fits. */
export async function fit(measured: MeasuredModel, use: Use, cache: boolean): Promise<Fit> {
  const memory = judge(measured, use.limits);
  const { fileBytes, isHere, storedBytes, shards } = measured;
  const [leader] = shards;
  if (!leader) throw new RangeError('a model has at least one shard');
  // A server may hide how long its file is.
  const unknown = fileBytes >= Number.MAX_SAFE_INTEGER;
  const needed = isHere || !cache || unknown ? 0 : Math.max(0, fileBytes - storedBytes);
  const available = await roomLeft();
  const model: FitModel = {
    name: leader.name,
    architecture: leader.architecture,
    quantization: leader.quantization,
    parameters: leader.parameters,
    fileBytes,
    isHere,
    peakBytes: memory.peakBytes,
    shards: memory.shards,
    contextLength: leader.contextLength,
    largestContextLength: memory.largestContextLength,
    fewestShards: memory.fewestShards,
    storage: { needed, available },
  };
  const { limit, reason } = memory;
  if (limit !== 'none') return { runs: false, limit, code: 'out-of-memory', reason, model };
  if (needed > (available ?? Infinity)) {
    const found = `The file has ${megabytes(needed)}, and storage has room for ${megabytes(available ?? 0)}`;
    const advice = 'Free disk space or this site\'s data, or load with cache: false.';
    return { runs: false, limit: 'storage', code: 'quota', reason: `${found}. ${advice}`, model };
  }
  return { runs: true, limit, code: undefined, reason, model };
}

async function roomLeft(): Promise<number | undefined> {
  const manager: StorageManager | undefined = globalThis.navigator?.storage;
  const { usage, quota } = (await manager?.estimate?.()) ?? {};
  return usage === undefined || quota === undefined ? undefined : Math.max(0, quota - usage);
}
