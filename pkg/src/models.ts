/** `Fanlight.models`: what is in browser storage, whole or in part. Nothing is ever removed but here, by the application. */

import { FanlightError, invalidArgument } from './errors.js';
import { chooseBuild, detectFeatures } from './features.js';
import { compileEngine } from './module.js';
import { checkSignal, known } from './params.js';
import type { ListedFile } from './protocol.js';
import { checkSource, splitParts } from './sources.js';
import { withWorker } from './spawn.js';

/** A model in storage: one file, or all files of a model that is split over several, and the `mmproj` file beside it. */
export interface StoredModel {
  /** The address that `Fanlight.load` takes; of a split model, that of its first file. */
  readonly url: string;
  /** Bytes that it takes in storage now. */
  readonly bytes: number;
  /** Bytes that it will take when it is whole, as far as that is known. */
  readonly totalBytes: number | undefined;
  /** All of it is there: it loads without the network. */
  readonly complete: boolean;
  /** When it was complete, or when its download began. */
  readonly storedAt: Date;
  readonly files: readonly StoredModelFile[];
}

/** One file of a stored model. */
export interface StoredModelFile {
  readonly url: string;
  readonly bytes: number;
  readonly totalBytes: number | undefined;
  readonly complete: boolean;
  /** The hash of the whole file, in hexadecimal; `integrity: 'sha256-' + sha256` asks for it. */
  readonly sha256: string | undefined;
}

/** What `verify` found. */
export interface Verification {
  /** All blocks are what they were when they came, and so is the whole. */
  readonly ok: boolean;
  readonly blocks: number;
  /** Blocks that are damaged. The next `load` fetches them again, and only them. */
  readonly damagedBlocks: number;
}

/** The room that this site has. */
export interface StorageState {
  /** Bytes of models, unfinished downloads included. */
  readonly modelBytes: number;
  /** Bytes of the whole site, and how many it may have, as far as the browser says. */
  readonly usage: number | undefined;
  readonly quota: number | undefined;
  /** The browser has promised not to clear it when the disk gets full. */
  readonly persisted: boolean;
}

/** How `verify` and `import` may be watched and stopped. */
export interface ModelWorkOptions {
  signal?: AbortSignal;
  /** Bytes done, of how many. */
  onProgress?: (progress: { readonly loaded: number; readonly total: number | undefined }) => void;
}

/** Every model in storage, and every unfinished download. */
async function list(): Promise<StoredModel[]> {
  return group(await withWorker((worker) => worker.call('list', {})));
}

/** One model; nothing when not a byte of it is there. */
async function info(url: string | URL): Promise<StoredModel | undefined> {
  const [first] = urlsOf(url);
  return (await list()).find((model) => model.files.some((file) => file.url === first));
}

/** Holds every byte of a stored model against what came. */
async function verify(url: string | URL, options: ModelWorkOptions = {}): Promise<Verification> {
  const { urls, signal, onEvent } = await work('models.verify', url, options);
  const engine = await compileEngine(chooseBuild('auto', detectFeatures()));
  return withWorker(async (worker) => {
    let [ok, blocks, damagedBlocks] = [true, 0, 0];
    for (const url of urls) {
      const found = await worker.call('verify', { url, engine }, { ...signal, onEvent });
      ok &&= found.hashAgrees && found.damaged === 0;
      blocks += found.blocks;
      damagedBlocks += found.damaged;
    }
    return { ok, blocks, damagedBlocks };
  });
}

/** Removes a model, or what there is of it. */
async function remove(url: string | URL): Promise<void> {
  const stored = await info(url);
  const urls = [...new Set([...urlsOf(url), ...(stored?.files.map((file) => file.url) ?? [])])];
  await withWorker((worker) => worker.call('remove', { urls }));
}

/** Removes all models and all unfinished downloads. */
async function clear(): Promise<void> {
  await withWorker(async (worker) => {
    const urls = (await worker.call('list', {})).map((file) => file.url);
    await worker.call('remove', { urls });
  });
}

/** The files of a stored model, to be saved or sent elsewhere. */
async function exportModel(url: string | URL): Promise<Blob[]> {
  const urls = (await info(url))?.files.map((file) => file.url) ?? urlsOf(url);
  return withWorker(async (worker) => {
    const blobs: Blob[] = [];
    for (const url of urls) blobs.push(await worker.call('read', { url }));
    return blobs;
  });
}

/** Puts files that are here already into storage, as the model of this address: `load` then needs no network. */
async function importModel(
  url: string | URL,
  files: Blob | readonly Blob[],
  options: ModelWorkOptions = {},
): Promise<StoredModel> {
  const { urls, signal, onEvent } = await work('models.import', url, options);
  const blobs: readonly Blob[] = files instanceof Blob ? [files] : files;
  if (!Array.isArray(blobs) || !blobs.every((blob) => blob instanceof Blob) || blobs.length !== urls.length) throw invalidArgument('files', files, `${urls.length} files`);
  for (const blob of blobs) if (!(await isGguf(blob))) throw notAGguf(blob);
  const engine = await compileEngine(chooseBuild('auto', detectFeatures()));
  await withWorker(async (worker) => {
    for (const [index, blob] of blobs.entries()) {
      await worker.call('keep', { url: urls[index] ?? '', blob, engine }, { ...signal, onEvent });
    }
  });
  const stored = await info(url);
  if (!stored?.complete) throw new FanlightError('integrity', 'What was imported is not in storage.');
  return stored;
}

/** The room that models take, and how much there is. */
async function storage(): Promise<StorageState> {
  const manager: StorageManager | undefined = globalThis.navigator?.storage;
  const models = await list();
  const { usage, quota } = (await manager?.estimate?.()) ?? {};
  const persisted = (await manager?.persisted?.()) ?? false;
  return { modelBytes: models.reduce((sum, { bytes }) => sum + bytes, 0), usage, quota, persisted };
}

/** Asks the browser not to clear this site's storage when the disk gets full. It may ask the visitor, and it may refuse. */
async function persist(): Promise<boolean> {
  const manager: StorageManager | undefined = globalThis.navigator?.storage;
  return (await manager?.persist?.()) ?? false;
}

/** What is in browser storage, and what can be done with it. */
export const models = {
  list,
  info,
  verify,
  remove,
  clear,
  export: exportModel,
  import: importModel,
  storage,
  persist,
} as const;

// ---- What they share -----------------------------------------------------------------------------------------

async function work(where: string, url: string | URL, options: ModelWorkOptions) {
  const given = known(where, options, new Set(['signal', 'onProgress']));
  const signal = checkSignal(given['signal']);
  if (given['onProgress'] && typeof given['onProgress'] !== 'function') throw invalidArgument('onProgress', given['onProgress'], 'a function');
  const { onProgress } = options;
  const onEvent = ({ loaded, total }: { loaded: number; total: number | undefined }) => onProgress?.({ loaded, total });
  return { urls: urlsOf(url), signal: signal ? { signal } : {}, onEvent };
}

/** The addresses of all files of a model. */
function urlsOf(url: string | URL): string[] {
  if (typeof url !== 'string' && !(url instanceof URL)) throw invalidArgument('url', url, 'an address');
  return checkSource(url).map((part) => (part instanceof URL ? part.href : ''));
}

/** Files as models: those of a split one together, and what projects images for the only model of a folder with that model. */
function group(files: readonly ListedFile[]): StoredModel[] {
  const entries = new Map<string, Entry>();
  for (const file of files) {
    const urls = splitParts(new URL(file.url)).map(({ href }) => href);
    const first = urls[0] ?? file.url;
    const entry = entries.get(first) ?? { urls, files: new Map() };
    entries.set(first, { ...entry, files: entry.files.set(file.url, file) });
  }
  const projectors = [...entries.keys()].filter(isProjector);
  for (const projector of projectors) {
    const [model, another] = [...entries.keys()].filter((url) => !isProjector(url) && folderOf(url) === folderOf(projector));
    const [from, to] = [entries.get(projector), entries.get(model ?? '')];
    if (!from || !to || model === undefined || another !== undefined) continue; // whose it is, nobody can say
    entries.delete(projector);
    entries.set(model, { urls: [...to.urls, ...from.urls], files: new Map([...to.files, ...from.files]) });
  }
  return [...entries].map(([url, { urls, files }]) => {
    const known = urls.flatMap((url) => files.get(url) ?? []);
    const lengths = known.map(({ length }) => length);
    const all = known.length === urls.length && lengths.every((length) => length !== undefined);
    return {
      url,
      bytes: known.reduce((sum, { bytes }) => sum + bytes, 0),
      totalBytes: all ? lengths.reduce((sum: number, length) => sum + (length ?? 0), 0) : undefined,
      complete: known.length === urls.length && known.every(({ complete }) => complete),
      storedAt: new Date(Math.max(...known.map(({ at }) => at))),
      files: known.map(({ url, bytes, length, complete, sha256 }) => {
        return { url, bytes, totalBytes: length, complete, sha256 };
      }),
    };
  });
}

/** The files that a model should have, and those of them that are here, by their addresses. */
interface Entry {
  readonly urls: readonly string[];
  readonly files: Map<string, ListedFile>;
}

/** By its name, as its makers give it: `mmproj-F16.gguf`, `model.mmproj-q8_0.gguf`. */
function isProjector(url: string): boolean {
  return /(^|[-_.])mmproj[-_.][^/]*$/i.test(new URL(url).pathname.replace(/^.*\//, ''));
}

function folderOf(url: string): string {
  return new URL('.', url).href;
}

async function isGguf(blob: Blob): Promise<boolean> {
  return (await blob.slice(0, 4).text()) === 'GGUF';
}

function notAGguf(blob: Blob): FanlightError {
  return new FanlightError('not-a-gguf', `A file of ${blob.size} bytes does not begin with "GGUF".`);
}
