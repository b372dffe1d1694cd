/** One request of a download: what is asked, what the answer says of the file, and what its refusals mean. */

import type { Identity, Range } from './download.js';
import { FanlightError, messageOf } from './errors.js';

/** Milliseconds without a byte after which a connection counts as broken. */
const SILENCE_MS = 30_000;
const MAGIC = [0x47, 0x47, 0x55, 0x46]; // "GGUF"

/** The network broke off: worth another try. */
export class Interrupted extends Error {}

/** One request. A failure of the network is an `Interrupted`, so is silence. */
export class Connection {
  readonly #abort = new AbortController();
  readonly #url: string;
  readonly #signal: AbortSignal;
  readonly #watch: ReturnType<typeof setInterval>;
  #heard = performance.now();
  #reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>> | undefined;
  /** Bytes that were looked at and not yet read. */
  #ahead: Uint8Array | undefined;
  contentType = '';

  constructor(url: string, signal: AbortSignal, silence = SILENCE_MS) {
    this.#url = url;
    this.#signal = signal;
    signal.addEventListener('abort', this.#cancel);
    this.#watch = setInterval(() => {
      if (performance.now() - this.#heard > silence) this.#cancel();
    }, silence / 10);
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

  /** The next bytes; nothing at the end. */
  async read(): Promise<Uint8Array | undefined> {
    const ahead = this.#ahead;
    this.#ahead = undefined;
    return ahead?.length ? ahead : this.#next();
  }

  /** The first bytes of the body, without reading them: so many, or more, or all there are. */
  async peek(count: number): Promise<Uint8Array> {
    let head = this.#ahead ?? new Uint8Array(0);
    while (head.length < count) {
      const bytes = await this.#next();
      if (!bytes) break;
      const joined = new Uint8Array(head.length + bytes.length);
      joined.set(head);
      joined.set(bytes, head.length);
      head = joined;
    }
    this.#ahead = head;
    return head;
  }

  close(): void {
    clearInterval(this.#watch);
    this.#signal.removeEventListener('abort', this.#cancel);
    this.#cancel();
  }

  async #next(): Promise<Uint8Array | undefined> {
    try {
      const piece = await this.#reader?.read();
      this.#heard = performance.now();
      return piece?.value;
    } catch (error) {
      throw new Interrupted(`${this.#url}: the connection broke off: ${messageOf(error)}`, { cause: error });
    }
  }

  readonly #cancel = () => this.#abort.abort();
}

/** What an answer says of the file, and where its body begins in it. */
export function identityOf(
  response: Response,
  asked: Range | undefined,
  before: Identity | undefined,
): { identity: Identity; start: number } {
  const { headers, status } = response;
  const etag = headers.get('etag') ?? undefined;
  const lastModified = headers.get('last-modified') ?? undefined;
  const of = (length: number | undefined, start: number) => ({ identity: { length, etag, lastModified }, start });
  const encoding = headers.get('content-encoding');
  // A compressed body has a length of its own, and its parts are of no use: such a file has no version to go on with.
  if (encoding && encoding !== 'identity') {
    return { identity: { length: undefined, etag: undefined, lastModified: undefined }, start: 0 };
  }
  const range = /^bytes (\d+)-\d+\/(\d+)$/.exec(headers.get('content-range') ?? '');
  if (range) return of(Number(range[2]), Number(range[1]));
  const length = headers.get('content-length');
  if (status === 416) return of(undefined, 0);
  if (status !== 206 || !asked) return of(length === null ? undefined : Number(length), 0);
  // Other origins may hide Content-Range; the length of the rest says as much.
  return of(length === null || !isOpen(asked, before) ? undefined : asked.from + Number(length), asked.from);
}

const isOpen = ({ to }: Range, file: Identity | undefined) => to === undefined || to === file?.length;

/** The headers that ask for a range of the file that is known, or for all of it. */
export function rangeHeaders(
  url: string,
  file: Identity | undefined,
  range: Range | undefined,
): Record<string, string> {
  if (!range) return {};
  const Range = `bytes=${range.from}-${isOpen(range, file) ? '' : Number(range.to) - 1}`;
  // To another origin, If-Range would need the server's permission beforehand; the answer's validator is checked anyway.
  if (new URL(url).origin !== globalThis.location?.origin) return { Range };
  const strong = file?.etag?.startsWith('"') ? file.etag : file?.lastModified;
  return strong === undefined ? { Range } : { Range, 'If-Range': strong };
}

/** Whether these are the first bytes of a GGUF file. */
export function startsAsGguf(head: Uint8Array): boolean {
  return MAGIC.every((byte, at) => head[at] === byte);
}

// ---- What went wrong -------------------------------------------------------------------------------------------

/** What a refusal means: another try, or the end. */
export function refusal(url: string, response: Response): Error {
  const { status, statusText } = response;
  const said = `${url}: the server answered ${status}${statusText && ` ${statusText}`}`;
  if (status >= 500 || status === 408 || status === 425 || status === 429) return new Interrupted(said);
  const advice =
    status === 401 || status === 403
      ? 'The file is not public: use an address that needs no login.'
      : 'Check the address.';
  return new FanlightError('network', `${said}. ${advice}`);
}

/** The error for something else that came. */
export function notAGguf(url: string, head: Uint8Array, contentType: string): FanlightError {
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
