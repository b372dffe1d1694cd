/** Notices that the other end of a conversation does not answer any more, though nothing says that it is gone. */

/** Time between two looks, where the browser lets a page look so often: in a hidden one it may be a second. */
const LOOK_MS = 100;
/** More than this is not counted between two looks: a page that is held up itself has not waited, nor has one that slept. */
const MOST_MS = 250;
/** The same in a hidden page, where a second between two looks is usual. */
const MOST_HIDDEN_MS = 1_000;
/** Silence after which the other end is asked for a sign of life. */
const ASK_MS = 400;
/** Where everything is slow, for whatever reason, an answer may take so many times as long as the longest that was seen before. */
const SLACK = 3;

/**
 * Milliseconds of silence after which an end is given up, by what it does: something that lets it hear messages all the time (also:
 * nothing yet); something that was cancelled; something that cannot be cut up, such as reading a header or a long prompt.
 */
export const PATIENCE = { inSteps: 1_200, cancelled: 5_000, atOnce: 60_000 };

/** What is done about silence. */
export interface Watched {
  /** How many milliseconds the other end may be silent now. */
  patience(): number;
  /** Asks it for a sign of life. */
  ask(): void;
  /** It does not answer. */
  lost(): void;
}

/** Whether nobody sees the page. In a worker there is none to be seen. */
const isHidden = () => (globalThis as { document?: { readonly hidden: boolean } }).document?.hidden ?? false;

/** Looks while there is something to wait for. */
export class Silence {
  readonly #watched: Watched;
  readonly #now: () => number;
  readonly #hidden: () => boolean;
  /** Milliseconds since its last word. Nothing before the first: a worker may still be on its way here. */
  #silent: number | undefined;
  #lookedAt = 0;
  /** How long an answer took at most, from the time at which it was asked for. */
  #longest = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** `now`: a clock in milliseconds; `hidden`: whether nobody sees the page. Tests bring their own. */
  constructor(watched: Watched, now = () => performance.now(), hidden = isHidden) {
    this.#watched = watched;
    this.#now = now;
    this.#hidden = hidden;
  }

  /** There is something to wait for. */
  begin(): void {
    if (this.#timer !== undefined) return;
    if (this.#silent !== undefined) this.#silent = 0;
    this.#lookedAt = this.#now();
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  /** There is nothing to wait for any more. */
  end(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** The other end said something. */
  heard(): void {
    if (this.#watched.patience() === PATIENCE.inSteps) this.#longest = Math.max(this.#longest, (this.#silent ?? 0) - ASK_MS);
    this.#silent = 0;
  }

  #look(): void {
    const now = this.#now();
    const passed = Math.min(now - this.#lookedAt, this.#hidden() ? MOST_HIDDEN_MS : MOST_MS);
    this.#lookedAt = now;
    if (this.#silent === undefined) return;
    const before = this.#silent;
    this.#silent += passed;
    if (before < ASK_MS && this.#silent >= ASK_MS) return this.#watched.ask(); // it has until the next look, at least
    if (this.#silent <= Math.max(this.#watched.patience(), SLACK * this.#longest)) return;
    this.end();
    this.#watched.lost();
  }
}
