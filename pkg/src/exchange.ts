/**
 * How shards exchange slices: by shared memory where the page is cross-origin isolated, by messages anywhere else, and
 * not at all when there is one shard. One interface, so that the loop in `shard.ts` does not know which.
 *
 * A slice lies in the memory of its engine. An exchange copies it to where the other engines expect it; no shard ever
 * writes memory that another one computes on.
 */

import { type Engine, ExchangeKind } from './engine.js';
import { aborted, FanlightError } from './errors.js';
import type { Link } from './protocol.js';

/** One shard's end of the exchange. */
export interface Exchange {
  /** Makes ready for a request: forgets whatever an earlier one left behind, and listens to its signal. */
  begin(epoch: number, signal: AbortSignal): void;
  /** The request is over. */
  end(): void;
  /**
   * Delivers what the engine waits for. A promise only when it has to wait for messages. Throws or rejects with
   * `aborted` when the request is cancelled meanwhile.
   */
  deliver(engine: SliceHolder, memory: WebAssembly.Memory): void | Promise<void>;
  /** The page has cancelled, and said so where a worker hears it without going through its event loop. */
  cancelled(): boolean;
  /** This shard computes and is well: called between two steps of its engine. */
  alive(): void;
}

/**
 * A shard that gives no sign of life for so long is lost: whoever waits for it fails. Counted in naps, not by the clock: a machine
 * that slept has not waited. The leader's first slice of a request may take any time: it reads the prompt before.
 */
const LOST_MS = 1_200;
const LEADER = 0;

/** The part of an engine that an exchange needs. */
export type SliceHolder = Pick<Engine, 'exchangeKind' | 'exchangePtr' | 'exchangeLen'>;

/** The exchange that goes with a link. */
export function connect(link: Link, shard: number, shards: number): Exchange {
  switch (link.kind) {
    case 'none':
      return new NoExchange();
    case 'shared':
      return new SharedExchange(link.buffer, shard, shards);
    case 'messages':
      return new MessageExchange(link.ports, shard);
  }
}

/** One link for each of so many shards. The page makes them, and hands one to each worker. */
export function makeLinks(
  shards: number,
  transport: 'shared' | 'messages',
): { links: Link[]; control: SharedControl | undefined } {
  if (shards === 1) return { links: [{ kind: 'none' }], control: undefined };
  if (transport === 'shared') {
    const buffer = new SharedArrayBuffer(layoutBytes(shards));
    const links = Array.from({ length: shards }, (): Link => ({ kind: 'shared', buffer }));
    return { links, control: new SharedControl(buffer, shards) };
  }
  const ports = Array.from({ length: shards }, () => new Array<MessagePort | undefined>(shards).fill(undefined));
  for (const [shard, own] of ports.entries()) {
    for (const [peer, theirs] of ports.entries()) {
      if (peer <= shard) continue;
      const { port1, port2 } = new MessageChannel();
      own[peer] = port1;
      theirs[shard] = port2;
    }
  }
  return { links: ports.map((own): Link => ({ kind: 'messages', ports: own })), control: undefined };
}

/** Whether a shard has something to send in an exchange of this kind. */
function contributes(kind: number, shard: number): boolean {
  return kind === ExchangeKind.AllGather || (kind === ExchangeKind.FromLeader ? shard === LEADER : shard !== LEADER);
}

/** Whether it sends that to shard `to`. */
function sends(kind: number, from: number, to: number): boolean {
  return from !== to && contributes(kind, from) && (kind !== ExchangeKind.ToLeader || to === LEADER);
}

/** A view of one shard's slice. It must not outlive the call that made it: the memory may grow. */
function sliceOf(engine: SliceHolder, memory: WebAssembly.Memory, shard: number): Uint8Array {
  return new Uint8Array(memory.buffer, engine.exchangePtr(shard), engine.exchangeLen(shard));
}

class NoExchange implements Exchange {
  begin(): void {}
  end(): void {}
  cancelled(): boolean {
    return false;
  }
  alive(): void {}
  deliver(): void {
    throw new FanlightError('worker-crashed', 'The only shard asked for an exchange.');
  }
}

// ---- Shared memory ---------------------------------------------------------------------------------------------
//
//   control:  one line per shard, 64 bytes apart:  | rounds entered | signs of life | … |
//             one line more:                       | cancelled      | … |
//   data:     per shard two regions of REGION bytes:  | even rounds | odd rounds |
//
// An exchange takes one round, or several when the longest slice exceeds a region. In round r a sender copies its piece
// into its region of parity r, then enters the round (counter = r + 1). Every shard waits until every other has entered;
// then it reads. So whoever writes parity r again, in round r + 2, has seen all others enter round r + 1, and that they
// did after reading round r: two regions are enough.

const LINE = 16; // 32-bit words in 64 bytes: counters of two shards never share a cache line
const REGION = 1 << 20;
/** Look this long before sleeping. Longer helps nobody when another program holds the core that the peer needs. */
const SPIN_MS = 0.04;
/** Sleep at most this long before looking at `cancelled`, should its wake-up be missed. */
const NAP_MS = 10;

/** In a shard's line, the word that it changes as long as it lives. */
const LIFE = 1;

const controlWords = (shards: number) => (shards + 1) * LINE;
const layoutBytes = (shards: number) => controlWords(shards) * 4 + shards * 2 * REGION;

/** The page's hand on the shared exchange. */
export class SharedControl {
  readonly #control: Int32Array;
  readonly #shards: number;

  constructor(buffer: SharedArrayBuffer, shards: number) {
    this.#control = new Int32Array(buffer, 0, controlWords(shards));
    this.#shards = shards;
  }

  /** Makes ready for the next request. Only while no shard is in one. */
  reset(): void {
    this.#control.fill(0);
  }

  /** Sends every shard home, also those that sleep. */
  cancel(): void {
    Atomics.store(this.#control, this.#shards * LINE, 1);
    for (let shard = 0; shard < this.#shards; shard++) Atomics.notify(this.#control, shard * LINE);
  }
}

class SharedExchange implements Exchange {
  readonly #control: Int32Array;
  readonly #regions: readonly (readonly Uint8Array[])[];
  readonly #shard: number;
  readonly #shards: number;
  #round = 0;

  constructor(buffer: SharedArrayBuffer, shard: number, shards: number) {
    this.#control = new Int32Array(buffer, 0, controlWords(shards));
    this.#shard = shard;
    this.#shards = shards;
    const data = controlWords(shards) * 4;
    this.#regions = Array.from({ length: shards }, (_, owner) =>
      [0, 1].map((parity) => new Uint8Array(buffer, data + (owner * 2 + parity) * REGION, REGION)),
    );
  }

  begin(): void {
    this.#round = 0;
  }

  end(): void {}

  cancelled(): boolean {
    return Atomics.load(this.#control, this.#shards * LINE) !== 0;
  }

  alive(): void {
    Atomics.add(this.#control, this.#shard * LINE + LIFE, 1);
  }

  deliver(engine: SliceHolder, memory: WebAssembly.Memory): void {
    const kind = engine.exchangeKind();
    let longest = 0;
    for (let shard = 0; shard < this.#shards; shard++) {
      if (contributes(kind, shard)) longest = Math.max(longest, engine.exchangeLen(shard));
    }
    // Also an empty exchange is a meeting: one round.
    for (let at = 0; at === 0 || at < longest; at += REGION) this.#meet(engine, memory, kind, at);
  }

  /** One round: this shard's piece out, the others' pieces in. */
  #meet(engine: SliceHolder, memory: WebAssembly.Memory, kind: number, at: number): void {
    const parity = this.#round & 1;
    const entered = ++this.#round;
    if (contributes(kind, this.#shard)) {
      this.#region(this.#shard, parity).set(sliceOf(engine, memory, this.#shard).subarray(at, at + REGION));
    }
    Atomics.store(this.#control, this.#shard * LINE, entered);
    Atomics.notify(this.#control, this.#shard * LINE);
    for (let peer = 0; peer < this.#shards; peer++) {
      if (peer === this.#shard) continue;
      this.#await(peer, entered);
      if (!sends(kind, peer, this.#shard)) continue;
      const into = sliceOf(engine, memory, peer).subarray(at, at + REGION);
      into.set(this.#region(peer, parity).subarray(0, into.length));
    }
  }

  #await(peer: number, entered: number): void {
    const counter = peer * LINE;
    const until = performance.now() + SPIN_MS;
    do {
      for (let look = 0; look < 64; look++) if (Atomics.load(this.#control, counter) >= entered) return;
    } while (performance.now() < until);
    let naps = 0;
    let sign = Atomics.load(this.#control, counter + LIFE);
    for (;;) {
      const seen = Atomics.load(this.#control, counter);
      if (seen >= entered) return;
      if (this.cancelled()) throw aborted();
      Atomics.wait(this.#control, counter, seen, NAP_MS);
      this.alive(); // for those who wait for this one
      const now = Atomics.load(this.#control, counter + LIFE);
      naps = now === sign && (entered > 1 || peer !== LEADER) ? naps + 1 : 0;
      sign = now;
      if (naps * NAP_MS > LOST_MS) throw lost(peer);
    }
  }

  #region(shard: number, parity: number): Uint8Array {
    const region = this.#regions[shard]?.[parity];
    if (!region) throw new RangeError(`no shard ${shard} of ${this.#shards}`);
    return region;
  }
}

function lost(peer: number): FanlightError {
  return new FanlightError('worker-crashed', `Shard ${peer} does not answer any more. Load the model again.`);
}

// ---- Messages --------------------------------------------------------------------------------------------------
//
// A sender posts its slice to each receiver and goes on; a receiver waits until it has one from each sender. Ports keep
// the order, so slices need no address beyond the request they belong to (`epoch`) and their number in it (`sequence`):
// the first tells leftovers of a cancelled request, the second is a check. A slice may come before this shard has heard
// of its request: it waits in the queue.
//
// Who waits for long asks the others how far they are. One that answers is computing, or waits itself; one that does not is lost; and
// one that says it has sent what is not here never will: ports keep the order.

interface Slice {
  readonly epoch: number;
  readonly sequence: number;
  /** What was sent: both numbers (32 bits each, so that nothing but memory has to cross), then the slice itself. */
  readonly buffer: ArrayBuffer;
}

const HEAD = 8;

/** How far are you? Or the answer: this request, and so many slices of it are sent. */
interface Sign {
  readonly ask: boolean;
  readonly epoch: number;
  readonly sent: number;
}

interface Peer {
  readonly shard: number;
  readonly port: MessagePort;
  queue: Slice[];
  /** Looks since the last sign of life. */
  looks: number;
}

/** Time between two looks at whether the others live. */
const LOOK_MS = 100;
/** Looks before a shard is asked for a sign of life. */
const PATIENCE = 4;

/**
 * Memory that came with a slice is sent on with the next one of its size, instead of new memory for each: see SPEED.md, "Kept".
 */
class Spare {
  readonly #bySize = new Map<number, ArrayBuffer[]>();

  keep(buffer: ArrayBuffer): void {
    const same = this.#bySize.get(buffer.byteLength);
    if (!same) {
      if (this.#bySize.size === SIZES) this.#bySize.clear(); // of a batch that was another length
      this.#bySize.set(buffer.byteLength, [buffer]);
    } else if (same.length < EACH) {
      same.push(buffer);
    }
  }

  take(byteLength: number): ArrayBuffer {
    return this.#bySize.get(byteLength)?.pop() ?? new ArrayBuffer(byteLength);
  }
}

/** Slices of a layer have four lengths at most; those of a batch of one token and of a long one are kept. */
const SIZES = 8;
/** Shards may be one exchange apart. */
const EACH = 4;

class MessageExchange implements Exchange {
  readonly #spare = new Spare();
  readonly #shard: number;
  readonly #peers: readonly Peer[];
  #epoch = 0;
  #sequence = 0;
  #signal: AbortSignal | undefined;
  #looking: ReturnType<typeof setInterval> | undefined;
  #waiting: { arrived(): void; cancel(): void; look(): void; missed(peer: Peer): void } | undefined;

  constructor(ports: readonly (MessagePort | undefined)[], shard: number) {
    this.#shard = shard;
    this.#peers = ports.flatMap((port, peer) => (port ? [{ shard: peer, port, queue: [], looks: 0 }] : []));
    for (const peer of this.#peers) {
      peer.port.onmessage = ({ data }: MessageEvent<ArrayBuffer | Sign>) => {
        peer.looks = 0;
        if ('ask' in data) return this.#answer(peer, data);
        const [epoch = 0, sequence = 0] = new Uint32Array(data, 0, 2);
        if (epoch < this.#epoch) return;
        peer.queue.push({ epoch, sequence, buffer: data });
        this.#waiting?.arrived();
      };
    }
  }

  alive(): void {} // answers are signs enough

  #answer(peer: Peer, { ask, epoch, sent }: Sign): void {
    if (ask) {
      const sign: Sign = { ask: false, epoch: this.#epoch, sent: this.#sequence };
      return peer.port.postMessage(sign);
    }
    if (epoch === this.#epoch && sent >= this.#sequence && peer.queue.length === 0) this.#waiting?.missed(peer);
  }

  begin(epoch: number, signal: AbortSignal): void {
    this.#epoch = epoch;
    this.#sequence = 0;
    for (const peer of this.#peers) peer.looks = 0;
    for (const peer of this.#peers) peer.queue = peer.queue.filter((slice) => slice.epoch >= epoch);
    this.#signal = signal;
    signal.addEventListener('abort', () => this.#waiting?.cancel(), { once: true });
    clearInterval(this.#looking);
    this.#looking = setInterval(() => this.#waiting?.look(), LOOK_MS);
  }

  end(): void {
    clearInterval(this.#looking);
  }

  cancelled(): boolean {
    return false; // heard as a message, like everything else here
  }

  deliver(engine: SliceHolder, memory: WebAssembly.Memory): void | Promise<void> {
    const kind = engine.exchangeKind();
    const sequence = this.#sequence++;
    const receivers = this.#peers.filter((peer) => sends(kind, this.#shard, peer.shard));
    for (const { port } of receivers) {
      const bytes = sliceOf(engine, memory, this.#shard);
      const buffer = this.#spare.take(HEAD + bytes.length);
      new Uint32Array(buffer, 0, 2).set([this.#epoch, sequence]);
      new Uint8Array(buffer, HEAD).set(bytes);
      port.postMessage(buffer, [buffer]);
    }
    const senders = this.#peers.filter((peer) => sends(kind, peer.shard, this.#shard));
    const missing = () => senders.filter((peer) => peer.queue.length === 0);
    const take = () => {
      for (const peer of senders) this.#take(peer, sequence, sliceOf(engine, memory, peer.shard));
    };
    return missing().length === 0 ? take() : this.#wait(missing, sequence === 0).then(take);
  }

  #take(peer: Peer, sequence: number, into: Uint8Array): void {
    const slice = peer.queue.shift();
    if (slice?.sequence !== sequence || slice.buffer.byteLength !== HEAD + into.length) {
      throw new FanlightError('worker-crashed', `Shard ${peer.shard} is out of step with shard ${this.#shard}.`);
    }
    into.set(new Uint8Array(slice.buffer, HEAD));
    this.#spare.keep(slice.buffer);
  }

  #wait(missing: () => Peer[], first: boolean): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      if (this.#signal?.aborted) return reject(aborted());
      const settle = (error?: FanlightError) => {
        this.#waiting = undefined;
        if (error) reject(error);
        else resolve();
      };
      this.#waiting = {
        arrived: () => missing().length === 0 && settle(),
        cancel: () => settle(aborted()),
        look: () => this.#look(missing().filter(({ shard }) => !first || shard !== LEADER)),
        missed: (peer) => missing().includes(peer) && settle(lost(peer.shard)),
      };
    });
  }

  /** Asks those for whom this one has waited long, and gives up one that does not answer. */
  #look(missing: Peer[]): void {
    for (const peer of missing) {
      peer.looks += 1;
      if (peer.looks === PATIENCE) peer.port.postMessage({ ask: true, epoch: this.#epoch, sent: 0 } satisfies Sign);
      if (peer.looks * LOOK_MS > LOST_MS) this.#waiting?.missed(peer);
    }
  }
}
