/** Files of a model, open for the engine: read in a worker, synchronously, at any place. */

import type { Source } from './engine.js';
import { asFanlightError, FanlightError } from './errors.js';
import { onDisk, openShared } from './opfs.js';
import type { StoredFile } from './protocol.js';

/** A file that is open: the engine's source. */
export interface OpenFile extends Source {
  close(): void;
}

/** Opens a file for the engine. Several workers may read the same one. */
export async function openFile(file: StoredFile): Promise<OpenFile> {
  if (file.kind === 'blob') return new BlobFile(file.blob, file.sums);
  try {
    const shared = await openShared(file.key);
    return shared instanceof Blob ? new BlobFile(shared, file.sums) : new DiskFile(shared, file.sums);
  } catch (error) {
    throw asFanlightError(error, 'integrity', 'The stored file cannot be read: load it again');
  }
}

/** A stored file: read straight into the engine's memory. */
class DiskFile implements OpenFile {
  readonly length: number;
  readonly sums: BigUint64Array | undefined;
  readonly #file: FileSystemSyncAccessHandle;

  constructor(file: FileSystemSyncAccessHandle, sums: BigUint64Array | undefined) {
    this.#file = file;
    this.sums = sums;
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
  readonly sums: BigUint64Array | undefined;
  readonly #blob: Blob;
  readonly #reader = new FileReaderSync();

  constructor(blob: Blob, sums: BigUint64Array | undefined) {
    this.#blob = blob;
    this.sums = sums;
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
