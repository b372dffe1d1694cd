/**
 * One file from a server into a sink, whatever the network does: it goes on where it broke off, waits and tries again,
 * and never mixes bytes of two versions of the file. It knows nothing of where the bytes go.
 */

import { aborted, FanlightError, messageOf } from './errors.js';

/** Which file it is, as far as the server says. */
export interface Identity {
  readonly length: number | undefined;
  readonly etag: string | undefined;
  readonly lastModified: string | undefined;
}

/** Where the bytes go. */
export interface Sink {
  /** Bytes taken so far: the beginning of the file that `identity` names. */
  readonly position: number;
  readonly identity: Identity | undefined;
  /** Starts over, with this file. */
  begin(identity: Identity): Promise<void>;
  /** Takes the next bytes, or throws. */
  write(bytes: Uint8Array): void;
  /** The body ended, of a file whose length the server did not say: it is what has come. */
  end(): void;
  /** Forgets all of it: the bytes turned out to be worthless. */
  discard(): Promise<void>;
}

export interface DownloadOptions {
  readonly signal: AbortSignal;
  onProgress(loaded: number, total: number | undefined): void;
  /** Milliseconds before the first new try; each further one waits twice as long. */
  readonly firstDelay?: number;
}

/** Tries in a row that brought nothing new: fewer when the server has never answered, for the address may be wrong. */
const TRIES = 7;
const TRIES_UNSEEN = 3;
const FIRST_DELAY_MS = 250;
const LONGEST_DELAY_MS = 8_000;
/** A connection that brings nothing for so long counts as broken. */
const STALL_MS = 30_000;
const MAGIC = [0x47, 0x47, 0x55, 0x46]; // "GGUF"

/** Puts all of the file into the sink. */
export async function download(url: string, sink: Sink, options: DownloadOptions): Promise<void> {
  const { signal } = options;
  const run: Run = { url, sink, options, accepted: false };
  let furthest = sink.position;
  let failures = 0;
  while (!isComplete(sink)) {
    if (signal.aborted) throw aborted(signal.reason);
    try {
      await attempt(run);
    } catch (error) {
      if (signal.aborted) throw aborted(signal.reason);
      if (!(error instanceof Interrupted)) throw error;
      if (sink.position > furthest) failures = 0;
      furthest = Math.max(furthest, sink.position);
      failures += 1;
      if (failures >= (run.accepted ? TRIES : TRIES_UNSEEN)) {
        throw new FanlightError('network', `${error.message}. Check the connection and the address, then load again.`, {
          cause: error.cause,
        });
      }
      await sleep(delay(failures, options.firstDelay ?? FIRST_DELAY_MS), signal);
    }
  }
}

interface Run {
  readonly url: string;
  readonly sink: Sink;
  readonly options: DownloadOptions;
  /** This download has taken bytes of an answer: from here on the file must stay the same. */
  accepted: boolean;
}

/** The network broke off: worth another try. */
class Interrupted extends Error {}

const isComplete = (sink: Sink) => sink.identity?.length !== undefined && sink.position === sink.identity.length;

/** One request, and as much of its body as comes. Returns when the body has ended, or when it has to be asked anew. */
async function attempt(run: Run): Promise<void> {
  const { url, sink, options } = run;
  const before = sink.identity;
  const offset = before && hasValidator(before) ? sink.position : 0;
  const connection = new Connection(url, options.signal);
  try {
    const response = await connection.fetch(rangeHeaders(url, before, offset));
    const { status } = response;
    const shrunk = status === 416 && offset > 0; // the file ends before the place where we want to go on
    if (!response.ok && !shrunk) throw refusal(url, response);
    const answer = identityOf(response, offset);
    if (before && offset > 0 && !(status === 206 && isSame(before, answer.identity))) {
      if (run.accepted && (shrunk || differs(before, answer.identity))) {
        await sink.discard();
        throw new FanlightError('changed-file', `${url} changed on the server during the download. Load it again.`);
      }
      // The part is of an earlier visit, or the server does not do ranges: begin again, with this answer if it is whole.
      if (status !== 200) return await sink.discard();
    }
    const resumes = status === 206 && offset > 0;
    if (resumes && answer.start !== offset) throw new Interrupted(`${url}: the server sent another range than asked`);
    await receive(run, connection, answer.identity, resumes);
  } finally {
    connection.close();
  }
}

/** Reads the body into the sink. */
async function receive(run: Run, connection: Connection, identity: Identity, resumes: boolean): Promise<void> {
  const { url, sink, options } = run;
  if (!resumes) {
    const head = await connection.atLeast(MAGIC.length);
    if (!MAGIC.every((byte, at) => head[at] === byte)) throw notAGguf(url, head, connection.contentType);
    await sink.begin(identity);
    sink.write(head);
  }
  run.accepted = true;
  const total = identity.length;
  for (;;) {
    options.onProgress(sink.position, total);
    const bytes = await connection.read();
    if (!bytes) break;
    if (total !== undefined && sink.position + bytes.length > total) {
      await sink.discard();
      throw new FanlightError('integrity', `${url}: the server promised ${total} bytes and sends more.`);
    }
    sink.write(bytes);
  }
  if (total === undefined) return sink.end();
  if (sink.position < total)
    throw new Interrupted(`${url}: the connection ended after ${sink.position} of ${total} bytes`);
}

/** One request. A failure of the network is an `Interrupted`, so is silence. */
class Connection {
  readonly #abort = new AbortController();
  readonly #url: string;
  readonly #signal: AbortSignal;
  readonly #watch: ReturnType<typeof setInterval>;
  #heard = performance.now();
  #reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>> | undefined;
  contentType = '';

  constructor(url: string, signal: AbortSignal) {
    this.#url = url;
    this.#signal = signal;
    signal.addEventListener('abort', this.#cancel);
    this.#watch = setInterval(() => {
      if (performance.now() - this.#heard > STALL_MS) this.#cancel();
    }, STALL_MS / 10);
  }

  async fetch(headers: Record<string, string>): Promise<Response> {
    // The bytes are kept in one place: not in the HTTP cache as well.
    const request = fetch(this.#url, { headers, cache: 'no-store', signal: this.#abort.signal });
    const response = await request.catch((error: unknown) => {
      throw new Interrupted(`${this.#url} could not be reached: ${messageOf(error)}`, { cause: error });
    });
    this.#heard = performance.now();
    this.contentType = response.headers.get('content-type') ?? '';
    this.#reader = response.body?.getReader();
    return response;
  }

  async read(): Promise<Uint8Array | undefined> {
    try {
      const piece = await this.#reader?.read();
      this.#heard = performance.now();
      return piece?.value;
    } catch (error) {
      throw new Interrupted(`${this.#url}: the connection broke off: ${messageOf(error)}`, { cause: error });
    }
  }

  /** The first bytes of the body: so many, or more, or all there are. */
  async atLeast(count: number): Promise<Uint8Array> {
    let head = new Uint8Array(0);
    while (head.length < count) {
      const bytes = await this.read();
      if (!bytes) break;
      const joined = new Uint8Array(head.length + bytes.length);
      joined.set(head);
      joined.set(bytes, head.length);
      head = joined;
    }
    return head;
  }

  close(): void {
    clearInterval(this.#watch);
    this.#signal.removeEventListener('abort', this.#cancel);
    this.#cancel();
  }

  readonly #cancel = () => this.#abort.abort();
}

// ---- Which file, and is it still the same? ---------------------------------------------------------------------

function identityOf(response: Response, offset: number): { identity: Identity; start: number } {
  const { headers } = response;
  const etag = headers.get('etag') ?? undefined;
  const lastModified = headers.get('last-modified') ?? undefined;
  const range = /^bytes (\d+)-\d+\/(\d+)$/.exec(headers.get('content-range') ?? '');
  if (range) return { identity: { length: Number(range[2]), etag, lastModified }, start: Number(range[1]) };
  // Other origins may hide Content-Range; the length of the rest says as much. An encoded body has a length of its own.
  const length = headers.get('content-encoding') ? null : headers.get('content-length');
  const start = response.status === 206 ? offset : 0;
  return { identity: { length: length === null ? undefined : start + Number(length), etag, lastModified }, start };
}

const hasValidator = ({ etag, lastModified }: Identity) => etag !== undefined || lastModified !== undefined;

/** Both say who they are, and say the same. */
function isSame(one: Identity, other: Identity): boolean {
  if (differs(one, other) || one.length !== other.length) return false;
  const etags = one.etag !== undefined && other.etag !== undefined;
  return etags || (one.lastModified !== undefined && other.lastModified !== undefined);
}

/** What both say contradicts. */
function differs(one: Identity, other: Identity): boolean {
  if (one.length !== undefined && other.length !== undefined && one.length !== other.length) return true;
  if (one.etag !== undefined && other.etag !== undefined) return one.etag !== other.etag;
  return one.lastModified !== undefined && other.lastModified !== undefined && one.lastModified !== other.lastModified;
}

function rangeHeaders(url: string, identity: Identity | undefined, offset: number): Record<string, string> {
  if (!identity || offset === 0) return {};
  const range = { Range: `bytes=${offset}-` };
  // To another origin, If-Range would need the server's permission beforehand; the answer's validator is checked anyway.
  if (new URL(url).origin !== globalThis.location?.origin) return range;
  const strong = identity.etag?.startsWith('"') ? identity.etag : identity.lastModified;
  return strong === undefined ? range : { ...range, 'If-Range': strong };
}

// ---- What went wrong -------------------------------------------------------------------------------------------

function refusal(url: string, response: Response): Error {
  const { status, statusText } = response;
  const said = `${url}: the server answered ${status}${statusText && ` ${statusText}`}`;
  if (status >= 500 || status === 408 || status === 425 || status === 429) return new Interrupted(said);
  const advice =
    status === 401 || status === 403
      ? 'The file is not public: use an address that needs no login.'
      : 'Check the address.';
  return new FanlightError('network', `${said}. ${advice}`);
}

function notAGguf(url: string, head: Uint8Array, contentType: string): FanlightError {
  const expected = 'A GGUF file begins with "GGUF".';
  if (head.length === 0) return new FanlightError('not-a-gguf', `${url} is empty. ${expected}`);
  const text = new TextDecoder().decode(head.subarray(0, 512)).trimStart();
  if (contentType.includes('html') || /^<(!doctype|html|head|\?xml)/i.test(text)) {
    const advice = 'Use the address of the file itself (on Hugging Face: with /resolve/ in it, not /blob/).';
    return new FanlightError('not-a-gguf', `${url} is a web page, not a GGUF file. ${advice}`);
  }
  const found = JSON.stringify(new TextDecoder('latin1').decode(head.subarray(0, 8)));
  return new FanlightError('not-a-gguf', `${url} is not a GGUF file: it begins with ${found}. ${expected}`);
}

// ---- Waiting ---------------------------------------------------------------------------------------------------

/** Twice as long each time, up to a bound; a little at random, so that a crowd does not come back all at once. */
function delay(failures: number, first: number): number {
  return Math.min(first * 2 ** (failures - 1), LONGEST_DELAY_MS) * (0.75 + Math.random() / 2);
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
