/** From an address or a file to a model that answers. */

import { Crew, orAborted } from './client.js';
import { aborted, asFanlightError, FanlightError, invalidArgument } from './errors.js';
import { checkFallback, type Fallback, type Remote } from './fallback.js';
import { measure } from './events.js';
import { chooseBuild, chooseTransport, defaultShards, detectFeatures, type Features, MOST_SHARDS } from './features.js';
import { Model, type ModelInfo } from './model.js';
import { checkSignal, flag, known, number, oneOf } from './params.js';
import { compileEngine, fetchConstraints } from './module.js';
import { refuseWhatDoesNotFit, storeParts } from './parts.js';
import type { Build, KvType } from './protocol.js';
import { canShare, type Loaded, SharedHost } from './tabs.js';
import { checkIntegrity, checkSource, type ModelPart } from './sources.js';

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
  /**
   * Guesses the next tokens with the block for multi-token prediction that some files of Qwen 3.5 have: more memory, the same text.
   * Off unless it is true; without effect on other files (`info().predicts` says). It pays where the text is easy to foresee.
   */
  predict?: boolean;
  /** Which build of the engine. Without it, the fastest that the browser can run. */
  build?: 'auto' | Build;
  /** How the workers exchange. Without it, by shared memory in a cross-origin isolated page, by messages elsewhere. */
  transport?: 'auto' | 'shared' | 'messages';
  /**
   * One model for all tabs of the site that load it so: the first holds it, the others use it; when its tab is closed another
   * takes over. Off, unless it is set to true.
   */
  share?: boolean;
  /**
   * When the part of the engine is fetched that holds answers to schemas, grammars and tools: `load`, with the model, so that
   * there are no requests afterwards (the default), or `use`, by the first request that needs it.
   */
  constraints?: 'load' | 'use';
  /** Bytes that the model may take in memory. Without it, what the browser says of the device, where it does. */
  memory?: number;
  /** Keep the file in browser storage, so that later visits need no network. On, unless it is set to false. */
  cache?: boolean;
  /**
   * The SHA-256 of the file: `sha256-` and then base64 (as in HTML) or hexadecimal. A file that has another is refused. For
   * a model in several files, a list: one for each, in order.
   */
  integrity?: string | readonly string[];
  /**
   * A server to ask when this device cannot run the model, or as its `when` says. Without it nothing is sent anywhere. When
   * loading fails for such a reason, the model that comes back has the server alone.
   */
  fallback?: Fallback | false;
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
  const { fallback } = settings;
  try {
    return await loadHere(source, options, settings);
  } catch (error) {
    if (fallback?.covers(error)) return new Model(error, remoteInfo(fallback), fallback);
    throw error;
  }
}

async function loadHere(
  source: ModelPart | readonly ModelPart[],
  options: LoadOptions,
  settings: Settings,
): Promise<Model> {
  const features = detectFeatures();
  const parts = checkSource(source);
  const plan: Plan = {
    ...settings,
    features,
    parts,
    hashes: checkIntegrity(options.integrity, parts),
    build: chooseBuild(settings.build, features),
    transport: chooseTransport(settings.transport, features),
  };
  if (plan.signal?.aborted) throw aborted(plan.signal.reason);
  const stop = new AbortController();
  const loading = plan.share && canShare() ? loadShared(plan, stop.signal) : loadAlone(plan, stop.signal);
  return orAborted(loading, plan.signal, () => stop.abort());
}

async function loadAlone(plan: Plan, signal: AbortSignal): Promise<Model> {
  const { crew, info } = await loadMending(plan, signal);
  return new Model(crew, info, plan.fallback);
}

/** The model of all tabs that ask for the same one in the same way. */
async function loadShared(plan: Plan, signal: AbortSignal): Promise<Model> {
  const { parts, hashes, build, transport, threads, contextLength, kvType, predict } = plan;
  const addresses = parts.map((part) => (part instanceof URL ? part.href : undefined));
  if (addresses.includes(undefined)) throw invalidArgument('share', true, 'false for a file: other tabs do not have it');
  const name = JSON.stringify([addresses, hashes, build, transport, threads, contextLength, kvType, predict]);
  const onWait = () => reporter(plan.onProgress)({ phase: 'wait', loaded: 0, total: undefined, fromCache: true });
  const joining = SharedHost.join(`fanlight:model:${name}`, () => loadMending(plan, signal), onWait);
  signal.addEventListener('abort', () => void joining.then(({ host }) => host.end(aborted()), () => {}), { once: true });
  const { host, info } = await joining;
  return new Model(host, info, plan.fallback);
}

/** What is known of a model that is only on a server. */
function remoteInfo({ name }: Remote): ModelInfo {
  return {
    name,
    ...{ architecture: '', quantization: '', parameters: 0, vocabularySize: 0, contextLength: 0, kvType: 'q16', predicts: false },
    ...{ weightBytes: 0, kvBytes: 0, bufferBytes: 0, memoryBytes: 0, fileBytes: 0, shards: 0 },
    ...{ transport: 'none', build: 'simd128', kernel: 'f32', source: 'fallback' },
  };
}

interface Plan extends Settings {
  readonly features: Features;
  readonly parts: readonly (URL | Blob)[];
  /** The SHA-256 that each part must have, as far as the application knows. */
  readonly hashes: readonly (string | undefined)[];
  readonly build: Build;
  readonly transport: 'shared' | 'messages';
}

/** Loads; when that finds a stored file damaged, fetches what is damaged and loads again. */
async function loadMending(plan: Plan, signal: AbortSignal): Promise<Loaded> {
  try {
    return await loadOnce(plan, signal, false);
  } catch (error) {
    const mendable = error instanceof Damaged && plan.parts.some((part) => part instanceof URL);
    if (!mendable) throw error instanceof Damaged ? error.cause : error;
    return await loadOnce(plan, signal, true).catch((error) => {
      throw error instanceof Damaged ? error.cause : error;
    });
  }
}

/** What is stored is not what came: the cause says what was found. */
class Damaged extends Error {}

/** With workers of its own, which end when it fails. */
async function loadOnce(plan: Plan, signal: AbortSignal, mend: boolean): Promise<Loaded> {
  const crew = new Crew();
  const work = prepare(crew, plan, signal, mend);
  // Cancelled workers close their files by themselves; one that does not is ended.
  signal.addEventListener('abort', () => void crew.endAfter(work, aborted()), { once: true });
  try {
    return await work;
  } catch (error) {
    const reason = asFanlightError(error instanceof Damaged ? error.cause : error, 'worker-crashed', 'Loading failed');
    crew.end(reason);
    throw error instanceof Damaged ? error : reason;
  }
}

async function prepare(crew: Crew, plan: Plan, signal: AbortSignal, mend: boolean): Promise<Loaded> {
  const { features, build, contextLength, kvType, predict, parts } = plan;
  const report = reporter(plan.onProgress);
  const began = performance.now();
  const compiling = compileEngine(build);
  compiling.catch(() => {}); // heard where it is awaited
  const files = await storeParts(crew, plan, compiling, { mend, signal, report });
  const engine = await compiling;
  const stored = performance.now();
  measure('download', began, stored);
  const fileBytes = files.reduce((bytes, file) => bytes + file.length, 0);
  const shards = plan.threads ?? defaultShards(fileBytes, plan.transport, features.cores);
  const { transport } = plan;
  const fromCache = files.every((file) => file.fromCache);
  const opening = crew.open(
    { engine, files, shards, transport, contextLength, kvType, predict },
    { signal, onProgress: (loaded, total) => report({ phase: 'load', loaded, total, fromCache }) },
  );
  const all = await opening.catch(async (error: unknown) => {
    const { code } = error instanceof FanlightError ? error : {};
    if (code === 'integrity') throw new Damaged('', { cause: error });
    if (code === 'out-of-memory') await refuseWhatDoesNotFit(plan, signal);
    throw error;
  });
  measure('load', stored, performance.now());
  if (plan.constraints === 'load') fetchConstraints().catch(() => {}); // not waited for: most requests need none
  const [leader] = all;
  if (!leader) throw new RangeError('a model has at least one shard');
  const sum = (field: 'weightBytes' | 'kvBytes' | 'bufferBytes' | 'memoryBytes') => all.reduce((bytes, each) => bytes + each[field], 0);
  const info: ModelInfo = {
    name: leader.name,
    architecture: leader.architecture,
    quantization: leader.quantization,
    ...(leader.defaults && { defaults: leader.defaults }),
    parameters: leader.parameters,
    vocabularySize: leader.vocabularySize,
    ...(leader.pooling !== undefined && { pooling: leader.pooling }),
    contextLength: leader.contextLength,
    kvType: leader.kvType,
    predicts: leader.predicts,
    kernel: leader.kernel,
    weightBytes: sum('weightBytes'),
    kvBytes: sum('kvBytes'),
    bufferBytes: sum('bufferBytes'),
    memoryBytes: sum('memoryBytes'),
    fileBytes,
    shards,
    transport: shards === 1 ? 'none' : transport,
    build,
    source: parts.every((part) => part instanceof Blob) ? 'file' : fromCache ? 'storage' : 'network',
  };
  return { crew, info };
}

// ---- Progress --------------------------------------------------------------------------------------------------

/** Takes what is known of how far it is. */
export type Report = (step: Pick<Progress, 'phase' | 'loaded' | 'total' | 'fromCache'>) => void;

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
  readonly predict: boolean | undefined;
  readonly build: 'auto' | Build;
  readonly transport: 'auto' | 'shared' | 'messages';
  readonly cache: boolean;
  readonly memory: number | undefined;
  readonly share: boolean;
  readonly constraints: 'load' | 'use';
  readonly fallback: Remote | undefined;
}

const OPTIONS = new Set(['onProgress', 'signal', 'threads', 'contextLength', 'kvType', 'predict', 'build', 'transport', 'cache', 'integrity', 'constraints', 'memory', 'share', 'fallback']);

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
    predict: flag(options, 'predict'),
    build: oneOf(options, 'build', ['auto', 'simd128', 'relaxed']) ?? 'auto',
    transport: oneOf(options, 'transport', ['auto', 'shared', 'messages']) ?? 'auto',
    cache: flag(options, 'cache') ?? true,
    share: flag(options, 'share') ?? false,
    constraints: oneOf(options, 'constraints', ['load', 'use']) ?? 'load',
    memory: number(options, 'memory', { min: 1, max: Number.MAX_SAFE_INTEGER }),
    fallback: checkFallback(options['fallback']) || undefined,
  };
}
