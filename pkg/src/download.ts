/**
 * One file from a server into a sink, whatever the network does: it goes on where it broke off, waits and tries again,
 * asks over several connections where that is faster, and never mixes bytes of two versions of the file. It knows
 * nothing of where the bytes go.
 */

import { aborted, FanlightError } from './errors.js';
import { Connection, identityOf, Interrupted, notAGguf, rangeHeaders, refusal, startsAsGguf } from './connection.js';

/** Which file it is, as far as the server says. */
export interface Identity {
  readonly length: number | undefined;
  readonly etag: string | undefined;
  readonly lastModified: string | undefined;
}

/** Bytes `from` (inclusive) to `to` (exclusive; without it, to the end of a file whose length is not known). */
export interface Range {
  readonly from: number;
  readonly to: number | undefined;
}

/** Where the bytes go. */
export interface Sink {
  /** The file that the bytes here are of. */
  readonly identity: Identity | undefined;
  /** How many bytes are here. */
  readonly loaded: number;
  /** What is not here yet, in order; nothing when all of it is. All of the file when nothing is known. */
  missing(): Range[];
  /** Starts over, with this file. */
  begin(identity: Identity): Promise<void>;
  /** Takes bytes from `offset` on, which follow others or begin at a place that `missing` named. Throws or rejects when it cannot. */
  write(offset: number, bytes: Uint8Array): void | Promise<void>;
  /** The length of the file is this: a body without one has ended here, or the server says it by now. */
  setLength(length: number): void;
  /** Forgets all of it: the bytes turned out to be worthless. */
  discard(): Promise<void>;
}

export interface DownloadOptions {
  readonly signal: AbortSignal;
  onProgress(loaded: number, total: number | undefined): void;
  /** The bytes will be held against a hash that is known: parts may be joined though the server names no version. */
  readonly proven?: boolean;
  /** Milliseconds before the first new try; each further one waits twice as long. */
  readonly firstDelay?: number;
  /** Milliseconds without a byte after which a connection counts as broken. */
  readonly silence?: number;
  /** When a further connection is worth a try. */
  readonly parallel?: Parallel;
}

/** When a further connection is worth a try, and how many there may be. */
export interface Parallel {
  /** Bytes that are still to come, at least, for each connection. */
  readonly least: number;
  /** Milliseconds over which the speed is measured before and after one is added. */
  readonly window: number;
  readonly most: number;
}

/** Browsers open six connections to a host; the page may want one, too. */
const PARALLEL: Parallel = { least: 16 << 20, window: 1_500, most: 4 };
/** A further connection stays when all together are faster by this much. */
const WORTH_IT = 1.15;

/** Tries in a row that brought nothing new: fewer when the server has never answered, for the address may be wrong. */
const TRIES = 10;
const TRIES_UNSEEN = 3;
const FIRST_DELAY_MS = 250;
const LONGEST_DELAY_MS = 8_000;
/** A download that is under way waits so long for a network that the browser says is gone. */
const OFFLINE_MS = 600_000;

/** Puts all of the file into the sink. */
export function download(url: string, sink: Sink, options: DownloadOptions): Promise<void> {
  return new Download(url, sink, options).run();
}

/** What one connection is at: it stops at `to`, which moves when another takes over the end. */
interface Lane {
  at: number;
  to: number | undefined;
}

class Download {
  readonly #url: string;
  readonly #sink: Sink;
  readonly #options: DownloadOptions;
  /** Fires when it is over, whichever way. */
  readonly #stop = new AbortController();
  readonly #lanes = new Set<Lane>();
  readonly #workers: Promise<void>[] = [];
  readonly #speed: Speed;
  /** This download has taken bytes of an answer: from here on the file must stay the same. */
  #accepted = false;
  /** The server has answered a range with a range, or says that it does. */
  #ranges = false;
  /** More bytes came than the server had said: it said the length of a compressed body, and hid that it is one. */
  #lengthLies = false;
  #furthest: number;
  #failures = 0;
  #finish: () => void = () => {};
  #fail: (error: unknown) => void = () => {};
  /** Settles when all is here, or as soon as one connection fails for good. */
  readonly #over = new Promise<void>((resolve, reject) => {
    this.#finish = resolve;
    this.#fail = reject;
  });

  constructor(url: string, sink: Sink, options: DownloadOptions) {
    this.#url = url;
    this.#sink = sink;
    this.#options = options;
    this.#furthest = sink.loaded;
    this.#speed = new Speed(options.parallel ?? PARALLEL);
  }

  async run(): Promise<void> {
    const { signal } = this.#options;
    const stop = () => this.#fail(aborted(signal.reason));
    signal.addEventListener('abort', stop);
    const watch = setInterval(() => this.#consider(), this.#speed.window / 3);
    try {
      if (signal.aborted) throw aborted(signal.reason);
      if (this.#sink.missing().length === 0) return;
      this.#hire();
      await this.#over;
    } catch (error) {
      throw signal.aborted ? aborted(signal.reason) : error;
    } finally {
      clearInterval(watch);
      signal.removeEventListener('abort', stop);
      this.#stop.abort();
      await Promise.allSettled(this.#workers); // nothing is written any more
    }
  }

  #hire(): void {
    const work = this.#work();
    work.catch(this.#fail);
    this.#workers.push(work);
  }

  /** Adds a connection where there is reason to. */
  #consider(): void {
    const left = (this.#sink.identity?.length ?? 0) - this.#sink.loaded;
    if (this.#ranges && this.#speed.wantsMore(this.#lanes.size, this.#sink.loaded, left)) this.#hire();
  }

  /** One request after the other, until nothing is left that is not on its way. */
  async #work(): Promise<void> {
    for (let lane = this.#claim(); lane; lane = this.#claim()) {
      this.#lanes.add(lane);
      try {
        await this.#attempt(lane);
      } catch (error) {
        if (!(error instanceof Interrupted) || this.#stop.signal.aborted) throw error;
        this.#lanes.delete(lane);
        if (this.#lanes.size > 0) this.#speed.enough(); // the server may not like so many
        if (this.#handBack(lane)) return;
        await this.#recover(error);
      } finally {
        this.#lanes.delete(lane);
      }
    }
    if (this.#sink.missing().length === 0) this.#finish();
  }

  /** To the connection that this one took its part from, if that is still on its way there. */
  #handBack({ at, to }: Lane): boolean {
    const giver = [...this.#lanes].find((lane) => lane.to === at);
    if (giver) giver.to = to;
    return giver !== undefined;
  }

  async #recover(error: Interrupted): Promise<void> {
    const { loaded } = this.#sink;
    if (loaded > this.#furthest) this.#failures = 0;
    this.#furthest = Math.max(this.#furthest, loaded);
    this.#failures += 1;
    if (this.#failures >= (this.#accepted ? TRIES : TRIES_UNSEEN)) {
      const advice = 'Check the connection and the address, then load again: it goes on from there.';
      throw new FanlightError('network', `${error.message}. ${advice}`, { cause: error.cause });
    }
    if (this.#accepted) await online(this.#stop.signal);
    await sleep(delay(this.#failures, this.#options.firstDelay ?? FIRST_DELAY_MS), this.#stop.signal);
  }

  /** Something that is missing and that no other connection is at; or the second half of what one is at. */
  #claim(): Lane | undefined {
    const lanes = [...this.#lanes].sort((one, other) => one.at - other.at);
    for (const { from, to = Infinity } of this.#sink.missing()) {
      let free = from;
      for (const lane of lanes) {
        if (lane.at >= to || (lane.to ?? Infinity) <= free) continue;
        if (lane.at > free) return { at: free, to: lane.at };
        free = lane.to ?? Infinity;
      }
      if (free < to) return { at: free, to: to === Infinity ? undefined : to };
    }
    const [longest] = lanes.sort((one, other) => leftOf(other) - leftOf(one));
    if (longest?.to === undefined || leftOf(longest) < LEAST_SHARE || !this.#ranges) return undefined;
    const middle = Math.ceil((longest.at + leftOf(longest) / 2) / SPLIT) * SPLIT;
    const lane = { at: middle, to: longest.to };
    longest.to = middle;
    return lane;
  }

  /** One request, and as much of its body as comes. Returns when it has what it came for, or when it has to be asked anew. */
  async #attempt(lane: Lane): Promise<void> {
    const url = this.#url;
    const sink = this.#sink;
    const before = sink.identity;
    const resumable = before && (hasValidator(before) || this.#options.proven === true);
    if (before && !resumable) {
      await sink.discard(); // nothing says that the rest would be of the same file
      lane.at = 0;
      lane.to = undefined;
    }
    const asked: Range | undefined = resumable && needsRange(lane, before) ? { from: lane.at, to: lane.to } : undefined;
    const connection = new Connection(url, this.#stop.signal, this.#options.silence);
    try {
      const response = await connection.fetch(rangeHeaders(url, before, asked));
      const { status } = response;
      const shrunk = status === 416 && asked !== undefined; // the file ends before the place where we want to go on
      if (!response.ok && !shrunk) throw refusal(url, response);
      const answer = identityOf(response, asked, before);
      const identity = this.#lengthLies ? { ...answer.identity, length: undefined } : answer.identity;
      const ranged = status === 206 && asked !== undefined;
      if (!ranged && !shrunk) await this.#expectGguf(connection, before !== undefined);
      if (resumable && !this.#isSame(before, identity)) {
        if (this.#accepted && (shrunk || differs(before, identity))) {
          await sink.discard();
          throw new FanlightError('changed-file', `${url} changed on the server during the download. Load it again.`);
        }
        if (this.#lanes.size > 1) throw new Interrupted(`${url}: one answer does not say which file it is of`);
        // The part is of an earlier visit: begin again, with this answer if it is whole.
        if (ranged || shrunk) return await sink.discard();
        await sink.begin(identity);
      } else if (shrunk) {
        throw new Interrupted(`${url}: the server has no bytes from ${asked.from} on, though the file is longer`);
      } else if (!resumable) {
        await sink.begin(identity);
      }
      if (ranged && answer.start !== asked.from) throw new Interrupted(`${url}: the server sent another range than asked`);
      // Answers that nothing shows to be of one file are not joined.
      const joinable = this.#options.proven === true || hasValidator(sink.identity ?? identity);
      this.#ranges = joinable && (ranged || (asked === undefined && response.headers.get('accept-ranges') === 'bytes'));
      if (!ranged) {
        lane.at = 0;
        lane.to = identity.length;
      } else if (sink.identity?.length === undefined && identity.length !== undefined) {
        sink.setLength(identity.length);
        lane.to ??= identity.length;
      }
      await this.#receive(lane, connection);
    } finally {
      connection.close();
    }
  }

  /** A login page of the network, half way, is no reason to forget what is here. */
  async #expectGguf(connection: Connection, underWay: boolean): Promise<void> {
    const head = await connection.peek(4);
    if (startsAsGguf(head)) return;
    const error = notAGguf(this.#url, head, connection.contentType);
    throw underWay ? new Interrupted(error.message.replace(/\.$/, ''), { cause: error }) : error;
  }

  /** Reads the body into the sink. */
  async #receive(lane: Lane, connection: Connection): Promise<void> {
    const sink = this.#sink;
    this.#accepted = true;
    for (;;) {
      const total = sink.identity?.length;
      this.#options.onProgress(sink.loaded, total);
      if (lane.to !== undefined && lane.at >= lane.to && lane.to !== total) return; // others go on from here
      const bytes = await connection.read();
      if (!bytes) break;
      if (total !== undefined && lane.at + bytes.length > total) {
        if (this.#lanes.size > 1) throw new Interrupted(`${this.#url}: the server sends more than it was asked for`);
        this.#lengthLies = true;
        this.#ranges = false;
        return await sink.discard();
      }
      const wait = sink.write(lane.at, lane.to === undefined ? bytes : bytes.subarray(0, Math.max(0, lane.to - lane.at)));
      if (wait) await wait;
      lane.at += bytes.length;
    }
    const expected = lane.to ?? sink.identity?.length;
    if (expected === undefined) sink.setLength(lane.at);
    else if (lane.at < expected) {
      throw new Interrupted(`${this.#url}: the connection ended at byte ${lane.at} of ${expected}`);
    }
  }

  #isSame(before: Identity, now: Identity): boolean {
    return this.#options.proven === true ? !differs({ ...before, etag: undefined, lastModified: undefined }, now) : isSame(before, now);
  }
}

/** Where one connection takes over from another: a multiple of the blocks that sinks keep. */
const SPLIT = 1 << 18;

/** A connection that has so much left lets another one take half of it. */
const LEAST_SHARE = 4 * SPLIT;

const leftOf = ({ at, to }: Lane) => (to ?? at) - at;

/** All of a file, from its beginning, is asked for without a range. */
function needsRange(lane: Lane, { length }: Identity): boolean {
  return lane.at > 0 || (lane.to !== undefined && lane.to !== length);
}

/** Whether one more connection made it faster. */
class Speed {
  readonly #rules: Parallel;
  #samples: { at: number; loaded: number }[] = [];
  /** The speed before the last one came. */
  #before = 0;
  #enough = false;

  constructor(rules: Parallel) {
    this.#rules = rules;
  }

  get window(): number {
    return this.#rules.window;
  }

  enough(): void {
    this.#enough = true;
  }

  wantsMore(workers: number, loaded: number, left: number): boolean {
    const { least, window, most } = this.#rules;
    const at = performance.now();
    this.#samples.push({ at, loaded });
    const [first] = this.#samples;
    if (this.#enough || !first || at - first.at < window) return false;
    const speed = (loaded - first.loaded) / (at - first.at);
    if (speed < this.#before * WORTH_IT || workers >= most || left < least * (workers + 1)) this.#enough = true;
    this.#before = speed;
    this.#samples = [];
    return !this.#enough;
  }
}

// ---- Is it still the same? -------------------------------------------------------------------------------------

const hasValidator = ({ etag, lastModified }: Identity) => etag !== undefined || lastModified !== undefined;

/** Both say who they are, and say the same. */
function isSame(one: Identity, other: Identity): boolean {
  if (differs(one, other)) return false;
  const etags = one.etag !== undefined && other.etag !== undefined;
  return etags || (one.lastModified !== undefined && other.lastModified !== undefined);
}

/** What both say contradicts. */
function differs(one: Identity, other: Identity): boolean {
  if (one.length !== undefined && other.length !== undefined && one.length !== other.length) return true;
  if (one.etag !== undefined && other.etag !== undefined) return one.etag !== other.etag;
  return one.lastModified !== undefined && other.lastModified !== undefined && one.lastModified !== other.lastModified;
}

// ---- Waiting ---------------------------------------------------------------------------------------------------

/** Twice as long each time, up to a bound; a little at random, so that a crowd does not come back all at once. */
function delay(failures: number, first: number): number {
  return Math.min(first * 2 ** (failures - 1), LONGEST_DELAY_MS) * (0.75 + Math.random() / 2);
}

/** Waits while the browser knows that there is no network at all; not for ever. */
async function online(signal: AbortSignal): Promise<void> {
  for (let waited = 0; waited < OFFLINE_MS && globalThis.navigator?.onLine === false; waited += 500) {
    await sleep(500, signal);
  }
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(aborted(signal.reason));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, ms);
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
  });
}
