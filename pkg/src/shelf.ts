/**
 * Where the bytes of models live between visits. Runs in a worker. A file has a key; under it lie its blocks with their sums, and two notes:
 *
 * - the *plan*: which file is being downloaded; written before the first block;
 * - the *record*: the file is whole; written last of all.
 *
 * A file is stored when its record can be read and as many bytes are there as it says: nothing else counts. A tab may be
 * killed at any moment: what was written is looked at block by block, and the download goes on after what is sound.
 *
 * | | OPFS (`opfs.ts`) | IndexedDB (`idb.ts`) | memory |
 * | --- | --- | --- | --- |
 * | when | the browser has it | it has not | `cache: false`, or neither works (some private windows) |
 * | blocks | in one file; sums in another | a record each | blobs |
 * | read by a shard | straight into its memory | through a blob | through a blob |
 * | later visits | without the network | without the network | download again |
 * | a download that breaks off | goes on, also in a later visit | the same | goes on, in this visit |
 * | room | disk, within the origin's quota | the same | memory |
 */

import type { Drawer } from './blocks.js';
import { asFanlightError, FanlightError } from './errors.js';
import type { StoredFile } from './protocol.js';

/** What the plan and the record say. */
export interface FileNote {
  readonly version: 2;
  readonly url: string;
  readonly length: number | undefined;
  readonly etag: string | undefined;
  readonly lastModified: string | undefined;
  /** When it was written: milliseconds since 1970. */
  readonly at: number;
  /** In a record: the hash of the whole file, in hexadecimal. */
  readonly sha256?: string;
}

/** The two notes of a file. */
export type NoteName = 'plan' | 'record';

/** One kind of storage. */
export interface Shelf {
  readonly kind: 'opfs' | 'indexeddb';
  keys(): Promise<string[]>;
  readNote(key: string, name: NoteName): Promise<string | undefined>;
  writeNote(key: string, name: NoteName, text: string): Promise<void>;
  removeNote(key: string, name: NoteName): Promise<void>;
  /** Bytes that a file takes. */
  size(key: string): Promise<number>;
  /** Opens a file for writing; makes it when there is none. */
  open(key: string): Promise<Drawer>;
  /** How shards read a file of this length; nothing when it is not all there. */
  find(key: string, length: number): Promise<StoredFile | undefined>;
  /** All of a file, as a blob. */
  blob(key: string, length: number): Promise<Blob>;
  remove(key: string): Promise<void>;
}

/** The name of the folder, the database and the locks. */
export const SHELF = 'fanlight';

/** Nothing when there is none, or when it was cut short by the end of a tab. */
export async function readNote(shelf: Shelf, key: string, name: NoteName): Promise<FileNote | undefined> {
  const text = await shelf.readNote(key, name);
  try {
    const note: FileNote | null = JSON.parse(text ?? 'null');
    return note?.version === 2 && typeof note.url === 'string' ? note : undefined;
  } catch {
    return undefined;
  }
}

/** A URL as a file name. */
export async function keyOf(url: string): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(url));
  return hex(new Uint8Array(digest, 0, 16));
}

/** Bytes in hexadecimal. */
export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Says it before the download, not after most of it. */
export async function checkRoom(length: number): Promise<void> {
  const { quota, usage } = await estimate();
  if (quota === undefined || usage === undefined || length <= quota - usage) return;
  const megabytes = (bytes: number) => `${Math.ceil(bytes / 1e6)} MB`;
  const room = `The file has ${megabytes(length)}, and browser storage has room for ${megabytes(quota - usage)}`;
  throw new FanlightError('quota', `${room}. Free disk space or this site's data, or load with cache: false.`);
}

/** What the browser says of the room that this site has and takes. */
export async function estimate(): Promise<{ quota: number | undefined; usage: number | undefined }> {
  const storage: StorageManager | undefined = navigator.storage;
  const { quota, usage } = (await storage?.estimate?.().catch(() => undefined)) ?? {};
  return { quota, usage };
}

/** Storage refuses in its own words; the caller hears ours. */
export function storageError(error: unknown): FanlightError {
  const full = error instanceof DOMException && error.name === 'QuotaExceededError';
  const advice = full
    ? 'Browser storage is full: free disk space, or load with cache: false'
    : 'Browser storage failed';
  return asFanlightError(error, full ? 'quota' : 'integrity', advice);
}
