/**
 * Everything that the page and its workers say to each other.
 *
 * There are two kinds of worker, and one conversation for both:
 *
 * - The page calls; a call has a number. The worker answers each call exactly once, with a result or an error.
 * - Before the answer it may send any number of events that belong to the call. After the answer, none.
 * - The page may cancel a call. It is still answered: with `aborted`, or with the result if that came first.
 * - A worker says when it begins a call. Later the page may ask for a sign of life, which it gives as soon as it hears that.
 * - Calls may overlap. A shard runs one `generate` at a time; the page sees to that.
 * - A worker that dies answers nothing any more: the page rejects what was pending, and ends the other workers.
 *
 * Shards also talk to each other, in `exchange.ts`: that is a stream of slices, not a conversation.
 */

import type { EngineInfo, GenerateRequest, OutputEvent, SavePlan } from './engine.js';
import type { ErrorRecord } from './errors.js';
import type { Limits, Measured } from './fit.js';

// ---- What the page asks of the storage worker ------------------------------------------------------------------

export type StorageCalls = {
  /** Where a URL's file is, if all of it is in storage. Needs no engine, so it can be asked while that is still compiled. */
  find: { params: FindParams; result: StoredFile | undefined; event: never };
  /** Puts the file of a URL into storage, unless it is there, and says where. */
  store: { params: StoreParams; result: StoredFile; event: StoreEvent };
  /** What a model will weigh, by the headers of its files: of the network, of storage, or of the visitor. */
  measure: { params: MeasureParams; result: MeasuredModel; event: never };
  /** Every file that is in storage, whole or in part. */
  list: { params: Record<string, never>; result: ListedFile[]; event: never };
  /** Removes what there is of the files of these URLs. */
  remove: { params: { readonly urls: readonly string[] }; result: void; event: never };
  /** Holds each block of a stored file against its sum, and all of it against its hash. */
  verify: { params: { readonly url: string; readonly engine: EngineRef }; result: VerifiedFile; event: StoreEvent };
  /** All bytes of a stored file. */
  read: { params: { readonly url: string }; result: Blob; event: never };
  /** Puts a file that is here already into storage, as that of a URL. */
  keep: {
    params: { readonly url: string; readonly blob: Blob; readonly engine: EngineRef };
    result: StoredFile;
    event: StoreEvent;
  };
};

/** The engine, for the sums and hashes of files. */
export interface EngineRef {
  /** Which build the module is, so that the worker imports the glue that goes with it. */
  readonly build: Build;
  readonly module: WebAssembly.Module;
}

export interface MeasureParams {
  readonly parts: readonly (string | Blob)[];
  readonly engine: EngineRef;
  readonly use: Use;
}

/** How a model is to be used, as far as its size depends on it. */
export interface Use {
  /** Without it, as many as `defaultShards` says. */
  readonly threads: number | undefined;
  readonly transport: 'shared' | 'messages';
  readonly cores: number;
  readonly contextLength: number | undefined;
  readonly kvType: KvType | undefined;
  readonly predict: boolean | undefined;
  readonly limits: Limits;
}

export interface MeasuredModel extends Measured {
  /** All of it is in storage, or a file of the visitor's. */
  readonly isHere: boolean;
  /** Bytes for which storage needs no more room. */
  readonly storedBytes: number;
}

export interface FindParams {
  readonly url: string;
  /** The SHA-256 that the file must have, in hexadecimal. */
  readonly sha256: string | undefined;
}

export interface StoreParams extends FindParams {
  /** Keep it for later visits. Without it, or where the browser has no storage, the bytes stay in memory. */
  readonly cache: boolean;
  /** Ends the download when the header says that the model, in this one file, cannot run here. */
  readonly use: Use | undefined;
  /** A stored file turned out to be damaged: look at each block, and fetch those that are. */
  readonly mend: boolean;
  readonly engine: EngineRef;
}

/** Bytes that are here already, of how many. The total is unknown when the server does not say. */
export interface StoreEvent {
  readonly loaded: number;
  readonly total: number | undefined;
  readonly fromCache: boolean;
  /** Another tab is storing the same file; this one waits for it. */
  readonly waiting: boolean;
}

/** Where the bytes of one file are: in the origin's private file system, or in a blob (a visitor's file, say). */
export type StoredFile = {
  readonly length: number;
  readonly fromCache: boolean;
  /** The sum of each block, to hold it against when it is read. A visitor's own file has none. */
  readonly sums?: BigUint64Array;
} & ({ readonly kind: 'opfs'; readonly key: string } | { readonly kind: 'blob'; readonly blob: Blob });

/** What storage knows of a file. */
export interface ListedFile {
  readonly url: string;
  /** Bytes that it takes in storage. */
  readonly bytes: number;
  /** How long it is when it is whole, as far as that is known. */
  readonly length: number | undefined;
  readonly complete: boolean;
  /** In hexadecimal; only of a file that is whole. */
  readonly sha256: string | undefined;
  /** Milliseconds since 1970: when it was complete, or when its download began. */
  readonly at: number;
}

export interface VerifiedFile {
  readonly blocks: number;
  readonly damaged: number;
  /** The hash of the bytes that are there is the one of the bytes that came. */
  readonly hashAgrees: boolean;
}

// ---- What the page asks of a shard -----------------------------------------------------------------------------

export type ShardCalls = {
  /** Makes the engine and loads this shard's weights. Once, and first of all. */
  open: { params: OpenParams; result: OpenedShard; event: LoadEvent };
  /** Leader only, once, before the first request with a schema, a grammar or tools. */
  constrain: { params: { readonly module: WebAssembly.Module }; result: void; event: never };
  /** Runs a request to its end, together with the other shards. */
  generate: { params: GenerateParams; result: GenerateResult; event: GenerateEvent };
  /** Does something with the memory of a session, as all other shards do. */
  memory: { params: MemoryAction; result: Uint8Array | undefined; event: never };
  /** Leader only: what of a session's memory can be saved. */
  planMemory: { params: { readonly id: number }; result: SavePlan; event: never };
  /** Leader only. */
  tokenize: { params: TokenizeParams; result: Uint32Array; event: never };
  /** Leader only: how many tokens the prompt of a request has. */
  countPrompt: { params: GenerateRequest; result: number; event: never };
  /** Leader only. */
  detokenize: { params: { readonly ids: Uint32Array }; result: string; event: never };
};

/** A shard that is ready. */
export interface OpenedShard extends EngineInfo {
  /** Bytes of its memory. */
  readonly memoryBytes: number;
}

export interface OpenParams {
  readonly engine: EngineRef;
  readonly files: readonly StoredFile[];
  readonly shard: number;
  readonly shards: number;
  readonly contextLength: number | undefined;
  readonly kvType: KvType | undefined;
  readonly predict: boolean | undefined;
  readonly link: Link;
}

/** How weights of up to six bits are multiplied: see `ModelInfo.kernel`. */
export type Kernel = 'f32' | 'i16' | 'i8x2' | 'i8x4';

/** How keys and values are kept: see `LoadOptions.kvType`. */
export type KvType = 'f32' | 'f16' | 'q16' | 'q8';

/** The two builds of the engine. */
export type Build = 'simd128' | 'relaxed';

/** How a shard reaches the others. */
export type Link =
  | { readonly kind: 'none' }
  | { readonly kind: 'shared'; readonly buffer: SharedArrayBuffer }
  /** One port to each other shard, at that shard's place; nothing at its own. */
  | { readonly kind: 'messages'; readonly ports: readonly (MessagePort | undefined)[] };

/** Bytes of this shard's weights that are in its memory, of how many. */
export interface LoadEvent {
  readonly loaded: number;
  readonly total: number;
}

export interface GenerateParams {
  /** Numbers the requests of a model. Slices of an earlier one are leftovers. */
  readonly epoch: number;
  /** Which memory it goes on in. */
  readonly memory: number;
  /** Leader only: the other shards hear of it through exchanges. */
  readonly request: GenerateRequest | undefined;
}

/** What is done with memories, which have numbers. Number 0 is always there. */
export type MemoryAction =
  | { readonly do: 'new' | 'drop'; readonly id: number }
  | { readonly do: 'copy'; readonly id: number; readonly to: number; readonly plan: SavePlan }
  /** The result is this shard's part. */
  | { readonly do: 'save'; readonly id: number; readonly plan: SavePlan }
  /** The parts of all shards, of however many. A blob is read by each shard: only its handle is sent. */
  | { readonly do: 'load'; readonly id: number; readonly bytes: Uint8Array | Blob };

export type GenerateEvent =
  /** The request was accepted: the template rendered, the prompt fits. */
  { readonly kind: 'started' } | { readonly kind: 'output'; readonly output: OutputEvent };

/** Milliseconds, measured where the work is done. */
export interface GenerateResult {
  /** From the start to the first token. */
  readonly promptMs: number;
  /** From the first token to the end. */
  readonly predictedMs: number;
  /** Bytes of this shard's wasm memory. It never shrinks, so this is the most it ever was. */
  readonly memoryBytes: number;
}

export interface TokenizeParams {
  readonly text: string;
  /** Read the names of control tokens in the text as those tokens. */
  readonly special: boolean;
}

// ---- How it is said --------------------------------------------------------------------------------------------

/** The shape of every entry above. */
export type Calls = Record<string, { params: unknown; result: unknown; event: unknown }>;

/** Page to worker. */
export type Request<M extends Calls> =
  | { [K in keyof M]: { readonly id: number; readonly kind: K; readonly params: M[K]['params'] } }[keyof M]
  | { readonly id: number; readonly cancel: true }
  | { readonly id: number; readonly ask: true };

/** Worker to page. */
export type Reply<M extends Calls> =
  | { readonly id: number; readonly kind: 'result'; readonly result: M[keyof M]['result'] }
  | { readonly id: number; readonly kind: 'error'; readonly error: ErrorRecord }
  | { readonly id: number; readonly kind: 'event'; readonly event: M[keyof M]['event'] }
  /** The call has begun; or a sign of life. */
  | { readonly id: number; readonly kind: 'alive' };
