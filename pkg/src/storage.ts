/**
 * Where the bytes of models live between visits: in the origin's private file system (OPFS). Runs in a worker.
 *
 *     fanlight/
 *       <key>.gguf   the bytes
 *       <key>.part   what is being downloaded (JSON); written before the first byte
 *       <key>.json   the record; written last of all, after the length was checked
 *
 * A file is stored when its record can be read and the length agrees: nothing else counts. A tab may be killed at any
 * moment. Whole blocks that were written before that are kept, and the download goes on after them.
 *
 * | | OPFS | memory |
 * | --- | --- | --- |
 * | when | `cache` is on and the browser has it | otherwise |
 * | later visits | without the network | download again |
 * | a download that breaks off | goes on, also in a later visit | goes on, in this visit |
 * | room | disk, within the origin's quota | memory |
 */

import type { Handlers } from './channel.js';
import { download, type Identity, type Sink } from './download.js';
import type { Source } from './engine.js';
import { aborted, asFanlightError, FanlightError } from './errors.js';
import type { StorageCalls, StoredFile, StoreEvent } from './protocol.js';

const DIRECTORY = 'fanlight';
/** Bytes are written in blocks of this size, and a broken download goes on at a multiple of it. */
const BLOCK = 1 << 18;
/** In memory, blobs of this size are put together to the one that is returned. */
const FOLD = 1 << 23;
/** A worker that was ended lets go of its files a little later. */
const LOCKED_TRIES = 40;
const LOCKED_WAIT_MS = 50;

/** Answers the page's calls about storage. */
export function storageHandlers(): Handlers<StorageCalls> {
  return {
    async store({ url, cache }, { signal, emit }) {
      const directory = cache ? await openDirectory() : undefined;
      const watch = watcher(signal, emit);
      try {
        return await (directory ? storeOnDisk(directory, url, watch) : storeInMemory(url, watch));
      } catch (error) {
        if (signal.aborted) throw aborted();
        throw asFanlightError(error, 'integrity', 'Browser storage failed');
      }
    },
  };
}

interface Watch {
  readonly signal: AbortSignal;
  readonly emit: (event: StoreEvent) => void;
  readonly onProgress: (loaded: number, total: number | undefined) => void;
}

/** Tells the page how far it is, ten times a second and at the end. */
function watcher(signal: AbortSignal, emit: (event: StoreEvent) => void): Watch {
  let told = -Infinity; // the first step is always told
  const onProgress = (loaded: number, total: number | undefined) => {
    const now = performance.now();
    if (loaded !== total && now - told < 100) return;
    told = now;
    emit({ loaded, total, fromCache: false, waiting: false });
  };
  return { signal, emit, onProgress };
}

// ---- On disk ---------------------------------------------------------------------------------------------------

/** What the record and the plan of a download say. */
interface FileRecord {
  readonly version: 1;
  readonly url: string;
  readonly length: number | undefined;
  readonly etag: string | undefined;
  readonly lastModified: string | undefined;
}

/** The folder of all models; nothing where the browser has no file storage, or denies it to this page. */
async function openDirectory(): Promise<FileSystemDirectoryHandle | undefined> {
  if (typeof FileSystemSyncAccessHandle === 'undefined') return undefined;
  try {
    const root = await navigator.storage.getDirectory();
    return await root.getDirectoryHandle(DIRECTORY, { create: true });
  } catch {
    return undefined; // private windows, insecure pages
  }
}

async function storeOnDisk(directory: FileSystemDirectoryHandle, url: string, watch: Watch): Promise<StoredFile> {
  const key = await keyOf(url);
  const found = await findStored(directory, key);
  const stored = found ?? (await exclusively(key, watch, () => downloadToDisk(directory, key, url, watch)));
  watch.emit({ loaded: stored.length, total: stored.length, fromCache: stored.fromCache, waiting: false });
  return stored;
}

async function downloadToDisk(
  directory: FileSystemDirectoryHandle,
  key: string,
  url: string,
  watch: Watch,
): Promise<StoredFile> {
  const found = await findStored(directory, key); // another tab has stored it meanwhile
  if (found) return found;
  await remove(directory, `${key}.json`);
  const sink = await DiskSink.open(directory, key, url);
  try {
    await download(url, sink, watch);
    return { kind: 'opfs', key, length: await sink.commit(), fromCache: false };
  } finally {
    sink.close();
  }
}

/** A stored file, whole. */
async function findStored(directory: FileSystemDirectoryHandle, key: string): Promise<StoredFile | undefined> {
  const record = await readRecord(directory, `${key}.json`);
  if (record?.length === undefined) return undefined;
  const file = await readFile(directory, `${key}.gguf`);
  if (file?.size !== record.length) return undefined;
  return { kind: 'opfs', key, length: record.length, fromCache: true };
}

/** Appends to the file of a key, block by block. */
class DiskSink implements Sink {
  readonly #directory: FileSystemDirectoryHandle;
  readonly #key: string;
  readonly #url: string;
  readonly #file: FileSystemSyncAccessHandle;
  readonly #block = new Uint8Array(BLOCK);
  #written: number;
  #buffered = 0;
  #closed = false;
  #identity: Identity | undefined;

  private constructor(
    directory: FileSystemDirectoryHandle,
    key: string,
    url: string,
    file: FileSystemSyncAccessHandle,
    identity: Identity | undefined,
  ) {
    this.#directory = directory;
    this.#key = key;
    this.#url = url;
    this.#file = file;
    this.#identity = identity;
    const whole = Math.floor(file.getSize() / BLOCK) * BLOCK;
    this.#written = identity ? Math.min(whole, identity.length ?? whole) : 0;
  }

  /** With what an earlier visit has left, if that was of the same URL. */
  static async open(directory: FileSystemDirectoryHandle, key: string, url: string): Promise<DiskSink> {
    const plan = await readRecord(directory, `${key}.part`);
    const file = await openForWriting(directory, `${key}.gguf`);
    return new DiskSink(directory, key, url, file, plan?.url === url ? plan : undefined);
  }

  get position(): number {
    return this.#written + this.#buffered;
  }

  get identity(): Identity | undefined {
    return this.#identity;
  }

  async begin(identity: Identity): Promise<void> {
    await this.discard();
    await checkRoom(identity.length ?? 0);
    const { length, etag, lastModified } = identity;
    await writeRecord(this.#directory, `${this.#key}.part`, { version: 1, url: this.#url, length, etag, lastModified });
    this.#identity = identity;
  }

  write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      const piece = bytes.subarray(at, at + BLOCK - this.#buffered);
      this.#block.set(piece, this.#buffered);
      this.#buffered += piece.length;
      at += piece.length;
      if (this.#buffered === BLOCK) this.#flush();
    }
  }

  end(): void {
    if (this.#identity) this.#identity = { ...this.#identity, length: this.position };
  }

  async discard(): Promise<void> {
    this.#identity = undefined;
    this.#written = 0;
    this.#buffered = 0;
    await remove(this.#directory, `${this.#key}.part`);
    onDisk(() => this.#file.truncate(0));
  }

  /** All bytes are there: makes it so for later visits, too. Returns the length. */
  async commit(): Promise<number> {
    const length = this.position;
    this.#flush();
    onDisk(() => this.#file.truncate(length));
    this.close();
    const { etag, lastModified } = this.#identity ?? {};
    await writeRecord(this.#directory, `${this.#key}.json`, { version: 1, url: this.#url, length, etag, lastModified });
    await remove(this.#directory, `${this.#key}.part`);
    return length;
  }

  /** Keeps what is there. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#file.flush();
    this.#file.close();
  }

  #flush(): void {
    const bytes = this.#block.subarray(0, this.#buffered);
    const written = onDisk(() => this.#file.write(bytes, { at: this.#written }));
    if (written !== bytes.length) throw new FanlightError('quota', 'Browser storage took only a part of a block.');
    this.#written += written;
    this.#buffered = 0;
  }
}

/** Tabs that want the same file take turns: the first downloads it, the others find it. */
async function exclusively<T>(key: string, watch: Watch, work: () => Promise<T>): Promise<T> {
  const locks: LockManager | undefined = navigator.locks;
  if (!locks) return work();
  const name = `${DIRECTORY}:${key}`;
  const first = await locks.request(name, { ifAvailable: true }, async (lock) => lock && { result: await work() });
  if (first) return first.result;
  watch.emit({ loaded: 0, total: undefined, fromCache: false, waiting: true });
  return await locks.request(name, { signal: watch.signal }, work);
}

/** Says it before the download, not after most of it. */
async function checkRoom(length: number): Promise<void> {
  const { quota, usage } = await navigator.storage.estimate();
  if (quota === undefined || usage === undefined || length <= quota - usage) return;
  const megabytes = (bytes: number) => `${Math.ceil(bytes / 1e6)} MB`;
  const room = `The file has ${megabytes(length)}, and browser storage has room for ${megabytes(quota - usage)}`;
  throw new FanlightError('quota', `${room}. Free disk space or this site's data, or load with cache: false.`);
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

async function writeRecord(directory: FileSystemDirectoryHandle, name: string, record: FileRecord): Promise<void> {
  const file = await openForWriting(directory, name);
  try {
    const bytes = new TextEncoder().encode(JSON.stringify(record));
    onDisk(() => {
      file.truncate(0);
      file.write(bytes, { at: 0 });
      file.flush();
    });
  } finally {
    file.close();
  }
}

/** Nothing when there is none, or when it was cut short by the end of a tab. */
async function readRecord(directory: FileSystemDirectoryHandle, name: string): Promise<FileRecord | undefined> {
  const text = await (await readFile(directory, name))?.text();
  try {
    const record: FileRecord = JSON.parse(text ?? 'null');
    return record?.version === 1 ? record : undefined;
  } catch {
    return undefined;
  }
}

async function readFile(directory: FileSystemDirectoryHandle, name: string): Promise<File | undefined> {
  try {
    return await (await directory.getFileHandle(name)).getFile();
  } catch {
    return undefined;
  }
}

async function remove(directory: FileSystemDirectoryHandle, name: string): Promise<void> {
  await directory.removeEntry(name).catch((error: unknown) => {
    if (!(error instanceof DOMException && error.name === 'NotFoundError')) throw error;
  });
}

/** A URL as a file name. */
async function keyOf(url: string): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(url));
  return Array.from(new Uint8Array(digest, 0, 16), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Storage refuses in its own words; the caller hears ours. */
function onDisk<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    const full = error instanceof DOMException && error.name === 'QuotaExceededError';
    const advice = full
      ? 'Browser storage is full: free disk space, or load with cache: false'
      : 'Browser storage failed';
    throw asFanlightError(error, full ? 'quota' : 'integrity', advice);
  }
}

// ---- In memory -------------------------------------------------------------------------------------------------

async function storeInMemory(url: string, watch: Watch): Promise<StoredFile> {
  const sink = new MemorySink();
  await download(url, sink, watch);
  const blob = sink.blob();
  watch.emit({ loaded: blob.size, total: blob.size, fromCache: false, waiting: false });
  return { kind: 'blob', blob, length: blob.size, fromCache: false };
}

/** Collects a blob: the browser may move it to disk, and workers share it. */
class MemorySink implements Sink {
  #parts: Blob[] = [];
  #pending: Uint8Array<ArrayBuffer>[] = [];
  #pendingBytes = 0;
  position = 0;
  identity: Identity | undefined;

  async begin(identity: Identity): Promise<void> {
    await this.discard();
    this.identity = identity;
  }

  write(bytes: Uint8Array): void {
    this.#pending.push(new Uint8Array(bytes));
    this.#pendingBytes += bytes.length;
    this.position += bytes.length;
    if (this.#pendingBytes >= FOLD) this.#fold();
  }

  end(): void {
    if (this.identity) this.identity = { ...this.identity, length: this.position };
  }

  async discard(): Promise<void> {
    this.#parts = [];
    this.#pending = [];
    this.#pendingBytes = 0;
    this.position = 0;
    this.identity = undefined;
  }

  blob(): Blob {
    this.#fold();
    return new Blob(this.#parts);
  }

  #fold(): void {
    this.#parts.push(new Blob(this.#pending));
    this.#pending = [];
    this.#pendingBytes = 0;
  }
}

// ---- Reading ---------------------------------------------------------------------------------------------------

/** A file that is open: the engine's source. */
export interface OpenFile extends Source {
  close(): void;
}

/** Opens a file for the engine. Several workers may read the same one. */
export async function openFile(file: StoredFile): Promise<OpenFile> {
  if (file.kind === 'blob') return new BlobFile(file.blob);
  try {
    const root = await navigator.storage.getDirectory();
    const handle = await (await root.getDirectoryHandle(DIRECTORY)).getFileHandle(`${file.key}.gguf`);
    // Without shared handles an open file belongs to one worker alone.
    if (!('mode' in FileSystemSyncAccessHandle.prototype)) return new BlobFile(await handle.getFile());
    return new DiskFile(await handle.createSyncAccessHandle({ mode: 'read-only' }));
  } catch (error) {
    throw asFanlightError(error, 'integrity', 'The stored file cannot be read: load it again');
  }
}

/** A stored file: read straight into the engine's memory. */
class DiskFile implements OpenFile {
  readonly length: number;
  readonly #file: FileSystemSyncAccessHandle;

  constructor(file: FileSystemSyncAccessHandle) {
    this.#file = file;
    this.length = file.getSize();
  }

  read(offset: number, into: Uint8Array): void {
    const read = onDisk(() => this.#file.read(into, { at: offset }));
    if (read !== into.length) throw tooShort(this.length, offset + into.length);
  }

  close(): void {
    this.#file.close();
  }
}

/** A visitor's file, or bytes in memory. */
class BlobFile implements OpenFile {
  readonly length: number;
  readonly #blob: Blob;
  readonly #reader = new FileReaderSync();

  constructor(blob: Blob) {
    this.#blob = blob;
    this.length = blob.size;
  }

  read(offset: number, into: Uint8Array): void {
    const end = offset + into.length;
    if (end > this.length) throw tooShort(this.length, end);
    try {
      into.set(new Uint8Array(this.#reader.readAsArrayBuffer(this.#blob.slice(offset, end))));
    } catch (error) {
      throw asFanlightError(
        error,
        'changed-file',
        'The file was changed or removed after it was chosen: choose it again',
      );
    }
  }

  close(): void {}
}

function tooShort(length: number, wanted: number): FanlightError {
  return new FanlightError('integrity', `The file has ${length} bytes, and ${wanted} are needed: load it again.`);
}
