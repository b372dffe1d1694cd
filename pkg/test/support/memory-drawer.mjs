// A drawer in memory, and sums that need no engine: what the blocks of a file need of the world.

import { createHash } from 'node:crypto';

/** @typedef {import('../../dist/blocks.js').Drawer} Drawer */
/** @typedef {import('../../dist/blocks.js').StoredBlock} StoredBlock */

/** @implements {Drawer} */
export class MemoryDrawer {
  /** @type {(StoredBlock | undefined)[]} */
  blocks = [];
  writes = 0;
  settled = -1;
  /** Answers later, as a database does. */
  slow = false;

  get count() {
    return this.blocks.length;
  }

  /** @param {number} index */
  read(index) {
    const block = this.blocks[index];
    return this.slow ? later(block) : block;
  }

  /** @param {number} index @param {StoredBlock} block */
  write(index, { bytes, sum }) {
    const copy = { bytes: bytes.slice(), sum };
    const work = () => {
      this.writes += 1;
      this.blocks[index] = copy;
    };
    return this.slow ? later(undefined).then(work) : work();
  }

  clear() {
    this.blocks = [];
  }

  /** @param {number} length */
  settle(length) {
    this.settled = length;
  }

  close() {}

  bytes() {
    return Buffer.concat(this.blocks.map((block) => block?.bytes ?? Buffer.alloc(0)));
  }
}

/** @template T @param {T} value @returns {Promise<T>} */
function later(value) {
  return new Promise((resolve) => setImmediate(() => resolve(value)));
}

/** SHA-256, of which the first bytes are the sum. */
export const sums = {
  /** @param {Uint8Array} bytes */
  blockSum: (bytes) => createHash('sha256').update(bytes).digest().readBigUInt64LE() || 1n,
  digest: () => {
    const hash = createHash('sha256');
    return {
      /** @param {Uint8Array} bytes */
      update: (bytes) => void hash.update(bytes),
      finish: () => new Uint8Array(hash.copy().digest()),
      free: () => {},
    };
  },
};
