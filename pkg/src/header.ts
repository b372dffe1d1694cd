/** The beginning of a model's files, and what the engine reads in it: sizes, before the weights are there. In a worker. */

import { Connection, identityOf, Interrupted, notAGguf, refusal, startsAsGguf } from './connection.js';
import type { EngineInfo, EngineModule, EngineOptions, Source } from './engine.js';
import { FanlightError } from './errors.js';
import { judge, type Limits, type Measured, OTHER_DIVISIONS, tooLarge } from './fit.js';

/** How the model is to be divided and used. */
export interface Division {
  readonly shards: number;
  readonly contextLength?: number | undefined;
  readonly kvType?: EngineOptions['kvType'] | undefined;
  readonly predict?: boolean | undefined;
}

/** Bytes that are asked for at first, and how much more each time. */
const FIRST = 1 << 20;
const MORE = 2;
const TRIES = 3;
/** The engine reads no header that is longer. */
const LONGEST = 129 << 20;

/** The beginning of a file. */
export class Beginning implements Source {
  length: number;
  #bytes: Uint8Array;
  #here = 0;
  /** Up to where the engine has read: the length of the header, or a little more. */
  furthest = 0;
  /** Up to where the engine wanted to read, when that was not here; else 0. */
  wanted = 0;

  constructor(length: number) {
    this.length = length;
    this.#bytes = new Uint8Array(Math.min(length, FIRST));
  }

  /** How many bytes are here. */
  get here(): number {
    return this.#here;
  }

  read(offset: number, into: Uint8Array): void {
    const end = offset + into.length;
    if (end > this.#here) {
      this.wanted = end;
      throw new FanlightError('integrity', `Byte ${end} of the file is not here yet.`);
    }
    this.furthest = Math.max(this.furthest, end);
    into.set(this.#bytes.subarray(offset, end));
  }

  /** Takes the next bytes. */
  add(bytes: Uint8Array): void {
    const end = this.#here + bytes.length;
    if (end > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(end, Math.min(this.length, 2 * this.#bytes.length)));
      larger.set(this.#bytes.subarray(0, this.#here));
      this.#bytes = larger;
    }
    this.#bytes.set(bytes, this.#here);
    this.#here = end;
  }
}

/** What the engine says of the shards; nothing when more of a file has to be here first (`wanted` says of which, and how much). */
export function measure(
  glue: EngineModule,
  files: readonly Beginning[],
  division: Division,
  others: readonly number[],
): Measured | undefined {
  const { shards, contextLength, kvType, predict } = division;
  for (const file of files) file.wanted = 0;
  const estimate = (shard: number, shards: number): EngineInfo => {
    const options = { shard, shards, ...(contextLength && { contextLength }), ...(kvType && { kvType }), ...(predict && { predict }) };
    return glue.estimate([...files], options);
  };
  try {
    return {
      shards: Array.from({ length: shards }, (_, shard) => estimate(shard, shards)),
      others: others.map((count) => ({ shards: count, largest: estimate(0, count) })),
      headerBytes: files.reduce((bytes, file) => bytes + file.furthest, 0),
      fileBytes: files.reduce((bytes, file) => bytes + file.length, 0),
    };
  } catch (error) {
    if (files.some((file) => file.wanted > 0)) return undefined;
    throw error;
  }
}

/** Measures a model of which not a byte has to be here: reads as much of each file as it takes. */
export async function measureAt(
  glue: EngineModule,
  parts: readonly (string | Blob)[],
  division: (fileBytes: number) => Division,
  signal: AbortSignal,
): Promise<Measured> {
  const files = await Promise.all(parts.map((part) => begin(part, signal)));
  const known = division(files.reduce((bytes, { file }) => bytes + file.length, 0));
  for (;;) {
    const measured = measure(glue, files.map(({ file }) => file), known, OTHER_DIVISIONS);
    if (measured) return measured;
    for (const { file, more } of files) {
      if (file.wanted === 0) continue;
      const { here } = file;
      await more(Math.min(file.length, Math.max(file.wanted, here * MORE)));
      if (file.here === here) throw new FanlightError('malformed-file', `The file ends at byte ${here}, inside its header.`);
    }
  }
}

interface Growing {
  readonly file: Beginning;
  /** Brings it up to so many bytes. */
  more(until: number): Promise<void>;
}

async function begin(part: string | Blob, signal: AbortSignal): Promise<Growing> {
  if (typeof part === 'string') return beginAt(part, signal);
  const file = new Beginning(part.size);
  const more = async (until: number) => {
    file.add(new Uint8Array(await part.slice(file.here, until).arrayBuffer()));
  };
  await more(Math.min(part.size, FIRST));
  const head = new Uint8Array(await part.slice(0, 512).arrayBuffer());
  if (!startsAsGguf(head)) throw notAGguf('The file', head, '');
  return { file, more };
}

async function beginAt(url: string, signal: AbortSignal): Promise<Growing> {
  let file: Beginning | undefined;
  let etag: string | undefined;
  const bring = (until: number) =>
    persistently(async () => {
      const from = file?.here ?? 0;
      const connection = new Connection(url, signal);
      try {
        const response = await connection.fetch({ Range: `bytes=${from}-${until - 1}` });
        if (!response.ok) throw refusal(url, response);
        const { identity, start } = identityOf(response, { from, to: until }, undefined);
        etag ??= identity.etag;
        if (identity.etag !== etag) throw new FanlightError('changed-file', `${url} changed while it was read.`);
        if (start !== from && start !== 0) throw new Interrupted(`${url}: the server sent another range than asked`);
        if (start === 0) {
          const head = await connection.peek(4);
          if (!startsAsGguf(head)) throw notAGguf(url, head, connection.contentType);
        }
        file ??= new Beginning(identity.length ?? (await lengthOf(url, signal)));
        await fill(file, connection, start, until);
      } finally {
        connection.close();
      }
    });
  await bring(FIRST);
  if (!file) throw new RangeError('no file');
  return { file, more: bring };
}

/** The length of a file whose server hides where a range lies: it says it with the whole file, which is not read. */
async function lengthOf(url: string, signal: AbortSignal): Promise<number> {
  const connection = new Connection(url, signal);
  try {
    const { identity } = identityOf(await connection.fetch({}), undefined, undefined);
    return identity.length ?? Number.MAX_SAFE_INTEGER;
  } finally {
    connection.close();
  }
}

async function fill(file: Beginning, connection: Connection, start: number, until: number): Promise<void> {
  for (let at = start; file.here < until; ) {
    const bytes = await connection.read();
    if (!bytes) break;
    const fresh = bytes.subarray(Math.max(0, file.here - at), Math.max(0, until - at));
    if (fresh.length > 0) file.add(fresh);
    at += bytes.length;
  }
}

async function persistently(work: () => Promise<void>): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error;
      if (tries === TRIES) throw new FanlightError('network', `${error.message}. Check the address.`, { cause: error.cause });
    }
  }
}

/** Stands at the beginning of a download, and ends it when the header says that the model cannot run here. */
export class Gate {
  readonly #glue: EngineModule;
  readonly #division: (fileBytes: number) => Division;
  readonly #limits: Limits;
  #file: Beginning | undefined;
  #next = FIRST;
  #open = false;

  constructor(glue: EngineModule, division: (fileBytes: number) => Division, limits: Limits) {
    this.#glue = glue;
    this.#division = division;
    this.#limits = limits;
  }

  /** Takes the next bytes of a file of this length. Throws when the model cannot run here. */
  take(bytes: Uint8Array, length: number | undefined): void {
    if (this.#open || length === undefined) return;
    this.#file ??= new Beginning(length);
    this.#file.add(bytes);
    const { here } = this.#file;
    if (here < Math.min(this.#next, length)) return;
    this.#next = here * 2;
    const file = this.#file;
    const ask = (others: readonly number[]) => measure(this.#glue, [file], this.#division(length), others);
    const measured = ask([]);
    if (!measured && here < LONGEST) return;
    this.#open = true;
    this.#file = undefined;
    if (!measured || judge(measured, this.#limits).limit === 'none') return;
    throw tooLarge(judge(ask(OTHER_DIVISIONS) ?? measured, this.#limits));
  }

  /** It began again. */
  reset(): void {
    this.#file = undefined;
    this.#next = FIRST;
  }
}
