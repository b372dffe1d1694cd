/** Notices that the other end of a conversation does not answer any more, though nothing says that it is gone. */

/** Time between two looks. Looks are counted, not time: a page that slept, or was held up itself, has not waited. */
const LOOK_MS = 100;
/** Looks at a silent end before it is asked for a sign of life. */
const UNTIL_ASKED = 4;
/** Where everything is slow, for whatever reason, steps may take so many times the longest that was seen before. */
const SLACK = 4;

/**
 * Looks at a silent end until it is given up, by what it does: something that lets it hear messages all the time (also: nothing
 * yet); something that was cancelled; something that cannot be cut up, such as reading a header or a long prompt.
 */
export const PATIENCE = { inSteps: 15, cancelled: 50, atOnce: 600 };

/** What is done about silence. */
export interface Watched {
  /** How many looks the other end may be silent now. */
  patience(): number;
  /** Asks it for a sign of life. */
  ask(): void;
  /** It does not answer. */
  lost(): void;
}

/** Looks while there is something to wait for. */
export class Silence {
  readonly #watched: Watched;
  /** Looks since its last word. Nothing before the first: a worker may still be on its way here. */
  #looks: number | undefined;
  #longest = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(watched: Watched) {
    this.#watched = watched;
  }

  /** There is something to wait for. */
  begin(): void {
    if (this.#timer !== undefined) return;
    if (this.#looks !== undefined) this.#looks = 0;
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  /** There is nothing to wait for any more. */
  end(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** The other end said something. */
  heard(): void {
    if (this.#watched.patience() === PATIENCE.inSteps) this.#longest = Math.max(this.#longest, this.#looks ?? 0);
    this.#looks = 0;
  }

  #look(): void {
    if (this.#looks === undefined) return;
    this.#looks += 1;
    if (this.#looks === UNTIL_ASKED) this.#watched.ask();
    if (this.#looks <= Math.max(this.#watched.patience(), SLACK * this.#longest)) return;
    this.end();
    this.#watched.lost();
  }
}
