/**
 * Models in IndexedDB, for browsers without a private file system. A database with two stores:
 *
 *     blocks   [key, index] -> { bytes, sum }
 *     notes    [key, name]  -> text
 *
 * A transaction is there whole or not at all, so a block and its sum always go together.
 */

import { BLOCK, type Drawer, type StoredBlock } from './blocks.js';
import type { StoredFile } from './protocol.js';
import { type NoteName, SHELF, type Shelf, storageError } from './shelf.js';

/** Blocks that are read at once to make a piece of a blob. */
const BATCH = 64;

interface Entry {
  readonly bytes: ArrayBuffer;
  readonly sum: bigint;
}

/** Nothing where the browser has no databases, or denies them to this page. */
export async function openIdb(): Promise<Shelf | undefined> {
  if (typeof indexedDB === 'undefined') return undefined;
  try {
    const opening = indexedDB.open(SHELF, 1);
    opening.onupgradeneeded = () => {
      opening.result.createObjectStore('blocks');
      opening.result.createObjectStore('notes');
    };
    return new Idb(await done(opening));
  } catch {
    return undefined;
  }
}

class Idb implements Shelf {
  readonly kind = 'indexeddb';
  readonly #database: IDBDatabase;

  constructor(database: IDBDatabase) {
    this.#database = database;
    database.onversionchange = () => database.close();
  }

  async keys(): Promise<string[]> {
    const notes = await done(this.#store('notes', 'readonly').getAllKeys());
    return [...new Set(notes.map((key) => (Array.isArray(key) ? String(key[0]) : '')))];
  }

  readNote(key: string, name: NoteName): Promise<string | undefined> {
    return done<string | undefined>(this.#store('notes', 'readonly').get([key, name]));
  }

  async writeNote(key: string, name: NoteName, text: string): Promise<void> {
    await this.#change('notes', (store) => store.put(text, [key, name]));
  }

  async removeNote(key: string, name: NoteName): Promise<void> {
    await this.#change('notes', (store) => store.delete([key, name]));
  }

  async size(key: string): Promise<number> {
    return (await done(this.#store('blocks', 'readonly').count(blocksOf(key)))) * BLOCK;
  }

  async open(key: string): Promise<Drawer> {
    const last = await done(this.#store('blocks', 'readonly').openKeyCursor(blocksOf(key), 'prev'));
    const lastKey: unknown = last?.key;
    return new IdbDrawer(this, key, Array.isArray(lastKey) ? Number(lastKey[1]) + 1 : 0);
  }

  async find(key: string, length: number): Promise<StoredFile | undefined> {
    const count = Math.ceil(length / BLOCK);
    if ((await done(this.#store('blocks', 'readonly').count(blocksOf(key)))) !== count) return undefined;
    const sums = new BigUint64Array(count);
    const blob = await this.#join(key, count, (sum, index) => (sums[index] = sum));
    return blob.size === length ? { kind: 'blob', blob, length, sums, fromCache: true } : undefined;
  }

  blob(key: string, length: number): Promise<Blob> {
    return this.#join(key, Math.ceil(length / BLOCK), () => {});
  }

  async remove(key: string): Promise<void> {
    await this.removeBlocks(key);
    await this.removeNote(key, 'plan');
    await this.removeNote(key, 'record');
  }

  read(key: string, index: number): Promise<Entry | undefined> {
    return done<Entry | undefined>(this.#store('blocks', 'readonly').get([key, index]));
  }

  write(key: string, index: number, entry: Entry): Promise<void> {
    return this.#change('blocks', (store) => store.put(entry, [key, index]));
  }

  removeBlocks(key: string): Promise<void> {
    return this.#change('blocks', (store) => store.delete(blocksOf(key)));
  }

  /** The blocks of a file as one blob, which the browser may keep on disk. */
  async #join(key: string, count: number, onSum: (sum: bigint, index: number) => void): Promise<Blob> {
    const pieces: Blob[] = [];
    for (let from = 0; from < count; from += BATCH) {
      const range = IDBKeyRange.bound([key, from], [key, from + BATCH], false, true);
      const entries: Entry[] = await done(this.#store('blocks', 'readonly').getAll(range));
      entries.forEach(({ sum }, at) => onSum(sum, from + at));
      pieces.push(new Blob(entries.map(({ bytes }) => bytes)));
    }
    return new Blob(pieces);
  }

  #store(name: 'blocks' | 'notes', mode: 'readonly' | 'readwrite'): IDBObjectStore {
    try {
      return this.#database.transaction(name, mode).objectStore(name);
    } catch (error) {
      throw storageError(error);
    }
  }

  #change(name: 'blocks' | 'notes', work: (store: IDBObjectStore) => IDBRequest): Promise<void> {
    return new Promise((resolve, reject) => {
      const store = this.#store(name, 'readwrite');
      store.transaction.oncomplete = () => resolve();
      store.transaction.onabort = () => reject(storageError(store.transaction.error));
      try {
        work(store);
      } catch (error) {
        reject(storageError(error));
      }
    });
  }
}

class IdbDrawer implements Drawer {
  readonly #shelf: Idb;
  readonly #key: string;
  readonly count: number;

  constructor(shelf: Idb, key: string, count: number) {
    this.#shelf = shelf;
    this.#key = key;
    this.count = count;
  }

  async read(index: number): Promise<StoredBlock | undefined> {
    const entry = await this.#shelf.read(this.#key, index);
    return entry && { bytes: new Uint8Array(entry.bytes), sum: entry.sum };
  }

  write(index: number, { bytes, sum }: StoredBlock): Promise<void> {
    return this.#shelf.write(this.#key, index, { bytes: bytes.slice().buffer, sum });
  }

  clear(): Promise<void> {
    return this.#shelf.removeBlocks(this.#key);
  }

  settle(): void {}

  close(): void {}
}

const blocksOf = (key: string) => IDBKeyRange.bound([key, 0], [key, Infinity]);

function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(storageError(request.error));
  });
}
