/**
 * Models in the origin's private file system:
 *
 *     fanlight/
 *       <key>.gguf   the blocks, one after the other
 *       <key>.sums   their sums, 8 bytes each (little-endian); 0 for a block that is not there
 *       <key>.part   the plan
 *       <key>.json   the record
 *
 * A sum may reach the disk before its block does, when the machine loses power: the block is then found damaged, and counts
 * as missing. So nothing has to be flushed before the end.
 */

import { BLOCK, type Drawer, type StoredBlock } from './blocks.js';
import { asFanlightError, FanlightError } from './errors.js';
import type { StoredFile } from './protocol.js';
import { type NoteName, SHELF, type Shelf, storageError } from './shelf.js';

const NOTES = { plan: 'part', record: 'json' } as const;
const SUM_BYTES = 8;
/** A worker that was ended lets go of its files a little later. */
const LOCKED_TRIES = 40;
const LOCKED_WAIT_MS = 50;

/** Nothing where the browser has no such file system, or denies it to this page (private windows, insecure pages). */
export async function openOpfs(): Promise<Shelf | undefined> {
  if (typeof FileSystemSyncAccessHandle === 'undefined') return undefined;
  try {
    const root = await navigator.storage.getDirectory();
    return new Opfs(await root.getDirectoryHandle(SHELF, { create: true }));
  } catch {
    return undefined;
  }
}

class Opfs implements Shelf {
  readonly kind = 'opfs';
  readonly #directory: FileSystemDirectoryHandle;

  constructor(directory: FileSystemDirectoryHandle) {
    this.#directory = directory;
  }

  async keys(): Promise<string[]> {
    const keys = new Set<string>();
    for await (const name of this.#directory.keys()) keys.add(name.replace(/\..*$/, ''));
    return [...keys];
  }

  async readNote(key: string, name: NoteName): Promise<string | undefined> {
    return (await this.#file(`${key}.${NOTES[name]}`))?.text();
  }

  async writeNote(key: string, name: NoteName, text: string): Promise<void> {
    const file = await openForWriting(this.#directory, `${key}.${NOTES[name]}`);
    try {
      const bytes = new TextEncoder().encode(text);
      onDisk(() => {
        file.truncate(0);
        file.write(bytes, { at: 0 });
        file.flush();
      });
    } finally {
      file.close();
    }
  }

  removeNote(key: string, name: NoteName): Promise<void> {
    return this.#remove(`${key}.${NOTES[name]}`);
  }

  async size(key: string): Promise<number> {
    return (await this.#file(`${key}.gguf`))?.size ?? 0;
  }

  async open(key: string): Promise<Drawer> {
    const file = await openForWriting(this.#directory, `${key}.gguf`);
    try {
      return new OpfsDrawer(file, await openForWriting(this.#directory, `${key}.sums`));
    } catch (error) {
      file.close();
      throw error;
    }
  }

  async find(key: string, length: number): Promise<StoredFile | undefined> {
    const file = await this.#file(`${key}.gguf`);
    const sums = await (await this.#file(`${key}.sums`))?.arrayBuffer();
    if (file?.size !== length || sums?.byteLength !== Math.ceil(length / BLOCK) * SUM_BYTES) return undefined;
    return { kind: 'opfs', key, length, sums: new BigUint64Array(sums), fromCache: true };
  }

  async blob(key: string): Promise<Blob> {
    const file = await this.#file(`${key}.gguf`);
    if (!file) throw new FanlightError('integrity', 'The stored file is gone: load it again.');
    return file;
  }

  async remove(key: string): Promise<void> {
    // The notes last: what is left of a removal that was cut short is listed, and can be removed.
    for (const kind of ['gguf', 'sums', 'part', 'json']) await this.#remove(`${key}.${kind}`);
  }

  async #file(name: string): Promise<File | undefined> {
    try {
      return await (await this.#directory.getFileHandle(name)).getFile();
    } catch {
      return undefined;
    }
  }

  async #remove(name: string): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        return await this.#directory.removeEntry(name);
      } catch (error) {
        if (error instanceof DOMException && error.name === 'NotFoundError') return;
        if (tries >= LOCKED_TRIES) throw storageError(error);
        await new Promise((resolve) => setTimeout(resolve, LOCKED_WAIT_MS));
      }
    }
  }
}

class OpfsDrawer implements Drawer {
  readonly #file: FileSystemSyncAccessHandle;
  readonly #sumFile: FileSystemSyncAccessHandle;
  readonly #size: number;
  readonly #sums: DataView;
  readonly #sum = new DataView(new ArrayBuffer(SUM_BYTES));
  #closed = false;

  constructor(file: FileSystemSyncAccessHandle, sums: FileSystemSyncAccessHandle) {
    this.#file = file;
    this.#sumFile = sums;
    this.#size = file.getSize();
    const bytes = new Uint8Array(Math.floor(sums.getSize() / SUM_BYTES) * SUM_BYTES);
    onDisk(() => sums.read(bytes, { at: 0 }));
    this.#sums = new DataView(bytes.buffer);
  }

  get count(): number {
    return Math.min(Math.ceil(this.#size / BLOCK), this.#sums.byteLength / SUM_BYTES);
  }

  read(index: number): StoredBlock | undefined {
    const bytes = new Uint8Array(BLOCK);
    const read = onDisk(() => this.#file.read(bytes, { at: index * BLOCK }));
    onDisk(() => this.#sumFile.read(this.#sum, { at: index * SUM_BYTES }));
    return { bytes: bytes.subarray(0, read), sum: this.#sum.getBigUint64(0, true) };
  }

  write(index: number, { bytes, sum }: StoredBlock): void {
    const written = onDisk(() => this.#file.write(bytes, { at: index * BLOCK }));
    if (written !== bytes.length) throw new FanlightError('quota', 'Browser storage took only a part of a block.');
    this.#sum.setBigUint64(0, sum, true);
    onDisk(() => this.#sumFile.write(this.#sum, { at: index * SUM_BYTES }));
  }

  clear(): void {
    onDisk(() => {
      this.#sumFile.truncate(0);
      this.#file.truncate(0);
    });
  }

  settle(length: number): void {
    onDisk(() => {
      this.#file.truncate(length);
      this.#sumFile.truncate(Math.ceil(length / BLOCK) * SUM_BYTES);
      this.#file.flush();
      this.#sumFile.flush();
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#sumFile.close();
    this.#file.close();
  }
}

async function openForWriting(directory: FileSystemDirectoryHandle, name: string): Promise<FileSystemSyncAccessHandle> {
  const handle = await directory.getFileHandle(name, { create: true });
  for (let tries = 1; ; tries++) {
    try {
      return await handle.createSyncAccessHandle();
    } catch (error) {
      if (tries >= LOCKED_TRIES) throw asFanlightError(error, 'integrity', 'Browser storage cannot be written');
      await new Promise((resolve) => setTimeout(resolve, LOCKED_WAIT_MS));
    }
  }
}

/** Opens a stored file for reading, where several workers can at once; nothing where they cannot. */
export async function openShared(key: string): Promise<FileSystemSyncAccessHandle | File> {
  const root = await navigator.storage.getDirectory();
  const handle = await (await root.getDirectoryHandle(SHELF)).getFileHandle(`${key}.gguf`);
  // Without shared handles an open file belongs to one worker alone.
  if (!('mode' in FileSystemSyncAccessHandle.prototype)) return handle.getFile();
  return handle.createSyncAccessHandle({ mode: 'read-only' });
}

/** Runs it; what storage throws becomes an error of ours. */
export function onDisk<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw storageError(error);
  }
}
