/** The files of a model, into storage: what cannot run here is refused before the first byte of it is fetched. */

import { fit, measure, useOf } from './can-run.js';
import type { Crew } from './client.js';
import { aborted, FanlightError } from './errors.js';
import { defaultShards, type Features } from './features.js';
import type { Report } from './load.js';
import type { EngineRef, KvType, StoredFile, StoreEvent } from './protocol.js';

/** What is to be stored, and for which use. */
export interface StorePlan {
  readonly parts: readonly (URL | Blob)[];
  /** The SHA-256 that each part must have, as far as the application knows. */
  readonly hashes: readonly (string | undefined)[];
  readonly cache: boolean;
  readonly features: Features;
  readonly threads: number | undefined;
  readonly transport: 'shared' | 'messages';
  readonly contextLength: number | undefined;
  readonly kvType: KvType | undefined;
  readonly predict: boolean | undefined;
  readonly memory: number | undefined;
}

/** What goes with the work. */
export interface StoreWork {
  /** What is stored turned out to be damaged: it is looked through, and the damaged blocks are fetched. */
  readonly mend: boolean;
  readonly signal: AbortSignal;
  readonly report: Report;
}

/** Bytes of one shard that are below what it can have, whatever else it needs: such a model need not be measured first. */
const SURELY_FITS = 2 ** 31;

/** Where all files of a model are, after those that were missing have been fetched, one after the other. */
export async function storeParts(
  crew: Crew,
  plan: StorePlan,
  compiling: Promise<EngineRef>,
  work: StoreWork,
): Promise<StoredFile[]> {
  const { report, signal } = work;
  const found = await Promise.all(plan.parts.map((part, index) => findPart(crew, plan, part, index, work)));
  const isHere = found.every((file) => file !== undefined);
  const here = found.reduce((bytes, file) => bytes + (file?.length ?? 0), 0);
  // A single file is measured while it comes. Of what is here, only what could be too large is.
  if (!work.mend && (isHere ? isLarge(plan, here) : found.length > 1)) await refuseWhatDoesNotFit(plan, signal);
  const files: StoredFile[] = [];
  let before = 0;
  for (const [index, known] of found.entries()) {
    const file = known ?? (await fetchPart(crew, plan, index, before, await compiling, work));
    files.push(file);
    before += file.length;
  }
  const last = plan.parts.at(-1);
  if (isHere && last instanceof URL) report({ phase: 'download', loaded: before, total: before, fromCache: true });
  return files;
}

/**
 * Throws when the model does not fit: with the numbers that `canRun` gives. What cannot be measured is left to the steps that
 * follow, which say what is wrong with it, and can mend it.
 */
export async function refuseWhatDoesNotFit(plan: StorePlan, signal: AbortSignal): Promise<void> {
  const parts = plan.parts.map((part) => (part instanceof URL ? part.href : part));
  const use = useOf(plan, plan.features);
  const measured = await measure(parts, use, signal).catch(() => undefined);
  if (signal.aborted) throw aborted();
  const verdict = measured && (await fit(measured, use, plan.cache));
  if (verdict?.code) throw new FanlightError(verdict.code, verdict.reason);
}

function isLarge({ threads, transport, features, memory }: StorePlan, bytes: number): boolean {
  const shards = threads ?? defaultShards(bytes, transport, features.cores);
  return (memory ?? features.memory) !== undefined || bytes / shards > SURELY_FITS;
}

async function findPart(
  crew: Crew,
  { cache, hashes }: StorePlan,
  part: URL | Blob,
  index: number,
  { mend, signal }: StoreWork,
): Promise<StoredFile | undefined> {
  // A visitor's file stays where it is.
  if (part instanceof Blob) return { kind: 'blob', blob: part, length: part.size, fromCache: true };
  if (mend || !isKept(part, cache)) return undefined;
  return crew.leader.call('find', { url: part.href, sha256: hashes[index] }, { signal });
}

function isKept(part: URL, cache: boolean): boolean {
  return cache && /^https?:$/.test(part.protocol);
}

function fetchPart(
  crew: Crew,
  plan: StorePlan,
  index: number,
  before: number,
  engine: EngineRef,
  { mend, signal, report }: StoreWork,
): Promise<StoredFile> {
  const part = plan.parts[index];
  if (!(part instanceof URL)) throw new RangeError('only addresses are fetched');
  const isLast = index === plan.parts.length - 1;
  const onEvent = ({ loaded, total, fromCache, waiting }: StoreEvent) => {
    const known = isLast && total !== undefined ? before + total : undefined;
    report({ phase: waiting ? 'wait' : 'download', loaded: before + loaded, total: known, fromCache });
  };
  const use = plan.parts.length === 1 ? useOf(plan, plan.features) : undefined;
  const cache = isKept(part, plan.cache);
  const params = { url: part.href, cache, sha256: plan.hashes[index], mend, engine, use };
  return crew.leader.call('store', params, { signal, onEvent });
}
