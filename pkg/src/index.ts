/**
 * Fanlight: small open language models inside a web page.
 *
 * ```js
 * import { Fanlight } from 'fanlight';
 *
 * const model = await Fanlight.load('https://example.org/model.gguf', { onProgress });
 * const stream = await model.chat.completions.create({ messages, stream: true });
 * for await (const chunk of stream) show(chunk.choices[0]?.delta.content ?? '');
 * ```
 *
 * @module
 */

import { canRun } from './can-run.js';
import { load } from './load.js';
import { models } from './models.js';

/** The door: everything begins with `Fanlight.load`. */
export const Fanlight = { load, canRun, models } as const;

export type { CanRunOptions, Fit, FitModel } from './can-run.js';
export { FanlightError } from './errors.js';
export type { FanlightErrorCode } from './errors.js';
export type { Defaults, ProposedSampling } from './engine.js';
export type { Fallback, FallbackReason, FallbackRoute, FallbackWhen } from './fallback.js';
export type { ModelEvents, RequestKind } from './events.js';
export type { ShardBytes } from './fit.js';
export type { LoadOptions, Progress } from './load.js';
export type { ChatCompletions, Completions, JsonSchema, Model, ModelInfo } from './model.js';
export type {
  ModelWorkOptions,
  StorageState,
  StoredModel,
  StoredModelFile,
  Verification,
} from './models.js';
export type * from './openai.js';
export type { Build, Kernel, KvType } from './protocol.js';
export type { BatchProgress, Results } from './results.js';
export type { ModelPart } from './sources.js';
export type { SavedSession, Session } from './session.js';
export type { Stream } from './stream.js';
export type { RunnableTool, RunToolsEvent, RunToolsParams, RunToolsResult, ToolContext } from './tools.js';
export type {
  Classification,
  ClassifyExample,
  ClassifyOptions,
  EmbedOptions,
  ExtractOptions,
  Ranked,
  RerankOptions,
  Score,
  VerbOptions,
} from './verbs.js';
