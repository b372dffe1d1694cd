/** Whether a model fits: what each shard will weigh, held against what there is. No I/O: page and worker judge alike. */

import type { EngineInfo } from './engine.js';
import { FanlightError } from './errors.js';

/** Bytes of one shard, in the memory of its worker. */
export interface ShardBytes {
  readonly weightBytes: number;
  /** Keys and values when the context is full. */
  readonly kvBytes: number;
  readonly bufferBytes: number;
  /** Program, vocabulary, chat template, and what is needed while loading. */
  readonly overheadBytes: number;
  /** All of it. */
  readonly peakBytes: number;
}

/** What the headers of a model's files say. */
export interface Measured {
  /** The shards that were asked for, in order. */
  readonly shards: readonly EngineInfo[];
  /** The largest shard of other divisions, by their number of shards. */
  readonly others: readonly { readonly shards: number; readonly largest: EngineInfo }[];
  readonly headerBytes: number;
  readonly fileBytes: number;
}

/** What there is. */
export interface Limits {
  /** Bytes that one worker's memory can have. */
  readonly shard: number;
  /** Bytes that all may have together; nothing when that is not known. */
  readonly total: number | undefined;
}

/** A verdict on memory. */
export interface MemoryVerdict {
  readonly shards: readonly ShardBytes[];
  readonly peakBytes: number;
  readonly limit: 'none' | 'shard-memory' | 'memory';
  readonly reason: string;
  /** The longest context that fits with so many shards; 0 when not even one token does. */
  readonly largestContextLength: number;
  /** The fewest shards with which the asked-for context fits; nothing when none do. */
  readonly fewestShards: number | undefined;
}

/** A wasm memory of 32-bit addresses: 65,536 pages. */
export const SHARD_LIMIT = 2 ** 32;
/** The program with its stack and tables, 4 MB of the file on their way, and what the allocator leaves unused. */
const PROGRAM = 16 << 20;
/** The header, parsed: tensors and keys on every shard; on the leader also the vocabulary, which takes more than in the file. */
const PARSED = 2;
const PARSED_LEADER = 6;
/** Divisions that are looked at when the one asked for does not fit. */
export const OTHER_DIVISIONS = [1, 2, 3, 4, 6, 8, 12, 16];

/** Holds a model against what there is. */
export function judge(measured: Measured, limits: Limits): MemoryVerdict {
  const { headerBytes, others } = measured;
  const shards = measured.shards.map((info, shard) => bytesOf(info, shard, headerBytes));
  const peakBytes = sum(shards.map((shard) => shard.peakBytes));
  const largest = Math.max(...shards.map((shard) => shard.peakBytes));
  const [first] = measured.shards;
  if (!first) throw new RangeError('a model has at least one shard');
  const fewest = others.find(({ shards: count, largest }) => {
    const { peakBytes } = bytesOf(largest, 0, headerBytes);
    return peakBytes <= limits.shard && peakBytes * count <= (limits.total ?? Infinity);
  });
  const verdict = {
    shards,
    peakBytes,
    largestContextLength: longestContext(measured, shards, limits),
    fewestShards: fewest?.shards,
  };
  const says = { ...verdict, shardCount: shards.length };
  if (largest > limits.shard) {
    const found = `One of ${shards.length} workers needs ${megabytes(largest)}, and can have ${megabytes(limits.shard)}`;
    return { ...verdict, limit: 'shard-memory', reason: `${found}. ${advice(says)}` };
  }
  if (peakBytes > (limits.total ?? Infinity)) {
    const found = `The model needs ${megabytes(peakBytes)}, and there are ${megabytes(limits.total ?? 0)}`;
    return { ...verdict, limit: 'memory', reason: `${found}. ${advice(says)}` };
  }
  return { ...verdict, limit: 'none', reason: `It needs ${megabytes(peakBytes)} in ${shards.length} workers.` };
}

/** The error of a model that does not fit. */
export function tooLarge({ reason }: MemoryVerdict): FanlightError {
  return new FanlightError('out-of-memory', reason);
}

/** Bytes as people read them. */
export function megabytes(bytes: number): string {
  return `${Math.ceil(bytes / 1e6).toLocaleString('en')} MB`;
}

function bytesOf(info: EngineInfo, shard: number, headerBytes: number): ShardBytes {
  const { weightBytes, kvBytes, bufferBytes } = info;
  const overheadBytes = PROGRAM + headerBytes * (shard === 0 ? PARSED_LEADER : PARSED);
  return { weightBytes, kvBytes, bufferBytes, overheadBytes, peakBytes: weightBytes + kvBytes + bufferBytes + overheadBytes };
}

/** Keys and values take the same for each token. */
function longestContext({ shards: infos }: Measured, shards: readonly ShardBytes[], { shard, total }: Limits): number {
  const perToken = infos.map(({ kvBytes, contextLength }) => kvBytes / contextLength);
  const fixed = shards.map(({ peakBytes, kvBytes }) => peakBytes - kvBytes);
  const bounds = fixed.map((bytes, at) => (shard - bytes) / (perToken[at] || 1));
  if (total !== undefined) bounds.push((total - sum(fixed)) / (sum(perToken) || 1));
  const trained = infos[0]?.trainedContextLength ?? 0;
  return Math.max(0, Math.min(trained, Math.floor(Math.min(...bounds))));
}

function advice({
  largestContextLength: context,
  fewestShards,
  shardCount,
}: {
  largestContextLength: number;
  fewestShards: number | undefined;
  shardCount: number;
}): string {
  const ways: string[] = [];
  if (context > 0) ways.push(`a contextLength of ${context}`);
  if (fewestShards !== undefined && fewestShards !== shardCount) ways.push(`threads: ${fewestShards}`);
  return ways.length > 0 ? `It fits with ${ways.join(', or with ')}.` : 'A smaller file of the same model may fit.';
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0);
}
