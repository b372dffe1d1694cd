/** From an address or a file to a model that answers. */

import { Crew, orAborted } from './client.js';
import { aborted, asFanlightError, FanlightError, invalidArgument } from './errors.js';
import { chooseBuild, chooseTransport, defaultShards, detectFeatures, type Features } from './features.js';
import { Model } from './model.js';
import { checkSignal, flag, known, number, oneOf } from './params.js';
import type { Build, KvType, StoredFile, StoreEvent } from './protocol.js';

/** Where a model comes from: an address, or a file that the visitor chose. */
export type ModelPart = string | URL | Blob;

/** How to load. */
export interface LoadOptions {
  /** Told how far it is, several times a second. */
  onProgress?: (progress: Progress) => void;
  /** Stops it. A download that was stopped goes on where it was, next time. */
  signal?: AbortSignal;
  /** Workers to share the work between. Without it, as many as are likely to be fastest here. */
  threads?: number | 'auto';
  /** Tokens that prompt and answer may have together. Without it, what the model was made for, within reason. */
  contextLength?: number;
  /**
   * How keys and values of the context are kept: `q16` (14-bit integers; the default), `f16`, `q8` (half the memory, coarser;
   * not for Qwen 2.5), or `f32`.
   */
  kvType?: KvType;
  /** Which build of the engine. Without it, the fastest that the browser can run. */
  build?: 'auto' | Build;
  /** How the workers exchange. Without it, by shared memory in a cross-origin isolated page, by messages elsewhere. */
  transport?: 'auto' | 'shared' | 'messages';
  /** Keep the file in browser storage, so that later visits need no network. On, unless it is set to false. */
  cache?: boolean;
}

/** How far loading is. */
export interface Progress {
  /** `wait`: another tab downloads the same file; `download`: from the network; `load`: from storage into memory. */
  readonly phase: 'wait' | 'download' | 'load';
  /** Bytes of this phase. The total is missing when the server does not say. */
  readonly loaded: number;
  readonly total: number | undefined;
  readonly bytesPerSecond: number;
  readonly etaSeconds: number | undefined;
  /** The whole file was in browser storage, or in a file of the visitor's. */
  readonly fromCache: boolean;
}

/** Loads a model: from the address of a GGUF file (or of the first of its parts), from a file, or from a list of parts. */
export async function load(source: ModelPart | readonly ModelPart[], options: LoadOptions = {}): Promise<Model> {
  const settings = checkOptions(options);
  const features = detectFeatures();
  const plan: Plan = {
    ...settings,
    features,
    parts: checkSource(source),
    build: chooseBuild(settings.build, features),
    transport: chooseTransport(settings.transport, features),
  };
  if (plan.signal?.aborted) throw aborted(plan.signal.reason);

  const crew = new Crew();
  const stop = new AbortController();
  const work = prepare(crew, plan, stop.signal);
  try {
    return await orAborted(work, plan.signal, () => stop.abort());
  } catch (error) {
    const reason = asFanlightError(error, 'worker-crashed', 'Loading failed');
    stop.abort();
    void crew.endAfter(work, reason);
    throw reason;
  }
}

interface Plan extends Settings {
  readonly features: Features;
  readonly parts: readonly (URL | Blob)[];
  readonly build: Build;
  readonly transport: 'shared' | 'messages';
}

async function prepare(crew: Crew, plan: Plan, signal: AbortSignal): Promise<Model> {
  const { features, build, contextLength, kvType, parts } = plan;
  const compiling = compileModule(build); // while the file comes
  compiling.catch(() => {}); // heard below
  const report = reporter(plan.onProgress);
  const files = await storeParts(crew, plan, signal, report);
  const module = await compiling;
  const fileBytes = files.reduce((bytes, file) => bytes + file.length, 0);
  const shards = plan.threads ?? defaultShards(fileBytes, plan.transport, features.cores);
  const { transport } = plan;
  const fromCache = files.every((file) => file.fromCache);
  const all = await crew.open(
    { build, module, files, shards, transport, contextLength, kvType },
    { signal, onProgress: (loaded, total) => report({ phase: 'load', loaded, total, fromCache }) },
  );
  const [leader] = all;
  if (!leader) throw new RangeError('a model has at least one shard');
  const sum = (field: 'weightBytes' | 'kvBytes' | 'bufferBytes') => all.reduce((bytes, each) => bytes + each[field], 0);
  return new Model(crew, {
    name: leader.name,
    architecture: leader.architecture,
    quantization: leader.quantization,
    parameters: leader.parameters,
    vocabularySize: leader.vocabularySize,
    contextLength: leader.contextLength,
    kvType: leader.kvType,
    weightBytes: sum('weightBytes'),
    kvBytes: sum('kvBytes'),
    bufferBytes: sum('bufferBytes'),
    fileBytes,
    shards,
    transport: shards === 1 ? 'none' : transport,
    build,
    source: parts.every((part) => part instanceof Blob) ? 'file' : fromCache ? 'storage' : 'network',
  });
}

/** The parts, one after the other, into storage. A visitor's file stays where it is. */
async function storeParts(crew: Crew, plan: Plan, signal: AbortSignal, report: Report): Promise<StoredFile[]> {
  const files: StoredFile[] = [];
  let before = 0;
  for (const [index, part] of plan.parts.entries()) {
    if (part instanceof Blob) {
      files.push({ kind: 'blob', blob: part, length: part.size, fromCache: true });
    } else {
      const isLast = index === plan.parts.length - 1;
      const cache = plan.cache && /^https?:$/.test(part.protocol);
      const onEvent = ({ loaded, total, fromCache, waiting }: StoreEvent) => {
        const known = isLast && total !== undefined ? before + total : undefined;
        report({ phase: waiting ? 'wait' : 'download', loaded: before + loaded, total: known, fromCache });
      };
      files.push(await crew.leader.call('store', { url: part.href, cache }, { signal, onEvent }));
    }
    before += files.at(-1)?.length ?? 0;
  }
  return files;
}

/** Compiled once for each build and page: a module is the same for every model and every worker. */
const modules = new Map<Build, Promise<WebAssembly.Module>>();

function compileModule(build: Build): Promise<WebAssembly.Module> {
  const known = modules.get(build);
  if (known) return known;
  const compiling = compile(build);
  modules.set(build, compiling);
  compiling.catch(() => modules.delete(build));
  return compiling;
}

async function compile(build: Build): Promise<WebAssembly.Module> {
  // The paths are spelled out, so that bundlers find them.
  const url =
    build === 'relaxed'
      ? new URL('../wasm/relaxed/fanlight_bg.wasm', import.meta.url)
      : new URL('../wasm/simd128/fanlight_bg.wasm', import.meta.url);
  try {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    // Streaming compilation insists on a content type that not every static host sends.
    const typed = response.headers.get('content-type')?.startsWith('application/wasm');
    return await (typed ? WebAssembly.compileStreaming(response) : WebAssembly.compile(await response.arrayBuffer()));
  } catch (error) {
    const blocked =
      error instanceof WebAssembly.CompileError && /Content Security Policy|unsafe-eval/i.test(error.message);
    const advice = blocked ? "The page's CSP needs 'wasm-unsafe-eval' in script-src" : `${url} could not be loaded`;
    throw asFanlightError(error, blocked ? 'unsupported-browser' : 'network', advice);
  }
}

// ---- Progress --------------------------------------------------------------------------------------------------

type Report = (step: Pick<Progress, 'phase' | 'loaded' | 'total' | 'fromCache'>) => void;

/** Speed is measured over the last seconds. */
const WINDOW_MS = 4_000;

/** Adds speed and time left to what is known. */
function reporter(onProgress: ((progress: Progress) => void) | undefined): Report {
  if (!onProgress) return () => {};
  let phase: Progress['phase'] | undefined;
  let samples: { at: number; loaded: number }[] = [];
  return (step) => {
    const at = performance.now();
    const last = samples.at(-1);
    if (phase !== step.phase || (last && step.loaded < last.loaded)) samples = []; // another phase, or it began again
    phase = step.phase;
    samples.push({ at, loaded: step.loaded });
    samples = samples.filter((sample) => at - sample.at <= WINDOW_MS);
    const first = samples[0] ?? { at, loaded: step.loaded };
    const bytesPerSecond = at > first.at ? ((step.loaded - first.loaded) * 1000) / (at - first.at) : 0;
    const left = step.total === undefined ? undefined : step.total - step.loaded;
    const etaSeconds = left === 0 ? 0 : left !== undefined && bytesPerSecond > 0 ? left / bytesPerSecond : undefined;
    onProgress({ ...step, bytesPerSecond, etaSeconds });
  };
}

// ---- Checks ----------------------------------------------------------------------------------------------------

interface Settings {
  readonly onProgress: ((progress: Progress) => void) | undefined;
  readonly signal: AbortSignal | undefined;
  readonly threads: number | undefined;
  readonly contextLength: number | undefined;
  readonly kvType: KvType | undefined;
  readonly build: 'auto' | Build;
  readonly transport: 'auto' | 'shared' | 'messages';
  readonly cache: boolean;
}

const OPTIONS = new Set(['onProgress', 'signal', 'threads', 'contextLength', 'kvType', 'build', 'transport', 'cache']);
const MOST_SHARDS = 64;

function checkOptions(value: LoadOptions): Settings {
  const options = known('Fanlight.load', value, OPTIONS);
  const { onProgress } = value;
  if (onProgress && typeof onProgress !== 'function') throw invalidArgument('onProgress', onProgress, 'a function');
  return {
    onProgress,
    signal: checkSignal(options['signal']),
    threads:
      options['threads'] === 'auto' ? undefined : number(options, 'threads', { min: 1, max: MOST_SHARDS, whole: true }),
    contextLength: number(options, 'contextLength', { min: 1, max: 2 ** 31, whole: true }),
    kvType: oneOf(options, 'kvType', ['f32', 'f16', 'q16', 'q8']),
    build: oneOf(options, 'build', ['auto', 'simd128', 'relaxed']) ?? 'auto',
    transport: oneOf(options, 'transport', ['auto', 'shared', 'messages']) ?? 'auto',
    cache: flag(options, 'cache') ?? true,
  };
}

function checkSource(source: ModelPart | readonly ModelPart[]): (URL | Blob)[] {
  const parts: readonly ModelPart[] = Array.isArray(source) ? source : [source];
  if (parts.length === 0) throw invalidArgument('source', source, 'an address, a file, or a list of them');
  const checked = parts.map((part) => {
    if (part instanceof Blob || part instanceof URL) return part;
    if (typeof part !== 'string') throw invalidArgument('source', part, 'an address or a file');
    const base = globalThis.document?.baseURI ?? globalThis.location?.href;
    try {
      return new URL(part, base);
    } catch (cause) {
      throw new FanlightError('invalid-argument', `source: ${JSON.stringify(part)} is not an address.`, { cause });
    }
  });
  const [only] = checked;
  return checked.length === 1 && only instanceof URL ? splitParts(only) : checked;
}

/** All parts of a model that is split over several files, by the address of one; otherwise that one. */
export function splitParts(url: URL): URL[] {
  const found = /^(.*-)(\d{5})-of-(\d{5})(\.gguf)$/.exec(url.pathname);
  const [, before = '', , count = '', after = ''] = found ?? [];
  if (Number(count) < 1) return [url];
  return Array.from({ length: Number(count) }, (_, index) => {
    const part = new URL(url);
    part.pathname = `${before}${String(index + 1).padStart(5, '0')}-of-${count}${after}`;
    return part;
  });
}
