/** What this browser can do, and what follows from it: which wasm build, which transport, how many shards. */

import { FanlightError } from './errors.js';
import type { Build } from './protocol.js';

/** What differs between browsers, and matters to us. */
export interface Features {
  /** 128-bit SIMD. Every browser of the last years has it; nothing runs without it. */
  readonly simd: boolean;
  /** Relaxed SIMD: integer dot products and fused multiply-add. */
  readonly relaxedSimd: boolean;
  /** Memory that workers share. Only in pages that are cross-origin isolated. */
  readonly sharedMemory: boolean;
  readonly cores: number;
  /** Bytes of memory, when the browser says so little that it matters: it rounds, and says 8 GiB for more. */
  readonly memory: number | undefined;
}

/** What browsers say of devices with so much memory or more. */
const PLENTY_GIB = 8;

// Two modules with one function each, as small as can be: () -> v128.
//   header, type section, function section, then the code: constants, the instruction asked about, end.
const header = [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 5, 1, 0x60, 0, 1, 0x7b, 3, 2, 1, 0];
// i32.const 0; i8x16.splat; i8x16.popcnt
const simdModule = [...header, 10, 10, 1, 8, 0, 0x41, 0, 0xfd, 15, 0xfd, 98, 11];
// i32.const 1; i8x16.splat; i32.const 2; i8x16.splat; i8x16.relaxed_swizzle
const relaxedModule = [...header, 10, 15, 1, 13, 0, 0x41, 1, 0xfd, 15, 0x41, 2, 0xfd, 15, 0xfd, 0x80, 0x02, 11];

/** Looks, without loading anything. */
export function detectFeatures(): Features {
  const validates = (bytes: number[]) => typeof WebAssembly === 'object' && WebAssembly.validate(new Uint8Array(bytes));
  return {
    simd: validates(simdModule),
    relaxedSimd: validates(relaxedModule),
    sharedMemory: globalThis.crossOriginIsolated === true && typeof SharedArrayBuffer === 'function',
    cores: globalThis.navigator?.hardwareConcurrency ?? 1,
    memory: deviceMemory(),
  };
}

function deviceMemory(): number | undefined {
  const { navigator } = globalThis;
  const gib: unknown = navigator && 'deviceMemory' in navigator ? navigator.deviceMemory : undefined;
  return typeof gib === 'number' && gib < PLENTY_GIB ? gib * 2 ** 30 : undefined;
}

/** The build to load: the one asked for, or the fastest that the browser can run. */
export function chooseBuild(wanted: 'auto' | Build, { simd, relaxedSimd }: Features): Build {
  if (typeof Worker !== 'function') throw new FanlightError('unsupported-browser', 'There are no Web Workers here.');
  if (!simd) throw new FanlightError('unsupported-browser', 'This browser has no WebAssembly SIMD. A current one has.');
  if (wanted === 'relaxed' && !relaxedSimd) {
    throw new FanlightError('unsupported-browser', 'This browser has no relaxed SIMD: leave out `build`.');
  }
  return wanted === 'auto' ? (relaxedSimd ? 'relaxed' : 'simd128') : wanted;
}

/** How shards are to exchange: as asked for, or by shared memory where there is any. */
export function chooseTransport(
  wanted: 'auto' | 'shared' | 'messages',
  { sharedMemory }: Features,
): 'shared' | 'messages' {
  if (wanted === 'shared' && !sharedMemory) {
    const needs = 'Shared memory needs a cross-origin isolated page (headers COOP: same-origin, COEP: require-corp)';
    throw new FanlightError('unsupported-browser', `${needs}. Leave out \`transport\`: messages work everywhere.`);
  }
  return wanted === 'auto' ? (sharedMemory ? 'shared' : 'messages') : wanted;
}

/** Below this a token costs less than the exchanges that a second shard would need. */
const WORTH_SHARING = 64e6;
/** What one shard can hold: a wasm memory ends at 4 GiB, and weights are not all that is in it. */
const SHARD_BYTES = 3e9;
/** What the engine allows; a file whose length is hidden counts as endless. */
export const MOST_SHARDS = 64;

/** How many shards for a model of so many bytes, when nobody said. */
export function defaultShards(bytes: number, transport: 'shared' | 'messages', cores: number): number {
  if (bytes < WORTH_SHARING) return 1;
  const free = cores <= 4 ? cores : Math.floor(cores / 2); // beyond four, half of the cores are usually second threads
  const useful = Math.min(free, transport === 'shared' ? 8 : 2);
  return Math.min(MOST_SHARDS, Math.max(1, useful, Math.ceil(bytes / SHARD_BYTES)));
}
