/**
 * A file in blocks, each with its sum: what is here, what is missing, and whether it is what it should be. Takes the bytes
 * of a download in any order, and finds what is damaged. Where the blocks lie it does not know.
 */

import type { Identity, Range, Sink } from './download.js';
import { FanlightError } from './errors.js';

/** Bytes of a block; the last one of a file may be shorter. The engine's own number (`src/source/checked.rs`). */
export const BLOCK = 1 << 18;

/** A block as it was stored: its bytes, and the sum that was taken when they came. */
export interface StoredBlock {
  readonly bytes: Uint8Array;
  readonly sum: bigint;
}

/** Where the blocks of one file lie. Only one tab at a time has it open. */
export interface Drawer {
  /** Blocks that may be there: as many as there is room taken for. */
  readonly count: number;
  read(index: number): StoredBlock | undefined | Promise<StoredBlock | undefined>;
  write(index: number, block: StoredBlock): void | Promise<void>;
  /** Nothing is in it any more. */
  clear(): void | Promise<void>;
  /** All is there, and so long: makes sure that it stays. */
  settle(length: number): void | Promise<void>;
  close(): void;
}

/** What a drawer's file needs of the engine. */
export interface Sums {
  blockSum(bytes: Uint8Array): bigint;
  digest(): RunningDigest;
}

/** A SHA-256 that takes a file as it comes. */
export interface RunningDigest {
  update(bytes: Uint8Array): void;
  finish(): Uint8Array;
  free(): void;
}

/** A block of which only the beginning is here. */
interface Partial {
  readonly bytes: Uint8Array;
  filled: number;
}

/** Blocks that are hashed, at most, for each one that comes, while the hash catches up. */
const CATCH_UP = 2;
/** Blocks between two looks at the signal, in work that takes a while. */
const TURN = 32;

export interface AssemblyOptions {
  readonly sums: Sums;
  /** Which file the blocks are of that are there already; nothing when they are of none. */
  readonly identity: Identity | undefined;
  /** Called before the first block of a file is written: notes which file it is. */
  onBegin(identity: Identity): void | Promise<void>;
  /** Told of all bytes in the order of the file, each once. What it throws ends the work. */
  onBytes?(bytes: Uint8Array, length: number | undefined): void;
  /** Called when it starts over. */
  onDiscard(): void | Promise<void>;
}

/** The file that comes together in a drawer. */
export class Assembly implements Sink {
  readonly #drawer: Drawer;
  readonly #options: AssemblyOptions;
  readonly #partials = new Map<number, Partial>();
  /** The sums of the blocks that are here; 0 for the others. */
  #sums: bigint[] = [];
  #here = 0;
  #identity: Identity | undefined;
  #digest: RunningDigest;
  /** Blocks, from the first on, that the digest has taken. */
  #hashed = 0;
  #closed = false;
  /** A last block that is being written since its length is known. */
  #tail: void | Promise<void> = undefined;
  /** The buffer of a block that is complete, for the next one. */
  #spare: Uint8Array | undefined;
  /** Blocks that were there and were not what they should be. */
  damaged = 0;

  private constructor(drawer: Drawer, options: AssemblyOptions) {
    this.#drawer = drawer;
    this.#options = options;
    this.#identity = options.identity;
    this.#digest = options.sums.digest();
  }

  /** With what is in the drawer, as far as it is sound. */
  static async open(drawer: Drawer, options: AssemblyOptions, signal: AbortSignal): Promise<Assembly> {
    const assembly = new Assembly(drawer, options);
    if (options.identity) await assembly.#takeStock(signal);
    return assembly;
  }

  get identity(): Identity | undefined {
    return this.#identity;
  }

  get loaded(): number {
    let loaded = this.#here;
    for (const { filled } of this.#partials.values()) loaded += filled;
    return loaded;
  }

  /** The sum of each block, in order, when all are here. */
  get sums(): BigUint64Array<ArrayBuffer> {
    return BigUint64Array.from(this.#sums);
  }

  missing(): Range[] {
    const length = this.#identity?.length;
    const count = length === undefined ? this.#sums.length : Math.ceil(length / BLOCK);
    const ranges: Range[] = [];
    let from: number | undefined;
    const end = (at: number) => {
      if (from !== undefined && from < at) ranges.push({ from, to: at });
      from = undefined;
    };
    for (let index = 0; index < count; index++) {
      const partial = this.#partials.get(index);
      if (this.#sums[index] || partial) end(index * BLOCK);
      if (!this.#sums[index]) from ??= index * BLOCK + (partial?.filled ?? 0);
    }
    if (length !== undefined) end(length);
    else ranges.push({ from: from ?? count * BLOCK + (this.#partials.get(count)?.filled ?? 0), to: undefined });
    return ranges;
  }

  async begin(identity: Identity): Promise<void> {
    await this.discard();
    await this.#options.onBegin(identity);
    this.#identity = identity;
  }

  write(offset: number, bytes: Uint8Array): void | Promise<void> {
    for (let at = 0; at < bytes.length;) {
      const index = Math.floor((offset + at) / BLOCK);
      const inBlock = offset + at - index * BLOCK;
      const piece = bytes.subarray(at, at + BLOCK - inBlock);
      at += piece.length;
      if (this.#sums[index]) continue;
      const wait = this.#fill(index, inBlock, piece);
      if (wait) return wait.then(() => this.write(offset + at, bytes.subarray(at)));
    }
  }

  setLength(length: number): void {
    if (!this.#identity) throw new RangeError('the length of no file');
    this.#identity = { ...this.#identity, length };
    // The last block may have waited for the end.
    const last = Math.ceil(length / BLOCK) - 1;
    const partial = this.#partials.get(last);
    if (partial && partial.filled === this.#lengthOf(last)) this.#tail = this.#complete(last, partial);
  }

  async discard(): Promise<void> {
    this.#identity = undefined;
    this.#partials.clear();
    this.#sums = [];
    this.#here = 0;
    this.#startDigest();
    await this.#drawer.clear(); // before the notes: no bytes without a note that says whose they are
    await this.#options.onDiscard();
  }

  /** All is here: the length and the SHA-256 of the file. */
  async finish(signal: AbortSignal): Promise<{ length: number; sha256: Uint8Array }> {
    await this.#tail;
    const length = this.#identity?.length;
    if (length === undefined || this.missing().length > 0) throw new RangeError('the file is not complete');
    const count = Math.ceil(length / BLOCK);
    while (this.#hashed < count) {
      await this.#catchUp(TURN);
      await turn(signal);
    }
    await this.#drawer.settle(length);
    return { length, sha256: this.#digest.finish() };
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#digest.free();
    this.#drawer.close();
  }

  /** Looks at each block in the drawer, and keeps those that are what they should be. */
  async #takeStock(signal: AbortSignal): Promise<void> {
    const length = this.#identity?.length;
    const count = Math.min(this.#drawer.count, length === undefined ? Infinity : Math.ceil(length / BLOCK));
    for (let index = 0; index < count; index++) {
      const stored = await this.#drawer.read(index);
      if (stored && this.#isSound(index, stored)) {
        this.#sums[index] = stored.sum;
        this.#here += stored.bytes.length;
        if (this.#hashed === index) this.#take(stored.bytes);
      } else {
        this.damaged += 1;
        this.#sums[index] = 0n;
      }
      if (index % TURN === 0) await turn(signal);
    }
    if (length !== undefined) return;
    // Without a length only what is joined to the beginning counts.
    const gap = this.#sums.indexOf(0n);
    if (gap >= 0) this.#sums.length = gap;
    this.#here = this.#sums.length * BLOCK;
  }

  #isSound(index: number, { bytes, sum }: StoredBlock): boolean {
    return sum !== 0n && bytes.length === this.#lengthOf(index) && this.#options.sums.blockSum(bytes) === sum;
  }

  #lengthOf(index: number): number {
    return Math.min(BLOCK, (this.#identity?.length ?? Infinity) - index * BLOCK);
  }

  #fill(index: number, inBlock: number, piece: Uint8Array): void | Promise<void> {
    const whole = this.#lengthOf(index);
    let partial = this.#partials.get(index);
    if (!partial) {
      partial = { bytes: this.#spare ?? new Uint8Array(BLOCK), filled: 0 };
      this.#spare = undefined;
      this.#partials.set(index, partial);
    }
    const fresh = piece.subarray(Math.max(0, partial.filled - inBlock));
    if (inBlock > partial.filled) throw new RangeError(`block ${index}: bytes from ${inBlock} on, after ${partial.filled}`);
    partial.bytes.set(fresh, partial.filled);
    partial.filled += fresh.length;
    return partial.filled === whole ? this.#complete(index, partial) : undefined;
  }

  #complete(index: number, { bytes, filled }: Partial): void | Promise<void> {
    const block = bytes.subarray(0, filled);
    const sum = this.#options.sums.blockSum(block);
    const done = () => {
      this.#partials.delete(index);
      while (this.#sums.length < index) this.#sums.push(0n);
      this.#sums[index] = sum;
      this.#here += filled;
      if (this.#hashed === index) this.#take(block);
      this.#spare = bytes;
      return this.#sums[this.#hashed] ? this.#catchUp(CATCH_UP) : undefined;
    };
    const wait = this.#drawer.write(index, { bytes: block, sum });
    return wait ? wait.then(done) : done();
  }

  #take(bytes: Uint8Array): void {
    this.#options.onBytes?.(bytes, this.#identity?.length);
    this.#digest.update(bytes);
    this.#hashed += 1;
  }

  /** The digest takes blocks that came before it was their turn. */
  async #catchUp(blocks: number): Promise<void> {
    for (; blocks > 0 && this.#sums[this.#hashed]; blocks--) {
      const index = this.#hashed;
      const stored = await this.#drawer.read(index);
      if (index !== this.#hashed) return; // another one was quicker
      if (!stored || !this.#isSound(index, stored)) {
        throw new FanlightError('integrity', 'Browser storage gave back other bytes than it took. Load again.');
      }
      this.#take(stored.bytes);
    }
  }

  #startDigest(): void {
    this.#digest.free();
    this.#digest = this.#options.sums.digest();
    this.#hashed = 0;
  }
}

/** Lets messages in: an abort is one. */
async function turn(signal: AbortSignal): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve));
  signal.throwIfAborted();
}
