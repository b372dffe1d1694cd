// An engine that computes nothing, but behaves as `engine.ts` promises: it stops where a real one stops, holds its slices
// in a wasm memory, and notices when an exchange delivered the wrong bytes.

import { ExchangeKind, Step } from '../../dist/engine.js';
import { sums } from './memory-drawer.mjs';

/** @typedef {import('../../dist/engine.js').GenerateRequest} GenerateRequest */
/** @typedef {import('../../dist/engine.js').Engine} Engine */
/** @typedef {import('../../dist/engine.js').EngineModule} EngineModule */

const PLAN_BYTES = 8; // tokens wanted, what is to go wrong
const SLICE_BYTES = 12;

/** What a prompt may ask for besides tokens. */
const MISHAPS = ['none', 'trap', 'endless', 'refuse'];

/** @implements {Engine} */
export class FakeEngine {
  /** @type {Generator<number, void, void> | undefined} */
  program;
  kind = 0;
  /** @type {number[]} */
  lengths = [];
  /** @type {import('../../dist/engine.js').OutputEvent} */
  output = {};
  /** Requests that were dropped in flight. */
  cancelled = 0;
  steps = 0;
  /** Who runs constraints. @type {import('../../dist/engine.js').Constraints | undefined} */
  constraints;
  /** How many requests each memory has heard. @type {Map<number, number>} */
  memories = new Map([[0, 0]]);
  memory_in_use = 0;

  /**
   * @param {number} shard
   * @param {number} shards
   * @param {number} sliceBytes of shard 0; each further one has four more
   */
  constructor(shard, shards, sliceBytes = SLICE_BYTES, memory = new WebAssembly.Memory({ initial: 0 })) {
    this.memory = memory;
    this.shard = shard;
    this.shards = shards;
    this.sliceBytes = sliceBytes;
    this.memory.grow(1 + Math.ceil((shards * (sliceBytes + 4 * shards)) / 65536));
  }

  words() {
    return { encode: () => new Uint32Array() };
  }

  /** @param {import('../../dist/engine.js').Constraints} constraints */
  setConstraints(constraints) {
    this.constraints = constraints;
  }

  info() {
    return {
      architecture: 'fake',
      name: 'Fake',
      parameters: 1,
      contextLength: 100,
      kvType: /** @type {const} */ ('q16'),
      predicts: false,
      kernel: /** @type {const} */ ('i16'),
      quantization: 'none',
      vocabularySize: 256,
      weightBytes: 10,
      trainedContextLength: 64,
      kvBytes: 20,
      bufferBytes: 30,
    };
  }

  /** @param {GenerateRequest} request */
  countPrompt({ messages = [] }) {
    return messages.length;
  }

  loadStep() {
    this.steps += 1;
    return this.steps === 3;
  }

  loaded() {
    return this.steps * 10;
  }

  loadTotal() {
    return 30;
  }

  /** @param {string} text */
  tokenize(text) {
    return Uint32Array.from(new TextEncoder().encode(text));
  }

  /** @param {Uint32Array} ids */
  detokenize(ids) {
    return new TextDecoder().decode(Uint8Array.from(ids));
  }

  /** A prompt such as "3 tokens" or "3 tokens, then trap". @param {GenerateRequest} request */
  start(request) {
    const prompt = request.prompt ?? JSON.stringify(request.messages);
    const [, tokens, mishap = 'none'] = /(\d+) tokens(?:, then ([a-z ]+))?/.exec(prompt) ?? [];
    if (tokens === undefined) throw { code: 'context-full', message: 'The prompt does not fit.' };
    this.program = this.program_of(Number(tokens), MISHAPS.indexOf(mishap));
  }

  follow() {
    this.program = this.program_of(0, 0);
  }

  heard() {
    return this.memories.get(this.memory_in_use) ?? NaN;
  }

  /** @param {number} id */
  newMemory(id, heard = 0) {
    if (this.memories.has(id)) throw { code: 'invalid-argument', message: 'It is there.' };
    this.memories.set(id, heard);
  }

  /** @param {number} id */
  useMemory(id) {
    if (!this.memories.has(id)) throw { code: 'invalid-argument', message: 'It is not there.' };
    this.memory_in_use = id;
  }

  /** @param {number} id */
  dropMemory(id) {
    if (id === this.memory_in_use || !this.memories.delete(id)) throw { code: 'invalid-argument', message: 'No.' };
  }

  planMemory() {
    return { keep: 0, position: this.heard() };
  }

  /** A part is a byte, by which each shard knows its own, and what was heard. @param {{ position: number }} plan */
  saveMemory({ position }) {
    return Uint8Array.of(this.shard, position);
  }

  /** @param {number} id @param {{ position: number }} plan */
  copyMemory(id, { position }) {
    this.newMemory(id, position);
  }

  /** @param {number} id @param {Uint8Array} bytes */
  loadMemory(id, bytes) {
    const at = 2 * this.shard;
    if (bytes[at] !== this.shard) throw { code: 'integrity', message: 'It is damaged.' };
    this.newMemory(id, bytes[at + 1]);
  }

  run() {
    const next = this.program?.next();
    if (!next) throw new Error('no request');
    if (next.done) this.program = undefined;
    return next.done ? Step.Done : next.value;
  }

  takeOutput() {
    return this.output;
  }

  exchangeKind() {
    return this.kind;
  }

  /** @param {number} shard */
  exchangePtr(shard) {
    return this.lengths.slice(0, shard).reduce((sum, length) => sum + length, 0);
  }

  /** @param {number} shard */
  exchangeLen(shard) {
    return this.lengths[shard] ?? 0;
  }

  cancel() {
    this.cancelled += 1;
    this.program = undefined;
  }

  free() {}

  /**
   * As a real engine: the leader says what is to be done, then all shards go through the same exchanges.
   * @param {number} tokens
   * @param {number} mishap
   */
  *program_of(tokens, mishap) {
    [tokens, mishap] = yield* this.broadcast(tokens, mishap);
    this.memories.set(this.memory_in_use, this.heard() + 1);
    const what = MISHAPS[mishap];
    for (let token = 0; token < tokens || what === 'endless'; token++) {
      yield* this.gather(token);
      yield* this.collect(token);
      if (token === tokens - 1 && what === 'trap' && this.shard === this.shards - 1)
        throw new WebAssembly.RuntimeError('unreachable');
      if (token === tokens - 1 && what === 'refuse') throw { code: 'template', message: 'Refused.' };
      if (this.shard === 0) {
        const first = token === 0 && { promptTokens: 5, cachedTokens: 2 };
        const last = token === tokens - 1 && { confidence: 0.5, finishReason: /** @type {const} */ ('stop') };
        this.output = { text: `t${token} `, tokens: [token], ...first, ...last };
        yield Step.Output;
      }
      yield Step.Pause;
    }
  }

  /**
   * @param {number} tokens
   * @param {number} mishap
   * @returns {Generator<number, [number, number], void>}
   */
  *broadcast(tokens, mishap) {
    if (this.shards === 1) return [tokens, mishap];
    this.begin(ExchangeKind.FromLeader, [PLAN_BYTES]);
    if (this.shard === 0) new Int32Array(this.memory.buffer, 0, 2).set([tokens, mishap]);
    yield Step.Exchange;
    const [heard = 0, heardMishap = 0] = new Int32Array(this.memory.buffer, 0, 2);
    return [heard, heardMishap];
  }

  /** Every shard fills its slice with a byte of its own, and looks at the others. @param {number} token */
  *gather(token) {
    if (this.shards === 1) return;
    this.begin(ExchangeKind.AllGather, this.sliceLengths());
    this.slice(this.shard).fill(byteOf(token, this.shard));
    yield Step.Exchange;
    for (let shard = 0; shard < this.shards; shard++) this.expect(shard, byteOf(token, shard));
  }

  /** Only the leader hears what the others have. @param {number} token */
  *collect(token) {
    if (this.shards === 1) return;
    this.begin(ExchangeKind.ToLeader, this.sliceLengths());
    this.slice(this.shard).fill(byteOf(token, this.shard) ^ 0xff);
    yield Step.Exchange;
    for (let shard = 0; shard < this.shards; shard++) {
      if (this.shard === 0 || shard === this.shard) this.expect(shard, byteOf(token, shard) ^ 0xff);
      else this.expect(shard, 0);
    }
  }

  sliceLengths() {
    return Array.from({ length: this.shards }, (_, shard) => this.sliceBytes + 4 * shard);
  }

  /**
   * @param {number} kind
   * @param {number[]} lengths
   */
  begin(kind, lengths) {
    this.kind = kind;
    this.lengths = lengths;
    new Uint8Array(this.memory.buffer).fill(0);
  }

  /** @param {number} shard */
  slice(shard) {
    return new Uint8Array(this.memory.buffer, this.exchangePtr(shard), this.exchangeLen(shard));
  }

  /**
   * @param {number} shard
   * @param {number} byte
   */
  expect(shard, byte) {
    const wrong = this.slice(shard).findIndex((found) => found !== byte);
    if (wrong >= 0) throw new Error(`shard ${this.shard}: byte ${wrong} of slice ${shard} is not ${byte}`);
  }
}

/**
 * @param {number} token
 * @param {number} shard
 */
function byteOf(token, shard) {
  return ((token * 16 + shard) % 255) + 1;
}

class FakeDigest {
  #digest = sums.digest();

  /** @param {Uint8Array} bytes */
  update(bytes) {
    this.#digest.update(bytes);
  }

  finish() {
    return this.#digest.finish();
  }

  free() {}
}

/** The module of constraints, which allows everything. @type {import('../../dist/engine.js').ConstraintsModule} */
export const fakeConstraints = {
  default: async () => ({ memory: new WebAssembly.Memory({ initial: 1 }) }),
  Constraints: class {
    check() {}
  },
};

/**
 * Glue as the wasm build has it, around fake engines. `made` hears of each.
 * @param {(engine: FakeEngine) => void} [made]
 * @returns {EngineModule}
 */
export function fakeModule(made = () => {}) {
  const memory = new WebAssembly.Memory({ initial: 0 });
  class Engine extends FakeEngine {
    /**
     * @param {import('../../dist/engine.js').Source[]} _parts
     * @param {import('../../dist/engine.js').EngineOptions} options
     */
    constructor(_parts, { shard, shards }) {
      super(shard, shards, SLICE_BYTES, memory);
      made(this);
    }
  }
  return { default: async () => ({ memory }), Engine, blockSum: sums.blockSum, Digest: FakeDigest, estimate: () => new Engine([], { shard: 0, shards: 1 }).info() };
}
