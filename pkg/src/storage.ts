/** What a worker does with stored files for its page: fetches, mends, lists, verifies, removes them. */

import { Assembly, type AssemblyOptions, type Drawer, type StoredBlock, type Sums } from './blocks.js';
import type { Call, Handlers } from './channel.js';
import { download, type Identity } from './download.js';
import type { EngineModule } from './engine.js';
import { aborted, asFanlightError, FanlightError, toRecord } from './errors.js';
import { defaultShards } from './features.js';
import { type Division, Gate, measureAt } from './header.js';
import { openIdb } from './idb.js';
import { openOpfs } from './opfs.js';
import type { Build, EngineRef, FindParams, ListedFile, StorageCalls, StoredFile, StoreEvent, StoreParams, Use } from './protocol.js';
import { checkRoom, type FileNote, hex, keyOf, readNote, SHELF, type Shelf } from './shelf.js';

/** What storage needs of the world. Tests bring their own. */
export interface StorageWorld {
  importEngine(build: Build): Promise<EngineModule>;
}

let opened: Promise<Shelf | undefined> | undefined;

/** The best that this browser has; nothing where it has none, or denies it to this page. */
export function openShelf(): Promise<Shelf | undefined> {
  opened ??= openOpfs().then((shelf) => shelf ?? openIdb());
  return opened;
}

/** Answers the page's calls about storage. */
export function storageHandlers(world: StorageWorld): Handlers<StorageCalls> {
  return {
    find: (params, call) =>
      guarded(call, async () => {
        const shelf = await openShelf();
        return shelf && findStored(shelf, await keyOf(params.url), params);
      }),
    store: (params, call) =>
      guarded(call, async (watch) => {
        const shelf = params.cache ? await openShelf() : undefined;
        const job: Job = { ...params, ...watch, glue: () => glueOf(world, params.engine) };
        return shelf ? storeOn(shelf, job) : storeInMemory(job);
      }),
    measure: ({ parts, engine, use }, call) =>
      guarded(call, async () => {
        const here = await Promise.all(parts.map(storedBlob));
        const glue = await glueOf(world, engine);
        const sources = parts.map((part, index) => here[index] ?? part);
        const measured = await measureAt(glue, sources, divisionFor(use), call.signal);
        const stored = await Promise.all(parts.map(bytesOf));
        const storedBytes = stored.reduce((sum, bytes) => sum + bytes, 0);
        return { ...measured, isHere: here.every((blob) => blob !== undefined), storedBytes };
      }),
    list: (_, call) => guarded(call, async () => listOf(await openShelf())),
    remove: ({ urls }, call) =>
      guarded(call, async () => {
        const shelf = await openShelf();
        for (const url of urls) await alone(await keyOf(url), url, async (key) => shelf?.remove(key));
      }),
    verify: ({ url, engine }, call) =>
      guarded(call, async (watch) => {
        const sums = sumsOf(await glueOf(world, engine));
        return alone(await keyOf(url), url, async (key) => verify(await needShelf(), key, url, sums, watch));
      }),
    read: ({ url }, call) =>
      guarded(call, async () => {
        const shelf = await needShelf();
        const key = await keyOf(url);
        const { length } = await needRecord(shelf, key, url);
        return shelf.blob(key, length);
      }),
    keep: ({ url, blob, engine }, call) =>
      guarded(call, async (watch) => {
        const sums = sumsOf(await glueOf(world, engine));
        return alone(await keyOf(url), url, async (key) => keep(await needShelf(), key, url, blob, sums, watch));
      }),
  };
}

/** Runs it under watch; what it throws gets a code. */
async function guarded<T>(call: Call<StoreEvent>, work: (watch: Watch) => Promise<T>): Promise<T> {
  const { watch, stop } = watched(call);
  try {
    return await work(watch);
  } catch (error) {
    if (call.signal.aborted) throw aborted();
    throw asFanlightError(error, 'integrity', 'Browser storage failed');
  } finally {
    stop();
  }
}

async function glueOf(world: StorageWorld, { build, module }: EngineRef): Promise<EngineModule> {
  const glue = await world.importEngine(build);
  await glue.default({ module_or_path: module });
  return glue;
}

function sumsOf({ blockSum, Digest }: EngineModule): Sums {
  return { blockSum, digest: () => new Digest() };
}

/** A file that needs no network: in storage, or the visitor's own. */
async function storedBlob(part: string | Blob): Promise<Blob | undefined> {
  if (part instanceof Blob) return part;
  const shelf = await openShelf();
  if (!shelf) return undefined;
  const key = await keyOf(part);
  const record = await readNote(shelf, key, 'record');
  if (record?.length === undefined || !(await shelf.find(key, record.length))) return undefined;
  return shelf.blob(key, record.length);
}

/** Bytes of a file for which storage needs no more room. */
async function bytesOf(part: string | Blob): Promise<number> {
  if (part instanceof Blob) return part.size;
  return (await (await openShelf())?.size(await keyOf(part))) ?? 0;
}

/** How a model of so many bytes would be divided. */
function divisionFor({ threads, transport, cores, contextLength, kvType, predict }: Use): (fileBytes: number) => Division {
  return (bytes) => ({ shards: threads ?? defaultShards(bytes, transport, cores), contextLength, kvType, predict });
}

function gateFor(glue: EngineModule, { use }: StoreParams): Gate | undefined {
  return use && new Gate(glue, divisionFor(use), use.limits);
}

interface Watch {
  readonly signal: AbortSignal;
  readonly emit: (event: StoreEvent) => void;
  readonly onProgress: (loaded: number, total: number | undefined) => void;
}

/** How often the page is told how far it is. */
const TELL_MS = 100;

/** Tells the page how far it is: at the beginning, ten times a second when something has come, and at the end. */
function watched({ signal, emit }: Call<StoreEvent>): { watch: Watch; stop(): void } {
  let untold: StoreEvent | undefined;
  let told = false;
  const tell = () => {
    if (untold) emit(untold);
    untold = undefined;
  };
  const timer = setInterval(tell, TELL_MS);
  const onProgress = (loaded: number, total: number | undefined) => {
    untold = { loaded, total, fromCache: false, waiting: false };
    if (!told || loaded === total) tell();
    told = true;
  };
  return { watch: { signal, emit, onProgress }, stop: () => clearInterval(timer) };
}

// ---- Storing ---------------------------------------------------------------------------------------------------

interface Job extends StoreParams, Watch {
  glue(): Promise<EngineModule>;
}

async function storeOn(shelf: Shelf, job: Job): Promise<StoredFile> {
  const key = await keyOf(job.url);
  const found = job.mend ? undefined : await findStored(shelf, key, job);
  const stored = found ?? (await exclusively(key, job, () => downloadTo(shelf, key, job)));
  job.emit({ loaded: stored.length, total: stored.length, fromCache: stored.fromCache, waiting: false });
  return stored;
}

/** A stored file, whole, and with the hash that it should have. */
async function findStored(shelf: Shelf, key: string, { url, sha256 }: FindParams): Promise<StoredFile | undefined> {
  const record = await readNote(shelf, key, 'record');
  if (record?.length === undefined || record.url !== url) return undefined;
  if (sha256 !== undefined && record.sha256 !== sha256) return undefined;
  return shelf.find(key, record.length);
}

async function downloadTo(shelf: Shelf, key: string, job: Job): Promise<StoredFile> {
  const { url, sha256, signal } = job;
  const found = job.mend ? undefined : await findStored(shelf, key, job); // another tab has stored it meanwhile
  if (found) return found;
  const glue = await job.glue();
  const before = await reopen(shelf, key, job);
  const drawer = await shelf.open(key);
  const gate = gateFor(glue, job);
  const options = assemblyOptions(shelf, key, url, sumsOf(glue), before, gate);
  const assembly = await Assembly.open(drawer, options, signal);
  try {
    await download(url, assembly, { ...job, proven: sha256 !== undefined });
    return await commit(shelf, key, url, assembly, job);
  } catch (error) {
    if (isUseless(error)) await assembly.discard();
    throw error;
  } finally {
    assembly.close();
  }
}

/** The file is none that the engine will ever take. */
function isUseless(error: unknown): boolean {
  const { code } = toRecord(error);
  return code === 'malformed-file' || code === 'unsupported-architecture' || code === 'unsupported-quantization';
}

/** What is there of the file, as something to go on with. */
async function reopen(shelf: Shelf, key: string, { url, sha256 }: Job): Promise<FileNote | undefined> {
  const plan = await readNote(shelf, key, 'plan');
  if (plan?.url === url) return plan;
  const record = await readNote(shelf, key, 'record');
  await shelf.removeNote(key, 'plan');
  if (record?.url !== url || (sha256 !== undefined && record.sha256 !== sha256)) {
    await shelf.removeNote(key, 'record');
    return undefined;
  }
  await writePlan(shelf, key, url, record); // first, so that no moment is without a note
  await shelf.removeNote(key, 'record');
  return record;
}

function assemblyOptions(
  shelf: Shelf,
  key: string,
  url: string,
  sums: Sums,
  identity: Identity | undefined,
  gate?: Gate | undefined,
): AssemblyOptions {
  return {
    sums,
    identity,
    ...(gate && { onBytes: gate.take.bind(gate) }),
    async onBegin(identity) {
      await checkRoom(identity.length ?? 0);
      await writePlan(shelf, key, url, identity);
    },
    async onDiscard() {
      gate?.reset();
      await shelf.removeNote(key, 'record');
      await shelf.removeNote(key, 'plan');
    },
  };
}

function writePlan(shelf: Shelf, key: string, url: string, { length, etag, lastModified }: Identity): Promise<void> {
  const plan: FileNote = { version: 2, url, length, etag, lastModified, at: Date.now() };
  return shelf.writeNote(key, 'plan', JSON.stringify(plan));
}

/** All bytes are there: makes it so for later visits, too. */
async function commit(
  shelf: Shelf,
  key: string,
  url: string,
  assembly: Assembly,
  { sha256, signal }: { readonly sha256?: string | undefined; readonly signal: AbortSignal },
): Promise<StoredFile> {
  const { etag, lastModified } = assembly.identity ?? {};
  const file = await assembly.finish(signal);
  await expectHash(assembly, url, hex(file.sha256), sha256);
  const { length, sums } = { ...file, sums: assembly.sums };
  assembly.close(); // readers may open it from here on
  const at = Date.now();
  const record: FileNote = { version: 2, url, length, etag, lastModified, at, sha256: hex(file.sha256) };
  await shelf.writeNote(key, 'record', JSON.stringify(record));
  await shelf.removeNote(key, 'plan');
  if (shelf.kind === 'opfs') return { kind: 'opfs', key, length, sums, fromCache: false };
  return { kind: 'blob', blob: await shelf.blob(key, length), length, sums, fromCache: false };
}

async function expectHash(assembly: Assembly, url: string, found: string, expected: string | undefined): Promise<void> {
  if (expected === undefined || expected === found) return;
  await assembly.discard();
  const message = `${url}: the file's SHA-256 is ${found}, and integrity asks for ${expected}`;
  throw new FanlightError('integrity', `${message}. It is another file, or was changed on its way; nothing is kept.`);
}

/** Tabs that want the same file take turns: the first downloads it, the others find it. */
async function exclusively<T>(key: string, { signal, emit }: Watch, work: () => Promise<T>): Promise<T> {
  const locks: LockManager | undefined = navigator.locks;
  if (!locks) return work();
  const name = `${SHELF}:${key}`;
  const first = await locks.request(name, { ifAvailable: true }, async (lock) => lock && { result: await work() });
  if (first) return first.result;
  emit({ loaded: 0, total: undefined, fromCache: false, waiting: true });
  return await locks.request(name, { signal }, work);
}

/** Runs it while no tab downloads the file; refuses when one does. */
async function alone<T>(key: string, url: string, work: (key: string) => Promise<T>): Promise<T> {
  const locks: LockManager | undefined = navigator.locks;
  if (!locks) return work(key);
  const done = await locks.request(`${SHELF}:${key}`, { ifAvailable: true }, async (lock) => {
    return lock && { result: await work(key) };
  });
  if (done) return done.result;
  throw new FanlightError('invalid-argument', `${url} is being stored at this moment: stop that first.`);
}

// ---- In memory -------------------------------------------------------------------------------------------------

async function storeInMemory(job: Job): Promise<StoredFile> {
  const { url, sha256, signal } = job;
  const drawer = new MemoryDrawer();
  const glue = await job.glue();
  const gate = gateFor(glue, job);
  const options: AssemblyOptions = {
    sums: sumsOf(glue),
    identity: undefined,
    ...(gate && { onBytes: gate.take.bind(gate) }),
    onBegin() {},
    onDiscard: () => gate?.reset(),
  };
  const assembly = await Assembly.open(drawer, options, signal);
  try {
    await download(url, assembly, { ...job, proven: sha256 !== undefined });
    const { length, sha256: found } = await assembly.finish(signal);
    await expectHash(assembly, url, hex(found), sha256);
    job.emit({ loaded: length, total: length, fromCache: false, waiting: false });
    return { kind: 'blob', blob: drawer.blob(), length, sums: assembly.sums, fromCache: false };
  } finally {
    assembly.close();
  }
}

/** Blobs, which the browser may move to disk, and which workers share. */
class MemoryDrawer implements Drawer {
  #blocks: { blob: Blob; sum: bigint }[] = [];
  readonly count = 0;

  async read(index: number): Promise<StoredBlock | undefined> {
    const block = this.#blocks[index];
    return block && { bytes: new Uint8Array(await block.blob.arrayBuffer()), sum: block.sum };
  }

  write(index: number, { bytes, sum }: StoredBlock): void {
    this.#blocks[index] = { blob: new Blob([bytes.slice()]), sum };
  }

  clear(): void {
    this.#blocks = [];
  }

  settle(): void {}

  close(): void {}

  blob(): Blob {
    return new Blob(this.#blocks.map(({ blob }) => blob));
  }
}

// ---- What is stored --------------------------------------------------------------------------------------------

async function needShelf(): Promise<Shelf> {
  const shelf = await openShelf();
  if (!shelf) throw new FanlightError('unsupported-browser', 'This browser keeps nothing for this page.');
  return shelf;
}

async function needRecord(shelf: Shelf, key: string, url: string): Promise<FileNote & { readonly length: number }> {
  const record = await readNote(shelf, key, 'record');
  if (record?.length !== undefined) return { ...record, length: record.length };
  throw new FanlightError('invalid-argument', `${url} is not in storage, or not all of it.`);
}

async function listOf(shelf: Shelf | undefined): Promise<ListedFile[]> {
  if (!shelf) return [];
  const files: ListedFile[] = [];
  for (const key of await shelf.keys()) {
    const record = await readNote(shelf, key, 'record');
    const note = record ?? (await readNote(shelf, key, 'plan'));
    if (!note) continue;
    const { url, length, at, sha256 } = note;
    const bytes = await shelf.size(key);
    const complete = record !== undefined && bytes >= (length ?? Infinity);
    files.push({ url, length, at, bytes: Math.min(bytes, length ?? bytes), complete, sha256 });
  }
  return files;
}

async function verify(shelf: Shelf, key: string, url: string, sums: Sums, { signal, onProgress }: Watch) {
  const { length, sha256 } = await needRecord(shelf, key, url);
  const identity = { length, etag: undefined, lastModified: undefined };
  const drawer = await shelf.open(key);
  const options = { sums, identity, onBegin() {}, onDiscard() {} };
  const assembly = await Assembly.open(drawer, options, signal);
  try {
    onProgress(assembly.loaded, length);
    const blocks = assembly.sums.length;
    const whole = assembly.missing().length === 0;
    const hashAgrees = whole && hex((await assembly.finish(signal)).sha256) === sha256;
    return { blocks, damaged: assembly.damaged, hashAgrees };
  } finally {
    assembly.close();
  }
}

async function keep(shelf: Shelf, key: string, url: string, blob: Blob, sums: Sums, watch: Watch): Promise<StoredFile> {
  const assembly = await Assembly.open(
    await shelf.open(key),
    assemblyOptions(shelf, key, url, sums, undefined),
    watch.signal,
  );
  try {
    await assembly.begin({ length: blob.size, etag: undefined, lastModified: undefined });
    const reader = blob.stream().getReader();
    for (let at = 0; ;) {
      watch.signal.throwIfAborted();
      watch.onProgress(at, blob.size);
      const { value } = await reader.read();
      if (!value) break;
      const wait = assembly.write(at, value);
      if (wait) await wait;
      at += value.length;
    }
    return { ...(await commit(shelf, key, url, assembly, watch)), fromCache: true };
  } catch (error) {
    await assembly.discard(); // no server would go on with it
    throw error;
  } finally {
    assembly.close();
  }
}
